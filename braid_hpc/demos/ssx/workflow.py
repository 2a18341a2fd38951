"""The job: stills of two experiments, their integration shared by the ranks, and three structures.

The lines that record are the ones that mention ``run`` or an activity; the workflow would be the same without them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import braid_hpc as braid
from braid_hpc.demos.files import read_h5, whole, write_h5
from braid_hpc.demos.program import Stage, perform
from braid_hpc.demos.ssx.integration import process
from braid_hpc.demos.ssx.merge import merge
from braid_hpc.demos.ssx.settings import BEAMLINE, PROCESS, Settings, phil, prepare, read_phil
from braid_hpc.demos.ssx.stills import simulate

__all__ = ["main"]

FACTORS = {"structure": "text", "h": "int16", "k": "int16", "l": "int16", "F2": "float32", "sigma": "float32"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job as this process's rank of it.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments of the command line; by default those of the process.

    Returns
    -------
    int
        As :func:`braid_hpc.demos.program.perform` returns.

    Raises
    ------
    SystemExit
        For ``--help`` and bad arguments.
    """
    return perform("ssx", prepare, job, argv)


def job(stage: Stage[Settings]) -> None:
    """Do the work of one rank, and record it.

    Parameters
    ----------
    stage : Stage
        Where the workflow runs.

    Raises
    ------
    OSError
        Data cannot be written beside the settings files.
    ValueError
        A structure has no good reflection.
    """
    beamline = stage.settings.beamline
    facts = [stage.run.fact(name, path=stage.directory / name) for name in (BEAMLINE, PROCESS)]
    pieces = [(experiment, series) for experiment in range(beamline.experiments) for series in range(beamline.files)]
    mine = {number: _integrate(stage, *pieces[number], facts) for number in stage.ranks.share(len(pieces))}
    stage.say(f"{len(pieces)} series of {beamline.stills} stills are integrated")
    # the handles of all ranks: a structure is merged from files that others have written
    integrated: dict[int, braid.Record] = {}
    for part in stage.ranks.everyones(mine):
        integrated |= part
    names = {
        f"experiment-{number + 1}": [piece for piece in pieces if piece[0] == number]
        for number in range(beamline.experiments)
    }
    names["all"] = pieces
    structures = list(names)
    for number in stage.ranks.share(len(structures)):
        name = structures[number]
        parents = [integrated[pieces.index(piece)] for piece in names[name]]
        _merge(stage, name, names[name], facts, parents)


def _name(experiment: int, series: int) -> str:
    """Give the part of a name that says which series is meant."""
    return f"experiment-{experiment + 1}/{series:02}"


def _integrate(stage: Stage[Settings], experiment: int, series: int, facts: list[braid.Record]) -> braid.Record:
    """Take one series of stills and integrate it: two files, each recorded."""
    run, settings = stage.run, stage.settings
    name = _name(experiment, series)
    stills = simulate(settings, experiment, series)
    path = stage.directory / "stills" / f"{name}.h5"
    write_h5(path, {"images": stills.images, "orientation": stills.orientation}, {})
    about = {"shape": stills.images.shape, "dtype": stills.images.dtype.str, "unit": "counts"}
    taken = run.data(f"stills/{name}", path=path, derived_from=facts[0], **about)
    with run.activity("integrate", used=[taken, *facts]) as activity:
        found = process(settings, stills)
        path = stage.directory / "integrated" / f"{name}.h5"
        write_h5(path, found, {"experiment": experiment + 1})
        tags = {"experiment": f"experiment-{experiment + 1}", "reflections": len(found["h"])}
        return activity.data(f"integrated/{name}", path=path, derived_from=[taken, *facts], tags=tags)


def _merge(
    stage: Stage[Settings],
    name: str,
    pieces: Sequence[tuple[int, int]],
    facts: list[braid.Record],
    integrated: list[braid.Record],
) -> None:
    """Write the list of what to merge, merge what it lists, and record both."""
    run, settings = stage.run, stage.settings
    listed = stage.directory / "prime" / f"{name}.phil"
    values: dict[str, list[object]] = {"data": [f"integrated/{_name(*piece)}.h5" for piece in pieces]}
    values |= {"partiality_min": [settings.process.partiality_min], "cycles": [settings.process.cycles]}
    with whole(listed) as aside:
        aside.write_text(phil(values), encoding="utf-8")
    prime = run.data(f"prime.phil/{name}", path=listed, derived_from=facts)
    with run.activity("prime", used=[prime, *integrated]) as activity:
        merged = merge([read_h5(stage.directory / path) for path in read_phil(listed)["data"]], settings.process)
        path = stage.directory / "structure" / f"{name}.hkl"
        with whole(path) as aside:
            aside.write_text(merged.table(), encoding="utf-8")
        tags = {
            "reflections": len(merged.index),
            "multiplicity": float(merged.multiplicity.mean()),
            "cc_half": merged.cc_half,
            "r_split": merged.r_split,
        }
        structure = activity.record("structure", name, path=path, derived_from=[prime, *integrated], tags=tags)
        factors = run.stream("structure-factors", FACTORS, units={"F2": "arb", "sigma": "arb"})
        columns = ([name] * len(merged.index), *merged.index.astype("int16").T, merged.intensity, merged.sigma)
        factors.extend(dict(zip(FACTORS, columns, strict=True)))
    print(f"{structure.name}: CC1/2 {merged.cc_half:.3f}", file=sys.stderr)

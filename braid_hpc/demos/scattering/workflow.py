"""The job: a measured spectrum, simulations shared by the ranks, the auto-encoder, the reduced space, and the fit.

The lines that record are the ones that mention ``run`` or an activity; the workflow would be the same without them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.demos.files import write_h5
from braid_hpc.demos.program import Stage, perform
from braid_hpc.demos.scattering.features import fit, nearest, stabilised, train
from braid_hpc.demos.scattering.magnet import CONSTANTS, draw, energy_axis, measure, path, simulate
from braid_hpc.demos.scattering.settings import FILE_NAME, Settings, prepare

__all__ = ["main"]


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
    return perform("scattering", prepare, job, argv)


def job(stage: Stage[Settings]) -> None:
    """Do the work of one rank, and record it.

    Parameters
    ----------
    stage : Stage
        Where the workflow runs.

    Raises
    ------
    OSError
        Data cannot be written beside the configuration file.
    RuntimeError
        The ranks hold different auto-encoders.
    """
    run, settings = stage.run, stage.settings
    config = run.fact("config/magnet", path=stage.directory / FILE_NAME, tags={"seed": settings.seed})
    spectrum, measured = _measured(stage, config)
    constants = draw(settings)
    spectra, simulations = _simulations(stage, constants, config)
    time.sleep(stage.pause)
    with run.activity("train", used=[*simulations.values(), measured]) as activity:
        # the measurement is learned from too, once
        learn_from = np.vstack([spectra, spectrum[None]]) if stage.ranks.rank == 0 else spectra
        encoder = train(stage.ranks, learn_from, settings.features)
        if not stage.ranks.all_same(encoder.state.tobytes()):
            raise RuntimeError("the ranks hold different auto-encoders")
        parents = [*simulations.values(), measured]
        model = activity.array("auto-encoder", encoder.state, kind="model", derived_from=parents)
    stage.say(f"the auto-encoder keeps {settings.features} numbers of {spectrum.size}")
    with run.activity("encode", used=[model, *simulations.values(), measured]) as activity:
        ours = dict(zip(simulations, encoder.encode(spectra), strict=True))
        records = {
            number: activity.array(f"features/{number:03}", ours[number], derived_from=[model, simulation])
            for number, simulation in simulations.items()
        }
        point = encoder.encode(spectrum)
        asked = activity.array("features/measured", point, derived_from=[model, measured])
    # every rank has all features and the handles of their records: the reduced space is made of several ranks' own
    features = np.empty((settings.simulations, settings.features))
    handles: dict[int, braid.Record] = {}
    for part, of_rank in stage.ranks.everyones((ours, records)):
        features[list(part)] = list(part.values()) if part else np.empty((0, settings.features))
        handles |= of_rank
    _fit(stage, features, constants, (point, asked, handles))


def _measured(stage: Stage[Settings], config: braid.Record) -> tuple[NDArray[np.float64], braid.Record]:
    """Measure the sample; one rank writes the file, all ranks read the same spectrum."""
    counts, truth = measure(stage.settings)
    file = stage.directory / "measured.h5"
    if stage.ranks.rank == 0:
        axes = {"momentum": path(stage.settings.momenta), "energy": energy_axis(stage.settings)}
        write_h5(file, {"counts": counts, **axes}, {"temperature_meV": stage.settings.temperature})
    stage.ranks.all_well(True)  # nobody declares it before it is written
    true = {f"true_{name}": float(value) for name, value in zip(CONSTANTS, truth, strict=True)}
    about = {"shape": counts.shape, "dtype": counts.dtype.str, "unit": "neutrons"}
    return stabilised(counts), stage.run.data("measured", path=file, derived_from=config, tags=true, **about)


def _simulations(
    stage: Stage[Settings], constants: NDArray[np.float64], config: braid.Record
) -> tuple[NDArray[np.float64], dict[int, braid.Record]]:
    """Simulate this rank's share, and record each spectrum with the constants it was made with."""
    spectra, records = [], {}
    for number in stage.ranks.share(len(constants)):
        with stage.run.activity("simulate", used=config, params={"simulation": number}) as activity:
            expected = simulate(stage.settings, constants[number])
            tags = {name: float(value) for name, value in zip(CONSTANTS, constants[number], strict=True)}
            name = f"simulation/{number:03}"
            block = expected.astype(np.float32)
            records[number] = activity.array(name, block, unit="neutrons", derived_from=config, tags=tags)
            spectra.append(stabilised(expected))
    channels = stage.settings.momenta * stage.settings.energies
    return np.array(spectra).reshape(len(spectra), channels), records


def _fit(
    stage: Stage[Settings],
    features: NDArray[np.float64],
    constants: NDArray[np.float64],
    asked: tuple[NDArray[np.float64], braid.Record, dict[int, braid.Record]],
) -> None:
    """Choose the simulations near the measurement, and read the constants off them."""
    run, (point, measured, records) = stage.run, asked
    chosen = nearest(features, point, stage.settings.nearest)
    parents = [*(records[number] for number in chosen.tolist()), measured]
    with run.activity("reduce", used=parents) as activity:
        table = np.column_stack([chosen, constants[chosen], features[chosen]])
        space = activity.array("reduced-space", table, derived_from=parents, tags={"simulations": len(chosen)})
    with run.activity("fit", used=space) as activity:
        found = fit(features[chosen], constants[chosen], point)
        value = dict(zip(CONSTANTS, found.constants.tolist(), strict=True))
        error = {f"{name}_error": float(each) for name, each in zip(CONSTANTS, found.error, strict=True)}
        activity.data("fit", value={**value, **error}, derived_from=space, unit="meV", tags={**value, **error})
    said = ", ".join(f"{name} {each:.3f}" for name, each in value.items())
    stage.say(f"fitted: {said} meV")

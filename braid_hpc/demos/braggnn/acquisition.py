"""The raw frames of a rank and what the detector sends on of them: two files, each recorded."""

from __future__ import annotations

import braid_hpc as braid
from braid_hpc.demos.braggnn.settings import SCAN, Settings
from braid_hpc.demos.braggnn.simulate import Frames, simulate
from braid_hpc.demos.files import write_h5
from braid_hpc.demos.program import Stage
from braid_hpc.kernels.threshold import Kept, suppress

__all__ = ["measure", "reduce"]


def measure(stage: Stage[Settings], config: braid.Record) -> tuple[Frames, braid.Record]:
    """Simulate this rank's raw frames, write them to disk and record the file.

    Parameters
    ----------
    stage : Stage
        Where the workflow runs.
    config : Record
        The configuration, from which the frames follow.

    Returns
    -------
    raw : Frames
        The frames, in counts, and the truth about them.
    frames : Record
        Their file.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    rank, settings = stage.ranks.rank, stage.settings
    raw = simulate(settings, rank)
    path = stage.directory / "frames" / f"rank-{rank}.h5"
    about = {"first_frame": rank * settings.frames, "energy_keV": settings.energy_keV}
    write_h5(path, {"counts": raw.counts, "truth": raw.truth}, about)
    frames = stage.run.data(
        f"frames/{SCAN}/rank-{rank}",
        path=path,
        shape=raw.counts.shape,
        dtype=raw.counts.dtype.str,
        unit="counts",
        derived_from=config,
        tags={"detector": "simulated"},
    )
    return raw, frames


def reduce(stage: Stage[Settings], raw: Frames, frames: braid.Record) -> tuple[Kept, braid.Record]:
    """Suppress what is under the threshold, as the detector's FPGA would, and record what is left.

    Parameters
    ----------
    stage : Stage
        Where the workflow runs.
    raw : Frames
        The raw frames, in counts.
    frames : Record
        Their record.

    Returns
    -------
    kept : Kept
        The pixels that reached the threshold.
    reduced : Record
        Their file.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    rank, threshold = stage.ranks.rank, stage.settings.threshold
    with stage.run.activity("reduce", used=frames, params={"threshold": threshold}) as activity:
        kept = suppress(raw.counts, threshold)
        path = stage.directory / "reduced" / f"rank-{rank}.h5"
        columns = {name: getattr(kept, name) for name in ("frame", "row", "column", "value")}
        write_h5(path, columns, {"shape": kept.shape, "threshold": threshold})
        reduced = activity.data(
            f"reduced/{SCAN}/rank-{rank}",
            path=path,
            shape=kept.value.shape,
            dtype=kept.value.dtype.str,
            unit="counts",
            tags={"kept": kept.kept, "dropped": kept.dropped},
        )
    return kept, reduced

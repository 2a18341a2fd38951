"""The raw frames of a rank and what the detector sends on of them: two files, each recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.demos.braggnn.ranks import Ranks
from braid_hpc.demos.braggnn.settings import SCAN, Settings
from braid_hpc.demos.braggnn.simulate import Frames, simulate
from braid_hpc.kernels.threshold import Kept, suppress

__all__ = ["measure", "reduce"]


def measure(
    run: braid.Run, ranks: Ranks, settings: Settings, directory: Path, config: braid.Record
) -> tuple[Frames, braid.Record]:
    """Simulate this rank's raw frames, write them to disk and record the file.

    Parameters
    ----------
    run : Run
        The open run.
    ranks : Ranks
        This process among the others.
    settings : Settings
        What the configuration file says.
    directory : Path
        Where the folder of the frames is, or will be.
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
    raw = simulate(settings, ranks.rank)
    path = directory / "frames" / f"rank-{ranks.rank}.h5"
    first = ranks.rank * settings.frames
    _write(path, {"counts": raw.counts, "truth": raw.truth}, {"first_frame": first, "energy_keV": settings.energy_keV})
    frames = run.data(
        f"frames/{SCAN}/rank-{ranks.rank}",
        path=path,
        shape=raw.counts.shape,
        dtype=raw.counts.dtype.str,
        unit="counts",
        derived_from=config,
        tags={"detector": "simulated"},
    )
    return raw, frames


def reduce(
    run: braid.Run, ranks: Ranks, settings: Settings, directory: Path, raw: Frames, frames: braid.Record
) -> tuple[Kept, braid.Record]:
    """Suppress what is under the threshold, as the detector's FPGA would, and record what is left.

    Parameters
    ----------
    run : Run
        The open run.
    ranks : Ranks
        This process among the others.
    settings : Settings
        What the configuration file says.
    directory : Path
        Where the folder of the reduced data is, or will be.
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
    with run.activity("reduce", used=frames, params={"threshold": settings.threshold}) as activity:
        kept = suppress(raw.counts, settings.threshold)
        path = directory / "reduced" / f"rank-{ranks.rank}.h5"
        columns = {name: getattr(kept, name) for name in ("frame", "row", "column", "value")}
        _write(path, columns, {"shape": kept.shape, "threshold": settings.threshold})
        reduced = activity.data(
            f"reduced/{SCAN}/rank-{ranks.rank}",
            path=path,
            shape=kept.value.shape,
            dtype=kept.value.dtype.str,
            unit="counts",
            tags={"kept": kept.kept, "dropped": kept.dropped},
        )
    return kept, reduced


def _write(path: Path, datasets: Mapping[str, NDArray[Any]], attributes: Mapping[str, object]) -> None:
    """Write an HDF5 file aside and rename it: at its name there is a whole file, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # a second job may be at work in this directory, on this node or another
    aside = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        with h5py.File(aside, "w") as file:
            for name, values in datasets.items():
                file[name] = values
            file.attrs.update(attributes)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)

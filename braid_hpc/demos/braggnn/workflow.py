"""The BraggNN job: configuration, frames, reduction, peaks, training and inference, each step recorded.

Everything a rank records is its own statement; no recording call talks to another rank. The lines that record are the
ones that mention ``run`` or an activity, and the workflow would be the same program without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.demos.braggnn.acquisition import measure, reduce
from braid_hpc.demos.braggnn.network import LAYERS, inputs
from braid_hpc.demos.braggnn.peaks import PATCH, SMALLEST, Peaks, errors, find_peaks, select
from braid_hpc.demos.braggnn.settings import FILE_NAME, SCAN, Settings, prepare
from braid_hpc.demos.braggnn.training import train
from braid_hpc.demos.network import predict
from braid_hpc.demos.program import Stage, perform

__all__ = ["main"]

POSITIONS = {
    "frame": "int32",
    "x": "float32",
    "y": "float32",
    "x_true": "float32",
    "y_true": "float32",
    "error": "float32",
}
UNITS = {name: "px" for name in POSITIONS if name != "frame"}


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
    return perform("braggnn", prepare, job, argv)


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
        The ranks hold different models after an epoch.
    """
    run, settings, rank = stage.run, stage.settings, stage.ranks.rank
    tags = {"energy_keV": settings.energy_keV, "seed": settings.seed}
    config = run.fact(f"config/{SCAN}", path=stage.directory / FILE_NAME, tags=tags)
    raw, frames = measure(stage, config)
    kept, reduced = reduce(stage, raw, frames)
    with run.activity("find-peaks", used=reduced, params={"smallest": SMALLEST, "patch": PATCH}) as activity:
        activity.use(frames)  # the true positions, to learn from and to measure with, are in its file
        peaks = find_peaks(kept, settings.background, raw.truth)
        known = ~np.isnan(peaks.true[:, 0])
        late = peaks.frame >= settings.frames - settings.held_out
        training, held_out = select(peaks, known & ~late), select(peaks, late)
        learn_from = activity.data(f"peaks/{SCAN}/rank-{rank}", array=training.table, unit="px")
        # a record of its own, so that the lineage of the model shows that it never saw these
        ask_for = activity.data(f"held-out/{SCAN}/rank-{rank}", array=held_out.table, unit="px")
    weights, model = train(stage, training, (config, learn_from))
    infer(stage, weights, held_out, (model, ask_for))


def infer(
    stage: Stage[Settings], weights: NDArray[np.float64], peaks: Peaks, parents: tuple[braid.Record, braid.Record]
) -> None:
    """Place the held-out peaks with the model, and by centre of mass, into one stream each.

    Parameters
    ----------
    stage : Stage
        Where the workflow runs.
    weights : ndarray of float64, shape (weights,)
        Of the model.
    peaks : Peaks
        Peaks of frames that the model has not seen.
    parents : tuple of Record
        The model and the record of these peaks.
    """
    model, ask_for = parents
    run, rank = stage.run, stage.ranks.rank
    with run.activity("infer", used=model) as activity:
        activity.use(ask_for)
        placed = peaks.centre + predict(weights, inputs(peaks), LAYERS)
        activity.array(f"positions/{SCAN}/rank-{rank}", placed, unit="px", derived_from=[model, ask_for])
        for name, position, source in (
            ("peak-positions", placed, [model, ask_for]),
            ("peak-positions-com", peaks.centre, [ask_for]),
        ):
            stream = run.stream(name, POSITIONS, units=UNITS, derived_from=source)
            stream.extend(_columns(rank * stage.settings.frames + peaks.frame, position, peaks.true))


def _columns(frame: NDArray[Any], position: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Give the columns of a stream of positions."""
    parts = (*position.T, *true.T, errors(position, true))
    columns = {name: part.astype(np.float32) for name, part in zip(UNITS, parts, strict=True)}
    return {"frame": frame.astype(np.int32), **columns}

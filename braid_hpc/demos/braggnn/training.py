"""Training on the peaks of all ranks, each epoch recorded as a version of the model."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.demos.braggnn.network import LAYERS, inputs, targets
from braid_hpc.demos.braggnn.peaks import Peaks
from braid_hpc.demos.braggnn.settings import Settings
from braid_hpc.demos.files import write_h5
from braid_hpc.demos.network import Learner, first_weights
from braid_hpc.demos.program import Stage

__all__ = ["train"]


def train(
    stage: Stage[Settings], peaks: Peaks, parents: tuple[braid.Record, braid.Record]
) -> tuple[NDArray[np.float64], braid.Record]:
    """Train the network on the peaks of all ranks; each epoch is a version of the model, and a checkpoint.

    Parameters
    ----------
    stage : Stage
        Where the workflow runs.
    peaks : Peaks
        This rank's peaks, their true positions known.
    parents : tuple of Record
        The configuration, from which the first weights follow, and the record of the peaks.

    Returns
    -------
    weights : ndarray of float64, shape (weights,)
        After the last epoch; the same bytes on all ranks.
    model : Record
        The last version of the model.

    Raises
    ------
    OSError
        A checkpoint cannot be written.
    RuntimeError
        The ranks hold different weights after an epoch.
    """
    run, settings = stage.run, stage.settings
    config, learn_from = parents
    learner = Learner(stage.ranks, LAYERS, first_weights(settings.seed, LAYERS), [settings.seed, 1])
    model = run.model("braggnn", array=learner.weights, derived_from=config, tags={"epoch": 0})
    progress = run.stream(
        "training", {"epoch": "int32", "error": "float32", "seconds": "float32"}, units={"error": "px", "seconds": "s"}
    )
    # the learning rate falls towards zero over all steps of all epochs
    rates = settings.learning_rate * (
        1.0 - np.arange(settings.epochs * settings.steps) / settings.epochs / settings.steps
    )
    for epoch, part in enumerate(rates.reshape(settings.epochs, settings.steps), 1):
        begin = time.monotonic()
        error = learner.epoch(inputs(peaks), targets(peaks), batch=settings.batch, rates=part.tolist())
        tags = {"epoch": epoch, "training_error_px": error, "same_on_all_ranks": True}
        model = run.model("braggnn", array=learner.weights, derived_from=[model, learn_from], tags=tags)
        if stage.ranks.rank == 0:
            # all ranks hold the same weights, so one file is enough to go on from
            path = stage.directory / "checkpoints" / f"epoch-{epoch:02}.h5"
            write_h5(path, {"weights": learner.weights}, {"epoch": epoch, "layers": LAYERS})
            run.record("checkpoint", "braggnn", path=path, derived_from=model, tags={"epoch": epoch})
        progress.append(epoch, error, time.monotonic() - begin)
        stage.say(f"epoch {epoch:2} of {settings.epochs}: training error {error:.3f} px")
        time.sleep(stage.pause)
    return learner.weights, model

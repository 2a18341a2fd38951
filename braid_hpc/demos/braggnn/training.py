"""Training on the peaks of all ranks, each epoch recorded as a version of the model."""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.demos.braggnn.network import Adam, first_weights, gradient, inputs, targets
from braid_hpc.demos.braggnn.peaks import Peaks
from braid_hpc.demos.braggnn.ranks import Ranks
from braid_hpc.demos.braggnn.settings import Settings

__all__ = ["train"]


def train(
    run: braid.Run,
    ranks: Ranks,
    settings: Settings,
    peaks: Peaks,
    parents: tuple[braid.Record, braid.Record],
    *,
    pause: float = 0.0,
) -> tuple[NDArray[np.float64], braid.Record]:
    """Train the network on the peaks of all ranks; each epoch is a version of the model.

    Parameters
    ----------
    run : Run
        The open run.
    ranks : Ranks
        This process among the others.
    settings : Settings
        What the configuration file says.
    peaks : Peaks
        This rank's peaks, their true positions known.
    parents : tuple of Record
        The configuration, from which the first weights follow, and the record of the peaks.
    pause : float
        Seconds to sleep after each epoch.

    Returns
    -------
    weights : ndarray of float64, shape (weights,)
        After the last epoch; the same bytes on all ranks.
    model : Record
        The last version of the model.

    Raises
    ------
    RuntimeError
        The ranks hold different weights after an epoch.
    """
    config, learn_from = parents
    weights = first_weights(settings.seed)
    model = run.model("braggnn", array=weights, derived_from=config, tags={"epoch": 0})
    progress = run.stream(
        "training", {"epoch": "int32", "error": "float32", "seconds": "float32"}, units={"error": "px", "seconds": "s"}
    )
    adam = Adam(np.zeros_like(weights), np.zeros_like(weights))
    seen, wanted = inputs(peaks), targets(peaks)
    random = np.random.default_rng([settings.seed, ranks.rank, 1])
    for epoch in range(1, settings.epochs + 1):
        begin, loss = time.monotonic(), 0.0
        for step in range(settings.steps):
            done = (epoch - 1 + step / settings.steps) / settings.epochs
            choice = random.integers(0, len(seen), settings.batch if len(seen) else 0)
            mean, derivative = _mean_gradient(ranks, weights, seen[choice], wanted[choice])
            weights = adam.step(weights, derivative, settings.learning_rate * (1 - done))
            loss += mean / settings.steps
        error = float(np.sqrt(loss))  # rms over the epoch, while the weights moved
        tags = {"epoch": epoch, "training_error_px": error}
        model = run.model("braggnn", array=weights, derived_from=[model, learn_from], tags=tags)
        progress.append(epoch, error, time.monotonic() - begin)
        same = ranks.all_same(weights.tobytes())
        run.tag(model, "same_on_all_ranks", same)
        if not same:
            raise RuntimeError(f"the ranks hold different models after epoch {epoch}")
        if ranks.rank == 0:
            print(f"epoch {epoch:2} of {settings.epochs}: training error {error:.3f} px", file=sys.stderr)
        time.sleep(pause)
    return weights, model


def _mean_gradient(
    ranks: Ranks, weights: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Average loss and derivative over the batches of all ranks, in one collective."""
    loss, derivative = gradient(weights, x, y)
    total = ranks.total(np.concatenate([derivative, [loss, len(x)]]))
    # a rank without a peak adds nothing; if none has any, nothing is learned
    total /= max(total[-1], 1.0)
    return float(total[-2]), total[:-2]

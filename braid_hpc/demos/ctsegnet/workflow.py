"""The job: scan and reconstruction, first versions from labels by hand, then rounds of masks, vote and training.

The lines that record are the ones that mention ``run`` or an activity; the workflow would be the same without them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.demos.ctsegnet.ensemble import dice, inputs, layers, segment, vote
from braid_hpc.demos.ctsegnet.scan import reconstruct, take
from braid_hpc.demos.ctsegnet.settings import FILE_NAME, WINDOWS, Settings, prepare
from braid_hpc.demos.files import write_h5
from braid_hpc.demos.network import Learner, first_weights
from braid_hpc.demos.program import Stage, perform

__all__ = ["main"]

OVERLAPS = {"round": "int32", "masks": "text", "dice": "float64"}


@dataclass(slots=True)
class Model:
    """A model of the ensemble as it is now, and its record."""

    number: int
    weights: NDArray[np.float64]
    record: braid.Record

    @property
    def name(self) -> str:
        """What its versions are recorded by."""
        return f"segnet-{self.number + 1}"


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
    return perform("ctsegnet", prepare, job, argv)


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
        The ranks hold different models after a training.
    """
    run, settings = stage.run, stage.settings
    config = run.fact("config/tomography", path=stage.directory / FILE_NAME, tags={"seed": settings.seed})
    images, truth, image = _measure(stage, config)
    models = _first_versions(stage, images, truth, image)
    overlaps = run.stream("overlaps", OVERLAPS)
    for number in range(1, settings.rounds + 1):
        masks, records = _segment(stage, number, models, images, image)
        with run.activity("vote", used=records, params={"round": number}) as activity:
            agreed = vote(masks)
            tags = {"round": number, "pore_pixels": int(agreed.sum())}
            voted = activity.array(f"vote/rank-{stage.ranks.rank}", agreed, derived_from=records, tags=tags)
        for name, mask in (*zip((model.name for model in models), masks, strict=True), ("vote", agreed)):
            found = dice(stage.ranks.total(np.array([(mask & truth).sum(), mask.sum(), truth.sum()], dtype=np.float64)))
            overlaps.append(number, name, found)
        stage.say(f"round {number} of {settings.rounds}: Dice overlap of the vote with the truth {found:.3f}")
        for model in models:
            parents = [model.record, voted, image]
            _train(stage, model, inputs(images, model.number), agreed.ravel(), parents)
        time.sleep(stage.pause)


def _measure(
    stage: Stage[Settings], config: braid.Record
) -> tuple[NDArray[np.float32], NDArray[np.bool_], braid.Record]:
    """Scan this rank's slices and reconstruct them; both are recorded."""
    run, settings, rank = stage.run, stage.settings, stage.ranks.rank
    scan = take(settings, rank)
    path = stage.directory / "scan" / f"rank-{rank}.h5"
    write_h5(path, {"counts": scan.counts, "truth": scan.truth}, {"photons": settings.photons})
    about = {"shape": scan.counts.shape, "dtype": scan.counts.dtype.str, "unit": "photons"}
    taken = run.data(f"scan/rank-{rank}", path=path, derived_from=config, **about)
    with run.activity("reconstruct", used=taken, params={"filter": "ramp, cosine"}) as activity:
        images = reconstruct(scan.counts, settings.photons)
        image = activity.array(f"image/rank-{rank}", images, derived_from=taken)
    return images, scan.truth, image


def _first_versions(
    stage: Stage[Settings], images: NDArray[np.float32], truth: NDArray[np.bool_], image: braid.Record
) -> list[Model]:
    """Train the first version of every model on the few pixels that a person has labelled."""
    run, settings, rank = stage.run, stage.settings, stage.ranks.rank
    random = np.random.default_rng([settings.seed, rank, 1])
    flat = truth.ravel()
    half = settings.labelled // 2
    chosen = np.concatenate([random.choice(np.flatnonzero(flat == pore), half) for pore in (True, False)])
    # a person is sometimes wrong
    said = flat[chosen] ^ (random.random(chosen.size) < 0.15)
    labels = run.array(f"labels/rank-{rank}", np.column_stack([chosen, said]), derived_from=image)
    models = []
    for number in range(len(WINDOWS)):
        model = Model(number, first_weights(settings.seed + number, layers(number)), braid.Record(bytes(16), 0))
        _train(stage, model, inputs(images, number)[chosen], said, [labels, image])
        models.append(model)
    return models


def _segment(
    stage: Stage[Settings], number: int, models: list[Model], images: NDArray[np.float32], image: braid.Record
) -> tuple[list[NDArray[np.bool_]], list[braid.Record]]:
    """Let every model make its masks of this rank's slices."""
    masks, records = [], []
    for model in models:
        with stage.run.activity("segment", used=[model.record, image], params={"round": number}) as activity:
            mask = segment(model.weights, images, model.number)
            name = f"mask/{model.name}/rank-{stage.ranks.rank}"
            tags = {"round": number, "pore_pixels": int(mask.sum())}
            records.append(activity.array(name, mask, derived_from=[model.record, image], tags=tags))
            masks.append(mask)
    return masks, records


def _train(
    stage: Stage[Settings],
    model: Model,
    x: NDArray[np.float64],
    pores: NDArray[np.bool_],
    parents: list[braid.Record],
) -> None:
    """Train a model on the pixels of all ranks; what comes out is its next version."""
    settings = stage.settings
    with stage.run.activity("train", used=parents) as activity:
        learner = Learner(stage.ranks, layers(model.number), model.weights, [settings.seed, 2, model.number])
        rates = settings.learning_rate * (1.0 - np.arange(settings.steps) / settings.steps)
        y = np.where(pores, 1.0, -1.0)[:, None]
        loss = learner.epoch(x, y, batch=settings.batch, rates=rates.tolist())
        model.weights = learner.weights
        tags = {"loss": loss, "window": WINDOWS[model.number]}
        model.record = activity.array(model.name, learner.weights, kind="model", derived_from=parents, tags=tags)

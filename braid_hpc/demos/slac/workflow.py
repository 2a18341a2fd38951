"""The edge-reduction job: simulation and calibration, one model of both, two firmware builds, two shifts of shots.

The lines that record are the ones that mention ``run`` or an activity; the workflow would be the same without them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.demos.files import write_h5
from braid_hpc.demos.network import Learner, first_weights
from braid_hpc.demos.program import Stage, perform
from braid_hpc.demos.slac.firmware import Firmware, build, cut_for, layers, read_firmware
from braid_hpc.demos.slac.settings import FILE_NAME, Settings, prepare
from braid_hpc.demos.slac.simulate import Shots, angles, experiment, simulation

__all__ = ["main"]

DECISIONS = {"event": "int64", "usercode": "uint32", "score": "int32", "kept": "bool", "beam": "bool"}
REDUCED = {"event": "int64", "channel": "int16", "sample": "int16", "value": "int16"}
STREAKING = {"event": "int64", "angle": "float32", "swing": "float32", "error": "float32"}
ANGLE_UNITS = {"angle": "rad", "swing": "samples", "error": "rad"}


@dataclass(frozen=True, slots=True)
class Known:
    """What a rank learns from: shots of which it is known whether there was beam, and what was measured in them."""

    simulated: Shots
    calibration: Shots
    pedestal: NDArray[np.int32]
    threshold: int


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
    return perform("slac", prepare, job, argv)


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
    settings, rank = stage.settings, stage.ranks.rank
    config = stage.run.fact("config/cookiebox", path=stage.directory / FILE_NAME, tags={"seed": settings.seed})
    simulated, calibration = simulation(settings, rank), experiment(settings, rank, 0)
    learn_from = [
        _written(stage, f"simulation/rank-{rank}", simulated, config),
        _written(stage, f"calibration/rank-{rank}", calibration, config),
    ]
    known = Known(simulated, calibration, *_measured(stage, calibration))
    for shift, (weights, model) in enumerate(_train(stage, known, learn_from, config), 1):
        firmware, record = _build(stage, shift, known, weights, model)
        _shift(stage, shift, firmware, record)


def _written(stage: Stage[Settings], name: str, shots: Shots, config: braid.Record) -> braid.Record:
    """Write shots to learn from, and record their file."""
    path = stage.directory / f"{name}.h5"
    write_h5(path, {"waveforms": shots.waveforms, "beam": shots.beam}, {})
    about = {"shape": shots.waveforms.shape, "dtype": shots.waveforms.dtype.str, "unit": "counts"}
    tags = {"shots": shots.beam.size, "with_beam": int(shots.beam.sum())}
    return stage.run.data(name, path=path, derived_from=config, tags=tags, **about)


def _measured(stage: Stage[Settings], calibration: Shots) -> tuple[NDArray[np.int32], int]:
    """Measure pedestal and noise in the shots without beam of all ranks."""
    dark = calibration.waveforms[~calibration.beam].astype(np.float64)
    # medians over each rank's samples: a dark hit moves them by nothing that counts
    level = np.median(dark, axis=(0, 2))
    spread = 1.4826 * np.median(np.abs(dark - level[:, None]))
    mean = stage.ranks.total(np.append(level, spread)) / stage.ranks.size
    return np.rint(mean[:-1]).astype(np.int32), math.ceil(stage.settings.threshold_sigma * float(mean[-1]))


def _train(
    stage: Stage[Settings], known: Known, learn_from: list[braid.Record], config: braid.Record
) -> Iterator[tuple[NDArray[np.float64], braid.Record]]:
    """Train on both; give the quick model as soon as there is one, and the final one, with their records."""
    run, settings = stage.run, stage.settings
    # the simulated detector's pedestal is known, the real one's was measured
    flat = np.full(settings.channels, round(settings.pedestal), dtype=np.int32)
    units = layers(settings.channels)
    weights = first_weights(settings.seed, units)
    seen = [
        build(settings, weights, base, known.threshold).sums(shots.waveforms)
        for base, shots in ((flat, known.simulated), (known.pedestal, known.calibration))
    ]
    x = np.concatenate(seen) / 256.0
    y = np.concatenate([known.simulated.beam, known.calibration.beam])[:, None] * 2.0 - 1.0
    learner = Learner(stage.ranks, units, weights, [settings.seed, 3])
    model = run.array("cookienet", weights, kind="model", derived_from=config, tags={"epoch": 0})
    done = np.arange(settings.epochs * settings.steps) / (settings.epochs * settings.steps)
    rates = (settings.learning_rate * (1.0 - done)).reshape(settings.epochs, settings.steps)
    for epoch, part in enumerate(rates, 1):
        with run.activity("train", params={"epoch": epoch}) as activity:
            loss = learner.epoch(x, y, batch=settings.batch, rates=part.tolist())
            tags = {"epoch": epoch, "loss": loss}
            parents = [model, *learn_from]
            model = activity.array("cookienet", learner.weights, kind="model", derived_from=parents, tags=tags)
        stage.say(f"epoch {epoch} of {settings.epochs}: rms error {loss:.3f}")
        time.sleep(stage.pause)
        if epoch in (settings.quick, settings.epochs):
            yield learner.weights, model


def _build(
    stage: Stage[Settings], number: int, known: Known, weights: NDArray[np.float64], model: braid.Record
) -> tuple[Firmware, braid.Record]:
    """Build the firmware from a model; one rank writes its file, and all of them load it from there."""
    path = stage.directory / "firmware" / f"cookiebox-{number}.json"
    with stage.run.activity("build-firmware", used=model) as activity:
        trial = build(stage.settings, weights, known.pedestal, known.threshold)
        scores = trial.scores(trial.sums(known.calibration.waveforms[known.calibration.beam]))
        cut = cut_for(stage.ranks.everyones(scores), stage.settings.efficiency)
        if stage.ranks.rank == 0:
            replace(trial, cut=cut).write(path)
        stage.ranks.all_well(True)  # nobody reads before it is written
        firmware = read_firmware(path)
        tags = {"usercode": firmware.usercode, "threshold": firmware.threshold, "cut": firmware.cut}
        record = activity.record("firmware", "cookiebox", path=path, derived_from=model, tags=tags)
    return firmware, record


def _shift(stage: Stage[Settings], shift: int, firmware: Firmware, loaded: braid.Record) -> None:
    """Let the firmware decide on every shot of a shift, and infer the field from what it kept."""
    run, rank, n = stage.run, stage.ranks.rank, stage.settings.shots
    shots = experiment(stage.settings, rank, shift)
    event = ((shift - 1) * stage.ranks.size + rank) * n + np.arange(n)
    # the waveforms reach no disk: of them there is a digest, and what the board decided
    raw = run.data(f"shots/shift-{shift}/rank-{rank}", array=shots.waveforms, unit="counts", tags={"first": event[0]})
    with run.activity("reduce", used=[loaded, raw], params={"shift": shift}):
        score = firmware.scores(firmware.sums(shots.waveforms))
        kept = score >= firmware.cut
        decisions = run.stream(f"decisions/shift-{shift}", DECISIONS, derived_from=[loaded, raw])
        decisions.extend(
            {
                "event": event,
                "usercode": np.full(n, firmware.usercode, dtype=np.uint32),
                "score": score,
                "kept": kept,
                "beam": shots.beam,
            }
        )
        above = shots.waveforms[kept].astype(np.int32) - firmware.pedestal[:, None]
        where = np.nonzero(above >= firmware.threshold)
        reduced = run.stream(f"reduced/shift-{shift}", REDUCED, units={"value": "counts"}, derived_from=[loaded, raw])
        value = above[where]
        columns = (event[kept][where[0]], *(part.astype(np.int16) for part in (where[1], where[2], value)))
        reduced.extend(dict(zip(REDUCED, columns, strict=True)))
    with run.activity("infer-field", used=f"stream:reduced/shift-{shift}"):
        streaking = run.stream(
            f"streaking/shift-{shift}", STREAKING, units=ANGLE_UNITS, derived_from=f"stream:reduced/shift-{shift}"
        )
        angle, swing = field(np.where(above >= firmware.threshold, above, 0))
        error = np.angle(np.exp(1j * (angle - shots.angle[kept])))
        error[~shots.beam[kept]] = np.nan  # a shot without beam has no field to compare with
        columns = (event[kept], *(part.astype(np.float32) for part in (angle, swing, error)))
        streaking.extend(dict(zip(STREAKING, columns, strict=True)))


def field(above: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Infer direction and size of the streaking field from the arrival times around the ring.

    Parameters
    ----------
    above : ndarray of int32, shape (shots, channels, samples)
        Counts above the pedestal, zero under the threshold.

    Returns
    -------
    angle : ndarray of float64, shape (shots,)
        In rad.
    swing : ndarray of float64, shape (shots,)
        In samples.
    """
    mass = above.sum(axis=2).astype(np.float64)
    moment = (above * np.arange(above.shape[2])).sum(axis=2)
    arrival = moment / np.maximum(mass, 1.0)
    around = angles(above.shape[1])
    design = np.column_stack([np.ones_like(around), np.cos(around), np.sin(around)])
    # least squares of arrival = middle + a cos + b sin, each channel weighing what it saw
    normal = np.einsum("nc,ci,cj->nij", mass, design, design) + 1e-6 * np.eye(3)
    right = np.einsum("nc,nc,ci->ni", mass, arrival, design)
    _, cosine, sine = np.linalg.solve(normal, right[..., None])[..., 0].T
    return np.arctan2(sine, cosine), np.hypot(sine, cosine)

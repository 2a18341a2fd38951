"""Shots of a ring of electron detectors: electrons whose time of flight turns with the streaking field.

In a shot with beam, each channel sees a few electrons, and the time they arrive at swings with the angle of the
channel: early on one side of the ring, late on the other. The direction and the size of that swing are what the
experiment measures. Without beam there are only dark hits, at any time. The real detector has what the simulation has
not: every channel its own gain, pedestal and a slow pickup, and noise a bit above the design's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.slac.settings import Settings

__all__ = ["Shots", "angles", "experiment", "simulation"]

PULSE = 1.3
"""Samples: the width (standard deviation) of an electron's pulse."""

HEIGHT = 34.0
"""Counts: mean height of an electron's pulse; a multiplier gives each one another."""

FULL_SCALE = 4095
"""Counts, where the converter stops."""


@dataclass(frozen=True, slots=True)
class Shots:
    """Shots, and the truth about them.

    Attributes
    ----------
    waveforms : ndarray of uint16, shape (shots, channels, samples)
        What the converters read, in counts.
    beam : ndarray of bool, shape (shots,)
        Whether there was beam.
    angle, swing : ndarray of float64, shape (shots,)
        Direction of the streaking field, in rad, and how far it moves the arrival, in samples.
    """

    waveforms: NDArray[np.uint16]
    beam: NDArray[np.bool_]
    angle: NDArray[np.float64]
    swing: NDArray[np.float64]


def angles(channels: int) -> NDArray[np.float64]:
    """Give where the channels stand.

    Parameters
    ----------
    channels : int
        How many.

    Returns
    -------
    ndarray of float64, shape (channels,)
        In rad, evenly around the beam.
    """
    return np.linspace(0.0, 2 * np.pi, channels, endpoint=False, dtype=np.float64)


def simulation(settings: Settings, rank: int) -> Shots:
    """Simulate the shots of one rank, with the detector as it was designed.

    Parameters
    ----------
    settings : Settings
        The configuration.
    rank : int
        Ranks simulate different shots; the same seed and rank always give the same ones.

    Returns
    -------
    Shots
        Half of them with beam.
    """
    random = np.random.default_rng([settings.seed, 0, rank])
    design = np.ones(settings.channels)
    return _shots(settings, settings.simulated, random, design, settings.pedestal * design, noise=settings.noise)


def experiment(settings: Settings, rank: int, part: int) -> Shots:
    """Give the shots that one rank's part of the detector's data holds.

    Parameters
    ----------
    settings : Settings
        The configuration.
    rank : int
        Ranks read different shots of one and the same detector.
    part : int
        0 for the calibration, 1 and 2 for the shifts.

    Returns
    -------
    Shots
        As measured, with what is known of them.
    """
    detector = np.random.default_rng([settings.seed, 1])
    gain = detector.normal(1.0, 0.12, settings.channels).clip(0.6, 1.4)
    pedestal = settings.pedestal + detector.normal(0.0, 6.0, settings.channels)
    random = np.random.default_rng([settings.seed, 2, part, rank])
    n = settings.shots if part else settings.calibration
    return _shots(settings, n, random, gain, pedestal, noise=1.15 * settings.noise, pickup=2.0)


def _shots(
    settings: Settings,
    n: int,
    random: np.random.Generator,
    gain: NDArray[np.float64],
    pedestal: NDArray[np.float64],
    *,
    noise: float,
    pickup: float = 0.0,
) -> Shots:
    """Draw electrons and lay their pulses over pedestal, pickup and noise."""
    channels, samples = settings.channels, settings.samples
    beam = random.random(n) < 0.5
    angle, swing = random.uniform(-np.pi, np.pi, n), random.uniform(4.0, 9.0, n)
    # a self-amplified beam: some shots are weak, and those are the hard ones
    intensity = np.where(beam, random.gamma(3.0, 1 / 3, n), 0.0)
    middle = (settings.window_begin + settings.window_end) / 2
    arrival = middle + swing[:, None] * np.cos(angles(channels) - angle[:, None])
    wave = pedestal[:, None] + random.normal(0.0, noise, (n, channels, samples))
    phase = random.uniform(0, 2 * np.pi, (n, 1, 1))
    wave += pickup * np.sin(phase + np.arange(samples) * (2 * np.pi / 48))
    hits = random.poisson(np.broadcast_to(settings.electrons * intensity[:, None], (n, channels)))
    shot, channel = _each(hits)
    _lay(wave, shot, channel, arrival[shot, channel] + random.normal(0.0, 1.5, shot.size), gain, random)
    shot, channel = _each(random.poisson(settings.dark_hits, (n, channels)))
    _lay(wave, shot, channel, random.uniform(0, samples, shot.size), gain, random)
    return Shots(np.clip(np.rint(wave), 0, FULL_SCALE).astype(np.uint16), beam, angle, swing)


def _each(hits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give shot and channel of every single electron."""
    shot, channel = np.nonzero(hits)
    number = hits[shot, channel]
    return np.repeat(shot, number), np.repeat(channel, number)


def _lay(
    wave: NDArray[np.float64],
    shot: NDArray[np.int64],
    channel: NDArray[np.int64],
    time: NDArray[np.float64],
    gain: NDArray[np.float64],
    random: np.random.Generator,
) -> None:
    """Add a pulse for each electron."""
    height = HEIGHT * gain[channel] * random.gamma(4.0, 0.25, shot.size)
    first = np.rint(time).astype(np.int64)
    for offset in range(-5, 6):
        sample = first + offset
        inside = (sample >= 0) & (sample < wave.shape[2])
        form = height * np.exp(-(((sample - time) / PULSE) ** 2) / 2)
        np.add.at(wave, (shot[inside], channel[inside], sample[inside]), form[inside])

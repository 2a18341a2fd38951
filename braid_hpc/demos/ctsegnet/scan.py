"""A phantom, what the detector reads of it, and the slices that are reconstructed from that.

The sample is a disc of two solid phases with pores in it. The detector counts photons; their logarithm is the
projection, a ramp filter sharpens it, and back projection gives the slice, with the noise that few photons leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.ctsegnet.settings import Settings
from braid_hpc.kernels.backproject import back_project

__all__ = ["Scan", "phantom", "project", "reconstruct", "take"]

SOLID, DENSE = 0.025, 0.031
"""1/px: attenuation of the two phases."""


RADIUS = 0.44
"""Of the sample, in units of the side of a slice."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The scan of some slices, and the truth about them.

    Attributes
    ----------
    counts : ndarray of uint16, shape (slices, angles, side)
        Photons.
    truth : ndarray of bool, shape (slices, side, side)
        Where the pores are.
    """

    counts: NDArray[np.uint16]
    truth: NDArray[np.bool_]


def angles(n: int) -> NDArray[np.float64]:
    """Give the angles of a scan.

    Parameters
    ----------
    n : int
        How many.

    Returns
    -------
    ndarray of float64, shape (n,)
        In rad, over half a turn.
    """
    return np.linspace(0.0, np.pi, n, endpoint=False, dtype=np.float64)


def phantom(settings: Settings, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Make a slice.

    Parameters
    ----------
    settings : Settings
        The configuration.
    random : Generator
        To draw phases and pores from.

    Returns
    -------
    attenuation : ndarray of float64, shape (side, side)
        In 1/px.
    pores : ndarray of bool, shape (side, side)
        Where there is no solid within the sample.
    """
    side = settings.side
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    sample = np.hypot(x, y) < RADIUS * side
    image = np.where(sample, SOLID, 0.0)
    for middle_x, middle_y in random.uniform(-0.35 * side, 0.35 * side, (4, 2)):
        image[sample & (np.hypot(x - middle_x, y - middle_y) < 0.14 * side)] = DENSE
    pores = np.zeros_like(sample)
    for _ in range(settings.pores):
        radius, angle = 0.36 * side * np.sqrt(random.random()), random.uniform(0, 2 * np.pi)
        long, short = random.uniform(2.0, 5.0, 2)
        turn = random.uniform(0, np.pi)
        dx, dy = x - radius * np.cos(angle), y - radius * np.sin(angle)
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        pores |= (along / long) ** 2 + (across / short) ** 2 < 1
    pores &= sample
    image[pores] = 0.0
    return image, pores


def project(image: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the projections of a slice: each pixel falls on the two nearest pixels of the detector.

    Parameters
    ----------
    image : ndarray of float64, shape (side, side)
        Attenuation, in 1/px.
    directions : ndarray of float64, shape (angles,)
        In rad, as :func:`braid_hpc.kernels.backproject.back_project` counts them.

    Returns
    -------
    ndarray of float64, shape (angles, side)
        Attenuation along each ray.
    """
    side = len(image)
    row, column = np.nonzero(image)
    middle, weight = (side - 1) / 2, image[row, column]
    lines = []
    for angle in directions:
        place = (column - middle) * np.cos(angle) + (row - middle) * np.sin(angle) + middle
        left = np.floor(place).astype(np.int64).clip(0, side - 2)
        part = place - left
        lines.append(np.bincount(left, weight * (1 - part), side) + np.bincount(left + 1, weight * part, side))
    return np.array(lines)


def take(settings: Settings, rank: int) -> Scan:
    """Scan the slices of one rank.

    Parameters
    ----------
    settings : Settings
        The configuration.
    rank : int
        Ranks have different slices; the same seed and rank always give the same ones.

    Returns
    -------
    Scan
        With counting noise.
    """
    random = np.random.default_rng([settings.seed, rank])
    made = [phantom(settings, random) for _ in range(settings.slices)]
    lines = np.array([project(image, angles(settings.angles)) for image, _ in made])
    counts = np.minimum(random.poisson(settings.photons * np.exp(-lines)), 65_535).astype(np.uint16)
    return Scan(counts, np.array([pores for _, pores in made]))


def reconstruct(counts: NDArray[np.uint16], photons: float) -> NDArray[np.float32]:
    """Reconstruct slices by filtered back projection.

    Parameters
    ----------
    counts : ndarray of uint16, shape (slices, angles, side)
        As the detector read them.
    photons : float
        Without a sample.

    Returns
    -------
    ndarray of float32, shape (slices, side, side)
        Attenuation, in units of that of the solid. Outside of the sample it is 1.
    """
    lines = -np.log(np.maximum(counts, 0.5) / photons)
    side = counts.shape[2]
    # the ramp of Ram and Lak in real space, so that the mean comes out right; twice as wide, so that nothing wraps
    offset = np.fft.fftfreq(2 * side, 1 / (2 * side))
    odd = offset % 2 == 1
    ramp = np.where(odd, -1 / (np.pi * np.where(odd, offset, 1.0)) ** 2, 0.0)
    ramp[0] = 0.25
    smooth = np.fft.rfft(ramp) * np.cos(np.pi / 2 * np.linspace(0, 1, side + 1))
    filtered = np.fft.irfft(np.fft.rfft(lines, 2 * side, axis=2) * smooth, axis=2)[:, :, :side]
    directions = angles(counts.shape[1])
    images = np.array([back_project(each, directions) / SOLID for each in filtered], dtype=np.float32)
    # the air around the sample is no pore: it is filled with solid, as the rim is, whose pixels are only partly that
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    images[:, np.hypot(x, y) > RADIUS * side - 1.0] = 1.0
    return images

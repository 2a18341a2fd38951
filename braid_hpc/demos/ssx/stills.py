"""Stills: what the detector sees of crystals that are thrown into the beam in random orientations."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.ssx.crystal import indices, intensities, predict, rotation
from braid_hpc.demos.ssx.settings import Settings

__all__ = ["Stills", "simulate"]

SPOT = 0.8
"""px: the width (standard deviation) of a spot."""

REACH = 3
"""px: how far from its middle pixel a spot is drawn."""

INDEXING_ERROR = 1.5e-4
"""rad: how far off the orientation is that indexing finds."""


@dataclass(frozen=True, slots=True)
class Stills:
    """A series of stills.

    Attributes
    ----------
    images : ndarray of uint16, shape (stills, side, side)
        In counts.
    orientation : ndarray of float64, shape (stills, 3, 3)
        As indexing found them, a little off the truth.
    """

    images: NDArray[np.uint16]
    orientation: NDArray[np.float64]


def simulate(settings: Settings, experiment: int, series: int) -> Stills:
    """Make one series of an experiment.

    Parameters
    ----------
    settings : Settings
        Beamline and processing.
    experiment, series : int
        From 0; the same ones always give the same stills, on whichever rank.

    Returns
    -------
    Stills
        Each of another crystal.
    """
    beamline = settings.beamline
    random = np.random.default_rng([beamline.seed, 1, experiment, series])
    index, true = _reflections(settings.process.d_min, beamline.seed)
    shape = (beamline.stills, beamline.side, beamline.side)
    expected = np.full(shape, beamline.background)
    found = []
    for number in range(beamline.stills):
        orientation = rotation(random)
        spots = predict(beamline, orientation, index, 1.5 * settings.process.excitation)
        squared = true[_numbers(index, spots.index)]
        # crystals differ in size, and are hit more or less well
        light = beamline.flux * random.lognormal(0.0, 0.4) * squared * spots.partiality
        _draw(expected[number], spots.row, spots.column, light)
        found.append(_turned(orientation, random.normal(0.0, INDEXING_ERROR, 3)))
    images = np.minimum(random.poisson(expected), 65_535).astype(np.uint16)
    return Stills(images, np.array(found))


@functools.cache
def _reflections(d_min: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give all reflections and their squared structure factors: one crystal form for all stills."""
    index = indices(d_min)
    return index, intensities(index, seed)


def _numbers(index: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the numbers of some reflections within all of them, which are sorted."""
    base = np.abs(index).max() + 1
    weigh = np.array([(2 * base) ** 2, 2 * base, 1])
    found: NDArray[np.int64] = np.searchsorted(index @ weigh, some @ weigh)
    return found


def _turned(orientation: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn an orientation by a small vector of angles."""
    x, y, z = by
    small = np.array([[1.0, -z, y], [z, 1.0, -x], [-y, x, 1.0]])
    turned: NDArray[np.float64] = small @ orientation
    return turned


def _draw(
    image: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64], light: NDArray[np.float64]
) -> None:
    """Add round spots to an image."""
    window = np.arange(-REACH, REACH + 1)
    middle_row, middle_column = np.rint(row).astype(np.int64), np.rint(column).astype(np.int64)
    rows, columns = middle_row[:, None] + window, middle_column[:, None] + window
    down = np.exp(-(((rows - row[:, None]) / SPOT) ** 2) / 2)
    across = np.exp(-(((columns - column[:, None]) / SPOT) ** 2) / 2)
    form = light[:, None, None] * down[:, :, None] * across[:, None, :] / (2 * np.pi * SPOT**2)
    at_row, at_column = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
    inside = (at_row >= 0) & (at_row < image.shape[0]) & (at_column >= 0) & (at_column < image.shape[1])
    np.add.at(image, (at_row[inside], at_column[inside]), form[inside])

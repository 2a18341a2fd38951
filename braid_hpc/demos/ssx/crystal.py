"""The crystal: its cell, its structure factors, and where its reflections fall on the detector.

The cell is orthorhombic, in the space group P222: four copies of every atom, and eight equivalents of every reflection
(with Friedel's law), which are those with the same absolute indices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.ssx.settings import Beamline

__all__ = ["CELL", "WIDTH", "Spots", "indices", "intensities", "predict", "rotation"]

CELL = (24.0, 31.0, 42.0)
"""Angstrom: a, b and c."""

ATOMS = 28
"""In an asymmetric unit."""

B_FACTOR = 18.0
"""Square angstrom: how much the atoms move."""

WIDTH = 0.0013
"""1/angstrom: the width (standard deviation) of a reflection, from mosaic spread and bandwidth."""

OPERATORS = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])


@dataclass(frozen=True, slots=True)
class Spots:
    """Reflections of one crystal that are near the Ewald sphere and hit the detector.

    Attributes
    ----------
    index : ndarray of int64, shape (spots, 3)
        h, k and l.
    row, column : ndarray of float64, shape (spots,)
        On the detector, in px.
    partiality : ndarray of float64, shape (spots,)
        The part of each that is recorded, from 0 to 1.
    """

    index: NDArray[np.int64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    partiality: NDArray[np.float64]


def indices(d_min: float) -> NDArray[np.int64]:
    """Give all reflections up to a resolution.

    Parameters
    ----------
    d_min : float
        In angstrom.

    Returns
    -------
    ndarray of int64, shape (n, 3)
        h, k and l, without (0, 0, 0).
    """
    most = [int(edge / d_min) for edge in CELL]
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), axis=-1).reshape(-1, 3)
    square = ((grid / CELL) ** 2).sum(axis=1)
    found: NDArray[np.int64] = grid[(square > 0) & (square <= d_min**-2)]
    return found


def intensities(index: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Compute squared structure factors from the atoms.

    Parameters
    ----------
    index : ndarray of int64, shape (n, 3)
        h, k and l.
    seed : int
        Of the places of the atoms.

    Returns
    -------
    ndarray of float64, shape (n,)
        In square electrons, on a scale with mean 100 for a typical resolution.
    """
    random = np.random.default_rng([seed, 0])
    place, electrons = random.random((ATOMS, 3)), random.choice([6.0, 7.0, 8.0, 16.0], ATOMS, p=[0.6, 0.2, 0.18, 0.02])
    # equivalents have the same absolute indices, so an eighth of the work is enough
    unique, back = np.unique(np.abs(index), axis=0, return_inverse=True)
    factor = np.zeros(len(unique), dtype=np.complex128)
    for operator in OPERATORS:
        factor += np.exp(2j * np.pi * (unique @ (place * operator).T)) @ electrons
    factor = factor[back.ravel()]
    fall = np.exp(-B_FACTOR * ((index / CELL) ** 2).sum(axis=1) / 4)
    squared: NDArray[np.float64] = np.abs(factor * fall) ** 2 / (4 * ATOMS * 49 / 100)
    return squared


def rotation(random: np.random.Generator) -> NDArray[np.float64]:
    """Draw an orientation, all of them alike.

    Parameters
    ----------
    random : Generator
        To draw from.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        A rotation matrix.
    """
    w, x, y, z = (quaternion := random.normal(size=4)) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def predict(beamline: Beamline, orientation: NDArray[np.float64], index: NDArray[np.int64], excitation: float) -> Spots:
    """Say which reflections a crystal shows, and where.

    Parameters
    ----------
    beamline : Beamline
        The geometry.
    orientation : ndarray of float64, shape (3, 3)
        Of the crystal.
    index : ndarray of int64, shape (n, 3)
        Reflections to look at.
    excitation : float
        Those farther from the Ewald sphere are left out, in 1/angstrom.

    Returns
    -------
    Spots
        Those that hit the detector.
    """
    scattered = (index / CELL) @ orientation.T + np.array([0.0, 0.0, 1 / beamline.wavelength])
    error = np.linalg.norm(scattered, axis=1) - 1 / beamline.wavelength
    near = (np.abs(error) < excitation) & (scattered[:, 2] > 0)
    direction = scattered[near, :2] / scattered[near, 2:]
    column, row = (direction * (beamline.distance / beamline.pixel) + (beamline.side - 1) / 2).T
    hit = (row >= 0) & (row <= beamline.side - 1) & (column >= 0) & (column <= beamline.side - 1)
    partiality = np.exp(-((error[near] / WIDTH) ** 2) / 2)
    return Spots(index[near][hit], row[hit], column[hit], partiality[hit])

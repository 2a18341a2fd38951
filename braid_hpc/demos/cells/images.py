"""What a microscope would have seen of a cell, and what is computed of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "STRUCTURES", "principal_components", "projection", "scaled", "volume"]

CHANNELS = ("DNA", "membrane", "structure")

STRUCTURES = ("mitochondria", "nucleoli", "tight junctions")
"""What the third channel may show."""

_DEPTH, _SIDE = 6, 48
_OFFSET = 100
"""Counts that the camera adds to each pixel."""


def volume(cell_id: int, structure: str, seed: int) -> NDArray[np.uint16]:
    """Simulate the image of a cell.

    Parameters
    ----------
    cell_id : int
        Number of the cell: its shape follows from it.
    structure : str
        One of :data:`STRUCTURES`.
    seed : int
        Of all cells.

    Returns
    -------
    ndarray of uint16, shape (3, 6, 48, 48)
        Counts by channel, z, y and x.
    """
    random = np.random.default_rng([seed, cell_id])
    z, y, x = np.meshgrid(
        np.linspace(-1, 1, _DEPTH), np.linspace(-1, 1, _SIDE), np.linspace(-1, 1, _SIDE), indexing="ij"
    )
    radius = 0.6 + 0.2 * random.random()
    shift = random.uniform(-0.1, 0.1, 2)
    distance = np.sqrt(z**2 + (y - shift[0]) ** 2 + (x - shift[1]) ** 2)
    nucleus = distance < radius / 2
    membrane = np.abs(distance - radius) < 0.08
    inside = {
        "mitochondria": (distance < radius) & ~nucleus & (np.sin(20 * x + 9 * y) > 0.5),
        "nucleoli": distance < radius / 5,
        "tight junctions": membrane & (np.abs(z) > 0.5),
    }[structure]
    signal = np.stack([nucleus, membrane, inside]) * random.uniform(300, 900, (3, 1, 1, 1))
    return (random.poisson(signal + 20.0) + _OFFSET).astype(np.uint16)


def scaled(raw: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Scale each channel to 0 to 1, between its 1st and its 99.5th percentile.

    Parameters
    ----------
    raw : ndarray of uint16, shape (3, z, y, x)
        Counts.

    Returns
    -------
    ndarray of float32
        Of the same shape.
    """
    low, high = np.percentile(raw, [1.0, 99.5], axis=(1, 2, 3), keepdims=True)
    found: NDArray[np.float32] = np.clip((raw - low) / np.maximum(high - low, 1.0), 0.0, 1.0).astype(np.float32)
    return found


def projection(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Project an image along z, as colours.

    Parameters
    ----------
    image : ndarray of float32, shape (3, z, y, x)
        0 to 1.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
        The brightest of each column.
    """
    found: NDArray[np.uint8] = np.rint(image.max(axis=1) * 255.0).astype(np.uint8).transpose(1, 2, 0)
    return found


def principal_components(pictures: NDArray[np.uint8], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Describe pictures by few numbers.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (cells, y, x, 3)
        All of them.
    n : int
        How many numbers.

    Returns
    -------
    places : ndarray of float64, shape (cells, n)
        Of each picture along the components.
    share : ndarray of float64, shape (n,)
        Of the variance that each component has.
    """
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    left, strength, _ = np.linalg.svd(flat, full_matrices=False)
    return (left * strength)[:, :n], (strength**2 / np.sum(strength**2))[:n]

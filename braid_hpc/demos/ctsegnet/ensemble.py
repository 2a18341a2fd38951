"""The ensemble: small networks that classify pixels by their neighbourhood, their masks, the vote, and its overlap.

Each model sees a window of another size, so they err in different places, and the vote of all is better than each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.ctsegnet.settings import WINDOWS
from braid_hpc.demos.network import predict

__all__ = ["dice", "inputs", "layers", "segment", "vote"]


def layers(model: int) -> tuple[int, ...]:
    """Give the units of each layer of a model.

    Parameters
    ----------
    model : int
        From 0.

    Returns
    -------
    tuple of int
        The pixels of its window, a hidden layer, and the class.
    """
    return (WINDOWS[model] ** 2, 12, 1)


def inputs(images: NDArray[np.float32], model: int) -> NDArray[np.float64]:
    """Give what a model sees of every pixel.

    Parameters
    ----------
    images : ndarray of float32, shape (slices, side, side)
        Reconstructed.
    model : int
        From 0.

    Returns
    -------
    ndarray of float64, shape (slices * side * side, window * window)
        The neighbourhood of each pixel, centred on the solid's attenuation; mirrored at the rim.
    """
    window = WINDOWS[model]
    half = window // 2
    padded = np.pad(images, ((0, 0), (half, half), (half, half)), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (window, window), axis=(1, 2))
    return views.reshape(-1, window * window).astype(np.float64) - 0.5


def segment(weights: NDArray[np.float64], images: NDArray[np.float32], model: int) -> NDArray[np.bool_]:
    """Let a model say where the pores are.

    Parameters
    ----------
    weights : ndarray of float64, shape (weights,)
        Of the model.
    images : ndarray of float32, shape (slices, side, side)
        Reconstructed.
    model : int
        From 0.

    Returns
    -------
    ndarray of bool, shape (slices, side, side)
        Its masks.

    Raises
    ------
    ValueError
        The weights are not those of this model.
    """
    mask: NDArray[np.bool_] = predict(weights, inputs(images, model), layers(model)).reshape(images.shape) > 0
    return mask


def vote(masks: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Let the models vote, each pixel together with its eight neighbours: a pore is larger than a pixel.

    Parameters
    ----------
    masks : list of ndarray of bool, shape (slices, side, side)
        Of each model.

    Returns
    -------
    ndarray of bool, shape (slices, side, side)
        Where more than half of the votes are for a pore. The pixel itself counts as much as two neighbours.
    """
    ballots = np.sum(masks, axis=0).astype(np.float64)
    padded = np.pad(ballots, ((0, 0), (1, 1), (1, 1)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    result: NDArray[np.bool_] = views.sum(axis=(3, 4)) + ballots > len(masks) * 5
    return result


def dice(overlaps: NDArray[np.float64]) -> float:
    """Compute the overlap of masks with the truth, after Dice.

    Parameters
    ----------
    overlaps : ndarray of float64, shape (3,)
        Pixels in both, in the mask, and in the truth.

    Returns
    -------
    float
        From 0 to 1; 1 where both are empty.
    """
    both, mask, truth = overlaps
    return float(2 * both / (mask + truth)) if mask + truth else 1.0

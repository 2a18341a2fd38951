"""A small regression network in NumPy: from the patch of a peak to the place of its highest point.

The weights are one flat vector, so that a version of the model is one block of bytes, and the average of gradients over
ranks is one call. The network says how far the peak is from its centre of mass; with the first weights it says
nothing at all, so training starts from exactly the plain centre of mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.braggnn.peaks import PATCH, Peaks

__all__ = ["LAYERS", "Adam", "first_weights", "gradient", "inputs", "predict", "targets"]

Weights = NDArray[np.float64]
Block = NDArray[np.float64]

LAYERS = (PATCH * PATCH + 2, 48, 24, 2)
"""Units of each layer: the patch and where in its pixel the centre of mass lies, two hidden layers, (x, y)."""


def inputs(peaks: Peaks) -> Block:
    """Give what the network sees of each peak.

    Parameters
    ----------
    peaks : Peaks
        The peaks.

    Returns
    -------
    ndarray of float64, shape (n, LAYERS[0])
        The pixels of the patch, and the centre of mass relative to its middle, in px.
    """
    return np.column_stack([peaks.patch, peaks.centre - np.rint(peaks.centre)]).astype(np.float64)


def targets(peaks: Peaks) -> Block:
    """Give what the network should say.

    Parameters
    ----------
    peaks : Peaks
        Peaks whose true position is known.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        From the centre of mass to the true position (x, y), in px.
    """
    return peaks.true - peaks.centre


def first_weights(seed: int, layers: tuple[int, ...] = LAYERS) -> Weights:
    """Draw the weights that training starts from; the same on every rank.

    Parameters
    ----------
    seed : int
        Of the random numbers.
    layers : tuple of int
        Units of each layer.

    Returns
    -------
    ndarray of float64, shape (weights,)
        For each layer its matrix, row by row, then its offsets. The last layer is zero.
    """
    random = np.random.default_rng(seed)
    parts = []
    for into, out in pairwise(layers):
        parts += [random.normal(0.0, np.sqrt(2.0 / into), into * out), np.zeros(out)]
    parts[-2][:] = 0.0
    return np.concatenate(parts)


def predict(weights: Weights, x: Block, layers: tuple[int, ...] = LAYERS) -> Block:
    """Run the network.

    Parameters
    ----------
    weights : ndarray of float64, shape (weights,)
        As :func:`first_weights` lays them out.
    x : ndarray of float64, shape (n, layers[0])
        What it sees.
    layers : tuple of int
        Units of each layer.

    Returns
    -------
    ndarray of float64, shape (n, layers[-1])
        What it says, in px.

    Raises
    ------
    ValueError
        The number of weights is not that of the layers.
    """
    return _forward(_split(weights, layers), x)[-1]


def gradient(weights: Weights, x: Block, y: Block, layers: tuple[int, ...] = LAYERS) -> tuple[float, Weights]:
    """Add up the loss and its derivative over some peaks.

    Sums, not means: ranks may hold different numbers of peaks, and only sums add up over ranks to the right mean.

    Parameters
    ----------
    weights : ndarray of float64, shape (weights,)
        As :func:`first_weights` lays them out.
    x : ndarray of float64, shape (n, layers[0])
        What the network sees.
    y : ndarray of float64, shape (n, layers[-1])
        What it should say, in px.
    layers : tuple of int
        Units of each layer.

    Returns
    -------
    loss : float
        Sum of squared distances, in px squared.
    derivative : ndarray of float64, shape (weights,)
        Of the loss, by each weight.

    Raises
    ------
    ValueError
        The number of weights is not that of the layers.
    """
    split = _split(weights, layers)
    level = _forward(split, x)
    miss = level[-1] - y
    back = 2.0 * miss
    parts: list[Block] = []
    for i in reversed(range(len(split))):
        parts += [back.sum(axis=0), (level[i].T @ back).ravel()]
        if i:
            back = (back @ split[i][0].T) * (level[i] > 0)
    return float((miss**2).sum()), np.concatenate(parts[::-1])


def _split(weights: Weights, layers: tuple[int, ...]) -> list[tuple[Block, Block]]:
    """Give the matrix and the offsets of each layer, as views of the flat vector."""
    split, at = [], 0
    for into, out in pairwise(layers):
        matrix, offset = weights[at : at + into * out], weights[at + into * out : at + into * out + out]
        at += into * out + out
        split.append((matrix, offset))
    if at != weights.size:
        raise ValueError(f"the layers {layers} have {at} weights, not {weights.size}")
    return [(matrix.reshape(shape), offset) for (matrix, offset), shape in zip(split, pairwise(layers), strict=True)]


def _forward(split: list[tuple[Block, Block]], x: Block) -> list[Block]:
    """Give the values of all layers; each but the last is cut off at zero."""
    level = [x]
    for i, (matrix, offset) in enumerate(split):
        value = level[-1] @ matrix + offset
        level.append(value if i == len(split) - 1 else np.maximum(value, 0.0))
    return level


@dataclass(slots=True)
class Adam:
    """The optimiser (Kingma and Ba, 2015): a running mean and square of the gradient, weight by weight.

    Every rank has one, and as all see the same averaged gradients, all do the same.

    Attributes
    ----------
    mean, square : ndarray of float64, shape (weights,)
        Running mean of the gradient and of its square.
    steps : int
        Steps taken so far.
    """

    mean: Weights
    square: Weights
    steps: int = 0

    def step(self, weights: Weights, derivative: Weights, rate: float) -> Weights:
        """Give the weights after one step down the gradient.

        Parameters
        ----------
        weights, derivative : ndarray of float64, shape (weights,)
            Where we are, and the derivative of the mean loss there.
        rate : float
            Learning rate of this step.

        Returns
        -------
        ndarray of float64, shape (weights,)
            A new vector; `weights` stays as it was.
        """
        self.steps += 1
        self.mean += 0.1 * (derivative - self.mean)
        self.square += 0.001 * (derivative**2 - self.square)
        # both start from zero, which the first steps would otherwise feel
        mean, square = self.mean / (1 - 0.9**self.steps), self.square / (1 - 0.999**self.steps)
        new: Weights = weights - rate * mean / (np.sqrt(square) + 1e-8)
        return new

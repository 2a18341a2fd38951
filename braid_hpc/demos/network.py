"""A small network in NumPy, trained on all ranks: the models of the demos.

The weights are one flat vector, so that a version of the model is one block of bytes, and the average of gradients over
ranks is one call. Its loss is the squared distance from what it should say, also where that is a class; with the first
weights it says nothing at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.ranks import Ranks

__all__ = ["Adam", "Learner", "first_weights", "gradient", "predict", "split"]

Weights = NDArray[np.float64]
Block = NDArray[np.float64]


def first_weights(seed: int, layers: tuple[int, ...]) -> Weights:
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


def predict(weights: Weights, x: Block, layers: tuple[int, ...]) -> Block:
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
        What it says.

    Raises
    ------
    ValueError
        The number of weights is not that of the layers.
    """
    return _forward(split(weights, layers), x)[-1]


def gradient(weights: Weights, x: Block, y: Block, layers: tuple[int, ...]) -> tuple[float, Weights]:
    """Add up the loss and its derivative over some examples.

    Sums, not means: ranks may hold different numbers of examples, and only sums add up over ranks to the right mean.

    Parameters
    ----------
    weights : ndarray of float64, shape (weights,)
        As :func:`first_weights` lays them out.
    x : ndarray of float64, shape (n, layers[0])
        What the network sees.
    y : ndarray of float64, shape (n, layers[-1])
        What it should say.
    layers : tuple of int
        Units of each layer.

    Returns
    -------
    loss : float
        Sum of squared distances.
    derivative : ndarray of float64, shape (weights,)
        Of the loss, by each weight.

    Raises
    ------
    ValueError
        The number of weights is not that of the layers.
    """
    matrices = split(weights, layers)
    level = _forward(matrices, x)
    miss = level[-1] - y
    back = 2.0 * miss
    parts: list[Block] = []
    for i in reversed(range(len(matrices))):
        parts += [back.sum(axis=0), (level[i].T @ back).ravel()]
        if i:
            back = (back @ matrices[i][0].T) * (level[i] > 0)
    return float((miss**2).sum()), np.concatenate(parts[::-1])


def split(weights: Weights, layers: tuple[int, ...]) -> list[tuple[Block, Block]]:
    """Give the matrix and the offsets of each layer.

    Parameters
    ----------
    weights : ndarray of float64, shape (weights,)
        As :func:`first_weights` lays them out.
    layers : tuple of int
        Units of each layer.

    Returns
    -------
    list of (ndarray, ndarray)
        Views of the flat vector, of shapes (into, out) and (out,).

    Raises
    ------
    ValueError
        The number of weights is not that of the layers.
    """
    parts, at = [], 0
    for into, out in pairwise(layers):
        matrix, offset = weights[at : at + into * out], weights[at + into * out : at + into * out + out]
        at += into * out + out
        parts.append((matrix.reshape(into, out), offset))
    if at != weights.size:
        raise ValueError(f"the layers {layers} have {at} weights, not {weights.size}")
    return parts


def _forward(matrices: list[tuple[Block, Block]], x: Block) -> list[Block]:
    """Give the values of all layers; each but the last is cut off at zero."""
    level = [x]
    for i, (matrix, offset) in enumerate(matrices):
        value = level[-1] @ matrix + offset
        level.append(value if i == len(matrices) - 1 else np.maximum(value, 0.0))
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


class Learner:
    """Training on the examples of all ranks: each step goes down the mean gradient over the batches of every rank.

    Every rank has one, and all of them hold the same weights after each epoch.

    Parameters
    ----------
    ranks : Ranks
        This process among the others.
    layers : tuple of int
        Units of each layer.
    weights : ndarray of float64, shape (weights,)
        To start from, the same on all ranks.
    seed : sequence of int
        Of the choice of batches; the rank is added to it.

    Attributes
    ----------
    weights : ndarray of float64, shape (weights,)
        As they are now; a new vector after each step.
    """

    def __init__(self, ranks: Ranks, layers: tuple[int, ...], weights: Weights, seed: Sequence[int]) -> None:
        self.ranks = ranks
        self.layers = layers
        self.weights = weights
        self._adam = Adam(np.zeros_like(weights), np.zeros_like(weights))
        self._random = np.random.default_rng([*seed[:1], ranks.rank, *seed[1:]])

    def epoch(self, x: Block, y: Block, *, batch: int, rates: Sequence[float]) -> float:
        """Take some steps.

        Parameters
        ----------
        x : ndarray of float64, shape (n, layers[0])
            This rank's examples; there may be none.
        y : ndarray of float64, shape (n, layers[-1])
            What the network should say of them.
        batch : int
            Examples of each rank in a step.
        rates : sequence of float
            The learning rate of each step.

        Returns
        -------
        float
            Root of the mean squared distance over all ranks and steps, while the weights moved.

        Raises
        ------
        RuntimeError
            The ranks hold different weights.
        """
        loss = 0.0
        for rate in rates:
            choice = self._random.integers(0, len(x), batch if len(x) else 0)
            mean, derivative = self._mean_gradient(x[choice], y[choice])
            self.weights = self._adam.step(self.weights, derivative, rate)
            loss += mean / len(rates)
        if not self.ranks.all_same(self.weights.tobytes()):
            raise RuntimeError("the ranks hold different models")
        return float(np.sqrt(loss))

    def _mean_gradient(self, x: Block, y: Block) -> tuple[float, Weights]:
        """Average loss and derivative over the batches of all ranks, in one collective."""
        loss, derivative = gradient(self.weights, x, y, self.layers)
        total = self.ranks.total(np.concatenate([derivative, [loss, len(x)]]))
        # a rank without examples adds nothing; if none has any, nothing is learned
        total /= max(total[-1], 1.0)
        return float(total[-2]), total[:-2]

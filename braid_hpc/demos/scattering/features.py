"""From spectra to a few features, from these to a reduced space around the measurement, and to the constants.

The auto-encoder is linear: a mean and directions, those that lose the least when a spectrum is squeezed through them
(principal components). It is found from sums over all ranks, so that no rank ever holds all simulations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.ranks import Ranks

__all__ = ["AutoEncoder", "Fit", "fit", "nearest", "stabilised", "train"]


def stabilised(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Give spectra in a form in which every channel has the same noise.

    Parameters
    ----------
    counts : ndarray, shape (..., momenta, energies)
        Neutrons, measured or expected.

    Returns
    -------
    ndarray of float64, shape (..., momenta * energies)
        Twice the square root after Anscombe; counting noise has a standard deviation of 1.
    """
    flat = np.asarray(counts, dtype=np.float64).reshape(*counts.shape[:-2], -1)
    return 2.0 * np.sqrt(flat + 0.375)


@dataclass(frozen=True, slots=True)
class AutoEncoder:
    """A linear auto-encoder.

    Attributes
    ----------
    mean : ndarray of float64, shape (channels,)
        Of the spectra it was trained on.
    directions : ndarray of float64, shape (features, channels)
        Orthonormal.
    """

    mean: NDArray[np.float64]
    directions: NDArray[np.float64]

    @property
    def state(self) -> NDArray[np.float64]:
        """All of it as one block, shape (1 + features, channels): the mean, then the directions."""
        return np.vstack([self.mean, self.directions])

    def encode(self, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the features of spectra.

        Parameters
        ----------
        spectra : ndarray of float64, shape (..., channels)
            As :func:`stabilised` gives them.

        Returns
        -------
        ndarray of float64, shape (..., features)
            In units of the counting noise.
        """
        features: NDArray[np.float64] = (spectra - self.mean) @ self.directions.T
        return features

    def decode(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the spectra that features stand for.

        Parameters
        ----------
        features : ndarray of float64, shape (..., features)
            As :meth:`encode` gives them.

        Returns
        -------
        ndarray of float64, shape (..., channels)
            As :func:`stabilised` has them.
        """
        spectra: NDArray[np.float64] = self.mean + features @ self.directions
        return spectra


def train(ranks: Ranks, spectra: NDArray[np.float64], features: int) -> AutoEncoder:
    """Find the auto-encoder of the spectra of all ranks.

    Parameters
    ----------
    ranks : Ranks
        This process among the others.
    spectra : ndarray of float64, shape (n, channels)
        This rank's; there may be none.
    features : int
        How many numbers to keep.

    Returns
    -------
    AutoEncoder
        The same bytes on all ranks.
    """
    channels = spectra.shape[1]
    total = ranks.total(np.append(spectra.sum(axis=0), len(spectra)))
    mean = total[:-1] / max(total[-1], 1.0)
    from_mean = spectra - mean
    # the range of the covariance is searched with a few random spectra first: channels are many, features are few
    probe = np.random.default_rng(0).normal(size=(channels, features + 8))
    for _ in range(3):
        probe = np.linalg.qr(ranks.total(from_mean.T @ (from_mean @ probe)))[0]
    small = from_mean @ probe
    _, vectors = np.linalg.eigh(ranks.total(small.T @ small))
    directions = (probe @ vectors[:, ::-1][:, :features]).T
    # eigenvectors have no sign of their own
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[np.arange(features), largest])[:, None]
    return AutoEncoder(mean, np.ascontiguousarray(directions))


def nearest(features: NDArray[np.float64], measured: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Choose the simulations that look most like the measurement.

    Parameters
    ----------
    features : ndarray of float64, shape (simulations, features)
        Of all simulations.
    measured : ndarray of float64, shape (features,)
        Of the measurement.
    n : int
        How many to choose.

    Returns
    -------
    ndarray of int64, shape (n,)
        Their numbers, in order.
    """
    distance = np.linalg.norm(features - measured, axis=1)
    return np.sort(np.argsort(distance, kind="stable")[:n])


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted constants.

    Attributes
    ----------
    constants, error : ndarray of float64, shape (3,)
        In meV; the error is what the fit makes of simulations that were left out of it, one after the other.
    """

    constants: NDArray[np.float64]
    error: NDArray[np.float64]


def fit(features: NDArray[np.float64], constants: NDArray[np.float64], measured: NDArray[np.float64]) -> Fit:
    """Read the constants of a measurement off the simulations near it.

    Parameters
    ----------
    features : ndarray of float64, shape (n, features)
        Of the simulations in the reduced space.
    constants : ndarray of float64, shape (n, 3)
        What they were made with, in meV.
    measured : ndarray of float64, shape (features,)
        Of the measurement.

    Returns
    -------
    Fit
        By a linear map from features to constants, the nearer simulations weighing more.
    """
    distance = np.linalg.norm(features - measured, axis=1)
    # half the weight at the middle distance; the ridge is far below what counting noise does
    weight = np.exp2(-((distance / np.median(distance)) ** 2))
    design = np.column_stack([np.ones(len(features)), features - measured])
    normal = (design.T * weight) @ design + 1e-3 * np.eye(design.shape[1])
    inverse = np.linalg.inv(normal)
    solution = inverse @ (design.T * weight) @ constants
    leverage = np.einsum("ni,ij,nj->n", design, inverse, design) * weight
    left_out = (constants - design @ solution) / (1.0 - leverage.clip(max=0.99))[:, None]
    error = np.sqrt((weight[:, None] * left_out**2).sum(axis=0) / weight.sum())
    return Fit(solution[0], error)

"""Spectra: neutron intensity over momentum and energy, from the dispersion of the excitations.

Each momentum has one excitation with an energy and a weight; the instrument's resolution makes a Gaussian of it, whose
width grows with energy as that of a spectrometer does.

:func:`spectrum` is compiled, :func:`spectrum_slow` is its readable twin.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = ["spectrum", "spectrum_slow"]


def spectrum(
    energy: NDArray[np.float64], weight: NDArray[np.float64], axis: NDArray[np.float64], width: tuple[float, float]
) -> NDArray[np.float64]:
    """Lay excitations over an energy axis, with the instrument's resolution.

    Parameters
    ----------
    energy, weight : ndarray of float64, shape (n,)
        Of the excitation at each momentum; energies in the unit of `axis`.
    axis : ndarray of float64, shape (energies,)
        Energy transfers.
    width : tuple of float
        Standard deviation of the resolution at zero energy, and by how much it grows with each unit of energy.

    Returns
    -------
    ndarray of float64, shape (n, energies)
        Intensity; its integral over energy is the weight.

    Raises
    ------
    ValueError
        Energies and weights are not of one shape, or the resolution is not positive.
    ModuleNotFoundError
        numba is not installed.

    See Also
    --------
    spectrum_slow : the same in plain Python.

    Examples
    --------
    >>> import numpy as np
    >>> found = spectrum(np.array([2.0]), np.array([1.0]), np.linspace(0, 4, 5), (0.5, 0.0))
    >>> found.round(3).tolist()
    [[0.0, 0.108, 0.798, 0.108, 0.0]]
    """
    _check(energy, weight, axis, width)
    result = np.empty((energy.size, axis.size))
    _lay(
        np.ascontiguousarray(energy, dtype=np.float64),
        np.ascontiguousarray(weight, dtype=np.float64),
        np.ascontiguousarray(axis, dtype=np.float64),
        float(width[0]),
        float(width[1]),
        result,
    )
    return result


def spectrum_slow(
    energy: NDArray[np.float64], weight: NDArray[np.float64], axis: NDArray[np.float64], width: tuple[float, float]
) -> NDArray[np.float64]:
    """Lay excitations over an energy axis, in plain Python.

    Parameters
    ----------
    energy, weight, axis, width
        As for :func:`spectrum`.

    Returns
    -------
    ndarray of float64, shape (n, energies)
        The same as :func:`spectrum` returns, to rounding.

    Raises
    ------
    ValueError
        Energies and weights are not of one shape, or the resolution is not positive.

    See Also
    --------
    spectrum : the compiled one.
    """
    _check(energy, weight, axis, width)
    lines = []
    for middle, area in zip(energy.tolist(), weight.tolist(), strict=True):
        sigma = width[0] + width[1] * abs(middle)
        top = area / (sigma * math.sqrt(2 * math.pi))
        lines.append([top * math.exp(-(((place - middle) / sigma) ** 2) / 2) for place in axis.tolist()])
    return np.array(lines, dtype=np.float64).reshape(energy.size, axis.size)


def _check(energy: NDArray[Any], weight: NDArray[Any], axis: NDArray[Any], width: tuple[float, float]) -> None:
    """Refuse what the compiled loop could not take: it trusts every index."""
    if energy.ndim != 1 or energy.shape != weight.shape or axis.ndim != 1:
        raise ValueError(f"energies {energy.shape} and weights {weight.shape} are of one length, the axis is a line")
    if not (width[0] > 0 and width[1] >= 0):
        raise ValueError(f"the resolution is positive and does not shrink with energy, unlike {width}")


@compiled
def _lay(
    energy: NDArray[np.float64],
    weight: NDArray[np.float64],
    axis: NDArray[np.float64],
    narrow: float,
    growth: float,
    result: NDArray[np.float64],
) -> None:
    """Write the line of every excitation."""
    for i in range(energy.size):
        sigma = narrow + growth * abs(energy[i])
        top = weight[i] / (sigma * math.sqrt(2 * math.pi))
        for j in range(axis.size):
            result[i, j] = top * math.exp(-(((axis[j] - energy[i]) / sigma) ** 2) / 2)

"""Back projection: from the projections of a parallel beam to the slice they are of.

Each pixel adds up, over all angles, what the (filtered) projection reads where the ray through that pixel hits the
detector, between two of its pixels by linear interpolation.

:func:`back_project` is compiled, :func:`back_project_slow` is its readable twin.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = ["back_project", "back_project_slow"]


def back_project(sinogram: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smear projections back over the slice.

    Parameters
    ----------
    sinogram : ndarray of float64, shape (angles, width)
        A projection for each angle.
    angles : ndarray of float64, shape (angles,)
        In rad; at 0, rays run along the columns of the slice.

    Returns
    -------
    ndarray of float64, shape (width, width)
        Sum over the angles, times pi over their number. A ray beyond the detector adds nothing.

    Raises
    ------
    ValueError
        The sinogram does not have a projection for each angle.
    ModuleNotFoundError
        numba is not installed.

    See Also
    --------
    back_project_slow : the same in plain Python.

    Examples
    --------
    >>> import numpy as np
    >>> back_project(np.array([[0.0, 1.0, 0.0]]), np.array([0.0])).round(2)[0].tolist()
    [0.0, 3.14, 0.0]
    """
    projections, directions = _checked(sinogram, angles)
    width = projections.shape[1]
    image = np.zeros((width, width))
    _smear(projections, np.cos(directions), np.sin(directions), image)
    return image * (math.pi / max(len(directions), 1))


def back_project_slow(sinogram: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smear projections back over the slice, in plain Python.

    Parameters
    ----------
    sinogram, angles
        As for :func:`back_project`.

    Returns
    -------
    ndarray of float64, shape (width, width)
        The same as :func:`back_project` returns, to rounding.

    Raises
    ------
    ValueError
        The sinogram does not have a projection for each angle.

    See Also
    --------
    back_project : the compiled one.
    """
    projections, directions = _checked(sinogram, angles)
    width = projections.shape[1]
    middle = (width - 1) / 2
    image = np.zeros((width, width))
    for projection, angle in zip(projections.tolist(), directions.tolist(), strict=True):
        for row in range(width):
            for column in range(width):
                place = (column - middle) * math.cos(angle) + (row - middle) * math.sin(angle) + middle
                left = math.floor(place)
                if 0 <= left < width - 1:
                    part = place - left
                    image[row, column] += (1 - part) * projection[left] + part * projection[left + 1]
                elif place == width - 1:
                    image[row, column] += projection[width - 1]
    return image * (math.pi / max(len(directions), 1))


def _checked(sinogram: NDArray[Any], angles: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Refuse what the compiled loop could not take: it trusts every index."""
    if sinogram.ndim != 2 or angles.ndim != 1 or len(sinogram) != len(angles):
        raise ValueError(f"a sinogram has a projection for each angle, not {sinogram.shape} for {angles.shape}")
    return np.ascontiguousarray(sinogram, dtype=np.float64), np.ascontiguousarray(angles, dtype=np.float64)


@compiled
def _smear(
    sinogram: NDArray[np.float64],
    cosine: NDArray[np.float64],
    sine: NDArray[np.float64],
    image: NDArray[np.float64],
) -> None:
    """Add every projection to the image."""
    width = image.shape[0]
    middle = (width - 1) / 2
    for a in range(len(sinogram)):
        for row in range(width):
            for column in range(width):
                place = (column - middle) * cosine[a] + (row - middle) * sine[a] + middle
                left = math.floor(place)
                if 0 <= left < width - 1:
                    part = place - left
                    image[row, column] += (1 - part) * sinogram[a, left] + part * sinogram[a, left + 1]
                elif place == width - 1:
                    image[row, column] += sinogram[a, width - 1]

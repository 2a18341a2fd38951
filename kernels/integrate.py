"""Integration: what a spot at a known place of a detector image measures above its local background.

Around each place there is a square box that holds the spot, and a frame of pixels around the box that shows the
background. The background is the median of that frame, which a neighbour's tail in a corner of it moves little.

:func:`integrate` is compiled, :func:`integrate_slow` is its readable twin.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = ["Integrated", "integrate", "integrate_slow"]


@dataclass(frozen=True, slots=True)
class Integrated:
    """What spots measured.

    Attributes
    ----------
    intensity : ndarray of float64, shape (spots,)
        Counts above the background. NaN where the box and its frame do not lie within the image.
    sigma : ndarray of float64, shape (spots,)
        Standard deviation of that, as counting statistics has it; NaN where `intensity` is.
    background : ndarray of float64, shape (spots,)
        Median of the frame, in counts per pixel; NaN where `intensity` is.
    """

    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    background: NDArray[np.float64]


def integrate(images: NDArray[np.uint16], places: NDArray[np.int64], *, half: int = 2, border: int = 2) -> Integrated:
    """Integrate spots at known places.

    Parameters
    ----------
    images : ndarray of uint16, shape (images, rows, columns)
        In counts.
    places : ndarray of int64, shape (spots, 3)
        Image, row and column of each spot's middle pixel.
    half : int
        The box has ``2 * half + 1`` pixels a side.
    border : int
        Width of the frame around the box, in pixels.

    Returns
    -------
    Integrated
        Spots in the order of `places`.

    Raises
    ------
    ValueError
        Images or places are of another form, or a place names an image that is not there.
    ModuleNotFoundError
        numba is not installed.

    See Also
    --------
    integrate_slow : the same in plain Python.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.full((1, 9, 9), 10, dtype=np.uint16)
    >>> image[0, 4, 4] = 110
    >>> float(integrate(image, np.array([[0, 4, 4]])).intensity[0])
    100.0
    """
    stack, at = _checked(images, places, half, border)
    result = np.full((3, len(at)), np.nan)
    _integrate(stack, at, half, half + border, result)
    return Integrated(*result)


def integrate_slow(
    images: NDArray[np.uint16], places: NDArray[np.int64], *, half: int = 2, border: int = 2
) -> Integrated:
    """Integrate spots at known places, in plain Python.

    Parameters
    ----------
    images, places, half, border
        As for :func:`integrate`.

    Returns
    -------
    Integrated
        The same as :func:`integrate` returns.

    Raises
    ------
    ValueError
        Images or places are of another form, or a place names an image that is not there.

    See Also
    --------
    integrate : the compiled one.
    """
    stack, at = _checked(images, places, half, border)
    wide = half + border
    result = np.full((3, len(at)), np.nan)
    for spot, (image, row, column) in enumerate(at.tolist()):
        if not (wide <= row < stack.shape[1] - wide and wide <= column < stack.shape[2] - wide):
            continue
        around = {
            (r, c): int(stack[image, row + r, column + c])
            for r in range(-wide, wide + 1)
            for c in range(-wide, wide + 1)
        }
        box = [value for (r, c), value in around.items() if max(abs(r), abs(c)) <= half]
        frame = [value for (r, c), value in around.items() if max(abs(r), abs(c)) > half]
        level = statistics.median(frame)
        result[:, spot] = _measured(sum(box), len(box), level, len(frame))
    return Integrated(*result)


def _checked(
    images: NDArray[Any], places: NDArray[Any], half: int, border: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Refuse what the compiled loop could not take: it trusts the number of the image."""
    if images.ndim != 3 or images.dtype != np.uint16:
        raise ValueError(f"images are uint16 of shape (images, rows, columns), not {images.dtype} {images.shape}")
    if places.ndim != 2 or places.shape[1] != 3 or places.dtype.kind not in "iu":
        raise ValueError(f"places are whole numbers of shape (spots, 3), not {places.dtype} {places.shape}")
    if half < 0 or border < 1:
        raise ValueError(f"a box of half width {half} and a frame of {border} px cannot be")
    if len(places) and not (places[:, 0].min() >= 0 and places[:, 0].max() < len(images)):
        raise ValueError(f"a place names an image that is not among the {len(images)}")
    return np.ascontiguousarray(images), np.ascontiguousarray(places, dtype=np.int64)


def _measured(total: int, pixels: int, level: float, framing: int) -> tuple[float, float, float]:
    """Give intensity, its standard deviation, and the background."""
    # the median of n Poisson counts has about pi / 2 times the variance of their mean
    variance = total + pixels**2 * level / framing * (math.pi / 2)
    return total - pixels * level, math.sqrt(max(variance, 1.0)), level


@compiled
def _integrate(
    images: NDArray[np.uint16], places: NDArray[np.int64], half: int, wide: int, result: NDArray[np.float64]
) -> None:
    """Write intensity, standard deviation and background of each spot."""
    rows, columns = images.shape[1], images.shape[2]
    box, side = 2 * half + 1, 2 * wide + 1
    framing = side * side - box * box
    frame = np.empty(framing)
    for spot in range(len(places)):
        image, row, column = places[spot, 0], places[spot, 1], places[spot, 2]
        if row < wide or row >= rows - wide or column < wide or column >= columns - wide:
            continue
        total, n = 0, 0
        for r in range(-wide, wide + 1):
            for c in range(-wide, wide + 1):
                value = images[image, row + r, column + c]
                if abs(r) <= half and abs(c) <= half:
                    total += value
                else:
                    frame[n] = value
                    n += 1
        frame.sort()
        level = (frame[(framing - 1) // 2] + frame[framing // 2]) / 2
        variance = total + (box * box) ** 2 * level / framing * (math.pi / 2)
        result[0, spot] = total - box * box * level
        result[1, spot] = math.sqrt(max(variance, 1.0))
        result[2, spot] = level

"""Zero suppression: of a stack of detector frames, keep the pixels that reach a threshold.

This is what the FPGA at the detector does before anything crosses the wire: most of a diffraction frame is
background, and only the pixels of the spots are worth sending. What is kept is a list of pixels in raster order
(frame, row, column, value), with the shape of what they were taken from, so that a dropped pixel can still be
answered for: it was in frame F, and it was under the threshold.

:func:`suppress` is compiled, :func:`suppress_slow` is its readable twin; they agree in every bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from braid_hpc.kernels import compiled

__all__ = ["Kept", "suppress", "suppress_slow"]


@dataclass(frozen=True, slots=True)
class Kept:
    """The pixels that reached the threshold, in raster order: by frame, then row, then column.

    Attributes
    ----------
    frame, row, column : ndarray of int32, shape (n,)
        Where each kept pixel is, counted from 0.
    value : ndarray, shape (n,)
        What it measured, in the dtype and unit of the frames (counts, for a photon-counting detector).
    shape : tuple of int
        (frames, rows, columns) of the stack the pixels were taken from.
    """

    frame: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    value: NDArray[Any]
    shape: tuple[int, int, int]

    @property
    def kept(self) -> int:
        """How many pixels reached the threshold."""
        return int(self.value.size)

    @property
    def dropped(self) -> int:
        """How many pixels did not."""
        return math.prod(self.shape) - self.kept

    def dense(self) -> NDArray[Any]:
        """Give the stack of frames back, with every dropped pixel zero.

        Returns
        -------
        ndarray, shape (frames, rows, columns)
            In the dtype of `value`.
        """
        frames = np.zeros(self.shape, dtype=self.value.dtype)
        frames[self.frame, self.row, self.column] = self.value
        return frames


def suppress(frames: ArrayLike, threshold: float) -> Kept:
    """Keep the pixels whose value is at least `threshold`.

    Parameters
    ----------
    frames : array_like of an integer or floating dtype, shape (frames, rows, columns)
        Raw detector frames, each side under 2**31.
    threshold : float
        In the unit of the frames. Integer frames are compared exactly; for floating frames the threshold is first
        rounded to their dtype, as NumPy's comparison with a Python number does.

    Returns
    -------
    Kept
        The pixels in raster order. A NaN never reaches a threshold.

    Raises
    ------
    TypeError
        `frames` holds neither integers nor floating-point numbers.
    ValueError
        `frames` is not three-dimensional or too large for 32-bit positions, or `threshold` is NaN.
    ModuleNotFoundError
        numba is not installed.

    See Also
    --------
    suppress_slow : the same in plain Python.
    braid_hpc.kernels.label.label : what to do next with the kept pixels.

    Examples
    --------
    >>> import numpy as np
    >>> kept = suppress(np.array([[[3, 50], [41, 40]]], dtype=np.uint16), 41)
    >>> kept.row.tolist(), kept.column.tolist(), kept.value.tolist(), kept.dropped
    ([0, 1], [1, 0], [50, 41], 2)
    """
    stack = _checked(frames, threshold)
    level, shape = _level(stack.dtype, threshold), stack.shape
    if level is None:
        stack = stack[:0]  # out of reach of the dtype: nothing is kept, and no scalar of it could say so
        level = stack.dtype.type(0)
    n = _count(stack, level)
    frame, row, column = (np.empty(n, dtype=np.int32) for _ in range(3))
    value = np.empty(n, dtype=stack.dtype)
    _fill(stack, level, frame, row, column, value)
    return Kept(frame, row, column, value, shape)


def suppress_slow(frames: ArrayLike, threshold: float) -> Kept:
    """Keep the pixels whose value is at least `threshold`, one at a time in plain Python.

    Parameters
    ----------
    frames : array_like of an integer or floating dtype, shape (frames, rows, columns)
        Raw detector frames.
    threshold : float
        In the unit of the frames.

    Returns
    -------
    Kept
        The same as :func:`suppress` returns, bit for bit.

    Raises
    ------
    TypeError
        `frames` holds neither integers nor floating-point numbers.
    ValueError
        `frames` is not three-dimensional or too large for 32-bit positions, or `threshold` is NaN.

    See Also
    --------
    suppress : the compiled one.

    Examples
    --------
    >>> suppress_slow([[[3.0, 50.0]]], 40).value.tolist()
    [50.0]
    """
    stack = _checked(frames, threshold)
    limit: Any = threshold
    if stack.dtype.kind == "f":
        with np.errstate(over="ignore"):
            limit = stack.dtype.type(threshold)
    # item() of an integer is a Python int, and Python compares int and float exactly
    places = [at for at in np.ndindex(*stack.shape) if stack[at].item() >= limit]
    position = np.array(places, dtype=np.int32).reshape(-1, 3)
    value = np.array([stack[at] for at in places], dtype=stack.dtype)
    return Kept(position[:, 0].copy(), position[:, 1].copy(), position[:, 2].copy(), value, stack.shape)


def _checked(frames: ArrayLike, threshold: float) -> np.ndarray[tuple[int, int, int], np.dtype[Any]]:
    """Give the frames as a contiguous block in the machine's byte order, or say what is wrong with them."""
    stack = np.asarray(frames)
    if stack.dtype.kind not in "iuf" or stack.dtype.itemsize > 8 or stack.dtype == np.float16:
        raise TypeError(f"frames must hold integers, float32 or float64, not {stack.dtype}")
    if stack.ndim != 3:
        raise ValueError(f"frames must have the shape (frames, rows, columns), not {stack.shape}")
    if max(stack.shape) > np.iinfo(np.int32).max:
        raise ValueError(f"a side of the frames {stack.shape} does not fit 32-bit positions")
    if math.isnan(threshold):
        raise ValueError("the threshold is NaN: nothing can be compared with it")
    # detectors write big-endian HDF5, which numba does not take
    return np.ascontiguousarray(stack, dtype=stack.dtype.newbyteorder("="))


def _level(dtype: np.dtype[Any], threshold: float) -> Any | None:
    """Give the smallest value of `dtype` that reaches the threshold, or None where none can."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(threshold)
    bounds = np.iinfo(dtype)
    if threshold > bounds.max:
        return None
    if threshold <= bounds.min:
        return dtype.type(bounds.min)
    return dtype.type(math.ceil(threshold))


@compiled
def _count(frames: NDArray[Any], level: Any) -> int:
    """Count the pixels that reach the level: what is kept is allocated once, in its size."""
    n = 0
    for value in frames.ravel():
        if value >= level:
            n += 1
    return n


@compiled
def _fill(
    frames: NDArray[Any],
    level: Any,
    frame: NDArray[np.int32],
    row: NDArray[np.int32],
    column: NDArray[np.int32],
    kept: NDArray[Any],
) -> None:
    """Write the pixels that reach the level into the four columns, in raster order."""
    n = 0
    for f in range(frames.shape[0]):
        for r in range(frames.shape[1]):
            for c in range(frames.shape[2]):
                value = frames[f, r, c]
                if value >= level:
                    frame[n] = f
                    row[n] = r
                    column[n] = c
                    kept[n] = value
                    n += 1

"""From the pixels that zero suppression left to peaks, their centres of mass and the patches a network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels.label import label
from braid_hpc.kernels.threshold import Kept

__all__ = ["PATCH", "Peaks", "errors", "find_peaks", "select"]

PATCH = 11
"""px: side of the patch around a peak, as in BraggNN."""

SMALLEST = 4
"""Pixels: a group of fewer is noise or a peak too dim to place."""

NEAR = 3.0
"""px: a true position farther than this from the centre of mass is of another peak."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Peaks that were found.

    Attributes
    ----------
    frame : ndarray of int32, shape (n,)
        The frame each is in.
    centre : ndarray of float64, shape (n, 2)
        Centre of mass (x, y), in px.
    patch : ndarray of float32, shape (n, PATCH * PATCH)
        Its pixels around the pixel nearest to the centre of mass, row by row, above the background, relative to the
        brightest. Pixels that were suppressed, or that belong to another peak, are 0.
    true : ndarray of float64, shape (n, 2)
        Where the peak really is, in px; NaN where the truth knows of no peak nearby.
    """

    frame: NDArray[np.int32]
    centre: NDArray[np.float64]
    patch: NDArray[np.float32]
    true: NDArray[np.float64]

    @property
    def table(self) -> NDArray[np.float32]:
        """The peaks as one block, a row each: frame, centre (2), true position (2), patch; for a digest."""
        return np.column_stack([self.frame, self.centre, self.true, self.patch]).astype(np.float32)


def find_peaks(kept: Kept, background: float, truth: NDArray[Any]) -> Peaks:
    """Label the kept pixels and cut a patch around each peak.

    Parameters
    ----------
    kept : Kept
        The pixels that reached the threshold.
    background : float
        What a pixel measures without a peak, in counts.
    truth : ndarray, shape (peaks,), fields frame, x, y
        True positions, sorted by frame, to learn from and to measure errors with.

    Returns
    -------
    Peaks
        In raster order; only peaks of at least `SMALLEST` pixels.

    Raises
    ------
    ValueError
        The kept pixels are not in raster order.
    """
    found = label(kept, background)
    good = found.size >= SMALLEST
    centre = np.column_stack([found.column, found.row])[good]
    frame = found.frame[good]
    number = np.where(good, np.cumsum(good) - 1, -1)  # new number of a peak, -1 for one that was left out
    patch = _patches(kept, number[found.label], centre, background)
    return Peaks(frame, centre, patch, _match(frame, centre, truth))


def select(peaks: Peaks, choice: NDArray[np.bool_]) -> Peaks:
    """Give some of the peaks.

    Parameters
    ----------
    peaks : Peaks
        All of them.
    choice : ndarray of bool, shape (n,)
        True for those to give.

    Returns
    -------
    Peaks
        The chosen ones, in the same order.
    """
    return Peaks(peaks.frame[choice], peaks.centre[choice], peaks.patch[choice], peaks.true[choice])


def errors(position: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure how far positions are from the truth.

    Parameters
    ----------
    position, true : ndarray of float64, shape (n, 2)
        In px.

    Returns
    -------
    ndarray of float64, shape (n,)
        Distances in px; NaN where the truth is.
    """
    distance: NDArray[np.float64] = np.hypot(*(position - true).T)
    return distance


def _patches(
    kept: Kept, peak: NDArray[np.int64], centre: NDArray[np.float64], background: float
) -> NDArray[np.float32]:
    """Lay each kept pixel into the patch of its peak, and scale every patch to a maximum of 1."""
    patch = np.zeros((len(centre), PATCH, PATCH), dtype=np.float32)
    middle = np.rint(centre).astype(np.int64)
    ours = peak >= 0
    column = kept.column[ours] - middle[peak[ours], 0] + PATCH // 2
    row = kept.row[ours] - middle[peak[ours], 1] + PATCH // 2
    inside = (column >= 0) & (column < PATCH) & (row >= 0) & (row < PATCH)
    patch[peak[ours][inside], row[inside], column[inside]] = kept.value[ours][inside] - background
    flat = patch.reshape(len(centre), PATCH * PATCH)
    flat /= np.maximum(flat.max(axis=1, keepdims=True, initial=0.0), 1.0)
    return flat


def _match(frame: NDArray[np.int32], centre: NDArray[np.float64], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Give the true position nearest to each centre in its frame, NaN where none is near."""
    true = np.full(centre.shape, np.nan)
    begin = np.searchsorted(truth["frame"], frame, side="left")
    end = np.searchsorted(truth["frame"], frame, side="right")
    place = np.column_stack([truth["x"], truth["y"]]).astype(np.float64)
    for i, (first, last) in enumerate(zip(begin, end, strict=True)):
        distance = errors(centre[i], place[first:last])
        if distance.size and distance.min() <= NEAR:
            true[i] = place[first + int(distance.argmin())]
    return true

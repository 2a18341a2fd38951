"""Labelling: kept pixels that touch become one peak, with its intensity-weighted centre of mass.

Two pixels touch if they are in the same frame and differ by at most one in row and in column (eight neighbours).
Peaks are numbered by their first pixel in raster order, so the numbering does not depend on the method.

:func:`label` is compiled (union and find), :func:`label_slow` is its readable twin (flood fill).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled
from braid_hpc.kernels.threshold import Kept

__all__ = ["Labelled", "label", "label_slow"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Which peak each kept pixel belongs to, and the peaks.

    Attributes
    ----------
    label : ndarray of int32, shape (pixels,)
        The peak of each kept pixel, from 0.
    frame : ndarray of int32, shape (peaks,)
        The frame each peak is in.
    row, column : ndarray of float64, shape (peaks,)
        Centre of mass in px, the weight of a pixel being what it measured above the pedestal. The centre of the
        first pixel of a frame is (0, 0). NaN where no pixel of the peak is above the pedestal.
    mass : ndarray of float64, shape (peaks,)
        Sum of the weights, in the unit of the frames.
    size : ndarray of int32, shape (peaks,)
        Number of pixels.
    """

    label: NDArray[np.int32]
    frame: NDArray[np.int32]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    mass: NDArray[np.float64]
    size: NDArray[np.int32]


def label(kept: Kept, pedestal: float = 0.0) -> Labelled:
    """Join kept pixels that touch into peaks, and weigh each peak.

    Parameters
    ----------
    kept : Kept
        What :func:`braid_hpc.kernels.threshold.suppress` kept.
    pedestal : float
        What a pixel measures without a peak (the background), in the unit of the frames. It is subtracted before
        weighing; a pixel under it weighs nothing.

    Returns
    -------
    Labelled
        Peaks in raster order of their first pixels.

    Raises
    ------
    ValueError
        The pixels are not in raster order, one is there twice, or one lies outside the frames.
    ModuleNotFoundError
        numba is not installed.

    See Also
    --------
    label_slow : the same in plain Python.

    Examples
    --------
    >>> import numpy as np
    >>> from braid_hpc.kernels.threshold import suppress
    >>> peaks = label(suppress(np.array([[[0, 9, 27, 0, 0, 8]]], dtype=np.uint16), 5))
    >>> peaks.label.tolist(), peaks.column.tolist(), peaks.size.tolist()
    ([0, 0, 1], [1.75, 5.0], [2, 1])
    """
    _check_order(kept)
    labels = np.empty(kept.kept, dtype=np.int32)
    n = _join(kept.frame, kept.row, kept.column, kept.shape[1], kept.shape[2], labels)
    frame, size = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int32)
    sums = np.zeros((3, n), dtype=np.float64)
    _weigh(kept.frame, kept.row, kept.column, kept.value, float(pedestal), labels, frame, size, sums)
    mass = sums[2]
    with np.errstate(invalid="ignore"):
        return Labelled(labels, frame, sums[0] / mass, sums[1] / mass, mass.copy(), size)


def label_slow(kept: Kept, pedestal: float = 0.0) -> Labelled:
    """Join kept pixels that touch into peaks, by flood fill in plain Python.

    Parameters
    ----------
    kept : Kept
        What :func:`braid_hpc.kernels.threshold.suppress` kept.
    pedestal : float
        What a pixel measures without a peak, in the unit of the frames.

    Returns
    -------
    Labelled
        The same as :func:`label` returns.

    Raises
    ------
    ValueError
        The pixels are not in raster order, one is there twice, or one lies outside the frames.

    See Also
    --------
    label : the compiled one.
    """
    _check_order(kept)
    places = list(zip(kept.frame.tolist(), kept.row.tolist(), kept.column.tolist(), strict=True))
    weight = [max(float(value) - pedestal, 0.0) for value in kept.value.tolist()]
    unseen = {place: pixel for pixel, place in enumerate(places)}
    labels = np.empty(len(places), dtype=np.int32)
    peaks: list[tuple[int, float, float, float, int]] = []
    for place in places:
        if place not in unseen:
            continue
        pixels = sorted(_flood(place, unseen))
        labels[pixels] = len(peaks)
        mass = sum(weight[i] for i in pixels)
        row = sum(weight[i] * places[i][1] for i in pixels) / mass if mass else np.nan
        column = sum(weight[i] * places[i][2] for i in pixels) / mass if mass else np.nan
        peaks.append((place[0], row, column, mass, len(pixels)))
    return Labelled(
        labels,
        np.array([peak[0] for peak in peaks], dtype=np.int32),
        np.array([peak[1] for peak in peaks], dtype=np.float64),
        np.array([peak[2] for peak in peaks], dtype=np.float64),
        np.array([peak[3] for peak in peaks], dtype=np.float64),
        np.array([peak[4] for peak in peaks], dtype=np.int32),
    )


def _flood(start: tuple[int, int, int], unseen: dict[tuple[int, int, int], int]) -> list[int]:
    """Take the pixels connected with `start` out of `unseen`, and give their numbers."""
    pixels, edge = [unseen.pop(start)], [start]
    while edge:
        frame, row, column = edge.pop()
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                neighbour = (frame, row + down, column + right)
                if neighbour in unseen:
                    pixels.append(unseen.pop(neighbour))
                    edge.append(neighbour)
    return pixels


def _check_order(kept: Kept) -> None:
    """Refuse what the compiled loops could not take: they trust positions, and would write outside an array."""
    columns = (kept.frame, kept.row, kept.column)
    if any(part.shape != (kept.kept,) for part in columns):
        raise ValueError("frame, row, column and value of the kept pixels must be columns of one length")
    if not kept.kept:
        return
    for part, bound, name in zip(columns, kept.shape, ("frame", "row", "column"), strict=True):
        if part.min() < 0 or part.max() >= bound:
            raise ValueError(f"a kept pixel lies outside the {bound} {name}s it was taken from")
    raster = np.ravel_multi_index(columns, kept.shape)
    if (np.diff(raster) <= 0).any():
        raise ValueError("kept pixels must be in raster order (frame, row, column), each once")


@compiled
def _join(
    frame: NDArray[np.int32],
    row: NDArray[np.int32],
    column: NDArray[np.int32],
    rows: int,
    columns: int,
    labels: NDArray[np.int32],
) -> int:
    """Write the group of each pixel into `labels`, and give how many groups there are.

    The root of a group is its smallest pixel, so a pass in raster order meets every root before its members.
    """
    n = frame.size
    root = np.arange(n)
    # pixel at a place, -1 for none; one more row above and one more column on each side spare the edge cases
    at = np.full((rows + 1, columns + 2), -1)
    begin = 0
    for i in range(n):
        if frame[i] != frame[begin]:
            for j in range(begin, i):  # clear what the last frame wrote, not the whole map
                at[row[j] + 1, column[j] + 1] = -1
            begin = i
        r, c = row[i] + 1, column[i] + 1
        at[r, c] = i
        # of the eight neighbours, these four come earlier in raster order
        for other in (at[r, c - 1], at[r - 1, c - 1], at[r - 1, c], at[r - 1, c + 1]):
            if other < 0:
                continue
            a, b = i, other
            while root[a] != a:
                root[a] = root[root[a]]
                a = root[a]
            while root[b] != b:
                root[b] = root[root[b]]
                b = root[b]
            if a < b:
                root[b] = a
            else:
                root[a] = b
    count = 0
    for i in range(n):
        if root[i] == i:
            labels[i] = count
            count += 1
        else:
            labels[i] = labels[root[i]]
    return count


@compiled
def _weigh(
    frame: NDArray[np.int32],
    row: NDArray[np.int32],
    column: NDArray[np.int32],
    value: NDArray[Any],
    pedestal: float,
    labels: NDArray[np.int32],
    peak_frame: NDArray[np.int32],
    size: NDArray[np.int32],
    sums: NDArray[np.float64],
) -> None:
    """Add up weight times row, weight times column, and weight, per peak."""
    for i in range(labels.size):
        peak = labels[i]
        weight = max(np.float64(value[i]) - pedestal, 0.0)
        peak_frame[peak] = frame[i]
        size[peak] += 1
        sums[0, peak] += weight * row[i]
        sums[1, peak] += weight * column[i]
        sums[2, peak] += weight

"""Raw detector frames with diffraction peaks at known positions.

A Bragg spot on an area detector is not round: mosaic spread and energy bandwidth smear it away from the beam, so it
rises steeply on the side of the beam centre and falls off in a tail on the other. Its position, the one that the
lattice strain is computed from, is where it is highest; its centre of mass lies down the tail, by an amount that
depends on how long that tail is. Bright spots saturate the converter, dim ones lose their rim to the threshold.
These are the reasons why a plain centre of mass is biased, and a model that sees the form can do better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.braggnn.settings import Settings

__all__ = ["Frames", "simulate"]

CELL = 16
"""px: a frame is a board of such cells with at most one peak in each, so that patches of 11 px hold one peak."""

REACH = 8
"""px: how far from its pixel a peak is drawn; beyond, even the brightest is under the background."""

FINE = 3
"""Points per pixel and direction at which a peak is integrated over the area of a pixel."""


@dataclass(frozen=True, slots=True)
class Frames:
    """A stack of raw frames and the truth about them.

    Attributes
    ----------
    counts : ndarray of uint16, shape (frames, side, side)
        What the detector measured, in counts.
    truth : ndarray, shape (peaks,), fields frame (int32), x and y (float32, px)
        Position of every peak, sorted by frame. x is along a row, y along a column, and (0, 0) is the centre of the
        first pixel.
    """

    counts: NDArray[np.uint16]
    truth: NDArray[Any]


TRUTH = np.dtype([("frame", np.int32), ("x", np.float32), ("y", np.float32)])


def simulate(settings: Settings, rank: int) -> Frames:
    """Make the frames that one rank's part of the scan measured.

    Parameters
    ----------
    settings : Settings
        The configuration.
    rank : int
        Ranks measure different frames; the same seed and rank always give the same ones.

    Returns
    -------
    Frames
        ``settings.frames`` frames with ``settings.peaks_per_frame`` peaks each.

    Examples
    --------
    >>> from pathlib import Path
    >>> import tempfile
    >>> from braid_hpc.demos.braggnn.settings import prepare
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     frames = simulate(prepare(Path(directory)), rank=0)
    >>> frames.counts.shape, frames.counts.dtype.name, frames.truth.size
    ((128, 96, 96), 'uint16', 2560)
    """
    random = np.random.default_rng([settings.seed, rank])
    truth = _places(settings, random)
    expected = np.full((settings.frames, settings.side, settings.side), settings.background)
    _draw(expected, truth, random)
    # photons arrive at random, the electronics add their own noise, and the converter has an end
    counts = random.poisson(expected) + random.normal(0.0, settings.noise, expected.shape)
    return Frames(np.clip(np.rint(counts), 0, settings.saturation).astype(np.uint16), truth)


def _places(settings: Settings, random: np.random.Generator) -> NDArray[Any]:
    """Choose cells of the board for the peaks of each frame, and a sub-pixel place in each cell."""
    across, n = settings.side // CELL, settings.peaks_per_frame
    # the first n of a random order of the cells: n different cells in every frame
    cell = np.argsort(random.random((settings.frames, across**2)), axis=1)[:, :n].ravel()
    jitter = random.uniform(-2.0, 2.0, (2, cell.size))
    truth = np.empty(cell.size, dtype=TRUTH)
    truth["frame"] = np.repeat(np.arange(settings.frames), n)
    truth["x"] = (cell % across) * CELL + (CELL - 1) / 2 + jitter[0]
    truth["y"] = (cell // across) * CELL + (CELL - 1) / 2 + jitter[1]
    return truth


def _draw(expected: NDArray[np.float64], truth: NDArray[Any], random: np.random.Generator) -> None:
    """Add the expected counts of every peak to the frames."""
    n, side = truth.size, expected.shape[1]
    height = np.exp(random.uniform(np.log(120.0), np.log(2500.0), n))
    width = random.uniform(0.9, 1.5, n)
    tail = random.uniform(0.0, 0.8, n)
    lorentz = random.uniform(0.0, 0.2, n)
    outward = np.arctan2(truth["y"] - (side - 1) / 2, truth["x"] - (side - 1) / 2) + random.normal(0.0, 0.2, n)
    window = np.arange(-REACH, REACH + 1)
    # a chunk at a time: the fine grid of all peaks at once would not be small
    for chunk in np.array_split(np.arange(n), max(1, n // 256)):
        pixel_x, pixel_y = np.rint(truth["x"][chunk]).astype(int), np.rint(truth["y"][chunk]).astype(int)
        form = _form(
            pixel_x - truth["x"][chunk].astype(float),
            pixel_y - truth["y"][chunk].astype(float),
            *(part[chunk] for part in (width, tail, lorentz, outward)),
        )
        column, row = pixel_x[:, None, None] + window, pixel_y[:, None, None] + window[:, None]
        inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
        frame = np.broadcast_to(truth["frame"][chunk][:, None, None], form.shape)
        column, row = np.broadcast_to(column, form.shape), np.broadcast_to(row, form.shape)
        light = height[chunk][:, None, None] * form
        np.add.at(expected, (frame[inside], row[inside], column[inside]), light[inside])


def _form(
    dx: NDArray[np.float64],
    dy: NDArray[np.float64],
    width: NDArray[np.float64],
    tail: NDArray[np.float64],
    lorentz: NDArray[np.float64],
    outward: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the form of peaks on their windows: a pseudo-Voigt that is wider on its outward side.

    Parameters
    ----------
    dx, dy : ndarray of float64, shape (n,)
        From the highest point of a peak to the centre of its middle pixel, in px.
    width : ndarray of float64, shape (n,)
        Standard deviation on the steep side and across, in px.
    tail : ndarray of float64, shape (n,)
        By how much, relative to 1, the outward side is wider.
    lorentz : ndarray of float64, shape (n,)
        Part of the Lorentzian, from 0 to 1.
    outward : ndarray of float64, shape (n,)
        Direction of the tail, in rad from x towards y.

    Returns
    -------
    ndarray of float64, shape (n, 2 * REACH + 1, 2 * REACH + 1)
        Mean over each pixel, relative to the height of the peak.
    """
    window = np.arange(-REACH, REACH + 1)
    inside = (np.arange(FINE) - (FINE - 1) / 2) / FINE
    offset = (window[:, None] + inside).ravel()
    x, y = dx[:, None, None] + offset, dy[:, None, None] + offset[:, None]
    cosine, sine = np.cos(outward)[:, None, None], np.sin(outward)[:, None, None]
    along, across = x * cosine + y * sine, y * cosine - x * sine
    narrow = width[:, None, None]
    wide = narrow * (1.0 + tail[:, None, None])
    square = (along / np.where(along > 0, wide, narrow)) ** 2 + (across / narrow) ** 2
    part = lorentz[:, None, None]
    fine = (1.0 - part) * np.exp(-square / 2) + part / (1.0 + square)
    form: NDArray[np.float64] = fine.reshape(-1, window.size, FINE, window.size, FINE).mean(axis=(2, 4))
    return form

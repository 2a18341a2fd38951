"""Merging: partial reflections of many stills become one table of structure factors, with figures of merit.

Every still gets a scale of its own, refined against the merged intensities, as each crystal was larger or smaller; what
was recorded of a reflection is divided by its partiality; equivalents are averaged with their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.ssx.settings import Process

__all__ = ["Structure", "merge"]


@dataclass(frozen=True, slots=True)
class Structure:
    """Merged structure factors.

    Attributes
    ----------
    index : ndarray of int64, shape (n, 3)
        h, k and l, none negative.
    intensity, sigma : ndarray of float64, shape (n,)
        Squared structure factor and its standard deviation, on an arbitrary scale.
    multiplicity : ndarray of int64, shape (n,)
        How many observations were averaged.
    cc_half : float
        Correlation of two halves of the stills (CC1/2).
    r_split : float
        Their disagreement, as a part of the intensity.
    """

    index: NDArray[np.int64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    multiplicity: NDArray[np.int64]
    cc_half: float
    r_split: float

    def table(self) -> str:
        """Give the structure factors as text, a reflection on a line.

        Returns
        -------
        str
            h, k, l, amplitude, its standard deviation, multiplicity.
        """
        amplitude = np.sqrt(np.maximum(self.intensity, 0.0))
        sigma = self.sigma / np.maximum(2 * amplitude, np.sqrt(self.sigma))
        lines = [
            "".join(f"{part:4d}" for part in hkl) + f"{f:10.3f}{s:9.3f}{n:5d}"
            for hkl, f, s, n in zip(self.index.tolist(), amplitude, sigma, self.multiplicity.tolist(), strict=True)
        ]
        return "\n".join(["#  h   k   l         F   sigma    n", *lines, ""])


def merge(files: Sequence[dict[str, NDArray[Any]]], process: Process) -> Structure:
    """Merge integrated reflections.

    Parameters
    ----------
    files : sequence of dict of str to ndarray
        Columns as :data:`braid_hpc.demos.ssx.integration.REFLECTIONS` names them, of each file.
    process : Process
        Which reflections to take, and how often to refine the scales.

    Returns
    -------
    Structure
        The merged table.

    Raises
    ------
    ValueError
        No reflection is good enough to be merged.
    """
    columns = {name: np.concatenate([file[name] for file in files]) for name in files[0]}
    # stills are counted from 0 in each file
    first = np.cumsum([0, *(int(file["still"].max(initial=-1)) + 1 for file in files)])
    still = columns["still"] + np.repeat(first[:-1], [len(file["still"]) for file in files])
    good = columns["partiality"] >= process.partiality_min
    if not good.any():
        raise ValueError("no reflection is good enough to be merged")
    hkl = np.abs(np.column_stack([columns["h"], columns["k"], columns["l"]])[good]).astype(np.int64)
    index, group = np.unique(hkl, axis=0, return_inverse=True)
    measured = _Measured(
        group=group.ravel(),
        still=still[good],
        intensity=columns["intensity"][good].astype(np.float64),
        sigma=columns["sigma"][good].astype(np.float64),
        partiality=columns["partiality"][good].astype(np.float64),
    )
    scale = np.ones(int(first[-1]))
    for _ in range(process.cycles):
        scale = measured.scales(measured.means(scale, len(index))[0], scale)
    intensity, sigma, multiplicity = measured.means(scale, len(index))
    return Structure(index, intensity, sigma, multiplicity, *_halves(measured, scale, len(index)))


@dataclass(frozen=True, slots=True)
class _Measured:
    """Observations, each with the number of its reflection and of its still."""

    group: NDArray[np.int64]
    still: NDArray[np.int64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    partiality: NDArray[np.float64]

    def means(
        self, scale: NDArray[np.float64], n: int, choice: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Average the observations of each reflection, or some of them; NaN where there is none."""
        taken = np.ones(self.group.size, dtype=bool) if choice is None else choice
        part = (scale[self.still] * self.partiality)[taken]
        group = self.group[taken]
        weight = (part / self.sigma[taken]) ** 2
        total = np.bincount(group, weight, n)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(group, weight * self.intensity[taken] / part, n) / total
            return mean, 1 / np.sqrt(total), np.bincount(group, minlength=n)

    def scales(self, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """Refine the scale of each still against the means; the mean scale is 1."""
        expected = self.partiality * mean[self.group]
        up = np.bincount(self.still, expected * self.intensity / self.sigma**2, scale.size)
        down = np.bincount(self.still, expected**2 / self.sigma**2, scale.size)
        # a still without a good reflection keeps its scale, and none turns negative
        fresh = np.where(down > 0, up / np.maximum(down, 1e-30), scale).clip(0.05)
        refined: NDArray[np.float64] = fresh / fresh.mean()
        return refined


def _halves(measured: _Measured, scale: NDArray[np.float64], n: int) -> tuple[float, float]:
    """Give CC1/2 and R_split of the odd and the even stills."""
    odd = measured.still % 2 == 1
    one, other = measured.means(scale, n, odd)[0], measured.means(scale, n, ~odd)[0]
    both = ~np.isnan(one) & ~np.isnan(other)
    if both.sum() < 3:
        return float("nan"), float("nan")
    one, other = one[both], other[both]
    disagreement = np.abs(one - other).sum() / (one + other).sum() * 2 / np.sqrt(2)
    return float(np.corrcoef(one, other)[0, 1]), float(disagreement)

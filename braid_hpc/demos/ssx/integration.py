"""Integration of a series of stills: spots are predicted from the orientation, and measured where they must be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.ssx.crystal import indices, predict
from braid_hpc.demos.ssx.settings import Settings
from braid_hpc.demos.ssx.stills import Stills
from braid_hpc.kernels.integrate import integrate

__all__ = ["REFLECTIONS", "process"]

REFLECTIONS = {
    "still": "int32",
    "h": "int16",
    "k": "int16",
    "l": "int16",
    "intensity": "float32",
    "sigma": "float32",
    "partiality": "float32",
}
"""Columns of an integrated file, and their types; intensity and sigma are in counts."""


def process(settings: Settings, stills: Stills) -> dict[str, NDArray[Any]]:
    """Integrate the stills of a series.

    Parameters
    ----------
    settings : Settings
        Beamline and processing.
    stills : Stills
        The images, and the orientations that indexing found.

    Returns
    -------
    dict of str to ndarray
        The columns of :data:`REFLECTIONS`, a row for each reflection, still by still. Reflections whose box is cut by
        the rim of the detector are left out.
    """
    process = settings.process
    index = indices(process.d_min)
    found = [predict(settings.beamline, each, index, process.excitation) for each in stills.orientation]
    still = np.repeat(np.arange(len(found)), [len(spots.index) for spots in found])
    row, column, partiality = (
        np.concatenate([getattr(spots, name) for spots in found]) for name in ("row", "column", "partiality")
    )
    places = np.column_stack([still, np.rint(row), np.rint(column)]).astype(np.int64)
    measured = integrate(stills.images, places, half=process.half_width, border=process.border)
    hkl = np.concatenate([spots.index for spots in found])
    columns = (still, *hkl.T, measured.intensity, measured.sigma, partiality)
    good = ~np.isnan(measured.intensity)
    return {name: part[good].astype(kind) for (name, kind), part in zip(REFLECTIONS.items(), columns, strict=True)}

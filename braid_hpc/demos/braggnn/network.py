"""What the network of BraggNN sees of a peak, and what it should say: where its highest point is.

The network says how far the peak is from its centre of mass; with the first weights it says nothing at all, so training
starts from exactly the plain centre of mass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.braggnn.peaks import PATCH, Peaks

__all__ = ["LAYERS", "inputs", "targets"]

Block = NDArray[np.float64]

LAYERS = (PATCH * PATCH + 2, 48, 24, 2)
"""Units of each layer: the patch and where in its pixel the centre of mass lies, two hidden layers, (x, y)."""


def inputs(peaks: Peaks) -> Block:
    """Give what the network sees of each peak.

    Parameters
    ----------
    peaks : Peaks
        The peaks.

    Returns
    -------
    ndarray of float64, shape (n, LAYERS[0])
        The pixels of the patch, and the centre of mass relative to its middle, in px.
    """
    return np.column_stack([peaks.patch, peaks.centre - np.rint(peaks.centre)]).astype(np.float64)


def targets(peaks: Peaks) -> Block:
    """Give what the network should say.

    Parameters
    ----------
    peaks : Peaks
        Peaks whose true position is known.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        From the centre of mass to the true position (x, y), in px.
    """
    return peaks.true - peaks.centre

"""Gating: of the waveforms of an event, what each channel measured inside and outside its time window.

This is the first stage of a digitiser's firmware: subtract the pedestal, suppress what is under the threshold, add up
the rest in two gates, and shift the sums down to eight bits. All of it is integer arithmetic, so that a computer says
bit for bit what the firmware says.

:func:`gate` is compiled, :func:`gate_slow` is its readable twin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = ["gate", "gate_slow"]


def gate(
    waveforms: NDArray[np.uint16], pedestal: NDArray[np.int32], threshold: int, window: tuple[int, int], shift: int
) -> NDArray[np.uint8]:
    """Add up what is above the threshold, inside and outside a time window.

    Parameters
    ----------
    waveforms : ndarray of uint16, shape (events, channels, samples)
        As digitised, in counts.
    pedestal : ndarray of int32, shape (channels,)
        What a channel reads without a signal, in counts.
    threshold : int
        In counts above the pedestal; a sample that reaches it is added.
    window : tuple of int
        First sample inside, and first one behind the window.
    shift : int
        Bits by which the sums are shifted down, from 0 to 31. What does not fit eight bits then is 255.

    Returns
    -------
    ndarray of uint8, shape (events, 2 * channels)
        The sums inside of all channels, then those outside.

    Raises
    ------
    ValueError
        Shapes do not fit each other, or a number is out of its range.
    ModuleNotFoundError
        numba is not installed.

    See Also
    --------
    gate_slow : the same in plain Python.

    Examples
    --------
    >>> import numpy as np
    >>> shots = np.array([[[100, 130, 190, 101, 150]]], dtype=np.uint16)
    >>> gate(shots, np.array([100], dtype=np.int32), 20, (1, 3), 1).tolist()
    [[60, 25]]
    """
    stack, level = _checked(waveforms, pedestal, threshold, window, shift)
    sums = np.empty((stack.shape[0], 2 * stack.shape[1]), dtype=np.uint8)
    _gate(stack, level, int(threshold), int(window[0]), int(window[1]), int(shift), sums)
    return sums


def gate_slow(
    waveforms: NDArray[np.uint16], pedestal: NDArray[np.int32], threshold: int, window: tuple[int, int], shift: int
) -> NDArray[np.uint8]:
    """Add up what is above the threshold, inside and outside a time window, in plain Python.

    Parameters
    ----------
    waveforms, pedestal, threshold, window, shift
        As for :func:`gate`.

    Returns
    -------
    ndarray of uint8, shape (events, 2 * channels)
        The same as :func:`gate` returns.

    Raises
    ------
    ValueError
        Shapes do not fit each other, or a number is out of its range.

    See Also
    --------
    gate : the compiled one.
    """
    stack, level = _checked(waveforms, pedestal, threshold, window, shift)
    inside = range(*window)
    rows = []
    for event in stack.tolist():
        above = [
            [value - base if value - base >= threshold else 0 for value in channel]
            for channel, base in zip(event, level.tolist(), strict=True)
        ]
        within = [sum(value for i, value in enumerate(channel) if i in inside) for channel in above]
        beyond = [sum(channel) - part for channel, part in zip(above, within, strict=True)]
        rows.append([min(value >> shift, 255) for value in within + beyond])
    return np.array(rows, dtype=np.uint8).reshape(stack.shape[0], 2 * stack.shape[1])


def _checked(
    waveforms: NDArray[Any], pedestal: NDArray[Any], threshold: int, window: tuple[int, int], shift: int
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Refuse what the firmware could not take either: the compiled loop trusts every index."""
    if waveforms.ndim != 3 or waveforms.dtype != np.uint16:
        raise ValueError(
            f"waveforms are uint16 of shape (events, channels, samples), not {waveforms.dtype} "
            f"of shape {waveforms.shape}"
        )
    if pedestal.shape != waveforms.shape[1:2]:
        raise ValueError(f"{waveforms.shape[1]} channels have as many pedestals, not {pedestal.shape}")
    if threshold <= 0:
        raise ValueError(f"the threshold is at least 1 count above the pedestal, not {threshold}")
    if not 0 <= window[0] <= window[1] <= waveforms.shape[2]:
        raise ValueError(f"the window {window} is not within the {waveforms.shape[2]} samples")
    if not 0 <= shift <= 31:
        raise ValueError(f"the shift is from 0 to 31 bits, not {shift}")
    return np.ascontiguousarray(waveforms), np.ascontiguousarray(pedestal, dtype=np.int32)


@compiled
def _gate(
    waveforms: NDArray[np.uint16],
    pedestal: NDArray[np.int32],
    threshold: int,
    begin: int,
    end: int,
    shift: int,
    sums: NDArray[np.uint8],
) -> None:
    """Write the sums of every event and channel."""
    events, channels, samples = waveforms.shape
    for e in range(events):
        for c in range(channels):
            inside, outside = 0, 0
            for s in range(samples):
                value = np.int64(waveforms[e, c, s]) - pedestal[c]
                if value >= threshold:
                    if begin <= s < end:
                        inside += value
                    else:
                        outside += value
            sums[e, c] = min(inside >> shift, 255)
            sums[e, channels + c] = min(outside >> shift, 255)

"""The firmware: a model and its thresholds as integer registers, in a file, and what they decide of a shot.

The hidden layer and the output are integer sums of products, shifted; nothing is rounded anywhere else. The file is
what would be loaded into the board: registers by name and address, and a user code, which a board gives back when it is
asked what it runs.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.files import whole
from braid_hpc.demos.network import split
from braid_hpc.demos.slac.settings import Settings
from braid_hpc.kernels.waveform import gate

__all__ = ["Firmware", "build", "cut_for", "layers", "read_firmware"]

SCALARS = "threshold", "window_begin", "window_end", "shift", "fraction_bits", "cut"
ARRAYS = "pedestal", "hidden_weight", "hidden_offset", "output_weight"
BASE = 0x4000_0000
"""Address of the first register; each one takes four bytes."""


def layers(channels: int) -> tuple[int, ...]:
    """Give the units of each layer of the model.

    Parameters
    ----------
    channels : int
        Of the detector.

    Returns
    -------
    tuple of int
        A sum inside and one outside the window for each channel, a hidden layer, and the score.
    """
    return (2 * channels, 24, 1)


@dataclass(frozen=True, slots=True)
class Firmware:
    """The registers.

    Attributes
    ----------
    pedestal : ndarray of int32, shape (channels,)
        In counts.
    threshold : int
        Of zero suppression, in counts above the pedestal.
    window_begin, window_end : int
        Samples.
    shift : int
        Bits dropped from the sums.
    fraction_bits : int
        Bits behind the point of weights and offsets.
    hidden_weight : ndarray of int32, shape (2 * channels, hidden)
        In units of ``2 ** -fraction_bits``.
    hidden_offset : ndarray of int32, shape (hidden,)
        In the same unit, for sums of 256.
    output_weight : ndarray of int32, shape (hidden,)
        In the same unit.
    cut : int
        The score from which a shot is kept.
    """

    pedestal: NDArray[np.int32]
    threshold: int
    window_begin: int
    window_end: int
    shift: int
    fraction_bits: int
    hidden_weight: NDArray[np.int32]
    hidden_offset: NDArray[np.int32]
    output_weight: NDArray[np.int32]
    cut: int = 0

    @property
    def usercode(self) -> int:
        """What the board answers when it is asked what it runs: a CRC-32 of its registers."""
        parts = [np.array([getattr(self, name) for name in SCALARS], dtype="<i4")]
        parts += [getattr(self, name).astype("<i4").ravel() for name in ARRAYS]
        return zlib.crc32(np.concatenate(parts).tobytes())

    def sums(self, waveforms: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Gate waveforms.

        Parameters
        ----------
        waveforms : ndarray of uint16, shape (shots, channels, samples)
            In counts.

        Returns
        -------
        ndarray of uint8, shape (shots, 2 * channels)
            As :func:`braid_hpc.kernels.waveform.gate` gives them.

        Raises
        ------
        ValueError
            The waveforms are not those of this detector.
        """
        window = (self.window_begin, self.window_end)
        return gate(waveforms, self.pedestal, self.threshold, window, self.shift)

    def scores(self, sums: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Say how much each shot looks like one with beam.

        Parameters
        ----------
        sums : ndarray of uint8, shape (shots, 2 * channels)
            As :meth:`sums` gives them.

        Returns
        -------
        ndarray of int32, shape (shots,)
            The shot is kept if this is `cut` or more.
        """
        hidden = sums.astype(np.int64) @ self.hidden_weight + (self.hidden_offset.astype(np.int64) << 8)
        # back to eight bits behind the point, which a multiplier of the board takes in one cycle
        hidden = np.maximum(hidden, 0) >> self.fraction_bits
        score = (hidden @ self.output_weight.astype(np.int64)) >> self.fraction_bits
        return score.astype(np.int32)

    def write(self, path: Path) -> None:
        """Write the file that would be loaded into the board.

        Parameters
        ----------
        path : Path
            Of the file; its folder is made.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        registers: dict[str, object] = {}
        address = BASE
        for name in (*SCALARS, *ARRAYS):
            value = np.asarray(getattr(self, name))
            registers[name] = {"address": f"0x{address:08x}", "shape": value.shape, "value": value.tolist()}
            address += 4 * value.size
        said = {"board": "cookiebox", "usercode": f"0x{self.usercode:08x}", "registers": registers}
        with whole(path) as aside:
            aside.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def read_firmware(path: Path) -> Firmware:
    """Read the file of a firmware.

    Parameters
    ----------
    path : Path
        As :meth:`Firmware.write` wrote it.

    Returns
    -------
    Firmware
        Its registers.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not such a file, or its user code is not that of its registers.
    """
    said = json.loads(path.read_text(encoding="utf-8"))
    registers = said["registers"]
    values: dict[str, Any] = {name: np.array(registers[name]["value"], dtype=np.int32) for name in ARRAYS}
    values |= {name: int(registers[name]["value"]) for name in SCALARS}
    firmware = Firmware(**values)
    if said["usercode"] != f"0x{firmware.usercode:08x}":
        raise ValueError(f"{path}: the user code is not that of the registers")
    return firmware


def build(
    settings: Settings, weights: NDArray[np.float64], pedestal: NDArray[np.int32], threshold: int, cut: int = 0
) -> Firmware:
    """Round a model to registers.

    Parameters
    ----------
    settings : Settings
        The configuration.
    weights : ndarray of float64, shape (weights,)
        Of the model, whose inputs are sums divided by 256.
    pedestal : ndarray of int32, shape (channels,)
        In counts.
    threshold : int
        In counts above the pedestal.
    cut : int
        The score from which a shot is kept.

    Returns
    -------
    Firmware
        The registers.

    Raises
    ------
    ValueError
        The weights are not those of this detector's model.
    """
    (hidden, offset), (output, _) = split(weights, layers(settings.channels))
    return Firmware(
        pedestal=pedestal,
        threshold=threshold,
        window_begin=settings.window_begin,
        window_end=settings.window_end,
        shift=settings.shift,
        fraction_bits=settings.fraction_bits,
        hidden_weight=_rounded(hidden, settings.fraction_bits),
        hidden_offset=_rounded(offset, settings.fraction_bits),
        output_weight=_rounded(output[:, 0], settings.fraction_bits),
        cut=cut,
    )


def cut_for(scores: Sequence[NDArray[np.int32]], efficiency: float) -> int:
    """Choose the cut.

    Parameters
    ----------
    scores : sequence of ndarray of int32
        Of known shots with beam, of each rank.
    efficiency : float
        Part of them that must be kept.

    Returns
    -------
    int
        The highest score that keeps so many.
    """
    ordered = np.sort(np.concatenate(scores))
    return int(ordered[int((1 - efficiency) * ordered.size)])


def _rounded(values: NDArray[np.float64], bits: int) -> NDArray[np.int32]:
    """Give values in units of the last bit."""
    return np.rint(values * (1 << bits)).astype(np.int32)

"""The scientist's configuration file: one TOML file on disk that every rank reads."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["FILE_NAME", "SCAN", "Settings", "ensure_file", "read_settings"]

FILE_NAME = "scan7.toml"

SCAN = "scan-7"
"""Name of the scan, in the names of all that is recorded of it."""

DEFAULT = """\
# Scan 7: nickel superalloy, far-field diffraction. Every rank of the job reads this file.
energy_keV = 71.7
seed = 7

# frames
frames = 128            # raw frames of each rank
held_out = 32           # of these, how many only the finished model sees
side = 96               # px, of the square detector
peaks_per_frame = 20    # at most one in each cell of 16 x 16 px
background = 20.0       # counts
noise = 2.0             # counts, rms of the readout; photons add their own
saturation = 1023       # counts, where the converter of a pixel stops

# reduction at the detector
threshold = 45          # counts

# training
epochs = 10             # each one is a version of the model
steps = 40              # optimiser steps in an epoch
batch = 64              # peaks of each rank in a step
learning_rate = 0.004
"""


POSITIVE = "frames", "held_out", "side", "saturation", "threshold", "epochs", "steps", "batch", "learning_rate"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration file says.

    Attributes
    ----------
    energy_keV : float
        Photon energy, in keV.
    seed : int
        Of every random number in the job; data differ by rank, the first weights do not.
    frames, held_out : int
        Raw frames of each rank, and how many of them (the last ones) are kept from training.
    side : int
        Of the square detector, in px.
    peaks_per_frame : int
        Diffraction peaks in each frame.
    background, noise : float
        Mean of the background and rms of the readout noise, in counts.
    saturation : int
        Largest value a pixel reports, in counts.
    threshold : int
        Smallest value the detector sends on, in counts.
    epochs, steps, batch : int
        Versions of the model, optimiser steps in each, and peaks of each rank in a step.
    learning_rate : float
        Of the first step; it falls towards zero.
    """

    energy_keV: float
    seed: int
    frames: int
    held_out: int
    side: int
    peaks_per_frame: int
    background: float
    noise: float
    saturation: int
    threshold: int
    epochs: int
    steps: int
    batch: int
    learning_rate: float

    def __post_init__(self) -> None:
        """Refuse what the simulation or the training could not carry out.

        Raises
        ------
        ValueError
            A value is out of its range; the sentence names it.
        """
        for name in POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("seed", "background", "noise", "peaks_per_frame"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.held_out >= self.frames:
            raise ValueError(f"held_out ({self.held_out}) must leave some of the {self.frames} frames for training")
        cells = (self.side // 16) ** 2
        if self.peaks_per_frame > cells:
            raise ValueError(f"peaks_per_frame must be at most {cells} on a detector of {self.side} px")
        if self.saturation > 65_535:
            raise ValueError(f"saturation must fit 16 bits, not {self.saturation}")


def read_settings(path: Path) -> Settings:
    """Read a configuration file.

    Parameters
    ----------
    path : Path
        A TOML file with exactly the keys of :class:`Settings`.

    Returns
    -------
    Settings
        Its values, checked.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not TOML, a key is missing, unknown or of the wrong type, or a value is out of range.

    See Also
    --------
    ensure_file : writes one with the defaults.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        return Settings(**_typed(found))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def ensure_file(directory: Path) -> Path:
    """Give the configuration file of a directory; where there is none yet, write the default one.

    All ranks may call this at once: each writes aside and renames, and they write the same bytes. A file that is
    already there is the user's and is never touched.

    Parameters
    ----------
    directory : Path
        Made if it does not exist.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    OSError
        The directory cannot be made, or the file cannot be written.

    See Also
    --------
    read_settings : reads it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    if not path.exists():
        aside = directory / f".{FILE_NAME}.{os.uname().nodename}.{os.getpid()}"
        aside.write_text(DEFAULT, encoding="utf-8")
        aside.replace(path)
    return path


def _typed(found: dict[str, object]) -> dict[str, Any]:
    """Hold the keys and types of a parsed file against the fields of `Settings`."""
    wanted = {field.name: field.type for field in fields(Settings)}
    if unknown := sorted(found.keys() - wanted.keys()):
        raise ValueError(f"unknown key {unknown[0]!r}; the keys are {', '.join(wanted)}")
    values: dict[str, Any] = {}
    for name, kind in wanted.items():
        if name not in found:
            raise ValueError(f"the key {name!r} is missing")
        value = found[name]
        # bool is an int to Python, but not to the person who wrote the file; a float may be written without its point
        taken = (int,) if kind == "int" else (int, float)
        if isinstance(value, bool) or not isinstance(value, taken):
            raise ValueError(f"{name} must be {'a whole number' if kind == 'int' else 'a number'}, not {value!r}")
        values[name] = value
    return values

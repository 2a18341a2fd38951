"""The scientist's configuration file: one TOML file on disk that every rank reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from braid_hpc.demos.files import ensure_file, read_toml, same_seed

__all__ = ["DEFAULT", "FILE_NAME", "SCAN", "Settings", "prepare"]

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


def prepare(directory: Path, seed: int | None = None) -> Settings:
    """Read the configuration file of a directory; where there is none yet, write the default one.

    Parameters
    ----------
    directory : Path
        Made if it does not exist.
    seed : int, optional
        Of all random numbers; it takes the place of the default one.

    Returns
    -------
    Settings
        What the file says, checked.

    Raises
    ------
    OSError
        The file cannot be written or read.
    ValueError
        It is not TOML, a key is missing, unknown or of the wrong type, a value is out of range, or the file is there
        with another seed.
    """
    path = ensure_file(directory, FILE_NAME, DEFAULT, seed=seed)
    settings = read_toml(path, Settings)
    same_seed(path, settings.seed, seed)
    return settings

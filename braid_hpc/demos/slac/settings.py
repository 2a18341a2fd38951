"""The configuration of the detector ring, the training and the shifts: one TOML file that every rank reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from braid_hpc.demos.files import ensure_file, read_toml, same_seed

__all__ = ["FILE_NAME", "Settings", "prepare"]

FILE_NAME = "cookiebox.toml"

DEFAULT = """\
# A ring of electron detectors around the beam of an X-ray laser. Every rank of the job reads this file.
seed = 16

# detector
channels = 16           # around the beam
samples = 96            # of a waveform
pedestal = 200.0        # counts, mean over the channels
noise = 4.0             # counts, rms
dark_hits = 0.15        # electrons of a channel and shot that have nothing to do with it
electrons = 1.0         # of a channel in a shot of mean intensity
window_begin = 32       # sample, where the earliest electrons of interest arrive
window_end = 64         # sample, behind the latest ones

# data of each rank
simulated = 400         # shots
calibration = 300       # shots of the experiment, beam on or off is known
shots = 600             # of each of the two shifts

# training
epochs = 6              # each one is a version of the model
quick = 1               # after this one, the firmware of the first shift is built
steps = 40              # optimiser steps in an epoch
batch = 64              # shots of each rank in a step
learning_rate = 0.02

# firmware
threshold_sigma = 4.0   # zero suppression, in units of the noise that was measured
shift = 1               # bits that are dropped from the sums
fraction_bits = 7       # of the weights
efficiency = 0.97       # of the known shots with beam, how many the cut may not lose
"""

POSITIVE = "channels", "samples", "noise", "electrons", "simulated", "calibration", "shots", "quick", "steps", "batch"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration file says.

    Attributes
    ----------
    seed : int
        Of every random number in the job.
    channels, samples : int
        Detectors of the ring, and samples of a waveform.
    pedestal, noise : float
        Mean of what a channel reads without a signal, and its rms noise, in counts.
    dark_hits, electrons : float
        Mean number of unrelated electrons, and of those of a shot, in each channel.
    window_begin, window_end : int
        Samples between which the electrons of a shot arrive.
    simulated, calibration, shots : int
        Shots of each rank: simulated, of the calibration, and of each shift.
    epochs, quick, steps, batch : int
        Versions of the model, the one the first firmware is built from, optimiser steps in each, shots in a step.
    learning_rate : float
        Of the first step; it falls towards zero.
    threshold_sigma : float
        Threshold of zero suppression, in units of the noise.
    shift, fraction_bits : int
        Bits dropped from the sums, and bits behind the point of the weights.
    efficiency : float
        Part of the known shots with beam that the cut must keep.
    """

    seed: int
    channels: int
    samples: int
    pedestal: float
    noise: float
    dark_hits: float
    electrons: float
    window_begin: int
    window_end: int
    simulated: int
    calibration: int
    shots: int
    epochs: int
    quick: int
    steps: int
    batch: int
    learning_rate: float
    threshold_sigma: float
    shift: int
    fraction_bits: int
    efficiency: float

    def __post_init__(self) -> None:
        """Refuse what the detector or the training could not carry out.

        Raises
        ------
        ValueError
            A value is out of its range; the sentence names it.
        """
        for name in POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, but is {self.seed}")
        if self.channels < 3:
            raise ValueError(f"a direction in the ring takes 3 channels or more, not {self.channels}")
        if not 0 <= self.window_begin < self.window_end <= self.samples:
            raise ValueError(f"the window must lie within the {self.samples} samples")
        if self.quick >= self.epochs:
            raise ValueError(f"quick ({self.quick}) comes before the last of the {self.epochs} epochs")
        if not 0 < self.efficiency < 1:
            raise ValueError(f"efficiency lies between 0 and 1, not at {self.efficiency}")
        if not 0 <= self.shift <= 16 or not 1 <= self.fraction_bits <= 12:
            raise ValueError("shift is from 0 to 16 bits, and fraction_bits from 1 to 12")


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
        The file says something that cannot be carried out, or another seed.
    """
    path = ensure_file(directory, FILE_NAME, DEFAULT, seed=seed)
    settings = read_toml(path, Settings)
    same_seed(path, settings.seed, seed)
    return settings

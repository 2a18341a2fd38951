"""The configuration of the scan and of the loop: one TOML file that every rank reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from braid_hpc.demos.files import ensure_file, read_toml, same_seed

__all__ = ["FILE_NAME", "WINDOWS", "Settings", "prepare"]

FILE_NAME = "scan.toml"

WINDOWS = (3, 5, 7)
"""px: side of the neighbourhood that each model of the ensemble sees; a model for each."""

DEFAULT = """\
# A porous sample in a parallel beam, and the loop that segments it. Every rank of the job reads this file.
seed = 21

# scan
slices = 2          # of each rank
side = 72           # px, of a slice
angles = 60         # projections over half a turn
photons = 500.0     # of a detector pixel without a sample; fewer are noisier
pores = 22          # in each slice

# loop
rounds = 3          # of segmentation, vote and training
labelled = 24       # pixels of each rank that a person has labelled, for the first versions
steps = 80          # optimiser steps of each training
batch = 256         # pixels of each rank in a step
learning_rate = 0.01
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration file says.

    Attributes
    ----------
    seed : int
        Of every random number in the job.
    slices, side : int
        Slices of each rank, and their side in px.
    angles : int
        Projections over half a turn.
    photons : float
        Of a detector pixel without a sample.
    pores : int
        In each slice.
    rounds, labelled, steps, batch : int
        Rounds of the loop, pixels labelled by hand, optimiser steps of a training, pixels in a step.
    learning_rate : float
        Of the first step; it falls towards zero.
    """

    seed: int
    slices: int
    side: int
    angles: int
    photons: float
    pores: int
    rounds: int
    labelled: int
    steps: int
    batch: int
    learning_rate: float

    def __post_init__(self) -> None:
        """Refuse what could not be carried out.

        Raises
        ------
        ValueError
            A value is out of its range; the sentence names it.
        """
        for name in self.__slots__:
            if name != "seed" and getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, but is {self.seed}")
        if self.side < 2 * max(WINDOWS):
            raise ValueError(f"a slice has at least {2 * max(WINDOWS)} px a side, not {self.side}")


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

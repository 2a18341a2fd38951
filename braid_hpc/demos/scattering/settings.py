"""The configuration of measurement and simulations: one TOML file that every rank reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from braid_hpc.demos.files import ensure_file, read_toml, same_seed

__all__ = ["FILE_NAME", "Settings", "prepare"]

FILE_NAME = "magnet.toml"

DEFAULT = """\
# A square-lattice magnet in a neutron beam, and the simulations it is compared with. Every rank reads this file.
seed = 31

# instrument
momenta = 48            # along the path through the zone
energies = 64           # channels
energy_max = 20.0       # meV
resolution = 0.6        # meV, standard deviation at zero energy
temperature = 1.5       # meV
counts = 400.0          # neutrons of an excitation of weight 1, in the channels it falls on
background = 1.5        # counts of a channel

# simulations
simulations = 120       # over all ranks, spread over these ranges of the three constants
j1_min = 0.6            # meV, nearest neighbours
j1_max = 1.6
j2_min = -0.2           # meV, along the diagonals
j2_max = 0.4
gap_min = 0.2           # meV, anisotropy
gap_max = 3.0

# reduction
features = 8            # of the auto-encoder
nearest = 40            # simulations that the reduced space is made of
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration file says.

    Attributes
    ----------
    seed : int
        Of every random number in the job.
    momenta, energies : int
        Channels of a spectrum.
    energy_max, resolution, temperature : float
        In meV.
    counts, background : float
        Neutrons of an excitation of weight 1, and of an empty channel.
    simulations : int
        Over all ranks.
    j1_min, j1_max, j2_min, j2_max, gap_min, gap_max : float
        Ranges of the constants, in meV.
    features, nearest : int
        Numbers that the auto-encoder keeps of a spectrum, and simulations in the reduced space.
    """

    seed: int
    momenta: int
    energies: int
    energy_max: float
    resolution: float
    temperature: float
    counts: float
    background: float
    simulations: int
    j1_min: float
    j1_max: float
    j2_min: float
    j2_max: float
    gap_min: float
    gap_max: float
    features: int
    nearest: int

    def __post_init__(self) -> None:
        """Refuse what could not be carried out.

        Raises
        ------
        ValueError
            A value is out of its range; the sentence names it.
        """
        for name in ("momenta", "energies", "energy_max", "resolution", "temperature", "counts", "features"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("seed", "background", "gap_min"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        for name in ("j1", "j2", "gap"):
            if getattr(self, f"{name}_min") >= getattr(self, f"{name}_max"):
                raise ValueError(f"{name}_min must be less than {name}_max")
        # a linear fit of three constants in each direction, and something left to tell how good it is
        if not self.features + 4 <= self.nearest < self.simulations:
            raise ValueError(f"nearest lies between features + 4 and simulations, not at {self.nearest}")


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

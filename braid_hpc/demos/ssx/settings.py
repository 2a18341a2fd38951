"""The settings files of the job: the beamline as JSON, processing and merging in PHIL, as crystallographers do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from braid_hpc.demos.files import ensure_file, same_seed, typed

__all__ = ["BEAMLINE", "PROCESS", "Beamline", "Process", "Settings", "phil", "prepare", "read_phil"]

BEAMLINE, PROCESS = "beamline.json", "process.phil"

DEFAULT_BEAMLINE = """\
{
  "seed": 11,
  "wavelength": 1.0,
  "distance": 70.0,
  "pixel": 0.2,
  "side": 288,
  "background": 3.0,
  "flux": 2.0,
  "experiments": 2,
  "files": 10,
  "stills": 4
}
"""

DEFAULT_PROCESS = """\
prediction {
  d_min = 2.6
  excitation = 0.003
}
integration {
  half_width = 2
  border = 2
}
merging {
  partiality_min = 0.25
  cycles = 4
}
"""


@dataclass(frozen=True, slots=True)
class Beamline:
    """What ``beamline.json`` says.

    Attributes
    ----------
    seed : int
        Of every random number in the job.
    wavelength : float
        In angstrom.
    distance, pixel : float
        From the crystal to the detector, and the side of a pixel, in mm.
    side : int
        Of the square detector, in px.
    background : float
        Mean counts of a pixel without a spot.
    flux : float
        Counts of a spot for each unit of squared structure factor.
    experiments, files, stills : int
        Experiments, series (files) of each, and stills of a series.
    """

    seed: int
    wavelength: float
    distance: float
    pixel: float
    side: int
    background: float
    flux: float
    experiments: int
    files: int
    stills: int


@dataclass(frozen=True, slots=True)
class Process:
    """What ``process.phil`` says.

    Attributes
    ----------
    d_min : float
        Finest resolution, in angstrom.
    excitation : float
        How far from the Ewald sphere a reflection is still predicted, in 1/angstrom.
    half_width, border : int
        Of the box around a spot, and of the frame around that, in px.
    partiality_min : float
        Reflections of which less was recorded are not merged.
    cycles : int
        Of the refinement of scales.
    """

    d_min: float
    excitation: float
    half_width: int
    border: int
    partiality_min: float
    cycles: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Both files.

    Attributes
    ----------
    beamline : Beamline
        Where and how stills were taken.
    process : Process
        What is done with them.
    """

    beamline: Beamline
    process: Process

    def __post_init__(self) -> None:
        """Refuse what could not be carried out.

        Raises
        ------
        ValueError
            A value is out of its range; the sentence names it.
        """
        for part in (self.beamline, self.process):
            for name in part.__slots__:
                if name not in ("seed", "background", "half_width") and getattr(part, name) <= 0:
                    raise ValueError(f"{name} must be positive, not {getattr(part, name)}")
        if self.beamline.seed < 0 or self.beamline.background < 0 or self.process.half_width < 0:
            raise ValueError("seed, background and half_width must not be negative")
        if self.process.d_min <= self.beamline.wavelength / 2:
            raise ValueError(f"no reflection beyond half the wavelength can be seen: d_min is {self.process.d_min}")


def prepare(directory: Path, seed: int | None = None) -> Settings:
    """Read the two settings files of a directory; where one is not there yet, write the default one.

    Parameters
    ----------
    directory : Path
        Made if it does not exist.
    seed : int, optional
        Of all random numbers; it takes the place of the default one.

    Returns
    -------
    Settings
        What the files say, checked.

    Raises
    ------
    OSError
        A file cannot be written or read.
    ValueError
        A file says something that cannot be carried out, or another seed.
    """
    path = ensure_file(directory, BEAMLINE, DEFAULT_BEAMLINE, seed=seed)
    process = ensure_file(directory, PROCESS, DEFAULT_PROCESS)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, dict):
            raise ValueError("the file is a JSON object with a value for each key")
        beamline = Beamline(**typed(said, Beamline))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    same_seed(path, beamline.seed, seed)
    try:
        flat = {name.partition(".")[2]: values[-1] for name, values in read_phil(process).items()}
        numbers = {name: float(value) if re.search(r"[.eE]", value) else int(value) for name, value in flat.items()}
        return Settings(beamline, Process(**typed(numbers, Process)))
    except ValueError as error:
        raise ValueError(f"{process}: {error}") from error


def phil(values: Mapping[str, Sequence[object]]) -> str:
    """Write values in PHIL.

    Parameters
    ----------
    values : mapping of str to sequence of object
        The values of each name; a name with several stands on several lines.

    Returns
    -------
    str
        The text of a file.

    See Also
    --------
    read_phil : reads it.
    """
    return "".join(f"{name} = {value}\n" for name, several in values.items() for value in several)


def read_phil(path: Path) -> dict[str, list[str]]:
    """Read a PHIL file: ``name = value`` on a line, in scopes ``scope { ... }``.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    dict of str to list of str
        The values of each name, with the scopes before it, joined by dots.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        A line is none of PHIL, or a scope is not closed.

    See Also
    --------
    phil : writes it.
    """
    scopes: list[str] = []
    values: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if found := re.fullmatch(r"(\w+) *\{", text):
            scopes.append(found[1])
        elif text == "}" and scopes:
            scopes.pop()
        elif found := re.fullmatch(r"([\w.]+) *= *(\S.*)", text):
            values.setdefault(".".join([*scopes, found[1]]), []).append(found[2])
        elif text:
            raise ValueError(f"line {number} is not PHIL: {line.strip()!r}")
    if scopes:
        raise ValueError(f"the scope {scopes[-1]!r} is not closed")
    return values

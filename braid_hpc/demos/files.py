"""The files of the demos: whole or not there at all, and configurations that belong to the user once written."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["ensure_file", "read_h5", "read_toml", "same_seed", "whole", "write_h5"]

S = TypeVar("S")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write a file aside and rename it: at its name there is a whole file, or none.

    Parameters
    ----------
    path : Path
        Of the file; its folder is made.

    Yields
    ------
    Path
        Where to write. It is renamed when the block is left without an exception, and removed otherwise.

    Raises
    ------
    OSError
        The folder cannot be made, or the file not renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # several ranks, and a second job on this node or another, may be at work in this directory
    aside = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_h5(path: Path, datasets: Mapping[str, NDArray[Any]], attributes: Mapping[str, object]) -> None:
    """Write arrays into an HDF5 file.

    Parameters
    ----------
    path : Path
        Of the file; its folder is made.
    datasets : mapping of str to ndarray
        Arrays by name.
    attributes : mapping of str to object
        Of the file.

    Raises
    ------
    OSError
        The file cannot be written.

    See Also
    --------
    read_h5 : reads it.
    """
    with whole(path) as aside, h5py.File(aside, "w") as file:
        for name, values in datasets.items():
            file[name] = values
        file.attrs.update(attributes)


def read_h5(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an HDF5 file.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    dict of str to ndarray
        Arrays by name.

    Raises
    ------
    OSError
        The file cannot be read.

    See Also
    --------
    write_h5 : writes it.
    """
    with h5py.File(path, "r") as file:
        return {name: np.asarray(file[name]) for name in file}


def ensure_file(directory: Path, name: str, text: str, *, seed: int | None = None) -> Path:
    """Give a configuration file of a directory; where there is none yet, write the default one.

    All ranks may call this at once: each writes aside and renames, and they write the same bytes. A file that is
    already there is the user's and is never touched.

    Parameters
    ----------
    directory : Path
        Made if it does not exist.
    name, text : str
        Of the file.
    seed : int, optional
        Takes the place of the default text's ``seed``.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    OSError
        The directory cannot be made, or the file cannot be written.
    """
    path = directory / name
    if not path.exists():
        if seed is not None:
            text = re.sub(r'^(\s*"?seed"?\s*[=:]\s*)\d+', rf"\g<1>{seed}", text, count=1, flags=re.MULTILINE)
        with whole(path) as aside:
            aside.write_text(text, encoding="utf-8")
    return path


def same_seed(path: Path, found: int, wanted: int | None) -> None:
    """Refuse a seed that is not the one of the user's file: the file is what the run is recorded to follow from.

    Parameters
    ----------
    path : Path
        Of the configuration.
    found : int
        Its seed.
    wanted : int, optional
        The one of the command line.

    Raises
    ------
    ValueError
        They differ.
    """
    if wanted is not None and found != wanted:
        raise ValueError(f"{path} says seed {found}, not {wanted}: change it there, or take another --dir")


def read_toml(path: Path, kind: type[S]) -> S:
    """Read a configuration file into a dataclass.

    Parameters
    ----------
    path : Path
        A TOML file with exactly the keys of the dataclass.
    kind : type
        The dataclass; its fields are ``int`` or ``float``, and its ``__post_init__`` may refuse values.

    Returns
    -------
    object
        An instance, checked.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not TOML, a key is missing, unknown or of the wrong type, or a value is out of range.
    """
    try:
        return kind(**typed(tomllib.loads(path.read_text(encoding="utf-8")), kind))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def typed(found: Mapping[str, object], kind: type) -> dict[str, Any]:
    """Hold keys and types of a parsed file against the fields of a dataclass.

    Parameters
    ----------
    found : mapping of str to object
        What the file says.
    kind : type
        The dataclass; its fields are ``int`` or ``float``.

    Returns
    -------
    dict of str to object
        A value for each field.

    Raises
    ------
    ValueError
        A key is missing or unknown, or a value of the wrong type.
    """
    wanted = {field.name: field.type for field in fields(kind)}
    if unknown := sorted(found.keys() - wanted.keys()):
        raise ValueError(f"unknown key {unknown[0]!r}; the keys are {', '.join(wanted)}")
    values: dict[str, Any] = {}
    for name, type_name in wanted.items():
        if name not in found:
            raise ValueError(f"the key {name!r} is missing")
        value = found[name]
        # bool is an int to Python, but not to the person who wrote the file; a float may be written without its point
        taken = (int,) if type_name == "int" else (int, float)
        if isinstance(value, bool) or not isinstance(value, taken):
            raise ValueError(f"{name} must be {'a whole number' if type_name == 'int' else 'a number'}, not {value!r}")
        values[name] = value
    return values

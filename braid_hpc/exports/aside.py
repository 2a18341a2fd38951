"""Exports that are there whole or not at all: written aside, and given their names at last."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from braid_hpc.results.local import ASIDE
from braid_hpc.store.placing import name_file
from braid_hpc.vocabulary.errors import ConflictError, StorageError

__all__ = ["MANIFEST", "whole_file", "whole_folder"]

#: The file of a folder that says what it is an export of. Only folders that have one are ever replaced.
MANIFEST = "export.json"


@contextmanager
def whole_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a place to write a file at, which takes its name when all is written, and is removed after an error.

    Parameters
    ----------
    path : path
        What it is to be called.
    overwrite : bool
        Whether it takes the place of a file of that name.

    Yields
    ------
    Path
        In the same directory.

    Raises
    ------
    ConflictError
        If there is something of that name.
    StorageError
        If it cannot be written.
    """
    target = Path(path).absolute()
    _refuse(target, overwrite=overwrite and not target.is_dir())
    aside = _aside(target)
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        if overwrite:
            os.replace(aside, target)
        elif not name_file(aside, target):
            raise ConflictError(f"{target} is there already: somebody else made it meanwhile")
    except OSError as error:
        raise _cannot(target, error) from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str], about: dict[str, Any], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a folder to write files into, which takes its name when all are written, and is removed after an error.

    Parameters
    ----------
    path : path
        What it is to be called.
    about : dict
        What it is an export of, for its manifest; what the caller adds meanwhile is in it too.
    overwrite : bool
        Whether it takes the place of an export of that name; of a folder that is none it never does.

    Yields
    ------
    Path
        A folder beside it.

    Raises
    ------
    ConflictError
        If there is something of that name, or it is no export.
    StorageError
        If it cannot be written.
    """
    target = Path(path).absolute()
    _refuse(target, overwrite=overwrite)
    if target.exists() and not (target / MANIFEST).is_file():
        raise ConflictError(f"{target} is not an export (it has no {MANIFEST}), and is not replaced: name another one")
    aside, before = _aside(target), _aside(target)
    try:
        aside.mkdir()
        yield aside
        (aside / MANIFEST).write_text(json.dumps(about, indent=1, ensure_ascii=True) + "\n")
        for file in aside.rglob("*"):
            if file.is_file():
                with open(file, "rb") as opened:
                    os.fsync(opened.fileno())
        if target.exists() and overwrite:
            os.rename(target, before)
        # An empty folder of that name, which somebody made meanwhile, is replaced; one with files is not.
        os.rename(aside, target)
    except OSError as error:
        if before.exists() and not target.exists():
            os.rename(before, target)
        raise _cannot(target, error) from error
    else:
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f"{ASIDE}{uuid.uuid4().hex}")


def _refuse(target: Path, *, overwrite: bool) -> None:
    if os.path.lexists(target) and not overwrite:
        raise ConflictError(f"{target} is there already: name another one, or overwrite it (--overwrite)")


def _cannot(target: Path, error: OSError) -> OSError:
    if isinstance(error, StorageError):
        return error
    return StorageError(f"{target} cannot be written: {error.strerror or error}")

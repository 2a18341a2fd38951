"""Where the logs of writers are, and what their headers say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from braid_hpc.log.header import unpack_header
from braid_hpc.log.layout import FORMAT, HEADER_NAME, MAGIC, TAIL_PREFIX
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError, NotFoundError

__all__ = ["find_writers", "names_in", "read_header", "tail_files"]

_WRITER_DIGITS = 32


def find_writers(logs: str | os.PathLike[str]) -> list[Path]:
    """Find the directories of writers below a directory.

    Parameters
    ----------
    logs : path-like
        A log directory, a directory of such (one for each node), or one writer's directory.

    Returns
    -------
    list of Path
        In order of their names.

    Raises
    ------
    NotFoundError
        If there is no such directory, or no log in it.
    """
    root = Path(logs)
    if not root.is_dir():
        raise NotFoundError(f"{root} is not a directory: name the directory that holds the rank logs")
    found = []
    for directory, below, files in os.walk(root):
        if HEADER_NAME in files or any(name.startswith(TAIL_PREFIX) for name in files):
            path = Path(directory)
            if _is_ours(path, files):
                found.append(path)
                below.clear()
    if not found:
        raise NotFoundError(f"there are no rank logs in {root}: name the directory that was given as log_dir")
    return sorted(found)


def _is_ours(path: Path, files: list[str]) -> bool:
    if HEADER_NAME in files:
        try:
            return bool(json.loads((path / HEADER_NAME).read_bytes()).get("format") == FORMAT)
        except (ValueError, OSError, AttributeError):
            pass
    if len(path.name) == _WRITER_DIGITS and all(digit in "0123456789abcdef" for digit in path.name):
        return True
    # Renamed, and without its header: a tail says that it is one, and whose.
    return any(_begins_as_tail(path / name) for name in files if name.startswith(TAIL_PREFIX))


def _begins_as_tail(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def names_in(directory: Path) -> list[str]:
    """List what is in a directory: a merge asks for it several times of each log, and ``Path.glob`` takes its time.

    Parameters
    ----------
    directory : Path
        It need not exist.

    Returns
    -------
    list of str
        Names, in any order.
    """
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def tail_files(directory: Path) -> list[Path]:
    """List the tails of a writer.

    Parameters
    ----------
    directory : Path
        The writer's directory.

    Returns
    -------
    list of Path
        In order of their names.
    """
    return [directory / name for name in sorted(names_in(directory)) if name.startswith(TAIL_PREFIX)]


def read_header(directory: Path) -> tuple[dict[str, Any], str | None]:
    """Read ``header.json``.

    Parameters
    ----------
    directory : Path
        A writer's directory.

    Returns
    -------
    header : dict
        Empty if it is missing or damaged.
    fault : str or None
        What is wrong with it.

    Raises
    ------
    FormatTooNewError
        If the log is of a newer major format.
    """
    try:
        return unpack_header((directory / HEADER_NAME).read_bytes()), None
    except FileNotFoundError:
        return {}, f"{HEADER_NAME} is missing"
    except FormatTooNewError as error:
        error.add_note(str(directory))
        raise
    except CorruptLogError as error:
        return {}, str(error)
    except OSError as error:
        return {}, f"{HEADER_NAME} cannot be read ({error})"

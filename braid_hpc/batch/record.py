"""The small files in a job's directory: written whole or not at all, read even where they are damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid_hpc.vocabulary.errors import StorageError

__all__ = ["JOB_NAME", "read_json", "replace", "write_job"]

#: The file in a job's directory that says what was submitted.
JOB_NAME = "job.json"


def write_job(directory: Path, about: Mapping[str, Any]) -> None:
    """Write ``job.json`` so that it is there whole or not at all.

    Parameters
    ----------
    directory : Path
        The job's directory.
    about : mapping
        What it says.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    try:
        replace(directory / JOB_NAME, json.dumps(about, indent=1) + "\n")
    except OSError as error:
        raise StorageError(f"{directory / JOB_NAME} cannot be written ({error.strerror})") from error


def read_json(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Read a small file that may be missing or damaged.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    found : dict or None
        What it says.
    faults : list of str
        What is wrong with it; nothing if it is not there.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None, []
    except (OSError, ValueError) as error:
        return None, [f"{path.name} cannot be read ({error})"]
    return (found, []) if isinstance(found, dict) else (None, [f"{path.name} is not what it should be"])


def replace(path: Path, text: str) -> None:
    """Write a small file so that readers see the old one or the new one.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        What it says.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    aside.write_text(text)
    os.replace(aside, path)

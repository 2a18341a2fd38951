"""Packages that are imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from braid_hpc.vocabulary.errors import MissingExtraError

__all__ = ["needed"]


def needed(name: str) -> Any:
    """Import a package.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    module
        It.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingExtraError(
            f"this needs {package}, which is not installed: pip install 'braid_hpc[scans]'"
        ) from error

"""Packages that not everybody has, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from braid_hpc.vocabulary.errors import MissingExtraError

__all__ = ["package"]


def package(module: str, what: str) -> Any:
    """Import what a kind of file or a place needs.

    Parameters
    ----------
    module : str
        Its name, for instance ``pyarrow.parquet``.
    what : str
        What needs it, in the plural: ``OME-TIFF files``.

    Returns
    -------
    module
        The module.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != name:
            raise
        brought = {"PIL": "pillow"}.get(name, name)
        raise MissingExtraError(f"{what} need {brought}: pip install 'braid_hpc[results]'") from error

"""Stores that are made of others to be asked, and are only read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ReadOnlyError

__all__ = ["Derived"]


class Derived(Store):
    """A handle on a store that is made when it is asked for, and kept; what is to be said is said to the others.

    Parameters
    ----------
    path : path-like
        Of one of the others.

    Raises
    ------
    NotFoundError, InvalidInputError, FormatTooNewError, StorageError
        As :func:`braid_hpc.store.store.open_store`.
    """

    _moving = (*Store._moving, "_temporary")
    _temporary: Path | None = None

    def _state(self, say: Callable[[Any], list[str]]) -> list[str]:
        raise self._refusal()

    def on_invalid(self, references: str | Iterable[str], action: Any) -> NoReturn:
        """Refuse: this store is only read.

        Parameters
        ----------
        references, action
            As for :meth:`braid_hpc.store.store.Store.on_invalid`.

        Raises
        ------
        ReadOnlyError
            Always.
        """
        raise self._refusal()

    def run_actions(self, **given: Any) -> NoReturn:
        """Refuse: this store is only read.

        Parameters
        ----------
        **given
            As for :meth:`braid_hpc.store.store.Store.run_actions`.

        Raises
        ------
        ReadOnlyError
            Always.
        """
        raise self._refusal()

    def _refusal(self) -> ReadOnlyError:
        return ReadOnlyError(f"{self.path} is only read: say it to the store that it is made of")

    def close(self) -> None:
        """Close the store; harmless a second time."""
        super().close()
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)

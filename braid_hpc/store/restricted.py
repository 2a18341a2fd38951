"""What some groups may see of a store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Self

from braid_hpc.compaction.joined import Source, look_at
from braid_hpc.compaction.restrict import Restricted as Made
from braid_hpc.compaction.restrict import restrict_store
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.derived import Derived
from braid_hpc.store.guarded import guarded
from braid_hpc.store.kept import keep
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Restricted", "export_restricted", "fewer_groups", "named_groups", "show"]


@guarded
class Restricted(Derived):
    """What some groups may see of a store, as if nothing else had been recorded; read-only.

    It is no protection against somebody who can read the files of the store: give them a file instead
    (:func:`export_restricted`).

    Parameters
    ----------
    path : path-like
        The store.
    groups : str or iterable of str
        Somebody's groups.

    Attributes
    ----------
    groups : frozenset of str
        They.

    Raises
    ------
    InvalidInputError
        If no group is named.
    NotFoundError
        If there is no such store, or it has no archive.
    FormatTooNewError
        If it is of a newer format, also of a newer minor one.
    CorruptLogError
        If its archive cannot be used.
    StorageError
        If it cannot be read, or there is no place for what is shown of it.
    """

    def __init__(self, path: str | os.PathLike[str], groups: str | Iterable[str]) -> None:
        self.groups = named_groups(groups)
        super().__init__(path)

    def _open(self, files: StoreFiles) -> None:
        kept, self._temporary = show(files, self.groups)
        super()._open(StoreFiles(kept))
        self.path = files.path

    def _again(self) -> Self:
        return type(self)(self.path, self.groups)

    def restricted(self, groups: str | Iterable[str]) -> Self:
        """Open what some of the groups of this view may see.

        Parameters
        ----------
        groups : str or iterable of str
            Some of :attr:`groups`.

        Returns
        -------
        Restricted
            Another handle, to be closed by itself.

        Raises
        ------
        InvalidInputError
            If one is none of them: a view never shows more than it was made for.
        NotFoundError, FormatTooNewError, CorruptLogError, StorageError
            As for the class.
        """
        return type(self)(self.path, fewer_groups(groups, self.groups))


def show(files: StoreFiles, groups: frozenset[str]) -> tuple[Path, Path | None]:
    """Return a store of what some groups may see, made before or now.

    Parameters
    ----------
    files : StoreFiles
        Of the store that it is taken from.
    groups : frozenset of str
        The groups.

    Returns
    -------
    path : Path
        Of the store.
    temporary : Path or None
        The directory to remove when it is closed, where it could not be kept.

    Raises
    ------
    NotFoundError, InvalidInputError, FormatTooNewError, CorruptLogError, StorageError
        As for :class:`Restricted`.
    """
    source = look_at("", files)
    return keep(
        ["restricted", str(files.path.resolve()), *sorted(groups)],
        [*source.commits.values()],
        partial(_make, source, groups),
    )


def _make(source: Source, groups: frozenset[str], path: Path, earlier: Path | None) -> None:
    # What was shown before may not be shown any more: a run may have named its groups since.
    restrict_store(source, groups, StoreFiles(path))


def export_restricted(store: str | os.PathLike[str], groups: str | Iterable[str], into: str | os.PathLike[str]) -> Made:
    """Make a store that holds what some groups may see of another one, and nothing else, to be given to them.

    Parameters
    ----------
    store : path-like
        The store.
    groups : str or iterable of str
        The groups.
    into : path-like
        The new store; it has an archive and arrays of its own, in its directory.

    Returns
    -------
    Restricted
        What was made.

    Raises
    ------
    ConflictError
        If there is a store of the new name.
    InvalidInputError, NotFoundError, FormatTooNewError, CorruptLogError, StorageError
        As for :class:`Restricted`.
    """
    return restrict_store(look_at("", StoreFiles(store)), named_groups(groups), StoreFiles(into))


def fewer_groups(groups: str | Iterable[str], of: frozenset[str]) -> frozenset[str]:
    """Return some of the groups that a view is for.

    Parameters
    ----------
    groups : str or iterable of str
        One, or several.
    of : frozenset of str
        Those of the view.

    Returns
    -------
    frozenset of str
        At least one.

    Raises
    ------
    InvalidInputError
        If none is named, one is no text, or the view is not for it.
    """
    named = named_groups(groups)
    if beyond := sorted(named - of):
        raise InvalidInputError(
            f"this view is for {', '.join(sorted(of))}, and shows nothing to {beyond[0]!r:.80}: open the store itself"
        )
    return named


def named_groups(groups: str | Iterable[str]) -> frozenset[str]:
    """Return groups as they were named.

    Parameters
    ----------
    groups : str or iterable of str
        One, or several.

    Returns
    -------
    frozenset of str
        At least one.

    Raises
    ------
    InvalidInputError
        If none is named, or one is no text.
    """
    named = [groups] if isinstance(groups, str) else list(groups)
    if not named or not all(isinstance(each, str) and each for each in named):
        raise InvalidInputError(f"{groups!r:.80} names no groups: give one as a text, or several")
    return frozenset(named)

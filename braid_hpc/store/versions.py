"""Questions about versions of a name, and the way back from a version to what it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from braid_hpc.assets.staging import Staged
    from braid_hpc.lineage.history import History
    from braid_hpc.store.arrays import ArrayFiles
    from braid_hpc.store.checkout import CheckedOut
    from braid_hpc.store.resolve import Node
    from braid_hpc.store.states import StoredModel
    from braid_hpc.store.store import Store

__all__ = ["Versions"]


class Versions:
    """The part of :class:`braid_hpc.Store` that is about versions."""

    if TYPE_CHECKING:
        _arrays: ArrayFiles

        @property
        def _connected(self) -> Any: ...
        def get(self, reference: str, *, at: int | None = None, as_of: Any = None) -> Node:
            """Return what is named; see :meth:`braid_hpc.Store.get`."""
            ...

    def model(self, reference: str, *, at: int | None = None, as_of: Any = None) -> StoredModel:
        """Return a version of a model, whose state is read when it is asked for.

        Parameters
        ----------
        reference : str
            A version; without a number the newest.
        at, as_of
            As for :meth:`get`.

        Returns
        -------
        StoredModel
            ``state()`` gives the mapping of arrays back, bit for bit; ``state(["conv1.weight"])`` a part of it;
            ``data()`` the bytes of one that was given as bytes.

        Raises
        ------
        NotFoundError
            If there is no such record.
        ConflictError, InvalidInputError
            As :meth:`get`.

        See Also
        --------
        checkout : writes it into a file.
        braid_hpc.Run.model : records it.
        """
        from braid_hpc.store.states import find_model

        return find_model(self._connected, self._arrays, self.get(reference, at=at, as_of=as_of))

    def checkout(
        self, reference: str, *, into: str | os.PathLike[str], at: int | None = None, as_of: Any = None
    ) -> CheckedOut:
        """Bring a version back as a file whose content is verified by its digest.

        A file comes from where it was recorded if its bytes are still the same, else from the store if its bytes were
        recorded, and keeps its name. An array becomes ``<name>@<version>.npy``, a state of arrays
        ``<name>@<version>.npz``, bytes ``<name>@<version>``. A file is written under another name and renamed.

        Parameters
        ----------
        reference : str
            A version; without a number the newest.
        into : path-like
            The directory; made if it is not there.
        at, as_of
            As for :meth:`get`.

        Returns
        -------
        CheckedOut
            What was written, with digest and size.

        Raises
        ------
        NotFoundError
            If there is no such record, or its bytes are neither where they were nor in the store.
        CorruptLogError
            If recorded bytes do not carry their digest.
        ConflictError
            If another file of that name is there, or as :meth:`get`.
        InvalidInputError
            If it is an activity, or as :meth:`get`.
        StorageError
            If it cannot be written.
        """
        from braid_hpc.store.checkout import checkout

        return checkout(cast("Store", self), self.get(reference, at=at, as_of=as_of), into)

    def stage(
        self,
        refs: str | Iterable[str],
        to: str | os.PathLike[str],
        *,
        up: bool = False,
        root_map: Mapping[str, Any] | None = None,
        at: int | None = None,
        as_of: Any = None,
    ) -> Staged:
        """Copy the files that scans, runs and versions refer to into a directory, for a job somewhere else.

        Each copy is read back and carries the digest of its source, and a source what was recorded of it. The same call
        goes on where one was killed, and replaces no other file.

        Parameters
        ----------
        refs : str or iterable of str
            Scans (``scan:<uid>``, or a uid or its beginning), runs (``run:<id>``: what they made), and versions.
        to : path-like
            The directory; made if it is not there. Copies lie in ``files`` under the paths they had;
            ``root-map.json`` is a root map of them, ``documents/<uid>.jsonl`` has the documents of each scan with the
            places of the copies, and ``stage.json`` lists the copies.
        up : bool
            Whether what fed them is copied too.
        root_map : mapping of str to path-like, optional
            Where the files lie today, as for :class:`braid_hpc.assets.Filler`.
        at, as_of
            As for :meth:`get`.

        Returns
        -------
        Staged
            Copies with sizes and digests, the root map, and the documents.

        Raises
        ------
        NotFoundError
            If there is no such thing, or a file is not there; nothing was copied then.
        ConflictError
            If a file has other bytes than were recorded, another file has the name of a copy, or as :meth:`get`.
        InvalidInputError
            If something that is named has no file, `to` is no directory, or as :meth:`get`.
        StorageError
            If something cannot be read or written, or there is too little space.
        MissingExtraError
            If a package is not installed that knows which files belong to a resource.

        See Also
        --------
        checkout : brings one version back.
        """
        from braid_hpc.assets.staging import stage

        return stage(cast("Store", self), refs, to, up=up, root_map=root_map, at=at, as_of=as_of)

    def history(self, reference: str, *, at: int | None = None, as_of: Any = None) -> History:
        """Return the versions of a name, in order, with what made each.

        Parameters
        ----------
        reference : str
            The name, or any of its versions.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time, as for :meth:`get`: the versions of then, and what had been stated of them.

        Returns
        -------
        History
            Of :class:`~braid_hpc.lineage.history.HistoryEntry`, as in a list, with time, run, step, the activities that
            made each, the versions that it revises, and whether it is valid; a table, and a graph, for other libraries.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`; InvalidInputError also for an activity.
        """
        from braid_hpc.lineage.history import history

        return history(cast("Store", self), reference, at=at, as_of=as_of)

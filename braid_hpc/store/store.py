"""The store as people ask it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.store.annotating import Annotating
from braid_hpc.store.asking import Asking
from braid_hpc.store.guarded import guarded
from braid_hpc.store.questions import Questions
from braid_hpc.store.reading_back import ReadingBack
from braid_hpc.store.tasks import Tasks
from braid_hpc.store.versions import Versions
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.store.policy import Violations

__all__ = ["Store", "open_store"]


def open_store(
    path: str
    | os.PathLike[str]
    | Iterable[str | os.PathLike[str]]
    | Mapping[str, str | os.PathLike[str]]
    | None = None,
    *,
    private: str | os.PathLike[str] | None = None,
    groups: str | Iterable[str] | None = None,
) -> Store:
    """Open a store to ask it, or several as one.

    Parameters
    ----------
    path : path-like, iterable of path-like, or mapping of str to path-like, optional
        The store; without it ``BRAID_STORE``. Several are answered together; a mapping names them, else they are called
        as their files are.
    private : path-like, optional
        A store of one's own, with private annotations; without it ``BRAID_PRIVATE_STORE``. It need not be there yet.
    groups : str or iterable of str, optional
        Show what somebody of these groups may see, as if nothing else had been recorded. It is a view, and no
        protection against who can read the file.

    Returns
    -------
    Store
        A context manager, on the newest snapshot of this moment; of several stores a
        :class:`~braid_hpc.store.several.Several`.

    Raises
    ------
    NotFoundError
        If there is no such store.
    InvalidInputError
        If no store is named, or a directory.
    StorageError
        If the file is something else, damaged, or may not be read.
    FormatTooNewError
        If it is of a newer format.
    """
    chosen = path if path is not None else os.environ.get("BRAID_STORE")
    if chosen is None:
        raise InvalidInputError("no store is named: give its path, or set BRAID_STORE")
    if isinstance(chosen, (str, os.PathLike)) and groups is not None:
        from braid_hpc.store.restricted import Restricted

        store: Store = Restricted(chosen, groups)
    elif isinstance(chosen, (str, os.PathLike)):
        store = Store(chosen)
    else:
        from braid_hpc.store.several import Several

        store = Several(chosen, groups=groups)
    if private is not None:
        store.private = Path(private)
    return store


@guarded
class Store(Asking, ReadingBack, Versions, Tasks, Questions, Annotating):
    """A snapshot of a store, read-only; compactions that publish later ones do not disturb it.

    A handle answers one thread at a time, and others wait: open one for each thread that is to ask at the same time.

    Parameters
    ----------
    path : path-like
        The store.

    Attributes
    ----------
    path : Path
        As it was named.
    snapshot : int
        Number of the snapshot.
    private : Path or None
        Where one's own annotations are (:doc:`annotations`).

    Raises
    ------
    NotFoundError, InvalidInputError, FormatTooNewError, StorageError
        As :func:`open_store`.
    """

    def restricted(self, groups: str | Iterable[str]) -> Store:
        """Open what some groups may see of this store, as if nothing else had been recorded.

        It is of the newest snapshot, and a view: no protection against who can read the file.

        Parameters
        ----------
        groups : str or iterable of str
            Somebody's groups.

        Returns
        -------
        Store
            Another handle, to be closed by itself.

        Raises
        ------
        NotFoundError, InvalidInputError, FormatTooNewError, CorruptLogError, StorageError
            As for :class:`braid_hpc.store.restricted.Restricted`.
        """
        from braid_hpc.store.restricted import Restricted

        return Restricted(self.path, groups)

    def check_policy(self, *, at: int | None = None, as_of: Any = None) -> Violations:
        """Return where the records of proposals and beamtimes are not as they should be; nothing was refused.

        A proposal has at least one PI, and any number of users and beamtimes; a beamtime at least one PI, any number
        of users, and exactly one proposal.

        Parameters
        ----------
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been said by then.

        Returns
        -------
        Violations
            Of :class:`~braid_hpc.store.policy.Violation`, as in a list, and a table for other libraries; by record and
            rule, empty where all is well.

        Raises
        ------
        InvalidInputError
            If there is no such snapshot, or nothing can be asked as of that time.
        """
        from braid_hpc.store.policy import find_violations

        return find_violations(self, then=self._then(at, as_of))

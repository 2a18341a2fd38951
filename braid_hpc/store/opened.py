"""A snapshot of a store, open to be asked."""

from __future__ import annotations

import functools
import operator
import os
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from braid_hpc.snapshots.adjacency import Adjacency, open_adjacency
from braid_hpc.snapshots.adjacency_layers import of_another_store
from braid_hpc.snapshots.answering import answering
from braid_hpc.snapshots.connect import connect_asking, connect_reading, refuse_two_stores, snapshot_number
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.digest import table_digests
from braid_hpc.store.exact import rows_of
from braid_hpc.store.guarded import Guarded, check_reading, refusal
from braid_hpc.store.holding import FOREVER, LATER
from braid_hpc.store.resolve import Node, resolve
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.errors import (
    BraidWarning,
    CorruptLogError,
    FormatTooNewError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.times import nanoseconds, shown_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from braid_hpc.store.arrays import ArrayFiles, StoredArray
    from braid_hpc.store.selection import Selection

__all__ = ["Opened"]

T = TypeVar("T")

#: How many answers of questions that return are kept at most.
KEPT = 1024


class Opened:
    """What every question needs: the connection, tables, nodes, arrays, and the number of the snapshot.

    Parameters
    ----------
    path : path-like
        The store.

    Raises
    ------
    NotFoundError, InvalidInputError, FormatTooNewError, StorageError
        As :func:`braid_hpc.open`.
    """

    #: What a handle has of the snapshot that it is on, besides the connection.
    _moving: tuple[str, ...] = ("snapshot", "_alone", "_files")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._connection: Any = None
        self._asking = threading.RLock()
        self._known: dict[tuple[Any, ...], Any] = {}
        self._open(StoreFiles(path))

    def _open(self, files: StoreFiles) -> None:
        """Connect to the newest snapshot of a store."""
        self.path: Path = files.path
        self._files = files
        own = os.environ.get("BRAID_PRIVATE_STORE")
        self.private: Path | None = Path(own) if own else None
        try:
            newest, self._connection = _connect_newest(files)
            self._alone = newest == files.path
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"{self.path} cannot be opened: {error.strerror}") from error
        try:
            with answering(self.path):
                self.snapshot = snapshot_number(self._connection, self.path)
                refuse_two_stores(files, newest, self.snapshot)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------ questions

    def sql(self, query: str, parameters: Any = None) -> Table:
        """Ask in SQL; tables and views are on the page ``store-format``.

        Parameters
        ----------
        query : str
            One statement that reads.
        parameters : sequence or mapping, optional
            Values for ``?`` or ``$name``.

        Returns
        -------
        Table
            The rows.

        Raises
        ------
        InvalidInputError
            If DuckDB refuses the statement, if there are several of them or it is no text, or if the store was closed.
        ReadOnlyError
            If it would change something, or is not a statement that reads.
        """
        import duckdb

        if not isinstance(query, str) or clean(query) != query:
            raise InvalidInputError(f"{query!r} is no query: that is a text in UTF-8")
        # A connection of its own: what a statement begins or creates for the time being is gone with it.
        cursor = self._connected.cursor()
        try:
            check_reading(cursor.extract_statements(query))
            relation = cursor.sql(query, params=parameters)
            if relation is None:
                raise InvalidInputError("the query is not one that answers with rows: ask with select")
            return Table(relation.to_arrow_table())
        except duckdb.Error as error:
            raise refusal(error) from error
        finally:
            cursor.close()

    def _asked(self, query: str, parameters: Any = None) -> Table:
        """Answer a statement of ours: what is wrong with it is the store's."""
        with answering(self.path):
            return self.sql(query, parameters)

    @overload
    def table(self, stream: str, *, at: int | None = None, as_of: Any = None) -> Table: ...

    @overload
    def table(self, stream: type, *, at: int | None = None, as_of: Any = None) -> Selection: ...

    def table(self, stream: str | type, *, at: int | None = None, as_of: Any = None) -> Table | Selection:
        """Return all rows of a stream, or those of a declared table that hold.

        Parameters
        ----------
        stream : str or type
            Its name; or a class that was declared with :class:`braid_hpc.table`.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: rows that had been appended by then.

        Returns
        -------
        Table or Selection
            ``_run``, ``_rank``, ``_writer``, ``_row``, ``_time``, ``_snapshot``, then the stream's columns; of a class
            what can be filtered.

        Raises
        ------
        NotFoundError
            If there is no such stream, or none of that moment.
        InvalidInputError
            If there is no such snapshot, or nothing can be asked as of that time, or the class was not declared.
        """
        if isinstance(stream, type):
            from braid_hpc.store.selection import select_rows

            return select_rows(self, stream, at=at, as_of=as_of)
        then = self._then(at, as_of)
        rows = self.sql(
            f"select stream, min(place) as place from stream_rows where snapshot <= $at and id not in ({LATER}) "
            "group by stream order by stream",
            then,
        )
        places = {row["stream"]: row["place"] for row in rows}
        if stream not in places:
            known = ", ".join(places) or "none"
            when = "" if at is None and as_of is None else " at that moment"
            raise NotFoundError(f"there is no stream {stream!r} in {self.path.name}{when}; there are: {known}")
        there = self.sql(
            "select 1 from information_schema.tables where table_schema = 'stream' and table_name = ?", [places[stream]]
        )
        if not len(there):
            raise NotFoundError(f"stream {stream!r} was declared, and no row of it was recorded")
        place = 'stream."' + places[stream].replace('"', '""') + '"'
        return self.sql(
            f"select * from {place} where _snapshot <= $at and epoch_ns(_time) <= $as_of "
            "order by _run, _rank, _writer, _row",
            then,
        )

    def get(self, reference: str, *, at: int | None = None, as_of: Any = None) -> Node:
        """Return the version or activity that a reference names.

        Parameters
        ----------
        reference : str
            ``[kind:]name[@version]`` or ``id:<hex>``.
        at : int, optional
            A snapshot number: what the store knew then; without it the newest.
        as_of : datetime, str or int, optional
            A time: what had been declared by then, so that a name without a version is the newest one of then. A text
            in ISO 8601, UTC if it names no zone; an int is nanoseconds since 1970.

        Returns
        -------
        Node
            Its ids, kind, name and number.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :func:`braid_hpc.store.resolve.resolve`.
        """
        return self._resolved(reference, self._at(at), self._as_of(as_of))[0]

    def array(self, reference: str, *, at: int | None = None, as_of: Any = None) -> StoredArray:
        """Return an array that was recorded; it is read when it is used.

        Parameters
        ----------
        reference : str
            Of a record whose content it is.
        at, as_of
            As for :meth:`get`.

        Returns
        -------
        StoredArray
            With shape, dtype and unit; ``numpy.asarray`` reads all of it and checks its digest, a slice reads a part.

        Raises
        ------
        NotFoundError
            If there is no such record, or its bytes are not in the store.
        ConflictError, InvalidInputError
            As :func:`braid_hpc.store.resolve.resolve`.
        """
        from braid_hpc.store.arrays import find_array

        node = self.get(reference, at=at, as_of=as_of)
        return find_array(self._connected, self._arrays, node.ref, node.id)

    @functools.cached_property
    def adjacency(self) -> Adjacency | None:
        """The index of the edges, made again with a warning where it is missing or damaged; None for too many edges."""
        path = self._files.adjacency(self.snapshot)
        if self._alone or not self._files.snapshot(self.snapshot).exists():
            from braid_hpc.snapshots.adjacency_write import adjacency_in_memory

            # Copied without its directory, in which a merge may have made one since; or older than those that are kept
            # there. Neither is damage.
            return adjacency_in_memory(self._connected, self.snapshot)
        try:
            found = open_adjacency(path, self._remade)
        except FileNotFoundError:
            return self._remade(f"there is no adjacency index {path}")
        except FormatTooNewError as error:
            # Another version of braid_hpc can use it, so it stays.
            return self._remade(str(error), keep=True)
        except CorruptLogError as error:
            return self._remade(str(error))
        except OSError as error:
            return self._remade(f"the adjacency index {path} cannot be read ({error.strerror})")
        if found.snapshot != self.snapshot:
            return self._remade(f"the adjacency index {path} is of snapshot {found.snapshot}")
        if why := of_another_store(self._connected, found):
            return self._remade(why)
        return found

    def _remade(self, why: str, *, keep: bool = False) -> Adjacency | None:
        """Make the index again from the tables, beside the store where that can be written, else in memory."""
        from braid_hpc.snapshots.adjacency_write import adjacency_in_memory, remake_adjacency

        made = None if keep else remake_adjacency(self._connected, self._files, self.snapshot)
        where = "and lies beside the store" if made is not None else "and is kept in memory"
        if made is None:
            made = adjacency_in_memory(self._connected, self.snapshot)
        if made is not None:
            warnings.warn(f"{why}: it was made again from the tables, {where}", BraidWarning, stacklevel=3)
        return made

    def refresh(self) -> None:
        """Move this handle to the newest snapshot.

        Raises
        ------
        NotFoundError, InvalidInputError, FormatTooNewError, StorageError
            As :func:`open_store`; the handle then stays where it is.
        """
        self._connected  # noqa: B018 - refuses where this handle is closed
        fresh = self._again()
        self._connection, fresh._connection = fresh._connection, self._connection
        for name in self._moving:
            mine, theirs = getattr(self, name), getattr(fresh, name)
            setattr(self, name, theirs)
            setattr(fresh, name, mine)
        self._known.clear()
        for cached in ("adjacency", "_events"):
            self.__dict__.pop(cached, None)
        if "_reading" in self.__dict__:
            fresh.__dict__["_reading"] = self.__dict__.pop("_reading")
        fresh.close()

    def _again(self) -> Self:
        """Return another handle on the newest snapshot."""
        return type(self)(self.path)

    def same_content(self, reference: str, *, at: int | None = None, as_of: Any = None) -> Table:
        """Return every version whose bytes are those of one version, whatever it is called.

        Parameters
        ----------
        reference : str
            A version.
        at, as_of
            As for :meth:`get`.

        Returns
        -------
        Table
            ``kind``, ``name``, ``version``, ``uid``, ``run``, ``time``; the version itself among them, none at all if
            its content is not known or only stands in for one (``weak``).

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`.
        """
        return self.sql(
            "with contents as (select id, digest, snapshot from version_rows where digest is not null and not weak "
            "union all select id, digest, snapshot from inspections where state = 'verified') "
            "select o.kind, o.name, o.version, o.uid, o.run, o.time from contents v join contents c using (digest) "
            "join versions o on o.id = c.id where v.id = $id and v.snapshot <= $at and c.snapshot <= $at "
            f"and o.snapshot <= $at and o.id not in ({LATER}) order by o.time, o.id",
            {
                "id": self.get(reference, at=at, as_of=as_of).id,
                **self._then(at, as_of),
            },
        )

    def snapshots(self) -> Table:
        """Return the snapshots with what each brought.

        Returns
        -------
        Table
            Ordered by number.
        """
        return self.sql("select * exclude (archive) from snapshots order by snapshot")

    def digests(self, *, numbers: bool = True) -> dict[str, str]:
        """Return a digest of each table, by which stores are compared.

        Parameters
        ----------
        numbers : bool
            Whether version numbers count; see :func:`braid_hpc.store.digest.table_digests`.

        Returns
        -------
        dict of str to str
            Table to digest.
        """
        return table_digests(self._connected, numbers=numbers)

    @property
    def _connected(self) -> Any:
        if self._connection is None:
            raise InvalidInputError(f"store {self.path} is closed: open it again to ask it")
        return Guarded(self._connection, self.path)

    def _at(self, at: int | None) -> int:
        if at is None:
            return self.snapshot
        if isinstance(at, (bool, str)) or not hasattr(at, "__index__"):
            raise InvalidInputError(
                f"{at!r:.40} is no snapshot: that is a number, from 1 to {self.snapshot} in this store"
            )
        number = operator.index(at)
        if not 1 <= number <= self.snapshot:
            raise InvalidInputError(f"there is no snapshot {number}: this store has 1 to {self.snapshot}")
        return number

    def _then(self, at: int | None, as_of: Any) -> dict[str, int]:
        """Return the parameters ``$at`` and ``$as_of`` of a query."""
        time = self._as_of(as_of)
        return {"at": self._at(at), "as_of": FOREVER if time is None else time}

    def _as_of(self, as_of: Any) -> int | None:
        """Return a time in nanoseconds, having seen that the store can say something of it."""
        moment = nanoseconds(as_of)
        if moment is None:
            return None
        first, last = self._events
        if first is not None and moment < first:
            raise InvalidInputError(
                f"{shown_time(moment)} is before the first event of this store, which is of {shown_time(first)}"
            )
        # The clocks of ranks need not agree with this one, so what they recorded counts as past too.
        if moment > max(last or 0, time.time_ns()):
            raise InvalidInputError(f"{shown_time(moment)} is still to come: leave as_of= away for what holds now")
        return moment

    def _rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Return the rows of a statement of ours; see :func:`~braid_hpc.store.exact.rows_of`."""
        return rows_of(self._connected, query, parameters)

    def _once(self, key: tuple[Any, ...], ask: Callable[[], T]) -> T:
        """Return the answer to a question that was asked before, or ask it: in a snapshot nothing changes."""
        if key not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[key] = ask()
        found: T = self._known[key]
        return found

    def _resolved(self, reference: str, at: int, as_of: int | None) -> tuple[Node, list[Node]]:
        """Return what a reference names; names are not indexed, so that to look for one reads all of them."""
        connection = self._connected
        if not isinstance(reference, str):
            return resolve(connection, reference, at, as_of)
        return self._once(("resolved", reference, at, as_of), lambda: resolve(connection, reference, at, as_of))

    @functools.cached_property
    def _reading(self) -> Any:
        """A connection to read much with in little memory; None where the snapshot is not there to be opened again."""
        paths = self._connected.execute(
            "select path from duckdb_databases() where not internal and path is not null"
        ).fetchall()
        try:
            return connect_reading(Path(paths[0][0])) if len(paths) == 1 else None
        except StorageError:
            # A merge has removed it since.
            return None

    @functools.cached_property
    def _arrays(self) -> ArrayFiles:
        """The files with arrays, of which none is opened before it is read."""
        from braid_hpc.store.arrays import ArrayFiles

        return ArrayFiles(self._files.arrays)

    @functools.cached_property
    def _events(self) -> tuple[int | None, int | None]:
        """The times of the first and the last event, and of the commit if that is later."""
        (row,) = self._connected.execute(
            "select epoch_ns(min(first)), epoch_ns(max(last)) from ("
            "select min(begin_time) as first, max(greatest(last_time, end_time)) as last from writer_states union all "
            "select min(time), max(time) from occurrences union all "
            "select min(begin_time), max(begin_time) from activity_rows union all "
            "select null, max(committed) from snapshots)"
        ).fetchall()
        return row[0], row[1]

    # ------------------------------------------------------------------ the handle

    def close(self) -> None:
        """Close the store; harmless a second time."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            if "_arrays" in self.__dict__:
                self._arrays.close()
            reading = self.__dict__.pop("_reading", None)
            if reading is not None:
                reading.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()

    # Bound here: the names of modules may be gone when the interpreter ends.
    def __del__(self, _finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Warn if the store was not closed; not at the end of the interpreter, when nobody could have closed it."""
        if getattr(self, "_connection", None) is not None and not _finalizing():
            warnings.warn(f"store {self.path} was not closed", ResourceWarning, stacklevel=1, source=self)
            self.close()

    def __repr__(self) -> str:
        """Name the store and its snapshot."""
        return f"<Store {self.path.name}, snapshot {getattr(self, 'snapshot', '?')}>"


def _connect_newest(files: StoreFiles) -> tuple[Path, Any]:
    """Connect to the newest snapshot, which may be replaced by two later ones while it is being opened."""
    if files.path.is_dir():
        raise InvalidInputError(f"{files.path} is a directory, and a store is a file: name one, such as prov.duckdb")
    while True:
        path = files.newest()
        try:
            return path, connect_asking(path)
        except StorageError:
            if path.exists():
                raise

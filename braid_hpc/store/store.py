"""The store as people ask it."""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.rows import clean
from braid_hpc.snapshots.adjacency import Adjacency, open_adjacency
from braid_hpc.snapshots.connect import connect_asking, refuse_two_stores, snapshot_number
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.arrays import ArrayFiles, StoredArray, find_array
from braid_hpc.store.asking import Asking
from braid_hpc.store.digest import table_digests
from braid_hpc.store.resolve import Node, resolve
from braid_hpc.store.tables import Table
from braid_hpc.store.versions import Versions
from braid_hpc.vocabulary.errors import (
    BraidWarning,
    CorruptLogError,
    FormatTooNewError,
    InvalidInputError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from braid_hpc.vocabulary.references import format_reference
from braid_hpc.vocabulary.times import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from braid_hpc.lineage.answer import Lineage
    from braid_hpc.lineage.component import Graph
    from braid_hpc.lineage.validity import Judgement
    from braid_hpc.store.due import ActionState

__all__ = ["Store", "open_store"]


def open_store(path: str | os.PathLike[str] | None = None) -> Store:
    """Open a store to ask it.

    Parameters
    ----------
    path : path-like, optional
        The store; without it ``BRAID_STORE``.

    Returns
    -------
    Store
        A context manager, on the newest snapshot of this moment.

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
    return Store(chosen)


class Store(Asking, Versions):
    """A snapshot of a store, read-only; compactions that publish later ones do not disturb it.

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

    Raises
    ------
    NotFoundError, InvalidInputError, FormatTooNewError, StorageError
        As :func:`open_store`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._connection: Any = None
        files = StoreFiles(path)
        self.path: Path = files.path
        self._files = files
        self._judged: dict[tuple[int, int | None], dict[int, Judgement]] = {}
        self._arrays = ArrayFiles(files.arrays)
        try:
            newest, self._connection = _connect_newest(files)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"{self.path} cannot be opened: {error.strerror}") from error
        try:
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
            If it would change something.
        """
        import duckdb

        if not isinstance(query, str) or clean(query) != query:
            raise InvalidInputError(f"{query!r} is no query: that is a text in UTF-8")
        # A connection of its own: what a statement begins or creates for the time being is gone with it.
        cursor = self._connected.cursor()
        try:
            if (statements := len(cursor.extract_statements(query))) > 1:
                # DuckDB would do them all, and answer with the rows of the last one.
                raise InvalidInputError(f"these are {statements} statements, and each has an answer: ask one at a time")
            relation = cursor.sql(query, params=parameters)
            if relation is None:
                raise InvalidInputError("the query is not one that answers with rows: ask with select")
            return Table(relation.to_arrow_table())
        except duckdb.Error as error:
            text = str(error)
            if "read-only" in text or "configuration has been locked" in text or "disabled" in text:
                raise ReadOnlyError(f"a store is only read: {text.splitlines()[0]}") from error
            raise InvalidInputError(f"DuckDB refuses the query: {text}") from error
        finally:
            cursor.close()

    def table(self, stream: str) -> Table:
        """Return all rows of a stream.

        Parameters
        ----------
        stream : str
            Its name.

        Returns
        -------
        Table
            ``_run``, ``_rank``, ``_writer``, ``_row``, ``_time``, ``_snapshot``, then the stream's columns.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        """
        places = {row["stream"]: row["place"] for row in self.sql("select stream, place from streams order by stream")}
        if stream not in places:
            known = ", ".join(places) or "none"
            raise NotFoundError(f"there is no stream {stream!r} in {self.path.name}; there are: {known}")
        there = self.sql(
            "select 1 from information_schema.tables where table_schema = 'stream' and table_name = ?", [places[stream]]
        )
        if not len(there):
            raise NotFoundError(f"stream {stream!r} was declared, and no row of it was recorded")
        place = 'stream."' + places[stream].replace('"', '""') + '"'
        return self.sql(f"select * from {place} order by _run, _rank, _writer, _row")

    def get(self, reference: str, *, at: int | None = None) -> Node:
        """Return the version or activity that a reference names.

        Parameters
        ----------
        reference : str
            ``[kind:]name[@version]`` or ``id:<hex>``.
        at : int, optional
            A snapshot number; without it the newest.

        Returns
        -------
        Node
            Its ids, kind, name and number.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :func:`braid_hpc.store.resolve.resolve`.
        """
        return resolve(self._connected, reference, self._at(at))[0]

    def array(self, reference: str, *, at: int | None = None) -> StoredArray:
        """Return an array that was recorded; it is read when it is used.

        Parameters
        ----------
        reference : str
            Of a record whose content it is.
        at : int, optional
            A snapshot number; without it the newest.

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
        node = self.get(reference, at=at)
        return find_array(self._connected, self._arrays, node.ref, node.id)

    def lineage(
        self,
        reference: str,
        *,
        down: bool = False,
        depth: int | None = None,
        at: int | None = None,
        as_of: Any = None,
        kinds: str | Iterable[str] | None = None,
    ) -> Lineage:
        """Ask what fed a record or an activity, or what came of it.

        Parameters
        ----------
        reference : str
            Where to start.
        down : bool
            Whether to follow edges to what came of it.
        depth : int, optional
            How many edges to follow at most; without it all.
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time, as for :meth:`judgements`: what was valid then.
        kinds : str or iterable of str, optional
            Only these kinds are shown, ``["data"]`` for example, and the root. All are walked through: what data a
            model was trained on is answered through any number of models.

        Returns
        -------
        Lineage
            Nodes with their distance, edges, and whether the answer is complete.

        Raises
        ------
        NotFoundError, ConflictError
            If the reference names nothing, or several things.
        InvalidInputError
            If the reference, the depth, a time or a kind is not one.
        """
        from braid_hpc.lineage.answer import ask
        from braid_hpc.lineage.shown import check_kinds

        shown = check_kinds(kinds)
        invalid = self.judgements(at=at, as_of=as_of)
        return ask(self, reference, down=down, depth=depth, at=self._at(at), invalid=invalid, kinds=shown)

    def impact(
        self,
        reference: str,
        *,
        depth: int | None = None,
        at: int | None = None,
        as_of: Any = None,
        kinds: str | Iterable[str] | None = None,
    ) -> Lineage:
        """Ask what came of a record or an activity; :meth:`lineage` the other way.

        Parameters
        ----------
        reference, depth, at, as_of, kinds
            As for :meth:`lineage`.

        Returns
        -------
        Lineage
            The descendants.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`.
        """
        return self.lineage(reference, down=True, depth=depth, at=at, as_of=as_of, kinds=kinds)

    def graph(
        self, reference: str | None = None, *, limit: int | None = 500, at: int | None = None, as_of: Any = None
    ) -> Graph:
        """Return everything that hangs together with a record or an activity, for drawing.

        Parameters
        ----------
        reference : str, optional
            Where to start; without it the whole store.
        limit : int, optional
            How many nodes at most, the nearest ones; None for all. What is beyond it is counted, and the drawings
            say so.
        at, as_of
            As for :meth:`lineage`.

        Returns
        -------
        Graph
            With ``mermaid()``, ``dot()`` and ``to_dict()``.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`lineage`; InvalidInputError also if `limit` is no number from 1.
        """
        from braid_hpc.lineage.component import draw

        invalid = self.judgements(at=at, as_of=as_of)
        return draw(self, reference, limit=limit, at=self._at(at), invalid=invalid)

    @functools.cached_property
    def adjacency(self) -> Adjacency | None:
        """The index of the edges; None where the store has none, or one that is damaged, which is warned of."""
        try:
            found = open_adjacency(self._files.adjacency(self.snapshot))
        except FileNotFoundError:
            return None
        except (CorruptLogError, FormatTooNewError) as error:
            warnings.warn(str(error), BraidWarning, stacklevel=2)
            return None
        return found if found.snapshot == self.snapshot else None

    def invalid(self, ids: list[int], *, at: int | None = None, as_of: Any = None) -> set[int]:
        """Return those of some nodes that are not valid any more.

        Parameters
        ----------
        ids : list of int
            Dense ids.
        at, as_of
            As for :meth:`judgements`.

        Returns
        -------
        set of int
            Invalidated by a statement, or descended from something that is.

        Raises
        ------
        InvalidInputError
            As :meth:`judgements`.
        """
        return self.judgements(at=at, as_of=as_of).keys() & set(ids)

    def judgements(self, *, at: int | None = None, as_of: Any = None) -> dict[int, Judgement]:
        """Return everything that is invalid, with the first statement that made it so.

        Parameters
        ----------
        at : int, optional
            A snapshot number: what the store knew then.
        as_of : datetime, str or int, optional
            A time: what had been stated by then. A text in ISO 8601, UTC if it names no zone; an int is nanoseconds
            since 1970.

        Returns
        -------
        dict of int to Judgement
            By dense id.

        Raises
        ------
        InvalidInputError
            If there is no such snapshot, or `as_of` is no time.
        """
        from braid_hpc.lineage.validity import invalid_nodes

        key = self._at(at), nanoseconds(as_of)
        if key not in self._judged:
            self._judged[key] = invalid_nodes(self._connected, at=key[0], as_of=key[1], index=self.adjacency)
        return self._judged[key]

    # ------------------------------------------------------------------ statements

    def invalidate(
        self, references: str | Iterable[str], *, cause: str, cascade: bool = True, all_versions: bool = False
    ) -> list[str]:
        """State that records or activities are not to be relied on.

        The statement goes into a log beside the store and from there into its next snapshot, on which this handle
        is afterwards. Everything that came of it, or will, is invalid; what it came from is not touched.

        Parameters
        ----------
        references : str or iterable of str
            What is wrong; without a version, the newest.
        cause : str
            Why, for people.
        cascade : bool
            Whether the statements reach what came of it.
        all_versions : bool
            Every version of these names up to now.

        Returns
        -------
        list of str
            Id of each statement.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`; also InvalidInputError if `cause` is no text. Nothing is stated then.
        StorageError
            If the statement cannot be written.

        See Also
        --------
        revalidate : take it back.
        lineage, impact : whose nodes say whether they are valid, and why not.
        """
        if not isinstance(cause, str) or not cause:
            raise InvalidInputError(f"the cause of an invalidation is a text, not {cause!r}")
        targets = self._targets(references, all_versions=all_versions)
        about = {"cause": cause, "cascade": cascade, "all_versions": all_versions}
        return self._state(lambda run: [run.invalidate(target, **about) for target in targets])

    def revalidate(
        self, references: str | Iterable[str], *, despite: str | None = None, all_versions: bool = False
    ) -> list[str]:
        """Take back the statements that records or activities are not to be relied on.

        Parameters
        ----------
        references : str or iterable of str
            What the statements stand on.
        despite : str, optional
            Id of one statement, or its beginning: these records hold in spite of it, wherever it stands, and do not
            pass it on.
        all_versions : bool
            Every version of these names up to now.

        Returns
        -------
        list of str
            Id of each statement.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`; NotFoundError also if there is no statement to take back. Nothing is stated then.
        StorageError
            If the statement cannot be written.

        See Also
        --------
        invalidate : what is taken back.
        """
        targets = self._targets(references, all_versions=all_versions)
        if despite is not None:
            despite = self._statement(despite)
        else:
            self._must_be_stated(references, all_versions=all_versions)
        about = {"despite": despite, "all_versions": all_versions}
        return self._state(lambda run: [run.revalidate(target, **about) for target in targets])

    def _targets(self, references: str | Iterable[str], *, all_versions: bool) -> list[str]:
        texts = [references] if isinstance(references, str) else list(references)
        nodes = [self.get(text) for text in texts]
        if not nodes:
            raise InvalidInputError("no record is named: give references such as 'data:scan@1'")
        return [format_reference(n.kind, n.name) if all_versions else f"id:{n.uid}" for n in nodes]

    def _must_be_stated(self, references: str | Iterable[str], *, all_versions: bool) -> None:
        standing = {row["id"] for row in self.sql("select id from invalidations where not revoked")}
        names = {(row["kind"], row["name"]) for row in self.sql("select kind, name from invalidations")}
        judged = self.judgements()
        for text in [references] if isinstance(references, str) else references:
            node = self.get(text)
            if (all_versions and (node.kind, node.name) in names) or node.id in standing:
                continue
            found = judged.get(node.id)
            hint = "" if found is None else f"; it is invalid by statement id:{found.uid} ({found.cause}): name that"
            raise NotFoundError(f"no statement stands on {node.ref}{hint}")

    def _statement(self, text: str) -> str:
        if not isinstance(text, str):
            raise InvalidInputError(f"{text!r} is not the id of a statement: that is a text")
        rows = self.sql(
            "select distinct uid from invalidations where starts_with(uid, ?)",
            [clean(text.removeprefix("id:").lower())],
        )
        if len(rows) != 1:
            raise NotFoundError(f"{text} is the id of {len(rows) or 'no'} statements: see the view 'invalidations'")
        return str(rows["uid"][0])

    def _state(self, say: Callable[[Any], list[str]]) -> list[str]:
        from braid_hpc.store.statements import state

        made = state(self._files, say)
        self.refresh()
        return made

    def on_invalid(self, references: str | Iterable[str], action: Any) -> None:
        """Attach an action to records; see :func:`braid_hpc.store.actions.attach`.

        Parameters
        ----------
        references : str or iterable of str
            The records.
        action : list of str, str, mapping, or list of these
            A command, a function, or several of these.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError, StorageError
            As :func:`braid_hpc.store.actions.attach`.
        """
        from braid_hpc.store.actions import attach

        attach(self, references, action)

    def actions(self) -> list[ActionState]:
        """Return what is attached to records, and what has come of it; nothing is run.

        Returns
        -------
        list of ActionState
            As :func:`braid_hpc.store.due.list_actions`.
        """
        from braid_hpc.store.due import list_actions

        return list_actions(self)

    def run_actions(
        self,
        *,
        retry: bool = False,
        dry_run: bool = False,
        timeout: float | None = None,
        told: Callable[[ActionState], None] | None = None,
    ) -> list[ActionState]:
        """Run the actions that are due; see :func:`braid_hpc.store.actions.run_actions`.

        Parameters
        ----------
        retry : bool
            Whether those that failed or were interrupted are run again.
        dry_run : bool
            Only return what would be run.
        timeout : float, optional
            Seconds for an action without a limit of its own; an hour if nothing is said.
        told : callable, optional
            Is given each action before it is begun and when it has ended.

        Returns
        -------
        list of ActionState
            Those that were run, or would be, in order.

        Raises
        ------
        ConflictError, InvalidInputError, StorageError
            As :func:`braid_hpc.store.actions.run_actions`.
        """
        from braid_hpc.store.actions import TIMEOUT, run_actions

        limit = TIMEOUT if timeout is None else timeout
        return run_actions(self, retry=retry, dry_run=dry_run, timeout=limit, told=told)

    def refresh(self) -> None:
        """Move this handle to the newest snapshot.

        Raises
        ------
        NotFoundError, InvalidInputError, FormatTooNewError, StorageError
            As :func:`open_store`; the handle then stays where it is.
        """
        fresh = Store(self.path)
        self._connection, fresh._connection = fresh._connection, self._connected
        self.snapshot = fresh.snapshot
        self._judged.clear()
        self.__dict__.pop("adjacency", None)
        fresh.close()

    def same_content(self, reference: str) -> Table:
        """Return every version whose bytes are those of one version, whatever it is called.

        Parameters
        ----------
        reference : str
            A version.

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
            "select o.kind, o.name, o.version, o.uid, o.run, o.time from versions v join versions o "
            "on o.digest = v.digest where v.id = ? and not v.weak order by o.time, o.id",
            [self.get(reference).id],
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
        return self._connection

    def _at(self, at: int | None) -> int:
        if at is None:
            return self.snapshot
        if isinstance(at, bool) or not isinstance(at, int) or not 1 <= at <= self.snapshot:
            raise InvalidInputError(f"there is no snapshot {at}: this store has 1 to {self.snapshot}")
        return at

    # ------------------------------------------------------------------ the handle

    def close(self) -> None:
        """Close the store; harmless a second time."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self._arrays.close()

    def __enter__(self) -> Store:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()

    def __del__(self) -> None:
        """Warn if the store was not closed."""
        if getattr(self, "_connection", None) is not None:
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

"""Which streams' rows are related to which, and whose rows a text means, at a moment of a store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import Reference, parse_reference

__all__ = ["NOBODY", "Key", "RowLink", "RowLinks"]

#: Whose rows: name of the stream, id of the writer.
Key = tuple[str, str]

#: The writer of rows of which it is not known whose they are.
NOBODY = ""


@dataclass(frozen=True, slots=True)
class RowLink:
    """A row of ``row_links``.

    Attributes
    ----------
    number : int
        Its number there.
    writer : str
        Who says it.
    child : Key
        Whose rows came of others.
    said : str or None
        The text, where one names the parents.
    """

    number: int
    writer: str
    child: Key
    said: str | None


@dataclass(frozen=True, slots=True)
class _Declared:
    stream: str
    writer: str
    run: str
    version: int | None
    time: int


@dataclass(slots=True)
class RowLinks:
    """The links of a store.

    Attributes
    ----------
    children, parents : dict of Key to list of (RowLink, Key)
        The links whose children are rows of the key, with whose rows the parents are; and the other way. A text that
        does not say whose rows it means stands as the stream of no writer.
    unresolved : dict of str to set of str
        Such texts by the streams that they name.
    """

    children: dict[Key, list[tuple[RowLink, Key]]] = field(default_factory=dict)
    parents: dict[Key, list[tuple[RowLink, Key]]] = field(default_factory=dict)
    unresolved: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: Any, *, at: int, as_of: int | None) -> RowLinks:
        """Read them.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            Open on a store.
        at : int
            Snapshot number.
        as_of : int or None
            Nanoseconds since 1970 UTC: what streams had been declared by then counts for what a text means.

        Returns
        -------
        RowLinks
            As the store knew them.
        """
        rows = connection.execute(
            "select link, writer, child_stream, child_writer, parent_stream, parent_writer, said from row_links "
            "where snapshot <= ? order by all",
            [at],
        ).fetchall()
        found = cls()
        meaning = _Meaning(connection, at, as_of) if any(said is not None for *_, said in rows) else None
        for number, writer, child, of, named, whose, said in rows:
            link = RowLink(number, writer, (child, of), said)
            parent = (named, whose) if meaning is None or said is None else meaning.of(link)
            if parent is None:
                found.unresolved.setdefault(named, set()).add(said)
                parent = (said, NOBODY)
            found.children.setdefault(link.child, []).append((link, parent))
            found.parents.setdefault(parent, []).append((link, link.child))
        return found

    def around(self, key: Key, *, down: bool) -> list[tuple[RowLink, Key]]:
        """Return the links of some rows, with whose rows are on their other side.

        Parameters
        ----------
        key : Key
            Whose rows.
        down : bool
            To what came of them.

        Returns
        -------
        list of (RowLink, Key)
            By number.
        """
        return (self.parents if down else self.children).get(key, [])


class _Meaning:
    """Whose rows a text means: this writer's, else this run's, else those of the last run before it."""

    def __init__(self, connection: Any, at: int, as_of: int | None) -> None:
        rows = connection.execute(
            "select s.stream, s.writer, s.run, n.version, epoch_ns(min(o.time)) from stream_rows s "
            "left join nodes n using (id) join occurrences o on o.id = s.id and o.writer = s.writer "
            "where s.snapshot <= ? group by all",
            [at],
        ).fetchall()
        self._declared: dict[str, list[_Declared]] = {}
        for row in rows:
            if as_of is None or row[4] <= as_of:
                self._declared.setdefault(row[0], []).append(_Declared(*row))
        self._runs = dict(connection.execute("select writer, run from writers where snapshot <= ?", [at]).fetchall())
        self._begins = dict(
            connection.execute(
                "select w.run, epoch_ns(min(s.begin_time)) from writers w join writer_states s using (writer) "
                "where s.snapshot <= ? group by w.run",
                [at],
            ).fetchall()
        )

    def of(self, link: RowLink) -> Key | None:
        """Return whose rows the text of a link means, if it is one writer's."""
        try:
            reference: Reference = parse_reference(link.said or "")
        except InvalidInputError:
            # A log that this package did not write may say anything.
            return None
        name = reference.name or ""
        known = [
            each
            for each in self._declared.get(name, [])
            if reference.version is None or each.version == reference.version
        ]
        run = self._runs.get(link.writer)
        if any(each.writer == link.writer for each in known):
            return name, link.writer
        if mine := {each.writer for each in known if each.run == run}:
            return _only(name, mine)
        begin = self._begins.get(run)
        earlier = [each for each in known if begin is not None and each.time < begin]
        if not earlier:
            return None
        last = max(earlier, key=lambda each: (each.time, each.run)).run
        return _only(name, {each.writer for each in earlier if each.run == last})


def _only(name: str, writers: Iterable[str]) -> Key | None:
    found = list(writers)
    return (name, found[0]) if len(found) == 1 else None

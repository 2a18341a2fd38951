"""What a row of a stream came from, row by row, or what came of it; and the records that these streams belong to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.lineage.ground import Ground
from braid_hpc.lineage.row_answer import RowLineage, RowNode
from braid_hpc.lineage.row_links import Key, RowLinks
from braid_hpc.lineage.row_walk import Numbers, RowWalk, intervals, walk_rows
from braid_hpc.store.holding import FOREVER
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import Reference, format_reference, parse_reference

if TYPE_CHECKING:
    from braid_hpc.lineage.answer import LineageNode
    from braid_hpc.store.resolve import Node
    from braid_hpc.store.store import Store

__all__ = ["ask_rows"]

_STREAM = "stream"


def ask_rows(
    store: Store,
    reference: str,
    *,
    down: bool,
    depth: int | None,
    values: bool,
    rank: int | None,
    writer: str | None,
    at: int | None,
    as_of: Any,
) -> RowLineage:
    """Walk from a row; see :meth:`braid_hpc.Store.row_lineage`.

    Parameters
    ----------
    store : Store
        Open.
    reference, down, depth, values, rank, writer, at, as_of
        As there.

    Returns
    -------
    RowLineage
        The answer.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise InvalidInputError(f"a depth is a number from 0, or nothing for all: not {depth!r}")
    asked = parse_reference(reference)
    if asked.row is None or asked.kind not in (None, _STREAM):
        raise InvalidInputError(f"{asked} is no row of a stream: write the stream's name and '#k' behind it")
    ground = Ground.of(store, at=at, as_of=as_of)
    node, _ = ground.resolve(str(replace(asked, kind=_STREAM, row=None)))
    streams = store._once(("row streams", ground.at, ground.as_of), lambda: _Streams(store, ground))
    start = streams.start(node, asked, rank=rank, writer=writer)
    connection = store._connected
    links = store._once(
        ("row links", ground.at, ground.as_of),
        lambda: RowLinks.of(connection, at=ground.at, as_of=ground.as_of),
    )
    found = walk_rows(connection, links, (start, asked.row), down=down, depth=depth, at=ground.at, as_of=ground.as_of)
    rows, edges = _listed(streams, found, values=values)
    ids = streams.ids({key for key, _, _ in found.rows})
    missing = ground.missing(sorted(ids), node, down=down)
    return RowLineage(
        rows[0].ref,
        "down" if down else "up",
        rows,
        edges,
        _records(ground, sorted(ids)),
        found.unresolved,
        missing,
        ground.source,
    )


class _Streams:
    """What a store says of streams and their writers at a moment."""

    def __init__(self, store: Store, ground: Ground) -> None:
        self._connection = store._connected
        self._then = {"at": ground.at, "as_of": FOREVER if ground.as_of is None else ground.as_of}
        self._ground = ground
        self._tables: dict[str, str | None] = {}
        self._about: dict[Key, tuple[int | None, int | None]] = {}
        self._writers: dict[str, tuple[str | None, int | None]] = {}

    def start(self, node: Node, asked: Reference, *, rank: int | None, writer: str | None) -> Key:
        """Return whose row is meant."""
        writers = self._connection.execute(
            "select distinct s.writer, s.run, w.rank from stream_rows s left join writers w using (writer) "
            "where s.id = $id and s.snapshot <= $at order by w.rank, s.writer",
            {"id": node.id, "at": self._then["at"]},
        ).fetchall()
        fitting = [
            each
            for each in writers
            if (rank is None or each[2] == rank) and (writer is None or each[0].startswith(writer))
        ]
        if not fitting:
            asked_of = [f"{what} {value}" for what, value in (("rank", rank), ("writer", writer)) if value is not None]
            raise NotFoundError(f"{node.ref} has no rows{' of ' if asked_of else ''}{' and '.join(asked_of)}")
        row = np.array([asked.row], np.int64)
        having = [each for each in fitting if len(self.there((node.name, each[0]), row))]
        if not having:
            raise NotFoundError(f"{node.ref} has no row {asked.row}")
        if len(having) > 1:
            ranks = ", ".join(f"{'no rank' if of is None else of} ({whose[:8]})" for whose, _, of in having)
            raise ConflictError(
                f"{node.ref}#{asked.row} fits rows of several ranks: say which with rank= or writer= "
                f"(--rank or --writer on the command line): {ranks}"
            )
        return node.name, having[0][0]

    def there(self, key: Key, rows: Numbers) -> Numbers:
        """Return those of some rows that the store has."""
        if (table := self._table(key[0])) is None:
            return np.empty(0, np.int64)
        parts = []
        for low, high in intervals(rows):
            found = self._connection.execute(
                f"select _row from {table} where _row between $low and $high and _writer = $writer "
                "and _snapshot <= $at and epoch_ns(_time) <= $as_of",
                {"low": low, "high": high, "writer": key[1], **self._then},
            ).fetchnumpy()
            parts.append(np.asarray(found["_row"]))
        return np.intersect1d(rows, np.concatenate(parts))

    def values(self, key: Key, rows: Numbers) -> dict[int, dict[str, Any]]:
        """Return the columns of some rows, by their numbers."""
        if (table := self._table(key[0])) is None:
            return {}
        found = self._connection.execute(
            f"select * exclude (_run, _rank, _writer, _time, _snapshot) from {table} "
            "where _row between $low and $high and _writer = $writer and _snapshot <= $at "
            "and epoch_ns(_time) <= $as_of and _row in (select unnest($rows::bigint[]))",
            {"low": int(rows[0]), "high": int(rows[-1]), "rows": rows.tolist(), "writer": key[1], **self._then},
        )
        names = [column[0] for column in found.description]
        place = names.index("_row")
        return {
            row[place]: {name: value for name, value in zip(names, row, strict=True) if name != "_row"}
            for row in found.fetchall()
        }

    def _table(self, stream: str) -> str | None:
        if stream not in self._tables:
            rows = self._connection.execute(
                "select min(s.place) from stream_rows s join information_schema.tables t "
                "on t.table_schema = 'stream' and t.table_name = s.place where s.stream = ? having count(*) > 0",
                [stream],
            ).fetchall()
            self._tables[stream] = f'''stream."{rows[0][0].replace('"', '""')}"''' if rows else None
        return self._tables[stream]

    def about(self, key: Key) -> tuple[int | None, int | None]:
        """Return id and number of the version of a stream that a writer declared last."""
        if key not in self._about:
            rows = self._connection.execute(
                "select id, version from stream_rows s join nodes n using (id) where s.stream = $stream "
                "and s.writer = $writer and s.snapshot <= $at order by s.number desc limit 1",
                {"stream": key[0], "writer": key[1], "at": self._then["at"]},
            ).fetchall()
            self._about[key] = rows[0] if rows else (None, None)
        return self._about[key]

    def ids(self, keys: set[Key]) -> set[int]:
        """Return the dense ids of some streams."""
        return {identity for key in keys if (identity := self.about(key)[0]) is not None}

    def writer(self, writer: str) -> tuple[str | None, int | None]:
        """Return run and rank of a writer; None for what is not known."""
        if writer not in self._writers:
            rows = self._connection.execute("select run, rank from writers where writer = ?", [writer]).fetchall()
            self._writers[writer] = rows[0] if rows else (None, None)
        return self._writers[writer]


def _listed(streams: _Streams, found: RowWalk, *, values: bool) -> tuple[list[RowNode], list[tuple[int, int]]]:
    """Return the rows of an answer, and its edges by their places among them."""
    nodes: list[RowNode] = []
    places: dict[Key, dict[int, int]] = {}
    for key, distance, rows in sorted(found.rows, key=lambda each: (each[1], each[0][0], _order(streams, each[0]))):
        run, rank = streams.writer(key[1])
        there = set(streams.there(key, rows).tolist())
        columns = streams.values(key, rows) if values else {}
        name = format_reference(_STREAM, key[0], streams.about(key)[1])
        mine = places.setdefault(key, {})
        for row in rows.tolist():
            mine[row] = len(nodes)
            about = (key[0], run, rank, key[1], row, distance, row in there, columns.get(row))
            nodes.append(RowNode(f"{name}#{row}", *about))
    edges: set[tuple[int, int]] = set()
    for child, children, parent, parents in found.edges:
        one, two = places[child], places[parent]
        pairs = zip(children.tolist(), parents.tolist(), strict=True)
        edges.update((one[below], two[above]) for below, above in pairs if below in one and above in two)
    return nodes, sorted(edges)


def _order(streams: _Streams, key: Key) -> tuple[str, int, str]:
    run, rank = streams.writer(key[1])
    return run or "", -1 if rank is None else rank, key[1]


def _records(ground: Ground, streams: list[int]) -> list[LineageNode]:
    """Return the versions that streams are, and what these came from directly."""
    distance = dict.fromkeys(streams, 0)
    for stream in streams:
        for parent, _ in ground.near(stream, down=False):
            distance.setdefault(parent, 1)
    nodes = ground.listed(distance).values()
    return sorted(nodes, key=lambda node: (node.distance, node.kind, node.name, node.version))

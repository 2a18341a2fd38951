"""Writing a commit: dense ids, numbers, rows; all in one transaction of a file that nobody reads yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from braid_hpc.compaction.extract import Facts
from braid_hpc.compaction.graph import Graph
from braid_hpc.compaction.past import KEPT, Past
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.rows import BIGINT, INTEGER, TEXT, TIME, Rows, as_json, typed
from braid_hpc.compaction.states import write_states
from braid_hpc.compaction.versions import activity_uid, seen_of
from braid_hpc.vocabulary.codes import UNSEEN_KIND, Outcome
from braid_hpc.vocabulary.texts import clean

__all__ = ["Numbering", "Writer"]

_STATUS: dict[int, str] = {Outcome.OK: "ok", Outcome.FAILED: "failed", Outcome.EXITED: "exited"}

_FLAT_TAG = (
    ("key", TEXT),
    ("type", TEXT),
    ("text", TEXT),
    ("integer", TEXT),
    ("real", pa.float64()),
    ("boolean", pa.bool_()),
)
_PLACE = (("writer", TEXT), ("sequence", BIGINT))
_VERSION = (
    ("id", BIGINT),
    ("uid", TEXT),
    ("kind", TEXT),
    ("name", TEXT),
    ("version", INTEGER),
    ("run", TEXT),
    ("step", INTEGER),
)


class Numbering(Protocol):
    """Numbers that were given before, to versions and activities that are made again."""

    def of(self, uids: list[str]) -> dict[str, int]:
        """Return the number of each that has one."""

    def floor(self) -> int:
        """Return a number that is as high as any of them."""


class Writer(Rows):
    """Writes one commit.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Within a transaction.
    snapshot : int
        Number of the snapshot to be.
    numbers : Numbering, optional
        Version numbers that numbering files prescribe.

    Attributes
    ----------
    anew : int
        How many versions and activities had no number in them.
    """

    def __init__(self, connection: Any, snapshot: int, numbers: Numbering | None = None) -> None:
        super().__init__(connection, snapshot)
        self._numbers = numbers
        self.anew = 0
        self._next_id = 0
        self._highest: dict[tuple[str, ...], int] = {}

    def write_graph(self, graph: Graph, writers: list[Facts], past: Past) -> None:
        """Write nodes, edges and what hangs on them, of all that is new or of a slice of it.

        Parameters
        ----------
        graph : Graph
            From :func:`braid_hpc.compaction.graph.build_graph`.
        writers : list of Facts
            What it was built of.
        past : Past
            Is told what is written.
        """
        self._find_next_id()
        self._ids = past.ids
        self.counts["versions"] += len(graph.versions)
        self._write_versions(graph)
        self._write_activities(graph, past)
        self._find_ids(graph)
        for facts, declared in graph.occurrences:
            past.add((facts.writer, declared.sequence), seen_of(declared))
        self._write_occurrences(graph)
        write_states(self, [declared.about for _, declared in graph.occurrences])
        self._write_ends(writers)
        self._write_edges(graph)
        self._write_tags(graph)
        self.write_problems(graph.problems)

    # ------------------------------------------------------------------ nodes

    def _find_next_id(self) -> None:
        if not self._next_id:
            (self._next_id,) = self.connection.execute("select coalesce(max(id), 0) + 1 from nodes").fetchall()[0]

    def _give_ids(self, uids: list[str]) -> range:
        first, self._next_id = self._next_id, self._next_id + len(uids)
        self._ids.update(zip(uids, range(first, self._next_id), strict=True))
        return range(first, self._next_id)

    def _write_versions(self, graph: Graph) -> None:
        nodes: list[tuple[Any, ...]] = [(uid, *graph.about[uid], None) for uid in graph.versions]
        for uid, (writer, sequence) in sorted(graph.placeholders.items()):
            place = f"{writer}:{sequence}"
            nodes.append((uid, UNSEEN_KIND, place, None, None, None, None, False, place))
        numbers = self._number(
            "version_rows", "kind, name", [(n[1], clean(n[2])) for n in nodes], [n[0] for n in nodes]
        )
        rows = []
        for identity, node, number in zip(self._give_ids([n[0] for n in nodes]), nodes, numbers, strict=True):
            uid, kind, name, run, step, digest, _, weak, placeholder = node
            rows.append((identity, uid, kind, name, number, run, step, digest, weak, placeholder))
        columns = (*_VERSION, ("digest", TEXT), ("weak", pa.bool_()), ("placeholder", TEXT))
        self.rows("version_rows", columns, rows)

    def add_nodes(self, nodes: list[tuple[str, str, str, str, int]]) -> range:
        """Write versions that were found when logs were merged.

        Parameters
        ----------
        nodes : list of tuple
            Global id, kind, name, run and step of each.

        Returns
        -------
        range
            Their dense ids.
        """
        numbers = self._number("version_rows", "kind, name", [node[1:3] for node in nodes], [node[0] for node in nodes])
        self._find_next_id()
        first, self._next_id = self._next_id, self._next_id + len(nodes)
        ids = range(first, self._next_id)
        rows = [
            (identity, uid, kind, name, number, run, step, False)
            for identity, (uid, kind, name, run, step), number in zip(ids, nodes, numbers, strict=True)
        ]
        columns = (*_VERSION, ("weak", pa.bool_()))
        self.rows("version_rows", columns, rows)
        self.counts["versions"] += len(nodes)
        return ids

    def _number(self, table: str, key: str, names: list[tuple[str, ...]], uids: list[str]) -> list[int]:
        """Give dense numbers for each name, going on where earlier commits ended; or those that are prescribed."""
        given = self._numbers.of(uids) if self._numbers is not None else {}
        fresh = {(table, *name) for name, uid in zip(names, uids, strict=True) if uid not in given}
        highest = self._learn_highest(table, key, fresh)
        if self._numbers is not None and fresh:
            floor = self._numbers.floor()
            highest.update((name, max(highest[name], floor)) for name in fresh)
        numbers = []
        for name, uid in zip(names, uids, strict=True):
            if uid not in given:
                self.anew += 1
                highest[table, *name] += 1
            numbers.append(given[uid] if uid in given else highest[table, *name])
        return numbers

    def _learn_highest(self, table: str, key: str, names: set[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
        """Return the highest number of each name, those that were given lately from memory."""
        if len(self._highest) > KEPT:
            self._highest.clear()
        columns = key.split(", ")
        if new := sorted(names - self._highest.keys()):
            asked = {column: pa.array([each[at] for each in new]) for at, column in enumerate(columns, 1)}
            on = " and ".join(f"t.{column} = i.{column}" for column in columns)
            chosen = ", ".join(f"t.{column}" for column in columns)
            query = f"select {chosen}, max(version) from {table} t join braid_incoming i on {on} group by {chosen}"
            self._highest.update(dict.fromkeys(new, 0))
            self._highest.update(((table, *found), number) for *found, number in self.ask(query, pa.table(asked)))
        return self._highest

    def numbering(self) -> Iterator[tuple[str, int]]:
        """Yield the numbers that this commit gave.

        Yields
        ------
        uid : str
            A version, or an activity.
        number : int
            Its number.
        """
        for table in ("version_rows", "activity_rows"):
            query = f"select uid, version from {table} where snapshot = {self.snapshot} order by id"
            found = self.connection.execute(query)
            while rows := found.fetchmany(10_000):
                yield from rows

    def _write_activities(self, graph: Graph, past: Past) -> None:
        uids = [activity_uid(facts.writer, begun.sequence) for facts, begun in graph.activities]
        names: list[tuple[str, ...]] = [(clean(begun.name),) for _, begun in graph.activities]
        numbers = self._number("activity_rows", "name", names, uids)
        rows = []
        ids = self._give_ids(uids)
        for identity, uid, number, (facts, begun) in zip(ids, uids, numbers, graph.activities, strict=True):
            past.add_activity((facts.writer, begun.sequence), uid)
            about = (begun.about.function, as_json(begun.about.params), begun.time)
            rows.append((identity, uid, begun.name, number, facts.run, facts.writer, begun.sequence, *about))
        columns = (
            ("id", BIGINT),
            ("uid", TEXT),
            ("name", TEXT),
            ("version", INTEGER),
            ("run", TEXT),
            *_PLACE,
            ("function", TEXT),
            ("params", TEXT),
            ("begin_time", TIME),
        )
        self.rows("activity_rows", columns, rows)

    def _find_ids(self, graph: Graph) -> None:
        """Look up the ids of known nodes that the commit refers to."""
        wanted = {edge.child for edge in graph.edges} | {edge.parent for edge in graph.edges}
        wanted |= {declared.uid for _, declared in graph.occurrences}
        wanted |= {late.child for late in graph.late} | {each.child for each in graph.unresolved}
        wanted |= {uid for uid, *_ in graph.tags} | {uid for uid, *_ in graph.moved_tags}
        if wanted := wanted - self._ids.keys():
            asked = pa.table({"uid": pa.array(sorted(wanted))})
            self._ids.update(self.ask("select uid, id from nodes join braid_incoming using (uid)", asked))

    def _write_occurrences(self, graph: Graph) -> None:
        rows: list[tuple[Any, ...]] = []
        uris: list[tuple[Any, ...]] = []
        for facts, declared in graph.occurrences:
            identity, about = self._ids[declared.uid], declared.about
            place = (facts.writer, declared.sequence)
            array = (about.dtype, about.shape, about.unit)
            value = (as_json(about.value), about.size, about.deferred)
            rows.append((*place, identity, facts.run, declared.step, declared.state, declared.time, *array, *value))
            said = (*place, declared.time)
            uris.extend((identity, position, uri, *said) for position, uri in enumerate(about.uris))
        columns = (
            *_PLACE,
            ("id", BIGINT),
            ("run", TEXT),
            ("step", INTEGER),
            ("state", pa.uint64()),
            ("time", TIME),
            ("dtype", TEXT),
            ("shape", pa.list_(pa.int64())),
            ("unit", TEXT),
            ("value", TEXT),
            ("size", BIGINT),
            ("deferred", pa.bool_()),
        )
        self.rows("occurrences", columns, rows)
        uri_columns = (("id", BIGINT), ("position", INTEGER), ("uri", TEXT), *_PLACE, ("time", TIME))
        self.rows("uri_rows", uri_columns, uris)

    def _write_ends(self, writers: list[Facts]) -> None:
        rows = []
        for facts in writers:
            for ended in facts.ended:
                begun_by, begun_at = ended.activity
                began = facts.speaker.began(begun_at) if begun_by == facts.writer else None
                duration = ended.monotonic - began if began is not None else None
                status = _STATUS.get(ended.status & 0xFF, "ok")
                about = (status, ended.about.error, as_json(ended.about.result), ended.time, duration)
                rows.append((begun_by, begun_at, *about, facts.writer, ended.sequence))
            for ended in facts.ended:
                if ended.activity[0] == facts.writer:
                    facts.speaker.end(ended.activity[1])
        columns = (
            ("begun_by", TEXT),
            ("begun_at", BIGINT),
            ("status", TEXT),
            ("error", TEXT),
            ("result", TEXT),
            ("end_time", TIME),
            ("duration_ns", BIGINT),
            *_PLACE,
        )
        self.rows("activity_ends", columns, rows)

    # ------------------------------------------------------------------ edges and tags

    def _write_edges(self, graph: Graph) -> None:
        ids = self._ids
        self.rows(
            "edge_rows",
            (("child", BIGINT), ("parent", BIGINT), ("relation", TEXT), *_PLACE, ("said", TEXT), ("time", TIME)),
            [(ids[e.child], ids[e.parent], str(e.relation), e.writer, e.sequence, e.said, e.time) for e in graph.edges],
        )
        late = []
        for each in graph.late:
            place = f"{each.place[0]}:{each.place[1]}" if each.place is not None else None
            means = each.means or (None, None, None, None)
            late.append((ids[each.child], *means, str(each.relation), each.writer, each.sequence, place, each.time))
        meant = (("run", TEXT), ("kind", TEXT), ("name", TEXT), ("step", INTEGER), ("relation", TEXT))
        self.rows("late_links", (("child", BIGINT), *meant, *_PLACE, ("place", TEXT), ("time", TIME)), late)
        self.rows(
            "unresolved_links",
            (("child", BIGINT), ("run", TEXT), ("said", TEXT), ("time", TIME), ("relation", TEXT), *_PLACE),
            [
                (ids[each.child], each.run, each.said, each.time, str(each.relation), each.writer, each.sequence)
                for each in graph.unresolved
            ],
        )

    def _write_tags(self, graph: Graph) -> None:
        rows: list[tuple[Any, ...]] = []
        for facts, declared in graph.occurrences:
            for key, value in (declared.about.tags or {}).items():
                said = (facts.writer, declared.sequence, declared.time)
                rows.append((self._ids[declared.uid], key, *typed(value), *said))
        for uid, tags, writer, sequence, time in graph.tags:
            said = (writer, sequence, time)
            rows.extend((self._ids[uid], key, *typed(value), *said) for key, value in tags.items())
        rows.extend((self._ids[uid], *rest) for uid, *rest in graph.moved_tags)
        self.rows("tag_rows", (("id", BIGINT), *_FLAT_TAG, *_PLACE, ("time", TIME)), rows)

    # ------------------------------------------------------------------ what else was said

    def write_problems(self, problems: list[Problem]) -> None:
        """Write what a person should know of.

        Parameters
        ----------
        problems : list of Problem
            In any order.
        """
        columns = (("code", TEXT), ("message", TEXT), ("run", TEXT), *_PLACE, ("given", TEXT), ("place", TEXT))
        self.rows("problem_rows", columns, [tuple(getattr(p, name) for name, _ in columns) for p in problems])

    def write_info(self, writers: list[Facts]) -> None:
        """Write what the runs said of themselves.

        Parameters
        ----------
        writers : list of Facts
            What they said.
        """
        info = [(f.run, f.writer, key, as_json(value)) for f in writers for _, key, value in f.info]
        self.rows("run_info", (("run", TEXT), ("writer", TEXT), ("key", TEXT), ("value", TEXT)), info)

    def write_inspections(self, writers: list[Facts]) -> None:
        """Write what files were found to be whose digests were left to the merge.

        Parameters
        ----------
        writers : list of Facts
            What they said.
        """
        rows: list[tuple[Any, ...]] = []
        for facts in writers:
            for sequence, place, about, time in facts.inspected:
                found = (about.state, about.digest, about.size, clean(about.uri), clean(about.detail))
                rows.append((*place, *found, time, facts.writer, sequence))
        columns = (
            ("about_writer", TEXT),
            ("about_sequence", BIGINT),
            ("state", TEXT),
            ("digest", TEXT),
            ("size", BIGINT),
            ("uri", TEXT),
            ("detail", TEXT),
            ("time", TIME),
            *_PLACE,
        )
        self.rows("inspection_rows", columns, rows)

    def write_streams(self, writers: list[Facts], places: Callable[[str], str]) -> None:
        """Write which streams the writers declared.

        Parameters
        ----------
        writers : list of Facts
            What they said.
        places : callable
            Gives the name of the table in schema ``stream`` for a stream's name.
        """
        rows = []
        for facts in writers:
            uids = {declared.sequence: declared.uid for declared in facts.declared} if facts.streams else {}
            for number, name, schema, sequence in facts.streams:
                place = (name, places(name), self._ids[uids[sequence]], facts.run, facts.writer, number)
                declared = as_json(msgspec.to_builtins(schema.table)) if schema.table is not None else None
                rows.append((*place, json.dumps(schema.columns), json.dumps(schema.units), declared))
        columns = (
            ("stream", TEXT),
            ("place", TEXT),
            ("id", BIGINT),
            ("run", TEXT),
            ("writer", TEXT),
            ("number", INTEGER),
            ("columns", TEXT),
            ("units", TEXT),
            ("declared", TEXT),
        )
        self.rows("stream_rows", columns, rows)

"""Writing a commit: dense ids, numbers, rows; all in one transaction of a file that nobody reads yet."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa

from braid_hpc.compaction.extract import Facts
from braid_hpc.compaction.graph import Graph, Problem
from braid_hpc.compaction.versions import activity_uid
from braid_hpc.vocabulary.codes import Outcome
from braid_hpc.vocabulary.encoding import to_jsonable
from braid_hpc.vocabulary.references import format_reference

__all__ = ["Writer"]

_STATUS = {Outcome.OK: "ok", Outcome.FAILED: "failed", Outcome.EXITED: "exited"}
_INT64 = range(-(1 << 63), 1 << 63)


def as_json(value: Any) -> str | None:
    """Return a value as JSON text, None for None.

    Parameters
    ----------
    value : object
        What was decoded from a log.

    Returns
    -------
    str or None
        JSON in which NaN and infinities are texts.
    """
    return None if value is None else json.dumps(to_jsonable(value), ensure_ascii=False, sort_keys=True)


class Writer:
    """Writes one commit.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Within a transaction.
    snapshot : int
        Number of the snapshot to be.
    numbers : dict of str to int, optional
        Version numbers that a numbering file prescribes, by uid.
    """

    def __init__(self, connection: Any, snapshot: int, numbers: dict[str, int] | None = None) -> None:
        self.connection = connection
        self.snapshot = snapshot
        self.prescribed = numbers or {}
        self.numbering: list[tuple[str, int]] = []
        self.counts: Counter[str] = Counter()
        self._ids: dict[str, int] = {}

    def rows(self, table: str, columns: dict[str, tuple[pa.DataType, list[Any]]]) -> None:
        """Insert rows given as columns; the snapshot's number is added.

        Parameters
        ----------
        table : str
            One of the base tables.
        columns : dict
            Arrow type and values by column.
        """
        arrays = {name: pa.array(values, kind) for name, (kind, values) in columns.items()}
        count = len(next(iter(arrays.values())))
        if count:
            arrays["snapshot"] = pa.array([self.snapshot] * count, pa.int32())
            self.insert(table, pa.table(arrays))
        self.counts[table] += count

    def insert(self, table: str, data: pa.Table) -> None:
        """Insert an Arrow table by column names.

        Parameters
        ----------
        table : str
            Quoted where it needs to be.
        data : pyarrow.Table
            Its columns are the table's.
        """
        self.connection.register("braid_incoming", data)
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in data.column_names)
        self.connection.execute(f"insert into {table} ({names}) select {names} from braid_incoming")
        self.connection.unregister("braid_incoming")

    # ------------------------------------------------------------------ nodes

    def write_graph(self, graph: Graph) -> None:
        """Write nodes, edges and what hangs on them.

        Parameters
        ----------
        graph : Graph
            From :func:`braid_hpc.compaction.graph.build_graph`.
        """
        (next_id,) = self.connection.execute("select coalesce(max(id), 0) + 1 from nodes").fetchall()[0]
        self._write_versions(graph, next_id)
        self._write_activities(graph, next_id + len(graph.versions) + len(graph.placeholders))
        self._find_ids(graph)
        self._write_occurrences(graph)
        self._write_ends(graph)
        self._write_edges(graph)
        self._write_tags(graph)
        self.write_problems(graph.problems)

    def _write_versions(self, graph: Graph, next_id: int) -> None:
        uids = [*graph.versions, *sorted(graph.placeholders)]
        about: list[tuple[Any, ...]] = [graph.about[uid] for uid in graph.versions]
        for uid in sorted(graph.placeholders):
            about.append(("unseen", graph.placeholders[uid], None, None, None, None, False))
        ids = list(range(next_id, next_id + len(uids)))
        numbers = self._number("version_rows", "kind, name", [(kind, name) for kind, name, *_ in about], uids)
        self._ids.update(zip(uids, ids, strict=True))
        self.numbering.extend(zip(uids, numbers, strict=True))
        self.rows(
            "version_rows",
            {
                "id": (pa.int64(), ids),
                "uid": (pa.string(), uids),
                "kind": (pa.string(), [row[0] for row in about]),
                "name": (pa.string(), [_clean(row[1]) for row in about]),
                "version": (pa.int32(), numbers),
                "run": (pa.string(), [row[2] for row in about]),
                "step": (pa.int32(), [row[3] for row in about]),
                "digest": (pa.string(), [row[4] for row in about]),
                "size": (pa.int64(), [None] * len(about)),
                "weak": (pa.bool_(), [row[6] for row in about]),
                "placeholder": (pa.string(), [graph.placeholders.get(uid) for uid in uids]),
            },
        )

    def _number(self, table: str, key: str, names: list[tuple[str, ...]], uids: list[str]) -> list[int]:
        """Give dense numbers for each name, going on where earlier commits ended."""
        highest: dict[tuple[str, ...], int] = defaultdict(int)
        for *found, number in self.connection.execute(f"select {key}, max(version) from {table} group by {key}").fetchall():
            highest[tuple(found)] = number
        taken: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for name, uid in zip(names, uids, strict=True):
            if uid in self.prescribed:
                taken[name].add(self.prescribed[uid])
        numbers = []
        for name, uid in zip(names, uids, strict=True):
            if uid in self.prescribed:
                numbers.append(self.prescribed[uid])
                continue
            highest[name] += 1
            while highest[name] in taken[name]:
                highest[name] += 1
            numbers.append(highest[name])
        return numbers

    def _write_activities(self, graph: Graph, next_id: int) -> None:
        acts = graph.activities
        ids = list(range(next_id, next_id + len(acts)))
        uids = [activity_uid(facts.writer, begun.sequence) for facts, begun in acts]
        numbers = self._number("activity_rows", "name", [(begun.name,) for _, begun in acts], uids)
        self._ids.update(zip(uids, ids, strict=True))
        self.numbering.extend(zip(uids, numbers, strict=True))
        self.rows(
            "activity_rows",
            {
                "id": (pa.int64(), ids),
                "uid": (pa.string(), uids),
                "name": (pa.string(), [_clean(begun.name) for _, begun in acts]),
                "version": (pa.int32(), numbers),
                "run": (pa.string(), [facts.run for facts, _ in acts]),
                "writer": (pa.string(), [facts.writer for facts, _ in acts]),
                "sequence": (pa.int64(), [begun.sequence for _, begun in acts]),
                "function": (pa.string(), [begun.about.function for _, begun in acts]),
                "params": (pa.string(), [as_json(begun.about.params) for _, begun in acts]),
                "begin_time": (pa.timestamp("ns"), [begun.time for _, begun in acts]),
            },
        )

    def _find_ids(self, graph: Graph) -> None:
        """Look up the ids of known nodes that the commit refers to."""
        wanted = {edge.child for edge in graph.edges} | {edge.parent for edge in graph.edges}
        wanted |= {declared.uid for _, declared in graph.occurrences} | {late.child for late in graph.late}
        wanted |= {uid for uid, *_ in graph.tags}
        for facts in {id(facts): facts for facts in self._facts}.values():
            wanted |= {activity_uid(*ended.activity) for ended in facts.ended if ended.sequence in facts.fresh}
        if wanted := wanted - self._ids.keys():
            self.connection.register("braid_incoming", pa.table({"uid": pa.array(sorted(wanted))}))
            found = self.connection.execute("select uid, id from nodes join braid_incoming using (uid)").fetchall()
            self.connection.unregister("braid_incoming")
            self._ids.update(found)

    _facts: list[Facts] = []

    def about_writers(self, writers: list[Facts]) -> Writer:
        """Name the writers whose facts the graph was built of.

        Parameters
        ----------
        writers : list of Facts
            All of them.

        Returns
        -------
        Writer
            This object.
        """
        self._facts = writers
        return self

    def _write_occurrences(self, graph: Graph) -> None:
        rows = graph.occurrences
        self.rows(
            "occurrences",
            {
                "writer": (pa.string(), [facts.writer for facts, _ in rows]),
                "sequence": (pa.int64(), [declared.sequence for _, declared in rows]),
                "id": (pa.int64(), [self._ids[declared.uid] for _, declared in rows]),
                "run": (pa.string(), [facts.run for facts, _ in rows]),
                "step": (pa.int32(), [declared.step for _, declared in rows]),
                "time": (pa.timestamp("ns"), [declared.time for _, declared in rows]),
                "dtype": (pa.string(), [declared.about.dtype for _, declared in rows]),
                "shape": (pa.list_(pa.int64()), [declared.about.shape for _, declared in rows]),
                "unit": (pa.string(), [declared.about.unit for _, declared in rows]),
                "value": (pa.string(), [as_json(declared.about.value) for _, declared in rows]),
                "size": (pa.int64(), [declared.about.size for _, declared in rows]),
            },
        )
        uris = [
            (self._ids[declared.uid], position, _clean(uri), facts.writer, declared.sequence)
            for facts, declared in rows
            for position, uri in enumerate(declared.about.uris)
        ]
        kinds = (pa.int64(), pa.int32(), pa.string(), pa.string(), pa.int64())
        names = ("id", "position", "uri", "writer", "sequence")
        self.rows("uri_rows", {n: (k, [row[i] for row in uris]) for i, (n, k) in enumerate(zip(names, kinds, strict=True))})

    def _write_ends(self, graph: Graph) -> None:
        ends = [
            (self._ids[uid], facts, ended)
            for facts in self._facts
            for ended in facts.ended
            if ended.sequence in facts.fresh and (uid := activity_uid(*ended.activity)) in self._ids
        ]
        durations = [
            ended.monotonic - facts.began[ended.activity[1]]
            if ended.activity[0] == facts.writer and ended.activity[1] in facts.began
            else None
            for _, facts, ended in ends
        ]
        self.rows(
            "activity_ends",
            {
                "id": (pa.int64(), [identity for identity, _, _ in ends]),
                "status": (pa.string(), [_STATUS.get(Outcome(e.status & 0xFF), "ok") for _, _, e in ends]),
                "error": (pa.string(), [ended.about.error for _, _, ended in ends]),
                "result": (pa.string(), [as_json(ended.about.result) for _, _, ended in ends]),
                "end_time": (pa.timestamp("ns"), [ended.time for _, _, ended in ends]),
                "duration_ns": (pa.int64(), durations),
            },
        )

    def _write_edges(self, graph: Graph) -> None:
        edges = [edge for edge in graph.edges if edge.child in self._ids and edge.parent in self._ids]
        self.rows(
            "edge_rows",
            {
                "child": (pa.int64(), [self._ids[edge.child] for edge in edges]),
                "parent": (pa.int64(), [self._ids[edge.parent] for edge in edges]),
                "relation": (pa.string(), [str(edge.relation) for edge in edges]),
                "writer": (pa.string(), [edge.writer for edge in edges]),
                "sequence": (pa.int64(), [edge.sequence for edge in edges]),
                "said": (pa.string(), [edge.said for edge in edges]),
            },
        )
        late = [each for each in graph.late if each.child in self._ids]
        self.rows(
            "late_links",
            {
                "child": (pa.int64(), [self._ids[each.child] for each in late]),
                "run": (pa.string(), [each.run for each in late]),
                "kind": (pa.string(), [each.kind for each in late]),
                "name": (pa.string(), [_clean(each.name) for each in late]),
                "step": (pa.int32(), [each.step for each in late]),
                "relation": (pa.string(), [str(each.relation) for each in late]),
                "writer": (pa.string(), [each.writer for each in late]),
                "sequence": (pa.int64(), [each.sequence for each in late]),
            },
        )
        # Every commit looks again: a rank whose log came late has parents to add too.
        self.connection.execute(
            """
            insert into edge_rows
            select distinct l.child, o.id, l.relation, l.writer, l.sequence, null, ?::integer
            from late_links l join occurrences o on o.run = l.run and o.step = l.step
            join version_rows v on v.id = o.id and v.kind = l.kind and v.name = l.name
            where o.id <> l.child and not exists (
                from edge_rows e where e.child = l.child and e.parent = o.id and e.relation = l.relation
                and e.writer = l.writer and e.sequence = l.sequence)
            """,
            [self.snapshot],
        )

    def _write_tags(self, graph: Graph) -> None:
        rows: list[tuple[Any, ...]] = []
        for facts, declared in graph.occurrences:
            for key, value in (declared.about.tags or {}).items():
                rows.append((self._ids[declared.uid], _clean(key), *typed(value), facts.writer, declared.sequence))
        for uid, tags, writer, sequence in graph.tags:
            rows.extend((self._ids[uid], _clean(key), *typed(value), writer, sequence) for key, value in tags.items())
        names = ("id", "key", "type", "text", "integer", "real", "boolean", "writer", "sequence")
        kinds = (
            pa.int64(),
            pa.string(),
            pa.string(),
            pa.string(),
            pa.string(),
            pa.float64(),
            pa.bool_(),
            pa.string(),
            pa.int64(),
        )
        self.rows("tag_rows", {n: (k, [row[i] for row in rows]) for i, (n, k) in enumerate(zip(names, kinds, strict=True))})

    def write_problems(self, problems: list[Problem]) -> None:
        """Write what a person should know of.

        Parameters
        ----------
        problems : list of Problem
            In any order.
        """
        names = ("code", "message", "run", "writer", "sequence", "given", "place")
        self.rows(
            "problems",
            {
                name: (
                    pa.int64() if name == "sequence" else pa.string(),
                    [_clean(value) if isinstance(value := getattr(p, name), str) else value for p in problems],
                )
                for name in names
            },
        )

    def write_info(self, writers: list[Facts]) -> None:
        """Write what the runs said of themselves, and their streams.

        Parameters
        ----------
        writers : list of Facts
            All writers of the commit.
        """
        info = [(f.run, f.writer, key, as_json(v)) for f in writers for n, key, v in f.info if n in f.fresh]
        self.rows(
            "run_info",
            {n: (pa.string(), [row[i] for row in info]) for i, n in enumerate(("run", "writer", "key", "value"))},
        )
        uids = {(facts.writer, declared.sequence): declared.uid for facts in writers for declared in facts.declared}
        streams = [
            (name, self._ids.get(uids[f.writer, n]), f.run, f.writer, number, schema)
            for f in writers
            for number, (name, schema, n) in f.streams.items()
            if n in f.fresh
        ]
        self.rows(
            "stream_rows",
            {
                "stream": (pa.string(), [_clean(row[0]) for row in streams]),
                "id": (pa.int64(), [row[1] for row in streams]),
                "run": (pa.string(), [row[2] for row in streams]),
                "writer": (pa.string(), [row[3] for row in streams]),
                "number": (pa.int32(), [row[4] for row in streams]),
                "columns": (pa.string(), [json.dumps(row[5].columns) for row in streams]),
                "units": (pa.string(), [json.dumps(row[5].units) for row in streams]),
            },
        )

    def reference(self, uid: str, graph: Graph) -> str:
        """Return a reference for messages.

        Parameters
        ----------
        uid : str
            A version's id.
        graph : Graph
            The commit.

        Returns
        -------
        str
            ``kind:name``, or ``id:<hex>``.
        """
        about = graph.about.get(uid)
        return format_reference(about[0], about[1]) if about else f"id:{uid}"


def typed(value: Any) -> tuple[str, str, str | None, float | None, bool | None]:
    """Return type, text, integer, real and boolean of a tag's value.

    Parameters
    ----------
    value : object
        As decoded from a log.

    Returns
    -------
    tuple
        The integer as text (DuckDB makes a hugeint of it), None where it does not fit 128 bits.
    """
    if isinstance(value, bool):
        return "bool", "true" if value else "false", None, None, value
    if isinstance(value, int):
        fits = -(1 << 127) < value < (1 << 127)
        return "int", str(value), str(value) if fits else None, _real(value), None
    if isinstance(value, float):
        return "float", repr(value), None, value, None
    if isinstance(value, str):
        return "str", _clean(value), None, None, None
    return "json", as_json(value) or "null", None, None, None


def _real(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _clean(text: str) -> str:
    """Return text that UTF-8 can hold; lone surrogates (undecodable bytes of a path) are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()

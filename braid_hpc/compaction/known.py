"""What the store already holds, as far as a commit needs it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from braid_hpc.compaction.extract import Place
from braid_hpc.compaction.past import Past
from braid_hpc.compaction.statements import Edge, Late, Unresolved
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.references import Reference
from braid_hpc.vocabulary.texts import clean

if TYPE_CHECKING:
    from braid_hpc.compaction.graph import Graph

__all__ = ["FED_BY", "Known", "look_up"]

#: The relations by which something can come to be its own ancestor.
FED_BY = (Relation.DERIVED, Relation.USED, Relation.GENERATED, Relation.SAME_CONTENT)


class Known:
    """Look-ups in the snapshot that a commit builds on, and in the slices that it has written.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the file that is built.
    snapshot : int, optional
        Number of the snapshot to be.

    Attributes
    ----------
    past : Past
        What writers have said before.
    unfilled : dict of str to (str, int)
        Placeholders of what is still not seen: id to writer and sequence.
    """

    def __init__(self, connection: Any, snapshot: int = 1 << 30) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self.past = Past(connection, snapshot)
        self.unfilled: dict[str, Place] = {}
        found = self._rows("select uid, id, placeholder from version_rows where placeholder is not null")
        self.past.learn([_place(text) for *_, text in found], [])
        for uid, identity, text in found:
            place = _place(text)
            if self.past.seen(place) is None and self.past.activity(place) is None:
                self.unfilled[uid] = place
                self.past.ids[uid] = identity
        self._written = False
        self._found: dict[tuple[str, int], str | None] = {}

    def _rows(self, query: str, parameters: list[Any] | dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._connection.execute(query, parameters).fetchall()
        return found

    def __contains__(self, uid: str) -> bool:
        """Return whether the store has a node of this id; it must be one that was learned."""
        return uid in self.past.ids

    def settle(self, graph: Graph) -> None:
        """Take a slice as written.

        Parameters
        ----------
        graph : Graph
            What it brought.
        """
        self._written = True
        for uid in graph.filled:
            self.unfilled.pop(uid, None)
        self.unfilled.update(graph.placeholders)
        self.past.forget()

    def around(
        self, children: Iterable[str], parents: Iterable[str], relations: Iterable[Relation] = FED_BY
    ) -> list[tuple[str, str]]:
        """Return edges of earlier commits by which new ones could close a cycle.

        A cycle passes from a new edge's parent up to some new edge's child. So it is enough to know everything above
        the parents, or everything below the children; whichever ends sooner is returned, because chains of versions
        are long and what is below the newest of them is little.

        Parameters
        ----------
        children, parents : iterable of str
            Ids at the ends of the new edges; those that the store does not hold are passed over.
        relations : iterable of Relation
            Which edges to follow.

        Returns
        -------
        list of (str, str)
            Child and parent.
        """
        ids = self.past.ids
        walks = [
            _Walk(self._connection, relations, "parent", {ids[uid] for uid in children if uid in ids}),
            _Walk(self._connection, relations, "child", {ids[uid] for uid in parents if uid in ids}),
        ]
        while all(walk.frontier for walk in walks):
            min(walks, key=lambda walk: len(walk.frontier)).step()
        found = min(walks, key=lambda walk: len(walk.frontier)).edges
        uids = self._uids({identity for edge in found for identity in edge})
        return [(uids[child], uids[parent]) for child, parent in found]

    def _uids(self, ids: set[int]) -> dict[int, str]:
        rows = self._rows(
            "select id, uid from nodes where id in (select unnest(?::bigint[]))", [sorted(ids)]
        ) if ids else []  # fmt: skip
        return dict(rows)

    def touching(self, uids: Iterable[str]) -> list[Edge]:
        """Return the edges that begin or end at some nodes.

        Parameters
        ----------
        uids : iterable of str
            Ids.

        Returns
        -------
        list of Edge
            As earlier commits wrote them.
        """
        ids = sorted(self.past.ids[uid] for uid in uids)
        rows = self._rows(
            "select child, parent, relation, writer, sequence, epoch_ns(time), said from edge_rows "
            "where child in (select unnest($ids::bigint[])) or parent in (select unnest($ids::bigint[])) order by all",
            {"ids": ids},
        )
        names = self._uids({identity for row in rows for identity in row[:2]})
        return [Edge(names[child], names[parent], Relation(relation), *rest) for child, parent, relation, *rest in rows]

    def tags(self, uids: Iterable[str]) -> list[tuple[Any, ...]]:
        """Return the rows of tags that hang on some nodes.

        Parameters
        ----------
        uids : iterable of str
            Ids.

        Returns
        -------
        list of tuple
            uid, then key, type, text, integer (as text), real, boolean, writer, sequence, time (ns).
        """
        return self._rows(
            "select n.uid, t.key, t.type, t.text, t.integer::varchar, t.real, t.boolean, t.writer, t.sequence, "
            "epoch_ns(t.time) "
            "from tag_rows t join version_rows n using (id) where t.id in (select unnest(?::bigint[])) order by all",
            [sorted(self.past.ids[uid] for uid in uids)],
        )

    def late(self, steps: Iterable[tuple[str, str, str, int]], places: Container[Place]) -> list[Late]:
        """Return the late-bound links that some records answer.

        Parameters
        ----------
        steps : iterable of (str, str, str, int)
            Run, kind, name and step of the records.
        places : container of (str, int)
            Their places.

        Returns
        -------
        list of Late
            Those that mean one of the steps, and those whose own record was not seen and is in one of the places.
        """
        rows = self._rows(
            "select n.uid, l.relation, l.writer, l.sequence, epoch_ns(l.time), l.place from late_links l "
            "join nodes n on n.id = l.child where l.run is null"
        )
        found = [
            Late(child, Relation(relation), writer, sequence, time, place=_place(place))
            for child, relation, writer, sequence, time, place in rows
            if _place(place) in places
        ]
        if not self._rows("select 1 from late_links where run is not null limit 1"):
            return found
        means = list(steps)
        rows = self._asked(
            "select n.uid, l.relation, l.writer, l.sequence, epoch_ns(l.time), l.run, l.kind, l.name, l.step "
            "from late_links l "
            "join braid_incoming i on l.run = i.run and l.kind = i.kind and l.name = i.name and l.step = i.step "
            "join nodes n on n.id = l.child",
            pa.table(
                {
                    "run": pa.array([each[0] for each in means], pa.string()),
                    "kind": pa.array([clean(each[1]) for each in means], pa.string()),
                    "name": pa.array([clean(each[2]) for each in means], pa.string()),
                    "step": pa.array([each[3] for each in means], pa.int32()),
                }
            ),
        )
        found.extend(
            Late(child, Relation(relation), writer, sequence, time, (run, kind, name, step))
            for child, relation, writer, sequence, time, run, kind, name, step in rows
        )
        return found

    def _asked(self, query: str, braid_incoming: pa.Table) -> list[tuple[Any, ...]]:
        # DuckDB finds the table by the argument's name.
        found: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        return found

    def unresolved(self, runs: Iterable[str]) -> list[Unresolved]:
        """Return the references in text that named nothing when records of these runs were taken before.

        Parameters
        ----------
        runs : iterable of str
            The runs of this commit's logs.

        Returns
        -------
        list of Unresolved
            Without those that were resolved since.
        """
        rows = self._rows(
            "select n.uid, u.run, u.said, epoch_ns(u.time), u.relation, u.writer, u.sequence "
            "from unresolved_links u join nodes n on n.id = u.child where list_contains(?::varchar[], u.run) "
            "and not exists ("
            "from edge_rows e where e.writer = u.writer and e.sequence = u.sequence and e.said = u.said)",
            [sorted(runs)],
        )
        return [
            Unresolved(child, run, said, time, Relation(relation), writer, sequence)
            for child, run, said, time, relation, writer, sequence in rows
        ]

    def described(self, place: Place) -> tuple[str, str, str, int] | None:
        """Return run, kind, name and step of an occurrence.

        Parameters
        ----------
        place : (str, int)
            Writer and sequence.

        Returns
        -------
        tuple or None
            None if it was not seen.
        """
        if not self.past.may_hold(place[0]):
            return None
        rows = self._rows(
            "select o.run, v.kind, v.name, o.step from occurrences o join version_rows v using (id) "
            "where o.writer = ? and o.sequence = ?",
            list(place),
        )
        return (rows[0][0], rows[0][1], rows[0][2], rows[0][3]) if rows else None

    def at_step(self, run: str, kind: str, name: str, step: int) -> list[str]:
        """Return the versions of a record that the writers of a run declared at one step.

        Parameters
        ----------
        run, kind, name, step
            What a late-bound link means.

        Returns
        -------
        list of str
            Ids.
        """
        if not self._written and run not in self.past.runs:
            return []
        rows = self._rows(
            "select distinct v.uid from occurrences o join version_rows v using (id) "
            "where o.run = ? and o.step = ? and v.kind = ? and v.name = ? order by 1",
            [run, step, kind, name],
        )
        return [uid for (uid,) in rows]

    def named(self, run: str, kind: str | None, name: str) -> list[tuple[int, str]]:
        """Return what a run declared under a name.

        Parameters
        ----------
        run, kind, name
            The kind may be None.

        Returns
        -------
        list of (int, str)
            Time (UTC ns) and id of each occurrence.
        """
        return [
            (time, uid)
            for time, uid in self._rows(
                "select epoch_ns(o.time), v.uid from occurrences o join version_rows v using (id) "
                "where o.run = ? and v.name = ? and (? is null or v.kind = ?)",
                [run, name, kind, kind],
            )
        ]

    def find(self, reference: Reference, *, before: int) -> str | None:
        """Find the version a reference means to a run that began at a certain time.

        Parameters
        ----------
        reference : Reference
            With a version number, it means that one; else the newest.
        before : int
            UTC nanoseconds; younger versions are passed over.

        Returns
        -------
        str or None
            Its id.
        """
        key = (str(reference), before)
        if key not in self._found:
            self._found[key] = self._look_up(reference, before)
        return self._found[key]

    def _look_up(self, reference: Reference, before: int) -> str | None:
        return look_up(self._connection, reference, before, self._snapshot)


def look_up(connection: Any, reference: Reference, before: int, snapshot: int) -> str | None:
    """Find the version that a reference meant to a commit.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the store.
    reference : Reference
        With a version number, it means that one; else the newest.
    before : int
        UTC nanoseconds; younger versions are passed over.
    snapshot : int
        Number of the commit; of it and of later ones nothing counts.

    Returns
    -------
    str or None
        Its id.
    """
    if reference.identity is not None:
        rows = connection.execute(
            "select uid from version_rows where starts_with(uid, ?) and snapshot < ? limit 2",
            [reference.identity, snapshot],
        ).fetchall()
        return str(rows[0][0]) if len(rows) == 1 else None
    # Of this commit nothing counts, so that it does not matter in which slices it was made.
    rows = connection.execute(
        "with named as (select id, uid, kind, version from version_rows "
        "where name = $name and ($kind is null or kind = $kind) and ($version is null or version = $version) "
        "and placeholder is null and snapshot < $snapshot), "
        "declared as (select id, min(time) as time from occurrences "
        "where id in (select id from named) group by id) "
        "select n.uid from named n join declared d using (id) "
        "where $version is not null or d.time <= make_timestamp_ns($before) "
        "order by d.time desc, n.version desc, n.kind limit 1",
        {
            "name": reference.name,
            "kind": reference.kind,
            "version": reference.version,
            "snapshot": snapshot,
            "before": before,
        },
    ).fetchall()
    return str(rows[0][0]) if rows else None


class _Walk:
    """Edges that are met going from some nodes level by level, one way."""

    def __init__(self, connection: Any, relations: Iterable[Relation], near: str, start: set[int]) -> None:
        self._connection = connection
        self._relations = [str(each) for each in relations]
        self._near, self._met = near, set(start)
        self.frontier = start
        self.edges: list[tuple[int, int]] = []

    def step(self) -> None:
        """Go one level on."""
        found = self._connection.execute(
            "select distinct child, parent from edge_rows "
            f"where {self._near} in (select unnest($ids::bigint[])) and list_contains($relations, relation) "
            "union select child, parent from content_rows "
            f"where {self._near} in (select unnest($ids::bigint[])) and list_contains($relations, 'same-content')",
            {"ids": sorted(self.frontier), "relations": self._relations},
        ).fetchall()
        self.edges.extend(found)
        self.frontier = {edge[1 if self._near == "child" else 0] for edge in found} - self._met
        self._met |= self.frontier


def _place(text: str) -> Place:
    writer, _, sequence = text.rpartition(":")
    return writer, int(sequence)

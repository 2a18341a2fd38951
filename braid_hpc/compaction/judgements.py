"""Which records the statements of a commit invalidate or revalidate (``docs/invalidation.md``).

Only what a statement stands on is settled here and written down. What it reaches is computed when somebody asks,
so that what comes later of something invalid is born invalid, and every earlier state can still be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from braid_hpc.compaction.extract import Acted, Facts, Judged
from braid_hpc.compaction.links import place_of
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.rows import BIGINT, TEXT, TIME
from braid_hpc.compaction.write import Writer
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import key_digest
from braid_hpc.vocabulary.payloads import Invalidation
from braid_hpc.vocabulary.references import parse_reference

__all__ = ["Said", "Target", "find_target", "judgement_uid", "said_of", "said_of_link", "write_judgements"]


def judgement_uid(writer: str, sequence: int) -> str:
    """Return the id of a statement that invalidates or revalidates.

    Parameters
    ----------
    writer : str
        Id of the writer that made it, 32 hexadecimal digits.
    sequence : int
        Its sequence there.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return key_digest(["judgement", writer, sequence])


@dataclass(frozen=True, slots=True)
class Target:
    """What a statement stands on: a node, or every version of a name; neither where it is not known yet."""

    id: int | None = None
    kind: str | None = None
    name: str | None = None

    @property
    def open(self) -> bool:
        """Whether it is not known."""
        return self.id is None and self.name is None


@dataclass(frozen=True, slots=True)
class Said:
    """Who said it, and when: what a reference without a version means follows from that."""

    run: str
    writer: str
    sequence: int
    time: int
    begin: int
    text: str


#: What a handle is written down as, where its record is not seen yet; no reference begins so.
_HANDLE = "@"

_SAID = (("uid", TEXT), ("id", BIGINT), ("kind", TEXT), ("name", TEXT), ("said", TEXT))
_WHERE = (("time", TIME), ("writer", TEXT), ("sequence", BIGINT))
#: The tables, each with its columns.
_TABLES = {
    "invalidation_rows": (*_SAID, ("cause", TEXT), ("cascade", pa.bool_()), *_WHERE),
    "revalidation_rows": (*_SAID, ("despite", TEXT), *_WHERE),
}


def write_judgements(out: Writer, judging: list[Facts]) -> None:
    """Write what the statements of a commit stand on, and what it brings of those that earlier ones left open.

    Parameters
    ----------
    out : Writer
        The commit, after its nodes and edges were written.
    judging : list of Facts
        What was said in it by those who judged.
    """
    for table in _TABLES:
        _look_again(out, table)
        _move(out, table)
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}
    problems: list[Problem] = []
    for facts in judging:
        for judged in facts.judged:
            table, about = _row(judged)
            said = said_of(facts, judged)
            target = find_target(out.connection, said, all_versions=judged.about.all_versions)
            rows[table].append(_written(said, target, about))
            if target.open:
                message = f"{said.text!r} was judged: no record of that reference is known"
                where = (facts.run, facts.writer, judged.sequence, said.text)
                problems.append(Problem("unresolved", message, *where))
    for table, columns in _TABLES.items():
        out.rows(table, columns, rows[table])
    out.write_problems(problems)


def _row(judged: Judged) -> tuple[str, tuple[Any, ...]]:
    about = judged.about
    if isinstance(about, Invalidation):
        return "invalidation_rows", (about.cause, about.cascade)
    return "revalidation_rows", (about.despite,)


def _written(said: Said, target: Target, about: tuple[Any, ...]) -> tuple[Any, ...]:
    uid = judgement_uid(said.writer, said.sequence)
    where = (said.time, said.writer, said.sequence)
    return (uid, target.id, target.kind, target.name, said.text, *about, *where)


def _look_again(out: Writer, table: str) -> None:
    """Write rows again whose record this commit has brought."""
    about = [name for name, _ in _TABLES[table][len(_SAID) : -len(_WHERE)]]
    rows = out.connection.execute(
        f"select w.run, t.writer, t.sequence, epoch_ns(t.time), t.said, {', '.join(f't.{name}' for name in about)} "
        f"from {table} t join writers w using (writer) where t.id is null and t.name is null and not exists ("
        f"from {table} o where o.uid = t.uid and (o.id is not null or o.name is not null)) order by all"
    ).fetchall()
    found = []
    for run, writer, sequence, time, text, *rest in rows:
        # Not in the store: what it held when the run began, it held then.
        said = Said(run, writer, sequence, time, 0, text)
        target = find_target(out.connection, said, all_versions=False)
        if not target.open:
            found.append(_written(said, target, tuple(rest)))
    out.rows(table, _TABLES[table], found)


def _move(out: Writer, table: str) -> None:
    """Write rows again that stand on a placeholder whose record this commit has brought: they stand on that now."""
    columns = ", ".join(name for name, _ in _TABLES[table][2 : -len(_WHERE)])
    rows = out.connection.execute(
        f"select uid, f.record, {columns}, epoch_ns(time), writer, sequence from {table} t join filled f using (id) "
        f"where not exists (from {table} o where o.uid = t.uid and o.id = f.record) order by all"
    ).fetchall()
    out.rows(table, _TABLES[table], rows)


def said_of(facts: Facts, judged: Judged | Acted) -> Said:
    """Return who said something of a record, and when.

    Parameters
    ----------
    facts : Facts
        In which it stands.
    judged : Judged or Acted
        What was said, with a target.

    Returns
    -------
    Said
        For :func:`find_target`.
    """
    return said_of_link(facts, getattr(judged.about, "target", None), judged.sequence, judged.time)


def said_of_link(facts: Facts, link: Any, sequence: int, time: int) -> Said:
    """Return who named something by a link, and when.

    Parameters
    ----------
    facts : Facts
        In which it stands.
    link : object
        See :mod:`braid_hpc.vocabulary.payloads`.
    sequence : int
        Of the event.
    time : int
        Of the event, nanoseconds since 1970 UTC.

    Returns
    -------
    Said
        For :func:`find_target`.
    """
    link = link[0] if isinstance(link, (list, tuple)) and link else link
    place = place_of(facts.writer, link)
    text = link if isinstance(link, str) else f"{_HANDLE}{place[0]}:{place[1]}" if place is not None else repr(link)
    begin = int((facts.log.header.get("clock") or {}).get("utc_ns", 0))
    return Said(facts.run, facts.writer, sequence, time, begin, text)


# ---------------------------------------------------------------------------------------------------- what is meant

_OF_HANDLE = """
    select id from occurrences where writer = $writer and sequence = $sequence
    union all select id from activity_rows where writer = $writer and sequence = $sequence
"""
_NAMED = "n.name = $name and ($kind is null or n.kind = $kind)"
_OWN = f"""
    select id from (
        select o.sequence, o.id from occurrences o join nodes n using (id)
        where o.writer = $writer and o.sequence < $sequence and {_NAMED}
        union all
        select e.sequence, e.parent from edge_rows e join nodes n on n.id = e.parent
        where e.writer = $writer and e.sequence < $sequence and {_NAMED}
        union all
        select a.sequence, a.id from activity_rows a join nodes n using (id)
        where a.writer = $writer and a.sequence < $sequence and {_NAMED})
    order by sequence desc, id desc limit 1
"""
_OF_RUN = f"""
    select id from (
        select o.time, o.id from occurrences o join nodes n using (id)
        where o.run = $run and o.time <= make_timestamp_ns($time) and {_NAMED}
        union all
        select a.begin_time, a.id from activity_rows a join nodes n using (id)
        where a.run = $run and a.begin_time <= make_timestamp_ns($time) and {_NAMED})
    order by time desc, id desc limit 1
"""
_OF_STORE = f"""
    select id from (
        select o.time, o.id from occurrences o join nodes n using (id)
        where o.time <= make_timestamp_ns($begin) and {_NAMED}
        union all
        select a.begin_time, a.id from activity_rows a join nodes n using (id)
        where a.begin_time <= make_timestamp_ns($begin) and {_NAMED})
    order by time desc, id desc limit 1
"""


def find_target(connection: Any, said: Said, *, all_versions: bool) -> Target:
    """Return what a statement stands on.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of the commit.
    said : Said
        The statement.
    all_versions : bool
        Whether it stands on every version of a name.

    Returns
    -------
    Target
        Open where it is not known.
    """
    if said.text.startswith(_HANDLE):
        writer, _, sequence = said.text.removeprefix(_HANDLE).rpartition(":")
        return _one(connection, _OF_HANDLE, {"writer": writer, "sequence": int(sequence)})
    try:
        reference = parse_reference(said.text)
    except InvalidInputError:
        return Target()
    if reference.identity is not None:
        query = "select id from nodes where starts_with(uid, $uid) limit 2"
        return _one(connection, query, {"uid": reference.identity})
    named = {"kind": reference.kind, "name": reference.name}
    if all_versions:
        return Target(None, reference.kind, reference.name)
    if reference.version is not None:
        query = f"select id from nodes n where {_NAMED} and n.version = $version limit 2"
        return _one(connection, query, {**named, "version": reference.version})
    own = {"writer": said.writer, "sequence": said.sequence}
    ways = ((_OWN, own), (_OF_RUN, {"run": said.run, "time": said.time}), (_OF_STORE, {"begin": said.begin}))
    for query, given in ways:
        target = _one(connection, query, {**named, **given})
        if not target.open:
            break
    return target


def _one(connection: Any, query: str, given: dict[str, Any]) -> Target:
    rows = connection.execute(
        f"select coalesce(f.record, m.id) from ({query}) m left join filled f on f.id = m.id", given
    ).fetchall()
    return Target(rows[0][0]) if len(rows) == 1 else Target()

"""Which edges the statements of a commit take back (``docs/invalidation.md``).

Nothing is removed: what a retraction reaches is computed when somebody asks, from its time and its snapshot.
"""

from __future__ import annotations

from typing import Any

from braid_hpc.compaction.extract import Facts
from braid_hpc.compaction.judgements import Said, find_target, judgement_uid, said_of_link
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.rows import BIGINT, TEXT, TIME
from braid_hpc.compaction.write import Writer

__all__ = ["write_retractions"]

_COLUMNS = (
    ("uid", TEXT),
    ("child", BIGINT),
    ("parent", BIGINT),
    ("relation", TEXT),
    ("child_said", TEXT),
    ("parent_said", TEXT),
    ("cause", TEXT),
    ("time", TIME),
    ("writer", TEXT),
    ("sequence", BIGINT),
)


def write_retractions(out: Writer, retracting: list[Facts]) -> None:
    """Write which edges the statements of a commit are about, and what it brings of those that earlier ones left open.

    Parameters
    ----------
    out : Writer
        The commit, after its nodes and edges were written.
    retracting : list of Facts
        What was said in it by those who took edges back.
    """
    rows = _look_again(out)
    problems: list[Problem] = []
    for facts in retracting:
        for retracted in facts.retracted:
            about = retracted.about
            when = (retracted.sequence, retracted.time)
            ends = [said_of_link(facts, link, *when) for link in (about.child, about.parent)]
            row = _row(out, ends, (about.relation, about.cause))
            rows.append(row)
            if None in row[1:3]:
                unknown = " and ".join(repr(said.text) for said, found in zip(ends, row[1:3], strict=True) if not found)
                message = f"an edge was retracted: no record of the reference {unknown} is known"
                problems.append(Problem("unresolved", message, facts.run, facts.writer, retracted.sequence, None))
    out.rows("retraction_rows", _COLUMNS, rows)
    out.write_problems(problems)


def _row(out: Writer, ends: list[Said], about: tuple[str | None, str]) -> tuple[Any, ...]:
    ids = [find_target(out.connection, said, all_versions=False).id for said in ends]
    said, (relation, cause) = ends[0], about
    where = (said.time, said.writer, said.sequence)
    texts = [each.text for each in ends]
    return (judgement_uid(said.writer, said.sequence), *ids, relation, *texts, cause, *where)


def _look_again(out: Writer) -> list[tuple[Any, ...]]:
    """Return rows again whose records this commit has brought."""
    found = out.connection.execute(
        "select w.run, t.writer, t.sequence, epoch_ns(t.time), t.child_said, t.parent_said, t.relation, t.cause "
        "from retraction_rows t join writers w using (writer) where (t.child is null or t.parent is null) "
        "and not exists (from retraction_rows o where o.uid = t.uid and o.child is not null and o.parent is not null) "
        "order by all"
    ).fetchall()
    rows = []
    for run, writer, sequence, time, child, parent, *about in found:
        row = _row(out, [Said(run, writer, sequence, time, 0, text) for text in (child, parent)], tuple(about))
        if None not in row[1:3]:
            rows.append(row)
    return [*rows, *_moved(out)]


def _moved(out: Writer) -> list[tuple[Any, ...]]:
    """Return rows again about edges of placeholders whose records this commit has brought, as those edges are."""
    rows: list[tuple[Any, ...]] = out.connection.execute(
        "select distinct t.uid, coalesce(c.record, t.child), coalesce(p.record, t.parent), t.relation, t.child_said, "
        "t.parent_said, t.cause, epoch_ns(t.time), t.writer, t.sequence from retraction_rows t "
        "left join filled c on c.id = t.child left join filled p on p.id = t.parent "
        "where (c.id is not null or p.id is not null) and not exists (from retraction_rows o where o.uid = t.uid "
        "and o.child = coalesce(c.record, t.child) and o.parent = coalesce(p.record, t.parent)) order by all"
    ).fetchall()
    return rows

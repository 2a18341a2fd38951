"""What is to be done about records that do not hold, and what was done (``docs/actions.md``).

Which action is due is computed when somebody asks; nothing is ever run from here.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from braid_hpc.compaction.extract import Acted, Facts
from braid_hpc.compaction.judgements import Said, find_target, said_of
from braid_hpc.compaction.links import place_of
from braid_hpc.compaction.problems import Problem
from braid_hpc.compaction.rows import BIGINT, INTEGER, TEXT, TIME
from braid_hpc.compaction.write import Writer
from braid_hpc.vocabulary.actions import action_uid
from braid_hpc.vocabulary.payloads import Action, Attachment, Attempt, Result
from braid_hpc.vocabulary.texts import clean

__all__ = ["write_actions"]

_WHERE = (("time", TIME), ("writer", TEXT), ("sequence", BIGINT))
_TABLES: dict[type, tuple[str, tuple[tuple[str, pa.DataType], ...]]] = {
    Action: (
        "action_rows",
        (("uid", TEXT), ("name", TEXT), ("command", pa.list_(TEXT)), ("entry", TEXT), ("timeout", pa.float64())),
    ),
    Attachment: (
        "attachment_rows",
        (("id", BIGINT), ("said", TEXT), ("action_writer", TEXT), ("action_sequence", BIGINT)),
    ),
    Attempt: ("attempt_rows", (("statement", TEXT), ("record", TEXT), ("action", TEXT))),
    Result: (
        "result_rows",
        (
            ("attempt", BIGINT),
            ("ok", pa.bool_()),
            ("code", INTEGER),
            ("signal", INTEGER),
            ("error", TEXT),
            ("output", TEXT),
            ("cut", BIGINT),
        ),
    ),
}


def write_actions(out: Writer, acting: list[Facts]) -> None:
    """Write what a commit says of actions, and what it brings of the records that earlier ones attached them to.

    Parameters
    ----------
    out : Writer
        The commit, after its nodes and edges were written.
    acting : list of Facts
        What was said in it by those who said something of actions.
    """
    rows: dict[type, list[tuple[Any, ...]]] = {kind: [] for kind in _TABLES}
    rows[Attachment] += _found_since(out)
    problems: list[Problem] = []
    for facts in acting:
        for acted in facts.acted:
            row, unknown = _row(out, facts, acted)
            rows[type(acted.about)].append((*row, acted.time, facts.writer, acted.sequence))
            if unknown:
                message = f"an action was attached to {unknown!r}: no record of that reference is known"
                problems.append(Problem("unresolved", message, facts.run, facts.writer, acted.sequence, unknown))
    for kind, (table, columns) in _TABLES.items():
        out.rows(table, (*columns, *_WHERE), rows[kind])
    out.write_problems(problems)


def _row(out: Writer, facts: Facts, acted: Acted) -> tuple[tuple[Any, ...], str]:
    """Return a row, and the reference in it that names nothing."""
    about = acted.about
    if isinstance(about, Action):
        name = None if about.name is None else clean(about.name)
        return (action_uid(about), name, [clean(word) for word in about.command], about.entry, about.timeout), ""
    if isinstance(about, Attempt):
        return (about.statement, about.record, about.action), ""
    if isinstance(about, Result):
        error = None if about.error is None else clean(about.error)
        return (acted.subject, about.ok, about.code, about.signal, error, clean(about.output), about.cut), ""
    said = said_of(facts, acted)
    target = find_target(out.connection, said, all_versions=False)
    writer, sequence = place_of(facts.writer, about.action) or ("", 0)
    return (target.id, said.text, writer, sequence), said.text if target.open else ""


def _found_since(out: Writer) -> list[tuple[Any, ...]]:
    """Return attachments again whose record this commit has brought."""
    rows = out.connection.execute(
        "select w.run, a.said, a.action_writer, a.action_sequence, epoch_ns(a.time), a.writer, a.sequence "
        "from attachment_rows a join writers w using (writer) where a.id is null and not exists ("
        "from attachment_rows o where o.writer = a.writer and o.sequence = a.sequence and o.id is not null) "
        "order by a.writer, a.sequence"
    ).fetchall()
    found = []
    for run, text, action_writer, action_sequence, time, writer, sequence in rows:
        target = find_target(out.connection, Said(run, writer, sequence, time, 0, text), all_versions=False)
        if not target.open:
            found.append((target.id, text, action_writer, action_sequence, time, writer, sequence))
    # And those whose record it has brought in place of a placeholder.
    moved: list[tuple[Any, ...]] = out.connection.execute(
        "select f.record, a.said, a.action_writer, a.action_sequence, epoch_ns(a.time), a.writer, a.sequence "
        "from attachment_rows a join filled f using (id) where not exists (from attachment_rows o "
        "where o.writer = a.writer and o.sequence = a.sequence and o.id = f.record) order by all"
    ).fetchall()
    return found + moved

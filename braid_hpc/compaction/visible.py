"""Who may see what: the groups that runs name, and the logs that somebody of some groups is shown.

A run says who may see it by facts called ``access`` (a group, or a list of groups) and by tags ``access`` on what it
made. It is shown to somebody whose groups meet every one of these lists; without any it is shown to nobody. What was
said beside the store after the runs is shown where everything that it is about is.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from braid_hpc.vocabulary.annotations import ANNOTATIONS, TAG
from braid_hpc.vocabulary.sql import quoted

__all__ = ["ACCESS", "groups_of_runs", "visible_writers"]

#: Name of the facts, and key of the tags, that say which groups may see a run.
ACCESS = "access"

#: The jobs of logs that are written beside a store. Anybody may call a job so, so more is asked of them (`_OWN`).
_BESIDE = ("statements", "actions", "inspect files")

_FACTS = """
    select distinct o.run, o.value from occurrences o join version_rows v using (id)
    where v.kind = 'fact' and v.name = $access
"""
# A tag is of the run that gave it with what it made; one that was given later is of all runs that made the thing.
_TAGS = """
    select distinct coalesce(m.run, w.run) as run, t.id, t.text from tag_rows t join writers w using (writer)
    left join (select id, run from occurrences union select id, run from activity_rows) m
        on m.id = t.id and (w.header ->> '$.job' in $beside or m.run = w.run)
    where t.key = $access
"""
_ABOUT = """
    select writer, id from tag_rows
    union select writer, child from edge_rows union select writer, parent from edge_rows
    union select writer, max(id) from invalidation_rows where name is null group by writer, uid
    union select writer, max(id) from revalidation_rows where name is null group by writer, uid
    union select writer, child from retraction_rows union select writer, parent from retraction_rows
    union select writer, id from attachment_rows
    union select a.writer, n.id from attempt_rows a left join nodes n on n.uid = a.record
    union select i.writer, o.id from inspection_rows i left join occurrences o
        on o.writer = i.about_writer and o.sequence = i.about_sequence
"""
#: Logs that made something of their own, as none does that is written beside a store, where streams are ours too.
_OWN = """
    select o.writer from occurrences o join version_rows v using (id)
    where not (v.kind = 'stream' and starts_with(v.name, 'braid/'))
    union select writer from activity_rows union select writer from uri_rows
    union select writer from stream_rows where not starts_with(stream, 'braid/')
"""
_NAMED = """
    select writer, kind, name from invalidation_rows where name is not null
    union select writer, kind, name from revalidation_rows where name is not null
"""


#: What was said of `access` of a node after it was recorded: of each, the last word.
_LAST = """
    select n.id, arg_max(a.what, (a._time, a._writer, a._row)), arg_max(a.text, (a._time, a._writer, a._row))
    from {place} a join nodes n on n.uid = a.about where a.key = $access and a.what in ('tag', 'untag') group by n.id
"""
_ANNOTATED = "select a._writer, n.id from {place} a left join nodes n on n.uid = a.about"


def _annotations(connection: Any) -> str | None:
    """Return the table of annotations, None where there is none."""
    rows = connection.execute(
        "select min(s.place) from stream_rows s join information_schema.tables t "
        "on t.table_schema = 'stream' and t.table_name = s.place where s.stream = ?",
        [ANNOTATIONS],
    ).fetchall()
    return None if rows[0][0] is None else f"stream.{quoted(rows[0][0])}"


def groups_of_runs(connection: Any) -> dict[str, list[frozenset[str]]]:
    """Return which groups may see the runs that say so.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.

    Returns
    -------
    dict of str to list of frozenset
        By run: the groups of each of its statements. One that names no groups in a way that is understood has none.
    """
    found: dict[str, list[frozenset[str]]] = defaultdict(list)
    for run, value in connection.execute(_FACTS, {"access": ACCESS}).fetchall():
        found[run].append(_groups(value))
    tagged: dict[tuple[str, int], set[str]] = defaultdict(set)
    beside = list(_BESIDE)
    for run, node, text in connection.execute(
        _TAGS.replace("in $beside", "in (select unnest($beside::varchar[]))"), {"access": ACCESS, "beside": beside}
    ).fetchall():
        tagged[run, node].add(text)
    if (place := _annotations(connection)) is not None:
        _stand_over(connection, place, tagged)
    for (run, _), groups in tagged.items():
        found[run].append(frozenset(groups))
    return dict(found)


def _stand_over(connection: Any, place: str, tagged: dict[tuple[str, int], set[str]]) -> None:
    """Let annotations stand over what runs have declared: a tag replaces theirs, and one that was removed is gone."""
    last = connection.execute(_LAST.format(place=place), {"access": ACCESS}).fetchall()
    makers = defaultdict(set)
    for node, run in connection.execute(
        "select id, run from occurrences where id in (select unnest($ids::bigint[])) "
        "union select id, run from activity_rows where id in (select unnest($ids::bigint[]))",
        {"ids": [node for node, *_ in last]},
    ).fetchall():
        makers[node].add(run)
    for node, what, text in last:
        for run in makers[node]:
            tagged.pop((run, node), None)
            if what == TAG:
                tagged[run, node] = {text}


def _groups(value: str | None) -> frozenset[str]:
    said = None if value is None else json.loads(value)
    listed = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    return frozenset(each for each in listed if isinstance(each, str))


def visible_writers(connection: Any, groups: Collection[str]) -> set[str]:
    """Return the logs that somebody is shown.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    groups : collection of str
        Somebody's.

    Returns
    -------
    set of str
        Writers.
    """
    mine = frozenset(groups)
    named = groups_of_runs(connection)
    shown = {run for run, lists in named.items() if all(mine & each for each in lists)}
    writers = connection.execute("select writer, run, header ->> '$.job' from writers").fetchall()
    found = {writer for writer, run, _ in writers if run in shown}
    waiting = {writer for writer, run, job in writers if run not in named and job in _BESIDE}
    if waiting:
        waiting -= {writer for (writer,) in connection.execute(_OWN).fetchall()}
    if not waiting:
        return found
    about, names = _said_beside(connection, waiting)
    makers = defaultdict(set)
    for node, writer in connection.execute(
        "select id, writer from occurrences union select id, writer from activity_rows"
    ).fetchall():
        makers[node].add(writer)
    known = {
        name
        for writer, *name in connection.execute(
            "select o.writer, v.kind, v.name from occurrences o join version_rows v using (id)"
        ).fetchall()
        if writer in found
        for name in (tuple(name), (None, name[1]))
    }

    def is_shown(writer: str) -> bool:
        nodes = about[writer] - {node for node in about[writer] if makers[node] == {writer}}
        return (
            bool(nodes or names[writer])
            and all(makers[node] & found for node in nodes)
            and all(name in known for name in names[writer])
        )

    # What is about something that was said beside the store is shown with it.
    while fresh := {writer for writer in waiting if is_shown(writer)}:
        found |= fresh
        waiting -= fresh
    return found


def _said_beside(connection: Any, writers: set[str]) -> tuple[dict[str, set[Any]], dict[str, set[Any]]]:
    """Return what logs are about: nodes, None for what is not known, and names."""
    about: dict[str, set[Any]] = defaultdict(set)
    names: dict[str, set[Any]] = defaultdict(set)
    given = {"writers": sorted(writers)}
    for writer, node in connection.execute(
        f"from ({_ABOUT}) where writer in (select unnest($writers::varchar[]))", given
    ).fetchall():
        about[writer].add(node)
    if (place := _annotations(connection)) is not None:
        for writer, node in connection.execute(_ANNOTATED.format(place=place)).fetchall():
            if writer in writers:
                about[writer].add(node)
    for writer, *name in connection.execute(
        f"from ({_NAMED}) where writer in (select unnest($writers::varchar[]))", given
    ).fetchall():
        names[writer].add(tuple(name))
    return about, names

"""Annotations of a store and of one's own: the newest of a key stands, and all of them are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from braid_hpc.store.event_documents import THEN
from braid_hpc.store.exact import rows_of
from braid_hpc.store.finding import typed
from braid_hpc.store.listed import Listed
from braid_hpc.vocabulary.annotations import ANNOTATION_COLUMNS, ANNOTATIONS, NOTE
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    from braid_hpc.store.bound import Bound
    from braid_hpc.store.opened import Opened

__all__ = ["Annotation", "Annotations", "annotated", "annotations_about", "current_tags", "said_by_anyone"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """What somebody said of a version or an activity.

    Attributes
    ----------
    what : str
        ``tag``, ``untag`` or ``note``.
    key : str or None
        Of the tag; None of a note.
    value : object
        Of the tag, as it was given; the text of a note; None where a tag was removed.
    by : str or None
        The user.
    time : datetime
        When, UTC.
    private : bool
        Whether it stands in one's own store.
    """

    what: str
    key: str | None
    value: Any
    by: str | None
    time: datetime
    private: bool


class Annotations(Listed[Annotation]):
    """Annotations, the oldest first."""

    COLUMNS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("what", "text"),
        ("key", "text"),
        ("value", "json"),
        ("by", "text"),
        ("time", "time"),
        ("private", "bool"),
    )


_SHARED = (
    "select about, what, key, type, text, _time as time, _writer as writer, _row as row "
    "from stream.{place} where {then}"
)
_COLUMNS = {
    ("about", "varchar"): "about",
    ("what", "varchar"): "what",
    ("key", "varchar"): "key",
    ("type", "varchar"): "type",
    ("text", "varchar"): "text",
    ("time", "bigint"): "nanoseconds",
    ("writer", "varchar"): "writer",
    ("row", "bigint"): "row",
}


def said_by_anyone(store: Opened, bound: Bound) -> str | None:
    """Return SQL of all annotations that count at ``$at`` and ``$as_of``, private ones among them.

    Parameters
    ----------
    store : Opened
        Open.
    bound : Bound
        Takes values.

    Returns
    -------
    str or None
        None if there are none.
    """
    place, parts = _place(store), []
    if place is not None:
        parts.append(_SHARED.format(place=quoted(place), then=THEN))
    if own := _private_rows(store):
        from braid_hpc.store.scan_facts import unnested

        given = {column: [row[name] for row in own] for column, name in _COLUMNS.items()}
        parts.append(
            f"select * replace (make_timestamp_ns(time) as time) from ({unnested(bound, given)}) where time <= $as_of"
        )
    return " union all ".join(parts) or None


def annotated(store: Opened, bound: Bound) -> str | None:
    """Return SQL of the newest annotation of each key.

    Parameters
    ----------
    store : Opened
        Open.
    bound : Bound
        Takes values.

    Returns
    -------
    str or None
        With ``id``, ``key``, ``what`` and the columns of tags' values; None if there are none.
    """
    said = said_by_anyone(store, bound)
    if said is None:
        return None
    return (
        "select coalesce(f.record, n.id) as id, a.key, a.what, a.type, a.text, "
        "if(a.type = 'int', try_cast(a.text as hugeint), null) as integer, "
        "if(a.type in ('int', 'float'), try_cast(a.text as double), null) as real, "
        "if(a.type = 'bool', a.text = 'true', null) as boolean "
        "from (select *, row_number() over (partition by about, key order by time desc, writer desc, row desc) "
        f"as choice from ({said}) where what <> '{NOTE}') a join nodes n on n.uid = a.about "
        "left join filled f on f.id = n.id and f.snapshot <= $at where a.choice = 1"
    )


def current_tags(store: Opened, bound: Bound, *, until: bool = True) -> str:
    """Return SQL of the tags that hold at ``$at`` and ``$as_of``: an annotation stands over what runs said of its key.

    Parameters
    ----------
    store : Opened
        Open.
    bound : Bound
        Takes values.
    until : bool
        Whether what was said later than ``$as_of`` is left out.

    Returns
    -------
    str
        With ``id``, ``key``, ``type``, ``text``, ``integer``, ``real`` and ``boolean``.
    """
    columns = "id, key, type, text, integer, real, boolean"
    recorded = (
        f"select {columns} from tag_rows t where snapshot <= $at{' and epoch_ns(time) <= $as_of' if until else ''}"
    )
    newest = annotated(store, bound)
    if newest is None:
        return recorded
    return (
        f"with annotated as ({newest}) {recorded} "
        "and not exists (from annotated a where a.id = t.id and a.key = t.key) "
        f"union all select {columns} from annotated where what = 'tag'"
    )


def annotations_about(store: Opened, node: int, then: dict[str, int]) -> Annotations:
    """Return what was said of a node by anyone.

    Parameters
    ----------
    store : Opened
        Open.
    node : int
        Its dense id.
    then : dict of str to int
        The moment.

    Returns
    -------
    Annotations
        In the order of their times.
    """
    from braid_hpc.store.bound import Bound

    bound = Bound()
    said = said_by_anyone(store, bound)
    if said is None:
        return Annotations()
    rows = store._rows(
        "select a.*, epoch_ns(a.time) as ns, w.header ->> '$.user' as by, w.writer is null as private "
        f"from ({said}) a join nodes n on n.uid = a.about "
        "left join filled f on f.id = n.id and f.snapshot <= $at left join writers w on w.writer = a.writer "
        "where coalesce(f.record, n.id) = $node order by a.time, a.writer, a.row",
        {**bound.values, **then, "node": node},
    )
    mine = {(row["writer"], row["row"]): row["by"] for row in _private_rows(store)}
    return Annotations(
        Annotation(
            what=row["what"],
            key=row["key"] or None,
            value=None if row["type"] == "" else typed(row["type"], row["text"]),
            by=mine.get((row["writer"], row["row"]), row["by"]),
            time=row["time"],
            private=row["private"],
        )
        for row in rows
    )


def _place(store: Opened) -> str | None:
    rows = store._rows(
        "select c.table_name as place from information_schema.columns c join streams s on s.place = c.table_name "
        "where c.table_schema = 'stream' and s.stream = ? and list_contains(?::varchar[], c.column_name) "
        "group by all having count(distinct c.column_name) = ?",
        [ANNOTATIONS, list(ANNOTATION_COLUMNS), len(ANNOTATION_COLUMNS)],
    )
    return str(rows[0]["place"]) if rows else None


def _private_rows(store: Opened) -> list[dict[str, Any]]:
    """Return the annotations of one's own store, if there is one."""
    path = store.private
    if path is None or not path.exists():
        return []
    from braid_hpc.store.store import Store

    with Store(path) as own:
        place = _place(own)
        if place is None:
            return []
        return rows_of(
            own._connected,
            "select a.about, a.what, a.key, a.type, a.text, epoch_ns(a._time) as nanoseconds, a._writer as writer, "
            f"a._row as row, w.header ->> '$.user' as by from stream.{quoted(place)} a "
            "left join writers w on w.writer = a._writer",
            {},
        )

"""From a reference to the nodes it names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from braid_hpc.store.holding import FOREVER, HOLDING, appeared
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, UNSEEN_KIND
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import Reference, format_reference, parse_reference
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.times import shown_time

__all__ = ["Node", "resolve"]


@dataclass(frozen=True, slots=True)
class Node:
    """A version or an activity.

    Attributes
    ----------
    id : int
        Dense, of this store.
    uid : str
        Global, 32 hexadecimal digits.
    kind, name : str
        ``activity`` for an activity.
    version : int
        Its number, from 1.
    """

    id: int
    uid: str
    kind: str
    name: str
    version: int

    @property
    def ref(self) -> str:
        """The reference, ``kind:name@version``."""
        return format_reference(self.kind, self.name, self.version)


_SELECT = "select id, uid, kind, name, version from nodes where snapshot <= ? and "


def resolve(connection: Any, text: str | Reference, at: int, as_of: int | None = None) -> tuple[Node, list[Node]]:
    """Find what a reference names.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    text : str or Reference
        ``[kind:]name[@version]`` or ``id:<hex>``; without a version, the newest is meant.
    at : int
        The snapshot to look in.
    as_of : int, optional
        Nanoseconds since 1970 UTC: what was declared or begun later is passed over.

    Returns
    -------
    node : Node
        What is meant.
    others : list of Node
        Where no version was named, further ones that are as new: no other version of that name revises them. Of
        activities none revises another; the newest is meant, and these are all others of that name.

    Raises
    ------
    NotFoundError
        If there is none; similar names are told, and when it appeared if that was after `as_of`.
    ConflictError
        If it fits records of several kinds, or several ids; the candidates are told.
    InvalidInputError
        If it is not a reference.
    """
    reference = text if isinstance(text, Reference) else parse_reference(text)
    if reference.row is not None:
        raise InvalidInputError(
            f"{reference} names a row of a stream: a record or an activity is needed here, and row_lineage is for rows"
        )
    if reference.identity is not None:
        node = _record_of(connection, _by_identity(connection, reference, at), at)
        return _there(connection, reference, [node], at, as_of)[0], []
    # A file's name that is not UTF-8 has lone surrogates: the store holds it as it was merged.
    reference = replace(reference, name=clean(reference.name or ""))
    rows = _versions(connection, reference, at)
    kinds = list(dict.fromkeys(row[2] for row in rows))
    if not rows or (reference.kind is None and reference.version is not None):
        # Not of this kind, or not of this number; or of a kind that may not be the only one of that name.
        kinds = _kinds(connection, reference, at)
    if len(kinds) > 1:
        fitting = ", ".join(_on_one_line(format_reference(kind, reference.name or "")) for kind in kinds)
        raise ConflictError(f"{_on_one_line(str(reference))} fits several records: say which of {fitting}")
    if not rows:
        (last,) = connection.execute(
            "select max(version) from nodes where snapshot <= ? and kind = ? and name = ?",
            [at, kinds[0], reference.name],
        ).fetchall()[0]
        name = _on_one_line(format_reference(kinds[0], reference.name or ""))
        raise NotFoundError(f"{name} has no version {reference.version}: it has 1 to {last}")
    nodes = [_record_of(connection, Node(*row), at) for row in rows]
    found = _there(connection, reference, nodes, at, as_of)
    if len(found) == 1 or kinds[0] == ACTIVITY_KIND:
        return found[0], found[1:]
    heads = _unrevised(connection, found, at, as_of)
    return heads[0], heads[1:]


#: Letters of a name that a message shows: a name may be of any length.
_SHOWN = 200


#: Names that may have been meant: a slip of the hand in three letters, letters that are much the same, or a part of the
#: name. Whatever the store holds, something is nearest; what resembles nothing that was asked for is not told.
_NEAR = f"""
    select kind, name from (
        select distinct kind, name, lower(left(name, {_SHOWN})) as short from nodes where snapshot <= $at)
    where damerau_levenshtein(short, $name) <= length($name) // 3 or jaro_winkler_similarity(short, $name) >= 0.85
        or (length($name) >= 3 and contains(short, $name))
    order by jaro_winkler_similarity(short, $name) desc, kind, name limit 3
"""


def _on_one_line(text: str) -> str:
    line = "⏎".join(text[: 2 * _SHOWN].splitlines())
    return line if len(text) <= _SHOWN else f"{line[:_SHOWN]}... ({len(text):,} letters)"


def _by_identity(connection: Any, reference: Reference, at: int) -> Node:
    rows = connection.execute(_SELECT + "starts_with(uid, ?) order by uid limit 6", [at, reference.identity]).fetchall()
    if not rows:
        raise NotFoundError(f"{reference} is not in this store")
    if len(rows) > 1:
        shown = ", ".join(f"id:{row[1]} ({_on_one_line(Node(*row).ref)})" for row in rows[:5])
        raise ConflictError(f"{reference} is the beginning of several ids: {shown}")
    return Node(*rows[0])


def _record_of(connection: Any, node: Node, at: int) -> Node:
    """Return the record that a placeholder stood for, where it was seen; every other node itself."""
    if node.kind != UNSEEN_KIND:
        return node
    rows = connection.execute(
        f"{_SELECT} id = (select record from filled where id = ? and snapshot <= ?)", [at, node.id, at]
    ).fetchall()
    return Node(*rows[0]) if rows else node


def _versions(connection: Any, reference: Reference, at: int) -> list[tuple[Any, ...]]:
    """Return the rows that a name, and a kind and a number where they are given, fit, by kind; the last first."""
    asked = {"name": reference.name, "kind": reference.kind, "version": reference.version}
    given = {column: value for column, value in asked.items() if value is not None}
    condition = " and ".join(f"{column} = ?" for column in given)
    rows: list[tuple[Any, ...]] = connection.execute(
        f"{_SELECT}{condition} order by kind, version desc", [at, *given.values()]
    ).fetchall()
    return rows


def _kinds(connection: Any, reference: Reference, at: int) -> list[str]:
    rows = connection.execute(
        "select distinct kind from nodes where snapshot <= ? and name = ? and (? is null or kind = ?) order by kind",
        [at, reference.name, reference.kind, reference.kind],
    ).fetchall()
    if not rows:
        near = connection.execute(_NEAR, {"at": at, "name": (reference.name or "").lower()[:_SHOWN]}).fetchall()
        hint = ", ".join(_on_one_line(format_reference(kind, name)) for kind, name in near)
        said = f"; near it {'is' if len(near) == 1 else 'are'} {hint}" if hint else ""
        _, mark, row = (reference.name or "").rpartition("#")
        if mark:
            said += f"; if a row was meant, {_on_one_line(row)!r} is no row number: that has 1 to 18 digits, from 0"
        raise NotFoundError(f"{_on_one_line(str(reference))} is not in this store{said}")
    return [kind for (kind,) in rows]


def _there(connection: Any, reference: Reference, nodes: list[Node], at: int, as_of: int | None) -> list[Node]:
    """Return those that were there at a time."""
    if as_of is None:
        return nodes
    times = appeared(connection, [node.id for node in nodes], at=at)
    there = [node for node in nodes if times.get(node.id, as_of) <= as_of]
    if not there:
        raise NotFoundError(
            f"{_on_one_line(str(reference))} was not there at {shown_time(as_of)}: "
            f"it appeared at {shown_time(min(times.values()))}"
        )
    return there


def _unrevised(connection: Any, versions: list[Node], at: int, as_of: int | None) -> list[Node]:
    """Return the versions that no other version of that name was derived from, the last generated first."""
    given = {"ids": [node.id for node in versions], "at": at, "as_of": FOREVER if as_of is None else as_of}
    rows = connection.execute(
        f"select distinct parent from {HOLDING} where relation = 'wasDerivedFrom' "
        "and list_contains($ids::bigint[], parent) and list_contains($ids::bigint[], child)",
        given,
    ).fetchall()
    revised = {parent for (parent,) in rows}
    times = dict(
        connection.execute(
            "select id, epoch_ns(max(time)) from occurrences where list_contains($ids::bigint[], id) "
            "and snapshot <= $at and epoch_ns(time) <= $as_of group by id",
            given,
        ).fetchall()
    )
    heads = [node for node in versions if node.id not in revised] or versions
    heads.sort(key=lambda node: (times.get(node.id, -(1 << 63)), node.version), reverse=True)
    return heads

"""Searches: versions, activities and runs of which something holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.rows import as_json
from braid_hpc.queries.fields import Field
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.parse import parse_query
from braid_hpc.queries.tree import And, Condition, Query
from braid_hpc.snapshots.schema import reference_of
from braid_hpc.store.annotations import current_tags
from braid_hpc.store.bound import Bound
from braid_hpc.store.compiling import Compiler
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.encoding import check_tags
from braid_hpc.vocabulary.errors import BraidWarning, InvalidInputError
from braid_hpc.vocabulary.texts import clean

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["READ_AS_TAG", "find", "find_runs", "find_scans", "misspelt", "tag_keys"]

#: What is said of a name that may be a misspelt field.
READ_AS_TAG = "read as a tag, and nothing in this store has such a tag"

_COLUMNS = "kind, name, version, uid, time, digest"


def misspelt(store: Store, query: Query | str) -> list[str]:
    """Return what is to be said of names that are read as tags, and may be misspelt fields.

    Parameters
    ----------
    store : Store
        Open.
    query : Query or str
        A search.

    Returns
    -------
    list of str
        A sentence for each name without ``tag.`` that no tag in the store has, and that is one slip of the hand away
        from a field.

    Raises
    ------
    InvalidInputError
        If a text does not parse.
    """
    asked = {each.field.key or "": each.field.meant for each in _query(query).conditions() if each.field.bare}
    asked = {key: meant for key, meant in asked.items() if meant}
    if not asked:
        return []
    known = tag_keys(store)
    return [
        f"{key:.80} is {READ_AS_TAG}: {' or '.join(meant)} is a field; write tag.{key:.80} if the tag is meant"
        for key, meant in asked.items()
        if clean(key) not in known
    ]


def tag_keys(store: Store) -> set[str]:
    """Return the keys of all tags that hold in a store, those of annotations among them.

    Parameters
    ----------
    store : Store
        Open.

    Returns
    -------
    set of str
        Keys.
    """
    bound = Bound()
    query = f"select distinct key from ({current_tags(store, bound)})"
    return set(store._asked(query, {**bound.values, **store._then(None, None)})["key"])


def find(
    store: Store,
    query: Query | str | Mapping[str, Any] | None,
    *,
    tags: Mapping[str, Any] | None,
    uri: str | Iterable[str] | None,
    kind: str | None,
    at: int | None,
    as_of: Any,
    limit: int | None,
) -> Table:
    """Find versions and activities; see :meth:`braid_hpc.Store.find`.

    Parameters
    ----------
    store : Store
        Open.
    query, tags, uri, kind, at, as_of, limit
        As there.

    Returns
    -------
    Table
        As there.

    Raises
    ------
    InvalidInputError
        As there.
    """
    if isinstance(query, Mapping):
        tags = {**query, **(tags or {})}
        query = None
    asked = [_query(query)] if query is not None else []
    for sentence in misspelt(store, asked[0]) if asked else ():
        warnings.warn(sentence, BraidWarning, stacklevel=3)
    asked += [Condition(Field("uri"), Operator.EQ, place) for place in _places(uri)]
    if kind is not None:
        asked.append(Condition(Field("kind"), Operator.EQ, kind))
    compiler = Compiler(store, store._at(at), store._as_of(as_of))
    # As a recorder keeps them, or a NumPy number that was recorded would not be found by itself.
    where = [_carries(compiler, key, value) for key, value in (check_tags(tags) or {}).items()]
    if not asked and not where:
        raise InvalidInputError("nothing is asked for: give a search, or name tags, a uri or a kind")
    if asked:
        where.append(compiler.condition(asked[0] if len(asked) == 1 else And(tuple(asked))))
    rows, declared = compiler.rows("things"), compiler.source("declared")
    body = (
        f"select {reference_of('t')} as ref, t.id, {_COLUMNS} "
        f"from (select t.* from {rows} where ({') and ('.join(where)})) t left join {declared} d on d.id = t.id "
        f"order by t.kind, t.name, t.version{_limit(limit)}"
    )
    return store.sql(*compiler.statement(body))


def find_runs(store: Store, query: Query | str | None, *, at: int | None, as_of: Any, limit: int | None) -> Table:
    """Find runs; see :meth:`braid_hpc.Store.find_runs`.

    Parameters
    ----------
    store : Store
        Open.
    query, at, as_of, limit
        As there.

    Returns
    -------
    Table
        As there.

    Raises
    ------
    InvalidInputError
        As there.
    """
    compiler = Compiler(store, store._at(at), store._as_of(as_of), runs=True)
    where = "true" if query is None else compiler.condition(_query(query))
    body = f"select t.* from {compiler.rows('known_runs')} where {where} order by t.begin_time, t.run{_limit(limit)}"
    return store.sql(*compiler.statement(body))


def find_scans(store: Store, query: Query | str | None, *, at: int | None, as_of: Any, limit: int | None) -> Table:
    """Find scans of an instrument; see :meth:`braid_hpc.Store.find_scans`.

    Parameters
    ----------
    store : Store
        Open.
    query, at, as_of, limit
        As there.

    Returns
    -------
    Table
        As there.

    Raises
    ------
    InvalidInputError
        As there.
    """
    from braid_hpc.store.scan_listing import list_scans

    asked = None if query is None else _query(query)
    for sentence in misspelt(store, asked) if asked is not None else ():
        warnings.warn(sentence, BraidWarning, stacklevel=3)
    compiler = Compiler(store, store._at(at), store._as_of(as_of), scans=True)
    where = "true" if asked is None else compiler.condition(asked)
    body = f"select t.scan from {compiler.rows('known_scans')} where {where} order by t.scan"
    found = store.sql(*compiler.statement(body))["scan"]
    _limit(limit)
    return list_scans(store, found, store._then(at, as_of), limit)


def _query(query: Query | str) -> Query:
    return query if isinstance(query, Query) else parse_query(query)


def _places(uri: str | Iterable[str] | None) -> list[str]:
    if uri is None:
        return []
    places = [uri] if isinstance(uri, str) or not isinstance(uri, Iterable) else list(uri)
    if not all(isinstance(place, str) for place in places):
        raise InvalidInputError(f"{uri!r} is no uri: give a text, or a list of texts")
    return places


def _carries(compiler: Compiler, key: str, value: Any) -> str:
    """Return the condition for a tag of exactly one value, which may be a list or None too."""
    if isinstance(value, (str, int, float)):
        return compiler.condition(Condition(Field("tag", key), Operator.EQ, value))
    return compiler.labelled(key, f"type = 'json' and text = {compiler.bound(as_json(value) or 'null')}")


def _limit(limit: int | None) -> str:
    if limit is None:
        return ""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit < 1 << 62:
        raise InvalidInputError(f"{limit!r:.40} is no limit: that is a number of rows from 1")
    return f" limit {limit}"

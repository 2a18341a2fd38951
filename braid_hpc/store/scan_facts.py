"""What documents of an instrument say of their scans, as rows that searches compare as they compare tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.rows import typed
from braid_hpc.store.documents import apart
from braid_hpc.store.event_documents import ROWS_AT_ONCE, THEN, canonical
from braid_hpc.store.guarded import refusal
from braid_hpc.vocabulary.event_rows import DOCUMENTS, written_keys
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    from braid_hpc.queries.fields import Field
    from braid_hpc.store.bound import Bound
    from braid_hpc.store.opened import Opened

__all__ = [
    "Described",
    "Facts",
    "documents_place",
    "read_described",
    "read_loose",
    "read_scan_documents",
    "read_some",
    "said_of",
    "unnested",
    "values_at",
]

#: Columns of facts, with their types in SQL.
_COLUMNS = {
    "scan": "varchar",
    "number": "integer",
    "type": "varchar",
    "text": "varchar",
    "integer": "hugeint",
    "real": "double",
    "boolean": "boolean",
}


@dataclass(slots=True)
class Facts:
    """Values of scans, each under the number of what was asked for; equal ones are kept once."""

    _rows: dict[tuple[Any, ...], None] = field(default_factory=dict)

    def add(self, scan: str, number: int, value: Any) -> None:
        """Keep a value.

        Parameters
        ----------
        scan : str
            Uid.
        number : int
            Of what was asked for.
        value : object
            What a document holds; None is no value.
        """
        if value is not None:
            kind, text, integer, real, boolean = typed(value if isinstance(value, (str, int, float)) else "")
            if not isinstance(value, (str, int, float)):
                kind = "json"
            self._rows[clean(scan), number, kind, clean(text), integer, real, boolean] = None

    def query(self, bound: Bound) -> str:
        """Return SQL of the rows.

        Parameters
        ----------
        bound : Bound
            Takes the values.

        Returns
        -------
        str
            With the columns ``scan`` and ``number``, and those of tags.
        """
        columns = list(zip(*self._rows, strict=True)) or [()] * len(_COLUMNS)
        return unnested(bound, dict(zip(_COLUMNS.items(), columns, strict=True)))


def unnested(bound: Bound, columns: Mapping[tuple[str, str], Iterable[Any]]) -> str:
    """Return SQL of rows that are given as columns.

    Parameters
    ----------
    bound : Bound
        Takes them.
    columns : mapping of (str, str) to iterable
        By name and type in SQL; an integer of more than 64 bits is given as text.

    Returns
    -------
    str
        A query.
    """
    parts = []
    for (name, kind), values in columns.items():
        given = f"{bound(list(values))}::{'varchar' if kind == 'hugeint' else kind}[]"
        parts.append(f"unnest({given}){'::hugeint' if kind == 'hugeint' else ''} as {name}")
    return f"select {', '.join(parts)}"


def documents_place(store: Opened) -> str | None:
    """Return the table of documents that are no rows.

    Parameters
    ----------
    store : Opened
        Open.

    Returns
    -------
    str or None
        Its name in SQL; None if there are no documents.
    """
    rows = store.sql(
        "select place from streams s where stream = ? and exists (select 1 from information_schema.columns c "
        "where c.table_schema = 'stream' and c.table_name = s.place and c.column_name = 'beside')",
        [DOCUMENTS],
    )
    return 'stream."' + str(rows["place"][0]).replace('"', '""') + '"' if len(rows) else None


def read_some(store: Opened, query: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a statement of ours, a bounded number at a time.

    Parameters
    ----------
    store : Opened
        Open.
    query : str
        SQL.
    parameters : dict of str to object
        Its values.

    Yields
    ------
    dict
        Column to value.

    Raises
    ------
    InvalidInputError, StorageError
        If the store refuses.
    """
    import duckdb

    connection = store._connected.cursor()
    try:
        for batch in connection.sql(query, params=parameters).to_arrow_reader(ROWS_AT_ONCE):
            yield from batch.to_pylist()
    except duckdb.Error as error:
        raise refusal(error) from error
    finally:
        connection.close()


def read_scan_documents(
    store: Opened, names: Iterable[str], then: dict[str, int], scans: list[str] | None = None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield documents that are no rows, each once; of several under one uid the one that ``documents`` gives.

    Parameters
    ----------
    store : Opened
        Open.
    names : iterable of str
        Kinds of documents.
    then : dict of str to int
        The moment.
    scans : list of str, optional
        Only of these.

    Yields
    ------
    name, scan : str
        Kind of document, and uid of its scan.
    document : dict
        Itself.
    """
    place = documents_place(store)
    if place is None:
        return
    mine = "" if scans is None else " and scan in (select unnest($scans::varchar[]))"
    rows = read_some(
        store,
        f"select distinct document, scan, uid, body from {place} where document in (select unnest($names::varchar[])) "
        f"and scan <> '' and {THEN}{mine} order by document, scan, uid, body",
        {"names": list(names), **then, **({} if scans is None else {"scans": [clean(scan) for scan in scans]})},
    )
    for (name, scan, uid), group in groupby(rows, key=lambda row: (row["document"], row["scan"], row["uid"])):
        bodies = [row["body"] for row in group]
        found = [each for each in map(decode_words, bodies) if type(each) is dict]
        if len(found) > 1 and type(found[0].get("uid")) is str and uid:
            found = [min(found, key=canonical)]
        for document in found:
            yield name, scan, document


@dataclass(frozen=True, slots=True)
class Described:
    """What a descriptor says of its events.

    Attributes
    ----------
    scan : str
        Uid of its run.
    stream : str
        Its name.
    keys : dict of str to str
        How data keys are written, by their form in lower case.
    external : frozenset of str
        Data keys whose values lie in files.
    """

    scan: str
    stream: str
    keys: dict[str, str]
    external: frozenset[str]


def read_described(store: Opened, then: dict[str, int], scans: list[str] | None = None) -> dict[str, Described]:
    """Return what all descriptors say of their events.

    Parameters
    ----------
    store : Opened
        Open.
    then : dict of str to int
        The moment.
    scans : list of str, optional
        Only of these.

    Returns
    -------
    dict of str to Described
        By uid of the descriptor.
    """
    found = {}
    for _, scan, document in read_scan_documents(store, ("descriptor",), then, scans):
        keys = document.get("data_keys")
        keys = keys if type(keys) is dict else {}
        external = {key for key, about in keys.items() if type(about) is dict and about.get("external") is not None}
        if type(uid := document.get("uid")) is str:
            name = document.get("name")
            found[clean(uid)] = Described(
                scan, name if type(name) is str else "", written_keys(keys), frozenset(map(str, external))
            )
    return found


def read_loose(store: Opened, descriptors: list[str], then: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Yield the events of some descriptors that were kept as documents; what came twice may come twice.

    Parameters
    ----------
    store : Opened
        Open.
    descriptors : list of str
        Uids.
    then : dict of str to int
        The moment.

    Yields
    ------
    dict
        An event with a descriptor and data.
    """
    place = documents_place(store)
    if place is None or not descriptors:
        return
    mine = set(descriptors)
    query = (
        f"select distinct document, body from {place} where document in ('event', 'event_page') "
        f"and about in (select unnest($mine::varchar[])) and {THEN}"
    )
    for row in read_some(store, query, {"mine": descriptors, **then}):
        for _, event in apart(row["document"], decode_words(row["body"])):
            if type(event) is not dict or type(event.get("data")) is not dict:
                continue
            if type(event.get("descriptor")) is str and clean(event["descriptor"]) in mine:
                yield event


def said_of(asked: Field, name: str, document: dict[str, Any]) -> Iterator[Any]:
    """Yield the values of a field in a document.

    Parameters
    ----------
    asked : Field
        One of what documents say of a scan.
    name : str
        Kind of document.
    document : dict
        Itself.

    Yields
    ------
    object
        Each value; of a list also its items.
    """
    if name in ("start", "stop"):
        if asked.name == name:
            yield from values_at(document, asked.key or "")
        return
    if asked.name == "stream":
        yield from values_at(document, "name")
    elif asked.name == "device":
        for member in ("object_keys", "configuration"):
            yield from _keys(document.get(member))
    elif asked.name == "data_key":
        yield from _keys(document.get("data_keys"))
    elif asked.name == "config":
        settings = document.get("configuration")
        for device, about in settings.items() if isinstance(settings, dict) else ():
            data = about.get("data") if isinstance(about, dict) else None
            yield from values_at({device: data}, asked.key or "")
            yield from values_at(data, asked.key or "")


def _keys(value: Any) -> Iterator[str]:
    yield from (str(key) for key in value) if isinstance(value, dict) else ()


def values_at(value: Any, key: str) -> Iterator[Any]:
    """Yield what stands under a dotted key; a dot may belong to a key, and lists are gone through.

    Parameters
    ----------
    value : object
        A document, or a part of one.
    key : str
        Such as ``sample.name``.

    Yields
    ------
    object
        Scalars, mappings, and of lists the items.

    Examples
    --------
    >>> list(values_at({"a": [{"b": 1}, {"b": [2, 3]}], "a.b": 4}, "a.b"))
    [1, [2, 3], 2, 3, 4]
    """
    if isinstance(value, dict):
        for each, inner in value.items():
            name = str(each)
            if name == key:
                yield inner
                yield from _items(inner)
            elif key.startswith(f"{name}."):
                yield from values_at(inner, key[len(name) + 1 :])
    elif _is_list(value):
        for item in _listed(value):
            yield from values_at(item, key)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) or getattr(value, "shape", ()) != ()


def _listed(value: Any) -> Iterable[Any]:
    return value.tolist() if hasattr(value, "tolist") else value  # type: ignore[no-any-return]


def _items(value: Any) -> Iterator[Any]:
    if _is_list(value):
        for item in _listed(value):
            yield item
            yield from _items(item)

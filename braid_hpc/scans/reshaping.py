"""Events with arrays taken apart into rows, and rows put together into one event with arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.fields import near
from braid_hpc.scans.derived import NUMBER, Batched, Derived, inner_names, sentence_of
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["stack", "unnest"]

_DIFFER = "arrays differ in length: "


def unnest(
    table: Batched, keys: str | Iterable[str], *, keep: Iterable[str] | None = None, index: str | None = "index"
) -> Derived:
    """Make of each row with arrays a row for each of their values.

    Parameters
    ----------
    table : Batched
        Its rows.
    keys : str or iterable of str
        Columns with arrays, which are taken apart side by side: in each row they have one length. Of arrays of several
        dimensions it is the first. Where one has no array, there is no value; where all have none, there is no row.
    keep : iterable of str, optional
        Columns whose value is repeated; without it ``seq_num`` and ``time`` where these are.
    index : str or None
        What the column is called that counts the values of each row from 0; None for no such column.

    Returns
    -------
    Derived
        The columns that are kept, the index, then `keys`; in the order of the rows and of their values.

    Raises
    ------
    InvalidInputError
        If there is no such column, or it holds no arrays; and when it is read, if the arrays of a row differ in length.

    See Also
    --------
    stack : the other way.
    """
    schema = table.schema
    keys = _known(schema, keys)
    kept = [each for each in ("seq_num", "time") if each in schema.names and each not in keys]
    kept = kept if keep is None else _known(schema, keep)
    for key in keys:
        if not _is_list(schema.field(key).type):
            raise InvalidInputError(f"column {key!r:.80} holds {schema.field(key).type}, and no arrays to take apart")
    labels = [*kept, *([] if index is None else [index]), *keys]
    if len(set(labels)) < len(labels):
        raise InvalidInputError(f"a column would be twice in the result: {', '.join(labels)}")
    inner = inner_names(schema)
    lengths = [f"len({inner[key]})" for key in keys]
    longest = f"greatest({', '.join(lengths)})"
    differ = " or ".join(f"{length} <> {longest}" for length in lengths)
    numbered = "seq_num" in schema.names and "seq_num" not in keys
    which = f"' values in seq_num ' || {inner['seq_num']}" if numbered else f"' values in row ' || {quoted(NUMBER)}"
    has = [
        _literal(f"{key} has ") + f" || coalesce({n}::varchar, 'none')" for key, n in zip(keys, lengths, strict=True)
    ]
    said = " || ', ' || ".join(has)
    check = f"case when {differ} then error({_literal(_DIFFER)} || {said} || {which}) else true end"
    parts = [f"{inner[each]} as k{at}" for at, each in enumerate(kept)]
    parts.append(f"unnest(range(coalesce({longest}, 0))) as n")
    parts += [f"unnest({inner[key]}) as v{at}" for at, key in enumerate(keys)]
    listed = [f"k{at}" for at in range(len(kept))] + ([] if index is None else ["n"])
    listed += [f"v{at}" for at in range(len(keys))]
    query = (
        f"select {', '.join(listed)} from "
        f"(select {quoted(NUMBER)}, {', '.join(parts)} from tbl where {check}) order by {quoted(NUMBER)}, n"
    )
    about = {name: schema.field(name).metadata for name in [*kept, *keys]}
    return Derived({"tbl": table}, query, labels, about=about, refused=sentence_of(_DIFFER))


def stack(
    table: Batched, keys: str | Iterable[str] | None = None, *, by: str | Iterable[str] = (), order: str = "seq_num"
) -> Derived:
    """Make of rows one row with arrays, or one for each value of other columns.

    Parameters
    ----------
    table : Batched
        Its rows.
    keys : str or iterable of str, optional
        Columns that become arrays; without it all others.
    by : str or iterable of str
        Columns that rows of one result have in common.
    order : str
        The column by which values are ordered; among equal ones, and where there is no such column, rows stay in their
        order.

    Returns
    -------
    Derived
        `by`, then an array for each of `keys`; no row if there are none.

    Raises
    ------
    InvalidInputError
        If there is no such column.

    See Also
    --------
    unnest : the other way.
    """
    schema = table.schema
    groups = _known(schema, by)
    chosen = [name for name in schema.names if name not in groups] if keys is None else _known(schema, keys)
    if twice := set(chosen) & set(groups):
        raise InvalidInputError(f"column {min(twice)!r:.80} is to be an array, and what its rows have in common")
    if not groups and not chosen:
        raise InvalidInputError("no column is to be put together: name one")
    inner = inner_names(schema)
    ordered = f"{inner[order]}, {quoted(NUMBER)}" if order in schema.names else quoted(NUMBER)
    parts = [inner[each] for each in groups]
    parts += [f"list({inner[each]} order by {ordered})" for each in chosen]
    grouped = f"group by {', '.join(parts[: len(groups)])} " if groups else ""
    query = f"select {', '.join(parts)} from tbl {grouped}having count(*) > 0 order by min({quoted(NUMBER)})"
    about = {name: schema.field(name).metadata for name in [*groups, *chosen]}
    return Derived({"tbl": table}, query, [*groups, *chosen], about=about)


def _known(schema: pa.Schema, names: str | Iterable[str]) -> list[str]:
    chosen = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    for name in chosen:
        if name not in schema.names:
            raise InvalidInputError(f"there is no column {name!r:.80}{near(str(name), schema.names)}")
    return chosen


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

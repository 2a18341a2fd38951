"""Sets of rows and records: which there are, what is in one, and in which something is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.run.tables import declared_table
from braid_hpc.vocabulary.errors import ConflictError, NotFoundError
from braid_hpc.vocabulary.sets import RECORD

if TYPE_CHECKING:
    from braid_hpc.store.store import Store
    from braid_hpc.store.tables import Table

__all__ = ["find_sets", "members_of", "sets_with"]

_NOW = "(from set_rows where snapshot <= $at qualify snapshot = max(snapshot) over (partition by label, run))"


def find_sets(store: Store, at: int | None = None) -> Table:
    """Return the sets of a store.

    Parameters
    ----------
    store : Store
        The store.
    at : int, optional
        A snapshot number.

    Returns
    -------
    Table
        ``digest``, ``members`` (how many), ``labels`` (the one that was there first comes first) and ``runs``.
    """
    return store._asked(
        "select digest, any_value(members) as members, list(label order by first, label) as labels, "
        "sum(runs)::bigint as runs from ("
        f"select digest, label, any_value(members) as members, min(snapshot) as first, count(*) as runs from {_NOW} "
        "group by digest, label) group by digest order by min(first), labels",
        {"at": store._at(at)},
    )


def members_of(store: Store, label: str, at: int | None = None) -> Table:
    """Return what is in a set.

    Parameters
    ----------
    store : Store
        The store.
    label : str
        What it is called, or its digest.
    at : int, optional
        A snapshot number.

    Returns
    -------
    Table
        ``table`` and ``member``, in order; of a record its global id, and ``:record`` for the table.

    Raises
    ------
    NotFoundError
        If there is no such set.
    ConflictError
        If runs have given the label to different sets: name one by its digest.
    """
    then = {"at": store._at(at), "label": label}
    found = store._asked(
        f"select digest, min(label) as label, min(run) as run from {_NOW} where label = $label or digest = $label "
        "group by digest order by digest",
        then,
    )
    if not len(found):
        raise NotFoundError(f"there is no set {label!r} in {store.path.name}; store.sets() has them")
    if len(found) > 1:
        known = ", ".join(found["digest"])
        raise ConflictError(f"{label} is {len(found)} sets: name one by its digest: {known}")
    which = found.to_pylist()[0]
    return store._asked(
        'select distinct "table", member from member_rows where label = $label and run = $run and snapshot <= $at '
        "order by all",
        {"at": then["at"], "label": which["label"], "run": which["run"]},
    )


def sets_with(store: Store, thing: Any, at: int | None = None) -> Table:
    """Return the sets that something is in.

    Parameters
    ----------
    store : Store
        The store.
    thing : object or str
        An instance of a declared table, or a reference to a record.
    at : int, optional
        A snapshot number.

    Returns
    -------
    Table
        As from :func:`find_sets`.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        If there is no such record, or the instance is of no declared table.
    """
    if isinstance(thing, str):
        table, member = RECORD, store.get(thing, at=at).uid
    else:
        declared = declared_table(thing)
        table, member = declared.name, declared.name_of(thing)
    then = {"at": store._at(at), "table": table, "member": member}
    found = store._asked(
        f'select distinct s.digest from {_NOW} s join member_rows m using (label, run) where m."table" = $table '
        "and m.member = $member and m.snapshot <= $at",
        then,
    )["digest"]
    every = find_sets(store, at)
    import pyarrow as pa
    import pyarrow.compute as pc

    from braid_hpc.store.tables import Table

    data = every.to_arrow()
    return Table(data.filter(pc.is_in(data["digest"], pa.array(found, pa.string()))))

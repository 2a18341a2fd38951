"""Tags as what they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["tags_of", "typed"]


def tags_of(store: Opened, ids: list[int], *, at: int | None = None, as_of: Any = None) -> dict[int, dict[str, Any]]:
    """Return the tags of some nodes, each value as what it was.

    Parameters
    ----------
    store : Opened
        Open.
    ids : list of int
        Dense ids.
    at : int, optional
        A snapshot number: what the store knew then.
    as_of : datetime, str or int, optional
        A time: what had been tagged by then.

    Returns
    -------
    dict of int to dict
        Key to str, int, float or bool; to a list of these where a key was given several values.

    Raises
    ------
    InvalidInputError
        If there is no such snapshot, or nothing can be asked as of that time.
    """
    from braid_hpc.store.annotations import current_tags
    from braid_hpc.store.bound import Bound

    bound = Bound()
    rows = store._rows(
        f"select distinct id, key, type, text from ({current_tags(store, bound)}) "
        "where id in (select unnest($ids::bigint[])) order by id, key, text",
        {**bound.values, "ids": ids, **store._then(at, as_of)},
    )
    found: dict[int, dict[str, list[Any]]] = {}
    for row in rows:
        found.setdefault(row["id"], {}).setdefault(row["key"], []).append(typed(row["type"], row["text"]))
    # What was said twice, and differently, is there with both.
    return {
        node: {key: given[0] if len(given) == 1 else given for key, given in values.items()}
        for node, values in found.items()
    }


def typed(kind: str, text: str) -> Any:
    """Return the value of a tag as what it was.

    Parameters
    ----------
    kind : str
        Column ``type`` of the view ``tags``.
    text : str
        Its column ``text``.

    Returns
    -------
    object
        str, int, float, bool, or what JSON holds.
    """
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        return text == "true"
    return json.loads(text) if kind == "json" else text

"""The states of models: which arrays each consists of, once for each content."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from braid_hpc.compaction.rows import BIGINT, TEXT, Rows
from braid_hpc.vocabulary.payloads import Declaration

__all__ = ["write_states"]

_COLUMNS = (
    ("state", TEXT),
    ("tensor", TEXT),
    ("digest", TEXT),
    ("dtype", TEXT),
    ("shape", pa.list_(BIGINT)),
    ("bytes", BIGINT),
)


def write_states(out: Rows, declared: Iterable[Declaration]) -> None:
    """Write the rows of ``state_rows`` for the contents that have none yet.

    Parameters
    ----------
    out : Rows
        Of the commit.
    declared : iterable of Declaration
        All that is new, or a slice of it.
    """
    found = {about.digest: about for about in declared if about.digest and (about.state is not None or about.kept)}
    if not found:
        return
    asked = pa.table({"digest": pa.array(sorted(found))})
    query = "select distinct state from state_rows join braid_incoming on state = braid_incoming.digest"
    for (known,) in out.ask(query, asked):
        del found[known]
    out.rows("state_rows", _COLUMNS, [row for digest in sorted(found) for row in _rows(digest, found[digest])])


def _rows(state: str, about: Declaration) -> list[tuple[Any, ...]]:
    if about.state is None:
        # Bytes, which are one array without a name.
        return [(state, None, about.kept, "|u1", [about.size], about.size)]
    rows = [(state, each.name, each.digest, each.dtype, each.shape, each.size) for each in about.state]
    # A state without arrays is one all the same.
    return rows or [(state, None, None, None, None, None)]

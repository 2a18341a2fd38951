"""References in text that meant nothing to any of several stores, tried again on what all of them hold."""

from __future__ import annotations

import json
from typing import Any

from braid_hpc.compaction.known import look_up
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import parse_reference

__all__ = ["retry_links"]


def retry_links(connection: Any, snapshot: int) -> int:
    """Write the edges of links in text that name something now.

    A link means what was there when its run began; an id means that one, and it must have been there when the link was
    said, so that no edge goes to what came later. Numbers mean nothing: they are another store's.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on the file, within a transaction.
    snapshot : int
        The newest snapshot, which the edges are written to.

    Returns
    -------
    int
        How many edges were written.
    """
    rows = connection.execute(
        "select u.child, u.said, u.relation, u.writer, u.sequence, epoch_ns(u.time), w.header "
        "from unresolved_links u join writers w using (writer) where not exists ("
        "from edge_rows e where e.writer = u.writer and e.sequence = u.sequence and e.said = u.said) order by all"
    ).fetchall()
    written = 0
    for child, said, relation, writer, sequence, time, header in rows:
        try:
            reference = parse_reference(said)
        except InvalidInputError:
            # Which was said when its log was taken.
            continue
        if reference.version is not None:
            continue
        begin = int((json.loads(header).get("clock") or {}).get("utc_ns", 0))
        uid = look_up(connection, reference, begin, snapshot + 1)
        if uid is None:
            continue
        inserted = connection.execute(
            "insert into edge_rows select ?, v.id, ?, ?, ?, ?, make_timestamp_ns(?), ? from version_rows v "
            "where v.uid = ? and v.id <> ? and coalesce("
            "(select epoch_ns(min(o.time)) from occurrences o where o.id = v.id) <= ?, true) returning 1",
            [child, relation, writer, sequence, said, time, snapshot, uid, child, time],
        ).fetchall()
        written += len(inserted)
    return written

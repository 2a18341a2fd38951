"""Scans of an instrument as a table: what their start and stop say, and how many events of them there are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from braid_hpc.store.bound import Bound
from braid_hpc.store.event_documents import THEN, event_tables
from braid_hpc.store.scan_facts import read_described, read_loose, read_scan_documents, unnested
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.texts import clean

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["list_scans"]


def list_scans(store: Opened, scans: list[str], then: dict[str, int], limit: int | None) -> Table:
    """Return what is to be said of some scans.

    Parameters
    ----------
    store : Opened
        Open.
    scans : list of str
        Uids.
    then : dict of str to int
        The moment.
    limit : int or None
        How many at most.

    Returns
    -------
    Table
        As :meth:`braid_hpc.Store.find_scans`.
    """
    import pyarrow as pa

    rows: dict[str, dict[str, Any]] = {
        scan: dict.fromkeys(("scan_id", "plan", "time", "exit_status")) | {"uid": scan} for scan in scans
    }
    for name, scan, document in read_scan_documents(store, ("start", "stop"), then, scans) if scans else ():
        row = rows[scan]
        if name == "stop":
            row["exit_status"] = _text(document.get("exit_status"))
        else:
            number = document.get("scan_id")
            row["scan_id"] = number if type(number) is int and abs(number) < 1 << 63 else None
            row["plan"], row["time"] = _text(document.get("plan_name")), _nanoseconds(document.get("time"))
    chosen = sorted(rows.values(), key=lambda row: (row["time"] is None, row["time"] or 0, row["uid"]))[:limit]
    counts = _counts(store, [row["uid"] for row in chosen], then)
    for row in chosen:
        mine = counts.get(row["uid"], {})
        row["streams"], row["rows"] = sorted(mine), [mine[name] for name in sorted(mine)]
    schema = pa.schema(
        {
            "uid": pa.string(),
            "scan_id": pa.int64(),
            "plan": pa.string(),
            "time": pa.timestamp("ns"),
            "exit_status": pa.string(),
            "streams": pa.list_(pa.string()),
            "rows": pa.list_(pa.int64()),
        }.items()
    )
    return Table(pa.Table.from_pylist(chosen, schema))


def _counts(store: Opened, scans: list[str], then: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return the events of each stream of some scans, each counted once."""
    described = read_described(store, then, scans) if scans else {}
    found: dict[str, dict[str, int]] = {}
    for each in described.values():
        found.setdefault(each.scan, {}).setdefault(each.stream, 0)
    if not described:
        return found
    bound = Bound()
    about = unnested(
        bound,
        {
            ("descriptor", "varchar"): list(described),
            ("scan", "varchar"): [clean(each.scan) for each in described.values()],
            ("stream", "varchar"): [clean(each.stream) for each in described.values()],
        },
    )
    loose: dict[tuple[str, str], list[Any]] = {name: [] for name in _LOOSE}
    for event in read_loose(store, list(described), then):
        time, number, uid = (event.get(member) for member in ("time", "seq_num", "uid"))
        loose["descriptor", "varchar"].append(clean(event["descriptor"]))
        loose["time", "double"].append(float(time) if isinstance(time, (int, float)) else None)
        loose["seq_num", "bigint"].append(number if type(number) is int and abs(number) < 1 << 63 else None)
        loose["uid", "varchar"].append(clean(uid) if type(uid) is str else None)
    parts = [unnested(bound, loose)]
    parts += [f"select descriptor, time, seq_num, uid from {each.place} where {THEN}" for each in event_tables(store)]
    counted = store.sql(
        f"with d as ({about}) select d.scan, d.stream, count(distinct (e.time, e.seq_num, e.uid)) as n "
        f"from ({' union all '.join(parts)}) e join d using (descriptor) group by all",
        {**bound.values, **(then if len(parts) > 1 else {})},
    )
    for row in counted:
        found[row["scan"]][row["stream"]] = row["n"]
    return found


_LOOSE = {("descriptor", "varchar"): 0, ("time", "double"): 0, ("seq_num", "bigint"): 0, ("uid", "varchar"): 0}


def _text(value: Any) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _nanoseconds(value: Any) -> int | None:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) >= 9.2e9:
        return None
    # A double holds microseconds of today, and no more.
    return round(value * 1e6) * 1000

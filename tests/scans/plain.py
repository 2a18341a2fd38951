"""What a table of a stream has to be, in plain Python over the documents."""

from __future__ import annotations

import math
from typing import Any

from braid_hpc.scans.scan import Scan
from braid_hpc.scans.stream_table import StreamTable

Row = dict[str, Any]


def events_of(scan: Scan, stream: str) -> list[Row]:
    """Give the events of a stream, each once, in the order of their numbers."""
    descriptors = {each["uid"] for each in scan.descriptors if each.get("name") == stream}
    found = [each for name, each in scan.documents() if name == "event" and each.get("descriptor") in descriptors]

    def order(event: Row) -> Any:
        number, time, uid = event.get("seq_num"), event.get("time"), event.get("uid")
        good = type(time) in (int, float)
        return (
            number if type(number) is int else -(1 << 63) - 1,
            -math.inf if not good else (math.inf if time != time else float(time)),  # type: ignore[arg-type]
            uid if type(uid) is str else "",
        )

    return sorted(found, key=order)


def equal(one: Any, other: Any) -> bool:
    """Whether a value of a table is that of an event: numbers by value, arrays and tuples as lists."""
    one, other = (each.tolist() if hasattr(each, "dtype") else each for each in (one, other))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, float):
        return (one == other and math.copysign(1, one) == math.copysign(1, other)) or (one != one and other != other)
    return bool(one == other) or (type(one) is type(other) and repr(one) == repr(other))


def column_values(table: StreamTable, rows: list[Row], item: tuple[str, Any]) -> list[Any]:
    """Give the values of a data key, each of which stands in one of its columns."""
    names = [column.name for column in table._columns if column.item == item]
    assert names, item
    found = []
    for row in rows:
        there = [row[each] for each in names if row[each] is not None]
        assert len(there) <= 1, (item, row)
        found.append(there[0] if there else None)
    return found


def check_stream(scan: Scan, stream: str) -> None:
    """Hold that a stream's table says what its documents say: every event once, every field."""
    events = events_of(scan, stream)
    table = scan.table(stream, timestamps=True)
    rows = table.to_pylist()
    assert len(rows) == len(events) == table.count() == scan.streams[stream]
    assert [row["seq_num"] for row in rows] == [
        number if type(number := event.get("seq_num")) is int and -(1 << 63) <= number < 1 << 63 else None
        for event in events
    ]
    for row, event in zip(rows, events, strict=True):
        time = event.get("time")
        assert equal(row["time"], float(time) if type(time) is int else time if type(time) is float else None)
    keys = {key for event in events for key in event.get("data") or {}}
    for key in keys:
        expected = [(event.get("data") or {}).get(key) for event in events]
        got = column_values(table, rows, ("data", key))
        assert all(map(equal, got, expected)), (key, got, expected)
        name = next(column.name for column in table._columns if column.item == ("data", key))
        alone = scan.table(stream, columns=[name])
        assert len(alone.columns) == sum(column.item == ("data", key) for column in table._columns)
        got = column_values(alone, alone.to_pylist(), ("data", key))
        assert all(map(equal, got, expected)), (key, got, expected)
        stamps = [(event.get("timestamps") or {}).get(key) for event in events]
        assert all(map(equal, column_values(table, rows, ("timestamps", key)), stamps)), (key, stamps)


def check_scan(scan: Scan) -> None:
    """Hold it of all of its streams."""
    names = {each["name"] for each in scan.descriptors}
    assert set(scan.streams) == names
    for name in names:
        check_stream(scan, name)

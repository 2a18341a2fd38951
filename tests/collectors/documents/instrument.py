"""Documents of an instrument that does not exist, an oracle that puts them together, and a strict comparison."""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.store.documents import Documents
from braid_hpc.store.store import Store
from tests.jobs import Job, made, one

Pair = tuple[str, dict[str, Any]]

_NUMBERS = itertools.count(1)


def uid(what: str = "u") -> str:
    """Give a uid that was not given before."""
    return f"{what}-{next(_NUMBERS):08d}-{random.Random(next(_NUMBERS)).getrandbits(64):016x}"


def start(**members: Any) -> Pair:
    return "start", {"uid": uid("scan"), "time": 1.0, **members}


def stop(of: Pair, counts: dict[str, int] | None = None, **members: Any) -> Pair:
    about = {"uid": uid("stop"), "time": 9e9, "exit_status": "success", "reason": "", "num_events": counts or {}}
    return "stop", {**about, "run_start": of[1]["uid"], **members}


def key(dtype: str = "number", shape: Iterable[int] = (), **members: Any) -> dict[str, Any]:
    return {"source": "SIM", "dtype": dtype, "shape": list(shape), **members}


def descriptor(of: Pair, keys: dict[str, Any], name: str = "primary", **members: Any) -> Pair:
    about = {"uid": uid("desc"), "time": 2.0, "name": name, "object_keys": {"dev": list(keys)}, "hints": {}}
    return "descriptor", {**about, "configuration": {}, "data_keys": keys, "run_start": of[1]["uid"], **members}


def event(of: Pair, number: int, data: dict[str, Any], **members: Any) -> Pair:
    stamps = dict.fromkeys(data, 3.0 + number / 7)
    about = {"uid": uid("event"), "time": 3.0 + number, "seq_num": number, "filled": {}, "data": data}
    return "event", {**about, "timestamps": stamps, "descriptor": of[1]["uid"], **members}


def page(events: list[Pair]) -> Pair:
    """Pack events of one descriptor."""
    documents = [document for _, document in events]
    first = documents[0]
    lists = {name: [each[name] for each in documents] for name in ("seq_num", "time", "uid")}
    inner = {
        name: {each: [document[name][each] for document in documents] for each in first[name]}
        for name in ("data", "timestamps", "filled")
    }
    return "event_page", {**lists, "descriptor": first["descriptor"], **inner}


def scan(count: int = 3, *, streams: tuple[str, ...] = ("primary",), stopped: bool = True) -> list[Pair]:
    """Give a run with two keys in each stream."""
    first = start(scan_id=count, plan_name="scan", sample={"name": "Ni", "mass": 1.5})
    documents = [first]
    for name in streams:
        of = descriptor(first, {"det": key(), "n": key("integer")}, name)
        documents += [of, *(event(of, n, {"det": n / 3, "n": n}) for n in range(1, count + 1))]
    return [*documents, stop(first, dict.fromkeys(streams, count))] if stopped else documents


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, of one type, NaN included; members of mappings in any order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[each], other[each]) for each in one)
    if hasattr(one, "dtype") and hasattr(one, "tolist") and getattr(one, "shape", ()) != ():
        return one.dtype == other.dtype and one.shape == other.shape and same(one.tolist(), other.tolist())
    if hasattr(one, "dtype"):
        one = one.item()
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return (one == other and math.copysign(1, one) == math.copysign(1, other)) or (one != one and other != other)
    return bool(one == other)


def unpacked(documents: Iterable[Pair]) -> list[Pair]:
    """Give the documents with those in pages one by one, by event-model's own functions."""
    import event_model

    found: list[Pair] = []
    for name, document in documents:
        if name == "event_page":
            found += [("event", each) for each in event_model.unpack_event_page(document)]
        elif name == "datum_page":
            found += [("datum", each) for each in event_model.unpack_datum_page(document)]
        elif name == "bulk_events":
            found += [("event", each) for events in document.values() for each in events]
        elif name == "bulk_datum":
            pairs = zip(document["datum_ids"], document["datum_kwarg_list"], strict=True)
            about = {"resource": document["resource"]}
            found += [("datum", {"datum_id": one, "datum_kwargs": other, **about}) for one, other in pairs]
        else:
            found.append((name, document))
    return found


def identity(name: str, document: dict[str, Any]) -> tuple[str, str]:
    return name, document["datum_id" if name == "datum" else "uid"]


def folded(documents: Iterable[Pair], scan_uid: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Put a run together in the plain way: what belongs to it by name and uid, whatever the order."""
    every = {identity(*pair): pair[1] for pair in unpacked(documents)}

    def of(name: str, member: str, owners: set[str]) -> dict[tuple[str, str], dict[str, Any]]:
        return {k: d for k, d in every.items() if k[0] == name and d.get(member) in owners}

    mine = {("start", scan_uid): every[("start", scan_uid)]} if ("start", scan_uid) in every else {}
    for name in ("stop", "descriptor", "resource", "stream_resource"):
        mine |= of(name, "run_start", {scan_uid})
    descriptors = {k[1] for k in mine if k[0] == "descriptor"}
    mine |= of("event", "descriptor", descriptors) | of("stream_datum", "descriptor", descriptors)
    return mine | of("datum", "resource", {k[1] for k in mine if k[0] == "resource"})


def lacking(mine: dict[tuple[str, str], dict[str, Any]]) -> dict[str, set[int]]:
    """Give the sequence numbers that are missing in each stream, counting one by one."""
    names = {k[1]: d["name"] for k, d in mine.items() if k[0] == "descriptor"}
    seen: dict[str, set[int]] = defaultdict(set, {name: set() for name in names.values()})
    for (name, _), document in mine.items():
        if name == "event":
            seen[names[document["descriptor"]]].add(document["seq_num"])
    stops = [d for k, d in mine.items() if k[0] == "stop"]
    counts = stops[0]["num_events"] if stops else {}
    every = {name: set(range(1, counts.get(name, max(seen[name], default=0)) + 1)) for name in {*seen, *counts}}
    return {name: left for name, numbers in every.items() if (left := numbers - seen[name])}


def check(found: Documents, expected: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Hold that a run came back word for word, each document once, and that it says what is missing."""
    documents = list(found)
    back = {identity(*pair): pair[1] for pair in documents}
    assert len(back) == len(documents)
    assert back.keys() == expected.keys()
    for each, document in expected.items():
        assert same(document, back[each]), (each, document, back[each])
    said = {
        gap.name: {n for first, last in gap.numbers for n in range(first, last + 1)}
        for gap in found.missing
        if gap.what == "event"
    }
    assert said == lacking(expected)
    assert ("stop" in {each.what for each in found.missing}) == (not any(k[0] == "stop" for k in expected))
    assert ("start" in {each.what for each in found.missing}) == (not any(k[0] == "start" for k in expected))
    assert not found.conflicts


def record(logs: Path, documents: Iterable[Pair]) -> DocumentCollector:
    """Give documents to a collector of a run of its own."""
    with one(logs) as job:
        return deliver(job, 0, documents)


def deliver(job: Job, rank: int, documents: Iterable[Pair]) -> DocumentCollector:
    with DocumentCollector(job[rank]) as collect:
        for name, document in documents:
            collect(name, document)
    assert not collect.losses.counts.keys() - {"not whole", "not a document"}
    return collect


def stored(folder: Path, documents: Iterable[Pair]) -> Store:
    """Record documents, and open the store that is made of them."""
    record(folder / "logs", documents)
    return made(folder / "logs", folder / "prov.duckdb")

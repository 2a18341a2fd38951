"""The order of documents: as a RunEngine said them, each behind what it refers to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bluesky.plans as bp
import event_model
import pytest
from event_model import DocumentNames, schema_validators
from hypothesis import given
from hypothesis import strategies as st
from ophyd.sim import det, direct_img, img, motor, motor1, motor2

from braid_hpc.exports.emitted import Pair, emitted
from braid_hpc.exports.pages import paged
from braid_hpc.exports.replaying import export_documents
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.collectors.documents.instrument import descriptor, event, key, same, scan, start, stop, unpacked
from tests.collectors.documents.test_bluesky import failing, nested, nothing, reconfigured, run_plans, two_streams

PLANS = [
    lambda: bp.scan([det, direct_img], motor, -1, 1, 3),
    lambda: bp.grid_scan([det], motor1, 0, 1, 2, motor2, 0, 1, 2, snake_axes=False),
    lambda: bp.count([img], 2),
    *(nothing, failing, reconfigured, two_streams),
]


def test_it_is_the_order_of_a_run_engine(tmp_path: Path) -> None:
    """Files, several streams and descriptors, empty and failing runs: what comes is what came, document by document."""
    seen, store = run_plans(tmp_path, *PLANS, nested)
    with store:
        runs = split(seen)
        assert len(runs) == len(PLANS) + 2
        for uid, said in runs.items():
            found = list(export_documents(store.documents(uid)))
            assert [(name, ident(document)) for name, document in found] == [
                (name, ident(document)) for name, document in said
            ]
            for one, other in zip(found, said, strict=True):
                assert same(other[1], one[1]), (one, other)


def split(seen: list[Pair]) -> dict[str, list[Pair]]:
    """Give the documents of each run in the order in which they came, pages apart."""
    runs: dict[str, list[Pair]] = {}
    owner: dict[str, str] = {}
    for name, document in unpacked(seen):
        if name == "start":
            uid = document["uid"]
            runs[uid] = []
        else:
            uid = document.get("run_start") or owner[document.get("resource") or document["descriptor"]]
        if "uid" in document:
            owner[document["uid"]] = uid
        runs[uid].append((name, document))
    return runs


def ident(document: dict[str, Any]) -> Any:
    return document.get("uid") or document["datum_id"]


def behind(documents: list[Pair]) -> None:
    """Each document comes behind all that it names."""
    there: set[Any] = set()
    for name, document in documents:
        for member in ("run_start", "descriptor", "resource", "stream_resource"):
            assert document.get(member) is None or document[member] in there, (name, document)
        if name == "event":
            assert {v for v in document["data"].values() if type(v) is str and v.startswith("r/")} <= there
        assert name == "start" or there
        there.add(ident(document))
    assert "stop" not in [name for name, _ in documents[:-1]]


def with_files(count: int, streams: int = 2) -> list[Pair]:
    """Give a run with datums in one stream, and stream datums in another one."""
    first = start()
    keys = {"img": key("array", [2], external="FILESTORE:"), "x": key()}
    one = descriptor(first, keys, time=2.5)
    other = descriptor(first, {"cam": key("array", [2], external="STREAM:")}, "cam", time=4.5)
    about = {"spec": "npy", "root": "/", "resource_path": "a", "resource_kwargs": {}, "path_semantics": "posix"}
    resources: list[Pair] = [("resource", {"uid": f"r{n}", "run_start": first[1]["uid"], **about}) for n in range(2)]
    datums: list[Pair] = [
        ("datum", {"datum_id": f"r/{n}", "resource": f"r{n % 2}", "datum_kwargs": {"at": n}}) for n in range(count + 1)
    ]
    files: list[Pair] = [
        ("stream_resource", {"uid": "s", "run_start": first[1]["uid"], "data_key": "cam", "mimetype": "x", "uri": "x"})
    ]
    files += [
        (
            "stream_datum",
            {
                "uid": f"s/{n}",
                "stream_resource": "s",
                "descriptor": other[1]["uid"],
                "indices": {"start": n, "stop": n + 2},
                "seq_nums": {"start": n + 1, "stop": n + 3},
            },
        )
        for n in range(0, count, 2)
    ]
    events = [event(one, n, {"img": f"r/{n - 1}", "x": n / 2}) for n in range(1, count + 1)]
    others = [event(other, n, {}) for n in range(1, count + 1)]
    mixed = [each for pair in zip(events, others, strict=True) for each in pair]
    return [first, one, other, *resources, *datums, *files, *mixed, stop(first)]


@given(st.randoms(use_true_random=False), st.integers(0, 7))
def test_nothing_is_lost_and_all_stand_behind_what_they_name(random: Any, count: int) -> None:
    """Whatever the order among the documents that are no events."""
    documents = with_files(count)
    early = [pair for pair in documents if pair[0] not in ("start", "event", "stop")]
    random.shuffle(early)
    given = [documents[0], *early, *(pair for pair in documents if pair[0] in ("event", "stop"))]
    found = list(emitted(given))
    behind(found)
    assert sorted(map(repr, found)) == sorted(map(repr, documents))
    # It is an order already.
    assert list(emitted(found)) == found


def test_files_come_right_before_what_uses_them() -> None:
    """And what nothing uses before the stop."""
    said = [
        f"{name} {ident(document)}".split(" ")[0 if name in ("start", "stop", "event") else 1]
        for name, document in emitted(with_files(3))
    ]
    names = [each.partition("-")[0] for each in said]
    assert names == [
        *("start", "desc", "r0", "r/0", "event", "desc", "s", "s/0", "event", "r1", "r/1", "event", "event"),
        *("r/2", "event", "s/2", "event", "r/3", "stop"),
    ]


@pytest.mark.parametrize("odd", [None, "x", float("nan"), 10**400, True, [1]])
def test_times_and_names_that_are_none(odd: Any) -> None:
    """Documents that say nothing that they could be put in order by are given all the same, each once."""
    documents = with_files(2)
    for _, document in documents[1:]:
        document["time"] = odd
    documents[3][1]["uid"] = odd
    found = list(emitted(documents))
    assert sorted(map(repr, found)) == sorted(map(repr, documents))


@given(st.integers(1, 5))
def test_pages_hold_what_the_events_say(size: int) -> None:
    """Taken apart by event-model's own functions they are the documents again, and all are valid."""
    documents = list(emitted([*scan(7, streams=("primary", "dark"))]))
    found = list(paged(documents, size))
    assert unpacked(found) == documents
    assert max(len(document["uid"]) for name, document in found if name == "event_page") == min(size, 7)
    for name, document in found:
        schema_validators[DocumentNames[name]].validate(document)
    files = list(emitted(with_files(5)))
    assert unpacked(paged(files, size)) == files


def test_an_event_that_no_page_can_hold_stands_alone() -> None:
    """One with members of its own, and one with other keys."""
    first = start()
    of = descriptor(first, {"a": key()})
    events = [event(of, 1, {"a": 1.0}), event(of, 2, {"a": 2.0}, labels=["x"]), event(of, 3, {}), event(of, 4, {})]
    found = list(paged([first, of, *events], 10))
    assert [name for name, _ in found] == ["start", "descriptor", "event_page", "event", "event_page"]
    assert unpacked(found) == [first, of, *events]
    assert [len(list(event_model.unpack_event_page(document))) for name, document in found if "page" in name] == [1, 2]


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "3"])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(InvalidInputError, match="is no size of a page"):
        export_documents(scan(), pages=size)


def test_what_a_consumer_changes_stays_with_it(tmp_path: Path) -> None:
    """Documents that are held are given whole the next time."""
    from tests.collectors.documents.instrument import stored

    with stored(tmp_path, scan(2)) as store:
        found = store.documents(store.sql("select scan from stream.bluesky")["scan"][0])
        first = [(name, dict(document)) for name, document in export_documents(found)]
        for _, document in export_documents(found):
            for value in document.values():
                if isinstance(value, dict):
                    value.clear()
            document.clear()
        assert [(name, dict(document)) for name, document in export_documents(found)] == first

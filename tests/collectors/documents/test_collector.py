"""The collector in a program: what it makes of the graph, what it does with what is wrong, and what it holds."""

from __future__ import annotations

import copy
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.collectors.documents import collector as collector_module
from braid_hpc.collectors.testing import CollectorContract
from braid_hpc.vocabulary.verbatim import Unkept
from tests.collectors.documents.instrument import (
    Pair,
    check,
    deliver,
    descriptor,
    event,
    folded,
    key,
    page,
    record,
    scan,
    start,
    stop,
    stored,
)
from tests.jobs import Job, edges_of, made, one, rows


class TestContract(CollectorContract):
    module = "braid_hpc.collectors.documents"
    heavy = (*CollectorContract.heavy, "event_model", "ophyd", "numpy", "jsonschema")

    def make(self, run: Any) -> DocumentCollector:
        return DocumentCollector(run)

    def feed(self, collector: Any, items: int) -> None:
        for number in range(items):
            collector("event", event(("descriptor", {"uid": "d"}), number, {"x": 0.5})[1])

    def spoil(self, collector: Any) -> None:
        collector("event", {"uid": "none", "data": None})

    def misuse(self, collector: Any) -> None:
        collector("event", [1])

    def recorded(self, store: Any) -> int:
        return len(store.sql('select * from stream."bluesky/"'))


def test_a_run_is_an_activity_with_its_settings_and_files(tmp_path: Path) -> None:
    """Equal settings are one version over runs; the scan's tags are its scalar fields."""
    (tmp_path / "f.h5").write_bytes(b"1")
    about: dict[str, Any] = {
        "detector": {"data": {"gain": 10}, "timestamps": {"gain": 1.0}, "data_keys": {"gain": key("integer")}}
    }
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        for gain in (10, 10, 20):
            first = start(scan_id=gain, sample={"name": "Ni"}, hints={"dimensions": [("time",)]})
            about = copy.deepcopy(about)
            about["detector"]["data"]["gain"] = gain
            about["detector"]["timestamps"]["gain"] += 1.0
            collect(*first)
            collect(*descriptor(first, {"x": key()}, configuration=about))
            resource = {"uid": f"r{gain}", "spec": "H5", "root": str(tmp_path), "resource_path": "f.h5"}
            collect("resource", {**resource, "resource_kwargs": {}, "run_start": first[1]["uid"]})
            collect(*stop(first, {"primary": 0}))
        last = first[1]["uid"]
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
        assert rows(store, "select version, value from versions where kind = 'config' order by 1") == [
            (1, '{"gain": 10}'),
            (2, '{"gain": 20}'),
        ]
        assert len(rows(store, "select * from activities where status = 'ok' and starts_with(name, 'scan:')")) == 3
        used = edges_of(store, "used")
        assert (f"activity:scan:{last}@1", f"scan:{last}@1") in used
        assert (f"activity:scan:{last}@1", "config:detector@2") in used
        tags = dict(rows(store, "select key, text from tags t join versions v using (id) where v.name = ?", last))
        assert tags["sample.name"] == "Ni"
        assert tags["scan_id"] == "20"
        (uri,) = {uri for (uri,) in rows(store, "select uri from uris")}
        assert uri == f"file://{tmp_path}/f.h5"
        assert [each.name for each in store.lineage(f"file:{uri}").nodes if each.kind == "scan"]


def test_the_end_may_come_before_the_beginning(tmp_path: Path) -> None:
    """The activity is there, has ended, and uses the settings."""
    documents = scan(2)
    about = {"dev": {"data": {"a": 1}, "data_keys": {"a": key()}, "timestamps": {"a": 1.0}}}
    documents[1][1]["configuration"] = about
    with stored(tmp_path, reversed(documents)) as store:
        assert rows(store, "select status from activities") == [("ok",)]
        assert ("config", "dev") in {(k, n) for k, n in rows(store, "select kind, name from versions")}
        assert len(edges_of(store, "used")) == 2
        check(store.documents(documents[0][1]["uid"]), folded(documents, documents[0][1]["uid"]))


def test_the_same_start_on_all_ranks_is_one_scan(tmp_path: Path) -> None:
    """And in a later job, which records it again."""
    documents = scan(3)
    with Job(tmp_path / "logs", 3) as job:
        for rank in range(3):
            deliver(job, rank, documents)
    record(tmp_path / "logs", documents)
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
        assert rows(store, "select count(*), sum(occurrences) from versions where kind = 'scan'") == [(1, 4)]
        assert rows(store, 'select count(*) from stream."bluesky/primary"') == [(12,)]
        check(store.documents(documents[0][1]["uid"]), folded(documents, documents[0][1]["uid"]))


def test_documents_can_be_replayed_through_a_program_and_recorded_again(tmp_path: Path) -> None:
    """What an activity makes of a scan is a scan that came from it, and both can be replayed."""
    old = scan(3)
    record(tmp_path / "logs", old)
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store, one(tmp_path / "more", name="transform") as job:
        uids = {each["uid"]: f"new-{each['uid']}" for _, each in old}
        with job[0].activity("double", used=f"scan:{old[0][1]['uid']}"), DocumentCollector(job[0]) as collect:
            for name, each in store.documents(old[0][1]["uid"]):
                renamed = {
                    key: uids.get(value, value) if isinstance(value, str) else value for key, value in each.items()
                }
                if name == "event":
                    renamed["data"] = {key: 2 * value for key, value in each["data"].items()}
                collect(name, renamed)
    with made(tmp_path / "more", tmp_path / "s.duckdb") as store:
        new = store.documents(f"new-{old[0][1]['uid']}")
        assert new.whole
        assert [each["data"]["n"] for name, each in new if name == "event"] == [2, 4, 6]
        check(store.documents(old[0][1]["uid"]), folded(old, old[0][1]["uid"]))
        named = [node.name for node in store.lineage(f"scan:{new.uid}").nodes if node.kind == "scan"]
        assert named == [new.uid, old[0][1]["uid"]]


class Liar:
    """Raises wherever it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    @property
    def dtype(self) -> Any:
        raise RuntimeError("no")


def hostile() -> list[tuple[Any, Any]]:
    """Things that are called documents."""
    endless: dict[str, Any] = {}
    endless["data"] = endless["self"] = endless["timestamps"] = endless
    endless["descriptor"] = "d"
    of = ("descriptor", {"uid": "d"})
    good = event(of, 1, {"x": 1.0})[1]
    objects = np.array([Liar(), {}], object)
    return [
        ("start", None),
        (None, {}),
        (7, "text"),
        ("nothing known", {"uid": "n"}),
        ("start", {}),
        ("start", {"uid": 5, "time": "yesterday"}),
        ("start", {"uid": "s" * 5000, 3: {None: [()]}}),
        ("start", {"uid": "ok", "time": 1.0, "bad": Liar(), "endless": endless, "wide": 10**6000}),
        ("start", {f"k{n}": {f"l{m}": m for m in range(30)} for n in range(30)}),
        ("descriptor", {"uid": "d", "run_start": "ok", "name": None, "data_keys": "many", "configuration": 3}),
        ("descriptor", {"uid": "d", "run_start": "ok", "name": "a\0b", "data_keys": {"x": key()}}),
        (
            "descriptor",
            {"uid": "d", "run_start": "ok", "name": "p", "data_keys": {"x": None, 5: {}, "y": {"dtype": []}}},
        ),
        ("descriptor", {"uid": ["d"], "run_start": {}, "configuration": {"dev": {"data": {"a": Liar()}}}}),
        ("event", endless),
        ("event", {**good, "data": {"x": Liar()}, "uid": "e1"}),
        ("event", {**good, "data": {"x": objects}, "uid": "e2"}),
        ("event", {**good, "data": {"x": "s" * (20 << 20)}, "uid": "e3"}),
        ("event", {**good, "data": {None: 1, 2: 3}, "timestamps": {None: "x"}, "uid": "e4"}),
        ("event", {**good, "seq_num": 2**70, "time": "noon", "uid": None, "filled": 7}),
        ("event", {**good, "data": {f"k{n}": 1.0 for n in range(80)}, "uid": "e5"}),
        ("event", {**good, "descriptor": "\udcff" * 9, "uid": "e6"}),
        ("event_page", {**page([event(of, 1, {"x": 1.0})])[1], "seq_num": [1, 2]}),
        ("event_page", {"descriptor": "d", "seq_num": [], "time": [], "uid": [], "data": {}, "timestamps": {}}),
        ("event_page", {"descriptor": Liar()}),
        ("event_page", {**page([event(of, 1, {"x": Liar()}), event(of, 2, {"x": 2})])[1]}),
        ("bulk_events", {"primary": [None, good, 5]}),
        ("bulk_events", {"primary": Liar()}),
        ("datum_page", {"resource": "r", "datum_id": ["a", "b"], "datum_kwargs": {"n": [1]}}),
        ("bulk_datum", {"resource": "r", "datum_ids": 5}),
        ("resource", {"uid": "r", "root": "\0", "resource_path": 5, "run_start": "ok"}),
        ("resource", {"uid": "r2", "root": "/", "resource_path": "\udcff", "run_start": "ok"}),
        ("stream_resource", {"uid": "r3", "uri": "http://[", "run_start": "ok"}),
        ("stream_datum", {"uid": "sd", "descriptor": "d", "seq_nums": {"start": None, "stop": []}}),
        ("stop", {"run_start": "ok", "exit_status": Liar(), "num_events": {"p": Liar(), 5: 5}}),
        ("stop", {"run_start": [], "uid": "x"}),
    ]


def test_hostile_documents_are_counted_and_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is raised, one line is told, all of them are held, and the good ones around them are whole."""
    monkeypatch.setenv("BRAID_STRICT", "0")
    monkeypatch.setattr("braid_hpc.collectors.documents.layout.MOST_KEYS", 50)
    good = scan(3)
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        for name, document in hostile():
            before = collect.taken
            collect(name, document)
            assert collect.taken > before, (name, collect.losses.counts)
        for name, document in good:
            collect(name, document)
    assert not collect.losses.counts.keys() - {"not whole", "not a document", "refused"}
    assert collect.losses.counts["refused"] == 3
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("braid")]
    assert len(told) == 1
    assert "collector documents" in told[0]
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
        check(store.documents(good[0][1]["uid"]), folded(good, good[0][1]["uid"]))
        assert rows(store, "select count(*) from problems") == [(0,)]
        found = store.documents("ok")
        events = {each.get("uid"): each for name, each in found if name == "event"}
        assert events.keys() >= {"e1", "e2", "e3", "e4", "e5", None}
        assert events["e3"]["data"]["x"] == Unkept("str", events["e3"]["data"]["x"].reason)
        assert events["e5"]["data"] == {f"k{n}": 1.0 for n in range(80)}
        assert events["e4"]["data"] == {None: 1, 2: 3}
        assert found.start is not None
        assert found.start["wide"] == 10**6000
        counted = dict(rows(store, "select reason, sum(count)::bigint from stream.collector_losses group by 1"))
        assert counted == collect.losses.counts


def test_a_bad_document_is_no_mistake_of_the_program(tmp_path: Path) -> None:
    """So it does not raise under ``BRAID_STRICT=1`` either."""
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        for name, document in hostile():
            if isinstance(name, str) and isinstance(document, dict):
                collect(name, document)
    assert not collect.losses.counts.keys() - {"not whole", "not a document"}


def test_what_it_holds_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when every event has another descriptor, other keys and another run, and no run stops."""
    for name in ("MOST_LAYOUTS", "MOST_TABLES"):
        monkeypatch.setattr(collector_module, name, 20)
    monkeypatch.setattr("braid_hpc.collectors.documents.scans.MOST_SCANS", 20)
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:

        def feed(count: int) -> list[Pair]:
            documents: list[Pair] = []
            for number in range(count):
                first = start()
                of = descriptor(first, {f"k{number}": key()})
                documents += [first, of, event(of, 1, {f"k{number}": 1.0})]
            for name, document in documents:
                collect(name, document)
            return documents

        early = feed(40)
        tracemalloc.start()
        try:
            feed(20)
            before = tracemalloc.get_traced_memory()[0]
            feed(200)
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert after - before < 256 << 10
    assert not collect.losses
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
        for uid in (early[0][1]["uid"], early[-3][1]["uid"]):
            check(store.documents(uid), folded(early, uid))


def test_a_document_may_be_changed_after_its_delivery(tmp_path: Path) -> None:
    """What counts is what it was in the call."""
    first = start(nested={"list": [1]})
    of = descriptor(first, {"a": key("array", [2])})
    made_now = event(of, 1, {"a": [1.0, 2.0]})
    documents = [first, of, made_now]
    kept = copy.deepcopy(documents)
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        for name, document in documents:
            collect(name, document)
        first[1]["nested"]["list"].append(2)
        of[1]["data_keys"]["b"] = 1
        made_now[1]["data"]["a"][0] = 5.0
        collect(*event(of, 2, {"a": [3.0]}, uid="later"))
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
        found = [pair for pair in store.documents(first[1]["uid"]) if pair[1]["uid"] != "later"]
    assert found == kept

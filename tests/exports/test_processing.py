"""Scans made of scans: what a function makes of the documents is a scan of its own, which comes from the old one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bluesky.plans as bp
import pytest
from event_model import DocumentNames, schema_validators
from ophyd.sim import det, direct_img, img, motor

import braid_hpc as braid
from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.exports.processing import process, processed
from braid_hpc.exports.replaying import export_documents, replay
from braid_hpc.vocabulary.errors import BraidWarning, InvalidInputError
from tests.collectors.documents.instrument import Pair, event, scan, stored
from tests.collectors.documents.test_bluesky import run_plans
from tests.exports.test_emitted import behind, split
from tests.jobs import edges_of, made, one


def doubled(name: str, document: dict[str, Any]) -> Any:
    """Double a detector, in events and under another name; leave out the second event."""
    if name == "descriptor":
        document["data_keys"]["twice"] = {**document["data_keys"].pop("det"), "source": "doubled"}
    elif name == "event":
        if document["seq_num"] == 2:
            return None
        document["data"]["twice"] = 2 * document["data"].pop("det")
        document["timestamps"]["twice"] = document["timestamps"].pop("det")
    return document


def test_a_processed_scan_is_recorded_with_where_it_comes_from(tmp_path: Path) -> None:
    """Both are replayed; the new one is invalid when the old one is."""
    documents = scan(3)
    uid = documents[0][1]["uid"]
    with stored(tmp_path, documents) as store:
        with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
            done = process(store.scan(uid), doubled, collect)
        assert collect.losses.counts == {}
    assert done.documents == {"start": 1, "descriptor": 1, "event": 2, "stop": 1}
    store = made(tmp_path / "logs", tmp_path / "prov.duckdb")
    with store:
        new, old = store.scan(done.uid), store.scan(uid)
        assert not new.missing
        assert [row["twice"] for row in new.table("primary")] == [2 * n / 3 for n in (1, 3)]
        assert [row["seq_num"] for row in new.table("primary")] == [1, 2]
        assert new.start is not None
        assert new.stop is not None
        assert (new.start["derived_from"], "scan_id" in new.start) == ([f"scan:{uid}"], False)
        assert new.stop["num_events"] == {"primary": 2}
        assert [row["time"] for row in new.table("primary")] == [4.0, 6.0]
        assert [replay(each, lambda *pair: None).stopped for each in (new, old)] == [True, True]
        assert (f"scan:{done.uid}@1", f"scan:{uid}@1") in edges_of(store)
        assert list(export_documents(store.documents(uid))) == documents
        for name, document in new.documents():
            schema_validators[DocumentNames[name]].validate(document)
    with braid.open(tmp_path / "prov.duckdb") as store:
        store.invalidate(f"scan:{uid}", cause="the shutter was closed")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert not store.describe(f"scan:{done.uid}")["valid"]
        assert f"scan:{done.uid}@1" in {row["ref"] for row in store.find("invalid")}


def test_a_file_of_the_processed_scan_has_the_edge_too(tmp_path: Path) -> None:
    """The start says where it comes from, whichever way it is recorded."""
    documents = scan(2)
    new = list(processed(documents, lambda name, document: document))
    with stored(tmp_path, [*documents, *new]) as store:
        assert edges_of(store) == {(f"scan:{new[0][1]['uid']}@1", f"scan:{documents[0][1]['uid']}@1")}


@pytest.mark.parametrize("said", ["sample 7", 7, ["scan:a@b@"], [None], "model:net", {"a": 1}])
def test_a_start_that_says_something_else_there_is_kept_as_it_is(tmp_path: Path, said: Any) -> None:
    documents = scan(1)
    documents[0][1]["derived_from"] = said
    with stored(tmp_path, documents) as store:
        assert list(store.documents(documents[0][1]["uid"])) == documents
        assert edges_of(store) == set()


def test_files_descriptors_and_streams_are_those_of_the_new_scan(tmp_path: Path) -> None:
    """No uid of the old scan is in the new one, and each document comes behind those that it names."""
    seen, store = run_plans(tmp_path, lambda: bp.scan([det, direct_img], motor, -1, 1, 3), lambda: bp.count([img], 2))
    with store:
        for uid, live in split(seen).items():
            new = list(processed(store.documents(uid), lambda name, document: document))
            assert [name for name, _ in new] == [name for name, _ in live]
            behind(new)
            old = {document["uid"] for _, document in live if "uid" in document}
            assert not old & {document["uid"] for _, document in new if "uid" in document}
            for name, document in new:
                schema_validators[DocumentNames[name]].validate(document)
            datums = {document["datum_id"] for name, document in new if name == "datum"}
            assert datums == {
                document["data"]["img"]
                for name, document in new
                if name == "event" and type(document["data"].get("img")) is str
            }


def test_a_transform_may_give_several_documents() -> None:
    """Each event twice; they are numbered anew."""
    documents = scan(2)
    new = list(processed(documents, lambda name, d: [(name, d), (name, dict(d))] if name == "event" else d))
    events = [document for name, document in new if name == "event"]
    assert [each["seq_num"] for each in events] == [1, 2, 3, 4]
    assert len({each["uid"] for each in events}) == 4
    assert new[-1][1]["num_events"] == {"primary": 4}


@pytest.mark.parametrize("made", ["x", 7, [7], [("event", None)], [("a", {}, 1)]])
def test_a_transform_that_gives_something_else_is_refused(made: Any) -> None:
    with pytest.raises(
        InvalidInputError, match=r"a transform gives a document, names and documents, or None; for 'start'"
    ):
        list(processed(scan(1), lambda name, document: made))


def test_what_was_not_whole_is_said(tmp_path: Path) -> None:
    documents: list[Pair] = scan(3, stopped=False)
    uid = documents[0][1]["uid"]
    said = f"scan {uid} is not whole: it has no stop: what is held was processed"
    with stored(tmp_path, documents) as store, pytest.warns(BraidWarning, match=said):
        done = process(store.scan(uid), lambda name, document: document, lambda *pair: None)
    assert (done.stopped, done.documents["event"]) == (False, 3)
    with pytest.raises(InvalidInputError, match="without a start document"):
        list(processed([event(documents[1], 1, {})], lambda name, document: document))

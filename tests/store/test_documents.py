"""The fold: in pages, twice or not at all, a run is given back word for word, and what is missing is said."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from event_model import DocumentNames, schema_validators

from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.vocabulary.errors import ConflictError, NotFoundError
from tests.collectors.documents.instrument import (
    Pair,
    check,
    deliver,
    descriptor,
    event,
    folded,
    key,
    page,
    scan,
    start,
    stop,
    stored,
    uid,
    unpacked,
)
from tests.jobs import Job, made


def test_pages_say_what_events_say(tmp_path: Path) -> None:
    """Also pages of arrays, of integers among floats, of files, and of values that fit no column."""
    first = start()
    keys = {"x": key(), "n": key("integer"), "a": key("array", [2]), "s": key("string"), "f": key(external="FILE:")}
    of = descriptor(first, keys)
    plain = [{"x": n / 2, "n": n, "a": [n, float(n)], "s": "ü" * n, "f": f"r/{n}"} for n in range(3)]
    mixed = [{**each, "x": n} for n, each in enumerate(plain)]
    odd = [{**plain[0], "x": None}, {**plain[1], "n": 2**80}, {**plain[2], "s": "\udcff"}]
    documents = [first, of]
    number = 0
    for part, filled in ((plain, {}), (mixed, {"f": False}), (odd, {}), (plain, {"f": "each"})):
        events = []
        for data in part:
            number += 1
            each = {"f": bool(number % 2)} if filled.get("f") == "each" else filled
            events.append(event(of, number, data, filled=each))
        documents.append(page(events))
    documents += [
        ("bulk_events", {"primary": [event(of, number + 1, plain[0])[1]]}),
        stop(first, {"primary": number + 1}),
    ]
    with stored(tmp_path, documents) as store:
        found = store.documents(first[1]["uid"])
        check(found, folded(documents, first[1]["uid"]))
        assert {(each.what, each.count) for each in found.missing} == {("datum", 1)}


def test_a_page_is_stored_as_columns(tmp_path: Path) -> None:
    """One batch of the log holds it, and not a row for each event."""
    first = start()
    of = descriptor(first, {"x": key()})
    documents = [first, of, page([event(of, n, {"x": n / 3}) for n in range(1, 1001)])]
    with stored(tmp_path, documents) as store:
        assert store.sql('select count(distinct _time) as n from stream."bluesky/primary"')["n"] == [1]
        check(store.documents(first[1]["uid"]), folded(documents, first[1]["uid"]))


def test_files_and_their_datums_in_any_form(tmp_path: Path) -> None:
    """Resources that name their run and older ones that do not; datums alone, in pages, in bulk; stream datums."""
    first = start()
    about: dict[str, Any] = {"spec": "NPY", "root": "/tmp", "resource_kwargs": {"n": 2**70}, "path_semantics": "posix"}
    new = ("resource", {**about, "uid": uid("res"), "resource_path": "a", "run_start": first[1]["uid"]})
    old = ("resource", {**about, "uid": uid("old"), "resource_path": "b"})
    keys = {"img": key("array", [2], external="FILESTORE:"), "cam": key("array", [2], external="STREAM:")}
    of = descriptor(first, keys)
    names = [f"{new[1]['uid']}/{n}" for n in range(4)] + [f"{old[1]['uid']}/0"]
    kwargs = [{"point": n} for n in range(5)]
    datums: list[Pair] = [
        ("datum", {"datum_id": names[0], "resource": new[1]["uid"], "datum_kwargs": kwargs[0]}),
        ("datum_page", {"datum_id": names[1:3], "resource": new[1]["uid"], "datum_kwargs": {"point": [1, 2]}}),
        ("bulk_datum", {"datum_ids": names[3:4], "resource": new[1]["uid"], "datum_kwarg_list": kwargs[3:4]}),
        ("datum_page", {"datum_id": names[4:], "resource": old[1]["uid"], "datum_kwargs": {"point": [4]}}),
    ]
    events = [event(of, n + 1, {"img": name}, filled={"img": False}) for n, name in enumerate(names)]
    cam = {"uid": uid("sres"), "run_start": first[1]["uid"], "data_key": "cam", "mimetype": "x", "uri": "s3://b/c"}
    chunk = {"uid": uid("sd"), "descriptor": of[1]["uid"], "indices": {"start": 0, "stop": 5}}
    streams: list[Pair] = [
        ("stream_resource", {**cam, "parameters": {}}),
        ("stream_datum", {**chunk, "stream_resource": cam["uid"], "seq_nums": {"start": 1, "stop": 6}}),
    ]
    documents = [first, of, new, old, *datums, *events, *streams, stop(first, {"primary": 5})]
    with stored(tmp_path, documents) as store:
        found = store.documents(first[1]["uid"])
        expected = folded(documents, first[1]["uid"])
        expected["resource", str(old[1]["uid"])] = old[1]
        expected |= {("datum", d["datum_id"]): d for n, d in unpacked(datums) if n == "datum"}
        check(found, expected)
        assert found.whole
        for name, each in found:
            schema_validators[DocumentNames[name]].validate(each)
    # Without the files' own documents they are named as missing; what else stands in a page says which they were.
    less = [pair for pair in documents if pair[0] not in ("stream_resource", "resource", "datum")]
    with stored(tmp_path / "less", less) as store:
        lost = {(each.what, each.name) for each in store.documents(first[1]["uid"]).missing}
    assert lost == {("stream_resource", cam["uid"]), *(("datum", name) for name in names)}


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """Ranges of events, a stream without its descriptor, a start, a stop; a whole run says nothing."""
    documents = scan(10, streams=("primary", "dark"))
    kept = [
        (name, each)
        for name, each in documents
        if name != "start" and each.get("name") != "dark" and each.get("seq_num") not in (1, 4, 5, 10)
    ]
    with stored(tmp_path, kept) as store:
        found = store.documents(documents[0][1]["uid"])
        assert [(each.what, each.name, each.count, each.numbers) for each in found.missing] == [
            ("start", "", 1, ()),
            ("descriptor", "dark", 1, ()),
            ("event", "dark", 10, ((1, 10),)),
            ("event", "primary", 4, ((1, 1), (4, 5), (10, 10))),
        ]
        assert found.missing[3].detail == "4 of 10 events of stream 'primary' are not there: 1, 4 to 5, 10"
        assert found.start is None
        assert not found.whole


def test_a_run_that_never_stopped_is_there(tmp_path: Path) -> None:
    """It is not whole, everything it said is there, and its activity is unfinished."""
    documents = scan(2, stopped=False)
    with stored(tmp_path, documents) as store:
        found = store.documents(documents[0][1]["uid"])
        check(found, folded(documents, documents[0][1]["uid"]))
        assert [each.what for each in found.missing] == ["stop"]
        assert store.sql("select status from activities")["status"] == ["unfinished"]


def test_two_documents_of_one_uid_are_a_conflict(tmp_path: Path) -> None:
    """One of them is given, the same one in any order, and the other is named."""
    first, of, one_event, *_ = scan(1)
    other = ("descriptor", {**of[1], "data_keys": {"det": key("string"), "n": key()}})
    twin = ("event", {**one_event[1], "data": {"det": 5.0, "n": 6}})
    given_back = []
    for turn, documents in enumerate(([first, of, other, one_event, twin], [twin, other, one_event, of, first])):
        with stored(tmp_path / str(turn), documents) as store:
            found = store.documents(first[1]["uid"])
            given_back.append(list(found))
            assert sorted(found.conflicts) == [("descriptor", of[1]["uid"]), ("event", one_event[1]["uid"])]
    assert given_back[0] == given_back[1]
    assert len(given_back[0]) == 3


def test_a_run_is_named_by_the_beginning_of_its_uid(tmp_path: Path) -> None:
    runs_of = [start(uid="abc1"), start(uid="abc2"), start(uid="abc")]
    with stored(tmp_path, runs_of) as store:
        assert store.documents("abc1").uid == "abc1"
        assert store.documents("abc").uid == "abc"
        with pytest.raises(ConflictError, match="abc, abc1, abc2"):
            store.documents("ab")
        with pytest.raises(NotFoundError, match="no scan 'x'"):
            store.documents("x")


def test_a_store_without_documents_says_so(tmp_path: Path) -> None:
    with Job(tmp_path / "logs") as job:
        job[0].data("frame")
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store, pytest.raises(NotFoundError, match="no documents"):
        store.documents("a")


def test_an_earlier_snapshot_has_what_was_known_then(tmp_path: Path) -> None:
    """By the snapshot and by time; a log that is still written is taken as far as it is."""
    documents = scan(4)
    with Job(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        for name, each in documents[:4]:
            collect(name, each)
        with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
            assert [writer["state"] for writer in store.documents(documents[0][1]["uid"]).writers] == ["open"]
        between = time.time_ns()
        for name, each in documents[4:]:
            collect(name, each)
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
        now = store.documents(documents[0][1]["uid"])
        check(now, folded(documents, documents[0][1]["uid"]))
        assert (now.whole, now.writers) == (True, [])
        for moment in ({"at": 1}, {"as_of": between}):
            then = store.documents(documents[0][1]["uid"], **moment)
            check(then, folded(documents[:4], documents[0][1]["uid"]))


def test_ranks_whose_logs_did_not_come_are_named(tmp_path: Path) -> None:
    """They may hold what is missing."""
    documents = scan(6)
    with Job(tmp_path / "logs", 3) as job:
        for rank in range(3):
            deliver(job, rank, documents[rank::3])
        lost = job.folder(1)
    shutil.rmtree(lost)
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
        found = store.documents(documents[0][1]["uid"])
        assert [(each["rank"], each["writer"], each["state"]) for each in found.writers] == [(1, None, "absent")]
        check(found, folded([*documents[0::3], *documents[2::3]], documents[0][1]["uid"]))


def test_uids_that_mean_something_elsewhere(tmp_path: Path) -> None:
    """What UTF-8, a reference or SQL would take for something else names documents as any other text does."""
    odd_ones = ["\udcff", "a\0b", "x@1", "id:ff", "model:y@2", "'q'", " ", "\n"]
    documents: list[Pair] = []
    for odd in odd_ones:
        first = start(uid=odd)
        of = descriptor(first, {"x": key(units=odd)}, f"primary {odd}", uid=f"of {odd}")
        of[1]["configuration"] = {f"dev{odd}": {"data": {odd: odd}, "data_keys": {}, "timestamps": {}}}
        events = [event(of, n, {"x": n / 2}, uid=f"{n}{odd}") for n in (1, 2)]
        documents += [first, of, *events, page([event(of, 3, {"x": 1.5})]), stop(first, {f"primary {odd}": 3})]
    with stored(tmp_path, documents) as store:
        for odd in odd_ones:
            found = store.documents(odd)
            check(found, folded(documents, odd))
            assert found.whole
        assert not len(store.sql("select * from problems"))


def test_equal_uids_in_another_run_change_nothing(tmp_path: Path) -> None:
    """Documents of runs that interleave stay apart."""
    one_run, other = scan(3), scan(5)
    mixed = [pair for both in zip(one_run, other[: len(one_run)], strict=True) for pair in both] + other[len(one_run) :]
    with stored(tmp_path, mixed) as store:
        for documents in (one_run, other):
            found = store.documents(documents[0][1]["uid"])
            assert [each for each in found if each[0] == "event"] == [each for each in documents if each[0] == "event"]


def test_rows_are_typed_for_people_who_ask_in_sql(tmp_path: Path) -> None:
    """Numbers are numbers, texts texts; a key of two types has two columns, and no value is rounded."""
    first = start()
    of = descriptor(first, {"x": key(), "n": key("integer", units="counts"), "s": key("string"), "b": key("boolean")})
    values: list[dict[str, Any]] = [
        {"x": 1.5, "n": 1, "s": "a", "b": True},
        {"x": 2, "n": 2**53 + 1, "s": "b", "b": False},
        {"x": 2**53 + 1, "n": 0.5, "s": "c", "b": True},
        {"x": math.nan, "n": 3, "s": "d", "b": True},
    ]
    documents = [first, of, *(event(of, n + 1, each) for n, each in enumerate(values)), stop(first, {"primary": 4})]
    with stored(tmp_path, documents) as store:
        check(store.documents(first[1]["uid"]), folded(documents, first[1]["uid"]))
        table = store.sql('select x, n, n__2, s, b, "time.x" from stream."bluesky/primary" order by seq_num')
        assert table["n"] == [1, 2**53 + 1, None, None]
        assert table["n__2"] == [None, None, 0.5, 3.0]
        assert table["x"][:3] == [1.5, 2.0, None]
        assert (table["s"], table["b"]) == (["a", "b", "c", "d"], [True, False, True, True])
        (units,) = store.sql("select units from streams where stream = 'bluesky/primary'")["units"]
        assert '"n": "counts"' in units.replace('":"', '": "')


def test_a_key_keeps_its_letters_where_another_run_writes_it_otherwise(tmp_path: Path) -> None:
    """One column holds both; the descriptor of the second run does not know the key."""
    one, other = start(uid="one"), start(uid="other")
    of, alike = descriptor(one, {"Motor": key()}), descriptor(other, {})
    given = [one, of, event(of, 1, {"Motor": 1.0}), other, alike, event(alike, 1, {"motor": 2.0})]
    with stored(tmp_path, given) as store:
        for name, data in (("one", {"Motor": 1.0}), ("other", {"motor": 2.0})):
            assert [each["data"] for kind, each in store.documents(name) if kind == "event"] == [data]
            assert store.scan(name).table(columns=list(data)).to_pylist() == [data]
            (written,) = data
            assert store.find_scans(f"data.{written} > 0")["uid"] == [name]

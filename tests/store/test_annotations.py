"""Annotations: the newest of a key stands, all are kept, nothing recorded changes, and private ones are one's own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, ReadOnlyError
from tests.collectors.documents.instrument import scan, stored
from tests.jobs import Job, made


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """A version that two ranks declared with different tags, in one run."""
    with Job(tmp_path / "logs", 2) as pair:
        for rank, run in enumerate(pair.runs):
            run.data("peaks", digest="p:0", tags={"rank": rank, "quality": "unknown"})
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    with braid.open(tmp_path / "prov.duckdb", private=tmp_path / "own.duckdb") as opened:
        yield opened


def now(store: Store, **then: Any) -> dict[str, Any]:
    tags = store.describe("peaks", **then).get("tags", {})
    for key, value in tags.items():
        for one in value if isinstance(value, list) else [value]:
            assert store.find({key: one}, **then)["name"] == ["peaks"]
    return dict(tags)


def test_the_newest_stands_and_every_earlier_state_can_be_asked_for(store: Store) -> None:
    """Tagged, changed, and removed; by time and by snapshot."""
    recorded = {"rank": [0, 1], "quality": "unknown"}
    assert now(store) == recorded
    store.tag("peaks", quality="good", n=2**70)
    store.tag("peaks", {"site.ring": 1.5, "private": True}, quality="bad")
    store.note("peaks", "the shutter stuck")
    store.untag("peaks", ["quality", "rank"])
    store.tag("peaks", rank=7)
    history = store.annotations("data:peaks")
    assert [(each.what, each.key, each.value) for each in history] == [
        ("tag", "quality", "good"),
        ("tag", "n", 2**70),
        ("tag", "site.ring", 1.5),
        ("tag", "private", True),
        ("tag", "quality", "bad"),
        ("note", None, "the shutter stuck"),
        ("untag", "quality", None),
        ("untag", "rank", None),
        ("tag", "rank", 7),
    ]
    assert all(each.by and not each.private for each in history)
    later = {"site.ring": 1.5, "private": True, "n": 2**70}
    expected = [
        recorded,
        {"rank": [0, 1], "quality": "good", "n": 2**70},
        {"rank": [0, 1], "quality": "bad", **later},
        {"rank": [0, 1], "quality": "bad", **later},
        later,
        {"rank": 7, **later},
    ]
    assert [now(store, at=at) for at in range(1, 7)] == expected
    last = [max(group) for group in ([history[1].time], [history[4].time], [history[5].time], [history[7].time])]
    assert [now(store, as_of=time) for time in last] == expected[1:5]
    assert now(store, as_of=history[8].time) == now(store) == expected[5]
    assert len(store.annotations("peaks", at=2)) == 2
    assert store.find("quality = good")["name"] == store.find("quality exists")["name"] == []
    assert store.find("quality = good", at=2)["name"] == ["peaks"]
    assert store.describe("peaks")["notes"] == ["the shutter stuck"]
    # One record stands for the stream, however many people annotate.
    assert len(store.find("kind = stream")) == 1


def test_what_ranks_said_side_by_side_is_kept_until_somebody_says_otherwise(store: Store) -> None:
    """And what a later run declares does not undo what somebody said."""
    store.tag("peaks", other=1)
    assert now(store)["rank"] == [0, 1]
    store.tag("peaks", rank=1)
    with Job(store.path.parent / "logs", 1) as job:
        job[0].data("peaks", digest="p:0", tags={"rank": 5, "fresh": True})
    made(store.path.parent / "logs", store.path).close()
    store.refresh()
    assert now(store) == {"rank": 1, "quality": "unknown", "other": 1, "fresh": True}


def test_a_rebuilt_store_has_them(store: Store, tmp_path: Path) -> None:
    store.tag("peaks", quality="good")
    store.untag("peaks", "rank")
    rebuild(store.path, into=tmp_path / "again.duckdb")
    with braid.open(tmp_path / "again.duckdb") as again:
        assert again.digests() == store.digests()
        assert now(again) == now(store) == {"quality": "good"}
        assert list(again.annotations("peaks")) == list(store.annotations("peaks"))


def test_private_annotations_are_found_by_their_owner_alone(store: Store, tmp_path: Path) -> None:
    """The shared store stays the same bytes."""

    def bytes_of() -> dict[str, str]:
        files = [each for each in tmp_path.rglob("prov.duckdb*") if each.is_file()]
        files += [each for each in (tmp_path / "prov.duckdb.d").rglob("*") if each.is_file()]
        return {str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}

    store.tag("peaks", quality="shared")
    before, digests = bytes_of(), store.digests()
    store.tag("peaks", {"mine": True, "quality": "mine"}, private=True)
    store.note("peaks", "ask Eve", private=True)
    assert (bytes_of(), store.digests()) == (before, digests)
    assert now(store)["quality"] == "mine"
    assert store.find("mine = true and rank = 1")["name"] == ["peaks"]
    assert [each.private for each in store.annotations("peaks")] == [False, True, True, True]
    assert all(each.by for each in store.annotations("peaks"))
    with braid.open(tmp_path / "prov.duckdb") as other:
        assert other.find("mine = true")["name"] == []
        assert now(other)["quality"] == "shared"
        with pytest.raises(InvalidInputError, match="no private store is named"):
            other.tag("peaks", mine=True, private=True)
        other.private = tmp_path / "prov.duckdb"
        with pytest.raises(InvalidInputError, match="is the shared store"):
            other.tag("peaks", mine=True, private=True)
    # Said of all later: the newest counts, wherever it stands.
    store.tag("peaks", quality="shared again")
    assert now(store)["quality"] == "shared again"
    store.untag("peaks", "mine", private=True)
    assert "mine" not in now(store)


def test_a_scan_and_an_activity_are_annotated_and_the_start_stays(tmp_path: Path) -> None:
    with stored(tmp_path, scan(2)) as store:
        (uid,) = store.find_scans()["uid"]
        before = store.documents(uid).start
        store.tag(f"scan:{uid}", {"sample.name": "Cu", "quality": "good"})
        store.tag(f"activity:scan:{uid}", reviewed=True)
        assert store.documents(uid).start == before
        assert store.find_scans("quality = good and sample.name = Cu and start.sample.name = Ni")["uid"] == [uid]
        assert store.find("reviewed = true")["kind"] == ["activity"]


@pytest.mark.parametrize(
    ("say", "message"),
    [
        (lambda store: store.tag("peaks"), "no tag is given"),
        (lambda store: store.tag("peaks", {1: 2}), "is not text"),
        (lambda store: store.untag("peaks", "qualty"), "has no tag 'qualty'; its tags are: quality, rank"),
        (lambda store: store.untag("peaks", []), "no tag is named"),
        (lambda store: store.note("peaks", ""), "a note is a text"),
        (lambda store: store.tag("nothing", a=1), "nothing"),
    ],
)
def test_what_cannot_be_said_is_refused_and_nothing_is_stated(store: Store, say: Any, message: str) -> None:
    with pytest.raises((InvalidInputError, NotFoundError), match=message):
        say(store)
    store.refresh()
    assert store.snapshot == 1


def test_private_annotations_of_what_several_stores_have(tmp_path: Path) -> None:
    """Stores that are asked together are only read; what is one's own is said beside them, by global ids."""
    for name in ("a", "b"):
        with Job(tmp_path / name, 1) as job:
            job[0].data(f"peaks-{name}", digest=f"p:{name}", tags={"quality": "unknown"})
        made(tmp_path / name, tmp_path / f"{name}.duckdb").close()
    with braid.open(tmp_path / "a.duckdb") as one:
        one.tag("peaks-a", quality="good")
    both = [tmp_path / "a.duckdb", tmp_path / "b.duckdb"]
    with braid.open(both, private=tmp_path / "own.duckdb") as opened:
        assert opened.find("quality = good")["name"] == ["peaks-a"]
        with pytest.raises(ReadOnlyError):
            opened.tag("peaks-b", mine=True)
        opened.tag("peaks-b", {"mine": True}, private=True)
        assert opened.find("mine = true or quality = good")["name"] == ["peaks-a", "peaks-b"]
    with braid.open(tmp_path / "b.duckdb", private=tmp_path / "own.duckdb") as opened:
        assert opened.find("mine = true")["name"] == ["peaks-b"]
        assert [each.value for each in opened.annotations("peaks-b")] == [True]


def test_scalars_of_numpy_are_the_numbers_that_they_are(store: Store) -> None:
    """They are floats to Python, and write themselves as none."""
    store.tag("peaks", one=np.float64(1.5), none=np.float64("nan"), whole=np.int64(3), text=np.str_("a"))
    assert {each.key: type(each.value) for each in store.annotations("peaks")} == {
        "one": float,
        "none": float,
        "whole": int,
        "text": str,
    }
    assert store.describe("peaks")["tags"]["one"] == 1.5
    assert store.find("one = 1.5 and none = nan and whole = 3 and text = a")["name"] == ["peaks"]

"""What two versions differ in: arrays by their bits and their norms, and what was declared of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from braid_hpc.compaction.compact import compact
from braid_hpc.store import diff as diffing
from braid_hpc.store.arrays import StoredArray
from braid_hpc.store.diff import array_difference
from braid_hpc.store.differences import ArrayDifference, Difference, FactDifference
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import Job, deliver, made, one

FORMS = ("x", "x")

BEFORE: dict[str, Any] = {
    "same": np.arange(5_000.0),
    "float": np.zeros((300, 10), "f4"),
    "int": np.arange(10),
    "bool": np.zeros(9, bool),
    "complex": np.full(4, 3 + 4j),
    "wider": np.ones(3, "f4"),
    "longer": np.ones(3),
    "gone": np.ones((2, 2), ">i2"),
}
AFTER: dict[str, Any] = {
    "same": np.arange(5_000.0),
    "float": np.full((300, 10), 0.5, "f4"),
    "int": np.arange(10) * 2,
    "bool": np.arange(9) > 6,
    "complex": np.full(4, 3 + 5j),
    "wider": np.full(3, 3.0),
    "longer": np.ones(4),
    "new": np.float32(1),
}


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with one(tmp_path / "logs") as job:
        run = job[0]
        first = run.model("net", state=BEFORE, tags={"epoch": 1, "same": 1, "kind": "1"}, uri="s3://a")
        tags = {"epoch": 2, "same": 1, "kind": 1}
        run.model("net", state=AFTER, derived_from=[first, "fact:config"], tags=tags, uri="s3://b")
        run.fact("config", {"beam": {"keV": 70.0, "on": True}, "n": 1})
        run.fact("config", {"beam": {"keV": 71.7, "on": True}, "m": 1})
        run.array("image", np.zeros(9_000), unit="counts")
        run.array("image", np.ones(9_000), unit="photons")
        run.data("weak", digest="x:1")
        with run.activity("train"):
            pass
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        yield store


def test_each_array_is_compared_in_its_own_way(store: Store) -> None:
    """Norms for floating and complex numbers, counts for all of one dtype; nothing where shapes differ."""
    found = store.diff("net@1", "net@2")
    norm = math.sqrt(3_000) / 2
    assert found.arrays == (
        ArrayDifference("bool", "changed", "|b1 9", "|b1 9", 9, 2),
        ArrayDifference("complex", "changed", "<c16 4", "<c16 4", 4, 4, 2.0, 0.2),
        ArrayDifference("float", "changed", "<f4 300x10", "<f4 300x10", 3_000, 3_000, norm, math.inf),
        ArrayDifference("gone", "removed", ">i2 2x2"),
        ArrayDifference("int", "changed", "<i8 10", "<i8 10", 10, 9),
        ArrayDifference("longer", "changed", "<f8 3", "<f8 4"),
        ArrayDifference("new", "added", None, "<f4 scalar"),
        ArrayDifference("wider", "changed", "<f4 3", "<f8 3", 3, None, math.sqrt(12), 2.0),
    )
    assert isinstance(found, Difference)
    assert (found.a, found.b, found.same_content, found.unchanged) == ("model:net@1", "model:net@2", False, 1)


def test_what_was_declared_is_compared(store: Store) -> None:
    """A text is no number, and an edge is named with what it means."""
    facts = [fact for fact in store.diff("net@1", "net@2").facts if fact.what not in ("digest", "size")]
    parents = ["fact:config@1 (wasDerivedFrom)", "model:net@1 (wasDerivedFrom)"]
    assert [fact for fact in facts if fact.what != "parent"] == [
        FactDifference("tag", "epoch", 1, 2),
        FactDifference("tag", "kind", "1", 1),
        FactDifference("uri", "", ["s3://a"], ["s3://b"]),
    ]
    (parent,) = [fact for fact in facts if fact.what == "parent"]
    assert parent.before == []
    assert parents[1] in parent.after
    values = [fact for fact in store.diff("config@1", "config@2").facts if fact.what == "value"]
    assert values == [
        FactDifference("value", "beam.keV", 70.0, 71.7),
        FactDifference("value", "m", None, 1),
        FactDifference("value", "n", 1, None),
    ]


def test_one_array_is_compared_like_a_state(store: Store) -> None:
    found = store.diff("image@1", "image@2")
    (array,) = found.arrays
    assert (array.name, array.norm, array.differing) == ("", math.sqrt(9_000), 9_000)
    assert FactDifference("unit", "", "counts", "photons") in found.facts


def test_a_version_and_itself_do_not_differ(store: Store) -> None:
    same = store.diff("net@1", "net@1")
    assert isinstance(same, Difference)
    assert (bool(same), same.same_content, same.arrays, same.facts, same.unchanged) == (False, True, (), (), 8)
    assert (
        str(same)
        == "model:net@1 -> model:net@1: the same content\narrays: 0 changed, 0 added, 0 removed, 8 unchanged\n"
        "1 fed both"
    )
    assert store.diff("net@1", "net@2")
    assert store.diff("net@1", "weak").arrays[0].change == "removed"


def test_the_text_is_for_people(store: Store) -> None:
    text = str(store.diff("net@1", "net@2"))
    assert text.splitlines()[1] == "arrays: 6 changed, 1 added, 1 removed, 1 unchanged"
    assert "  changed complex, <c16 4, norm 2, relative 0.2, 4 of 4 elements differ" in text
    assert "  changed longer, <f8 3 -> <f8 4" in text
    assert "  removed gone, >i2 2x2" in text
    assert "  tag kind: '1' -> 1" in text
    assert "  uri: - s3://a, + s3://b" in text
    assert "digest" not in text


def test_things_of_two_sorts_are_not_compared(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="are an activity and a version"):
        store.diff("net@1", "activity:train")
    (run,) = store.sql("select run from runs")["run"]
    with pytest.raises(InvalidInputError, match="are a run and something else"):
        store.diff("net@1", f"run:{run}")


def test_two_arrays_at_most_are_in_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is read between two comparisons; equal ones are not read at all."""
    read: list[str] = []
    steps: list[int] = []
    whole, compare = StoredArray.read, array_difference

    def note(self: StoredArray) -> Any:
        read.append(self.ref)
        return whole(self)

    def count(*arguments: Any) -> Any:
        steps.append(len(read))
        return compare(*arguments)

    monkeypatch.setattr(StoredArray, "read", note)
    monkeypatch.setattr(diffing, "array_difference", count)
    store.diff("net@1", "net@2")
    assert steps == [2, 4, 6, 8, 10]
    assert not any("same" in ref for ref in read)


def test_bytes_that_are_not_there_are_said_and_the_rest_is_compared(tmp_path: Path) -> None:
    import duckdb

    with one(tmp_path / "logs") as job:
        for number in range(2):
            job[0].model("net", state={"a": np.full(3, number), "b": np.full(4, number, "f8")})
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    path = tmp_path / "prov.duckdb.d" / "1.duckdb"
    path.chmod(0o644)
    with duckdb.connect(path) as connection:
        connection.execute(
            "delete from array_rows where digest in (select digest from tensors where tensor = 'b' and version = 2)"
        )
    with Store(tmp_path / "prov.duckdb") as opened:
        first, second = opened.diff("net@1", "net@2").arrays
    assert (first.differing, second.norm) == (3, None)
    assert second.note is not None
    assert "array 'b' of model:net@2 are not in this store" in second.note


def test_what_was_only_referred_to_is_compared_like_anything_else(tmp_path: Path) -> None:
    """A parent whose log came later: before that, after that, and across; with its own record too."""
    path = tmp_path / "prov.duckdb"
    with Job(tmp_path / "all", 2) as job:
        parent = job[1].data("b", digest="s:b")
        job[0].data("c", digest="s:c", derived_from=parent)
        for rank in (0, 1):
            deliver(job.folder(rank), tmp_path / "some")
            compact(tmp_path / "some", path)
    with Store(path) as store:
        (uid,) = store.sql("select uid from version_rows where placeholder is not null")["uid"]
        unseen = store.history(f"id:{uid}", at=1)[0].ref
        (across,) = store.diff("data:c", "data:c", at=(1, 2)).facts
        assert across == FactDifference("parent", "", [f"{unseen} (wasDerivedFrom)"], ["data:b@1 (wasDerivedFrom)"])
        for at, there, same, digest in ((1, unseen, None, None), (2, "data:b@1", False, "s:b")):
            found = store.diff("data:c", f"id:{uid}", at=at)
            assert isinstance(found, Difference)
            assert (found.a, found.b, found.same_content, found.arrays) == ("data:c@1", there, same, ())
            assert FactDifference("digest", "", "s:c", digest) in found.facts
        assert store.diff(f"id:{uid}", "data:b", at=(1, 2)).facts == (FactDifference("digest", "", None, "s:b"),)
        assert not store.diff(f"id:{uid}", f"id:{uid}").facts


@given(
    arrays_of.arrays("f8", arrays_of.array_shapes(max_side=5), elements=st.floats(-1e300, 1e300)),
    st.floats(-1e3, 1e3, allow_subnormal=False),
    st.integers(1, 7),
)
def test_norms_are_those_of_numpy(array: Any, factor: float, block: int) -> None:
    """Whatever the blocks are that it is computed in, and however large or small the numbers are."""
    other = array * factor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diffing, "_BLOCK", block)
        found = array_difference("a", FORMS, array, other)
    # Whose squares are within what an extended double holds.
    expected = float(np.linalg.norm((other - array).reshape(-1).astype(np.longdouble)))
    assert found.norm == pytest.approx(expected, rel=1e-9)
    base = float(np.linalg.norm(array.reshape(-1).astype(np.longdouble)))
    assert found.relative == pytest.approx(expected / base if base else 0.0, rel=1e-9)
    assert found.differing == np.count_nonzero(array.view("u8") != other.view("u8"))


def test_numbers_that_are_odd() -> None:
    nan = np.array([np.nan, 1.0])
    assert array_difference("a", FORMS, nan, nan.copy()).differing == 0
    assert math.isnan(array_difference("a", FORMS, nan, nan + 1).norm or 0.0)
    minus = array_difference("a", FORMS, np.zeros(2), -np.zeros(2))
    assert (minus.differing, minus.norm, minus.relative) == (2, 0.0, 0.0)
    small = array_difference("a", FORMS, *(np.array([n], ml_dtypes.bfloat16) for n in (1, 3)))
    assert (small.norm, small.relative) == (2.0, 2.0)
    text = array_difference("a", FORMS, np.array(["a", "b"]), np.array(["a", "c"]))
    assert (text.differing, text.norm) == (1, None)
    large = array_difference("a", FORMS, np.array([1e300, -1e300]), np.array([-1e300, 1e300]))
    assert large.norm == pytest.approx(8**0.5 * 1e300)
    assert large.relative == pytest.approx(2.0)
    empty = array_difference("a", FORMS, np.zeros((0, 3)), np.zeros((0, 3), "f4"))
    assert (empty.elements, empty.norm) == (0, 0.0)

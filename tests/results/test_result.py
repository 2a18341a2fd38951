"""Results: what is written is known again, and anything else at its place is noticed."""

from __future__ import annotations

import os
import pickle
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.results import (
    Found,
    Json,
    Lazy,
    LocalResult,
    MemoryResult,
    Npy,
    RemoteResult,
    Result,
    S3Result,
    Target,
    Verify,
    Written,
    loaded,
)
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, MissingExtraError, NotFoundError
from braid_hpc.vocabulary.identity import content_of_bytes


def target_in(folder: Path, *, verify: str = "size") -> Target:
    return LocalResult(folder / "place", serializer=Json(), verify=verify).at("{cell}.json", {"cell": 3})


def known(written: Written) -> dict[str, Any]:
    return {"size": written.size, "mtime_ns": written.mtime_ns, "digest": written.digest}


def test_what_is_written_is_said(tmp_path: Path) -> None:
    written = target_in(tmp_path).write([1, 2])
    path = tmp_path / "place/3.json"
    assert written == Written(
        path.as_uri(),
        path.stat().st_size,
        path.stat().st_mtime_ns,
        content_of_bytes(path.read_bytes()).digest,
        Json().content([1, 2]),
        "application/json",
    )


def test_a_file_is_known_again(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    assert not target.there()
    written = target.write([1, 2])
    assert target.there()
    assert target.found(**known(written)) is Found.AS_RECORDED
    assert target.read(digest=written.digest) == [1, 2]
    (tmp_path / "place/3.json").unlink()
    assert target.found(**known(written)) is Found.MISSING
    with pytest.raises(NotFoundError, match=r"3\.json"):
        target.read(digest=written.digest)


def test_a_file_cut_in_half_is_noticed(tmp_path: Path) -> None:
    """By its size alone, and when it is read."""
    target = target_in(tmp_path)
    written = target.write(list(range(100)))
    os.truncate(tmp_path / "place/3.json", written.size // 2)
    assert target.found(**known(written)) is Found.CHANGED
    with pytest.raises(ConflictError, match="is not the file that was recorded"):
        target.read(digest=written.digest)


def test_an_edited_file_is_noticed(tmp_path: Path) -> None:
    """By its time."""
    target = target_in(tmp_path)
    written = target.write([1, 2])
    path = tmp_path / "place/3.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"7"))
    os.utime(path, ns=(0, (written.mtime_ns or 0) + 1))
    assert target.found(**known(written)) is Found.CHANGED


def test_an_edited_file_of_the_same_size_and_time_is_noticed_by_its_digest(tmp_path: Path) -> None:
    """At once with verify="digest", and otherwise when it is read."""
    target = target_in(tmp_path)
    written = target.write([1, 2])
    path = tmp_path / "place/3.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"7"))
    os.utime(path, ns=(0, written.mtime_ns or 0))
    assert target.found(**known(written)) is Found.AS_RECORDED
    assert target.found(**known(written), verify="digest") is Found.CHANGED
    assert target_in(tmp_path, verify="digest").found(**known(written)) is Found.CHANGED
    with pytest.raises(ConflictError):
        target.read(digest=written.digest)


def test_a_copied_file_is_the_recorded_one(tmp_path: Path) -> None:
    """Its time differs, its bytes do not."""
    target = target_in(tmp_path)
    written = target.write([1, 2])
    os.utime(tmp_path / "place/3.json", ns=(0, 5))
    assert target.found(**known(written)) is Found.AS_RECORDED


def test_a_serializer_that_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    class Failing(Json):
        def write(self, value: Any, file: Any) -> None:
            file.write(b"[1, ")
            raise ArithmeticError("no more digits")

    written = target_in(tmp_path).write([1, 2])
    with pytest.raises(ArithmeticError, match="no more digits"):
        LocalResult(tmp_path / "place", serializer=Failing()).at("3.json", {}).write([3])
    assert target_in(tmp_path).read(digest=written.digest) == [1, 2]
    assert os.listdir(tmp_path / "place") == ["3.json"]


def test_a_value_that_is_not_taken_touches_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        target_in(tmp_path).write(float("nan"))
    assert not (tmp_path / "place").exists()


class OfBytes(Json):
    def content(self, value: Any) -> Any:
        return b"blake3"


class OfNothing(Json):
    @property
    def media_type(self) -> Any:
        return None


@pytest.mark.parametrize(("serializer", "said"), [(OfBytes(), r"content\(\) is a text"), (OfNothing(), "media_type")])
def test_a_serializer_that_says_no_text_is_refused_and_touches_nothing(
    tmp_path: Path, serializer: Json, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"of a serializer {said}"):
        LocalResult(tmp_path / "place", serializer=serializer).at("3.json", {}).write([3])
    assert not (tmp_path / "place").exists()


def test_what_cannot_be_read_is_said_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place/3.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting") as caught:
        target_in(tmp_path).read()
    assert "3.json" in caught.value.__notes__[0]


# ---------------------------------------------------------------------- one word


@pytest.mark.parametrize("kind", [LocalResult, MemoryResult, Result])
def test_one_word_says_where_results_lie(kind: type[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same arguments, the same values."""
    monkeypatch.chdir(tmp_path)
    target = kind(f"staging/{uuid.uuid4().hex}", serializer=Npy()).at("{cell:02d}.npy", {"cell": 3})
    written = target.write(np.arange(3))
    assert target.found(**known(written)) is Found.AS_RECORDED
    assert target.found(**known(written), verify="digest") is Found.AS_RECORDED
    assert np.array_equal(target.read(digest=written.digest), np.arange(3))
    assert target.found(**{**known(written), "digest": "blake3:00"}, verify="digest") is Found.CHANGED
    assert target.found(**{**known(written), "size": 3}) is Found.CHANGED


def test_words_name_their_places() -> None:
    assert S3Result("bucket/cells").storage.uri("3.npy") == "s3://bucket/cells/3.npy"
    assert RemoteResult("gs://bucket/cells").storage.uri("3.npy") == "gs://bucket/cells/3.npy"
    assert MemoryResult("cells").storage.uri("3.npy") == "memory://cells/3.npy"
    with pytest.raises(InvalidInputError, match="take RemoteResult"):
        LocalResult("s3://bucket/cells")


def test_a_package_that_is_missing_is_said_before_the_task_runs() -> None:
    with pytest.raises(MissingExtraError, match="s3fs"):
        S3Result("bucket/cells", serializer=Json()).at("{cell}.json", {"cell": 3})


def test_a_directory_is_meant_from_where_it_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = LocalResult("place", serializer=Json())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result.at("3.json", {}).write(3)
    assert (tmp_path / "place/3.json").exists()


def test_without_a_target_no_two_calls_meet(tmp_path: Path) -> None:
    """A name for people, and the identity of the call."""
    result = LocalResult(tmp_path, serializer=Npy())
    assert result.default("cells.project", "ab12").path == "cells.project/ab12.npy"
    assert result.default("cells.<locals>.f/../g", "ab12").path == "cells.-locals-.f-..-g/ab12.npy"
    with pytest.raises(InvalidInputError, match="give target="):
        LocalResult(tmp_path).default("cells.project", "ab12")


@pytest.mark.parametrize("wrong", [{"serializer": "npy"}, {"verify": "never"}, {"serializer": Npy}])
def test_wrong_settings_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    if wrong == {"serializer": Npy}:  # a class has the methods too, and takes no values
        with pytest.raises(TypeError):
            LocalResult(tmp_path, **wrong).at("3.npy", {}).write(np.zeros(1))
        return
    with pytest.raises(InvalidInputError):
        LocalResult(tmp_path, **wrong)


def test_the_serializer_is_chosen_by_the_ending(tmp_path: Path) -> None:
    assert LocalResult(tmp_path).at("3.npy", {}).serializer == Npy()
    with pytest.raises(InvalidInputError, match="no serializer belongs"):
        LocalResult(tmp_path).at("3", {})


def test_results_and_targets_go_to_other_processes(tmp_path: Path) -> None:
    result = pickle.loads(pickle.dumps(LocalResult(tmp_path, serializer=Json(), verify="digest")))
    assert result.verify is Verify.DIGEST
    written = pickle.loads(pickle.dumps(result.at("3.json", {}))).write([1])
    assert result.at("3.json", {}).read(digest=written.digest) == [1]


# ---------------------------------------------------------------------- lazily


class Counting(Json):
    reads = 0

    def read(self, file: Any) -> Any:
        Counting.reads += 1
        return super().read(file)


@pytest.fixture
def counted(tmp_path: Path) -> Target:
    Counting.reads = 0
    return LocalResult(tmp_path / "place", serializer=Counting()).at("3.json", {})


def test_a_value_is_read_when_it_is_used_and_once(counted: Target) -> None:
    lazy = counted.lazy(counted.write([3, 1, 2]))
    assert "not read yet" in repr(lazy)
    assert not hasattr(lazy, "__fspath__")
    assert Counting.reads == 0
    threads = [threading.Thread(target=lambda: lazy[0]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lazy[0] == 3
    assert (list(lazy), len(lazy), 2 in lazy, lazy == [3, 1, 2], bool(lazy)) == ([3, 1, 2], 3, True, True, True)
    assert lazy + [4] == [3, 1, 2, 4]  # noqa: RUF005 -- what is tested
    assert [4] + lazy == [4, 3, 1, 2]  # noqa: RUF005
    assert lazy.index(1) == 1
    assert (str(lazy), repr(lazy)) == ("[3, 1, 2]", "[3, 1, 2]")
    assert Counting.reads == 1


def test_arrays_are_used_as_arrays(tmp_path: Path) -> None:
    target = LocalResult(tmp_path).at("3.npy", {})
    lazy = target.lazy(target.write(np.arange(6.0).reshape(2, 3)))
    assert lazy.shape == (2, 3)
    assert np.mean(lazy) == 2.5
    assert np.array_equal(lazy + np.ones((2, 3)), np.arange(1.0, 7.0).reshape(2, 3))
    assert np.array_equal(np.ones((2, 3)) + lazy, np.arange(1.0, 7.0).reshape(2, 3))
    assert np.array_equal(2 * -lazy @ np.ones(3), [-6.0, -24.0])
    assert (lazy > 2).sum() == 3
    assert np.asarray(lazy, dtype=np.float32).dtype == np.float32
    assert lazy[1, 2] == 5.0
    assert loaded(lazy) is loaded(lazy)
    assert isinstance(loaded(lazy), np.ndarray)


def test_numbers_are_used_as_numbers(counted: Target) -> None:
    lazy = counted.lazy(counted.write(7))
    assert [10, 11, 12][: int(lazy) - 5] == [10, 11]
    assert list(range(10))[lazy] == 7
    assert (float(lazy), lazy * 2, 2**lazy, lazy % 4, hash(lazy)) == (7.0, 14, 128, 3, hash(7))
    assert f"{lazy}" == "7"


def test_a_result_of_a_result_is_written(counted: Target, tmp_path: Path) -> None:
    """What was not read yet is read to be written somewhere else."""
    lazy = counted.lazy(counted.write([1]))
    other = target_in(tmp_path / "other")
    assert other.read(digest=other.write(lazy).digest) == [1]


def test_it_travels_without_its_value(counted: Target) -> None:
    record = braid.Record(bytes(range(16)), 7, "result", "cells/3.json")
    lazy = counted.lazy(counted.write([1]), record=record)
    assert braid.record_of(lazy) == record
    travelled = pickle.loads(pickle.dumps(lazy))
    assert isinstance(travelled, Lazy)
    assert braid.record_of(travelled) == record
    assert Counting.reads == 0
    assert loaded(travelled) == [1]
    assert Counting.reads == 1


def test_a_file_that_changed_meanwhile_is_an_error_or_made_again(counted: Target, tmp_path: Path) -> None:
    """It never gives another value."""
    written = counted.write([1])
    (tmp_path / "place/3.json").write_text("[2]")
    with pytest.raises(ConflictError):
        loaded(counted.lazy(written))
    assert loaded(counted.lazy(written, otherwise=lambda: [1])) == [1]
    (tmp_path / "place/3.json").unlink()
    with pytest.raises(NotFoundError):
        len(counted.lazy(written))
    assert counted.lazy(written, otherwise=lambda: [1]) == [1]

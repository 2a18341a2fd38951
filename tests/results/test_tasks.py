"""Tasks with results, in one process: what a caller gets, what is read, and what a file is known by."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.results import Json, Lazy, LocalResult, MemoryResult, Npy, Png, loaded, source
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError, StorageError
from braid_hpc.vocabulary.identity import content_of_bytes
from tests.cli.conftest import Braid, cli
from tests.jobs import rows

__all__ = ["cli"]


class Counting(Json):
    reads = 0

    def read(self, file: Any) -> Any:
        Counting.reads += 1
        return super().read(file)


RAN: list[Any] = []


@braid.task(version="1", name="results.listed")
def listed(n: int) -> list[int]:
    RAN.append(n)
    return list(range(n))


@braid.task(version="1", name="results.summed")
def summed(numbers: list[int]) -> int:
    assert type(numbers) is list
    RAN.append("sum")
    return sum(numbers)


@braid.task(version="1", name="results.picture")
def picture(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (4, 5), dtype=np.uint8)


@braid.task(version="1", name="results.mean")
def mean(image: Any) -> float:
    RAN.append("mean")
    return float(np.mean(image))


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()
    Counting.reads = 0


class Jobs:
    """One job after the other, each merged into one store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0

    def __iter__(self) -> Iterator[int]:
        for number in range(2):
            with braid.job("job", log_dir=self.folder / "logs", store=self.folder / "prov.duckdb"):
                yield number
            braid.compact(self.folder / "logs", self.folder / "prov.duckdb")


def test_a_call_returns_the_same_whether_it_ran_or_not(tmp_path: Path) -> None:
    """What is in memory is not read; and a list that is handed on is the same argument each time."""
    there = listed.with_options(result=LocalResult(tmp_path / "a", serializer=Counting()), target="{n}.json")
    below = summed.with_options(result=LocalResult(tmp_path / "b", serializer=Counting()), target=lambda numbers: "x")
    for number in Jobs(tmp_path):
        numbers = there(4)
        total = below(numbers)
        assert (type(numbers), type(total)) == (Lazy, Lazy)
        assert RAN == [4, "sum"]
        assert Counting.reads == 0
        assert (loaded(numbers), loaded(total)) == ([0, 1, 2, 3], 6)
        assert Counting.reads == 2 * number


def test_a_file_that_is_another_one_when_it_is_read_is_made_again(tmp_path: Path) -> None:
    there = listed.with_options(result=LocalResult(tmp_path / "a", serializer=Json()), target="{n}.json")
    for number in Jobs(tmp_path):
        numbers = there(4)
        if number:
            (tmp_path / "a/4.json").write_text("[9, 9, 9, 9]")
        assert loaded(numbers) == [0, 1, 2, 3]
        assert len(RAN) == number + 1
    with braid.open(tmp_path / "prov.duckdb") as store:
        reasons = rows(store, "select reason from tasks order by created")
    assert reasons == [("no-index",), ("target-changed",)]


def test_a_file_at_the_place_of_another_call_is_told_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    there = listed.with_options(result=LocalResult(tmp_path / "a", serializer=Json()), target="same.json")
    for number in Jobs(tmp_path):
        capfd.readouterr()
        assert loaded(there(4 + number)) == list(range(4 + number))
        told = [line for line in capfd.readouterr().err.splitlines() if "made by another call" in line]
        assert len(told) == number


def test_from_a_file_to_what_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path: function, parameters and commit, without knowing more of it than where it lies."""
    # The commit is that of the script, and who runs the tests may be installed from another repository.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    there = picture.with_options(result=LocalResult(tmp_path / "a", serializer=Png()), target="{seed}.png")
    with braid.job("job", log_dir=tmp_path / "logs"):
        there(3)
        there(4)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        (found,) = store.find(uri=(tmp_path / "a/3.png").as_uri())
        answer = store.how(found["ref"])
        (step,) = answer.steps
        assert step.ref.startswith("activity:results.picture")
        assert (step.params or {})["seed"] == 3
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
        if commit.returncode == 0:
            assert answer.runs[0].git == commit.stdout.strip()


def test_a_file_on_a_disk_is_known_by_its_bytes(tmp_path: Path, cli: Braid) -> None:
    """By path, wherever it was taken meanwhile, and by digest; one that was edited is not taken for another."""
    there = picture.with_options(result=LocalResult(tmp_path / "a", serializer=Png()), target="{seed}.png")
    with braid.job("job", log_dir=tmp_path / "logs"):
        for seed in (3, 4):
            there(seed)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "a/3.png").rename(tmp_path / "elsewhere/taken.png")
    digest = content_of_bytes(moved.read_bytes()).digest
    with braid.open(tmp_path / "prov.duckdb") as store:
        for asked in (moved, digest, digest.upper().replace("BLAKE3", "blake3"), tmp_path / "a/4.png"):
            (step,) = store.how(asked).steps
            assert (step.params or {})["seed"] == (4 if asked == tmp_path / "a/4.png" else 3)
        with pytest.raises(NotFoundError, match=r"there is no file .*a/3\.png"):
            store.how(tmp_path / "a/3.png")
        with pytest.raises(NotFoundError, match="nothing with the digest blake3:0"):
            store.how("blake3:" + "0" * 64)
        (tmp_path / "a/4.png").write_bytes(b"edited")
        with pytest.raises(ConflictError, match=r"a/4\.png has other bytes than any file that was recorded there"):
            store.how(tmp_path / "a/4.png")
        moved.with_name("other.png").write_bytes(b"nobody's")
        with pytest.raises(NotFoundError, match=r"nothing with the bytes of .*other\.png"):
            store.how(moved.with_name("other.png"))
        with pytest.raises(StorageError):
            store.how(tmp_path)
    answer = cli("how", moved, "--store", tmp_path / "prov.duckdb")
    assert answer.exit_code == 0, answer.stderr
    assert "results.picture" in answer.stdout
    assert cli("how", tmp_path / "a/4.png", "--store", tmp_path / "prov.duckdb").exit_code == 5
    assert cli("how", "no-such-thing", "--store", tmp_path / "prov.duckdb").exit_code == 3


# ---------------------------------------------------------------------- what a flow begins with


@pytest.mark.parametrize("kind", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("path", "file")), "memory"])
def test_a_source_counts_by_its_content(kind: str, tmp_path: Path) -> None:
    """At any url: the same bytes are the same call, others are another one; and it is recorded as used."""
    folder = {"path": str(tmp_path), "file": tmp_path.as_uri(), "memory": f"memory://{uuid.uuid4().hex}"}[kind]
    place = (MemoryResult if kind == "memory" else LocalResult)(folder, serializer=Npy())
    place.at("cell.npy", {}).write(np.arange(4.0))
    place.at("copy.npy", {}).write(np.arange(4.0))
    for number in Jobs(tmp_path):
        assert mean(source(f"{folder}/cell.npy")) == 1.5
        assert RAN == ["mean"]
        if number:
            assert mean(source(f"{folder}/copy.npy")) == 1.5
            assert RAN == ["mean"]
            place.at("cell.npy", {}).write(np.arange(5.0))
            assert mean(source(f"{folder}/cell.npy")) == 2.0
            assert RAN == ["mean", "mean"]
    with braid.open(tmp_path / "prov.duckdb") as store:
        used = (
            "select distinct v.kind, v.name from tasks t join edges e on e.child = t.pk "
            "join versions v on v.id = e.parent"
        )
        assert rows(store, used) == [("data", f"{folder}/cell.npy")]


def test_a_source_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file at .*cell\.npy"):
        source(str(tmp_path / "cell.npy"))
    with pytest.raises(InvalidInputError, match="is a path or a url"):
        source(tmp_path / "cell.npy")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="no serializer belongs"):
        source(str(tmp_path / "cell"))

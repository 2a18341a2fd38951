"""Where the results of a plan are: in the store, on disk, on tape, gone; and claims of its cells."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import braid_hpc as braid
from braid_hpc.campaigns import Campaign
from braid_hpc.campaigns.claims import claimed, release
from braid_hpc.campaigns.plan import Plan, make_plan
from braid_hpc.results import LocalResult
from braid_hpc.run.streams import NO_ROWS, Stream
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError
from tests.campaigns.tasks import fit, half
from tests.jobs import one, rows
from tests.ranks import RunRanks

GRID = {"ensemble": ["a", "b"], "number": range(6)}


class World:
    """A store in which the cells of ensemble `a` are done, each with a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.data = folder, folder / "prov.duckdb", folder / "data"
        self.task = fit.with_options(result=LocalResult(self.data), target="{ensemble}/{number}.json")
        self.produce(range(6))

    def file(self, number: int) -> Path:
        return self.data / "a" / f"{number}.json"

    def produce(self, numbers: Any) -> None:
        with braid.job("fits", log_dir=self.folder / "logs", store=self.path):
            for number in numbers:
                self.task("a", number)
        braid.compact(self.folder / "logs", self.path)

    def say(self, state: str, numbers: Any, **about: Any) -> None:
        with braid.job("say", log_dir=self.folder / "logs") as run:
            run.mark(self.task, state, names=[self.file(number).as_uri() for number in numbers], **about)
        braid.compact(self.folder / "logs", self.path)

    def plan(self, store: Store) -> Plan:
        return Campaign(store).plan(self.task, GRID)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_where_results_are_is_what_was_said(world: World) -> None:
    """On disk as they were written, on tape as well, on tape alone, consumed, lost; whose result is lost is left."""
    world.say("exists", [0, 1, 2], place="tape", size=3)
    world.say("missing", [1, 3])
    world.say("corrupt", [4])
    world.say("consumed", [5])
    with Store(world.path) as store:
        plan = world.plan(store)
        states = {"total": 12, "done": 4, "running": 0, "failed": 0, "missing": 8, "stale": 0, "to_do": 8}
        assert plan.summary() == states | {"in_store": 0, "on_disk": 2, "on_tape": 3}
        assert plan.cells("lost")["number"] == [3, 4]
        assert [row["number"] for row in plan.missing() if row["ensemble"] == "a"] == [3, 4]
        (found,) = plan.results.batches()
        assert [(row["number"], row["on_disk"], row["on_tape"]) for row in found] == [
            (0, True, True),
            (1, False, True),
            (2, True, True),
            (5, False, False),
        ]
        assert found["uri"] == [world.file(number).as_uri() for number in (0, 1, 2, 5)]
        assert set(found["size"]) == {world.file(0).stat().st_size}
        # Nothing of it is known to who only has the done index.
        assert Plan(plan.task, plan.grid, world.path).counts()["done"] == 6
    world.file(3).unlink()
    world.produce([3])
    with Store(world.path) as store:
        assert world.plan(store).cells("lost")["number"] == [4], (
            "what was made again is there, whatever was said before"
        )


def test_what_is_missing_while_it_is_made_again_is_there_when_it_was(tmp_path: Path) -> None:
    """Somebody looks for the files of a production that is at work: what it writes after that look is no less there."""
    path, logs = tmp_path / "prov.duckdb", tmp_path / "logs"

    @braid.task(version="1", name="slow", result=LocalResult(tmp_path / "data"), target="{n}.json")
    def slow(n: int) -> int:
        if path.exists():
            with Store(path) as store:
                assert Campaign(store).plan(slow, {"n": range(2)}).results.verify() == {"missing": 1}
        return n

    file = tmp_path / "data" / "1.json"
    for _ in range(2):
        file.unlink(missing_ok=True)
        with braid.job("slow", log_dir=logs, store=path):
            slow(0)
            slow(1)
        braid.compact(logs, path)
    assert file.exists()
    with Store(path) as store:
        plan = Campaign(store).plan(slow, {"n": range(2)})
        assert plan.counts()["done"] == 2
        assert len(plan.missing()) == 0


def test_verify_tells_what_became_of_files(world: World) -> None:
    """Gone, cut in half, empty, being written; what is on tape or was consumed may be gone; nothing is said twice."""
    old = time.time() - 3600
    world.say("exists", [4], place="tape")
    world.say("consumed", [5])
    for number in (0, 4, 5):
        world.file(number).unlink()
    world.file(1).write_bytes(world.file(1).read_bytes()[:1])
    world.file(2).write_bytes(b"")
    for number in (1, 2):
        os.utime(world.file(number), (old, old))
    world.file(3).write_bytes(b"longer than it was")
    with Store(world.path) as store:
        plan = world.plan(store)
        assert plan.results.verify() == {"missing": 1, "corrupt": 2, "growing": 1}
        assert plan.cells("lost")["number"] == [0, 1, 2]
        assert plan.summary()["on_disk"] == 2, "the one that grows and the one on tape, which nobody misses"
        snapshot = store.snapshot
        assert plan.results.verify() == {}
        assert store.snapshot == snapshot
        os.utime(world.file(3), (old, old))
        world.produce([0])
        store.refresh()
        assert world.plan(store).results.verify() == {"corrupt": 1}
        for wrong in (-1, "soon", True, float("nan")):
            with pytest.raises(InvalidInputError, match="young= is a number of seconds"):
                plan.results.verify(young=wrong)  # type: ignore[arg-type]


def test_verify_lists_each_directory_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a plan that is not told to look asks the file system nothing."""
    listed: list[str] = []
    scandir = os.scandir

    def listing(path: Any) -> Any:
        listed.append(os.fspath(path))
        return scandir(path)

    with Store(world.path) as store:
        plan = world.plan(store)
        with patch.object(os, "scandir", listing):
            plan.summary()
            list(plan.results.batches())
            assert listed == []
            assert plan.results.verify() == {}
        assert listed == [str(world.data / "a")]


def test_a_directory_that_cannot_be_listed_says_nothing_of_files(world: World) -> None:
    """Not that they are missing."""
    refused = patch("os.scandir", side_effect=PermissionError(13, "Permission denied"))
    with Store(world.path) as store, refused, pytest.raises(StorageError, match="cannot be listed"):
        world.plan(store).results.verify()


def test_results_elsewhere_are_counted(tmp_path: Path) -> None:
    """Those of no file system of this machine are not looked at, and that is said; values are in the store."""
    task = fit.with_options(result=braid.results.RemoteResult("memory://campaign"), target="{ensemble}-{number}.json")
    with braid.job("fits", log_dir=tmp_path / "logs"):
        task("a", 1)
        half(3)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        assert Campaign(store).plan(task, GRID).results.verify() == {"not looked at": 1}
        summary = Campaign(store).plan(half, {"x": range(4)}).summary()
        assert (summary["in_store"], summary["on_disk"], summary["missing"]) == (1, 0, 3)


def test_without_an_open_store_nothing_is_said_of_places(world: World) -> None:
    """Nor can anything be claimed."""
    plan = make_plan(world.task, GRID, world.path)
    for ask in (plan.summary, plan.claim):
        with pytest.raises(InvalidInputError, match="is not in the done index: make the plan with"):
            ask()


@pytest.mark.parametrize("wrong", [{"names": None}, {"names": "file:///a"}, {"names": ["a"], "size": ["b"]}])
def test_a_mark_of_a_task_names_its_results(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with one(tmp_path / "logs") as job, pytest.raises(InvalidInputError):
        job[0].mark(fit, "exists", **wrong)


# ---------------------------------------------------------------------- other source


def test_cells_of_other_source_are_outdated(tmp_path: Path) -> None:
    """As the calls themselves would find; unless the task takes what the old code made."""
    sources = ["return number", "return number + 1"]
    made = []
    for at, source in enumerate(sources):
        file = tmp_path / f"program{at}.py"
        file.write_text(
            "import braid_hpc as braid\n\n@braid.task(version='1', name='changing')\n"
            f"def changing(number: int) -> int:\n    {source}\n"
        )
        names: dict[str, Any] = {"__name__": f"program{at}", "__file__": str(file)}
        exec(compile(file.read_text(), str(file), "exec"), names)
        made.append(names["changing"])
    old, new = made
    with braid.job("fits", log_dir=tmp_path / "logs"):
        for number in range(3):
            old(number)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        grid = {"number": range(4)}
        assert Campaign(store).plan(old, grid).counts()["done"] == 3
        plan = Campaign(store).plan(new, grid)
        assert (plan.counts()["outdated"], plan.summary()["stale"], len(plan.missing())) == (3, 3, 4)
        assert Campaign(store).plan(new.with_options(code="keep"), grid).counts()["done"] == 3


# ---------------------------------------------------------------------- parts


@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_parts_are_the_whole(world: World, size: int) -> None:
    with Store(world.path) as store:
        plan = Campaign(store).plan(world.task, {"ensemble": ["a", "b"], "number": range(9)})
        parts = list(plan.batches(size))
        assert [row for part in parts for row in part] == plan.missing().to_pylist()
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
        with pytest.raises(InvalidInputError, match="one row at least"):
            plan.batches(0)


# ---------------------------------------------------------------------- claims


def test_a_claim_is_of_cells_that_are_left(world: World) -> None:
    """Another one gets others, of another grid too; it ends by its time or is given back; done cells are not free."""
    with Store(world.path) as store:
        plan = world.plan(store)
        first, mine = plan.claim(most=2, who="me")
        assert [(row["ensemble"], row["number"]) for row in mine.missing()] == [("b", 0), ("b", 1)]
        assert {(row["claim"], row["table"], row["who"]) for row in claimed(store)} == {(first, fit.marks_as, "me")}
        other = Campaign(store).plan(world.task, {"ensemble": ["b", "b"], "number": range(1, 4)})
        second, theirs = other.claim(seconds=3600)
        assert theirs.missing()["number"] == [2, 3], "each once, although the grid has it twice"
        assert plan.claim(most=9)[1].missing()["number"] == [4, 5]
        nothing, none = plan.claim()
        assert (nothing, len(none)) == ("", 0)
        assert claimed(store, now=time.time_ns() + 2 * 3600 * 10**9)["name"] != []
        assert release(store, second) == 2
        assert plan.claim(most=1)[1].missing()["number"] == [2]
        shares = [mine.share(rank, 3).to_pylist() for rank in range(3)]
        assert sorted(row["number"] for share in shares for row in share) == [0, 1]
        assert [call.keywords["number"] for call in mine.calls()] == [0, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"most": most} for most in (0, -1, 1.5, "all", True)),
        *({"seconds": seconds} for seconds in (0, float("nan"), float("inf"), 1e12, "hour", True)),
        {"who": 5},
    ],
)
def test_what_is_no_claim_takes_nothing(world: World, wrong: dict[str, Any]) -> None:
    with Store(world.path) as store:
        with pytest.raises(InvalidInputError):
            world.plan(store).claim(**wrong)
        assert len(claimed(store)) == 0


def test_a_lease_that_ended_is_free_again(world: World) -> None:
    with Store(world.path) as store:
        plan = world.plan(store)
        assert len(plan.claim(seconds=0.01)[1]) == 6
        time.sleep(0.02)
        assert len(plan.claim()[1]) == 6


def test_what_could_not_be_said_is_not_claimed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAID_STRICT")
    with Store(world.path) as store:
        with monkeypatch.context() as refused:
            refused.setattr(Stream, "extend", lambda *_: NO_ROWS)
            with pytest.raises(StorageError, match="could not be written"):
                world.plan(store).claim(most=1)
        assert len(claimed(store)) == 0


SUBMITTER = """
import sys
import braid_hpc as braid
from braid_hpc.campaigns import Campaign
from tests.campaigns.tasks import half

with braid.open(sys.argv[1]) as store:
    plan = Campaign(store).plan(half, {"x": range(int(sys.argv[2]), 40)})
    for _ in range(2):
        print(*plan.claim(most=5)[1].missing()["x"])
"""


def test_submitters_at_once_get_different_cells(tmp_path: Path) -> None:
    """Real processes, of grids that begin at different cells."""
    path = tmp_path / "prov.duckdb"
    with braid.job("begin", log_dir=tmp_path / "logs"):
        half(0)
    braid.compact(tmp_path / "logs", path)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SUBMITTER, str(path), str(first)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for first in (0, 3, 0)
    ]
    taken = [int(number) for process in started for number in process.communicate(timeout=120)[0].split()]
    assert all(process.returncode == 0 for process in started)
    assert len(taken) == len(set(taken)) == 30


ROOT = Path(__file__).parents[2]

RANKS = """
import sys
from pathlib import Path
from mpi4py import MPI
import braid_hpc as braid
from braid_hpc.campaigns.grid import Grid
from braid_hpc.campaigns.plan import make_plan
from tests.campaigns.tasks import half

comm = MPI.COMM_WORLD
plan = make_plan(half, {"x": range(1000)}, sys.argv[1])
mine = plan.share(comm.Get_rank(), comm.Get_size())["x"]
Path(sys.argv[2], str(comm.Get_rank())).write_text(" ".join(map(str, mine)))
with braid.job("halves", log_dir=sys.argv[3]):
    for x in mine:
        half(x)
"""


def test_ranks_take_each_cell_once(tmp_path: Path, run_ranks: RunRanks) -> None:
    """Nobody asks anybody: the union of what ranks took is all that was left, and nothing was done twice."""
    path = tmp_path / "prov.duckdb"
    with braid.job("begin", log_dir=tmp_path / "logs"):
        for x in range(0, 1000, 7):
            half(x)
    braid.compact(tmp_path / "logs", path)
    (tmp_path / "took").mkdir()
    run_ranks(4, RANKS, path, tmp_path / "took", tmp_path / "more", env={"PYTHONPATH": str(ROOT)})
    took = [list(map(int, file.read_text().split())) for file in sorted((tmp_path / "took").iterdir())]
    assert len(took) == 4
    assert all(took)
    assert sorted(x for mine in took for x in mine) == [x for x in range(1000) if x % 7]
    braid.compact(tmp_path / "more", path)
    with Store(path) as store:
        plan = Campaign(store).plan(half, {"x": range(1000)})
        assert plan.counts()["done"] == 1000
        assert rows(store, "select count(*) from double_executions") == [(0,)]

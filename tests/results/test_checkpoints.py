"""Flows of tasks with results: what is done is not done again, and what is not as it was is."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from tests.ranks import RunRanks

FLOW = """
import os, sys
import braid_hpc as braid
from braid_hpc.results import DatasetResult, Json, LocalResult, MemoryResult, Text, loaded

@braid.task(version="1", result=LocalResult("staging", serializer=Text()), target="first-{n}.txt")
def first(n: int) -> str:
    return "text of " + str(n % 5)

@braid.task(version="1", result=LocalResult("staging", serializer=Json()), target=lambda n: f"second-{n}.json")
def second(n: int, text: str) -> list:
    assert type(text) is str  # what a function gets is the value itself
    return [n, text.upper()]

@braid.task(
    version="1",
    result=DatasetResult("texts", readme="Texts.", file_columns=["first", "second"], within="datasets"),
)
def collected(firsts: list, seconds: list) -> list:
    return [{"n": n, "first": a, "second": b} for n, (a, b) in enumerate(zip(firsts, seconds))]

@braid.task(version="1", result=LocalResult("staging", serializer=Json()), target="total.json")
def total(seconds: list) -> dict:
    return {"letters": sum(len(text) for _, text in seconds)}

def flow(mapped=map):
    firsts = list(mapped(first, range(6)))
    seconds = list(mapped(second, range(6), firsts))
    found = total(seconds)
    collected(firsts, seconds)
    return found["letters"]

@braid.job("flow", log_dir="logs", store="prov.duckdb")
def main():
    print(flow())

if __name__ == "__main__":
    main()
"""

STEPS = ("first", "second", "collected", "total")
#: All calls of the flow.
ALL = {"first": 6, "second": 6, "collected": 1, "total": 1}


class Flow:
    """A folder with the flow in it, which is changed and started again."""

    def __init__(self, folder: Path, run_ranks: RunRanks) -> None:
        self.folder, self._run_ranks = folder, run_ranks
        self.path = folder / "flow.py"
        self.path.write_text(FLOW)

    def edit(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))

    def start(self, ranks: int = 0, *, code: int = 0) -> str:
        """Run it, merge what it recorded, and give what it printed."""
        done = self._run_ranks(ranks, self.path, cwd=self.folder, check=code == 0)
        assert (done.returncode == 0) == (code == 0)
        braid.compact(self.folder / "logs", self.folder / "prov.duckdb")
        return done.stdout.strip()

    def rows(self, query: str) -> list[Any]:
        with braid.open(self.folder / "prov.duckdb") as store:
            found: list[Any] = store.sql(query).to_pylist()
            return found

    def made(self) -> dict[str, int]:
        """Count the calls that ran in the latest run, by step."""
        found = self.rows(
            "select split_part(replace(task, ':', '.'), '.', -1) as step, count(*) as n from task_calls "
            "where status = 'done' and run = (select run from runs order by begin_time desc limit 1) group by step"
        )
        return {row["step"]: row["n"] for row in found}

    def reasons(self, step: str) -> set[str]:
        return {
            row["reason"]
            for row in self.rows(
                f"select reason from tasks where task like '%{step}' "
                "and run = (select run from runs order by begin_time desc limit 1)"
            )
        }

    def files(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for name in ("staging", "datasets")
            for path in (self.folder / name).rglob("*")
            if path.is_file()
        }


@pytest.fixture
def flow(tmp_path: Path, run_ranks: RunRanks) -> Flow:
    (tmp_path / "flow").mkdir()
    return Flow(tmp_path / "flow", run_ranks)


@pytest.mark.slow
def test_the_second_start_makes_nothing(flow: Flow) -> None:
    """It reads what it needs; and nothing in the functions opens a file."""
    assert not re.search(r"\bopen\(", FLOW.replace("braid.open", ""))
    assert flow.start() == "54"
    assert flow.made() == ALL
    before = flow.files()
    assert flow.start() == "54"
    assert flow.made() == {}
    assert flow.files() == before


@pytest.mark.slow
def test_a_deleted_file_and_one_cut_in_half_are_made_again_and_nothing_below_them(flow: Flow) -> None:
    """Because what came out is the same."""
    flow.start()
    before = flow.files()
    (flow.folder / "staging/first-1.txt").unlink()
    os.truncate(flow.folder / "staging/first-2.txt", 3)
    assert flow.start() == "54"
    assert flow.made() == {"first": 2}
    assert flow.reasons("first") == {"target-missing", "target-changed"}
    assert flow.files() == before


@pytest.mark.slow
def test_an_edited_file_of_the_same_size_and_time_is_made_again_when_it_is_read(flow: Flow) -> None:
    flow.start()
    before = flow.files()
    path = flow.folder / "staging/second-3.json"
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"TEXT", b"LIES"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    flow.edit(
        'version="1", result=LocalResult("staging", serializer=Json()), target="total',
        'version="2", result=LocalResult("staging", serializer=Json()), target="total',
    )
    assert flow.start() == "54"
    assert flow.made() == {"second": 1, "total": 1}
    assert flow.files() == before


@pytest.mark.slow
def test_a_changed_function_runs_again_and_what_is_below_it(flow: Flow) -> None:
    """What is not below it does not; and where its results are the same, neither does what is below."""
    flow.start()
    flow.edit("text.upper()", "text.upper() + '!'")
    flow.edit(
        'version="1", result=LocalResult("staging", serializer=Json()), target=lambda',
        'version="2", result=LocalResult("staging", serializer=Json()), target=lambda',
    )
    assert flow.start() == "60"
    assert flow.made() == {"second": 6, "collected": 1, "total": 1}
    runs = [row["run"] for row in flow.rows("select run from runs order by begin_time")]
    with braid.open(flow.folder / "prov.duckdb") as store:
        said = str(store.diff(f"run:{runs[0]}", f"run:{runs[1]}"))
    # What changed, and the dataset that it changed.
    assert re.search(r"second\.version: '1' -> '2'", said)
    assert re.search(r"dataset:texts: 'blake3:\w+' -> 'blake3:\w+'", said)
    flow.edit(
        'version="1", result=LocalResult("staging", serializer=Text())',
        'version="2", result=LocalResult("staging", serializer=Text())',
    )
    assert flow.start() == "60"
    assert flow.made() == {"first": 6}


@pytest.mark.slow
def test_what_is_below_a_file_that_came_out_otherwise_is_made_again(flow: Flow) -> None:
    """Two files are deleted, and one of their functions gives another value now: what came of that one runs, too."""
    flow.edit(
        'return "text of " + str(n % 5)', 'return "text of " + str(n % 5 + 2 * (n == 1 and os.path.exists("salt")))'
    )
    flow.start()
    for number in (1, 2):
        (flow.folder / f"staging/first-{number}.txt").unlink()
    (flow.folder / "salt").touch()
    assert flow.start() == "54"
    assert flow.made() == {"first": 2, "second": 1, "collected": 1, "total": 1}
    assert flow.reasons("first") == {"target-missing"}
    assert (flow.folder / "staging/first-1.txt").read_text() == "text of 3"


@pytest.mark.slow
def test_what_a_change_will_cost_is_known_before(flow: Flow) -> None:
    """From the durations on record, within a fifth of what it then takes."""
    flow.edit("import os, sys\n", "import os, sys, time\n")
    flow.edit("assert type(text) is str", "time.sleep(0.3)\n    assert type(text) is str")
    flow.start()
    (task,) = {row["task"] for row in flow.rows("select task from tasks where task like '%second'")}
    with braid.open(flow.folder / "prov.duckdb") as store:
        expected = store.redo(task)
    flow.edit(
        'version="1", result=LocalResult("staging", serializer=Json()), target=lambda',
        'version="2", result=LocalResult("staging", serializer=Json()), target=lambda',
    )
    flow.edit("text.upper()", "text.upper() + '!'")
    flow.start()
    assert flow.made() == {each.task.rpartition(".")[2].rpartition(":")[2]: each.calls for each in expected.tasks}
    latest = "(select run from runs order by begin_time desc limit 1)"
    ((took,),) = [
        tuple(row.values()) for row in flow.rows(f"select sum(duration) as s from tasks where run = {latest}")
    ]
    assert took > 1.8
    assert expected.seconds == pytest.approx(took, rel=0.2)


@pytest.mark.slow
def test_a_file_that_another_call_made_at_the_same_place_is_not_taken(flow: Flow) -> None:
    """Same path, another key: it is made again, each time."""
    flow.edit('"first-{n}.txt"', '"first.txt"')
    flow.edit("firsts = list(mapped(first, range(6)))", "firsts = [first(n) for n in (1, 2)] * 3")
    flow.edit("found = total(seconds)\n    collected(firsts, seconds)", "found = total(seconds)")
    first = flow.start()
    assert flow.made()["first"] == 2
    assert (flow.folder / "staging/first.txt").read_text() == "text of 2"
    assert flow.start() == first
    assert flow.made()["first"] >= 1
    assert flow.reasons("first") <= {"target-changed"}


@pytest.mark.slow
def test_a_location_is_always_written(flow: Flow) -> None:
    """What is below runs only where content changed."""
    flow.edit('target="first-{n}.txt"', 'location="first-{n}.txt"')
    flow.start()
    assert flow.start() == "54"
    assert flow.made() == {"first": 6}
    assert flow.reasons("first") == {"location"}


@pytest.mark.slow
def test_results_lie_somewhere_else_by_one_word(flow: Flow) -> None:
    """In one process; the values are the same."""
    flow.edit("LocalResult(", "MemoryResult(")
    flow.edit(
        "import braid_hpc as braid\nfrom braid_hpc.results import",
        "import braid_hpc as braid\nfrom braid_hpc.results import LocalResult,",
    )
    flow.edit("LocalResult, DatasetResult, Json, LocalResult, MemoryResult", "DatasetResult, Json, MemoryResult")
    assert flow.start() == "54"
    assert flow.made() == ALL
    assert set(flow.files()) == {"datasets/texts/manifest.parquet", "datasets/texts/README.md"}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["{cell}.txt", "../{n}.txt", "/tmp/{n}.txt"])
def test_a_wrong_target_is_said_before_anything_runs(flow: Flow, wrong: str) -> None:
    flow.edit('"first-{n}.txt"', repr(wrong))
    flow.edit('return "text of " + str(n % 5)', 'raise SystemExit("it ran")')
    flow.start(code=1)
    assert flow.files() == {}
    assert flow.made() == {}


@pytest.mark.parametrize("where", [pytest.param("between", marks=pytest.mark.slow), "in a write"])
def test_a_flow_that_is_killed_makes_the_rest(flow: Flow, where: str) -> None:
    """Its answer is that of a flow that was not."""
    if where == "between":
        flow.edit(
            '    return "text of "',
            f"""
    if n == 4 and not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), {signal.SIGKILL})
    return "text of \"""",
        )
    else:
        flow.edit(
            '@braid.task(version="1", result=LocalResult("staging", serializer=Text())',
            f"""
class Killing(Text):
    def write(self, value, file):
        file.write(b"half")
        if value.endswith("4") and not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), {signal.SIGKILL})
        file.seek(0)
        super().write(value, file)

@braid.task(version="1", result=LocalResult("staging", serializer=Killing())""",
        )
    flow.start(code=-9)
    assert flow.made() == {"first": 4}
    assert sorted(flow.files()) == [f"staging/first-{n}.txt" for n in range(4)]
    assert flow.start() == "54"
    assert flow.made() == {**ALL, "first": 2}
    names = {f"{step}-{n}.{kind}" for step, kind in (("first", "txt"), ("second", "json")) for n in range(6)}
    expected = {f"staging/{name}" for name in (*names, "total.json")}
    assert set(flow.files()) == expected | {"datasets/texts/manifest.parquet", "datasets/texts/README.md"}


POOL = """
from mpi4py import MPI
from mpi4py.futures import MPICommExecutor

@braid.job("flow", log_dir="logs", store="prov.duckdb")
def main():
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
        if pool is not None:
            print(flow(pool.map))
"""


@pytest.mark.slow
@pytest.mark.mpi_matrix
def test_ranks_as_a_pool_make_what_one_process_makes(flow: Flow) -> None:
    """And each takes what the other has made: in whatever process a result is used, it counts by its content."""
    assert flow.start() == "54"
    before = flow.files()
    flow.edit('\n@braid.job("flow"', f'{POOL.replace("@braid.job", "@ranks.job")}\n@braid.job("flow"')
    text = flow.path.read_text()
    head, _, tail = text.partition("\n@ranks.job")
    pool, _, _ = tail.partition('\n@braid.job("flow"')
    flow.path.write_text(f'{head}\n@braid.job{pool}\nif __name__ == "__main__":\n    main()\n')
    assert flow.start(3) == "54"
    assert flow.made() == {}
    for path in flow.files():
        (flow.folder / path).unlink()
    assert flow.start(3) == "54"
    assert flow.made() == ALL
    assert flow.files() == before

# mypy: disable-error-code="attr-defined,call-arg,arg-type"
"""Tasks that are classes, and building them with what they require."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.tasks import build
from braid_hpc.tasks.classes import described
from braid_hpc.tasks.task import Task
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError
from tests.ranks import RunRanks
from tests.tasks.classes import Base, Diamond, Egg, Mean, Numbers, Side, Written, numbers
from tests.tasks.functions import RAN

Runs = Callable[..., Any]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Do something in a run of its own, merge what it logged, and return what it gave and what ran."""
    done: list[Path] = []

    def run(what: Callable[[], Any]) -> Any:
        RAN.clear()
        done.append(tmp_path / f"logs-{len(done)}")
        with braid.job("job", log_dir=done[-1], store=tmp_path / "prov.duckdb"):
            found = what()
        braid.compact(done[-1], tmp_path / "prov.duckdb")
        return found, RAN[:]

    return run


def asked(tmp_path: Path, query: str) -> list[tuple[Any, ...]]:
    with braid.open(tmp_path / "prov.duckdb") as store:
        return [tuple(row.values()) for row in store.sql(query).to_pylist()]


def test_a_class_has_the_identity_of_the_function_that_it_is_like() -> None:
    """Name, version and parameters make the key, defaults spelled out or not, in any order."""
    assert Numbers(0).key() == numbers.key_of(0)
    assert Numbers(draws=1, seed=0, delay_time=0).key() == Numbers(0).key()
    keys = {Numbers(*each).key() for each in ((0,), (0, 10), (3, 2, 5), (5, 1, 3))}
    assert len(keys) == 4
    assert Numbers(3) == Numbers(seed=3)
    assert repr(Numbers(3)) == "Numbers(seed=3, draws=1, delay_time=0.0)"
    assert described(Numbers) == {"seed": "The random seed to use.", "draws": "The number of draws to make."}
    assert pickle.loads(pickle.dumps(Numbers(3))) == Numbers(3)
    task = Numbers.__braid_task__
    assert isinstance(task, Task)
    assert pickle.loads(pickle.dumps(task)) is task


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Numbers(), "task RNG.Numbers: missing a required argument: 'seed'"),
        (lambda: Numbers("3"), "task RNG.Numbers: seed= is '3', a str, and is declared int"),
        (lambda: Numbers(3, tries=1), "task RNG.Numbers: got an unexpected keyword argument 'tries'"),
        (lambda: Numbers(3, draws=2.5), "task RNG.Numbers: draws= is 2.5, a float, and is declared int"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_sentence_before_anything_runs(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(InvalidInputError) as told:
        make()
    assert str(told.value) == message


class NoRun:
    """Has none."""


class OwnInit:
    """Makes itself."""

    def __init__(self) -> None:
        """Do nothing."""

    def run(self) -> None:
        """Do nothing."""


class Reserved:
    """Has a parameter of a name that is taken."""

    output: int = 3

    def run(self) -> None:
        """Do nothing."""


class Shared:
    """Has a default that all instances would share."""

    xs: list[int] = []  # noqa: RUF012 - that is what is refused

    def run(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (NoRun, "a class that is a task has a method run"),
        (OwnInit, "its parameters are its annotated attributes"),
        (Reserved, "output is a method"),
        (Shared, "mutable default"),
        (Numbers, "which no other task has yet"),
    ],
)
def test_a_class_that_can_be_no_task_is_refused(made: type, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        braid.task(version="1")(made)


def test_running_and_building_record_the_same(runs: Runs, tmp_path: Path) -> None:
    """There is no way round the recorder, and what is done is not done again."""
    value, ran = runs(lambda: Numbers(3, 2).run())
    assert np.asarray(value["samples"], np.float32).tolist() == np.float32([1.7886285, 0.43650985]).tolist()
    built, built_ran = runs(lambda: build([Numbers(5), Numbers(3, 2), Numbers(5)]))
    assert (ran, built_ran) == ([(3, 2)], [(5, 1)])
    assert [(step.call, step.status) for step in built] == [(Numbers(5), "done"), (Numbers(3, 2), "skipped")]
    rows = asked(
        tmp_path,
        "select t.task, t.status, p.parameter_name, p.parameter_value, tp.role from tasks t join task_parameters tp "
        "on tp.task_pk = t.pk join parameters p on p.pk = tp.parameter_pk order by t.pk, tp.position",
    )
    names = ["seed", "draws", "delay_time", "version_major", "version_minor"]
    assert [row[2] for row in rows] == names * 2
    assert [row[3] for row in rows] == ["3", "2", "0.0", "0", "1", "5", "1", "0.0", "0", "1"]
    assert {row[:2] for row in rows} == {("RNG.Numbers", "done")}
    assert asked(tmp_path, "select count(*) from astra.numbers")[0] == (2,)


def test_a_diamond_is_built_in_order_and_each_of_it_once(runs: Runs, tmp_path: Path) -> None:
    built, ran = runs(lambda: build(Diamond(2)))
    assert ran == ["base 2", "left 2", "right 2", "diamond 2"]
    assert built[-1].result == 2 + 4 + 2 + 5 + 2
    assert (built.exit_code, built.counts()) == (0, {"done": 4})
    assert str(built).splitlines()[0] == "4 tasks: 4 done"
    # What requires another one used its result, numbers too.
    edges = asked(
        tmp_path,
        "select c.name, p.name from edges e join activity_rows c on c.id = e.child join versions p on p.id = e.parent "
        "where e.relation = 'used' order by all",
    )
    short = [(child.rpartition(".")[2], parent.partition("/")[0].rpartition(".")[2]) for child, parent in edges]
    assert short == [("Diamond", "Base"), ("Diamond", "Side"), ("Diamond", "Side"), ("Side", "Base"), ("Side", "Base")]
    # Again: nothing. With another base: all that is below it.
    assert runs(lambda: Diamond(2).run()) == (15, [])
    assert runs(lambda: Diamond(3).run()) == (18, ["base 3", "left 3", "right 3", "diamond 3"])


def test_what_requires_a_task_that_failed_is_not_run_and_the_others_are(runs: Runs, tmp_path: Path) -> None:
    wanted = [Diamond(1, ("left", "raise")), Side(1, "right"), Diamond(5, ("exit",)), Diamond(-1), Base(7)]
    built, ran = runs(lambda: build(wanted))
    assert built.exit_code == 1
    assert built.counts() == {"done": 5, "failed": 2, "exited": 1, "dependency missing": 5}
    assert [word for word in ran if str(word).startswith("diamond")] == []
    found = {repr(step.call): (str(step.status), step.error) for step in built}
    assert found["Side(x=1, side='raise')"] == ("failed", "ValueError: no convergence")
    assert found["Side(x=5, side='exit')"] == ("exited", "SystemExit: 3")
    assert found["Side(x=-1, side='left')"] == ("dependency missing", "Base(x=-1) is failed")
    assert found["Diamond(x=1, sides=('left', 'raise'))"][1] == "Side(x=1, side='raise') is failed"
    assert "dependency missing  Diamond(x=-1" in str(built)
    counts = dict(asked(tmp_path, "select status, count(*) from task_calls group by status"))
    assert counts == {"done": 5, "failed": 2, "exited": 1, "missing": 5}
    with pytest.raises(ValueError, match="below zero"):
        runs(lambda: Diamond(-1).run())


@pytest.mark.parametrize("workers", [2, 3])
def test_processes_that_share_the_work_make_what_one_makes(workers: int, runs: Runs, tmp_path: Path) -> None:
    wanted = [Diamond(x) for x in range(4)] + [Diamond(9, ("left", "raise"))]
    built, ran = runs(lambda: build(wanted, workers=workers))
    assert ran == []
    assert built.counts() == {"done": 18, "failed": 1, "dependency missing": 1}
    assert [step.result for step in built if isinstance(step.call, Diamond)][:4] == [9, 12, 15, 18]
    # Their logs came home: what is in the store is taken now, by whoever asks.
    assert runs(lambda: build(wanted[:4]).counts()) == ({"skipped": 16}, [])
    assert asked(tmp_path, "select count(*) from double_executions") == [(0,)]


def test_a_process_that_is_killed_is_told(runs: Runs, tmp_path: Path) -> None:
    built, _ = runs(lambda: build([Diamond(1, ("kill",)), Base(1)], workers=2))
    found = {repr(step.call): str(step.status) for step in built}
    assert found["Base(x=1)"] == "done"
    assert found["Side(x=1, side='kill')"] == "interrupted"
    assert found["Diamond(x=1, sides=('kill',))"] == "dependency missing"
    assert built.exit_code == 1


def test_results_that_are_written_are_handed_on(runs: Runs, tmp_path: Path) -> None:
    """What is below is run again only where the bytes are others."""
    folder = str(tmp_path / "staging")
    assert runs(lambda: Mean(folder, 4).run()) == (4.0, ["base 4", "written 4", "mean 4"])
    assert runs(lambda: Mean(folder, 4).run()) == (4.0, [])
    (tmp_path / "staging" / "4.npy").unlink()
    # The same bytes again: what is below it holds.
    assert runs(lambda: Mean(folder, 4).run()) == (4.0, ["written 4"])
    built, _ = runs(lambda: build([Mean(folder, x) for x in range(4, 8)], workers=2))
    assert built.counts() == {"done": 9, "skipped": 3}
    assert [float(step.result) for step in built if isinstance(step.call, Mean)] == [4, 5, 6, 7]
    assert isinstance(Written(folder, 4), Written)


class Pair(NamedTuple):
    """What a task requires, by names."""

    low: Any
    high: Any


def test_what_is_required_by_names_has_these_names(runs: Runs) -> None:
    """A named tuple is made of its fields, and not of one list."""

    @braid.task(version="1", name="between")
    class Between:
        x: int

        def requires(self) -> Pair:
            return Pair(Base(self.x), high=[Base(self.x + 2)])

        def run(self) -> float:
            given = self.input()
            return float(given.low + given.high[0]) / 2

    assert runs(lambda: build(Between(3))[-1].result)[0] == 4.0
    assert runs(lambda: Between(3).run()) == (4.0, [])


def test_what_requires_itself_and_what_is_no_task_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"Egg requires itself: .*Egg -> .*Hen -> .*Egg$"):
        build(Egg())
    with pytest.raises(InvalidInputError, match=r"takes tasks such as Fit\(seed=3\), not 3"):
        build([3])
    with pytest.raises(InvalidInputError, match=r"takes tasks such as Fit\(seed=3\), not 3"):
        build(3)
    with pytest.raises(InvalidInputError, match=r"takes tasks such as Fit"):
        build([Base])
    with pytest.raises(InvalidInputError, match="workers= is a number of processes or a pool, not 0"):
        build([], workers=0)


def test_a_class_is_made_again_of_what_is_on_record(runs: Runs, tmp_path: Path) -> None:
    runs(lambda: Diamond(2).run())
    with braid.open(tmp_path / "prov.duckdb") as store:
        found = store.task(Diamond.__braid_task__.name)
        call = found.call()
        assert call.arguments == {"x": 2, "sides": ("left", "right")}
        assert call.key.hex() == found.key
    assert runs(call.run) == (15, ["diamond 2"])
    rebuild(tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert store.task(found.key).executions == 2


SCRIPT = """
import sys
import braid_hpc as braid
from braid_hpc.tasks import build

@braid.task
class Fit:
    x: int
    def run(self):
        return {body}

if __name__ == "__main__":
    with braid.job("job"):
        built = build([Fit(1), Fit(-1)])
    print(built)
    sys.exit(built.exit_code)
"""


def test_a_class_of_a_script_goes_by_its_source(run_ranks: RunRanks, tmp_path: Path) -> None:
    script = tmp_path / "fit.py"
    env = {"BRAID_LOG_DIR": str(tmp_path / "logs")}
    script.write_text(SCRIPT.format(body="1 // (self.x + 1)"))
    done = run_ranks(0, script, env=env, check=False)
    assert done.returncode == 1
    assert "2 tasks: 1 done, 1 failed" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        found = store.task(f"{script}:Fit")
        assert found.function == "Fit"
        assert found.task_module == str(script)
        assert found.call().key.hex() == found.key
        script.write_text(SCRIPT.format(body="self.x"))
        with pytest.raises(ConflictError, match="is not what it was"):
            found.call()
    sys.modules.pop("__braid_script__", None)


def test_with_recording_off_classes_run_and_nothing_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is on record; what they write is written."""
    monkeypatch.setenv("BRAID_DISABLE", "1")
    monkeypatch.setenv("BRAID_LOG_DIR", str(tmp_path / "logs"))
    folder = str(tmp_path / "staging")
    for _ in range(2):
        RAN.clear()
        assert Mean(folder, 4).run() == 4.0
        assert RAN == ["base 4", "written 4", "mean 4"]
    built = build([Diamond(2), Diamond(1, ("raise",))])
    assert built.counts() == {"done": 5, "failed": 1, "dependency missing": 1}
    assert built[3].result == 15
    assert (tmp_path / "staging" / "4.npy").exists()
    assert not (tmp_path / "logs").exists()


POOL = """
import sys
import braid_hpc as braid
from mpi4py.futures import MPICommExecutor
from mpi4py import MPI
from braid_hpc.tasks import build
from tests.tasks.classes import Diamond, Mean

with braid.job("pool"):
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
        if pool is not None:
            wanted = [Diamond(x) for x in range(3)] + [Diamond(8, ("exit",)), Mean(sys.argv[1], 5)]
            built = build(wanted, workers=pool)
            print(built.counts(), [step.result for step in built if isinstance(step.call, Diamond)], built.exit_code)
            print(float(built[-1].result))
"""


@pytest.mark.mpi_matrix
def test_ranks_as_a_pool_share_the_work(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Their logs are of one run, and what they made is done for the next one."""
    env = {"BRAID_LOG_DIR": str(tmp_path / "logs"), "PYTHONPATH": str(Path(__file__).parents[2])}
    said = []
    for _ in range(2):
        done = run_ranks(3, POOL, tmp_path / "staging", env={**env, "BRAID_STORE": str(tmp_path / "prov.duckdb")})
        said.append(done.stdout)
        braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    assert "{'done': 16, 'exited': 1, 'dependency missing': 1} [9, 12, 15, None] 1\n5.0" in said[0]
    assert "{'skipped': 16, 'exited': 1, 'dependency missing': 1} [9, 12, 15, None] 1\n5.0" in said[1]
    query = "select count(distinct run), count(distinct writer) >= 2 from tasks where status = 'done'"
    assert asked(tmp_path, query) == [(1, True)]

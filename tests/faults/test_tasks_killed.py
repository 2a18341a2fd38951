"""Logs with tasks and declared tables: their merges, and those who ship them, are killed at any point."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.cli.shipping import Shipper
from braid_hpc.compaction.compact import compact
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.survey import read_writer
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.tasks.done_index import newest_done
from tests.faults.campaign import many, seeds, trial
from tests.faults.interrupt import CompactionServer, interrupt_library
from tests.faults.oracle import Counter
from tests.faults.stores import check_leftovers, check_rebuilt
from tests.faults.test_shipping_killed import end, forked, ship_forever
from tests.jobs import digests
from tests.rank_logs import small_tails
from tests.tasks.functions import Window, anything, draw, fails


@braid.table(key="number", unique=["name"], checks=["0 <= number"])
class Piece:
    """A row that has rules."""

    number: int
    name: str


@braid.task(version="1", name="times", columns={"product": "int64"})
def times(x: int) -> dict[str, int]:
    """Have a table of results."""
    return {"product": 2 * x}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompactionServer]:
    with CompactionServer(interrupt_library(tmp_path_factory.mktemp("library"))) as started:
        yield started


def say(logs: Path, store: Path, turn: int) -> None:
    """Record executions of all kinds, results in tables, rows with rules, marks and sets."""
    with braid.job("job", log_dir=logs / str(turn), store=store) as run:
        draw(0)
        draw(turn, draws=3)
        times.map({"x": range(turn, turn + 5)})
        anything(anything({"window": Window(turn, 2)}))
        with pytest.raises(ValueError, match="no convergence"):
            fails("raise")
        run.declare(Piece, {"number": range(10 * turn, 10 * turn + 8), "name": [f"p{turn}{n}" for n in range(8)]})
        # Of a key that another row has, and of a name likewise.
        run.declare(Piece(10 * turn, "other"))
        run.declare(Piece(1000 + turn, f"p{turn}1"))
        run.mark(Piece, "exists", names=[str(10 * turn), str(10 * turn + 1)])
        run.collect("first", [Piece(10 * turn + n, f"p{turn}{n}") for n in range(4)])
        run.collect(f"of {turn}", Piece(10 * turn, f"p{turn}0"))


QUESTIONS = (
    "select task, key, status, reason, value, error, result_table from tasks order by all",
    "select task, status, count(*) from task_calls group by all order by all",
    "select parameter_name, parameter_value, count(*) from parameters join task_parameters on parameter_pk = pk "
    "group by all order by all",
    "select key, product from result.times order by all",
    "select stream, rule, count(*) from quarantined group by all order by all",
    "select label, members, digest from sets order by all",
    "select name, state from marks order by all",
)


def answers(store: Path) -> list[Any]:
    with braid.open(store) as opened:
        found: list[Any] = [opened.sql(query).to_pylist() for query in QUESTIONS]
        return [*found, sorted((piece.number, piece.name) for piece in opened.table(Piece))]


class Place:
    """Logs, and a store to begin with; each trial has its own copy of that store."""

    def __init__(self, folder: Path, *, second: bool) -> None:
        self.folder, self.logs, self.start = folder, folder / "logs", folder / "start"
        self.start.mkdir()
        self.before: tuple[dict[str, str], list[Any]] | None = None
        say(self.logs, self.start / "prov.duckdb", 0)
        if second:
            compact(self.logs, self.start / "prov.duckdb")
            self.before = digests(self.start / "prov.duckdb"), answers(self.start / "prov.duckdb")
        say(self.logs, self.start / "prov.duckdb", 1)
        whole = self.copy("whole")
        compact(self.logs, whole)
        self.after = digests(whole), answers(whole)
        found = newest_done(whole)
        assert found is not None
        self.done = found.read_bytes()

    def copy(self, name: str) -> Path:
        # With its hard links: a store is one file under two names.
        subprocess.run(["cp", "-a", self.start, self.folder / name], check=True)
        return self.folder / name / "prov.duckdb"


@pytest.mark.timeout(40_000)
@pytest.mark.parametrize("second", [False, True])
def test_a_merge_of_tasks_and_tables_is_killed_at_any_call_and_run_again(
    second: bool, server: CompactionServer, tmp_path: Path
) -> None:
    """The old answers or the new ones after each kill; run again, those of a merge that nobody killed."""
    place = Place(tmp_path, second=second)
    calls = server.compact(place.logs, place.copy("count")).calls
    points = [(number, half) for number in range(1, len(calls) + 1) for half in (False, True)]
    points = [(number, half) for number, half in points if not half or "write" in calls[number - 1]]
    if (few := many(len(points), 3)) < len(points):
        points = random.sample(points, few)
    killed = 0
    for end_at, half in points:
        store = place.copy("trial")
        try:
            ended = server.compact(place.logs, store, end_at=end_at, half=half)
            assert not ended.error, ended.error
            killed += bool(ended.call)
            if StoreFiles(store).exists():
                assert (digests(store), answers(store)) in (place.before, place.after)
            else:
                assert place.before is None
            compact(place.logs, store)
            assert (digests(store), answers(store)) == place.after
            # What ranks ask, byte for byte: it was made by another process, of the same logs.
            found = newest_done(store)
            assert found is not None
            assert found.read_bytes() == place.done
            check_leftovers(store)
            assert not compact(place.logs, store).new
            if not end_at % 16:
                again = check_rebuilt(store, tmp_path / "again" / "prov.duckdb")
                assert answers(again) == place.after[1]
                shutil.rmtree(again.parent)
        except BaseException as error:
            error.add_note(f"killed {'after half of' if half else 'before'} call {end_at}")
            raise
        finally:
            shutil.rmtree(store.parent)
    assert killed >= len(points) - max(3, len(points) // 20)


def work_forever(logs: Path, counter: Counter) -> None:
    """Run tasks and declare rows until something ends the process."""
    run = braid.start("kill", log_dir=logs)
    number = 0
    while True:
        anything(number)
        run.declare(Piece(number, f"p{number}"))
        number += 1
        counter.set(number)
        if number % 10 == 0:
            # A rank also computes; and what has arrived is merged again and again.
            time.sleep(0.002 if number < 2000 else 3600)


@pytest.mark.slow
@pytest.mark.timeout(40_000)
def test_logs_of_tasks_and_tables_arrive_though_shippers_and_the_rank_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged is done, and in the table; at most one execution was in between, and is interrupted."""
    small_tails(monkeypatch, rows=256, heap=16_384)
    between = 0
    for seed in seeds(200, 2):
        with trial(seed) as chosen:
            place = tmp_path / str(seed)
            logs, target, counter = place / "node", place / "shared", Counter()
            target.mkdir(parents=True)
            rank = forked(lambda logs=logs, counter=counter: work_forever(logs, counter))  # type: ignore[misc]
            shippers: list[int] = []
            try:
                for _ in range(chosen.randint(2, 4)):
                    for _ in range(chosen.choice([1, 1, 2])):
                        shippers.append(forked(lambda logs=logs, target=target: ship_forever(logs, target)))  # type: ignore[misc]
                    time.sleep(chosen.choice([chosen.uniform(0, 0.02), chosen.uniform(0, 0.3)]))
                    while shippers:
                        end(shippers.pop())
                    between += check_arrived(target, place / "between.duckdb")
                while not counter.value:
                    time.sleep(0.001)
            finally:
                for pid in [*shippers, rank]:
                    end(pid)
            counted = counter.value
            counter.close()
            Shipper(logs, target, node="n1", bundle=True, remove=False).round()
            # Merged where nobody can see the process: who shipped it from its node has said that it is gone.
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr("braid_hpc.reading.survey.find_end", lambda header: None)
                braid.compact(target, place / "one.duckdb")
            braid.compact(logs, place / "two.duckdb")
            assert digests(place / "one.duckdb") == digests(place / "two.duckdb")
            for store in (place / "one.duckdb", place / "two.duckdb"):
                check_counted(store, counted)
                check_rebuilt(store, place / "again" / store.name)
            # What arrived in between and the rest of it make the same store.
            if (place / "between.duckdb").exists():
                braid.compact(target, place / "between.duckdb")
                check_counted(place / "between.duckdb", counted)
            shutil.rmtree(place)
    assert between or os.environ.get("FAULT_SEED"), "no shipper was killed after it had brought a row"


def check_arrived(target: Path, store: Path) -> int:
    """What has arrived of a log that is written is a beginning of it, and can be merged; return its rows."""
    with contextlib.suppress(braid.NotFoundError), opened_logs(target) as (directory,):
        log = read_writer(directory)
        assert not log.corrupt, log.faults
        if log.ranges.count:
            braid.compact(target, store)
            with braid.open(store) as opened:
                said = [row["status"] for row in opened.tasks()]
            assert set(said) <= {"done", "running"}
            assert said.count("running") <= 1
        return log.ranges.count
    return 0


def check_counted(store: Path, counted: int) -> None:
    with braid.open(store) as opened:
        told = opened.sql(
            "select p.parameter_value::bigint as number, t.status from tasks t join task_parameters tp "
            "on tp.task_pk = t.pk join parameters p on p.pk = tp.parameter_pk where p.parameter_name = 'x' order by 1"
        ).to_pylist()
        assert [row["number"] for row in told] == list(range(len(told)))
        assert {row["status"] for row in told[:counted]} <= {"done"}
        # It may have been killed after a call and before it counted it.
        assert counted <= len(told) <= counted + 1
        assert [row["status"] for row in told[counted:]] in ([], ["done"], ["interrupted"])
        numbers = [piece.number for piece in opened.table(Piece)]
        assert sorted(numbers) == list(range(len(numbers)))
        assert counted <= len(numbers) <= len(told)

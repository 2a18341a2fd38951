"""Shippers and ranks killed at random moments: what was acknowledged arrives with the next round, once."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.cli.shipping import Shipper
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import WriterState
from tests.faults.campaign import seeds, trial
from tests.faults.oracle import COLUMNS, Counter, check_rows, rows_of, text_of
from tests.jobs import digests
from tests.rank_logs import small_tails


def record_forever(log_dir: Path, counter: Counter) -> None:
    """Record rows, batches and arrays until something ends the process."""
    run = braid.start("kill", log_dir=log_dir)
    rows, columns = run.stream("rows", COLUMNS), run.stream("columns", {"n": "int64"})
    number = 0
    while True:
        rows.append(number, number / 2, text_of(number))
        number += 1
        if number % 200 == 0:
            columns.extend({"n": np.arange(number, number + 5_000)})
            run.array(f"a/{number}", np.arange(number, number + 3_000))
        counter.set(number)
        if number % 10 == 0:
            # A rank also computes; and the disk of this machine is not without end.
            time.sleep(0.002)


def ship_forever(logs: Path, target: Path) -> None:
    shipper = Shipper(logs, target, node="n1", bundle=True, remove=False)
    while True:
        # The rank may not have begun yet.
        with contextlib.suppress(braid.NotFoundError):
            done = shipper.round()
            assert not done.faults, done.faults


def forked(child: Callable[[], None]) -> int:
    pid = os.fork()
    if not pid:
        try:
            child()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"it had ended by itself, with status {status}"


def check_beginning(target: Path) -> int:
    """Whenever a shipper is killed, what has arrived is a beginning of the log; returns its rows."""
    bundles = list(target.glob("*.tar"))
    if not bundles:
        return 0
    try:
        with opened_logs(target) as (directory,):
            log = read_writer(directory)
            rows = rows_of(log)
    except braid.NotFoundError:
        return 0
    assert log.state in (WriterState.OPEN, WriterState.TORN), log.faults
    assert not log.corrupt, log.faults
    assert rows == [(number, number / 2, text_of(number)) for number in range(len(rows))]
    return len(rows)


@pytest.mark.slow
@pytest.mark.timeout(40_000)
def test_sigkill_of_shippers_and_of_the_rank_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order; a store made of what arrived has the digests of one made of the logs."""
    small_tails(monkeypatch, rows=256, heap=16_384)
    arrived = 0
    for seed in seeds(400, 2):
        with trial(seed) as random:
            place = tmp_path / str(seed)
            logs, target, counter = place / "node", place / "shared", Counter()
            target.mkdir(parents=True)
            rank = forked(lambda logs=logs, counter=counter: record_forever(logs, counter))  # type: ignore[misc]
            alive = True
            shippers: list[int] = []
            try:
                for _ in range(random.randint(2, 5)):
                    # Some begin while others are at work.
                    for _ in range(random.choice([1, 1, 2])):
                        shippers.append(forked(lambda logs=logs, target=target: ship_forever(logs, target)))  # type: ignore[misc]
                    time.sleep(random.choice([random.uniform(0, 0.02), random.uniform(0, 0.3)]))
                    if alive and counter.value and random.random() < 0.2:
                        end(rank)
                        alive = False
                    while shippers:
                        end(shippers.pop())
                    arrived += check_beginning(target)
                while not counter.value:
                    time.sleep(0.001)
            finally:
                for pid in [*shippers, *([rank] if alive else [])]:
                    end(pid)
            counted = counter.value
            counter.close()
            Shipper(logs, target, node="n1", bundle=True, remove=False).round()
            with opened_logs(target) as (directory,):
                check_rows(directory, counted)
            braid.compact(target, place / "one.duckdb")
            braid.compact(logs, place / "two.duckdb")
            assert digests(place / "one.duckdb") == digests(place / "two.duckdb")
            shutil.rmtree(place)
    assert arrived or os.environ.get("FAULT_SEED"), "no shipper was killed after it had brought a row"

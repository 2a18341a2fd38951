"""SIGKILL at a random moment: no event is lost whose call had returned, none is invented, doubled or reordered."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.vocabulary.codes import WriterState
from tests.faults.campaign import seeds, trial
from tests.faults.oracle import COLUMNS, Counter, check_rows, fork_and_kill, text_of

TAILS = ["compiled", "python"]


def record_forever(log_dir: Path, counter: Counter) -> None:
    """Record rows until something ends the process."""
    run = braid.start("kill", log_dir=log_dir)
    stream = run.stream("rows", COLUMNS)
    number = 0
    while True:
        stream.append(number, number / 2, text_of(number))
        number += 1
        counter.set(number)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.timeout(40_000)
def test_sigkill_of_one_process_loses_nothing(tail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row whose append had returned is in the log, in order; at most the one under way is there besides."""
    monkeypatch.setenv("BRAID_TAIL", tail if tail == "python" else "")
    several = 0
    for seed in seeds(5_000, 40):
        with trial(seed) as random:
            log_dir = tmp_path / str(seed)
            # Most trials end within the first tails; some run through many, with sealing under way.
            after = random.choice([0.0, random.uniform(0, 0.004), random.uniform(0, 0.03)])
            if random.random() < 0.02:
                after = random.uniform(0.2, 0.6)
            counted = fork_and_kill(partial(record_forever, log_dir), after)
            log = check_rows(log_dir, counted)
            assert log.state is WriterState.OPEN
            several += log.sealed + log.tails > 1
            shutil.rmtree(log_dir)
    assert several or os.environ.get("FAULT_SEED"), "no trial got as far as a second tail"


def test_the_harness_sees_a_lost_row(tmp_path: Path) -> None:
    """The trial is red where a row is counted before it is recorded: the harness can fail."""

    def boastful(counter: Counter) -> None:
        run = braid.start("kill", log_dir=tmp_path)
        stream = run.stream("rows", COLUMNS)
        for number in range(100):
            stream.append(number, number / 2, text_of(number))
            counter.set(number + 3)
        while True:
            pass

    counted = fork_and_kill(boastful, 0.05)
    with pytest.raises(AssertionError, match="calls had returned"):
        check_rows(tmp_path, counted)

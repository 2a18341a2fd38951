"""Levels: what is held, synced and shipped, as a program can ask for it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.log.tail import MappedTail
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.rank_logs import small_tails, tmpfs


def test_flush_brings_a_level_up_to_what_is_held(tmp_path: Path) -> None:
    """After flush the level's watermark is at least what was held before the call."""
    with braid.job("levels", log_dir=tmp_path) as run:
        stream = run.stream("n", {"n": "int64"})
        for number in range(100):
            stream.append(number)
        held = run.levels["held"]
        assert held is not None
        assert held > 100
        assert run.flush("held")
        assert run.flush("synced")
        synced = run.levels["synced"]
        assert synced is not None
        assert synced >= held
        assert run.levels["shipped"] is None
        assert not run.flush("shipped")


def test_shipped_is_what_can_be_read_at_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With BRAID_SHIP_DIR, flush("shipped") leaves every event so far readable in that directory."""
    monkeypatch.setenv("BRAID_SHIP_DIR", os.fspath(tmp_path / "shared"))
    with braid.job("levels", log_dir=tmp_path / "node") as run:
        stream = run.stream("n", {"n": "int64"})
        for number in range(5000):
            stream.append(number)
        held = run.levels["held"]
        assert run.flush("shipped")
        shipped = run.levels["shipped"]
        assert held is not None
        assert shipped is not None
        log = read_writer(tmp_path / "shared" / run.writer.hex())
        # The background thread may add a row of its own at any time.
        assert int(log.events["sequence"][-1]) >= shipped >= held
        assert not log.faults


def test_an_unknown_level_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the levels there are; without strictness the call answers False."""
    with braid.job("levels", log_dir=tmp_path) as run:
        with pytest.raises(InvalidInputError, match="held, synced, shipped"):
            run.flush("written")
        monkeypatch.setenv("BRAID_STRICT", "0")
        assert run.flush("written") is False


def test_nothing_is_synced_in_memory(tmp_path: Path) -> None:
    """On tmpfs the level synced is not available, and flush says so."""
    with tmpfs(tmp_path / "memory", "16m") as place, braid.job("levels", log_dir=place / "logs") as run:
        assert run.levels["synced"] is None
        assert run.flush("synced") is False
        assert run.flush("held") is True


def test_after_a_failed_sync_rows_are_sealed_into_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tail that could not be synced takes no more rows; all of its rows are on disk once it is sealed."""
    small_tails(monkeypatch, rows=256, heap=1 << 16)
    with braid.job("levels", log_dir=tmp_path) as run:
        monkeypatch.setattr("braid_hpc.log.keeper.INTERVAL", 1000.0)
        stream = run.stream("n", {"n": "int64"})
        for number in range(50):
            stream.append(number)
        failing = run._log.tail

        def refuse(tail: MappedTail) -> None:
            if tail is failing:
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(MappedTail, "sync", refuse)
        assert not run.flush("synced")
        held = run.levels["held"]
        stream.append(50)
        assert run._log.tail is not failing
        assert not run.flush("synced") or (run.levels["synced"] or 0) >= (held or 0)
        run._log.seal()
        assert run.flush("synced")
        directory = run._log.directory
    log = read_writer(directory)
    assert log.state is WriterState.CLOSED, log.faults
    assert log.sealed >= 1
    assert sorted(set(log.events["sequence"].tolist())) == log.events["sequence"].tolist()


def test_a_removed_log_is_not_called_synced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where somebody removed the directory, the level is not reached, and the loss is told once in one line."""
    with braid.job("removed", log_dir=tmp_path / "logs") as run:
        run.fact("a", 1)
        shutil.rmtree(tmp_path / "logs")
        assert run.flush("synced") is False
        for number in range(3):
            run.fact("b", number)
    told = [line for line in capsys.readouterr().err.splitlines() if "events are lost" in line]
    assert len(told) == 1

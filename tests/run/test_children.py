"""What a run says to the workers that it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from braid_hpc.run.children import PARENT, parent_of_worker
from braid_hpc.run.recorder import Run


def named() -> str | None:
    """Give the writer that workers are told to belong to."""
    text = os.environ.get(PARENT)
    return text.partition('"writer": "')[2][:32] if text else None


def test_workers_belong_to_the_run_opened_last(tmp_path: Path) -> None:
    """Whatever the order in which runs end; after the last one the variable is what it was."""
    one, two, three = (Run(name, log_dir=tmp_path) for name in ("one", "two", "three"))
    assert named() == three.writer.hex()
    two.close()
    assert named() == three.writer.hex()
    three.close()
    three.close()
    assert named() == one.writer.hex()
    one.close()
    assert PARENT not in os.environ


def test_what_was_given_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARENT, "given")
    run = Run("one", log_dir=tmp_path)
    assert named() == run.writer.hex()
    run.close()
    assert os.environ[PARENT] == "given"


@pytest.mark.parametrize("text", ["", "no json", "{}", '{"writer": 3}'])
def test_another_text_names_no_parent(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has a run of its own then."""
    monkeypatch.setenv(PARENT, text)
    monkeypatch.setattr("braid_hpc.run.children.is_worker", lambda: True)
    assert parent_of_worker() is None


def test_only_workers_have_a_parent(tmp_path: Path) -> None:
    """A second run of this process is none, and neither is a program that it starts."""
    one = Run("one", log_dir=tmp_path)
    assert parent_of_worker() is None
    one.close()


@pytest.mark.parametrize("odd", [os.fsdecode(b"caf\xe9"), "\ud800", "nul\0", "e\u0301"])
def test_names_need_not_be_utf8(odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the job's nor that of its directory: the worker reads what the parent wrote."""
    run = Run(odd, log_dir=tmp_path / odd.replace("\0", "").replace("\ud800", "\udce9"))
    monkeypatch.setattr("braid_hpc.run.children.is_worker", lambda: True)
    parent = parent_of_worker()
    run.close()
    assert parent is not None
    assert (parent.writer, parent.job) == (run.writer.hex(), odd)
    assert PARENT not in os.environ

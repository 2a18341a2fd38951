"""Logs are found wherever they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from braid_hpc.reading.directories import find_writers
from braid_hpc.vocabulary.errors import NotFoundError
from tests.jobs import one


def test_logs_are_found_below_any_directory(tmp_path: Path) -> None:
    """A writer's own, the log directory, and a directory of one for each node; other folders are passed over."""
    with one(tmp_path / "logs") as job:
        directory = job.folder(0)
    (tmp_path / "logs" / "node-7").mkdir()
    other = tmp_path / "logs" / "node-7" / ("f" * 32)
    shutil.copytree(directory, other)
    (tmp_path / "logs" / "mine").mkdir()
    (tmp_path / "logs" / "mine" / "tail-recursion.py").touch()
    (tmp_path / "logs" / "mine" / "header.json").write_text('{"format": "something else"}')
    assert find_writers(directory) == [directory]
    assert find_writers(str(tmp_path / "logs")) == find_writers(tmp_path) == sorted([directory, other])


def test_no_logs_are_an_error(tmp_path: Path) -> None:
    """Which says what was looked for, and where."""
    with pytest.raises(NotFoundError, match="is not a directory"):
        find_writers(tmp_path / "missing")
    with pytest.raises(NotFoundError, match="no rank logs in"):
        find_writers(tmp_path)

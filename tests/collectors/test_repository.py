"""The state of the sources, with a patch of limited size."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from braid_hpc.collectors.repository import git_state
from tests.collectors.test_environment import git


@pytest.fixture(autouse=True)
def _without_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier test of this process may have begun MPI, and git is not started then."""
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)


def test_outside_of_a_repository_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(Path("/proc")) == {}


def test_a_patch_is_cut_at_whole_lines(tmp_path: Path) -> None:
    """A part of a line could be a part of a secret."""
    (tmp_path / "a").write_text("begun\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    (tmp_path / "new").write_text("untracked")
    clean = git_state(tmp_path)
    assert (clean["asked"], clean["dirty"], clean["untracked"]) == (True, False, 1)
    assert "patch" not in clean
    (tmp_path / "a").write_text("begun\n" + "0123456789\n" * 1000)
    cut = git_state(tmp_path, patch_bytes=1000)
    assert cut["patch_cut"] is True
    assert cut["patch"].endswith("+0123456789\n")
    assert len(cut["patch"]) <= 1000
    assert git_state(tmp_path)["patch_cut"] is False
    assert "patch" not in git_state(tmp_path, patch_bytes=0)

"""What every test gets: an environment of its own, and real ranks."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from braid_hpc.run.job import _RUNS
from tests.ranks import RunRanks

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Keep the caller's settings out, raise on bad input, write nothing elsewhere, leave no run open."""
    for name in os.environ:
        if name.startswith("BRAID_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BRAID_STRICT", "1")
    monkeypatch.setenv("BRAID_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("BRAID_CACHE_DIR", str(tmp_path / "cache"))
    yield
    # One that a failing test left would be the current run of the next.
    for run in reversed(_RUNS[:]):
        run.close()


@pytest.fixture
def run_ranks(tmp_path: Path) -> Iterator[RunRanks]:
    """Run a script on real ranks: `run_ranks(4, script)`, or `run_ranks.start(4, script)` to interfere with it."""
    ranks = RunRanks(tmp_path / "run_ranks")
    yield ranks
    ranks.end_all()

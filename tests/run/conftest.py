"""What tests of recording share: a run of their own, with either tail, and with the wall up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.log.choice import why_python


@pytest.fixture(params=["python", "compiled"])
def tail(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with both tails."""
    if request.param == "python":
        monkeypatch.setenv("BRAID_TAIL", "python")
    elif (reason := why_python()) is not None:
        pytest.skip(f"the compiled tail does not run here: {reason}")
    return str(request.param)


@pytest.fixture
def run(tail: str, tmp_path: Path) -> Iterator[braid.Run]:
    with braid.job("recorder", log_dir=tmp_path / "logs") as run:
        yield run


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the wall that stands between recorder and program outside of tests."""
    monkeypatch.delenv("BRAID_STRICT")

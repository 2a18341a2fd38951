"""How fast a rank records where its own logs would be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from braid_hpc.bench import writing


def test_events_that_are_lost_are_no_part_of_the_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A disk that is full from the first measured event on takes none a second, however fast it refuses them."""
    log = SimpleNamespace(lost=7)
    full = False

    def append(*_: Any) -> None:
        log.lost += full

    def ready() -> None:
        nonlocal full
        full = True

    run = SimpleNamespace(
        log_dir=tmp_path, writer=b"\1", _log=log, close=lambda: None, stream=lambda *_: SimpleNamespace(append=append)
    )
    (tmp_path / "01").mkdir()
    monkeypatch.setattr(writing, "start", lambda *_, **__: run)
    found = writing.measure_writing(tmp_path, seconds=0.02, ready=ready)
    assert found["events"] == 0
    assert found["lost"] > 7
    assert found["seconds"] > 0

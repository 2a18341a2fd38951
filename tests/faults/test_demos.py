"""Every demo on 1, 2 and 8 ranks, and without a launcher: it ends well, and its store answers its question."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from braid_hpc.cli.demo import DEMOS
from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from tests.faults.campaign import many
from tests.jobs import count, has_cycle, rows
from tests.ranks import RunRanks

#: Under `make test` the first one only: each demo has tests of its own that run it on two or three ranks.
TRIALS = [(name, ranks) for name in DEMOS if name != "braggnn" for ranks in (0, 1, 2, 8)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ranks"), TRIALS[: many(len(TRIALS), 1)])
def test_a_demo_on_any_number_of_ranks(run_ranks: RunRanks, tmp_path: Path, name: str, ranks: int) -> None:
    """All logs are whole, the graph has no cycle, nothing was refused, and the report has its answer."""
    folder = tmp_path / name
    run_ranks(ranks, "-m", f"braid_hpc.demos.{name}", "--dir", folder, timeout=110)
    compact(folder / "logs", folder / "prov.duckdb")
    with Store(folder / "prov.duckdb") as store:
        assert rows(store, "select job, ranks, status from runs") == [(name, max(ranks, 1), "ok")]
        assert count(store, "problems") == 0
        assert not has_cycle(store)
        text = import_module(f"braid_hpc.demos.{name}").report(store)
        assert text.count("?\n  ") >= 1
        assert "not complete" not in text

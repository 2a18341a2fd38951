"""Logs to merge, and what must be true of a store whatever has happened to the compactions that made it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braid_hpc.snapshots.files import KEEP, StoreFiles
from tests.jobs import Job, rows

__all__ = ["check_leftovers", "say"]


def say(job: Job, turn: int, *, many: int = 300) -> None:
    """Record a little of everything on all ranks: edges, tags, rows, a large batch, small and large arrays."""
    for rank, run in enumerate(job.runs):
        config = run.fact("config", {"threshold": 40}, tags={"energy_keV": 71.7})
        with run.activity("train", used=config, params={"turn": turn}) as activity:
            peaks = activity.data(f"peaks/{rank}", digest=f"x:{turn}{rank}", uri=f"s3://b/{turn}")
            model = run.model("net", digest=f"w:{turn}", derived_from=[peaks, "fact:config"])
        run.tag(peaks, "turn", turn)
        run.array(f"small/{rank}", np.full(5, turn), unit="mm")
        run.array("map", np.full(20_000, turn * 7.0 + rank), derived_from=model)
        stream = run.stream("hits", {"frame": "int32", "label": "text"})
        stream.append(turn, "ä")
        stream.extend({"frame": list(range(many)), "label": ["text" * 40] * many})


def check_leftovers(store: Path) -> None:
    """Nothing lies beside a store but its snapshots and what they name."""
    files = StoreFiles(store)
    snapshots = files.snapshots()
    assert 0 < len(snapshots) <= KEEP
    expected = {f"{number}.{what}" for number in snapshots for what in ("duckdb", "adjacency")} | {"logs", "arrays"}
    found = {path.name for path in files.directory.iterdir()}
    assert found | {"arrays"} == expected, found ^ expected
    archives = {name for (name,) in rows(store, "select archive from main.snapshots")}
    assert {path.name for path in files.archive.iterdir()} == archives
    arrays = {name for (name,) in rows(store, "select distinct file from main.array_rows")}
    assert {path.name for path in files.arrays.glob("*")} == arrays
    assert store.samefile(files.newest())
    beside = {path.name for path in store.parent.iterdir() if path.name.startswith((store.name, f".{store.name}"))}
    assert beside == {store.name, f"{store.name}.d"}

"""Files that are looked at: truncated, empty, growing, gone, and those that were removed when they had served."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from braid_hpc.campaigns import Campaign
from braid_hpc.campaigns.checking import check_files
from braid_hpc.compaction.compact import compact
from braid_hpc.run.streams import NO_ROWS, Stream
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError
from tests.campaigns.world import STAGES, Configuration
from tests.jobs import one

SRC = STAGES["src"]


def test_each_state_is_told_from_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size that was recorded counts, or the one that is given; what has not changed is not said again."""
    data = tmp_path / "data"
    names = [f"src/{name}.h5" for name in ("right", "short", "empty", "growing", "gone", "consumed", "never")]
    (data / "src").mkdir(parents=True)
    old = time.time() - 3600
    for name, size in (("right", 10), ("short", 9), ("empty", 0), ("growing", 10)):
        path = data / "src" / f"{name}.h5"
        path.write_bytes(b"x" * size)
        if name != "growing":
            os.utime(path, (old, old))
    with one(tmp_path / "logs") as job:
        job[0].declare(SRC, {"configuration": Configuration("a", 0), "s": list(range(7)), "name": names})
        job[0].mark(SRC, "exists", names=[names[at] for at in (0, 1, 4, 5)], size=10)
        job[0].mark(SRC, "consumed", names=names[5:6])
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        found = check_files(store, SRC, root=data)
        assert found == {"corrupt": 2, "growing": 1, "missing": 1}
        states = {row["name"]: row["state"] for row in Campaign(store).list("total", SRC)}
        assert states == dict(
            zip(names, ("exists", "corrupt", "corrupt", "growing", "missing", "consumed", "expected"), strict=True)
        )
        with monkeypatch.context() as refused:
            refused.setattr(Stream, "extend", lambda *_: NO_ROWS)
            with pytest.raises(StorageError, match="could not be written"):
                check_files(store, SRC, root=data, size=9, young=0)
        snapshot = store.snapshot
        assert check_files(store, "src", root=data) == {}
        assert store.snapshot == snapshot, "nothing new is no snapshot"
        assert check_files(store, "src", root=data, size=9, young=0) == {"corrupt": 2, "exists": 1}
        # One that comes back is there again.
        (data / names[4]).write_bytes(b"x" * 10)
        assert check_files(store, "src", root=data, young=0) == {"exists": 3}
        with pytest.raises(InvalidInputError, match="is no directory"):
            check_files(store, "src", root=tmp_path / "nowhere")

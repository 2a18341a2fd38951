"""Files that are looked at: truncated, empty, growing, gone, and those that were removed when they had served."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from braid_hpc.campaigns import Campaign
from braid_hpc.campaigns.archiving import copies
from braid_hpc.campaigns.checking import check_files
from braid_hpc.compaction.compact import compact
from braid_hpc.run.streams import NO_ROWS, Stream
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError
from tests.campaigns.tasks import half
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


@pytest.mark.parametrize(
    "wrong",
    [
        *({"young": each} for each in (float("nan"), float("inf"), -1, "1", True)),
        *({"size": each} for each in (-1, 1.5, "1", True)),
        *({"place": each} for each in ("", 3, None)),
    ],
)
def test_what_is_no_number_is_refused_before_anything_is_looked_at(wrong: dict[str, Any], tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        job[0].declare(SRC, {"configuration": Configuration("a", 0), "s": [1], "name": ["a"]})
        job[0].mark(SRC, "exists", names=["a"])
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        (name,) = wrong
        with pytest.raises(InvalidInputError, match=f"^{name}= is a"):
            check_files(store, SRC, root=tmp_path, **wrong)
        assert store.snapshot == 1


class _Entries:
    """A listing in which some files are removed before they are looked at."""

    def __init__(self, found: Any, gone: str) -> None:
        self._found, self._gone = found, gone

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self._found.close()

    def __iter__(self) -> Iterator[Any]:
        for each in self._found:
            if each.name == self._gone:
                os.unlink(each.path)
            yield each


def test_a_file_that_goes_while_others_are_looked_at(tmp_path: Path) -> None:
    """It is missing, and the others of its directory are not."""
    names = [f"src/{number}.h5" for number in range(4)]
    (tmp_path / "data/src").mkdir(parents=True)
    for name in names:
        (tmp_path / "data" / name).write_bytes(b"x" * 10)
    with one(tmp_path / "logs") as job:
        job[0].declare(SRC, {"configuration": Configuration("a", 0), "s": list(range(4)), "name": names})
        job[0].mark(SRC, "exists", names=names, size=10)
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    scandir = os.scandir

    def listing(path: Any) -> Any:
        return _Entries(scandir(path), "2.h5") if "/data/" in str(path) else scandir(path)

    with Store(tmp_path / "prov.duckdb") as store:
        with patch("os.scandir", listing):
            assert check_files(store, SRC, root=tmp_path / "data", young=0) == {"missing": 1}
        assert Campaign(store).list("missing", SRC)["name"] == ["src/2.h5"]
        refused = patch("os.scandir", side_effect=PermissionError(13, "Permission denied"))
        with refused, pytest.raises(StorageError, match=r"cannot be listed .Permission denied.: nothing is said"):
            check_files(store, SRC, root=tmp_path / "data", young=0)
        assert Campaign(store).list("missing", SRC)["name"] == ["src/2.h5"], "those that cannot be seen are not missing"


def test_a_mark_of_what_nobody_knows_is_kept(tmp_path: Path) -> None:
    """A tape's record of a file that was never declared: it disturbs nothing, and stands where it can be found."""
    with one(tmp_path / "logs") as job:
        job[0].declare(SRC, {"configuration": Configuration("a", 0), "s": [0], "name": ["src/0.h5"]})
        job[0].mark(SRC, "exists", names=["src/nobody.h5"], place="tape", size=10, digest="md5:0")
        job[0].mark(half, "exists", names=["file:///nowhere"], place="tape")
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        assert copies(Campaign(store), SRC)["decision"] == ["recreate"]
        assert sorted(store.sql("select name from unplaced")["name"]) == ["file:///nowhere", "src/nobody.h5"]
        assert Campaign(store).plan(half, {"x": [1]}).summary()["missing"] == 1

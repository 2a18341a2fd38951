"""Rebuilds and merges of one store at the same time: processes that are stopped within their work, and go on later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pytest

import braid_hpc as braid
from braid_hpc.compaction.rebuild import rebuild
from tests.jobs import one

PROGRAM = """
import sys
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild

stopped = 0

def progress(step, done, total):
    global stopped
    stopped += 1
    if stopped == 1:
        print("stopped", flush=True)
        sys.stdin.readline()

if sys.argv[1] == "rebuild":
    print(rebuild(sys.argv[2], progress=progress).snapshot)
else:
    print(compact(sys.argv[1], sys.argv[2], progress=progress).snapshot)
"""


class Stopped:
    """A merge of some logs, or a rebuild, in a process of its own that waits in the middle until it is told to go on.

    A merge has its copy of the newest snapshot then, and has taken nothing; a rebuild has written nothing.
    """

    def __init__(self, what: str, store: Path) -> None:
        command = [sys.executable, "-W", "error", "-c", PROGRAM, what, str(store)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "stopped\n", self._process.stderr and self._process.stderr.read()

    def __enter__(self) -> Self:
        return self

    def go_on(self) -> int:
        """Let it come to its end; return the number of its snapshot."""
        out, errors = self._process.communicate("\n", timeout=120)
        assert self._process.returncode == 0, errors
        return int(out)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of one run; the logs of five more lie beside it."""
    for number in range(6):
        with one(tmp_path / f"logs-{number}") as job:
            scan = job[0].data("scan", digest=f"d:{number}")
            job[0].model("net", digest=f"m:{number}", derived_from=scan)
    braid.compact(tmp_path / "logs-0", tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


def spoil(store: Path) -> None:
    """Have the newest snapshot hold something wrong, in a file that can be read."""
    with braid.open(store) as opened:
        file = store.with_name(f"{store.name}.d") / f"{opened.snapshot}.duckdb"
    file.chmod(0o644)
    with duckdb.connect(str(file)) as connection:
        connection.execute("update version_rows set digest = 'spoiled' where name = 'scan'")
    file.chmod(0o444)


def digests_of(store: Path) -> list[str]:
    """Give the digests of all scans; each came once."""
    with braid.open(store) as opened:
        assert len(opened.lineage("model:net").nodes) == 2
        return sorted(opened.sql("select digest from versions where name = 'scan'")["digest"])


def test_a_merge_that_began_before_a_rebuild_goes_on_from_what_was_rebuilt(store: Path, tmp_path: Path) -> None:
    """It had copied a snapshot that was wrong, and must not bring that back."""
    spoil(store)
    with Stopped(str(tmp_path / "logs-1"), store) as merge:
        assert rebuild(store).snapshot == 1
        assert digests_of(store) == ["d:0"]
        assert merge.go_on() == 2
    assert digests_of(store) == ["d:0", "d:1"]


@pytest.mark.slow
def test_a_rebuild_takes_what_was_merged_meanwhile(store: Path, tmp_path: Path) -> None:
    """And what was merged into the wrong snapshot is right in the end."""
    spoil(store)
    with Stopped("rebuild", store) as making:
        for number in (1, 2, 3):
            braid.compact(tmp_path / f"logs-{number}", store)
        assert digests_of(store) == ["d:1", "d:2", "d:3", "spoiled"]
        assert making.go_on() == 4
    assert digests_of(store) == ["d:0", "d:1", "d:2", "d:3"]


@pytest.mark.slow
def test_a_merge_that_others_left_far_behind_begins_again(store: Path, tmp_path: Path) -> None:
    """The number that it wanted is free again, because old snapshots go; published there it would be lost."""
    with Stopped(str(tmp_path / "logs-1"), store) as merge:
        for number in (2, 3, 4, 5):
            braid.compact(tmp_path / f"logs-{number}", store)
        assert not (store.with_name(f"{store.name}.d") / "2.duckdb").exists()
        assert merge.go_on() == 6
    assert digests_of(store) == [f"d:{number}" for number in range(6)]


@pytest.mark.slow
def test_both_at_once(store: Path, tmp_path: Path) -> None:
    """Rebuilds, a merge that was stopped within them, statements, and readers: nothing is lost or doubled."""
    with (
        Stopped(str(tmp_path / "logs-1"), store) as merge,
        Stopped("rebuild", store) as making,
        braid.open(store) as opened,
    ):
        opened.invalidate("data:scan@1", cause="beam off")
        assert rebuild(store).snapshot == 2
        assert making.go_on() == 2
        assert merge.go_on() == 3
        opened.refresh()
        opened.invalidate("data:scan@2", cause="beam off")
        assert opened.snapshot == 4
    assert digests_of(store) == ["d:0", "d:1"]
    with braid.open(store) as opened:
        assert len(opened.sql("from invalidations")) == 2
        before = opened.digests()
    assert rebuild(store).snapshot == 4
    with braid.open(store) as opened:
        assert opened.digests() == before
    left = {path.name for path in store.with_name(f"{store.name}.d").iterdir()}
    assert not [name for name in left if name.startswith("building-")]

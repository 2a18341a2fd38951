"""Compaction killed at each call that changes files, and run again: nothing is lost, doubled or left over."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.vocabulary.errors import BraidError
from tests.faults.campaign import many
from tests.faults.interrupt import CompactionServer
from tests.faults.stores import check_leftovers, say
from tests.jobs import Job, digests


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompactionServer]:
    from tests.faults.interrupt import interrupt_library

    with CompactionServer(interrupt_library(tmp_path_factory.mktemp("library"))) as started:
        yield started


class Place:
    """Logs, and a store to begin with; each trial has its own copy of that store."""

    def __init__(self, folder: Path, situation: str) -> None:
        self.folder, self.logs = folder, folder / "logs"
        self.start = folder / "start"
        self.start.mkdir()
        self.before: dict[str, str] | None = None
        self.job = Job(self.logs, 2)
        say(self.job, 0)
        if situation != "new":
            compact(self.logs, self.start / "prov.duckdb")
            self.before = digests(self.start / "prov.duckdb")
            say(self.job, 1)
        if situation != "being written":
            self.job.close()
        whole = self.copy("whole")
        compact(self.logs, whole)
        self.after = digests(whole)
        assert self.after != self.before

    def copy(self, name: str) -> Path:
        # With its hard links: a store is one file under two names.
        subprocess.run(["cp", "-a", self.start, self.folder / name], check=True)
        return self.folder / name / "prov.duckdb"


SITUATIONS = ["new", "second", "being written"]


@pytest.fixture(params=SITUATIONS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, request.param)
    yield made
    made.job.close()


def trial(place: Place, server: CompactionServer, end_at: int, half: bool, wrong: str = "") -> str:
    """Kill one compaction, read, compact again; return the call that it was killed at."""
    store = place.copy("trial")
    try:
        ended = server.compact(place.logs, store, end_at=end_at, half=half, wrong=wrong)
        assert not ended.error, ended.error
        if ended.call:
            if StoreFiles(store).exists():
                assert digests(store) in (place.before, place.after)
            else:
                assert place.before is None
            compact(place.logs, store)
        assert digests(store) == place.after
        check_leftovers(store)
        if not end_at % 16:
            assert not compact(place.logs, store).new
        return ended.call
    except BaseException as error:
        error.add_note(f"killed {'after half of' if half else 'before'} call {end_at}")
        raise
    finally:
        shutil.rmtree(store.parent)


@pytest.mark.timeout(40_000)
def test_killed_at_every_call_and_run_again(place: Place, server: CompactionServer) -> None:
    """Old or new snapshot whole after each kill; run again, the digests of one that nobody killed; no leftovers."""
    calls = server.compact(place.logs, place.copy("count")).calls
    assert len(calls) > 60
    # Half of a call that does not write would be all of it, or nothing.
    points = [(number, half) for number in range(1, len(calls) + 1) for half in (False, True)]
    points = [(number, half) for number, half in points if not half or "write" in calls[number - 1]]
    if (few := many(len(points), 3)) < len(points):
        points = random.sample(points, few)
    killed = [trial(place, server, number, half) for number, half in points]
    # Threads make some calls more or less: the last ones may not come.
    assert sum(not call for call in killed) <= max(3, len(points) // 20)
    if len(killed) > 100:
        assert {"mkdir", "link", "rename", "unlink", "fsync", "chmod"} <= set(killed)
        assert {"write", "pwrite64"} <= set(killed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "told"),
    [("publish first", "is another store"), ("no ledger", "ranks"), ("keep leftovers", "building-")],
)
def test_the_trial_sees_what_goes_wrong(
    wrong: str, told: str, server: CompactionServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published before it is complete, taken without a ledger, leftovers kept: red."""
    place = Place(tmp_path, "second")
    calls = server.compact(place.logs, place.copy("count")).calls
    if wrong == "keep leftovers":
        monkeypatch.setattr(StoreFiles, "sweep", lambda *_: None)
        wrong = ""
    with pytest.raises((AssertionError, BraidError), match=told):
        trial(place, server, 0 if wrong == "no ledger" else len(calls) // 2, half=False, wrong=wrong)
    place.job.close()

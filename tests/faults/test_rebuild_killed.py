"""A rebuild killed at each call that changes files, and run again: the store is there before, meanwhile and after."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.snapshots.files import StoreFiles
from tests.faults.campaign import many
from tests.faults.interrupt import CompactionServer, interrupt_library
from tests.faults.stores import check_leftovers, say, tables_of
from tests.jobs import Job


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompactionServer]:
    with CompactionServer(interrupt_library(tmp_path_factory.mktemp("library"))) as started:
        yield started


class Place:
    """A store with two snapshots; each trial has its own copy of it."""

    def __init__(self, folder: Path, situation: str) -> None:
        self.folder, self.situation = folder, situation
        self.start = folder / "start"
        self.start.mkdir()
        store = self.start / "prov.duckdb"
        with Job(folder / "logs", 2) as job:
            for turn in range(2):
                say(job, turn, many=20)
                compact(folder / "logs", store)
        self.tables = tables_of(store)
        if situation == "gone":
            for path in [store, *store.with_name("prov.duckdb.d").glob("*.duckdb")]:
                path.unlink()

    def copy(self, name: str) -> tuple[Path, Path | None]:
        """Give a store, and where it is made again."""
        subprocess.run(["cp", "-a", self.start, self.folder / name], check=True)
        store = self.folder / name / "prov.duckdb"
        return store, store.with_name("new.duckdb") if self.situation == "new name" else None


def trial(place: Place, server: CompactionServer, end_at: int, half: bool) -> str:
    """Kill one rebuild, read, run it again; return the call that it was killed at."""
    store, into = place.copy("trial")
    try:
        ended = server.rebuild(store, into, end_at=end_at, half=half)
        assert not ended.error, ended.error
        made = into or store
        if place.situation != "gone":
            # The old one, or the new one that is its like: readable at each moment.
            assert tables_of(store) == place.tables
        if StoreFiles(made).exists():
            assert tables_of(made) == place.tables
        if ended.call and not (into is not None and StoreFiles(made).exists()):
            rebuild(store, into=into)
        assert tables_of(made) == place.tables
        assert made.exists() or ended.call
        if into is None:
            for kept in StoreFiles(store).directory.glob("replaced-*"):
                shutil.rmtree(kept)
        elif not made.exists():
            # Killed between the number and the name: any later merge gives it its name.
            compact(place.folder / "logs", made)
        check_leftovers_of(made)
        return ended.call
    except BaseException as error:
        error.add_note(f"killed {'after half of' if half else 'before'} call {end_at}")
        raise
    finally:
        shutil.rmtree(store.parent)


def check_leftovers_of(store: Path) -> None:
    """Nothing is beside the store that a merge would not remove."""
    files = StoreFiles(store)
    tags = {path.name for path in files.archive.iterdir()}
    files.sweep(files.snapshots()[-1], tags)
    check_leftovers(store)


@pytest.mark.timeout(40_000)
@pytest.mark.parametrize(
    "situation",
    [pytest.param("in place", marks=pytest.mark.slow), "gone", pytest.param("new name", marks=pytest.mark.slow)],
)
def test_killed_at_every_call_and_run_again(situation: str, tmp_path: Path, server: CompactionServer) -> None:
    """Never without a store that can be read where there was one; run again, every row is as it was; no leftovers."""
    place = Place(tmp_path, situation)
    calls = server.rebuild(*place.copy("count")).calls
    assert len(calls) > 20
    points = [(number, half) for number in range(1, len(calls) + 1) for half in (False, True)]
    points = [(number, half) for number, half in points if not half or "write" in calls[number - 1]]
    if (few := many(len(points), 2)) < len(points):
        points = random.sample(points, few)
    killed = [trial(place, server, number, half) for number, half in points]
    assert sum(not call for call in killed) <= max(2, len(points) // 10)

"""Two to eight compactions at once, ranks that go on writing, readers that come in between."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import NotFoundError
from tests.faults.campaign import seeds, trial
from tests.faults.interrupt import CompactionServer, interrupt_library
from tests.faults.stores import check_leftovers, say
from tests.jobs import Job, digests, rows


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompactionServer]:
    with CompactionServer(interrupt_library(tmp_path_factory.mktemp("library"))) as started:
        yield started


class Aside(threading.Thread):
    """Does something again and again until it is stopped; what it raises is raised there."""

    def __init__(self) -> None:
        super().__init__()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self.turns = 0

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.turn()
                self.turns += 1
        except BaseException as error:
            self._error = error

    def turn(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        if self._error is not None:
            raise self._error


class Reader(Aside):
    """Opens the store, looks whether it is a whole snapshot, and sees no older one after a newer one."""

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store
        self.seen = 0

    def turn(self) -> None:
        try:
            opened = Store(self.store)
        except NotFoundError:
            assert not self.seen, "a store that was there is gone"
            self._stopping.wait(0.005)
            return
        with opened:
            assert opened.snapshot >= self.seen
            self.seen = opened.snapshot
            check_whole(opened)
        self._stopping.wait(0.03)


def check_whole(opened: Store) -> None:
    """Each commit has as many rows as it says, all there are belong to one, and each event was taken once."""
    for table, column in (("version_rows", "versions"), ("activity_rows", "activities"), ("edge_rows", "edges")):
        wrong = rows(
            opened,
            f"select snapshot, s.{column}, r.n from main.snapshots s full join "
            f"(select snapshot, count(*) as n from main.{table} group by all) r using (snapshot) "
            f"where s.{column} is distinct from coalesce(r.n, 0)",
        )
        assert not wrong, (table, wrong)
    doubled = rows(
        opened,
        "select a.writer, a.snapshot, b.snapshot from main.ledger a join main.ledger b "
        "on a.writer = b.writer and a.snapshot < b.snapshot and a.last >= b.first and len(a.holes) = 0",
    )
    assert not doubled


class Ranks(Aside):
    """Records on all ranks."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def turn(self) -> None:
        if self.turns < 10:
            # No more: on a busy machine each attempt would have more to merge than the one before.
            say(self.job, self.turns + 10, many=20)
        self._stopping.wait(0.05)


def race(folder: Path, server: CompactionServer, chance: Random) -> None:
    """One race: then the store is that of one compaction after all was written."""
    logs, store = folder / "logs", folder / "prov.duckdb"
    folder.mkdir()
    with Job(logs, 2) as job:
        say(job, 0)
        if chance.random() < 0.5:
            compact(logs, store)
            say(job, 1)
        asides: list[Aside] = [Reader(store)]
        if chance.random() < 0.7:
            asides.append(Ranks(job))
        for aside in asides:
            aside.start()
        try:
            told = server.race(logs, store, chance.randint(2, 8))
        finally:
            for aside in asides:
                aside.stop()
    assert not any(told), "\n".join(told)
    check_leftovers(store)
    compact(logs, store)
    serial = folder / "serial"
    compact(logs, serial)
    # Version numbers are given in the order of commits.
    assert digests(store, numbers=False) == digests(serial, numbers=False)
    with Store(store) as opened:
        check_whole(opened)
    check_leftovers(store)
    assert not compact(logs, store).new


@pytest.mark.slow
@pytest.mark.timeout(40_000)
def test_several_compactions_at_once(server: CompactionServer, tmp_path: Path) -> None:
    """All come to a good end, readers see whole snapshots meanwhile, and nothing is doubled, lost or left over."""
    for seed in seeds(200, 1):
        with trial(seed) as chance:
            race(tmp_path / str(seed), server, chance)
            shutil.rmtree(tmp_path / str(seed))


def test_a_reader_sees_what_is_not_whole(tmp_path: Path) -> None:
    """The trial is red where a commit lacks a row, or an event was taken twice."""
    import duckdb

    with Job(tmp_path / "logs", 1) as job:
        say(job, 0)
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    for number, change in enumerate(
        (
            "delete from edge_rows where sequence = (select max(sequence) from edge_rows)",
            "insert into ledger select * replace (2 as snapshot) from ledger",
        )
    ):
        changed = tmp_path / f"{number}.duckdb"
        changed.write_bytes((tmp_path / "prov.duckdb").read_bytes())
        with duckdb.connect(str(changed)) as connection:
            connection.execute(change)
        with Store(changed) as opened, pytest.raises(AssertionError):
            check_whole(opened)

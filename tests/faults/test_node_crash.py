"""The node crashes: nothing is lost that the writer had been told was on the disk, and no store that was published."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.reading.arrays import check_arrays
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.sealed import stream_batch
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import BATCH_IN_FILE
from tests.faults import doomed
from tests.faults.campaign import many, seeds, trial
from tests.faults.disks import Disk, disk
from tests.faults.oracle import rows_of, text_of
from tests.faults.stores import check_leftovers, say
from tests.jobs import Job, digests

KINDS = ["ext4", "xfs"]


@pytest.fixture(params=KINDS)
def crashing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with disk(tmp_path, request.param) as made:
        yield made


def crash(
    crashing: Disk, what: str, seed: int, after: float, library: Path | None = None, *, promised: bool = False
) -> doomed.Told:
    """Let a process work, freeze it, crash its disk, and mount that again; return what it had told."""
    place = crashing.place / str(seed)
    place.mkdir()
    told = crashing.place.parent / f"{seed}.told"
    pid = doomed.start(what, place, told, seed, library)
    try:
        words = doomed.freeze(pid, told, 1, after, promised=promised)
        crashing.crash()
    finally:
        doomed.end(pid)
    crashing.mount_again()
    return words


def check_synced(log: WriterLog, synced: int) -> None:
    """All up to there is in the log as it was recorded, batches in files and arrays too; the rest is not invented."""
    sequences = log.events["sequence"]
    lost = set(range(1, synced + 1)) - set(sequences.tolist())
    assert not lost, f"{len(lost)} events at or below synced ({synced}) are lost: {sorted(lost)[:5]}, {log.faults}"
    assert all(row == (row[0], row[0] / 2, text_of(row[0])) for row in rows_of(log))
    log.cut(synced + 1)
    numbers = [row[0] for row in rows_of(log)]
    assert numbers == list(range(len(numbers)))
    for row in log.events.positions(Code.BATCH):
        if log.events["flags"][row] == BATCH_IN_FILE:
            stream_batch(log.directory, int(log.events["other"][row]), log.events.payload(row))
    before = list(log.faults)
    with ArrayReader() as reader:
        check_arrays(log, reader)
    assert log.faults == before


@pytest.mark.timeout(40_000)
def test_what_was_synced_survives_a_crash(crashing: Disk) -> None:
    """0 events lost at or below the watermark that the writer had read before it was frozen."""
    most = 0
    for seed in seeds(200, 2):
        with trial(seed) as chance:
            after = chance.choice([0.02, chance.uniform(0, 0.2), chance.uniform(0, 1.5)])
            words = crash(crashing, "record", seed, after, promised=not most)
            most = max(most, words[0])
            if words[0]:
                (directory,) = find_writers(crashing.place / str(seed))
                check_synced(read_writer(directory), words[0])
            crashing.empty()
    assert most


def lost_in(crashing: Disk, seed: int, library: Path) -> bool:
    """Whether a crash takes what was called synced."""
    words = crash(crashing, "record", seed, 0.1, library, promised=True)
    assert words[0] > 1
    try:
        check_synced(read_writer(find_writers(crashing.place / str(seed))[0]), words[0])
    except (AssertionError, LookupError):
        return True
    finally:
        crashing.empty()
    return False


@pytest.mark.slow
def test_without_syncing_it_does_not(crashing: Disk, interrupt: Path) -> None:
    """The trials are red where fsync, fdatasync and msync do nothing: events are lost that were called synced.

    One of them may be green: a kernel may bring all to the disk unasked, as when the journal is full.
    """
    assert any(lost_in(crashing, seed, interrupt) for seed in range(1, 11))


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    """Make four directories of logs, each with all that the one before has, and the digests of their stores."""
    folder = tmp_path_factory.mktemp("steps")
    found: list[dict[str, str]] = [{}]
    with Job(folder / "logs", 1) as job:
        for number in range(1, 5):
            say(job, number, many=20)
            shutil.copytree(folder / "logs", folder / f"logs-{number}")
    for number in range(1, 5):
        compact(folder / f"logs-{number}", folder / "whole.duckdb")
        found.append(digests(folder / "whole.duckdb"))
    return folder, found


@pytest.fixture
def increments(crashing: Disk, steps: tuple[Path, list[dict[str, str]]]) -> list[dict[str, str]]:
    """Put the logs beside the disk, and give the digests."""
    for number in range(1, 5):
        (crashing.place.parent / f"logs-{number}").symlink_to(steps[0] / f"logs-{number}")
    return steps[1]


@pytest.mark.slow
@pytest.mark.timeout(40_000)
def test_a_published_store_survives_a_crash(crashing: Disk, increments: list[dict[str, str]]) -> None:
    """What compact had returned for is there with its archive and arrays; a later state is whole, or not there."""
    folder = crashing.place.parent
    began = time.monotonic()
    for number in range(1, 5):
        compact(folder / f"logs-{number}", folder / "timed.duckdb")
    usual = time.monotonic() - began
    published = 0
    for seed in seeds(50, 1):
        with trial(seed) as chance:
            words = crash(crashing, "compact", seed, chance.uniform(0, 1.2 * usual))
            store = crashing.place / str(seed) / "prov.duckdb"
            if words[0] or StoreFiles(store).exists():
                assert digests(store) in increments[max(1, words[0]) : words[0] + 2]
            compact(folder / "logs-4", store)
            assert digests(store, numbers=False)["versions"]
            assert StoreFiles(store).snapshots()[-1] <= 4
            if StoreFiles(store).snapshots()[-1] == 4:
                assert digests(store) == increments[4]
            check_leftovers(store)
            crashing.empty()
            published += words[0]
    assert published or many(50, 1) < 50


@pytest.mark.slow
def test_without_syncing_the_store_does_not(crashing: Disk, increments: list[dict[str, str]], interrupt: Path) -> None:
    """The trials are red where nothing is brought to the disk: a store that was published is not there, or not whole.

    One of them may be green, as above.
    """
    assert len(increments) == 5
    assert any(unpublished_in(crashing, seed, interrupt) for seed in range(1, 6))


def unpublished_in(crashing: Disk, seed: int, library: Path) -> bool:
    """Whether a crash takes a store for which `compact` had returned."""
    words = crash(crashing, "compact", seed, 0, library, promised=True)
    store = StoreFiles(crashing.place / str(seed) / "prov.duckdb")
    taken = not store.exists() or store.snapshots()[-1:] < [words[0]]
    crashing.empty()
    return taken

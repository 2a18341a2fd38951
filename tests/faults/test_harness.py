"""The trials can fail: with one check, one sync, one rename or the order of publication taken away, they go red.

What is taken away is replaced in the test's own process, never by a switch of the product. Of compaction, the order
of publication, the ledger and the sweeping are taken away in ``test_compaction_killed.py``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

import braid_hpc as braid
from braid_hpc.log import batch_file, upkeep
from braid_hpc.log import writer as writing
from braid_hpc.log.keeper import Keeper
from braid_hpc.log.layout import PAGE, ROW, ROW_BYTES, check_word, pack_sum
from braid_hpc.log.seal import seal_tails
from braid_hpc.log.tail import MappedTail
from braid_hpc.log.writer import RankLog
from braid_hpc.reading import directories, sealed, tails
from braid_hpc.reading.batches import check_batches
from braid_hpc.reading.events import Events
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.vocabulary.codes import Code
from tests.faults import test_damage as damage
from tests.faults.oracle import COLUMNS, Counter, check_rows, fork_and_kill, text_of
from tests.golden.make import make
from tests.jobs import one
from tests.rank_logs import small_tails

Patch = pytest.MonkeyPatch
Trial = Callable[[], None]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Give a closed log with sealed batches, a tail and a stream's own file."""
    return make("sealed", tmp_path / "logs")


def hold_when_flipped(
    directory: Path, name: str, *, shown: bool = False, first: int = 0, last: int | None = None
) -> None:
    """Flip bits of one file, one after the other: what is read was written, what is missing is told."""
    path = directory / name
    data = path.read_bytes()
    before = damage_read(directory)
    dice = random.Random(7)
    try:
        for _ in range(60):
            bit = dice.randrange(8 * first, 8 * (last or len(data)))
            path.write_bytes(damage.flipped(data, [bit]))
            shows = damage.hold(before, damage_read(directory), f"{name}, bit {bit}")
            assert shows or not shown, f"{name}, bit {bit} shows nowhere"
    finally:
        path.write_bytes(data)


def damage_read(directory: Path) -> WriterLog:
    """Read a log as the trials of damage do."""
    log = read_writer(directory)
    check_batches(log)
    # Read now, for the file is about to change.
    assert log.events is not None
    return log


# ---------------------------------------------------------------------- checks of the reader


def no_row_check(patch: Patch) -> None:
    """Take every row for one that verifies."""
    patch.setattr(tails, "_row_states", lambda data, header, table: (table["word"] != 0).astype(np.uint8))


class _Same(int):
    """A check sum that equals every other one."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


class _SameBytes(bytes):
    """A digest that equals every other one."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def no_batch_sum(patch: Patch) -> None:
    """Believe batches without their sums."""
    patch.setattr(sealed, "xxh3_128_digest", lambda data: _SameBytes())


def no_record_check(patch: Patch) -> None:
    """Believe the records of sums."""
    patch.setattr(sealed, "xxh3_64_intdigest", lambda data: _Same())


def no_header_check(patch: Patch) -> None:
    """Believe a header that is JSON."""

    def unpack(data: bytes) -> dict[str, Any]:
        header: dict[str, Any] = json.loads(data)
        header.pop("check", None)
        return header

    patch.setattr(directories, "unpack_header", unpack)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("tail", no_row_check),
        ("events.arrows", no_batch_sum),
        ("events.sums", no_record_check),
        ("header.json", no_header_check),
    ],
)
def test_flips_are_found_by_each_check(
    name: str, taken: Callable[[Patch], None], whole: Path, monkeypatch: Patch
) -> None:
    """Row, batch, record, header: with its check the trial is green, without it a flip is silent, and the trial red."""
    if name == "tail":
        name = max(path.name for path in whole.glob("tail-*"))
        # Where its rows are: the rest of a tail is never read.
        trial: Trial = partial(hold_when_flipped, whole, name, first=PAGE, last=PAGE + 4 * ROW_BYTES)
    else:
        trial = partial(hold_when_flipped, whole, name, shown=name.endswith(".sums"))
    trial()
    with monkeypatch.context() as patch:
        taken(patch)
        # A reader that believes everything may also end in an error of Arrow's or NumPy's.
        with pytest.raises((AssertionError, ValueError, OSError, OverflowError, KeyError)):
            trial()
    trial()


def test_rows_in_a_tail_and_a_batch_would_count_twice(tmp_path: Path, monkeypatch: Patch) -> None:
    """A kill between the sum of a batch and the removal of its tail leaves both; without the comparison it is red."""
    small_tails(monkeypatch)
    with one(tmp_path / "logs") as job:
        stream = job[0].stream("rows", COLUMNS)
        for number in range(150):
            stream.append(number, number / 2, text_of(number))
        kept = {path: path.read_bytes() for path in job.folder(0).glob("tail-*")}
        job[0]._log.seal()
    for path, data in kept.items():
        path.write_bytes(path.read_bytes() if path.exists() else data)
    check_rows(tmp_path / "logs", 149)

    def join(parts: list[Events]) -> Events:
        # As it is, without the line that takes each sequence once.
        parts = [part for part in parts if len(part)] or [Events.empty()]
        bases = np.cumsum([0, *(len(part.heap) for part in parts[:-1])])
        start = np.concatenate([part.start + base for part, base in zip(parts, bases, strict=True)])
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
        heap = b"".join(part.heap for part in parts)
        both = Events(columns, heap, start, np.concatenate([part.length for part in parts]))
        return both.take(np.argsort(columns["sequence"], kind="stable"))

    monkeypatch.setattr(Ranges, "__sub__", lambda self, other: self)
    monkeypatch.setattr(Events, "join", staticmethod(join))
    with pytest.raises(AssertionError):
        check_rows(tmp_path / "logs", 149)


# ---------------------------------------------------------------------- the order of what a writer does


class WordFirst(MappedTail):
    """Publishes a row, and stores it then."""

    __slots__ = ()

    def append(self, code: int, name: int, subject: int, object: int, other: int, flags: int, payload: bytes) -> int:
        slot, start = self._next, self._free
        if slot >= self._rows or start + len(payload) > self._limit:
            self._rows = 0
            return 0
        row = ROW.pack(time.monotonic_ns(), subject, object, name, other, code, flags, 0, start, len(payload), 0)
        self._next, self._free = slot + 1, start + len(payload)
        at = PAGE + slot * ROW_BYTES
        self._words[slot] = check_word(self._first + slot, xxh3_64_intdigest(row + payload))
        pause()
        self._map[at : at + 56] = row
        self._map[self._heap + start : self._heap + start + len(payload)] = payload
        return self._first + slot


def pause() -> None:
    """Take a moment, so that a kill at random comes here as often as anywhere."""
    end = time.perf_counter() + 0.0005
    while time.perf_counter() < end:
        pass


def record(log_dir: Path, counter: Counter) -> None:
    """Record rows for ever, sealing what is full in this thread."""
    run = braid.start("harness", log_dir=log_dir)
    stream = run.stream("rows", COLUMNS)
    for number in range(1 << 40):
        stream.append(number, number / 2, text_of(number))
        counter.set(number + 1)
        if run._log._full:
            run._log.seal()


def kills(log_dir: Path, trials: int = 25) -> None:
    """Kill a writer at random moments, as ``test_kill.py`` does."""
    dice = random.Random()
    for number in range(trials):
        place = log_dir / str(number)
        check_rows(place, fork_and_kill(partial(record, place), dice.uniform(0, 0.02)))
        shutil.rmtree(place)


@pytest.fixture
def small(monkeypatch: Patch) -> Iterator[Patch]:
    """Let a writer in Python go through many small tails, without a thread beside it."""
    small_tails(monkeypatch)
    monkeypatch.setenv("BRAID_TAIL", "python")
    monkeypatch.setattr(Keeper, "start", lambda self: None)
    with monkeypatch.context() as patch:
        yield patch


@pytest.mark.slow
def test_kills_find_a_word_that_is_stored_before_its_row(small: Patch, tmp_path: Path) -> None:
    small.setattr(writing, "mapped_tail", lambda: WordFirst)
    with pytest.raises(AssertionError, match="check sum"):
        kills(tmp_path, 60)


@pytest.mark.slow
def test_kills_find_a_tail_that_is_removed_before_it_is_sealed(small: Patch, tmp_path: Path) -> None:
    """What was acknowledged is in neither."""
    real = seal_tails

    def seal(full: list[Any], events: Any) -> int:
        for path in Path(events._path).parent.glob("tail-*"):
            if path.name < max(each.name for each in path.parent.glob("tail-*")):
                path.rename(path.with_name("." + path.name))
        for _ in range(20):
            pause()
        done = real(full, events)
        for path in Path(events._path).parent.glob(".tail-*"):
            path.rename(path.with_name(path.name[1:]))
        return done

    small.setattr(upkeep, "seal_tails", seal)
    with pytest.raises(AssertionError, match=r"missing|calls had returned"):
        kills(tmp_path, 60)


@pytest.mark.slow
def test_kills_find_a_sum_that_is_written_before_its_batch(small: Patch, tmp_path: Path) -> None:
    """The sum vouches for what is not there."""
    real = batch_file.write_at

    def late(descriptor: int, data: Any, offset: int) -> None:
        for _ in range(10):
            pause()
        real(descriptor, data, offset)

    def append(self: Any, schema: Any, batches: Any, *, sync: bool) -> int:
        at = offset = self._end or len(schema)
        records = b""
        for batch, first, after, rows in batches:
            digest = batch_file.batch_digest(schema, batch)
            records += pack_sum(at, len(batch), first, after, rows, digest)
            at += len(batch)
        self._end = at
        self._append_sums(records, (offset, at), sync=sync)
        self._write(schema, batches, offset, sync=sync)
        return int(offset)

    small.setattr(batch_file, "write_at", late)
    small.setattr(batch_file._Part, "append", append)
    with pytest.raises(AssertionError, match=r"events\.arrows"):
        kills(tmp_path, 60)


@pytest.mark.slow
def test_kills_find_nothing_wrong_with_the_product(small: Patch, tmp_path: Path) -> None:
    """The same trial is green where nothing is taken away."""
    kills(tmp_path)


# ---------------------------------------------------------------------- what a power cut leaves


class Disk:
    """What stands on the disk for certain: of each file what it held when it was last synced."""

    def __init__(self, directory: Path, patch: Patch) -> None:
        self.directory = directory
        self.held: dict[str, bytes] = {}
        self._sync = os.fdatasync
        patch.setattr(os, "fdatasync", self._note)

    def _note(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.parent == self.directory:
            self.held[path.name] = path.read_bytes()
        self._sync(descriptor)

    def after_a_power_cut(self, folder: Path) -> WriterLog:
        """Give the log that is found then; files that were removed are gone at once."""
        folder.mkdir()
        for name, data in self.held.items():
            if (self.directory / name).exists():
                (folder / name).write_bytes(data)
        return read_writer(folder)


def power_cut(tmp_path: Path, patch: Patch, flaw: Callable[[Patch], None] | None = None) -> None:
    """Record, sync and seal in turns; after each step all events up to ``synced`` are on the disk."""
    log = RankLog(tmp_path / "logs", {}, background=False)
    disk = Disk(log.directory, patch)
    if flaw is not None:
        flaw(patch)
    dice = random.Random(3)
    for step in range(60):
        for _ in range(dice.randrange(40)):
            assert log.append(Code.ROW, subject=step)
        log.sync() if dice.random() < 0.6 else log.seal()
        place = tmp_path / f"{step}"
        found = set(disk.after_a_power_cut(place).events["sequence"].tolist())
        lost = set(range(1, log.synced + 1)) - found
        assert not lost, f"step {step}: {len(lost)} events up to {log.synced} were said to be synced"
        shutil.rmtree(place)
    assert log.synced
    log.close()


def no_sync_of_tails(patch: Patch) -> None:
    """Say that a tail is on the disk, and do nothing for it."""
    patch.setattr(MappedTail, "sync", lambda self: None)


def no_sync_of_batches(patch: Patch) -> None:
    """Remove tails whose batches may not be on the disk."""
    patch.setattr(batch_file._Part, "_to_disk", lambda self, descriptor: None)


@pytest.mark.slow
@pytest.mark.parametrize("flaw", [no_sync_of_tails, no_sync_of_batches])
def test_a_sync_that_is_left_out_is_found(flaw: Callable[[Patch], None], small: Patch, tmp_path: Path) -> None:
    """Of tails, of batches: green with both, red without the one."""
    with small.context() as patch:
        power_cut(tmp_path / "whole", patch)
    with small.context() as patch, pytest.raises(AssertionError, match="were said to be synced"):
        power_cut(tmp_path / "flawed", patch, flaw)


# ---------------------------------------------------------------------- publication of a store


def test_a_store_that_is_written_in_place_is_seen_half(tmp_path: Path, monkeypatch: Patch) -> None:
    """A reader that comes at any moment sees a whole snapshot; where the file is copied to its name, it does not."""
    with one(tmp_path / "logs") as job:
        job[0].data("d", digest="x:0")
    looks: list[int] = []

    def look(store: Path) -> None:
        if StoreFiles(store).exists():
            with braid.open(store) as opened:
                looks.append(len(opened.sql("select * from versions")))

    def linked(real: Any, source: Path, target: Path) -> None:
        look(store)
        real(source, target)
        look(store)

    def copied(source: Path, target: Path) -> None:
        data = Path(source).read_bytes()
        Path(target).write_bytes(data[: len(data) // 2])
        look(store)
        Path(target).write_bytes(data)

    real = os.link
    store = tmp_path / "whole.duckdb"
    monkeypatch.setattr(os, "link", partial(linked, real))
    braid.compact(tmp_path / "logs", store)
    assert set(looks) == {1}
    store = tmp_path / "flawed.duckdb"
    monkeypatch.setattr(os, "link", copied)
    with pytest.raises(braid.BraidError):
        braid.compact(tmp_path / "logs", store)

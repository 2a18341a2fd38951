"""A machine of hypothesis: logs that are written, sealed, shipped, killed, damaged, copied and merged in any order.

The model is what was acknowledged: for each writer its rows, its records and its arrays, in order. A failing sequence
is printed as a program, with the line that reproduces it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import braid_hpc as braid
from braid_hpc.compaction import ledger
from braid_hpc.log import writer as writing
from braid_hpc.log.keeper import Keeper
from braid_hpc.log.layout import PAGE, ROW_BYTES, SUM_BYTES
from braid_hpc.log.ship import ship_writer
from braid_hpc.reading.arrays import check_arrays
from braid_hpc.reading.batches import check_batches
from braid_hpc.reading.events import COLUMNS
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.sealed import read_batch, read_stream_batch, read_sums, schema_message
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.tails import read_tail
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.run.recorder import Run
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.columns import BATCH_IN_FILE
from braid_hpc.vocabulary.errors import BraidError, CorruptLogError
from tests.faults.campaign import many
from tests.faults.oracle import Counter
from tests.faults.stores import check_rebuilt
from tests.ranks import LAUNCHER_VARIABLES

Row = tuple[Any, ...]
#: Bytes of a file that a row rests on: path, first, behind the last.
Span = tuple[Path, int, int]

#: A large batch has a file of its own from 32 KiB on.
LARGE = 5_000


class Writer:
    """What one writer was told is recorded."""

    def __init__(self, folder: Path, run: Run | None = None, rows: list[int] | None = None) -> None:
        self.folder = folder
        self.run = run
        self.rows = rows or []
        self.records: list[str] = []
        self.handles: list[Any] = []
        self.arrays = 0
        self.closed = False
        self.forked = False
        #: What its log held when it was last read whole, and the files that are damaged now, as they were.
        self.truth: dict[int, Row] = {}
        self.whole: dict[Path, bytes] = {}
        self.levels: dict[str, int | None] = {}

    def __repr__(self) -> str:
        """Say little: hypothesis prints what it chose."""
        return f"<writer {self.folder.name[:8]}>"


def content(log: WriterLog) -> dict[int, Row]:
    """Give all that each row says, by sequence."""
    events = log.events
    return {
        int(events["sequence"][row]): (*(int(events[name][row]) for name in COLUMNS), events.payload(row))
        for row in range(len(events))
    }


def rows_of(log: WriterLog) -> list[int]:
    """Give the numbers in the one stream of a log, in order."""
    found: list[int] = []
    events = log.events
    for position in events.positions(Code.ROW, Code.BATCH):
        payload = events.payload(position)
        if events["code"][position] == Code.BATCH and events["flags"][position] == BATCH_IN_FILE:
            number = int(events["other"][position])
            found.extend(read_stream_batch(log.directory, number, payload).column("n").to_pylist())
        else:
            found.extend(np.frombuffer(payload, "<i8").tolist())
    return found


def records_of(log: WriterLog) -> list[str]:
    """Give the names of what was declared, in order."""
    names = log.names()
    return [names[int(log.events["name"][position])] for position in log.events.positions(Code.DECLARE)]


def spans_of(folder: Path) -> Iterator[tuple[int, list[Span]]]:
    """Give for each row of an undamaged log what it rests on; a row may be there twice."""
    for path in folder.glob("tail-*"):
        scan = read_tail(path)
        if scan.header is None:
            continue
        for row in range(len(scan.events)):
            sequence = int(scan.events["sequence"][row])
            at = PAGE + (sequence - scan.header.first) * ROW_BYTES
            start = int(scan.events.start[row])
            payload = (path, start, start + int(scan.events.length[row]))
            yield sequence, [(path, 0, 88), (path, at, at + ROW_BYTES), *([payload] if payload[2] > start else [])]
    sums = folder / "events.sums"
    segments, _, _ = read_sums(sums)
    for number, segment in enumerate(segments):
        path = sums.with_suffix(".arrows")
        schema = len(schema_message(path.read_bytes()))
        rests = [
            (path, 0, schema),
            (path, segment.offset, segment.offset + segment.length),
            (sums, number * SUM_BYTES, (number + 1) * SUM_BYTES),
        ]
        table = read_batch(path, segment.offset, segment.length, segment.digest)
        for sequence in table.column("sequence").to_pylist():
            yield sequence, rests


class LogMachine(RuleBasedStateMachine):
    """Rules are what may happen to logs and their store; after each of them the promises are looked at."""

    base: ClassVar[Path]
    reader: ClassVar[ArrayReader]
    examples: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).examples += 1
        self.root = Path(tempfile.mkdtemp(dir=self.base))
        self.logs = self.root / "logs"
        self.logs.mkdir()
        self.target = self.root / "shipped"
        self.store = self.root / "prov.duckdb"
        self.writers: list[Writer] = []
        self.numbers = itertools.count()
        self.copies = itertools.count()
        #: What the store was last made of; None where a compaction was killed and nobody knows.
        self.merged: Any = ()
        self.snapshot = 0
        self.merged_damage = False

    # ------------------------------------------------------------------ recording

    def opened(self) -> list[Writer]:
        return [writer for writer in self.writers if writer.run is not None]

    def at_rest(self) -> list[Writer]:
        return [writer for writer in self.writers if writer.run is None]

    @precondition(lambda self: len(self.opened()) < 2)
    @rule()
    def begin(self) -> None:
        """Open a log; another one may be open in the same process."""
        run = Run("machine", log_dir=self.logs)
        self.writers.append(Writer(self.logs / run.writer.hex(), run))

    def _stream(self, run: Run) -> Any:
        return run.stream("rows", {"n": "int64"})

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), count=st.integers(1, 60))
    def append_rows(self, data: st.DataObject, count: int) -> None:
        """Row after row, through several tails."""
        writer = data.draw(st.sampled_from(self.opened()))
        stream = self._stream(writer.run)  # type: ignore[arg-type]
        for _ in range(count):
            number = next(self.numbers)
            assert stream.append(number)
            writer.rows.append(number)

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), count=st.sampled_from([1, 7, 300, LARGE]))
    def append_batch(self, data: st.DataObject, count: int) -> None:
        """Many rows at once, in the tail or in a file of the stream."""
        writer = data.draw(st.sampled_from(self.opened()))
        numbers = [next(self.numbers) for _ in range(count)]
        assert self._stream(writer.run).extend({"n": np.array(numbers)})  # type: ignore[arg-type]
        writer.rows.extend(numbers)

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), how=st.sampled_from(["data", "fact", "activity", "tag", "derive"]))
    def append_record(self, data: st.DataObject, how: str) -> None:
        """Records of its own, facts that all writers share, links to what any writer has declared."""
        writer = data.draw(st.sampled_from(self.opened()))
        run = writer.run
        assert run is not None
        handles = [handle for each in self.writers for handle in each.handles]
        parents = data.draw(st.lists(st.sampled_from(handles), max_size=3)) if handles else []
        if how == "fact":
            writer.records.append("config")
            writer.handles.append(run.fact("config", {"threshold": data.draw(st.integers(0, 2))}))
            return
        name = f"r{next(self.numbers)}"
        if how == "activity":
            with run.activity(f"do-{name}", used=parents) as activity:
                writer.handles.append(activity.data(name))
            writer.records.append(name)
        elif how in ("tag", "derive") and writer.handles:
            handle = writer.handles[-1]
            if how == "tag":
                run.tag(handle, name, "x" * data.draw(st.integers(0, 900)))
            else:
                run.derive(handle, [parent for parent in parents if parent in self._before(handle)])
        else:
            writer.records.append(name)
            writer.handles.append(run.data(name, digest=f"x:{name}", derived_from=parents))

    def _before(self, handle: Any) -> list[Any]:
        """Give the facts, so that no derivation closes a cycle."""
        return [each for writer in self.writers for each in writer.handles if each.kind == "fact" and each != handle]

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), length=st.sampled_from([3, 100, 4_000]))
    def append_array(self, data: st.DataObject, length: int) -> None:
        """An array in the tail, or in a file."""
        writer = data.draw(st.sampled_from(self.opened()))
        name = f"a{next(self.numbers)}"
        writer.handles.append(writer.run.array(name, np.full(length, float(next(self.numbers)))))  # type: ignore[union-attr]
        writer.records.append(name)
        writer.arrays += 1

    @precondition(lambda self: self.opened())
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """End a run; the next one opens a log of its own."""
        writer = data.draw(st.sampled_from(self.opened()))
        writer.run.close()  # type: ignore[union-attr]
        writer.run, writer.closed = None, True

    @precondition(lambda self: self.opened())
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        """Let a log be as SIGKILL would leave it: what is mapped is there, and nobody says goodbye."""
        writer = data.draw(st.sampled_from(self.opened()))
        writer.run._arrays._files._closed = True  # type: ignore[union-attr]
        writer.run = None

    @rule(count=st.integers(1, 80), data=st.data())
    def kill_a_writer(self, count: int, data: st.DataObject) -> None:
        """A process of its own records until SIGKILL comes."""
        after = data.draw(st.sampled_from([0.0, 0.001, 0.01]))
        self._in_child(lambda: Run("killed", log_dir=self.logs), count, after)

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), count=st.integers(1, 60))
    def fork(self, data: st.DataObject, count: int) -> None:
        """A forked child goes on with its parent's run, in a log of its own."""
        writer = data.draw(st.sampled_from(self.opened()))
        self._in_child(lambda: writer.run, count, None)

    def _in_child(self, opened: Any, count: int, after: float | None) -> None:
        """Record some rows in a child; without `after` it ends by itself, else by SIGKILL."""
        before = {path.name for path in self.logs.iterdir()}
        first = next(self.numbers)
        counter = Counter()
        child = os.fork()
        if not child:
            try:
                stream = self._stream(opened())
                for number in itertools.count() if after is not None else range(count):
                    stream.append(first + number)
                    counter.set(number + 1)
            finally:
                os._exit(0)
        if after is not None:
            deadline = time.monotonic() + 20
            while counter.value < count and time.monotonic() < deadline:
                time.sleep(0.0001)
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = counter.value
        counter.close()
        (folder,) = (path for path in self.logs.iterdir() if path.name not in before)
        log = read_writer(folder)
        rows = rows_of(log)
        assert told <= len(rows) <= told + 1, f"{told} calls had returned, the log has {len(rows)} rows"
        assert rows == list(range(first, first + len(rows)))
        # The numbers of others begin behind these.
        self.numbers = itertools.count(first + max(len(rows), 1) + 1)
        self.writers.append(Writer(folder, None, rows))
        self.writers[-1].forked = after is None

    # ------------------------------------------------------------------ what the background thread does

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), what=st.sampled_from(["prepare", "sync", "seal"]))
    def look_after(self, data: st.DataObject, what: str) -> None:
        """The next tail is made, everything is synced, full tails are sealed."""
        writer = data.draw(st.sampled_from(self.opened()))
        log = writer.run._log  # type: ignore[union-attr]
        if what == "sync":
            mark = log.held
            log.sync()
            assert log.synced >= mark
        elif what == "seal":
            log.seal()
            assert not [full for full in log._full.values() if full.settled]
        else:
            log.prepare()

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def ship(self, data: st.DataObject) -> None:
        """Copied off the node, at any time; what is there afterwards is what is here."""
        writer = data.draw(st.sampled_from(self.writers))
        if writer.run is not None:
            log = writer.run._log
            log.ship_to = self.target
            mark = log.held
            log.ship()
            assert log.shipped == mark
        else:
            try:
                ship_writer(writer.folder, self.target)
            except CorruptLogError:
                assert writer.whole
                return
        arrived = content(read_writer(self.target / writer.folder.name))
        if writer.whole:
            assert all(writer.truth.get(sequence) == row for sequence, row in arrived.items())
        else:
            assert arrived == content(read_writer(writer.folder))

    # ------------------------------------------------------------------ damage

    @precondition(lambda self: self.at_rest())
    @rule(data=st.data(), how=st.sampled_from(["cut", "flip"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        """A file is cut off, or a bit of it turned over; once for each log, until it is repaired."""
        writer = data.draw(st.sampled_from(self.at_rest()))
        if writer.whole:
            return
        # Arrays files are damaged in tests/reading/test_arrays.py; HDF5 may take seconds to refuse one.
        files = [path for path in sorted(writer.folder.iterdir()) if path.suffix != ".h5"]
        # Numbers and not the things themselves: how much a killed writer left differs from time to time.
        path = files[data.draw(st.integers(0, 999), label="file") % len(files)]
        before = path.read_bytes()
        if not before:
            return
        self._truth(writer)
        spans = list(spans_of(writer.folder))
        at = data.draw(st.integers(0, 2**40), label="byte") % len(before)
        if how == "cut":
            os.truncate(path, at)
        else:
            changed = bytearray(before)
            changed[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
            path.write_bytes(changed)
        writer.whole[path] = before

        def holds(span: Span) -> bool:
            where, first, end = span
            return where != path or (end <= at if how == "cut" else not first <= at < end)

        survive = {sequence for sequence, rests in spans if all(map(holds, rests))}
        log = read_writer(writer.folder)
        check_batches(log)
        left = content(log)
        assert all(writer.truth.get(sequence) == row for sequence, row in left.items()), "something was invented"
        assert survive <= left.keys(), f"rows {sorted(survive - left.keys())[:5]} were not damaged and are not read"
        if left.keys() != writer.truth.keys():
            assert not log.state.complete
            # A last tail of no bytes at all is what a kill leaves that comes before its first one.
            assert log.faults or not path.stat().st_size, "rows are gone and nothing is said"
        if log.state.complete or not log.faults:
            assert log.header

    @precondition(lambda self: any(writer.whole for writer in self.writers))
    @rule(data=st.data())
    def repair(self, data: st.DataObject) -> None:
        """A whole copy of the file comes back."""
        self._repair(data.draw(st.sampled_from([writer for writer in self.writers if writer.whole])))

    def _repair(self, writer: Writer) -> None:
        for path, data in writer.whole.items():
            path.write_bytes(data)
        writer.whole.clear()

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        """The directory of a writer is copied beside it, as it is now."""
        writer = data.draw(st.sampled_from(self.writers))
        shutil.copytree(writer.folder, self.logs / f"copy-{next(self.copies)}")
        self.merged_damage = self.merged_damage or bool(writer.whole)

    # ------------------------------------------------------------------ compaction

    def _signature(self) -> Any:
        """What news is told from: how much each log holds, and in which state it is."""
        return {writer.folder.name: (len(self._truth(writer)), writer.closed) for writer in self.writers}

    def _damaged(self) -> bool:
        return any(writer.whole for writer in self.writers)

    @precondition(lambda self: self.writers)
    @rule()
    def compact(self) -> None:
        """Merged into the store: a new snapshot where there is news, else none."""
        damaged = self._damaged()
        signature = self._signature()
        done = braid.compact(self.logs, self.store)
        assert StoreFiles(self.store).snapshots()[-1] == done.snapshot
        assert done.snapshot == self.snapshot + done.new
        if not damaged and not self.merged_damage and self.merged is not None:
            assert done.new == (signature != self.merged)
        self.snapshot = done.snapshot
        self.merged_damage = self.merged_damage or damaged
        self.merged = signature
        self._look_into_the_store()

    def _look_into_the_store(self) -> None:
        with braid.open(self.store) as store:
            if not any(writer.rows for writer in self.writers):
                return
            taken: dict[str, list[int]] = {writer.folder.name: [] for writer in self.writers}
            for row in store.sql("select _writer, _row, n from stream.rows order by _writer, _row"):
                taken[row["_writer"]].append(row["n"])
        for writer in self.writers:
            found = taken[writer.folder.name]
            if self.merged_damage:
                # Each once and in order, none that was not recorded.
                assert found == sorted(set(found) & set(writer.rows))
            else:
                assert found == writer.rows

    @precondition(lambda self: self.writers)
    @rule(seed=st.integers(0, 2**32 - 1), how=st.sampled_from(["moment", "call", "refusal"]))
    def kill_compaction(self, seed: int, how: str) -> None:
        """In a child: killed at some moment, killed in a call that changes something, or refused by one."""
        damaged = self._damaged()
        self._signature()
        chance = random.Random(seed)
        child = os.fork()
        if not child:
            try:
                with (
                    _failing(chance, how) if how != "moment" else contextlib.nullcontext(),
                    contextlib.suppress(BraidError, OSError),
                ):
                    braid.compact(self.logs, self.store)
            finally:
                os._exit(0)
        deadline = time.monotonic() + (chance.uniform(0, 0.4) if how == "moment" else 60)
        ended = 0
        while not ended and time.monotonic() < deadline:
            ended, _ = os.waitpid(child, os.WNOHANG)
            time.sleep(0.001)
        if not ended:
            assert how == "moment", "a compaction that a call was refused did not come to an end"
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        there = StoreFiles(self.store).snapshots()
        assert (there[-1] if there else 0) in (self.snapshot, self.snapshot + 1)
        if there and there[-1] > self.snapshot:
            self.snapshot = there[-1]
            self.merged_damage = self.merged_damage or damaged
            self._look_into_the_store()
        self.merged = None

    # ------------------------------------------------------------------ what always holds

    def _truth(self, writer: Writer) -> dict[int, Row]:
        """Read a log that is not damaged, hold it against the model, and give its rows."""
        if writer.whole:
            return writer.truth
        log = read_writer(writer.folder)
        check_batches(log)
        assert not log.faults, log.faults
        # Of a forked child its parent says when it sees it exit.
        left = [WriterState.OPEN, WriterState.ENDED] if writer.forked else [WriterState.OPEN]
        assert log.state in ([WriterState.CLOSED] if writer.closed else left)
        # A tail that is left early leaves numbers out; they never go back.
        assert (np.diff(log.events["sequence"].astype(np.int64)) > 0).all()
        assert rows_of(log) == writer.rows
        assert records_of(log) == writer.records
        rows = content(log)
        assert writer.truth.items() <= rows.items(), "a row that was there is gone, or is another one"
        writer.truth = rows
        return rows

    def check_levels(self) -> None:
        """They only grow, and none is ahead of the one below it."""
        for writer in self.opened():
            levels = writer.run.levels  # type: ignore[union-attr]
            for name, before in writer.levels.items():
                assert (levels[name] or 0) >= (before or 0), f"{name} went back"
            held = levels["held"] or 0
            assert (levels["synced"] or 0) <= held
            assert (levels["shipped"] or 0) <= held
            writer.levels = levels

    def teardown(self) -> None:
        """What the store has become, part by part, is what one merge of all logs would make; and so is its rebuild."""
        try:
            for writer in self.writers:
                self.check_levels()
                self._repair(writer)
                log = read_writer(writer.folder)
                if writer.arrays:
                    check_arrays(log, self.reader)
                    assert not log.faults
                if writer.run is not None:
                    assert max(self._truth(writer)) == writer.run.levels["held"]
            if self.writers:
                self.compact()
                if not self.merged_damage:
                    self._compare()
        finally:
            for writer in self.opened():
                writer.run.close()  # type: ignore[union-attr]
            shutil.rmtree(self.root)

    def _compare(self) -> None:
        originals = self.root / "originals"
        originals.mkdir()
        for writer in self.writers:
            (originals / writer.folder.name).symlink_to(writer.folder)
        fresh = self.root / "fresh.duckdb"
        for writer in self.writers:
            shutil.copytree(writer.folder, originals / "all" / writer.folder.name)
        braid.compact(originals / "all", fresh)
        with braid.open(self.store) as one, braid.open(fresh) as other:
            assert one.digests(numbers=False) == other.digests(numbers=False)
        check_rebuilt(self.store, self.root / "again.duckdb")


@contextlib.contextmanager
def _failing(chance: random.Random, how: str) -> Iterator[None]:
    """Let one of the calls that change the file system end the process, or be refused."""
    left = [chance.randrange(12)]

    def wrapped(real: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                if how == "call":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*given, **named)

        return call

    with contextlib.ExitStack() as stack:
        for name in ("link", "rename", "fsync", "chmod", "unlink"):
            stack.enter_context(patch.object(os, name, wrapped(getattr(os, name))))
        yield


@pytest.mark.timeout(4 * 3600)
@pytest.mark.slow
def test_any_sequence_keeps_the_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing acknowledged is lost, invented, doubled or reordered; damage is named; stores are equal; levels hold."""
    for name in list(os.environ):
        if name.startswith(LAUNCHER_VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.setattr(writing, "FIRST_TAIL", (24, 2048))
    monkeypatch.setattr(writing, "LATER_TAILS", (40, 4096))
    # Nothing is being stored while a rule merges: no row has to be waited for behind numbers that were left out.
    monkeypatch.setattr(ledger, "STORING_NS", 0)
    # What it does are rules here, so that a sequence is the same one each time.
    monkeypatch.setattr(Keeper, "start", lambda self: None)
    LogMachine.base = tmp_path
    with ArrayReader() as reader:
        LogMachine.reader = reader
        run_state_machine_as_test(
            LogMachine,
            settings=settings(
                max_examples=many(2_000, 2),
                stateful_step_count=many(25, 12),
                deadline=None,
                print_blob=True,
                # Making a failing sequence shorter takes minutes, because no two runs of it are quite the same.
                phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if many(1, 0) else [])],
                suppress_health_check=list(HealthCheck),
            ),
        )

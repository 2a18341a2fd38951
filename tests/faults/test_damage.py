"""Damage to the files of a log: what verifies is there and is what was written; the rest is told, never silent."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.reading.arrays import check_arrays
from braid_hpc.reading.batches import check_batches
from braid_hpc.reading.events import COLUMNS
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.run import arrays as run_arrays
from braid_hpc.run.attaching import record_attempt, record_result
from braid_hpc.run.filing import record_inspection
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.payloads import Attempt, Inspection, Links, Result
from tests.faults.campaign import many, seeds, trial
from tests.golden.program import record_tasks
from tests.rank_logs import small_tails

Row = tuple[object, ...]


@braid.activity
def double(value: int) -> int:
    return 2 * value


@pytest.fixture(params=["closed", pytest.param("lossy", marks=pytest.mark.slow)])
def whole(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory of a log with every kind of row, sealed batches, tails, a stream's own file, and arrays."""
    monkeypatch.setenv("BRAID_STRICT", "0")
    small_tails(monkeypatch, rows=24, heap=4096)
    monkeypatch.setattr(run_arrays, "INLINE_BYTES", 1000)
    with braid.job("every kind", log_dir=tmp_path / "logs") as run:
        if request.param == "lossy":
            run._log.on_loss = None
            run._log._lose(None)
        config = run.fact("config", {"threshold": 40}, tags={"energy_keV": 71.7})
        with run.activity("reduce", used=config, params={"step": 1}) as act:
            data = act.data("frames", derived_from=config, tags={"n": 1})
            act.use(config)
        run._log.append(Code.GENERATE, subject=act.sequence, payload=encode(Links(links=[config.sequence])))
        assert double(21) == 42
        record_tasks(run)
        run.tag(data, "late", True)
        run.invalidate(data, cause="the shutter was closed")
        run.revalidate(data)
        run.retract(data, config, cause="another one was used")
        run.on_invalid(data, ["mv", "{uri}", "/quarantine"])
        begun = record_attempt(run, Attempt("a" * 32, "b" * 32, "c" * 32))
        record_result(run, begun, Result(ok=True, code=0))
        record_inspection(run, data, Inspection("missing", "file:///data/scan.h5", detail="it is gone"))
        run._log.trouble("ship", "StorageError: cannot ship to /shared")
        run._log.tell_troubles()
        run.derive(data, "fact:config")
        run.data("bad", derived_from=3)
        run.array("small", np.arange(10), unit="mm")
        run.array("large", np.arange(400.0))
        numbers = run.stream("numbers", {"n": "int64", "t": "text"})
        for number in range(40):
            numbers.append(number, "é" * (number % 5))
        numbers.append(None, "none")
        numbers.extend({"n": [1, 2], "t": ["a", "b"]})
        run._log.seal()
        many_rows = numbers.extend({"n": list(range(3000)), "t": ["text"] * 3000})
        run.derive_rows(many_rows, "frames#3")
        run.derive_rows(many_rows, "frames", child_index=[5, 2, 9], parent_index=[1, 1, 8])
        run._log.seal()
        run.derive_rows(many_rows, "frames", child_index=[1, *range(2999)], parent_index=np.arange(3000) ** 2)
        directory: Path = run._log.directory
    kinds = set(read_writer(directory).events["code"].tolist())
    # A tail of frames is for file systems that cannot be mapped.
    missing = {Code.FRAMES} | ({Code.LOSS} if request.param == "closed" else set())
    assert kinds >= set(Code) - missing, set(Code) - kinds
    return directory


@pytest.fixture(scope="module")
def arrays() -> Iterator[Arrays]:
    with contextlib.closing(Arrays()) as opened:
        yield opened


class Arrays:
    """Reads arrays files, each time as if it were the first: nothing is given up because it failed before."""

    def __init__(self) -> None:
        self._reader = ArrayReader(limit=1)

    def check(self, log: WriterLog) -> None:
        if self._reader._failed:
            self.close()
            self._reader = ArrayReader(limit=1)
        if self._reader._child is None:
            # Not within the second: importing h5py alone may take that.
            self._reader._start()
        signal.setitimer(signal.ITIMER_REAL, many(2, 5))
        check_arrays(log, self._reader)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def close(self) -> None:
        self._reader.close()


@pytest.fixture
def limit() -> Iterator[None]:
    """End a reader that takes more than a second."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the reader did not come back in time")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def content(log: WriterLog) -> dict[int, Row]:
    """Give all that each row says, by sequence."""
    events = log.events
    return {
        int(events["sequence"][row]): (*(int(events[name][row]) for name in COLUMNS), events.payload(row))
        for row in range(len(events))
    }


def read(directory: Path, arrays: Arrays | None = None) -> WriterLog:
    """Read and verify a log within a second; and its arrays, an answer within another one."""
    # A second is the promise; in the small run, among other tests on a busy machine, a stall of the disk is no finding.
    signal.setitimer(signal.ITIMER_REAL, many(1, 5))
    log = read_writer(directory)
    check_batches(log)
    # Rows are read when they are asked for, and the files are about to change.
    assert log.events is not None
    signal.setitimer(signal.ITIMER_REAL, 0)
    if arrays is not None:
        arrays.check(log)
    return log


def is_arrays(path: Path) -> bool:
    return path.name.startswith("arrays-")


def hold(before: WriterLog, after: WriterLog, what: str) -> bool:
    """Check that nothing read after damage is wrong, and that what is missing is told; return whether it shows."""
    original, left = content(before), content(after)
    for sequence, row in left.items():
        assert original.get(sequence) == row, f"{what}: row {sequence} is not what was written"
    shows = after.state is not before.state or bool(after.faults)
    assert after.header in (before.header, {}), f"{what}: the header says something else"
    if len(left) < len(original):
        # A tail of nothing is what a kill leaves that comes before its first byte: the log is open, and says no more.
        assert not after.state.complete, f"{what}: rows are gone and nothing is said"
    return shows


def all_files(directory: Path) -> list[Path]:
    """Give the files of a log; the fixture made one of each kind."""
    files = sorted(directory.iterdir())
    kinds = {path.name.partition("-")[0].partition(".")[0] + path.suffix for path in files}
    assert kinds == {
        "header.json",
        "events.arrows",
        "events.sums",
        "stream.arrows",
        "stream.sums",
        "tail",
        "arrays.h5",
    }, kinds
    return files


@pytest.mark.timeout(40_000)
@pytest.mark.usefixtures("limit")
def test_truncation_leaves_exactly_the_whole_events_before_it(whole: Path, arrays: Arrays) -> None:
    """Each file cut at each byte: no error, no hang, no wrong row; rows of other files are all there."""
    before = read(whole, arrays)
    state = before.state
    assert state in (WriterState.CLOSED, WriterState.LOSSY)
    for path in all_files(whole):
        data = path.read_bytes()
        step = max(1, len(data) // many(len(data), 50))
        for size in range(0, len(data), step):
            path.write_bytes(data[:size])
            after = read(whole, arrays if is_arrays(path) else None)
            shows = hold(before, after, f"{path.name} cut to {size} of {len(data)} bytes")
            if is_arrays(path):
                # Its one array is lost by name, or is read whole: the file has more than its bytes.
                assert not after.faults or "array data:large" in " ".join(after.faults)
                assert len(after.events) == len(before.events)
                continue
            zeros = not data[size:].strip(b"\0")
            if state is WriterState.LOSSY and after.events["sequence"][-1:] != before.events["sequence"][-1:]:
                # That a log is open, because its last row is gone, does not show where it is lossy already.
                continue
            assert shows or zeros, f"{path.name} cut to {size} bytes shows nowhere"
        path.write_bytes(data)
    assert read(whole, arrays).state is state


def flipped(data: bytes, flips: list[int]) -> bytes:
    """Return `data` with some of its bits turned over."""
    changed = bytearray(data)
    for bit in flips:
        changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


@pytest.mark.timeout(40_000)
@pytest.mark.usefixtures("limit")
def test_flipped_bits_are_never_silent(whole: Path, arrays: Arrays) -> None:
    """One bit, two bits or a burst in any file: what is read is what was written, and a changed row is told."""
    before = read(whole, arrays)
    files = {path: path.read_bytes() for path in all_files(whole)}
    silent = 0
    for seed in seeds(50_000, 200):
        with trial(seed) as random:
            path = random.choice(list(files))
            data = files[path]
            first = random.randrange(8 * len(data))
            kind = random.choice(["one", "two", "burst"])
            if kind == "one":
                flips = [first]
            elif kind == "two":
                flips = [first, random.randrange(8 * len(data))]
            else:
                flips = [bit for bit in range(first, min(first + 64, 8 * len(data))) if random.random() < 0.5]
            path.write_bytes(flipped(data, flips))
            silent += not hold(
                before, read(whole, arrays if is_arrays(path) else None), f"{path.name}, {kind} at bit {first}"
            )
            path.write_bytes(data)
    # What is never read (the unused end of a table, padding) may change unseen.
    assert read(whole, arrays).state is before.state
    assert silent < many(50_000, 200)


@pytest.mark.parametrize("whole", ["closed"], indirect=True)
def test_a_copied_renamed_or_half_copied_log_is_not_taken_for_another(whole: Path) -> None:
    """A copy beside its original adds nothing; a renamed one is the same writer; a half-copied one says what lacks."""
    logs = whole.parent
    first = braid.compact(logs, logs.parent / "one.duckdb")
    shutil.copytree(whole, logs / "copy")
    whole.rename(logs / "renamed")
    second = braid.compact(logs, logs.parent / "two.duckdb")
    assert (first.events, first.versions, first.edges) == (second.events, second.versions, second.edges)
    with braid.open(logs.parent / "one.duckdb") as one, braid.open(logs.parent / "two.duckdb") as two:
        assert one.digests() == two.digests()
    shutil.rmtree(logs / "copy")
    (logs / "renamed" / "events.arrows").unlink()
    log = read(logs / "renamed")
    assert log.state is WriterState.TORN
    assert "events.arrows is missing" in " ".join(log.faults)

"""The program under trial where a file system refuses: it records all sorts of things, and keeps account of them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import braid_hpc as braid
from braid_hpc.log import arrays as logging_arrays
from braid_hpc.log import writer as writing
from braid_hpc.log.keeper import Keeper
from braid_hpc.log.places import FileSystem
from braid_hpc.log.tail import FrameTail
from braid_hpc.reading.arrays import check_arrays
from braid_hpc.reading.batches import check_batches
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.errors import NotFoundError
from tests.faults.oracle import COLUMNS, rows_of, text_of
from tests.faults.refusals import Layer

__all__ = ["MOMENTS", "RESULT", "Account", "check_account", "in_a_child", "record"]

Account = dict[str, Any]

ROWS = 150
#: The program stops so often and lets the caller interfere.
MOMENTS = 15
BATCH = 6_000
RESULT = sum(range(ROWS))


def record(log_dir: Path, account: Account, moment: Callable[[int, Any], None]) -> int:
    """Record rows, batches and arrays, and return what the program computes, whatever becomes of the log."""
    account.update(kept=[], missed=0, batches=[], missed_batches=0, arrays=[], missed_arrays=0, began=time.time_ns())
    moment(0, None)
    run = braid.start("refused", log_dir=log_dir)
    account["recorded"] = bool(run)
    rows, batches = run.stream("rows", COLUMNS), run.stream("batches", {"n": "int64"})
    total = 0
    for number in range(ROWS):
        total += number
        if rows.append(number, number / 2, text_of(number)).count:
            account["kept"].append(number)
        else:
            account["missed"] += 1
        if number % 30 == 14:
            place = batches.extend({"n": np.arange(BATCH) + number})
            if place.count:
                account["batches"].append([place.first, number])
            else:
                account["missed_batches"] += 1
        if number % 30 == 22 and run:
            before = run._arrays.lost
            run.array(f"array-{number}", np.arange(5_000) + number)
            lost = run._arrays.lost > before
            account["missed_arrays"] += lost
            if not lost:
                account["arrays"].append(number)
        if number % 10 == 9:
            if run:
                look_after(run, number)
            moment(number // 10 + 1, run)
    if run:
        look_after(run, ROWS)
    account["result"] = total
    moment(MOMENTS + 1, run)
    if run:
        account["levels"] = run.levels
        run.close()
        account["lost"] = run._log.lost
    account["ended"] = time.time_ns()
    return total


def look_after(run: Any, number: int) -> None:
    """Take the steps of the background thread, as it takes them."""
    log = run._log
    keeper = log._keeper or Keeper(log)
    for step in (log.watch, log.prepare, log.seal, log.tell_troubles, log.sync):
        keeper._take(step.__name__, step)
    if number % 50 == 49:
        keeper._take("ship", log.ship)


def in_a_child(
    place: Path, layer: Layer, tail: str, moment: Callable[[int, Any], None] | None = None, seconds: float = 60
) -> Account:
    """Run the program in a forked process and give its account; it must end by itself, with its own result."""
    pid = os.fork()
    if not pid:
        code = 9
        try:
            # A hang ends in a traceback of all threads, which is kept.
            signal.alarm(int(seconds))
            stderr = os.open(place / "stderr", os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(stderr, 2)
            _child(place, layer, tail, moment)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    said = (place / "stderr").read_text()
    assert os.waitstatus_to_exitcode(status) == 0, f"the program ended with status {status}: {said}"
    assert "Traceback" not in said, said
    account: Account = json.loads((place / "account.json").read_text())
    assert account["result"] == RESULT
    return account


def prepare(place: Path, tail: str) -> None:
    """Make tails small, and take the background thread's steps into the program's hands."""
    os.environ.update(BRAID_TAIL="python" if tail == "python" else "", BRAID_STRICT="0")
    os.environ["BRAID_SHIP_DIR"] = str(place / "shared")
    writing.FIRST_TAIL = writing.LATER_TAILS = (64, 8192)
    writing.RETRY_NS = logging_arrays.RETRY_NS = 0  # type: ignore[attr-defined]
    # The steps are taken by the program, so that each trial makes the same calls.
    Keeper.start = lambda self: None  # type: ignore[method-assign]
    # What the disk has is what the layer keeps, so a trial may run in memory, where a sync takes no time.
    writing.file_system_of = lambda path: FileSystem("ext4", "/")  # type: ignore[attr-defined]
    if tail == "frames":
        writing.mapped_tail = lambda: FrameTail  # type: ignore[assignment, return-value, attr-defined]


def _child(place: Path, layer: Layer, tail: str, moment: Callable[[int, Any], None] | None) -> None:
    prepare(place, tail)
    account: Account = {}
    cut = False

    def between(number: int, run: Any) -> None:
        nonlocal cut
        if moment is not None:
            moment(number, run)
        if run and layer.refused and not cut:
            cut = True
            layer.power_cut(place / "logs", place / "cut")
            account["synced_at_cut"] = run.levels["synced"]

    layer.install()
    record(place / "logs", account, between)
    layer.number = 0
    layer.power_cut(place / "logs", place / "cut-at-end")
    account.update(refused=layer.refused, counted=layer.counted, names=layer.names)
    write_account(place, account)


def write_account(place: Path, account: Account) -> None:
    """Write the account, again where the kernel refuses that, as it may where somebody makes it refuse calls."""
    while True:
        try:
            (place / "account.json").write_text(json.dumps(account))
        except OSError:
            continue
        return


def main(place: Path) -> None:
    """Run the program in this process, once for warming up and then when `place` has a file ``go``."""
    prepare(place / "warm", "")
    record(place / "warm" / "logs", {}, lambda number, run: None)
    prepare(place, "")
    Path(place, "ready").touch()
    while not os.path.exists(place / "go"):
        time.sleep(0.01)
    account: Account = {}
    record(place / "logs", account, lambda number, run: None)
    write_account(place, account)
    os._exit(0)


def check_account(place: Path, account: Account, reader: ArrayReader, *, layered: bool = True) -> WriterLog | None:
    """Hold the log against the account: nothing kept is missing, what is lost is counted, nothing else is there."""
    try:
        (directory,) = find_writers(place / "logs")
    except (NotFoundError, ValueError):
        assert not account["recorded"], "the log is gone"
        return None
    if not account["recorded"]:
        return None
    log = read_writer(directory)
    check_batches(log)
    check_arrays(log, reader)
    _check_kept(log, account)
    _check_losses(log, account)
    if layered:
        _check_levels(place, log, account, reader)
    return log


def _check_kept(log: WriterLog, account: Account) -> None:
    assert rows_of(log) == [(number, number / 2, text_of(number)) for number in account["kept"]]
    told = [fault for fault in log.faults if "was not stored" not in fault]
    assert not told, told
    events = log.events
    found = [int(events["subject"][row]) for row in events.positions(Code.BATCH)]
    assert found == [first for first, _ in account["batches"]]
    names = log.names()
    stored = {names[int(events["name"][row])] for row in events.positions(Code.ARRAY) if not events["flags"][row] & 2}
    assert stored <= {f"array-{number}" for number in account["arrays"]}


def _check_losses(log: WriterLog, account: Account) -> None:
    missed = account["missed"] + account["missed_batches"] * BATCH + account["missed_arrays"]
    assert account["lost"] >= account["missed"] + account["missed_batches"] * BATCH, "a loss was not counted"
    counted = sum(count for count, _, _ in log.lost)
    in_files = sum("was not stored" in fault for fault in log.faults)
    assert counted == account["lost"] + in_files, f"{log.lost}, the writer had counted {account['lost']}"
    assert log.state is (WriterState.LOSSY if counted else WriterState.CLOSED), log.state
    assert bool(missed) <= bool(counted)
    for _, first, last in log.lost:
        assert account["began"] - 10_000_000 <= first <= last <= account["ended"] + 10_000_000


def _check_levels(place: Path, log: WriterLog, account: Account, reader: ArrayReader) -> None:
    levels = account["levels"]
    known = {int(number) for number in log.events["sequence"]}
    _check_disk(place / "cut-at-end" / log.writer, levels["synced"], known, reader, log)
    if account.get("synced_at_cut"):
        _check_disk(place / "cut" / log.writer, account["synced_at_cut"], known, reader, log)
    if levels["shipped"]:
        copy = read_writer(place / "shared" / log.writer)
        have = {int(number) for number in copy.events["sequence"]}
        assert {number for number in known if number <= levels["shipped"]} <= have, "shipped says more than arrived"


def _check_disk(directory: Path, synced: int, known: set[int], reader: ArrayReader, whole: WriterLog) -> None:
    """Read what a power cut would have left: everything up to `synced` must be in it."""
    if not synced:
        return
    assert directory.is_dir(), f"synced is {synced}, and nothing is on the disk"
    log = read_writer(directory)
    have = {int(number) for number in log.events["sequence"]}
    missing = sorted(number for number in known if number <= synced and number not in have)
    assert not missing, f"synced is {synced}, and not on the disk are {missing[:10]}"
    log.cut(synced + 1)
    log.faults.clear()
    check_batches(log)
    check_arrays(log, reader)
    named = " ".join(whole.troubles)
    lost = [fault for fault in log.faults if "could not be brought to the disk" not in named]
    assert not lost, f"synced is {synced}, and not on the disk: {lost}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))

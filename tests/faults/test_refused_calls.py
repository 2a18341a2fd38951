"""A file system that refuses one call, or a series of them: each call that the log makes, in turn."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.log import batch_file
from braid_hpc.log.choice import why_python
from braid_hpc.log.keeper import Keeper
from braid_hpc.log.losses import Losses
from braid_hpc.log.tail import MappedTail
from braid_hpc.reading.h5reader import ArrayReader
from tests.faults.refusals import ERRNOS, KINDS, Layer
from tests.faults.refused_program import check_account, in_a_child

TAILS = ("compiled", "python", "frames")


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory in memory."""
    made = Path(tempfile.mkdtemp(prefix="braid-refused-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def reader() -> Iterator[ArrayReader]:
    """Read arrays files by one process for all trials."""
    with ArrayReader() as made:
        yield made


def one_trial(place: Path, tail: str, kind: str, number: int, reader: ArrayReader) -> list[str]:
    """Refuse call `number`; whatever goes wrong names the trial. Returns what was refused."""
    place.mkdir(parents=True)
    layer = Layer(kind, number, ERRNOS[number % len(ERRNOS)])
    account = None
    try:
        account = in_a_child(place, layer, tail)
        check_account(place, account, reader)
    except BaseException as error:
        error.add_note(f"refused: {account and account['refused']}")
        error.add_note(f"replay this trial with FAULT_CALL={tail}:{kind}:{number}")
        raise
    shutil.rmtree(place)
    return list(account["refused"])


def calls(tail: str, kind: str, place: Path, reader: ArrayReader) -> list[int]:
    """Give the numbers of the calls to refuse: all, a few, or the one that is to be replayed."""
    if replay := os.environ.get("FAULT_CALL"):
        wanted = replay.split(":")
        return [int(wanted[2])] if wanted[:2] == [tail, kind] else []
    place.mkdir()
    account = in_a_child(place, Layer(kind), tail)
    log = check_account(place, account, reader)
    assert log is not None
    assert not account["refused"]
    total = int(account["counted"])
    print(f"{tail}, {kind}: {total} calls")
    if os.environ.get("FAULT_TRIALS") == "all":
        step = int(os.environ.get("FAULT_STEP", "1"))
        return list(range(1 + random.SystemRandom().randrange(step), total + 1, step))
    return sorted(random.SystemRandom().sample(range(1, total + 1), 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.timeout(3600)
def test_every_call_may_be_refused(tail: str, kind: str, place: Path, reader: ArrayReader) -> None:
    """The program ends with its own result, what is lost is counted, and no level says more than is true."""
    if tail == "compiled" and (reason := why_python()) is not None:
        pytest.skip(f"the compiled tail does not run here: {reason}")
    failed = []
    numbers = calls(tail, kind, place / "counted", reader)
    for number in numbers:
        try:
            one_trial(place / str(number), tail, kind, number, reader)
        except AssertionError as error:
            failed.append(f"{error}; {' '.join(error.__notes__)}")
            print(failed[-1][:2_000], flush=True)
    print(f"{tail}, {kind}: {len(numbers)} trials, {len(failed)} failed")
    assert not failed, f"{len(failed)} of {len(numbers)} trials failed:\n" + "\n".join(failed[:20])


class Broken(Layer):
    """A layer under which the log has lost one of its precautions."""

    without = ""

    def install(self) -> None:
        """Take the precaution away, in this process, which is a trial's own."""
        broken: dict[str, tuple[type, str, Any]] = {
            # The levels go on all the same.
            "a sync": (MappedTail, "sync", lambda tail: None),
            "the count of losses": (Losses, "add", lambda losses, now, count=1: None),
            "another file": (batch_file._Part, "_to_disk", _sync_again),
            "a handler": (Keeper, "_take", lambda keeper, name, step: step()),
        }
        owner, name, instead = broken[self.without]
        setattr(owner, name, instead)
        super().install()


def _sync_again(part: batch_file._Part, descriptor: int) -> None:
    """Ask the kernel twice, as a program might that takes the second answer for the truth."""
    with contextlib.suppress(OSError):
        os.fdatasync(descriptor)


@pytest.mark.parametrize(
    ("without", "kind", "numbers", "complaint"),
    [
        ("a sync", "once", [0], "not on the disk"),
        ("another file", "sync", range(1, 60, 4), "not on the disk"),
        ("the count of losses", "full", range(120, 300, 30), "not counted|had counted|LOSSY"),
        ("a handler", "sync", range(5, 50, 10), "ended with status"),
    ],
)
def test_the_trials_are_red_without(
    without: str, kind: str, numbers: Iterable[int], complaint: str, place: Path, reader: ArrayReader
) -> None:
    """One precaution less, and a trial fails: the harness can tell."""
    said = []
    for number in numbers:
        layer = Broken(kind, number)
        layer.without = without
        (place / str(number)).mkdir()
        try:
            check_account(place / str(number), in_a_child(place / str(number), layer, "python"), reader)
        except AssertionError as error:
            said.append(str(error))
            break
    assert said, f"all trials pass without {without}"
    assert re.search(complaint, said[0]), said[0]

"""A disk that is full for a while, a directory that is in the way, and system calls that the kernel refuses."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.reading.h5reader import ArrayReader
from tests.faults.refusals import Layer
from tests.faults.refused_program import MOMENTS, RESULT, check_account, in_a_child
from tests.rank_logs import tmpfs

#: For how many moments of the program the disk refuses.
LASTING = 3

#: Bytes that are left on a full disk: nothing, a header, a header and a tail.
LEFT = (0, 6_000, 40_000)

#: What the log, Python's files and HDF5 call when they write.
SYSCALLS = {
    "openat": ("ENOSPC", "EMFILE"),
    "write": ("ENOSPC", "EDQUOT"),
    "pwrite64": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "fsync": ("EIO", "EDQUOT"),
    "fallocate": ("ENOSPC", "EIO"),
    "ftruncate": ("EIO",),
    "unlink": ("EIO",),
    "rename": ("ENOSPC",),
    "mkdir": ("ENOSPC",),
    "dup": ("EMFILE",),
    "memfd_create": ("EMFILE",),
    "eventfd2": ("EMFILE",),
}


@pytest.fixture(scope="module")
def reader() -> Iterator[ArrayReader]:
    """Read arrays files by one process for all trials."""
    with ArrayReader() as made:
        yield made


def some(trials: list[Any], few: int) -> list[Any]:
    """Give all trials, a few, or the one that is to be replayed."""
    if replay := os.environ.get("FAULT_CALL"):
        return [trial for trial in trials if repr(trial) == replay]
    if os.environ.get("FAULT_TRIALS") == "all":
        return trials
    return random.SystemRandom().sample(trials, few)


def held_to(trials: list[Any], few: int, run: Callable[[Any], None]) -> None:
    """Run trials, and say of those that failed how each is replayed."""
    failed = []
    chosen = some(trials, few)
    for trial in chosen:
        try:
            run(trial)
        except AssertionError as error:
            failed.append(f'{error}; replay this trial with FAULT_CALL="{trial!r}"')
            print(failed[-1][:2_000], flush=True)
    print(f"{len(chosen)} trials of {len(trials)}, {len(failed)} failed")
    assert not failed, f"{len(failed)} of {len(chosen)} trials failed:\n" + "\n".join(failed[:20])


def fill(ballast: Path, left: int) -> None:
    """Write until the disk is full, but for `left` bytes."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    with contextlib.suppress(OSError):
        os.truncate(ballast, max(0, ballast.stat().st_size - left))


@pytest.mark.parametrize("where", ["logs", "shared"])
@pytest.mark.timeout(3600)
def test_a_disk_that_is_full_for_a_while(where: str, tmp_path: Path, reader: ArrayReader) -> None:
    """At every moment of the program, before it began as well; with room again, recording goes on."""

    def one(trial: tuple[int, int]) -> None:
        begin, left = trial
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        with tmpfs(place / where, "12m") as disk:

            def moment(number: int, run: Any) -> None:
                if number == begin:
                    fill(disk / "ballast", left)
                elif number == begin + LASTING:
                    (disk / "ballast").unlink()

            account = in_a_child(place, Layer(), "", moment)
            check_account(place, account, reader, layered=where == "shared")

    held_to([(begin, left) for begin in range(MOMENTS - LASTING) for left in LEFT], 1, one)


@pytest.mark.parametrize("how", ["replaced", "immutable"])
@pytest.mark.timeout(3600)
def test_a_directory_that_takes_no_files_for_a_while(how: str, tmp_path: Path, reader: ArrayReader) -> None:
    """A file stands in its place, or nothing may be made in it; what was open goes on."""
    if how == "immutable":
        (tmp_path / "try").mkdir()
        made = subprocess.run(["chattr", "+i", tmp_path / "try"], capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"a directory cannot be made immutable here: {made.stderr.strip()}")
        subprocess.run(["chattr", "-i", tmp_path / "try"], check=True)

    def one(begin: int) -> None:
        place = Path(tempfile.mkdtemp(dir=tmp_path))

        def moment(number: int, run: Any) -> None:
            if number in (begin, begin + LASTING) and run:
                refuse(run._log.directory, number == begin)

        def refuse(directory: Path, begins: bool) -> None:
            if how == "immutable":
                subprocess.run(["chattr", "+i" if begins else "-i", directory], check=True)
            elif begins:
                os.rename(directory, directory.with_suffix(".aside"))
                directory.touch()
            else:
                directory.unlink()
                os.rename(directory.with_suffix(".aside"), directory)

        check_account(place, in_a_child(place, Layer(), "", moment), reader)

    held_to(list(range(1, MOMENTS - LASTING)), 1, one)


def traced(place: Path, call: str, inject: str) -> str:
    """Run the program with one kind of system call refused by strace; returns what was called."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    with (place / "stderr").open("wb") as stderr:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.refused_program", place],
            stderr=stderr,
            cwd=Path(__file__).resolve().parents[2],
        )
    try:
        wait_for_file(place / "ready", program)
        options = ["-f", "-qq", "-o", str(place / "calls"), "-e", f"trace={call}", *(["-e", inject] if inject else [])]
        # Without -q it says when it is there.
        options.remove("-qq")
        tracer = subprocess.Popen(["strace", *options, "-p", str(program.pid)], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            pytest.skip(f"strace cannot attach to a process here: {said.strip()}")
        (place / "go").touch()
        assert program.wait(60) == 0, (place / "stderr").read_text()
        tracer.stderr.close()
        tracer.wait(10)
    finally:
        program.kill()
        program.wait()
    return (place / "calls").read_text()


def wait_for_file(path: Path, program: subprocess.Popen[bytes]) -> None:
    """Wait until the program has made a file."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert program.poll() is None, "the program ended before it began"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.timeout(3600)
def test_every_system_call_may_be_refused(tmp_path: Path, reader: ArrayReader) -> None:
    """Refused by the kernel itself, as the program sees it: also those of the compiled tail and of HDF5."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed; Debian has it in the package strace")
    trials: list[tuple[str, str, int]] = []
    if replay := os.environ.get("FAULT_CALL"):
        trials = [ast.literal_eval(replay)]
    else:
        calls = traced(tmp_path / "counted", ",".join(f"?{call}" for call in SYSCALLS), "")
        for call, errors in SYSCALLS.items():
            count = sum(f" {call}(" in line for line in calls.splitlines())
            trials += [(call, errors[number % len(errors)], number) for number in range(1, count + 1)]
    print(f"{len(trials)} system calls")

    def one(trial: tuple[str, str, int]) -> None:
        call, error, number = trial
        place = tmp_path / "-".join(map(str, trial))
        traced(place, f"?{call}", f"inject=?{call}:error={error}:when={number}")
        said = (place / "stderr").read_text()
        assert "Traceback" not in said, said
        account = json.loads((place / "account.json").read_text())
        assert account["result"] == RESULT
        check_account(place, account, reader, layered=False)
        shutil.rmtree(place)

    held_to(trials, 1, one)

"""Compactions that end at a call of ours to choose: a process with all modules loaded, and a fork of it for each.

``interrupt.c`` says which calls change files.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import mmap
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import pytest

__all__ = ["CompactionServer", "Ended", "interrupt_library"]

ROOT = Path(__file__).parents[2]


def interrupt_library(folder: Path) -> Path:
    """Compile the library; the test is skipped where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("ending a process at its n-th call needs a C compiler")
    library = folder / "interrupt.so"
    source = Path(__file__).with_name("interrupt.c")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


@dataclass(frozen=True, slots=True)
class Ended:
    """How a compaction ended.

    `call` is the name of the call that it was killed at, empty where it came to its own end; `calls` are all it made.
    """

    call: str
    calls: list[str]
    error: str = ""


class CompactionServer:
    """Starts compactions by forking a process that has loaded everything."""

    def __init__(self, library: Path) -> None:
        environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.faults.interrupt import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def compact(self, logs: Path, store: Path, *, end_at: int = 0, half: bool = False, wrong: str = "") -> Ended:
        """Compact in a process of its own, which is killed before its call number `end_at`, or after half of it."""
        return self._ask({"logs": str(logs), "store": str(store), "end_at": end_at, "half": half, "wrong": wrong})

    def rebuild(self, store: Path, into: Path | None, *, end_at: int = 0, half: bool = False) -> Ended:
        """Make a store again in a process of its own, which is killed likewise."""
        place = {"store": str(store), "into": "" if into is None else str(into)}
        return self._ask({**place, "end_at": end_at, "half": half, "wrong": ""})

    def _ask(self, asked: dict[str, object]) -> Ended:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that starts compactions has ended"
        return Ended(**json.loads(answer))

    def race(self, logs: Path, store: Path, together: int) -> list[str]:
        """Compact in several processes that begin at one moment; return what each of them raised, "" for nothing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"logs": str(logs), "store": str(store), "together": together}) + "\n")
        self._process.stdin.flush()
        return [str(json.loads(self._process.stdout.readline())["error"]) for _ in range(together)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def serve() -> None:
    """Fork a compaction for each line that comes in."""
    import duckdb  # noqa: F401
    import h5py  # noqa: F401
    import pyarrow  # noqa: F401

    import braid_hpc.compaction.compact
    import braid_hpc.compaction.rebuild  # noqa: F401

    told = mmap.mmap(-1, 1 << 20)
    # What a compaction prints is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        told[:] = bytes(len(told))
        asked = json.loads(line)
        if together := asked.get("together"):
            _race(asked, together, answers)
            continue
        loaded, loading = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(loaded)
            _compact(asked, told, loading)
        os.close(loading)
        with open(loaded) as names:
            _load(names.read().split())
        _, status = os.waitpid(pid, 0)
        call = told[:64].rstrip(b"\0").decode()
        # A compaction under way has a second process that reads arrays; it ends with its pipe.
        error = told[128:4096].rstrip(b"\0").decode("utf-8", "replace")
        if not os.WIFSIGNALED(status):
            call = ""
        if not call and status:
            error = error or f"status {status}"
        calls = told[4096:].rstrip(b"\0").decode().split()
        answers.write(json.dumps({"call": call, "calls": calls, "error": error}) + "\n")
        answers.flush()


def _race(asked: dict[str, object], together: int, answers: TextIO) -> None:
    waiting, starting = os.pipe()
    children = []
    for _ in range(together):
        told = mmap.mmap(-1, mmap.PAGESIZE * 2)
        pid = os.fork()
        if not pid:
            os.close(starting)
            os.read(waiting, 1)
            _compact({**asked, "end_at": -1, "half": False, "wrong": ""}, told, os.open(os.devnull, os.O_WRONLY))
        children.append((pid, told))
    os.close(waiting)
    os.close(starting)
    for pid, told in children:
        _, status = os.waitpid(pid, 0)
        error = told[128:4096].rstrip(b"\0").decode("utf-8", "replace") or (f"status {status}" if status else "")
        answers.write(json.dumps({"error": error}) + "\n")
    answers.flush()


def _load(names: list[str]) -> None:
    """Import what a compaction needed that came to its end, so that the next ones find it."""
    for name in names:
        with contextlib.suppress(ImportError):
            if name not in sys.modules and not name.startswith("__"):
                importlib.import_module(name)


def _compact(asked: dict[str, object], told: mmap.mmap, loading: int) -> None:
    import traceback

    from braid_hpc.compaction.compact import compact
    from braid_hpc.compaction.rebuild import rebuild

    library = ctypes.CDLL(None)
    where = ctypes.addressof(ctypes.c_char.from_buffer(told))
    try:
        _go_wrong(str(asked["wrong"]))
        library.interrupt_at(ctypes.c_long(int(str(asked["end_at"]))), int(bool(asked["half"])), ctypes.c_void_p(where))
        if asked.get("into") is None:
            compact(str(asked["logs"]), str(asked["store"]))
        else:
            rebuild(str(asked["store"]), into=str(asked["into"]) or None)
        library.interrupt_at(ctypes.c_long(-1), 0, None)
        os.write(loading, "\n".join(sys.modules).encode())
    except BaseException:
        text = traceback.format_exc().encode()[-3000:]
        told[128 : 128 + len(text)] = text
        os._exit(1)
    os._exit(0)


def _go_wrong(how: str) -> None:
    """Take out what keeps a kill harmless: the trial that would not notice proves nothing."""
    import braid_hpc.compaction.commit as compaction
    from braid_hpc.snapshots.files import StoreFiles

    if how == "publish first":
        begin = StoreFiles.begin

        def publish_at_once(self: StoreFiles, base: int) -> Path:
            aside = begin(self, base)
            aside.touch()
            os.link(aside, self.snapshot(base + 1))
            return aside

        StoreFiles.begin = publish_at_once  # type: ignore[method-assign]
        StoreFiles.publish = lambda *_: None  # type: ignore[method-assign]
    elif how == "no ledger":
        compaction.__dict__["write_writers"] = lambda *_: None
    else:
        assert not how, how

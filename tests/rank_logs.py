"""Rank logs for tests: small tails, what a log says, and a file system that is soon full."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.log import writer as writing
from braid_hpc.log.header import pack_header, unpack_header
from braid_hpc.log.layout import HEADER_NAME
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.run.recorder import Run
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import decode


@dataclass(frozen=True, slots=True)
class Said:
    """One row of a log, with its texts in place of their numbers."""

    sequence: int
    name: str
    subject: int
    object: int
    other: int
    flags: int
    payload: bytes

    @property
    def value(self) -> Any:
        """The decoded payload; None where there is none."""
        return decode(self.payload) if self.payload else None


def said(log: WriterLog, *codes: Code) -> list[Said]:
    """Give the rows with one of `codes`, in order."""
    names, events = log.names(), log.events
    return [
        Said(
            sequence=int(events["sequence"][row]),
            name=names[int(events["name"][row])],
            subject=int(events["subject"][row]),
            object=int(events["object"][row]),
            other=int(events["other"][row]),
            flags=int(events["flags"][row]),
            payload=events.payload(row),
        )
        for row in events.positions(*codes)
    ]


def elsewhere(log_dir: Path) -> None:
    """Let logs be of another machine, where nobody here can see whether their processes live."""
    for directory in find_writers(log_dir):
        path = directory / HEADER_NAME
        header = unpack_header(path.read_bytes())
        path.write_bytes(pack_header({**header, "boot_id": "of another machine", "host": "elsewhere"}))


def read_logs(log_dir: Path) -> list[WriterLog]:
    """Give all logs of a directory, in the order in which their writers began."""
    logs = [read_writer(directory) for directory in find_writers(log_dir)]
    return sorted(logs, key=lambda log: int(log.header["clock"]["monotonic_ns"]) if log.header else 0)


def read_only_log(log_dir: Path) -> WriterLog:
    """Give the log of a directory that holds one."""
    (log,) = read_logs(log_dir)
    return log


def small_tails(monkeypatch: pytest.MonkeyPatch, rows: int = 64, heap: int = 8192) -> None:
    """Let tails be full after a few rows."""
    monkeypatch.setattr(writing, "FIRST_TAIL", (rows, heap))
    monkeypatch.setattr(writing, "LATER_TAILS", (rows, heap))


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Replace some bytes of a file."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, data, at)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def tmpfs(path: Path, size: str) -> Iterator[Path]:
    """Mount a small file system at `path`; the test is skipped where that is not permitted."""
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def log_of(run: Run) -> WriterLog:
    """Give what an open run has recorded so far."""
    return read_writer(run._log.directory)


def declared(run: Run) -> dict[str, Said]:
    """Give a run's declarations by name."""
    return {row.name: row for row in said(log_of(run), Code.DECLARE)}

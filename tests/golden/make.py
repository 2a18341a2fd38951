"""Makes the golden logs of the present version of the log format, and what is expected of all of them.

    python -m tests.golden.make              writes the logs of this version anew, and what is expected of them
    python -m tests.golden.make expected     writes only what is expected, of the logs of all versions

The first is for a new version of the format, and for changes to one that is not released yet; the logs of a released
version are never made again. The second is for changes of the store. Look at ``git diff`` after either.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import braid_hpc as braid
from braid_hpc.log import writer as writing
from braid_hpc.log.keeper import Keeper
from braid_hpc.log.layout import MAJOR, MINOR
from braid_hpc.log.places import FileSystem
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.dump import dump
from braid_hpc.reading.survey import read_writer
from tests.golden.program import CASES
from tests.ranks import LAUNCHER_VARIABLES

GOLDEN = Path(__file__).parent

#: What a header says of machine and program, so that no golden log names the one it was made on.
PROCESS = {
    "argv": ["python", "golden.py"],
    "executable": "/usr/bin/python3.11",
    "python": "3.11.7",
    "cwd": "/home/braid",
    "user": "braid",
    "script": "/home/braid/golden.py",
    "script_digest": "blake3:" + 64 * "0",
    "git": 40 * "0",
}


@contextlib.contextmanager
def _somewhere(case: str) -> Iterator[None]:
    """Let logs be small, name no real machine, and have no background thread that comes in between."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*LAUNCHER_VARIABLES, "BRAID_"))}
    if case != "arrays":
        kept |= {"BRAID_RUN_ID": f"golden-{case}", "PMI_RANK": "0", "PMI_SIZE": "1"}
    with contextlib.ExitStack() as stack:
        for name, value in (("FIRST_TAIL", (32, 4096)), ("LATER_TAILS", (48, 8192))):
            stack.enter_context(patch.object(writing, name, value))
        fixed: list[tuple[str, Callable[..., Any]]] = [
            ("braid_hpc.run.recorder.describe_process", lambda: dict(PROCESS)),
            ("braid_hpc.run.recorder.imported_packages", lambda **_: {"numpy": "2.0.0"}),
            ("braid_hpc.run.launcher._launcher_process", lambda: {"pid": 100, "start": 1000, "command": "mpirun"}),
            ("braid_hpc.run.refusals.caller", lambda: "/home/braid/golden.py:1"),
            ("braid_hpc.log.header.boot_id", lambda: "00000000-0000-0000-0000-000000000000"),
            ("braid_hpc.log.header.pid_namespace", lambda: 4026531836),
            ("braid_hpc.log.header.process_start", lambda pid: 2000),
            (
                "braid_hpc.log.writer.file_system_of",
                lambda path: FileSystem("nfs" if case == "frames" else "ext4", "/"),
            ),
            ("socket.gethostname", lambda: "node-1"),
        ]
        for place, stand_in in fixed:
            stack.enter_context(patch(place, stand_in))
        stack.enter_context(patch.object(Keeper, "start", lambda self: None))
        stack.enter_context(patch.dict(os.environ, kept, clear=True))
        yield


def make(case: str, folder: Path) -> Path:
    """Write one golden log.

    Parameters
    ----------
    case : str
        A key of :data:`tests.golden.program.CASES`.
    folder : Path
        Where the writer's directory is put.

    Returns
    -------
    Path
        The writer's directory.
    """
    # Made in a place that says nothing, because messages name it.
    made = Path(tempfile.mkdtemp(prefix="golden-"))
    child = os.fork()
    if not child:
        # Whatever ends it, its log stays as it is; with output nowhere, because refusals and losses are told there.
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            with _somewhere(case):
                CASES[case](braid.start("golden", log_dir=made, store="/home/braid/prov.duckdb"))
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == (signal.SIGKILL if case == "killed" else 0), f"{case} ended with status {status}"
    shutil.move(made, folder)
    (directory,) = find_writers(folder)
    return directory


def lines_of(directory: Path) -> list[dict[str, Any]]:
    """Give all that a reader prints of a log, file by file, and what it says of the whole."""
    found: list[dict[str, Any]] = []
    for path in sorted(directory.iterdir()):
        found.extend({"file": path.name, **line} for line in dump(path))
    log = read_writer(directory)
    whole = {"state": str(log.state), "events": len(log.events), "sealed": log.sealed, "tails": log.tails}
    return [*found, {**whole, "lost": log.lost, "unread": log.unread, "faults": log.faults}]


def digests_of(directory: Path, store: Path) -> dict[str, str]:
    """Give the digests of a store that is made of one log."""
    braid.compact(directory, store)
    with braid.open(store) as opened:
        return opened.digests()


def versions() -> list[Path]:
    """Give the folders of all versions, oldest first."""
    return sorted(GOLDEN.glob("log-*"), key=lambda path: [int(part) for part in path.name[4:].split(".")])


def expect(version: Path) -> None:
    """Write what is expected of the logs of a version."""
    for case in sorted(path for path in version.iterdir() if path.is_dir()):
        (directory,) = find_writers(case)
        lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in lines_of(directory)]
        (version / f"{case.name}.jsonl").write_text("".join(lines))
        with tempfile.TemporaryDirectory() as folder:
            digests = digests_of(directory, Path(folder) / "prov.duckdb")
        (version / f"{case.name}.digests.json").write_text(json.dumps(digests, indent=1) + "\n")


def main(words: list[str]) -> None:
    """Do what the module's text says."""
    if words not in ([], ["expected"]):
        raise SystemExit(__doc__)
    here = GOLDEN / f"log-{MAJOR}.{MINOR}"
    if not words:
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        for case in CASES:
            make(case, here / case)
    for version in versions() if words else [here]:
        expect(version)


if __name__ == "__main__":
    main(sys.argv[1:])

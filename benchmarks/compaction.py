"""What it costs to merge logs into a store: by events, by logs, by sorts of events, alone and shared by ranks.

    python benchmarks/compaction.py [--quick] [--out DIR] [--dir DIR] [--cases KIND=EVENTS:LOGS,...] [--ranks 2,3]
                                    [--rounds N] [--most EVENTS]

For each case so many events are really recorded, by the recorder, as so many ranks of one run. Each round merges these
logs into a new store in each way, every time in another order, and puts the same table from Arrow into DuckDB: the
floor, as no store can be made in less. Before each merge the logs are taken out of the page cache. The ways are:

- one process with one thread of DuckDB, as the floor has;
- one process as ``braid compact`` does it, with as many threads as DuckDB takes;
- real ranks, started with mpirun, of which rank 0 commits.

Given are events a second by wall and by CPU time, the ratio to the floor of the same round, the peak of the resident
memory and the bytes from and to the disk (of all ranks together), and the most that the store, with everything that is
put beside it, took on the disk. Then a small log is merged into the store, beside a copy of its file, and the logs are
checked. A case for which there is no room on the disk is not begun. Written are ``compaction.parquet``,
``compaction.md`` and ``compaction.svg``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from compaction_cases import Case, case_of, default_cases, growing_in_events
from compaction_tables import draw, write_table
from launching import run_ranks
from merging import KINDS
from rounds import Rounds, in_turn, machine, progress, publish, read_rounds

#: What each measure is in.
UNITS = {
    "wall": "s",
    "cpu": "s",
    "cpu of rank 0": "s",
    "read": "MB",
    "written": "MB",
    "peak": "MiB",
    "peak of rank 0": "MiB",
    "on disk": "MB",
}
#: Room on the disk that is left to others (bytes).
SPARE = 1 << 30
#: What an event takes at most in a log, and beside a store that is built, as long as nothing was measured (bytes).
LOG_BYTES, STORE_BYTES = 300, 300
#: What a log takes at least (bytes).
TAIL_BYTES = 400_000
WAYS = ("one-thread", "alone", "shared", "floor")
#: Further rows that are merged into a store.
FURTHER = 100_000


@dataclass(slots=True)
class Room:
    """How many bytes of disk the next case takes, from what the ones before took."""

    place: Path
    #: By what it is of: how many events each log had, and the bytes that an event took.
    log_bytes: dict[str, tuple[float, float]]
    store_bytes: dict[tuple[str, str], tuple[float, float]]

    def missing_for_logs(self, case: Case) -> str:
        """Return why a case cannot be recorded and merged here, or nothing."""
        each, store = self.log_bytes.get(case.kind, (0, LOG_BYTES))[1], self._store_bytes(case, "one-thread")
        return self._missing(case.events * each + case.logs * TAIL_BYTES + store)

    def missing_for(self, case: Case, way: str) -> str:
        """Return why there is no room to merge the logs of a case in one way, or nothing."""
        return self._missing(self._store_bytes(case, way))

    def _store_bytes(self, case: Case, way: str) -> float:
        return case.events * self.store_bytes.get((case.kind, way), (0, STORE_BYTES))[1]

    def _missing(self, wanted: float) -> str:
        free = shutil.disk_usage(self.place).free
        if wanted + SPARE <= free:
            return ""
        return (
            f"it takes some {wanted / 1e9:,.1f} GB of disk and leaves {SPARE / 1e9:.1f} GB free, "
            f"and {free / 1e9:,.1f} GB are free: give --dir on a larger disk"
        )

    def learn_logs(self, case: Case, taken: float) -> None:
        """Keep what the logs took, of the case with most events in a log: what a log takes anyhow counts least."""
        found = case.events / case.logs, taken / case.events
        self.log_bytes[case.kind] = max(self.log_bytes.get(case.kind, found), found)

    def learn_store(self, case: Case, way: str, taken: float) -> None:
        """Keep likewise what a store took with what was beside it, and a tenth more."""
        found = case.events / case.logs, max(1.1 * taken / case.events, 20.0)
        self.store_bytes[case.kind, way] = max(self.store_bytes.get((case.kind, way), found), found)


def child(limit: float, *arguments: object, ranks: int = 0) -> tuple[dict[str, float], str]:
    """Do something in processes of their own: one without MPI, or so many ranks; return what it cost, or why not."""
    given = [str(each) for each in arguments]
    if ranks:
        said, why = run_ranks("merging.py", given, ranks=ranks, limit=limit)
    else:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("BRAID_")}
        command = [sys.executable, str(Path(__file__).with_name("merging.py")), *given]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        telling = [line for line in done.stderr.splitlines() if line.strip()] or [f"code {done.returncode}"]
        said, why = done.stdout, telling[-1][:200] if done.returncode else ""
    lines = [line for line in said.splitlines() if line.startswith("{")]
    if why or not lines:
        return {}, why or "it printed nothing"
    found: dict[str, float] = json.loads(lines[-1])
    return found, ""


def files_below(folder: Path) -> Iterator[os.stat_result]:
    """Yield what the files below a folder are; some may go meanwhile."""
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield os.stat(os.path.join(root, name))


@contextlib.contextmanager
def most_on_disk(folder: Path, logs: Path) -> Iterator[list[float]]:
    """Yield a list that holds, after the block, the most that a folder took on the disk, without links to the logs."""
    known = {each.st_ino for each in files_below(logs)}
    most, ended = [0.0], threading.Event()

    def look() -> None:
        taken = {each.st_ino: each.st_blocks * 512 for each in files_below(folder) if each.st_ino not in known}
        most[0] = max(most[0], float(sum(taken.values())))

    def watch() -> None:
        while not ended.wait(0.25):
            look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
        look()
    finally:
        ended.set()
        thread.join()


def forget(logs: Path, *, sync: bool = False) -> None:
    """Take the logs out of the page cache; what is not on the disk yet stays in it, so bring it there first."""
    for root, _, names in os.walk(logs):
        for name in names:
            descriptor = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                if sync:
                    os.fdatasync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


# ------------------------------------------------------------------------------------------------------ the rounds


def measure(measured: Rounds, options: argparse.Namespace, place: Path) -> None:
    """Measure all cases, the smaller ones first: what they take says what the larger ones will."""
    room = Room(place, {}, {})
    measured.planned = {(case.name, "logs"): case.title for case in options.cases}
    with progress(len(options.cases), "compaction") as step:
        for case in options.cases:
            step(case.title)
            folder = place / "case"
            folder.mkdir()
            try:
                measure_case(measured, options, folder, case=case, room=room)
            finally:
                shutil.rmtree(folder)
            measured.save()
            step("", done=1)


def measure_case(measured: Rounds, options: argparse.Namespace, folder: Path, *, case: Case, room: Room) -> None:
    """Record, then merge in each way and put in the floor, round by round; the last store stays for what is next."""
    of = {"mode": case.name, "variant": "logs", "ranks": case.logs, "round": 0}
    if why := room.missing_for_logs(case):
        measured.skip(of | {"variant": case.title}, why)
        return
    logs, limit = folder / "logs", 300 + case.events / 1_000
    taken, why = child(limit, "record", case.kind, case.events, case.logs, logs)
    if why:
        measured.skip(of | {"variant": case.title}, why)
        return
    forget(logs, sync=True)
    every = list(files_below(logs))
    size = sum(each.st_size for each in every)
    room.learn_logs(case, size)
    measured.add(
        of,
        {
            "events": (case.events, "events"),
            "logs": (case.logs, "logs"),
            "bytes": (size / 1e6, "MB"),
            "files": (len(every), "files"),
            "recorded": (taken["wall"], "s"),
        },
    )
    ways: list[tuple[str, int]] = [("one-thread", 1), ("alone", 1), *(("shared", ranks) for ranks in options.ranks)]
    ways += [("floor", 1)] if case.kind in ("rows", "batches") else []
    ways = [way for way in ways if way[0] in options.ways]
    rounds = options.rounds if case.events < 50_000_000 else max(1, options.rounds // 2)
    for turn in range(rounds):
        for way, ranks in in_turn(ways, turn):
            of = {"mode": case.name, "variant": way, "ranks": ranks, "round": turn}
            one_merge(measured, folder, of, case=case, room=room, limit=limit)
        measured.save()
    of |= {"variant": "check", "ranks": 1, "round": 0}
    found, why = child(limit, "check", logs)
    if why:
        measured.skip(of, why)
    else:
        measured.add(of, with_units(found))
    largest = growing_in_events(options.cases)[-1:]
    if case in growing_in_events(options.cases) and (case.events >= 1_000_000 or case in largest):
        merge_further(measured, folder, case=case, rounds=min(rounds, 3))


def with_units(found: dict[str, float]) -> dict[str, tuple[float, str]]:
    """Return values with their units."""
    return {name: (value, UNITS[name]) for name, value in found.items()}


def one_merge(measured: Rounds, folder: Path, of: dict[str, Any], *, case: Case, room: Room, limit: float) -> None:
    """Merge the logs in one way, or put in the floor."""
    logs, place, way = folder / "logs", folder / "store", of["variant"]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    if why := room.missing_for(case, way):
        measured.skip(of | {"round": 0}, why)
        return
    forget(logs)
    with most_on_disk(place, logs) as most:
        if way == "floor":
            found, why = child(limit, "floor", case.events, place / "floor.duckdb")
        else:
            threads, shared = (1 if way == "one-thread" else 0), ("shared" if way == "shared" else "alone")
            ranks = of["ranks"] if way == "shared" else 0
            found, why = child(limit, "merge", logs, place / "prov.duckdb", threads, shared, ranks=ranks)
    if why:
        measured.skip(of, why)
        return
    room.learn_store(case, way, most[0])
    file = place / ("floor.duckdb" if way == "floor" else "prov.duckdb")
    measured.add(of, with_units(found | {"on disk": most[0] / 1e6}))
    measured.add(of, {"store": (file.stat().st_size / 1e6, "MB")})


def merge_further(measured: Rounds, folder: Path, *, case: Case, rounds: int) -> None:
    """Merge further rows into the store of a case, and copy its file."""
    store, further = folder / "store" / "prov.duckdb", folder / "further"
    count, limit = min(FURTHER, case.events), 300 + case.events / 1_000
    shutil.rmtree(store.parent)
    store.parent.mkdir()
    of = {"mode": case.name, "variant": "further", "ranks": 1, "round": 0}
    _, why = child(limit, "merge", folder / "logs", store, 1, "alone")
    for turn in range(rounds):
        if why or shutil.disk_usage(folder).free < 3 * store.stat().st_size + SPARE:
            measured.skip(of, why or "there is no room for a second store")
            return
        shutil.rmtree(further, ignore_errors=True)
        _, why = child(limit, "record", "rows", count, 1, further)
        begin = time.perf_counter()
        shutil.copyfile(store, folder / "copy.duckdb")
        copied = time.perf_counter() - begin
        (folder / "copy.duckdb").unlink()
        found, why = child(limit, "merge", further, store, 1, "alone") if not why else ({}, why)
        if not why:
            values = with_units(found) | {"copy": (copied, "s"), "events": (count, "events")}
            measured.add(of | {"round": turn}, values)


# ------------------------------------------------------------------------------------------------- from the outside


def main() -> None:
    """Measure, write the files and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less than a minute, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--dir", type=Path, default=None, help="where logs and stores are written while measuring")
    parser.add_argument("--cases", default="", help=f"KIND=EVENTS:LOGS, with commas; kinds: {', '.join(KINDS)}")
    parser.add_argument("--most", type=float, default=1e8, help="no case of more events than this")
    parser.add_argument("--ranks", default="2", help="by how many ranks merges are shared, with commas")
    parser.add_argument("--ways", default="", help=f"some of {','.join(WAYS)}")
    parser.add_argument("--rounds", type=int, default=0, help="of cases below 5e7 events; the others have half of it")
    parser.add_argument("--draw", action="store_true", help="measure nothing: tables and picture of what --out holds")
    options = parser.parse_args()
    measured = read_rounds(options.out / "compaction.parquet") if options.draw else measure_all(options)
    publish(measured, write_table(measured), draw)


def measure_all(options: argparse.Namespace) -> Rounds:
    """Measure what the options ask for."""
    try:
        given = [case_of(each) for each in options.cases.split(",") if each]
    except ValueError as error:
        sys.exit(f"compaction: {error}")
    every = given or default_cases(quick=options.quick)
    options.cases = [case for case in every if case.events <= options.most]
    options.ways = [way for way in options.ways.split(",") if way] or [
        way for way in WAYS if not options.quick or way != "alone"
    ]
    if unknown := {*options.ways} - {*WAYS}:
        sys.exit(f"compaction: there is no way {', '.join(sorted(unknown))}")
    options.ranks = [int(each) for each in options.ranks.split(",") if each]
    options.rounds = options.rounds or (1 if options.quick else 5)
    with tempfile.TemporaryDirectory(prefix="braid-bench-", dir=options.dir) as folder:
        measured = Rounds("compaction", options.out, machine(Path(folder)))
        with measured:
            for case in every:
                if case not in options.cases:
                    of = {"mode": case.name, "variant": case.title, "ranks": 0, "round": 0}
                    measured.skip(of, f"more than the {options.most:,.0f} events of --most")
            measure(measured, options, Path(folder))
    return measured


if __name__ == "__main__":
    main()

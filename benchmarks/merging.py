"""What the benchmark of compaction does in processes of its own: recording logs, merging them, the floor, checking.

Run by its path with what to do as the first argument; rank 0 prints what it cost as one line of JSON. Memory is the
peak of a process's resident set (``VmHWM``), bytes are those that really went to and came from the disk
(``/proc/self/io``), counted while the work was done.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = "x" * 40
FIELDS = {"i": "int64", "a": "float64", "b": "float64", "c": "int32", "d": "int64", "e": "float32", "t": "text"}
ROWS_AT_ONCE = 491_520


# ---------------------------------------------------------------------------------------------------- what is recorded


def record_rows(run: Any, count: int) -> None:
    """Append rows of seven fields one by one."""
    append = run.stream("event", FIELDS).append
    for number in range(count):
        append(number, 1.5, number * 0.37, number & 1023, number, 5.5, TEXT)


def record_batches(run: Any, count: int) -> None:
    """Append the same rows by batches of 100,000."""
    import numpy as np

    stream = run.stream("event", FIELDS)
    for first in range(0, count, 100_000):
        at = np.arange(first, min(count, first + 100_000))
        numbers = {"i": at, "a": at * 1.5, "b": at * 0.37, "c": at & 1023, "d": at, "e": at * 5.5}
        columns: dict[str, Any] = {name: values.astype(FIELDS[name]) for name, values in numbers.items()}
        stream.extend({**columns, "t": [TEXT] * len(at)})


def record_calls(run: Any, count: int) -> None:
    """Call a decorated function with one argument."""
    import braid_hpc as braid

    @braid.activity
    def work(number: int) -> int:
        return number

    for number in range(count):
        work(number)


def record_records(run: Any, count: int) -> None:
    """Declare records, each derived from the one before, with a tag."""
    last = run.data("start", digest="x:start")
    for number in range(count):
        last = run.data(f"d{number % 1000}", digest=f"x:{number}", derived_from=last, tags={"number": number})


def record_activities(run: Any, count: int) -> None:
    """Declare records in activities, each derived from the one before, with a tag; about six events each."""
    last = run.data("start", digest=f"x:{run.writer.hex()}")
    for number in range(count // 6):
        with run.activity("work", used=last) as activity:
            place = f"x:{run.writer.hex()}:{number}"
            last = activity.data(f"d{number % 100}", digest=place, derived_from=last, tags={"number": number})


KINDS: dict[str, Callable[[Any, int], None]] = {
    "rows": record_rows,
    "batches": record_batches,
    "calls": record_calls,
    "records": record_records,
    "activities": record_activities,
}


def record(kind: str, events: int, logs: int, directory: str) -> dict[str, float]:
    """Record so many events as so many ranks of one run, one after the other; nothing is copied or made up."""
    import braid_hpc as braid
    from braid_hpc.run import job

    os.environ |= {"BRAID_RUN_ID": uuid.uuid4().hex, "PMI_SIZE": str(logs)}
    begin = time.perf_counter()
    for rank in range(logs):
        os.environ["PMI_RANK"] = str(rank)
        # Jobs of one process follow each other and are runs of their own; these are to be the ranks of one.
        job._opened.clear()
        with braid.job("bench", log_dir=directory) as run:
            KINDS[kind](run, events // logs + (rank < events % logs))
    return {"wall": time.perf_counter() - begin}


# ---------------------------------------------------------------------------------------------------- what is measured


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Do something; return its seconds, its bytes from and to the disk, and the peak of this process's memory."""
    before, wall, cpu = disk_bytes(), time.perf_counter(), time.process_time()
    work()
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    after = disk_bytes()
    moved = {name: (after[name] - before[name]) / 1e6 for name in before}
    return {**found, **moved, "peak": peak_memory()}


def disk_bytes() -> dict[str, int]:
    """Return the bytes that this process has read from the disk and written to it; nothing where nobody counts them."""
    try:
        text = Path("/proc/self/io").read_text()
    except OSError:
        return {}
    counted = {name: int(value) for name, _, value in (line.partition(":") for line in text.splitlines())}
    written = counted["write_bytes"] - counted["cancelled_write_bytes"]
    return {"read": counted["read_bytes"], "written": written}


def peak_memory() -> float:
    """Return the peak of the resident memory of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def merge(logs: str, store: str, *, threads: int, shared: bool) -> dict[str, float] | None:
    """Merge logs into a store, alone or with all ranks that were started; rank 0 returns what it cost all of them.

    `threads` are those of DuckDB; 0 leaves it as many as it takes by itself.
    """
    import duckdb
    import pyarrow as pa

    from braid_hpc.compaction import compact as steps

    comm = None
    if shared:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    if threads:
        limit_threads(steps, threads)
    duckdb.connect().execute("select 1")
    pa.array([1])
    if comm is not None:
        comm.Barrier()
    own = measured(lambda: steps.compact(logs, store, comm=comm))
    every = [own] if comm is None else comm.gather(own)
    if every is None:
        return None
    sums = {name: sum(each[name] for each in every) for name in own if name != "wall"}
    return {"wall": own["wall"], **sums, "cpu of rank 0": own["cpu"], "peak of rank 0": own["peak"]}


def limit_threads(steps: Any, threads: int) -> None:
    """Have stores built with so many threads of DuckDB."""
    original = steps.connect_building

    def limited(*arguments: Any, **options: Any) -> Any:
        connection = original(*arguments, **options)
        connection.execute(f"set threads = {threads}")
        return connection

    steps.connect_building = limited


def floor(count: int, path: Path) -> dict[str, float]:
    """Put the table of a stream into DuckDB, with one thread, as it comes from Arrow, and bring it to the disk."""
    import duckdb
    import numpy as np
    import pyarrow as pa

    from braid_hpc.compaction.stream_rows import ARROW_TYPES

    at = np.arange(min(count, ROWS_AT_ONCE))
    numbers = {"_row": at, "_time": at, "i": at, "a": at * 1.5, "b": at * 0.37, "c": at & 1023, "d": at, "e": at * 5.5}
    kinds = {
        "_row": pa.int64(),
        "_time": pa.timestamp("ns"),
        **{name: ARROW_TYPES[kind] for name, kind in FIELDS.items()},
    }
    columns = {name: pa.array(values).cast(kinds[name], safe=False) for name, values in numbers.items()}
    columns["t"] = pa.array([TEXT] * len(at), kinds["t"])
    braid_incoming = pa.table(columns)
    system = ", ".join(f"'{'ab' * 16}' as {name}" for name in ("_run", "_writer"))

    def insert() -> None:
        nonlocal braid_incoming
        with duckdb.connect(str(path), config={"threads": 1}) as connection:
            connection.execute("set preserve_insertion_order = false")
            chosen = f"select {system}, 0::integer as _rank, 1::integer as _snapshot, * from braid_incoming"
            connection.execute(f"create table event as {chosen} limit 0")
            connection.execute("begin transaction")
            whole = braid_incoming
            for first in range(0, count, ROWS_AT_ONCE):
                braid_incoming = whole.slice(0, min(ROWS_AT_ONCE, count - first))
                connection.execute(f"insert into event {chosen}")
            connection.execute("commit")
            connection.execute("checkpoint")
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    return measured(insert)


def check(logs: str) -> dict[str, float]:
    """Verify every sum of the logs, as ``braid check`` does."""
    from braid_hpc.reading.batches import check_batches
    from braid_hpc.reading.directories import find_writers
    from braid_hpc.reading.survey import read_writer

    def verify() -> None:
        for directory in find_writers(logs):
            log = read_writer(directory)
            check_batches(log)
            if not log.state.complete:
                raise RuntimeError(f"{directory} is not complete: {log.faults}")

    read_writer(find_writers(logs)[0])
    return measured(verify)


def main(what: str, *given: str) -> None:
    """Do one thing, and print what it cost."""
    found: dict[str, float] | None
    if what == "record":
        found = record(given[0], int(given[1]), int(given[2]), given[3])
    elif what == "merge":
        found = merge(given[0], given[1], threads=int(given[2]), shared=given[3] == "shared")
    elif what == "floor":
        found = floor(int(given[0]), Path(given[1]))
    else:
        found = check(given[0])
    if found is not None:
        print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

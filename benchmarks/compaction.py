"""What compaction costs: rows, batches, calls and records a second, memory, and growth with the size of the logs.

    python benchmarks/compaction.py [--quick] [--out DIR] [--sizes KIND=EVENTS,...] [--rounds N]

Every figure is measured in a process of its own, on one thread of DuckDB. Logs are recorded first, then each round
compacts them and, in turn, puts the same table of a stream from Arrow into DuckDB: the floor, as no store can be made
in less. Given are events (for batches: rows) a second of wall and of CPU time, the ratio to the floor of the same
round, and the peak of the resident memory. Then a small log is merged into the largest store, which must cost no more
than a copy of the file, and the largest logs are checked. Written are ``compaction.json`` and ``compaction.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from recording import TEXT, directory_bytes, machine

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


KINDS = {"rows": record_rows, "batches": record_batches, "calls": record_calls, "records": record_records}


# ---------------------------------------------------------------------------------------------------- what is measured


def measured(work: Any) -> dict[str, float]:
    """Run something and return its seconds, and the peak of this process's memory."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return {**found, "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def inside(what: str, arguments: list[str]) -> dict[str, Any]:
    """Do one measurement in this process."""
    if what == "record":
        import braid_hpc as braid

        kind, count, directory = arguments
        with braid.job("bench", log_dir=directory) as run:
            KINDS[kind](run, int(count))
        return {"bytes": directory_bytes(Path(directory))}
    if what == "compact":
        return compact_once(arguments[0], arguments[1])
    if what == "floor":
        return measured_floor(int(arguments[0]), Path(arguments[1]))
    from braid_hpc.reading.batches import check_batches
    from braid_hpc.reading.directories import find_writers
    from braid_hpc.reading.survey import read_writer

    def check() -> None:
        for directory in find_writers(arguments[0]):
            log = read_writer(directory)
            check_batches(log)
            assert log.state.complete, log.faults

    read_writer(find_writers(arguments[1])[0])
    return measured(check)


def compact_once(logs: str, store: str) -> dict[str, Any]:
    """Compact with DuckDB on one thread."""
    import duckdb
    import pyarrow as pa

    from braid_hpc.compaction import compact as steps

    original = steps.connect_building

    def on_one_thread(*arguments: Any, **options: Any) -> Any:
        connection = original(*arguments, **options)
        connection.execute("set threads = 1")
        return connection

    steps.connect_building = on_one_thread
    duckdb.connect().execute("select 1")
    pa.array([1])
    return measured(lambda: steps.compact(logs, store))


def measured_floor(count: int, path: Path) -> dict[str, Any]:
    """Put the table of a stream into DuckDB as it comes from Arrow, and bring it to the disk."""
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


def child(what: str, *arguments: object) -> dict[str, Any]:
    """Do one measurement in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BRAID_")}
    command = [sys.executable, __file__, "--inside", what, *map(str, arguments)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(kind: str, count: int, place: Path, repeat: int) -> dict[str, Any]:
    """Record, then compact and put in the floor in turn; the last store stays."""
    logs, store = place / f"{kind}-{count}", place / "store" / "prov.duckdb"
    sys.stderr.write(f"measuring {count:,} {kind}\n")
    size = child("record", kind, count, logs)["bytes"]
    found: list[dict[str, Any]] = []
    floors: list[dict[str, Any]] = []
    for _ in range(repeat):
        shutil.rmtree(store.parent, ignore_errors=True)
        store.parent.mkdir()
        found.append(child("compact", logs, store))
        if kind in ("rows", "batches"):
            floors.append(child("floor", count, place / "floor.duckdb"))
            (place / "floor.duckdb").unlink()
    result = {
        "kind": kind,
        "count": count,
        "log_bytes": size,
        "store_bytes": store.stat().st_size,
        "per_second": count / statistics.median(each["wall"] for each in found),
        "per_cpu_second": count / statistics.median(each["cpu"] for each in found),
        "rss_mib": max(each["rss_mib"] for each in found),
        "rounds": repeat,
    }
    if floors:
        for clock in ("wall", "cpu"):
            result[f"floor_{clock}"] = statistics.median(
                one[clock] / other[clock] for one, other in zip(found, floors, strict=True)
            )
        result["floor_per_second"] = count / statistics.median(each["wall"] for each in floors)
    return result


def measure_small(place: Path, count: int) -> dict[str, Any]:
    """Merge a small log into the store that was made last, and copy its file."""
    store, logs = place / "store" / "prov.duckdb", place / "small"
    child("record", "rows", count, logs)
    begin = time.perf_counter()
    shutil.copyfile(store, place / "copy.duckdb")
    copied = time.perf_counter() - begin
    (place / "copy.duckdb").unlink()
    return {**child("compact", logs, store), "copy_seconds": copied, "count": count}


def table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| logs | events | MB of logs | events/s | events/CPU s | wall / floor | CPU / floor | peak memory (MiB) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in results["sizes"]:
        ratios = [f"{each[name]:.2f}" if name in each else "-" for name in ("floor_wall", "floor_cpu")]
        lines.append(
            f"| {each['kind']} | {each['count']:,} | {each['log_bytes'] / 1e6:.0f} | {each['per_second']:,.0f} | "
            f"{each['per_cpu_second']:,.0f} | {' | '.join(ratios)} | {each['rss_mib']:.0f} |"
        )
    small, check = results["small"], results["check"]
    lines += [
        "",
        f"{small['count']:,} rows into a store of {results['sizes'][-1]['count']:,}: {small['wall']:.2f} s "
        f"(a copy of its file takes {small['copy_seconds']:.2f} s), peak memory {small['rss_mib']:.0f} MiB.",
        "",
        "Checking, MB/s: " + ", ".join(f"{kind} {rate:,.0f}" for kind, rate in check.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--sizes", default="", help="kind=events of one measurement, several with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(inside(options.inside, options.arguments)))
        return
    sizes = "calls=2000,records=2000,batches=20000,rows=20000" if options.quick else options.sizes
    sizes = sizes or "calls=100000,records=100000,batches=1000000,batches=10000000,rows=1000000,rows=10000000"
    results: dict[str, Any] = {"sizes": [], "check": {}, "machine": machine()}
    with tempfile.TemporaryDirectory(prefix="braid-bench-") as directory:
        place = Path(directory)
        for each in sizes.split(","):
            kind, _, count = each.partition("=")
            found = measure(kind, int(count), place, 1 if options.quick else options.rounds)
            results["sizes"].append(found)
            logs = place / f"{kind}-{count}"
            took = child("check", logs, logs)
            results["check"][kind] = found["log_bytes"] / 1e6 / took["cpu"]
            shutil.rmtree(logs)
        results["small"] = measure_small(place, 1000 if options.quick else 100_000)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "compaction.json").write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    (options.out / "compaction.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

"""What reading a stream back costs: a table of many events, batch by batch, in time and in memory.

    python benchmarks/scans.py [--rows 10000000] [--batch 10000] [--quick] [--out DIR]

A run of so many events with four data keys (two floats, an integer, a text) is recorded in pages and merged before the
clock runs. Each variant reads it in a process of its own, whose largest resident size (RSS) is told, that of a process
which has only imported the packages and opened the store beside it:

- opened: nothing is read;
- one column: ``columns=["motor"]``;
- all columns: number, time and the four data keys;
- where: one column of the events with a condition of which one in a hundred holds;
- last rows: ``rows=slice(-10000, None)``;
- twice: all columns of a run whose documents were delivered twice.

Written are ``scans.json`` and ``scans.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PAGE = 65_536

VARIANTS: dict[str, dict[str, Any]] = {
    "opened": {},
    "one column": {"columns": ["motor"]},
    "all columns": {"columns": None},
    "where": {"columns": ["motor"], "where": "step = 7"},
    "last rows": {"columns": None, "rows": slice(-10_000, None)},
    "twice": {"columns": None},
}


def pages(rows: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make the documents of a run."""
    import numpy as np

    first = {"uid": f"run-{uuid.uuid4()}", "time": time.time(), "scan_id": 1}
    kinds = {"motor": "number", "det": "number", "step": "integer", "label": "string"}
    keys = {key: {"source": "SIM", "dtype": dtype, "shape": [], "units": "mm"} for key, dtype in kinds.items()}
    of = {"uid": str(uuid.uuid4()), "run_start": first["uid"], "time": time.time(), "name": "primary"}
    yield "start", first
    yield "descriptor", {**of, "data_keys": keys, "configuration": {}, "hints": {}, "object_keys": {}}
    numbers = np.random.default_rng(1)
    for begin in range(1, rows + 1, PAGE):
        count = min(PAGE, rows + 1 - begin)
        place = np.arange(begin, begin + count)
        data = {
            "motor": numbers.random(count),
            "det": numbers.random(count),
            "step": place % 100,
            "label": [f"point {number % 50}" for number in place.tolist()],
        }
        yield (
            "event_page",
            {
                "seq_num": place,
                "time": 1.7e9 + place / 1000,
                "uid": [f"{number:032x}" for number in place.tolist()],
                "descriptor": of["uid"],
                "data": data,
                "timestamps": dict.fromkeys(data, 1.7e9 + place / 1000),
                "filled": {},
            },
        )
    counts = {"primary": rows}
    yield "stop", {"uid": str(uuid.uuid4()), "run_start": first["uid"], "time": 2e9, "num_events": counts}


def prepare(folder: Path, rows: int, deliveries: int) -> Path:
    """Record a run and merge it."""
    import braid_hpc as braid
    from braid_hpc.collectors.documents import DocumentCollector

    store = folder / f"scans-{deliveries}.duckdb"
    logs = folder / f"logs-{deliveries}"
    with braid.job("beamline", log_dir=str(logs)) as run, DocumentCollector(run) as collect:
        for name, document in pages(rows):
            for _ in range(deliveries):
                collect(name, document)
    braid.compact(str(logs), str(store))
    return store


def largest() -> float:
    """Return the largest resident size of this program in MiB: not that of the one that it was forked from."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def read(store: str, variant: str, batch: int) -> dict[str, float]:
    """Read as a variant says, and measure."""
    import braid_hpc as braid

    begin, used = time.perf_counter(), time.process_time()
    rows = first = 0.0
    with braid.open(store) as opened:
        scan = opened.scan(-1)
        if variant != "opened":
            for each in scan.table("primary", **VARIANTS[variant]).batches(batch):
                first = first or time.perf_counter() - begin
                rows += each.num_rows
    return {
        "rows": rows,
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - used,
        "first batch": first,
        "MiB": largest(),
    }


def main() -> None:
    """Measure all variants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="200,000 rows")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.store:
        print(json.dumps(read(given.store, given.variant, given.batch)))
        return
    rows = 200_000 if given.quick else given.rows
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stores = {deliveries: prepare(Path(folder), rows, deliveries) for deliveries in (1, 2)}
        for variant in VARIANTS:
            store = stores[2 if variant == "twice" else 1]
            command = [sys.executable, __file__, "--store", str(store), "--variant", variant]
            command += ["--batch", str(given.batch)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[variant] = json.loads(done.stdout)
            print(variant, found[variant], flush=True)
    lines = [f"{rows:,} events, batches of {given.batch:,} rows", ""]
    lines += ["| what | rows | s | CPU s | first batch s | peak MiB |", "|---|---|---|---|---|---|"]
    for variant, each in found.items():
        lines.append(
            f"| {variant} | {each['rows']:,.0f} | {each['seconds']:.1f} | {each['cpu']:.1f} | "
            f"{each['first batch']:.2f} | {each['MiB']:.0f} |"
        )
    print("\n".join(lines))
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "scans.json").write_text(json.dumps({"rows": rows, "variants": found}, indent=1) + "\n")
        (given.out / "scans.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

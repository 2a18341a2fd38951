"""What it costs to ask two stores together: by attaching both, and by merging them into one file that is kept.

``python -m benchmarks.several [EVENTS]`` prints a table; by default 1,000,000 events a store, half of them rows.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

import braid_hpc as braid

ROWS = 10_000

#: What a connection with both stores attached begins with.
IDS = """
create table ids as select row_number() over () as id, uid, max(a) as a, max(b) as b from (
    select uid, id as a, null as b from a.nodes union all select uid, null, id from b.nodes) group by uid
"""
EDGES = "create view edge_rows as " + " union all ".join(
    f"select c.id as child, p.id as parent, relation from {store}.edge_rows e "
    f"join ids c on c.{store} = e.child join ids p on p.{store} = e.parent"
    for store in "ab"
)


def record(logs: Path, name: str, events: int) -> None:
    """Record a job: half of its events are rows of a stream, the others declare versions and what they came from."""
    with braid.job(name, log_dir=logs) as run:
        hits = run.stream("hits", {"energy": "float64", "channel": "int64"})
        for _ in range(events // 2 // ROWS):
            hits.extend({"energy": np.random.default_rng(0).random(ROWS), "channel": np.arange(ROWS)})
        before = run.data(f"raw-{name}", digest=f"raw:{name}")
        for step in range(events // 8):
            with run.activity("fit", used=before) as activity:
                made = activity.data(f"d{step % 1000}", digest=f"{name}:{step}")
            before = made if step % 3 == 0 else before


def attach(paths: dict[str, Path]) -> Any:
    """Attach both stores, map their ids, and make a view of their edges."""
    connection = duckdb.connect()
    for name, path in paths.items():
        connection.execute(f"attach '{path}' as {name} (read_only)")
    connection.execute(IDS)
    connection.execute(EDGES)
    return connection


def timed(what: str, do: Callable[[], Any]) -> Any:
    """Do something and print how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = do()
    print(f"{what:50} {time.perf_counter() - wall:8.3f} s, CPU {time.process_time() - cpu:8.3f} s")
    return made


def main(events: int) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BRAID_CACHE_DIR"] = os.path.join(folder, "cache")
        paths = {name: Path(folder, f"{name}.duckdb") for name in "ab"}
        for name, path in paths.items():
            record(Path(folder, f"logs-{name}"), name, events)
            logs = Path(folder, f"logs-{name}")
            timed(f"merge the logs of store {name}", partial(braid.compact, logs, path))
        attached = timed("attach both, and map ids", lambda: attach(paths))
        timed("count their edges", lambda: attached.execute("select count(*) from edge_rows").fetchall())
        attached.close()
        timed("open both together, the first time", lambda: braid.open(paths).close())
        store = timed("open both together, the next time", lambda: braid.open(paths))
        timed("count the edges, with origins", lambda: store.sql("select origin, count(*) from edges group by origin"))
        timed("count the edges", lambda: store.sql("select count(*) from edge_rows"))
        timed("a version's lineage", lambda: store.lineage("a::data:d7"))
        timed("another one's", lambda: store.lineage("a::data:d8"))
        store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)

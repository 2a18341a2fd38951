"""Logs to merge, and what must be true of a store whatever has happened to the compactions that made it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.run.handles import Rows
from braid_hpc.snapshots.files import KEEP, StoreFiles
from braid_hpc.snapshots.segment import standing_on
from tests.jobs import Job, digests, rows
from tests.rank_logs import overwrite

__all__ = ["archives", "check_leftovers", "check_rebuilt", "flip", "say", "say_much", "tables_of"]


def say(job: Job, turn: int, *, many: int = 300) -> None:
    """Record a little of everything on all ranks: edges, tags, rows, a large batch, small and large arrays."""
    for rank, run in enumerate(job.runs):
        config = run.fact("config", {"threshold": 40}, tags={"energy_keV": 71.7})
        with run.activity("train", used=config, params={"turn": turn}) as activity:
            peaks = activity.data(f"peaks/{rank}", digest=f"x:{turn}{rank}", uri=f"s3://b/{turn}")
            model = run.model("net", digest=f"w:{turn}", derived_from=[peaks, "fact:config"])
        run.tag(peaks, "turn", turn)
        run.array(f"small/{rank}", np.full(5, turn), unit="mm")
        run.array("map", np.full(20_000, turn * 7.0 + rank), derived_from=model)
        stream = run.stream("hits", {"frame": "int32", "label": "text"})
        stream.append(turn, "ä")
        found = stream.extend({"frame": list(range(many)), "label": ["text" * 40] * many})
        run.derive_rows(found, Rows(found.writer, "hits", 0, 1))
        run.derive_rows(stream, "frames@1", child_index=np.arange(6000) % 7, parent_index=np.arange(6000) ** 2)


def say_much(job: Job, turn: int) -> None:
    """Record so much that small tails are sealed."""
    say(job, turn, many=20)
    for run in job.runs:
        for number in range(70):
            run.data(f"d{turn}/{number}")
        # Too large for a tail.
        run.stream("long", {"label": "text"}).extend({"label": ["text" * 40] * 300})


def flip(path: Path, at: int) -> None:
    """Change a bit of a file."""
    overwrite(path, at, bytes([path.read_bytes()[at] ^ 1]))


def archives(store: Path) -> list[Path]:
    """Give the archives of a store, in the order of their commits."""
    files = StoreFiles(store)
    return [files.archive / name for (name,) in rows(store, "select archive from main.snapshots order by snapshot")]


def check_leftovers(store: Path) -> None:
    """Nothing lies beside a store but its snapshots and what they name."""
    files = StoreFiles(store)
    snapshots = files.snapshots()
    assert 0 < len(snapshots) <= KEEP
    expected = {f"{number}.{what}" for number in snapshots for what in ("duckdb", "adjacency")} | {"logs", "arrays"}
    # Of a store without tasks there is none.
    expected |= {files.done(number).name for number in snapshots if files.done(number).exists()}
    for number in snapshots:
        # What an index is laid over.
        while number := standing_on(files.adjacency(number)):
            expected.add(f"{number}.adjacency")
    found = {path.name for path in files.directory.iterdir()}
    assert found | {"arrays"} == expected, found ^ expected
    archives = {name for (name,) in rows(store, "select archive from main.snapshots")}
    assert {path.name for path in files.archive.iterdir()} == archives
    arrays = {name for (name,) in rows(store, "select distinct file from main.array_rows")}
    assert {path.name for path in files.arrays.glob("*")} == arrays
    assert store.samefile(files.newest())
    beside = {path.name for path in store.parent.iterdir() if path.name.startswith((store.name, f".{store.name}"))}
    assert beside == {store.name, f"{store.name}.d"}


def tables_of(store: Path) -> dict[str, tuple[int, int]]:
    """Count the rows of every table of a store, and sum their digests: dense ids, commit times and all."""
    with duckdb.connect(str(StoreFiles(store).newest()), read_only=True) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE'"
        ).fetchall()
        found = {}
        for schema, name in names:
            # A table's columns are in the order in which they came.
            place = f'"{schema}"."{name.replace(chr(34), chr(34) * 2)}"'
            query = f"select count(*), coalesce(sum(md5_number_lower(r::varchar) >> 8), 0)::hugeint from {place} r"
            ((rows_, total),) = connection.execute(query).fetchall()
            found[f"{schema}.{name}"] = (int(rows_), int(total))
        return found


def check_rebuilt(store: Path, into: Path) -> Path:
    """Make a store again from its archive, as another one: it is the same in every row of every table."""
    made = rebuild(store, into=into)
    assert made.damage == made.notes == []
    assert digests(into) == digests(store)
    differ = {name for name, found in tables_of(into).items() if found != tables_of(store).get(name)}
    assert not differ, f"other rows in {sorted(differ)}"
    assert tables_of(into).keys() == tables_of(store).keys()
    files = StoreFiles(into)
    assert files.snapshots() == StoreFiles(store).snapshots()[-1:] == [made.snapshot]
    assert files.adjacency(made.snapshot).exists()
    check_leftovers(into)
    return into

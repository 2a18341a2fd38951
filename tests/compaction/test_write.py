"""What a commit writes: ids, numbers, values, states."""

from __future__ import annotations

import json
import math
from pathlib import Path

import duckdb
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.write import Writer
from braid_hpc.snapshots.schema import TABLES, VIEWS
from tests.jobs import Job, count, made, one, rows


def test_numbers_go_on_where_they_ended(tmp_path: Path) -> None:
    """Dense over all commits, for each kind and name, and never changed."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    seen: dict[str, int] = {}
    with one(logs) as job:
        for turn in range(3):
            for step in range(2):
                job[0].data("d", digest=f"x:{turn}{step}")
                job[0].model("d", digest=f"x:{turn}{step}")
            compact(logs, store)
            found = dict(rows(store, "select uid, version from versions"))
            assert seen.items() <= found.items()
            seen = found
    for kind in ("data", "model"):
        assert rows(store, "select version from versions where kind = ? order by id", kind) == [
            (n,) for n in range(1, 7)
        ]


def test_ids_are_dense_in_the_order_of_commits(tmp_path: Path) -> None:
    """Over versions, activities and placeholders together."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    for turn in range(3):
        with Job(logs, 2) as job, job[0].activity("a") as activity:
            activity.data(f"d{turn}", derived_from=job[1].data("e", digest="x:0"))
        compact(logs, store)
    found = rows(store, "select id, snapshot from nodes order by id")
    assert [identity for identity, _ in found] == list(range(1, len(found) + 1))
    assert [snapshot for _, snapshot in found] == sorted(snapshot for _, snapshot in found)


class Given:
    """Numbers that were given before."""

    def of(self, uids: list[str]) -> dict[str, int]:
        return {uid: number for uid, number in {"b": 1, "d": 3}.items() if uid in uids}

    def floor(self) -> int:
        return 3


def test_prescribed_numbers_are_kept() -> None:
    """A rebuild gives the numbers that were given before, and new ones none of these."""
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        connection.execute(VIEWS)
        writer = Writer(connection, 1, Given())
        names: list[tuple[str, ...]] = [("data", "x")] * 4
        assert writer._number("version_rows", "kind, name", names, ["a", "b", "c", "d"]) == [4, 1, 5, 3]
        assert writer.anew == 2


def test_values_tags_and_results_are_as_they_were_given(tmp_path: Path) -> None:
    """Typed tags, JSON values, parameters and results; numbers of any size, NaN and infinities among them."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    tags = {
        "b": True,
        "i": 7,
        "big": 2**100,
        "f": 71.7,
        "nan": math.nan,
        "inf": -math.inf,
        "s": "a 'b'\n🧵",
        "n": {"m": 1},
    }
    with one(logs) as job:
        job[0].fact("f", {"a": [1, 2.5, None, "x"], "big": 2**100}, tags=tags)
        activity = job[0].activity("act", params={"threshold": 40, "name": "a"})
        activity.end(result={"found": 3})
    compact(logs, store)
    ((value,),) = rows(store, "select value from versions")
    assert json.loads(value) == {"a": [1, 2.5, None, "x"], "big": 2**100}
    ((params, result),) = rows(store, "select params, result from activities")
    assert (json.loads(params), json.loads(result)) == ({"threshold": 40, "name": "a"}, {"found": 3})
    found = {
        key: rest for key, *rest in rows(store, "select key, type, integer::varchar, real, boolean, text from tags")
    }
    assert found["b"] == ["bool", None, None, True, "true"]
    assert found["i"] == ["int", "7", 7.0, None, "7"]
    assert found["big"] == ["int", str(2**100), float(2**100), None, str(2**100)]
    assert found["f"][:3] == ["float", None, 71.7]
    assert math.isnan(found["nan"][2])
    assert found["inf"][2] == -math.inf
    assert found["s"] == ["str", None, None, None, "a 'b'\n🧵"]
    assert found["n.m"][0] == "int"


def test_activities_have_times_and_outcomes(tmp_path: Path) -> None:
    """Begin, end and duration of each; one that never ended is unfinished."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with one(logs) as job:
        with job[0].activity("good"):
            pass
        with pytest.raises(KeyError), job[0].activity("bad"):
            raise KeyError("x")
        with pytest.raises(SystemExit), job[0].activity("left"):
            raise SystemExit(3)
        job[0].activity("open")
    compact(logs, store)
    query = "select name, status, error, duration_ns > 0, end_time > begin_time from activities order by begin_time"
    assert rows(store, query) == [
        ("good", "ok", None, True, True),
        ("bad", "failed", "KeyError: 'x'", True, True),
        ("left", "exited", "SystemExit: 3", True, True),
        ("open", "unfinished", None, None, None),
    ]


def test_an_activity_that_a_fork_ends_too_is_one_activity(tmp_path: Path) -> None:
    """A child that leaves its parent's block says so; what counts is how it ended where it began."""
    import os

    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with one(logs) as job:
        activity = job[0].activity("work")
        child = os.fork()
        if not child:
            try:
                activity.end(error=ValueError("in the child"))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        activity.end()
    compact(logs, store)
    assert rows(store, "select name, status from activities") == [("work", "ok")]
    assert count(store, "activity_ends") == 2


def test_what_runs_said_of_themselves(tmp_path: Path) -> None:
    """Packages once for the run; command line, directory, host and outcome of every rank."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with Job(logs, 2):
        pass
    compact(logs, store)
    packages = [json.loads(value) for (value,) in rows(store, "select value from run_info where key = 'packages'")]
    assert {"msgspec", "pytest"} <= {name for found in packages for name in found}
    assert rows(store, "select count(distinct writer) from run_info where key = 'packages'") == [(1,)]
    assert rows(store, "select job, size, ranks, status, launcher from runs") == [("job", 2, 2, "ok", "mpich")]
    assert (
        rows(store, "select state, outcome, host is not null, pid > 0 from ranks") == [("closed", "ok", True, True)] * 2
    )


def test_every_row_says_which_snapshot_brought_it(tmp_path: Path) -> None:
    """In each base table that grows, whatever came in the second commit says 2."""
    logs = tmp_path / "logs"
    with Job(logs, 2) as job:
        compact(logs, tmp_path / "prov.duckdb")
        stream = job[0].stream("s", {"x": "int32"})
        stream.append(1)
        part = job[0].data(
            "part", uri="s3://x", tags={"k": 1}, derived_from=["nothing", job[1].data("p").on_all_ranks()]
        )
        with job[0].activity("a", used=part):
            pass
    with made(logs, tmp_path / "prov.duckdb") as opened:
        assert opened.snapshot == 2
        for (table,) in rows(opened, "select table_name from duckdb_tables() where schema_name = 'main'"):
            if table not in ("meta", "invalidations", "writers") and count(opened, table):
                assert rows(opened, f"select max(snapshot) from {table}") == [(2,)], table
        assert opened.table("s")["_snapshot"] == [2]

"""Digests tell stores apart by what they say, and not by how it came in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from braid_hpc.run.recorder import Run
from braid_hpc.store.digest import table_digests
from tests.jobs import Job, digests, made


def test_a_digest_says_how_many_rows(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        for run in job.runs:
            run.data("d", digest="x:0")
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    found = digests(tmp_path / "prov.duckdb")
    assert found["versions"].startswith("1:")
    assert found["occurrences"].startswith("2:")
    assert found["edges"] == "0:0"


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        (lambda run: run.data("more", digest="x:9"), {"versions", "occurrences", "runs", "ranks"}),
        (lambda run: run.data("d", tags={"a": 1}), {"tags", "versions", "occurrences", "runs", "ranks"}),
        (lambda run: run.stream("s", {"x": "int32"}).append(7), {"stream.s", "streams"}),
        (lambda run: run.activity("a").end(), {"activities"}),
    ],
)
def test_what_differs_is_seen_where_it_differs(
    tmp_path: Path, change: Callable[[Run], object], tables: set[str]
) -> None:
    """One change to the logs changes the digests of the tables it belongs to."""
    with Job(tmp_path / "logs", 1) as job:
        job[0].data("d", digest="x:0")
        made(tmp_path / "logs", tmp_path / "one").close()
        before = digests(tmp_path / "one")
        change(job[0])
        made(tmp_path / "logs", tmp_path / "two").close()
    after = digests(tmp_path / "two")
    assert tables <= {name for name in after if after[name] != before.get(name)}


def test_numbers_count_only_if_asked(tmp_path: Path) -> None:
    """`@n` is this store's own: two stores that took the same logs in another order agree on everything else."""
    orders = {"one": "ab", "two": "ba"}
    for name in "ab":
        with Job(tmp_path / name, 1) as job:
            job[0].model("net", digest=f"w:{name}", derived_from=job[0].data("d", digest="x:0"))
    for store, order in orders.items():
        for name in order:
            made(tmp_path / name, tmp_path / store).close()
    assert digests(tmp_path / "one") != digests(tmp_path / "two")
    assert digests(tmp_path / "one", numbers=False) == digests(tmp_path / "two", numbers=False)


def test_the_order_of_rows_does_not_matter() -> None:
    from braid_hpc.snapshots.schema import TABLES, VIEWS

    found = []
    for order in ("1, 2", "2, 1"):
        with duckdb.connect() as connection:
            connection.execute(TABLES)
            connection.execute(VIEWS)
            connection.execute("create table stream.s (x int, y text)")
            for n in order.split(", "):
                connection.execute("insert into stream.s values (?, 'a')", [n])
            found.append(table_digests(connection)["stream.s"])
    assert found[0] == found[1] != "0:0"

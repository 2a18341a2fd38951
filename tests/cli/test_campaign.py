"""``braid campaign`` and ``braid todo``: what they print, count, and write."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from braid_hpc.compaction.compact import compact
from tests.campaigns.world import STAGES, World
from tests.jobs import one

Braid = Callable[..., Result]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    folder = tmp_path_factory.mktemp("campaign")
    world = World(3)
    with one(folder / "logs") as job:
        world.declare(job[0])
        world.simulate(job.runs, seed=5)
    compact(folder / "logs", folder / "prov.duckdb")
    return world, folder / "prov.duckdb"


def done(call: Result) -> Any:
    assert call.exit_code == 0, call.stderr
    return call.stdout


def test_status_counts_each_table(cli: Braid, world: tuple[World, Path]) -> None:
    """As the oracle does; the share that is done is a number for programs, and a bar for people."""
    made, store = world
    found = list(csv.DictReader(io.StringIO(done(cli("campaign", "status", "--store", store, "--format", "csv")))))
    assert [row["table"] for row in found if row["table"] in STAGES] == list(STAGES)
    for row in found:
        for state, files in made.expected(row["table"]).items():
            assert int(row[state]) == len(files)
        assert float(row["done"]) == pytest.approx(1 - int(row["to_do"]) / int(row["total"]), abs=1e-6)
    shown = done(cli("campaign", "status", "prop", "--store", store))
    assert re.search(r"█+░* +\d+\.\d %", shown)


def test_groups_and_conditions(cli: Braid, world: tuple[World, Path]) -> None:
    """Counted by a column, of the row or of what it belongs to, the worst first, and only some of them."""
    made, store = world
    words = ("--by", "configuration__number", "--where", "s__lt=2", "--worst-first", "--format", "json")
    found = json.loads(done(cli("campaign", "status", "prop", *words, "--store", store)))
    assert [row["done"] for row in found] == sorted(row["done"] for row in found)
    missing = set(made.expected("prop")["missing"])
    for row in found:
        names = {f"prop/{row['configuration__number']}_{s}.h5" for s in (0, 1)}
        assert (row["total"], row["missing"]) == (2, len(names & missing))
    every = json.loads(done(cli("campaign", "status", "--where", "f=1", "--store", store, "--format", "json")))
    assert [row["table"] for row in every] == ["seqsink", "coherent"], "those that have the column"


def test_lists_are_the_oracles(cli: Braid, world: tuple[World, Path]) -> None:
    """Of any state, as rows for programs."""
    made, store = world
    for state in ("missing", "runnable", "blocked", "consumed"):
        lines = done(cli("campaign", "list", "ff4d", "--state", state, "--store", store, "--format", "ndjson"))
        assert [json.loads(line)["name"] for line in lines.splitlines()] == made.expected("ff4d")[state]
    call = cli("campaign", "list", "ff4d", "--state", "gone", "--store", store)
    assert (call.exit_code, call.stdout) == (2, "")
    assert "'gone' is no state of files" in call.stderr


def test_a_page_opens_from_disk(cli: Braid, world: tuple[World, Path], tmp_path: Path) -> None:
    """One file that asks nobody; its data is what was counted, and cannot end the element that it stands in."""
    made, store = world
    page = tmp_path / "status.html"
    call = cli("campaign", "status", "--by", "configuration__number", "--html", page, "--store", store)
    assert (call.exit_code, call.stdout) == (0, "")
    text = page.read_text()
    assert "http" not in text
    (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    found = json.loads(data)
    assert found["by"] == ["table", "configuration__number"]
    total = found["by"].__len__() + found["states"].index("total")
    assert sum(row[total] for row in found["rows"]) == sum(map(len, made.files.values()))


def test_todo_leaves_out_what_is_claimed(cli: Braid, tmp_path: Path) -> None:
    """And gives it back."""
    made, store = World(1), tmp_path / "prov.duckdb"
    with one(tmp_path / "logs") as job:
        made.declare(job[0])
    compact(tmp_path / "logs", store)
    call = cli("todo", "src", "--claim", "2", "--minutes", "5", "--format", "ndjson", "--store", store)
    assert [json.loads(line)["name"] for line in done(call).splitlines()] == made.files["src"][:2]
    (number,) = re.findall(r"claim (\w+): 2 files for 5 minutes", call.stderr)
    lines = done(cli("todo", "src", "--format", "ndjson", "--store", store)).splitlines()
    assert [json.loads(line)["name"] for line in lines] == made.files["src"][2:]
    assert "2 files are free again" in cli("todo", "--release", number, "--store", store).stderr
    assert len(done(cli("todo", "src", "--format", "ndjson", "--store", store)).splitlines()) == 4
    assert "no file of prop can be made now" in cli("todo", "prop", "--store", store).stderr
    for words in ((), ("src", "--release", number), ("src", "--where", "s"), ("src", "--claim", "0")):
        assert cli("todo", *words, "--store", store).exit_code == 2


def test_verify_says_what_changed(cli: Braid, tmp_path: Path) -> None:
    """In the store, from where the next status has it."""
    made, store = World(1), tmp_path / "prov.duckdb"
    with one(tmp_path / "logs") as job:
        made.declare(job[0])
        made.mark(job[0], "src", "exists", made.files["src"])
    compact(tmp_path / "logs", store)
    found = json.loads(done(cli("campaign", "verify", "src", "--root", tmp_path, "--store", store, "--format", "json")))
    assert found == [{"state": "missing", "files": 4}]
    (row,) = json.loads(done(cli("campaign", "status", "src", "--store", store, "--format", "json")))
    assert (row["missing"], row["runnable"]) == (4, 4)

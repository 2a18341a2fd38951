"""``braid lineage`` and ``impact`` of a row of a stream: what they print, and which options they have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from braid_hpc.compaction.compact import compact
from tests.jobs import Job

Braid = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Give a store in which two ranks have peaks from frames, and rank 1 one more."""
    with Job(tmp_path / "row-logs", 2) as job:
        for rank, run in enumerate(job.runs):
            frames = run.stream("frames", {"sum": "float64"}).extend({"sum": np.array([0.5, np.nan])})
            peaks = run.stream("peaks", {"x": "text"}).extend({"x": ["é"] * (3 + rank)})
            run.derive_rows(peaks, frames, parent_index=[1, 1, 0, 0][: 3 + rank])
        run.derive_rows(peaks, "nowhere#3", child_index=[0])
    compact(tmp_path / "row-logs", tmp_path / "rows.duckdb")
    return tmp_path / "rows.duckdb"


def test_a_row_as_a_tree(cli: Braid, store: Path) -> None:
    """With rank, run and columns, the records behind it."""
    done = cli("lineage", "peaks#3", "--values", "--store", store)
    assert (done.exit_code, done.stderr) == (0, "")
    first, second, *rest = done.stdout.splitlines()
    assert first.startswith("stream:peaks@1#3  rank 1, run ")
    assert first.endswith("x = é")
    assert second.startswith("  stream:frames@1#0  rank 1, run ")
    assert second.endswith("sum = 0.5")
    assert rest == ["of stream:frames@1", "of stream:peaks@1"]


def test_a_row_as_json(cli: Braid, store: Path) -> None:
    """The members that are documented; numbers that JSON lacks are texts, and what is not certain is said."""
    done = cli("impact", "frames#1", "--rank", "0", "--store", store, "--format", "json")
    found = json.loads(done.stdout)
    assert list(found) == ["root", "direction", "rows", "edges", "records", "unresolved", "complete", "missing"]
    assert (found["direction"], found["complete"], done.stderr) == ("down", True, "")
    assert [(row["ref"], row["rank"]) for row in found["rows"]] == [
        ("stream:frames@1#1", 0),
        ("stream:peaks@1#0", 0),
        ("stream:peaks@1#1", 0),
    ]
    assert found["edges"] == [{"child": 1, "parent": 0}, {"child": 2, "parent": 0}]
    done = cli("lineage", "peaks#0", "--rank", "1", "--values", "--store", store, "--format", "json")
    found = json.loads(done.stdout)
    assert found["rows"][1]["values"] == {"sum": "nan"}
    assert (found["unresolved"], found["complete"]) == (["nowhere"], False)
    assert "incomplete" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["peaks#0"], "several ranks"),
        (["peaks#0"], "--rank or --writer"),
        (["peaks#0", "--rank", "7"], "has no rows of rank 7\n"),
        (["peaks#0", "--rank", "0", "--writer", "zz"], "has no rows of rank 0 and writer zz\n"),
        (["peaks#-1"], "'-1' is no row number"),
        (["peaks#x"], "'x' is no row number"),
        (["peaks#1.5"], "'1.5' is no row number"),
        (["peaks#" + "1" * 23], "is no row number"),
        (["peaks#9"], "no row 9"),
        (["peaks#3", "--kind", "data"], "--kind and --relation are for records"),
        (["peaks#3", "--relation", "used"], "--kind and --relation are for records"),
        (["peaks#3", "--format", "dot"], "rows are not drawn as dot"),
        (["stream:peaks", "--rank", "0"], "is no row"),
        (["stream:peaks", "--values"], "is no row"),
    ],
)
def test_wrong_calls(cli: Braid, store: Path, words: list[str], message: str) -> None:
    """One line that says why, and nothing else."""
    done = cli("lineage", *words, "--store", store)
    assert done.exit_code != 0
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1

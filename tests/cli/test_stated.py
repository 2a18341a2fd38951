"""``braid tests``: its lists, and the exit codes by which a job of continuous integration goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import open_store
from braid_hpc.vocabulary.times import shown_time
from tests.cli.conftest import Braid
from tests.jobs import one


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """A model whose second version fails what the first one passed, and whose third is as the second."""
    with one(tmp_path / "logs") as job:
        net = None
        for step, passed in enumerate((True, False, False)):
            net = job[0].model("net", digest=f"m:{step}", derived_from=[net, job[0].data("d", digest=f"d:{step}")])
            job[0].statement("rmse", about=net, passed=passed, value=[step, 0.5])
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["net@1"], 0),
        (["net@2"], 1),
        (["net"], 1),
        (["net@1", "--all-versions"], 1),
        (["net@2", "--against", "net@1"], 1),
        (["net@3", "--against", "net@2"], 0),
        (["net@1", "--against", "net@2"], 0),
        (["net@2", "--against", "data:d@1"], 1),
        (["data:d"], 3),
        (["data:d@1", "--against", "net@1"], 3),
        (["net@9"], 3),
        (["net@2", "--against", "net@1", "--all-versions"], 2),
    ],
)
def test_the_exit_code_says_whether_something_fails(cli: Braid, tested: Path, words: list[str], code: int) -> None:
    for form in ("table", "json", "csv"):
        done = cli("tests", *words, "--store", tested, "--format", form)
        assert done.exit_code == code, done.output
        assert bool(done.stderr) == bool(code)


def test_what_is_listed(cli: Braid, tested: Path) -> None:
    (row,) = json.loads(cli("tests", "net@2", "--store", tested, "--format", "json").stdout)
    assert row.pop("run")
    assert row.pop("time").endswith("Z")
    assert row == {
        "test": "rmse",
        "about": "model:net@2",
        "passed": False,
        "value": [1, 0.5],
        "valid": True,
        "cause": None,
        "rank": None,
    }
    against = cli("tests", "net@2", "--against", "net@1", "--store", tested, "--format", "json")
    assert json.loads(against.stdout) == [
        {
            "test": "rmse",
            "before": "passed",
            "now": "failed",
            "newly_failing": True,
            "statements": ["statement:rmse@2"],
        }
    ]
    assert against.stderr == "1 test newly fails\n"


def test_at_an_earlier_snapshot(cli: Braid, tested: Path, tmp_path: Path) -> None:
    """What came later does not fail it."""
    with one(tmp_path / "again", "again") as job:
        job[0].statement("rmse", about="model:net@1", passed=False)
    compact(tmp_path / "again", tested)
    assert cli("tests", "net@1", "--store", tested).exit_code == 1
    assert cli("tests", "net@1", "--at", "1", "--store", tested).exit_code == 0
    with open_store(tested) as store:
        (first, *_) = store.sql("select epoch_ns(time) as t from versions where kind = 'statement' order by time")["t"]
    assert cli("tests", "net@1", "--as-of", shown_time(first), "--store", tested).exit_code == 0
    assert cli("tests", "net@1", "--against", "data:d@1", "--at", "1", "--store", tested).exit_code == 0
    assert cli("tests", "net@1", "--against", "data:d@1", "--store", tested).exit_code == 1

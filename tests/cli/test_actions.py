"""``braid actions list`` and ``run``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from braid_hpc.compaction.compact import compact
from tests.jobs import one

Braid = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> str:
    with one(tmp_path / "logs") as job:
        scan = job[0].data("scan", digest="x:1", on_invalid=[["echo", "a b", "[bold]{name}"], ["false"]])
        job[0].model("net", on_invalid=["echo"])
        job[0].invalidate(scan, cause="beam off")
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return str(tmp_path / "prov.duckdb")


def rows(result: Result) -> list[dict[str, object]]:
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_they_are_listed_so_that_one_sees_where_arguments_end(cli: Braid, store: str) -> None:
    listed = cli("actions", "list", "--store", store)
    assert "echo 'a b' '[bold]scan'" in listed.stdout
    assert "1 more ended well or are of valid records" in listed.stderr
    assert [row["state"] for row in rows(cli("actions", "list", "--all", "--store", store, "--format", "json"))] == [
        "due",
        "due",
        "idle",
    ]


def test_they_are_run_and_the_exit_code_says_that_one_failed(cli: Braid, store: str) -> None:
    looked = cli("actions", "run", "--dry-run", "--store", store, "--format", "json")
    assert (looked.exit_code, [row["state"] for row in rows(looked)]) == (0, ["due", "due"])
    done = cli("actions", "run", "--store", store, "--format", "json")
    assert done.exit_code == 1
    assert [(row["state"], row["output"]) for row in rows(done)] == [("ok", "a b [bold]scan\n"), ("failed", "")]
    assert "failed: false (data:scan@1): it ended with exit code 1" in done.stderr
    again = cli("actions", "run", "--store", store, "--format", "json")
    assert (again.exit_code, rows(again)) == (0, [])
    assert [row["action"] for row in rows(cli("actions", "list", "--store", store, "--format", "json"))] == ["false"]
    assert cli("actions", "run", "--retry", "--store", store).exit_code == 1


def test_wrong_calls(cli: Braid, store: str, tmp_path: Path) -> None:
    assert cli("actions", "run", "--timeout", "0", "--store", store).exit_code == 2
    assert cli("actions", "list", "--store", tmp_path / "none.duckdb").exit_code == 3

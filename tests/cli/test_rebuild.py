"""``braid rebuild``: what it prints, and its exit codes."""

from __future__ import annotations

from pathlib import Path

from braid_hpc.compaction.compact import compact
from tests.cli.conftest import Braid
from tests.faults.stores import archives, flip, tables_of
from tests.jobs import one


def test_rebuild(cli: Braid, logs: Path, tmp_path: Path) -> None:
    """Made in place or anew (0); nothing there (3), something there (5), damaged (4), what is left of it (1)."""
    store, new = tmp_path / "prov.duckdb", tmp_path / "new.duckdb"
    compact(logs, store)
    before = tables_of(store)
    result = cli("rebuild", store)
    assert result.exit_code == 0
    assert "made again to snapshot 1" in result.stderr
    assert "replaced-1-" in result.stderr
    assert tables_of(store) == before
    assert cli("rebuild", tmp_path / "none.duckdb").exit_code == 3
    assert cli("rebuild", store, "--into", logs).exit_code == 5
    path = archives(store)[0] / "events.arrows"
    flip(path, path.stat().st_size // 2)
    refused = cli("rebuild", store, "--into", new)
    assert refused.exit_code == 4
    assert "events.arrows does not carry its check sum" in refused.stderr
    assert not new.exists()
    assert cli("rebuild", store, "--partial").exit_code == 4
    partial = cli("rebuild", store, "--into", new, "--partial")
    assert partial.exit_code == 1
    assert "are not in" in partial.stderr
    assert tables_of(store) == before
    assert cli("lineage", "model:net", "--store", new).exit_code in (0, 3)


def test_a_store_of_what_some_groups_may_see(cli: Braid, tmp_path: Path) -> None:
    for name, group in (("ours", "us"), ("theirs", "them")):
        with one(tmp_path / "logs", name) as job:
            job[0].fact("access", group)
    compact(tmp_path / "logs", tmp_path / "all.duckdb")
    new = tmp_path / "ours.duckdb"
    made = cli("restrict", tmp_path / "all.duckdb", "--groups", "us", "--into", new)
    assert (made.exit_code, "1 runs, 1 logs" in made.stderr) == (0, True)
    assert "theirs" not in cli("sql", "select job from runs", "--store", new).stdout
    assert cli("restrict", tmp_path / "all.duckdb", "--groups", "us", "--into", new).exit_code == 5
    assert cli("restrict", tmp_path / "none.duckdb", "--groups", "us", "--into", tmp_path / "x.duckdb").exit_code == 3
    assert cli("restrict", tmp_path / "all.duckdb", "--into", tmp_path / "x.duckdb").exit_code == 2
    assert cli("restrict", tmp_path / "all.duckdb", "--groups", "", "--into", tmp_path / "x.duckdb").exit_code == 2
    assert not (tmp_path / "x.duckdb").exists()

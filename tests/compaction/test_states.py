"""Rows of states: once for each content, over ranks, commits and slices, whatever came before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from tests.jobs import Job, digests, one, rows

ROWS = "select tensor, bytes, snapshot from state_rows order by state, tensor, snapshot"


def test_ranks_that_hold_one_state_share_its_rows(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 3) as job:
        for run in job.runs:
            run.model("net", state={"a": np.arange(3), "b": np.arange(4.0)}, derived_from="fact:seed")
    store = tmp_path / "prov.duckdb"
    assert compact(tmp_path / "logs", store).arrays == 2
    assert rows(store, ROWS) == [("a", 24, 1), ("b", 32, 1)]
    assert rows(store, "select count(*) from versions where kind = 'model'") == [(1,)]


def test_a_state_that_is_known_is_not_written_again(tmp_path: Path) -> None:
    store = tmp_path / "prov.duckdb"
    for name in ("first", "second"):
        with one(tmp_path / name) as job:
            job[0].model(name, state={"a": np.arange(3)})
            job[0].model(f"raw {name}", state=b"abc")
            job[0].model(f"none {name}", state={})
        compact(tmp_path / name, store)
    assert sorted(rows(store, ROWS), key=str) == [("a", 24, 1), (None, 3, 1), (None, None, 1)]


def test_bytes_that_were_only_named_before_are_kept_later(tmp_path: Path) -> None:
    store = tmp_path / "prov.duckdb"
    for number, keep in enumerate((False, True)):
        with one(tmp_path / f"{number}") as job:
            job[0].model("raw", state=b"abc", keep=keep)
        compact(tmp_path / f"{number}", store)
    assert rows(store, ROWS) == [(None, 3, 2)]
    with Store(store) as opened:
        assert opened.model("raw@1").data() == b"abc"


def test_stores_of_the_same_logs_are_digest_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one commit, in two, and slice by slice; and another state makes another digest."""
    for part in ("a", "b"):
        with one(tmp_path / "logs" / part) as job:
            for number in range(5):
                job[0].model("net", state={"a": np.full(3, number), part: np.arange(2)}, derived_from="fact:x")
    compact(tmp_path / "logs", tmp_path / "whole.duckdb")
    for part in ("a", "b"):
        compact(tmp_path / "logs" / part, tmp_path / "parts.duckdb")
    whole, parts = (digests(tmp_path / f"{name}.duckdb", numbers=False) for name in ("whole", "parts"))
    assert whole["states"] == parts["states"] != "0:0"
    compact(tmp_path / "logs" / "a", tmp_path / "less.duckdb")
    assert digests(tmp_path / "less.duckdb")["states"] != whole["states"]

"""Which run a text names, and what a run said of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.runs import resolve_run, run_facts
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ConflictError, NotFoundError
from tests.jobs import Job, made, one


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Job(tmp_path / "first", 2, name="fit", env={"BRAID_RUN_ID": "a" * 32}):
        pass
    with one(tmp_path / "second", "scan"):
        pass
    compact(tmp_path / "first", tmp_path / "prov.duckdb")
    with made(tmp_path / "second", tmp_path / "prov.duckdb") as opened:
        yield opened


def test_by_id_by_its_beginning_and_by_the_name_of_its_job(store: Store) -> None:
    run, other = store.sql("select run from runs order by size nulls last")["run"]
    for text in (run, run[:8], f"run:{run[:4]}", "fit", "run:fit"):
        assert resolve_run(store._connected, text, 2) == run
    assert resolve_run(store._connected, "scan", 2) == other
    with pytest.raises(NotFoundError, match="there is no run 'scan' in this store"):
        resolve_run(store._connected, "scan", 1)


def test_several_runs_are_told(store: Store, tmp_path: Path) -> None:
    with one(tmp_path / "third", "scan"):
        pass
    compact(tmp_path / "third", store.path)
    store.refresh()
    with pytest.raises(ConflictError, match=r"'scan' fits several runs: say which of run:\w{8} \(scan\), run:"):
        resolve_run(store._connected, "run:scan", 3)


@pytest.mark.parametrize("text", ["", "run:", "%", "'; drop table writers", "x" * 65_536, "🧵\n"])
def test_what_names_none(store: Store, text: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        resolve_run(store._connected, text, 2)
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


def test_facts_are_those_of_the_lowest_rank(store: Store) -> None:
    found = {facts.job: facts for facts in run_facts(store._connected, store.sql("select run from runs")["run"], 2)}
    assert set(found) == {"fit", "scan"}
    assert (found["fit"].size, found["scan"].size) == (2, None)
    assert found["fit"].packages["braid_hpc"]
    assert len(found["fit"].hosts) == 1
    assert list(found["fit"].to_dict())[:3] == ["run", "job", "size"]

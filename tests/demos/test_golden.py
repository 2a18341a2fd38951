"""The golden graphs: how many records, edges, uris and tags a store of two workflows holds, and who descends from whom.

Nothing is asked that a hand could not count in the driver.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import braid_hpc as braid
from tests.demos.golden import SERIES, slac, ssx
from tests.jobs import count, edges_of, made, rows

SETTINGS = {"fact:beamline.json@1", "fact:process.phil@1"}


def recorded(driver: Callable[[braid.Run], None], folder: Path) -> braid.Store:
    """Record a graph, and give its store."""
    with braid.job("golden", log_dir=folder / "logs") as run:
        driver(run)
    return made(folder / "logs", folder / "prov.duckdb")


def counts(store: braid.Store) -> tuple[int, ...]:
    """Count records, edges, uris and tags."""
    assert count(store, "versions") == count(store, "records")
    return tuple(count(store, table) for table in ("records", "edges", "uris", "tags"))


def related(store: braid.Store, ref: str, *, down: bool = False) -> set[str]:
    """Give the ancestors of a record, or its descendants."""
    answer = store.lineage(ref, down=down)
    assert answer.complete
    return {node.ref for node in answer.nodes} - {answer.root}


def test_slac(tmp_path: Path) -> None:
    """4 records, 4 edges, 5 uris, no tag: the simulation's two uris in their order."""
    with recorded(slac, tmp_path) as store:
        assert counts(store) == (4, 4, 5, 0)
        assert edges_of(store) == {
            ("data:scan@1", "fact:cfg@1"),
            ("data:sim@1", "fact:cfg@1"),
            ("model:model@1", "data:scan@1"),
            ("model:model@1", "data:sim@1"),
        }
        assert rows(store, "select name, position, uri from uris join versions using (id) order by all") == [
            ("cfg", 0, "slac://configuration/cookiebox.toml"),
            ("model", 0, "slac://model/cookienet.npz"),
            ("scan", 0, "slac://experiment/scan-12.h5"),
            ("sim", 0, "slac://simulation/hits.h5"),
            ("sim", 1, "slac://simulation/dark.h5"),
        ]
        assert related(store, "model:model") == {"fact:cfg@1", "data:scan@1", "data:sim@1"}
        assert related(store, "data:scan", down=True) == {"model:model@1"}
        assert related(store, "fact:cfg") == set()


def test_ssx(tmp_path: Path) -> None:
    """14 records, 33 edges, 14 uris, no tag: 22 edges to the settings, 11 from the structure."""
    with recorded(ssx, tmp_path) as store:
        assert counts(store) == (14, 33, 14, 0)
        edges = edges_of(store)
        integrated = {f"data:integrated/{number:02}@1" for number in range(SERIES)}
        middle = {*integrated, "data:prime.phil@1"}
        assert edges == {(child, fact) for child in middle for fact in SETTINGS} | {
            ("structure:structure@1", parent) for parent in middle
        }
        ancestors = related(store, "structure:structure")
        assert ancestors == middle | SETTINGS
        assert len(ancestors) == 13
        # what falls with process.phil: all that came of it, and itself
        assert len(related(store, "fact:process.phil", down=True) | {"fact:process.phil@1"}) == 13
        assert related(store, "data:integrated/03", down=True) == {"structure:structure@1"}


def invalid(store: braid.Store) -> set[str]:
    """Give what is invalid, by the drawing of the whole store."""
    return {node.ref for node in store.graph().nodes if not node.valid}


def test_slac_when_the_scan_is_bad(tmp_path: Path) -> None:
    """The scan and the model fall, configuration and simulation stay; taken back, all holds."""
    with recorded(slac, tmp_path) as store:
        store.invalidate("data:scan", cause="beam off")
        assert invalid(store) == {"data:scan@1", "model:model@1"}
        assert {node.ref for node in store.lineage("model:model").nodes if node.valid} == {"fact:cfg@1", "data:sim@1"}
        store.revalidate("data:scan")
        assert invalid(store) == set()


def test_ssx_when_a_setting_or_an_integration_is_wrong(tmp_path: Path) -> None:
    """process.phil takes 13 along: itself, 10 integrated files, prime.phil and the structure. Of one file: two fall."""
    with recorded(ssx, tmp_path) as store:
        store.invalidate("fact:process.phil", cause="wrong resolution limit")
        integrated = {f"data:integrated/{number:02}@1" for number in range(SERIES)}
        fallen = {"fact:process.phil@1", "data:prime.phil@1", "structure:structure@1"} | integrated
        assert invalid(store) == fallen
        assert len(fallen) == 13
        assert store.describe("fact:beamline.json")["valid"]
        assert {judgement.cause for judgement in store.judgements().values()} == {"wrong resolution limit"}
        store.revalidate("fact:process.phil")
        store.invalidate("data:integrated/03", cause="ice rings")
        assert invalid(store) == {"data:integrated/03@1", "structure:structure@1"}


@pytest.mark.parametrize("driver", [slac, ssx])
def test_recorded_twice_it_is_still_one_graph_of_each_run(driver: Callable[[braid.Run], None], tmp_path: Path) -> None:
    """A second run makes versions of its own of what it made; what it was made from is counted once per run too."""
    with recorded(driver, tmp_path) as store:
        before = counts(store)
    with braid.job("golden", log_dir=tmp_path / "logs") as run:
        driver(run)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert count(store, "records") == before[0]
        assert count(store, "versions") == 2 * before[0]
        assert count(store, "edges", "relation = 'wasDerivedFrom'") == 2 * before[1]

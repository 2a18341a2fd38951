"""``braid invalidate``, ``braid revalidate`` and ``braid retract``."""

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
        scans = [job[0].data(f"scan/{n}", digest=f"x:{n}", tags={"energy_keV": 71.7, "n": n}) for n in range(2)]
        job[0].model("net", digest="n", derived_from=scans[0])
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return str(tmp_path / "prov.duckdb")


def refs(result: Result) -> list[str]:
    return [row["ref"] for row in json.loads(result.stdout)]


def test_what_would_fall_is_listed_and_nothing_stated(cli: Braid, store: str) -> None:
    listed = cli("invalidate", "data:scan/0", "--cause", "x", "--dry-run", "--store", store, "--format", "json")
    assert refs(listed) == ["data:scan/0@1", "model:net@1"]
    assert json.loads(cli("lineage", "net", "--store", store, "--format", "json").stdout)["nodes"][0]["valid"]


def test_what_falls_is_stated_and_taken_back(cli: Braid, store: str) -> None:
    assert refs(cli("invalidate", "scan/0", "--cause", "beam off", "--store", store, "--format", "json")) == [
        "data:scan/0@1",
        "model:net@1",
    ]
    assert "(invalid: beam off)" in cli("lineage", "net", "--store", store).stdout
    assert cli("revalidate", "scan/0", "--store", store).exit_code == 0
    assert "invalid" not in cli("lineage", "net", "--store", store).stdout
    alone = cli("invalidate", "scan/0", "--cause", "x", "--no-cascade", "--store", store, "--format", "json")
    assert refs(alone) == ["data:scan/0@1"]


def test_by_a_tag(cli: Braid, store: str) -> None:
    """Exactly that value: a text is no number."""
    found = cli("invalidate", "--tag", "energy_keV=71.7", "--cause", "x", "--store", store, "--format", "json")
    assert refs(found) == ["data:scan/0@1", "data:scan/1@1", "model:net@1"]
    nothing = cli("invalidate", "--tag", 'energy_keV="71.7"', "--cause", "x", "--store", store)
    assert nothing.exit_code == 3


def test_wrong_calls(cli: Braid, store: str) -> None:
    """One sentence, and the exit code of its kind."""
    assert cli("invalidate", "--cause", "x", "--store", store).exit_code == 2
    assert cli("invalidate", "nowhere", "--cause", "x", "--store", store).exit_code == 3
    assert cli("invalidate", "scan/0", "--store", store).exit_code == 2
    assert cli("revalidate", "scan/0", "--store", store).exit_code == 3


def test_an_edge_is_retracted(cli: Braid, store: str) -> None:
    """It is not followed any more; one that is not there is refused, with the parents that are."""
    done = cli("retract", "model:net", "data:scan/0", "--cause", "of scan/1", "--store", store)
    assert done.exit_code == 0
    assert "stated in snapshot 2: id:" in done.stderr
    assert "scan" not in cli("lineage", "net", "--store", store).stdout
    assert "scan/0" in cli("lineage", "net", "--store", store, "--at", "1").stdout
    refused = cli("retract", "model:net", "data:scan/1", "--cause", "x", "--store", store)
    assert refused.exit_code == 3
    assert "model:net@1 has no edge to data:scan/1@1; its parents are: none" in refused.stderr

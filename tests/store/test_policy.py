"""Whether proposals and beamtimes are as they should be, against what a plain program says of the same people."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from braid_hpc.cli.app import braid
from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from tests.jobs import made, one


def violations(store: Store, **moment: Any) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(each.ref, each.rule, each.found) for each in store.check_policy(**moment)}


@pytest.mark.parametrize("seed", range(6))
def test_it_says_what_a_plain_count_says(tmp_path: Path, seed: int) -> None:
    """Roles by tags when declared or later, by name or by reference; proposals by parents and by tags."""
    chosen = random.Random(seed)
    users = [f"u{n}" for n in range(4)]
    proposals = [f"p{n}" for n in range(4)]
    expected: set[tuple[str, str, tuple[str, ...]]] = set()
    with one(tmp_path / "logs") as job:
        run = job[0]
        for user in users[:3]:
            run.record("user", user)
        known: dict[str, Any] = {}
        for kind, names in (("proposal", proposals[:3]), ("beamtime", [f"b{n}" for n in range(6)])):
            for name in names:
                belongs = chosen.sample(proposals, chosen.randint(0, 2)) if kind == "beamtime" else []
                parents = [each for each in belongs if each in known and chosen.random() < 0.5]
                record = run.record(kind, name, derived_from=[known[each] for each in parents])
                known[name] = record
                for each in set(belongs) - set(parents):
                    run.tag(record, "proposal", chosen.choice(["", "proposal:"]) + each)
                roles = {
                    key: chosen.sample(users, chosen.choice([0, 1, 1, 2]))
                    for key in (chosen.choice(["PI", "pi"]), "user")
                }
                for key, people in roles.items():
                    for person in people:
                        run.tag(record, key, chosen.choice(["", "user:"]) + person)
                ref = f"{kind}:{name}"
                if not any(people for key, people in roles.items() if key != "user"):
                    expected.add((ref, "leader", ()))
                if kind == "beamtime" and len(belongs) != 1:
                    expected.add((ref, "proposal", tuple(sorted(belongs))))
                if "p3" in belongs:
                    expected.add((ref, "known", ("p3",)))
                if any("u3" in people for people in roles.values()):
                    expected.add((ref, "known", ("u3",)))
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as store:
        assert violations(store) == expected


def test_it_is_of_a_moment(tmp_path: Path) -> None:
    """What is put right later was not right before; an edge that was taken back does not count."""
    with one(tmp_path / "logs") as job:
        proposals = [job[0].record("proposal", name, tags={"PI": "anna"}) for name in ("p1", "p2")]
        beamtime = job[0].record("beamtime", "b", derived_from=proposals, tags={"user": "ben"})
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    with one(tmp_path / "logs") as job:
        job[0].tag(beamtime, "PI", "anna")
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as store:
        store.retract("beamtime:b", "proposal:p2", cause="a slip")
        both = ("beamtime:b", "proposal", ("p1", "p2"))
        assert violations(store, at=1) == {("beamtime:b", "leader", ()), both}
        assert violations(store, at=2) == {both}
        assert violations(store) == set()


def test_what_was_said_later_stands_over_what_was_recorded(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        job[0].record("user", "anna")
        job[0].record("proposal", "p1", tags={"PI": "anna"})
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    with Store(tmp_path / "s.duckdb") as store:
        assert violations(store) == set()
        store.untag("proposal:p1", "PI")
        assert violations(store) == {("proposal:p1", "leader", ())}
        store.tag("proposal:p1", PI="zoe")
        assert violations(store) == {("proposal:p1", "known", ("zoe",))}
        assert violations(store, at=1) == set()


def test_the_command_says_it_with_its_exit_code(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        job[0].record("beamtime", "b")
    compact(tmp_path / "logs", tmp_path / "s.duckdb")
    ran = CliRunner().invoke(braid, ["check", "--policy", str(tmp_path / "s.duckdb")])
    assert (ran.exit_code, "belongs to no proposal" in ran.stdout) == (1, True)
    with one(tmp_path / "more") as job:
        job[0].data("scan")
    compact(tmp_path / "more", tmp_path / "well.duckdb")
    assert CliRunner().invoke(braid, ["check", "--policy", str(tmp_path / "well.duckdb")]).exit_code == 0
    assert CliRunner().invoke(braid, ["check", "--policy", str(tmp_path / "none.duckdb")]).exit_code != 0

"""Claims about records, and what was published elsewhere, as a rank says them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import Job, count, edges_of, made, one, rows

DOI = "doi:10.17038/XSD/1344262"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


# published elsewhere


def test_the_same_identifier_is_one_version(logs: Path, store: Path) -> None:
    """On all ranks, in two runs, in another case; the spellings are kept, and each run's models hang on it."""
    for spelling in (DOI, DOI.lower()):
        with Job(logs, 2) as job:
            for rank, run in enumerate(job.runs):
                scan = run.external(spelling, tags={"beamline": "1-ID"})
                run.model("net", derived_from=scan, digest=f"x:{rank}")
    with made(logs, store) as opened:
        assert rows(opened, "select kind, name, version, weak, run from versions where kind = 'data'") == [
            ("data", DOI.lower(), 1, True, None)
        ]
        assert opened.describe(f"data:{DOI.lower()}")["uris"] == [DOI, DOI.lower()]
        assert len(edges_of(opened)) == 4
        assert count(opened, "problems") == 0


def test_a_digest_tells_two_apart(logs: Path, store: Path) -> None:
    """What was published under one identifier was replaced: two versions of one record."""
    for digest in ("sha256:01", "sha256:02", "sha256:02"):
        with one(logs) as job:
            job[0].external(DOI, digest=digest, size=5)
    with made(logs, store) as opened:
        assert rows(opened, "select digest, size, weak from versions order by version") == [
            ("sha256:01", 5, False),
            ("sha256:02", 5, False),
        ]


def test_it_is_no_file_of_this_machine_and_nobody_made_it(
    logs: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though one of that name lies here, and though an activity is open."""
    monkeypatch.chdir(tmp_path)
    Path("tomo_00058").write_text("not that")
    with one(logs) as job, job[0].activity("read"):
        job[0].external(["tomo_00058", "globus://host/tomo_00058.h5"], name="teeth", kind="scan")
    with made(logs, store) as opened:
        found = opened.describe("scan:teeth")
        assert found["uris"] == ["tomo_00058", "globus://host/tomo_00058.h5"]
        assert "parents" not in found
        assert found["digest"].startswith("identifier:")
        assert opened.find(uri="globus://HOST/tomo_00058.h5")["name"] == ["teeth"]


@pytest.mark.parametrize("wrong", ["", [], None, 7, ["doi:10.5/x", None]])
def test_what_is_no_identifier(logs: Path, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with one(logs) as job:
        with pytest.raises(InvalidInputError):
            job[0].external(wrong)
        monkeypatch.delenv("BRAID_STRICT")
        assert not job[0].external(wrong)


# facts


def test_a_fact_takes_no_parents_and_says_so(
    logs: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When it is declared and afterwards; the refusal is kept, the fact too."""
    with one(logs) as job:
        run = job[0]
        data = run.data("d")
        fact = run.fact("f", 1)
        for refused in (lambda: run.fact("g", 1, derived_from=data), lambda: run.derive(fact, data)):
            with pytest.raises(InvalidInputError, match="takes no parents inside the workflow"):
                refused()
        monkeypatch.delenv("BRAID_STRICT")
        assert run.fact("g", 1, derived_from=data)
        run.derive(fact, data)
    assert "fact:g takes no parents inside the workflow: declare it as data to derive it" in capsys.readouterr().err
    with made(logs, store) as opened:
        assert edges_of(opened) == set()
        assert count(opened, "versions", "kind = 'fact'") == 2
        assert len(rows(opened, "select 1 from problems where message like '%takes no parents%'")) == 2


def test_a_fact_is_not_made_by_the_activity_it_is_stated_in(logs: Path, store: Path) -> None:
    """So it is one version over runs; data stated there is generated, a fact that a function returns is not."""

    @braid.activity
    def setting() -> Any:
        return braid.current_run().fact("returned", 2)

    for _ in range(2):
        with braid.job("facts", log_dir=logs) as run:
            with run.activity("train") as activity:
                run.fact("rate", 0.1)
                activity.record("fact", "seed", value=7)
                run.data("made")
            setting()
    with made(logs, store) as opened:
        assert rows(opened, "select name, versions from records where kind = 'fact' order by name") == [
            ("rate", 1),
            ("returned", 1),
            ("seed", 1),
        ]
        assert {child for child, _ in edges_of(opened, "wasGeneratedBy")} == {"data:made@1", "data:made@2"}


# statements


def test_a_statement_is_derived_from_what_it_is_about(logs: Path, store: Path) -> None:
    """Its value and tags are kept; a test has its verdict as a tag that can be searched for."""
    with one(logs) as job:
        run = job[0]
        net, peaks = run.model("net", digest="x:1"), run.data("peaks", digest="x:2")
        run.statement("position", about=[net, peaks], value={"x": 31.5}, tags={"frame": 7})
        run.statement("rmse", about=net, value=0.5, passed=np.float64(0.5) < 1)
    with made(logs, store) as opened:
        assert edges_of(opened) == {
            ("statement:position@1", "model:net@1"),
            ("statement:position@1", "data:peaks@1"),
            ("statement:rmse@1", "model:net@1"),
        }
        assert opened.describe("statement:position")["value"] == {"x": 31.5}
        assert opened.describe("statement:position")["tags"] == {"frame": 7}
        assert opened.find({"passed": True}, kind="statement")["name"] == ["rmse"]


def test_statements_of_ranks_stay_apart_unless_they_are_made_together(logs: Path, store: Path) -> None:
    """About one thing, of equal value: each rank's is one of its own. Made together, equal ones are one."""
    with Job(logs, 3) as job:
        for rank, run in enumerate(job.runs):
            net = run.model("net", digest="x:1", derived_from=run.data("d", digest="x:2"))
            run.statement("own", about=net, passed=True)
            run.statement("joint", about=net, passed=True, value=1, same_on_all_ranks=True)
            run.statement("torn", about=net, passed=rank > 0, value=1, same_on_all_ranks=True)
    with made(logs, store) as opened:
        found = rows(opened, "select name, versions from records where kind = 'statement' order by name")
        assert found == [("joint", 1), ("own", 3), ("torn", 2)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"about": None}, "is about nothing"),
        ({"about": 7}, "is not a record"),
        ({"name": ""}, "a statement's name is a text"),
        ({"passed": "yes"}, "passed= is True or False, not 'yes'"),
        ({"passed": 1}, "passed= is True or False, not 1"),
        ({"tags": {"passed": True}}, "is given as passed="),
        ({"value": object()}, "cannot be kept as a value"),
    ],
)
def test_what_cannot_be_stated(
    logs: Path, store: Path, wrong: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused and kept; where a part of it can be recorded, that is."""
    about = {"name": "rmse", "about": "model:net", **wrong}
    with one(logs) as job:
        job[0].model("net")
        with pytest.raises(InvalidInputError, match=said):
            job[0].statement(**about)
        monkeypatch.delenv("BRAID_STRICT")
        made_it = job[0].statement(**about)
        assert bool(made_it) == (not {"about", "name"} & wrong.keys())
    with made(logs, store) as opened:
        assert said.replace("\\", "") in rows(opened, "select message from problems")[0][0]

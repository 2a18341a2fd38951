"""The benchmark of scaling runs with real ranks, and counts what arrived; how fast that was is not judged here."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import postgresql
from benchmarks.postgresql import NoServerError, find_program, server
from benchmarks.rounds import Rounds, machine, read_rounds

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "scaling.py"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of benchmarks/ are found as they are by each other."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))


def measured(out: Path, *arguments: str, **environment: str) -> Rounds:
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    assert (out / "scaling.md").read_text() == done.stdout[:-1]
    return read_rounds(out / "scaling.parquet")


def count(found: Rounds, **wanted: Any) -> float:
    (value,) = found.values(**wanted).values()
    return value


@pytest.mark.slow
def test_what_ranks_record_arrives(tmp_path: Path) -> None:
    """Into logs of their own, and into one file."""
    found = measured(tmp_path, "--ranks", "2", "--modes", "weak", "--variants", "off,rank-logs,sqlite-batch")
    for variant in ("rank-logs", "sqlite-batch"):
        wanted = {"mode": "weak", "variant": variant, "ranks": 2}
        assert count(found, **wanted, measure="tried") == count(found, **wanted, measure="arrived") > 0
        assert count(found, **wanted, measure="rate") > 0
        assert count(found, **wanted, measure="p50") <= count(found, **wanted, measure="p99.99")
    assert count(found, variant="off", measure="core time") > 0
    assert found.not_run == []


@pytest.mark.slow
def test_every_variant_takes_what_it_is_given(tmp_path: Path) -> None:
    """One that cannot be measured is listed with its reason, and none else is."""
    found = measured(tmp_path)
    try:
        find_program("initdb")
        without = set()
    except NoServerError:
        without = {"postgresql", "postgresql-batch"}
    variants = {"rank-logs", "sqlite", "sqlite-batch", "postgresql", "postgresql-batch", "duckdb-writer", "queue"}
    for variant in variants - without:
        for mode in ("weak", "strong"):
            wanted = {"mode": mode, "variant": variant, "ranks": 2}
            assert count(found, **wanted, measure="arrived") > 0
            assert count(found, **wanted, measure="lost") == count(found, **wanted, measure="refused") == 0
    served = {note.variant for note in found.not_run if note.ranks == 1}
    assert served == {"duckdb-writer", "queue"}
    assert {note.variant for note in found.not_run} - served == without
    assert (tmp_path / "scaling.svg").read_text().startswith("<?xml")
    assert found.about["file_system"]


def test_a_server_writes_where_the_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: None) -> None:
    """On the file system that is measured."""
    scaling = import_module("scaling")
    asked: list[Path] = []

    def serve(place: Path, connections: int) -> contextlib.AbstractContextManager[str]:
        asked.append(place)
        return contextlib.nullcontext("host=nowhere")

    monkeypatch.setattr(scaling, "server", serve)
    options = argparse.Namespace(dir=tmp_path, variants=["postgresql"], modes=["weak"], rounds=0, ranks=[1])
    scaling.measure(Rounds("scaling", tmp_path, {}), options, tmp_path / "mine")
    assert asked == [tmp_path]


def test_the_longest_call_is_that_of_all_rounds(tmp_path: Path, programs: None) -> None:
    """And not the middle one of what each round had as its longest."""
    found = Rounds("scaling", tmp_path, machine(tmp_path) | {"events": {"weak": 10}, "seconds": 1.0})
    for turn, longest in enumerate((10.0, 900.0, 20.0)):
        values = {
            "rate": (5.0, "events/s"),
            "tried": (10, "events"),
            "p50": (longest / 10, "us"),
            "max": (longest, "us"),
        }
        found.add({"mode": "weak", "variant": "rank-logs", "ranks": 1, "round": turn}, values)
    assert "| rank logs | 1 | 2.0 | - | - | 900.0 | 30 | 0 | 0 |" in import_module("scaling").write_table(found)


def test_what_a_job_had_done_when_it_was_interrupted_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: None
) -> None:
    """And its other cases are not run, with the reason."""
    scaling = import_module("scaling")

    def interrupted(ranks: int, cases: list[list[str]], folder: Path, *_: Any) -> str:
        case = "-".join(cases[0])
        rank = {"tried": 10, "errors": {}, "arrived": 10, "begin": 1.0, "end": 3.0, "cpu_s": 0.5, "own_cpu_s": 0.5}
        (folder / f"{case}.0.json").write_text(json.dumps(rank))
        np.save(folder / f"{case}.0.npy", np.full(10, 2_000))
        (folder / f"{case}.done").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(scaling, "run_job", interrupted)
    options = argparse.Namespace(modes=["weak", "strong"])
    with Rounds("scaling", tmp_path, machine(tmp_path)) as found:
        scaling.one_round(found, options, tmp_path, wanted=["off"], turn=0, ranks=1, address="")
    assert found.values(mode="weak", variant="off", ranks=1, measure="rate") == {0: 5.0}
    assert [(note.mode, note.why) for note in found.not_run] == [("strong", "interrupted")]
    assert found.ended_early == "interrupted"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/lib/postgresql").exists(), reason="there is no PostgreSQL of Debian's here")
def test_a_server_is_gone_afterwards(tmp_path: Path) -> None:
    """It listens on loopback only, asks for a password, and leaves no file."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is for benchmarks: make .venv/.bench")
    with server(None, connections=20) as address:
        with psycopg.connect(address) as connection:
            assert connection.execute("show listen_addresses").fetchone() == ("127.0.0.1",)
            (folder,) = connection.execute("show data_directory").fetchone()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(address.replace("password=", "password=x"))
        assert Path(folder).exists()
    assert not Path(folder).parent.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)


def test_a_server_that_is_not_there_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql, "DEBIAN", str(tmp_path))
    with pytest.raises(NoServerError, match=r"there is no initdb here \(apt-get install postgresql\)"):
        find_program("initdb")

"""What a run ran in is recorded as facts, and no secret comes into a log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.collectors import environment, machine
from braid_hpc.collectors.environment import EnvironmentCollector, record_environment
from braid_hpc.collectors.testing import CollectorContract


class TestEnvironmentContract(CollectorContract):
    module = "braid_hpc.collectors.environment"
    heavy = (*CollectorContract.heavy, "numpy", "ctypes")

    def make(self, run: Any) -> Any:
        self.noted = 0
        return EnvironmentCollector(run)

    def feed(self, collector: Any, items: int) -> None:
        for _ in range(items):
            self.noted += 1
            collector.note(f"fed {self.noted}", {"energy": self.noted})

    def spoil(self, collector: Any) -> None:
        collector.note("spoilt", {"what": object()})

    def misuse(self, collector: Any) -> None:
        collector.note(3, "three")

    def recorded(self, store: Any) -> int:
        return len(store.sql("select * from versions where name like 'environment/fed%'"))


PLANTED = {
    "variable": "s3cr3t-in-a-variable-0001",
    "allowed": "s3cr3t-in-an-allowed-one-0002",
    "url": "s3cr3t-in-a-url-0003",
    "patch": "ghp_s3cr3tInAPatch0004abcdefghij",
    "key": "s3cr3tInAPrivateKey0005",
    "argument": "s3cr3t-in-an-argument-0006",
    "after": "s3cr3t-after-an-option-0007",
    "known": "s3cr3t-known-by-a-variable-0008",
    "noted": "s3cr3t-in-a-note-0009",
    "remote": "s3cr3t-in-a-remote-0010",
    "index": "s3cr3t-in-an-index-0011",
    "pip": "s3cr3t-in-a-file-of-pip-0012",
    "header": "s3cr3tInAHeader0013",
    "parameter": "s3cr3t-in-a-parameter-0014",
    "returned": "s3cr3t-that-was-returned-0015",
    "raised": "s3cr3t-that-was-raised-0016",
    "refused": "s3cr3t-that-was-refused-0017",
    "file": "s3cr3t-in-a-file-0018",
    "ended": "s3cr3t-that-ended-the-run-0019",
    "scheduler": "s3cr3t-in-a-comment-0020",
    "cut": "s3cr3t-where-it-is-cut-0021",
}

PROGRAM = """
import contextlib, os, sys
from pathlib import Path
import braid_hpc as braid
from braid_hpc.collectors.environment import EnvironmentCollector

@braid.activity
def log_in(user, *, password, api_key=None):
    return user

@braid.activity
def make_token():
    return os.environ["RETURNED"]

@braid.activity
def fetch():
    raise OSError(f"cannot read https://me:{os.environ['RAISED']}@host/data")

@braid.activity
def fetch_far():
    raise OSError("x" * 480 + f" https://me:{os.environ['CUT']}@host/data")

with contextlib.suppress(OSError), braid.job("secrets", log_dir=sys.argv[1], files="auto") as run:
    with EnvironmentCollector(run, allow=["MY_*"]) as collector:
        collector.look()
        collector.note("site", {"api_key": "NOTED", "text": ["password: NOTED"]})
        assert not collector.losses, collector.losses.counts
    log_in("me", password=os.environ["PARAMETER"], api_key=os.environ["PARAMETER"].encode())
    make_token()
    for call in (fetch, fetch_far):
        with contextlib.suppress(OSError):
            call()
    Path("pip.conf").read_text()
    run.data("result", derived_from={"password": os.environ["REFUSED"]})
    run.data({"token": os.environ["REFUSED"]})
    raise OSError(f"Authorization: Bearer {os.environ['ENDED']}")
"""

#: What the program cannot know to be a secret by the name of the variable that it comes in.
GIVEN = ("parameter", "returned", "raised", "cut", "refused", "ended")


def git(folder: Path, *arguments: str) -> None:
    about = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *about, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def planted_sources(sources: Path) -> Path:
    """Make a repository with secrets in its remote, its changes, and the files beside them; return the program."""
    sources.mkdir()
    script = sources / "program.py"
    script.write_text("# begun\n")
    git(sources, "init")
    git(sources, "remote", "add", "origin", f"https://me:{PLANTED['remote']}@host/sources.git")
    git(sources, "add", ".")
    git(sources, "commit", "-m", "one")
    script.write_text(PROGRAM.replace("NOTED", PLANTED["noted"]))
    (sources / "settings").write_text("")
    (sources / "pip.conf").write_text(f"[global]\nindex-url = https://me:{PLANTED['pip']}@host/simple\n")
    git(sources, "add", "settings", "pip.conf")
    (sources / "settings").write_text(
        f"harmless = 1\nhost = {PLANTED['known']}\n{PLANTED['patch']}\ntoken: {PLANTED['file']}\n"
        f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED['key']}\n-----END RSA PRIVATE KEY-----\n"
    )
    return script


def test_planted_secrets_are_in_no_byte_of_any_log_or_store(tmp_path: Path) -> None:
    """In variables, sources, files, on the command line, in arguments, results and errors of what is recorded."""
    sources, logs = tmp_path / "sources", tmp_path / "logs"
    script = planted_sources(sources)
    planted = {
        "BRAID_STRICT": "0",
        "GITHUB_TOKEN": PLANTED["variable"],
        "MY_PASSWORD": PLANTED["allowed"],
        "MY_MIRROR": f"https://me:{PLANTED['url']}@host/simple",
        "OMP_NUM_THREADS": "3",
        "SITE_SECRET": PLANTED["known"],
        "PIP_INDEX_URL": f"https://me:{PLANTED['index']}@host/simple",
        "PIP_CONFIG_FILE": str(sources / "pip.conf"),
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NAME": f"fit --token={PLANTED['scheduler']}",
        **{each.upper(): PLANTED[each] for each in GIVEN},
    }
    arguments = [f"--api-key={PLANTED['argument']}", "--password", PLANTED["after"]]
    arguments += ["--header", f"Authorization: Bearer {PLANTED['header']}"]
    command = [sys.executable, str(script), str(logs), *arguments]
    environment = {**os.environ, **planted}
    done = subprocess.run(command, env=environment, cwd=sources, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    braid.compact(logs, tmp_path / "prov.duckdb")
    files = [path for folder in (logs, tmp_path / "prov.duckdb.d") for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"header.json", "1.duckdb"}
    for path in files:
        for where, secret in PLANTED.items():
            assert secret.encode() not in path.read_bytes(), f"{where} in {path.name}"
    # Nor where a store holds it compressed.
    with braid.open(tmp_path / "prov.duckdb") as store:
        for (table,) in (tuple(row.values()) for row in store.sql("select table_name from duckdb_tables()")):
            if table not in ("files", "collector_losses"):
                said = repr(store.sql(f'select * from "{table}"').to_pylist())
                assert not [where for where, secret in PLANTED.items() if secret in said], table
        failed = store.sql("select name, error from activities where error is not null")
        ends = dict(zip(failed["name"], failed["error"], strict=True))
        assert ends["fetch"] == "OSError: cannot read https://<redacted>@host/data"
        assert len(store.sql("select * from problems where code = 'rejected'")) == 2
        assert store.sql("select error from ranks")["error"] == ["OSError: Authorization: Bearer <redacted>"]
        rows = store.sql("select name, value from versions where kind = 'fact'").to_pylist()
        value = {row["name"].removeprefix("environment/"): json.loads(row["value"]) for row in rows}
        assert value["variables"]["OMP_NUM_THREADS"] == "3"
        assert value["variables"]["MY_MIRROR"] == "https://<redacted>@host/simple"
        assert "MY_PASSWORD" not in value["variables"]
        assert value["git"]["dirty"] is True
        assert "+harmless = 1" in value["git"]["patch"]
        assert value["host"]["memory_bytes"] > 1 << 20
        assert value["packages"]["duckdb"]
        assert value["site"]["api_key"] == "<redacted>"
        assert value["scheduler"]["SLURM_JOB_NAME"] == "fit --token=<redacted>"
        (params,) = store.sql("select params from activities where name = 'log_in'")["params"]
        assert json.loads(params) == {"user": "me", "password": "<redacted>", "api_key": "<redacted>"}
        fed = {node.ref for node in store.lineage("environment:environment").nodes}
        assert {"fact:environment/host@1", "fact:environment/git@1"} <= fed


def test_equal_environments_are_one_version(tmp_path: Path) -> None:
    for _ in range(2):
        with braid.job("twice", log_dir=tmp_path / "logs") as run:
            record = record_environment(run)
            with run.activity("fit", used=record):
                run.data("result")
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        for name in ("host", "packages", "interpreter", "variables"):
            assert len(store.sql(f"select * from versions where name = 'environment/{name}'")) == 1
        assert "fact:environment/packages@1" in {node.ref for node in store.lineage("data:result").nodes}


def test_scheduler_modules_and_container_are_read_from_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "APPTAINER_CONTAINER", "APPTAINER_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_PARTITION", "debug")
    monkeypatch.setenv("LOADEDMODULES", "gcc/13:openmpi/5")
    monkeypatch.setenv("SINGULARITY_CONTAINER", "/images/fit.sif")
    assert machine.scheduler() == {"scheduler": "slurm", "job": "17", "queue": "debug"} | {
        name: value for name, value in machine.scheduler().items() if name.startswith("SLURM")
    }
    assert machine.modules() == ["gcc/13", "openmpi/5"]
    assert machine.container() == {"kind": "singularity", "image": "/images/fit.sif"}


def test_a_question_that_fails_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_STRICT", "0")

    def broken() -> Any:
        raise OSError("no")

    monkeypatch.setattr(environment, "gpus", broken)
    with braid.job("broken", log_dir=tmp_path / "logs") as run, EnvironmentCollector(run) as collector:
        collector.look(thorough=False)
        assert collector.losses.counts == {"question that failed": 1}
        assert collector.record


def test_facts_are_bounded(tmp_path: Path) -> None:
    with braid.job("many", log_dir=tmp_path / "logs") as run, EnvironmentCollector(run) as collector:
        for number in range(1030):
            collector.note(f"n{number}", number)
        assert collector.losses.counts == {"too many facts": 6}

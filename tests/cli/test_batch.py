"""Commands on batch jobs: submit, script, jobs, cancel."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Braid


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    """A specification."""
    file = tmp_path / "fit.toml"
    file.write_text('command = "true"\ntime = 5\nnodes = 2\n')
    return file


def test_a_dry_run_prints_scripts_and_commands(cli: Braid, fit: Path) -> None:
    """On stdout, and nothing is written."""
    done = cli("submit", fit, "--scheduler", "local", "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert [line[:8] for line in done.stdout.splitlines() if line.startswith("$ ")] == ["$ setsid", "$ setsid"]
    assert done.stdout.count("#!/bin/bash") == 2
    assert list(fit.parent.iterdir()) == [fit]


def test_a_wrong_specification_is_a_sentence(cli: Braid, fit: Path) -> None:
    """The first fault, the others below it; the exit code is that of a wrong call."""
    fit.write_text('command = "true"\nnodes = -2\ntiem = "1 h"\n')
    done = cli("submit", fit, "--scheduler", "local")
    assert done.exit_code == 2
    first, *others = done.stderr.splitlines()
    assert first == f"braid: {fit}: nodes is -2; it must be a whole number of at least 1, without quotes"
    assert others == [
        f"  {fit}: there is no field 'tiem'; did you mean 'time'?",
        f"  {fit}: time is missing: say how long the job may run, as in: time = '00:30:00'",
    ]


def test_a_specification_that_is_not_there(cli: Braid, tmp_path: Path) -> None:
    done = cli("submit", tmp_path / "no.toml")
    assert (done.exit_code, done.stderr) == (3, f"braid: there is no specification {tmp_path / 'no.toml'}\n")


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "lsf", "flux", "local"])
@pytest.mark.parametrize("part", ["job", "compact"])
def test_a_script_is_printed_where_its_scheduler_is_not(cli: Braid, fit: Path, scheduler: str, part: str) -> None:
    done = cli("script", fit, "--scheduler", scheduler, "--part", part)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True, timeout=10)


def test_jobs_and_cancel(cli: Braid, tmp_path: Path) -> None:
    """What was submitted is listed from its directory; one that is over cannot be cancelled."""
    assert cli("jobs", tmp_path).stderr == f"no job was submitted into {tmp_path}\n"
    assert cli("jobs", tmp_path / "nowhere").exit_code == 3
    (tmp_path / "fit-1").mkdir()
    about = {"format": "braid job", "name": "fit", "scheduler": "local", "job": "1-1", "submitted": 10**18}
    (tmp_path / "fit-1" / "job.json").write_text(json.dumps(about))
    done = cli("jobs", tmp_path, "--format", "json")
    (found,) = json.loads(done.stdout)
    assert (found["job"], found["state"], found["merge"]) == ("1-1", "ended", "none")
    assert found["submitted"] == "2001-09-09T01:46:40Z"
    over = cli("cancel", "1-1", "--directory", tmp_path)
    assert (over.exit_code, over.stderr) == (5, "braid: job 1-1 is over\n")
    assert cli("cancel", "2-2", "--directory", tmp_path).exit_code == 3

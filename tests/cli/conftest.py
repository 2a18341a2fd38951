"""A store and logs to ask with the command line, and two ways to call it."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from braid_hpc.cli.app import braid
from braid_hpc.compaction.compact import compact
from tests.jobs import Job

ODD = 'a "quoted"\nname 🧵, with; commas'

Braid = Callable[..., Result]


@pytest.fixture
def cli() -> Braid:
    """Call a command in this process."""

    def call(*words: object) -> Result:
        return CliRunner().invoke(braid, [str(word) for word in words], prog_name="braid")

    return call


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the installed program."""

    def call(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
        path = Path(sysconfig.get_path("scripts")) / "braid"
        command = [str(path), *(str(word) for word in words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]

    return call


def record(logs: Path) -> Job:
    """Two ranks with a little of everything."""
    with Job(logs, 2, name="fit") as job:
        for rank, run in enumerate(job.runs):
            config = run.fact("config", {"threshold": 40}, tags={"energy_keV": 71.7, "n": 3, "moving": True, "s": "3"})
            run.tag(config, "a=b", "c=d")
            run.tag(config, "a=b", 3)
            odd = run.data(ODD, digest=f"x:{rank}", uri=f"s3://bucket/{ODD}", tags={ODD: ODD}, derived_from=config)
            with run.activity("train", used=odd, params={"rank": rank}):
                run.model("net", digest="w:0", derived_from=[odd, config])
            run.stream("positions", {"x": "float64", "name": "text"}, units={"x": "px"}).append(float("nan"), ODD)
    return job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Logs that a test may damage."""
    return record(tmp_path / "logs")


@pytest.fixture
def logs(job: Job) -> Path:
    return job.logs


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that all tests of this room ask, because none can change it."""
    folder = tmp_path_factory.mktemp("asked")
    record(folder / "logs")
    compact(folder / "logs", folder / "prov.duckdb")
    return folder / "prov.duckdb"

"""`braid doctor`: what is here, and what it can promise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Braid = Callable[..., Result]


def test_findings(cli: Braid, tmp_path: Path) -> None:
    """Versions, where logs would lie and why, what their file system can promise."""
    done = cli("doctor", "--format", "json")
    assert (done.exit_code, done.stderr) == (0, "")
    found = {row["what"]: row["finding"] for row in json.loads(done.stdout)}
    assert found["braid_hpc"].startswith("0.")
    assert found["duckdb"][0].isdigit()
    assert found["mpirun"].endswith("mpirun")
    assert found["this process"] == "not under a launcher"
    assert found["log directory"] == f"{tmp_path / 'logs'} (by BRAID_LOG_DIR)"
    assert found["writable"] == "yes"
    assert found["BRAID_STRICT"] == "1"
    assert found["level held"]


def test_under_a_launcher(cli: Braid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_RANK", "2")
    monkeypatch.setenv("PMI_SIZE", "4")
    found = {row["what"]: row["finding"] for row in json.loads(cli("doctor", "--format", "json").stdout)}
    assert found["this process"] == "rank 2 of 4 (mpich)"


def test_a_log_directory_that_cannot_be_written(cli: Braid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_LOG_DIR", "/proc/nowhere")
    found = {row["what"]: row["finding"] for row in json.loads(cli("doctor", "--format", "json").stdout)}
    assert found["log directory"].startswith("/proc/nowhere")
    assert found["its file system"].startswith("proc on /proc")

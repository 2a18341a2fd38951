"""The README's twenty lines run as they stand there: as one process, and on four ranks."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

import braid_hpc as braid
from tests.docs.pages import ROOT, blocks, environment
from tests.ranks import RunRanks

README = ROOT / "README.md"
MOST_LINES = 30


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the README's two programs, and with the file that its console lines make."""
    fit, ask = (block.text for block in blocks(README) if block.kind == "python")
    folder = tmp_path / "readme"
    folder.mkdir()
    (folder / "fit.py").write_text(fit)
    (folder / "ask.py").write_text(ask)
    return folder


def console() -> list[str]:
    """Give the commands between the two programs."""
    (found,) = [block.commands for block in blocks(README) if any("fit.py" in line for line in block.commands)]
    return found


def shell(command: str, folder: Path) -> str:
    words = ["bash", "-euo", "pipefail", "-c", command]
    variables = {**os.environ, **environment(folder)}
    done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.mpi_matrix
@pytest.mark.parametrize("ranks", [0, 4])
def test_twenty_lines_run_and_answer(programs: Path, run_ranks: RunRanks, ranks: int) -> None:
    """The console lines in order; the one with mpirun is given to the launcher of this environment."""
    logs = {"BRAID_LOG_DIR": str(programs / "default-logs")}
    drawn = ""
    for command in console():
        if command.startswith("mpirun"):
            assert command == "mpirun -n 4 python fit.py"
            run_ranks(ranks, programs / "fit.py", cwd=programs, env=logs)
        else:
            drawn = shell(command, programs)
    count = max(ranks, 1)
    assert drawn.startswith("model:braggnn@3\n")
    assert "incomplete" not in drawn
    for rank in range(count):
        assert f"data:peaks/scan-7/rank-{rank}@1" in drawn
    assert drawn.count("fact:config/scan-7@1") == count

    asked = run_ranks(0, programs / "ask.py", cwd=programs, env=logs).stdout
    assert drawn.strip() in asked
    with braid.open(programs / "prov.duckdb") as store:
        versions = store.sql("select kind, name, versions from records where kind in ('fact', 'model') order by kind")
        assert versions.to_pylist() == [
            {"kind": "fact", "name": "config/scan-7", "versions": 1},
            {"kind": "model", "name": "braggnn", "versions": 3},
        ]
        answer = store.lineage("model:braggnn")
        assert answer.complete
        assert set(store.table("peak-positions")["_rank"]) == ({None} if not ranks else set(range(ranks)))


def test_program_is_as_short_as_it_says() -> None:
    """Twenty lines, give or take the empty ones."""
    fit = next(block.text for block in blocks(README) if block.kind == "python")
    assert len([line for line in fit.splitlines() if line.strip()]) <= MOST_LINES


def test_scripts_are_those_of_this_environment() -> None:
    assert (Path(sysconfig.get_path("scripts")) / "braid").exists()

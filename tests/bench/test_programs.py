"""``braid bench`` finds the programs that measure, and says how they ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from braid_hpc.bench.programs import PROGRAMS, find_program, run_program
from braid_hpc.vocabulary.errors import NotFoundError


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_is_there(name: str) -> None:
    text = find_program(name).read_text()
    assert f"python benchmarks/{name}.py [--quick] [--out DIR]" in text


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"the program nothing\.py is neither in"):
        find_program("nothing")


def test_the_command_ends_as_the_program_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "braid_hpc", "bench", "scaling", "--out", str(tmp_path / "out"), "--"]
    done = subprocess.run([*command, "--variants", "none"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "scaling: there is no none" in done.stderr
    assert "braid: scaling ended with code 1" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_interrupted_writes_what_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Then the interruption goes on."""
    program = tmp_path / "slow.py"
    program.write_text(
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (pathlib.Path(sys.argv[1]).touch(), os._exit(1)))\n"
        "os.kill(os.getppid(), signal.SIGINT)\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n"
    )
    monkeypatch.setattr("braid_hpc.bench.programs.find_program", lambda name: program)
    with pytest.raises(KeyboardInterrupt):
        run_program("slow", [str(tmp_path / "written")])
    assert (tmp_path / "written").exists()

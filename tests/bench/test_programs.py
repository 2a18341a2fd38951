"""``braid bench`` finds the programs that measure, and says how they ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from braid_hpc.bench.programs import PROGRAMS, find_program
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

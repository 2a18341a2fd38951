"""The page of figures is what the files of measured rounds say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rounds import read_rounds

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docs" / "benchmarks").glob("*.parquet"))


@pytest.mark.slow
def test_page_and_readme_are_made_of_the_files() -> None:
    """So that no figure is written by hand, and none stays from an older file."""
    command = [sys.executable, "-m", "benchmarks.page", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_says_what_it_is_of(path: Path) -> None:
    """The machine, its load, and the command; pictures lie beside it, and no folder of somebody's is named."""
    about = read_rounds(path).about
    assert about["cores"] >= 1
    assert about["load_before"]
    assert about["load_after"]
    assert about["command"].startswith(f"python benchmarks/{path.stem}.py")
    assert "/" not in about["command"].removeprefix("python benchmarks/")
    assert path.with_suffix(".svg").exists()

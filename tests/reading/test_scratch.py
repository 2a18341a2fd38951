"""Directories that are removed for whoever cannot do so any more."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from braid_hpc.reading.scratch import make_scratch

MADE = "from braid_hpc.reading.scratch import make_scratch; print(make_scratch(), flush=True); input()"


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of one that lives, of this process, or of anybody else."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    own = make_scratch()
    other = tmp_path / "braid-logs-of-somebody"
    other.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", MADE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        theirs = Path(made.stdout.readline().strip())
        (theirs / "log").write_text("unpacked")
        make_scratch()
        assert {own, other, theirs} <= set(tmp_path.iterdir())
        made.kill()
    make_scratch()
    assert not theirs.exists()
    assert {own, other} <= set(tmp_path.iterdir())


def test_nothing_is_removed_of_a_process_that_cannot_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers that share the temporary directory do not see each other's processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    own = make_scratch()
    inside = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", MADE]
    done = subprocess.run(inside, input="\n", capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no namespaces for processes here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    theirs = Path(done.stdout.strip())
    make_scratch()
    assert {own, theirs} <= set(tmp_path.iterdir())

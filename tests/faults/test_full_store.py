"""A disk that is full while a store is made: one sentence, the old store whole, and all of it once there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from braid_hpc.snapshots.files import StoreFiles
from tests.faults.campaign import seeds, trial
from tests.faults.stores import check_leftovers, say
from tests.jobs import Job, digests
from tests.rank_logs import tmpfs

ROOT = Path(__file__).parents[2]


def braid_compact(logs: Path, store: Path) -> subprocess.CompletedProcess[str]:
    """Compact as people do: in a process of its own, whose end is part of the trial."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "braid_hpc", "compact", str(logs), "--store", str(store)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)


def resize(place: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


def used(place: Path) -> int:
    about = os.statvfs(place)
    return (about.f_blocks - about.f_bfree) * about.f_frsize


@pytest.mark.timeout(40_000)
@pytest.mark.parametrize(
    "arrays",
    [pytest.param(False, id="tables", marks=pytest.mark.slow), pytest.param(True, id="arrays", marks=pytest.mark.slow)],
)
def test_a_full_disk_is_one_sentence(arrays: bool, tmp_path: Path) -> None:
    """From a few KiB to just enough: exit code 4, no other output, no leftovers; with room, the same digests."""
    logs = tmp_path / "logs"
    with Job(logs, 2) as job:
        say(job, 0)
        whole = tmp_path / "whole" / "prov.duckdb"
        whole.parent.mkdir()
        assert braid_compact(logs, whole).returncode == 0
        before = digests(whole)
        say(job, 1)
        if arrays:
            for number in range(40):
                job[0].array(f"big/{number}", np.random.default_rng(number).random(20_000))
    with tmpfs(tmp_path / "small", "64m") as place:
        store = place / "prov.duckdb"
        subprocess.run(["cp", "-a", f"{whole}.d", whole, place], check=True)
        start = used(place)
        assert braid_compact(logs, store).returncode == 0
        after = digests(store)
        most = used(place) - start
        tried = refused = 0
        for seed in seeds(60, 1):
            with trial(seed) as chance:
                subprocess.run(["rm", "-rf", f"{store}.d", store], check=True)
                subprocess.run(["cp", "-a", f"{whole}.d", whole, place], check=True)
                # Building needs a copy of the old snapshot besides, and a write-ahead log for a while.
                room = chance.randrange(4096, 2 * most) if tried else most // 4
                tried += 1
                resize(place, start + room)
                done = braid_compact(logs, store)
                resize(place, 64 << 20)
                if done.returncode:
                    refused += 1
                    check_refusal(done, store, before)
                    again = braid_compact(logs, store)
                    assert again.returncode == 0, again.stderr
                assert digests(store) == after
                check_leftovers(store)
        assert refused


def check_refusal(done: subprocess.CompletedProcess[str], store: Path, before: dict[str, str]) -> None:
    """One sentence, the code of a StorageError, the store as it was."""
    assert (done.returncode, done.stdout) == (4, ""), (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("braid: "), done.stderr
    assert "cannot" in lines[0], done.stderr
    assert digests(store) == before
    # Also what was being built is gone: it would take the room that somebody may just have made.
    left = [path.name for path in StoreFiles(store).directory.iterdir() if path.name.startswith("building")]
    assert not left


@pytest.mark.timeout(600)
def test_a_disk_that_is_full_at_once(tmp_path: Path) -> None:
    """Not even a name fits: the same sentence."""
    with Job(tmp_path / "logs", 1) as job:
        say(job, 0)
    with tmpfs(tmp_path / "small", "4096") as place:
        (place / "full").write_bytes(bytes(4096))
        done = braid_compact(tmp_path / "logs", place / "prov.duckdb")
        assert done.returncode == 4
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "No space left on device" in done.stderr

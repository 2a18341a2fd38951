"""Claims: what one submitter has taken nobody else gets, until the time is over or it is given back."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from braid_hpc.campaigns.claims import claim, claimed, release
from braid_hpc.compaction.compact import compact
from braid_hpc.run.streams import NO_ROWS, Stream
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from tests.campaigns.world import STAGES, Configuration
from tests.jobs import one

NAMES = [f"src/{number}.h5" for number in range(40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with one(tmp_path / "logs") as job:
        job[0].declare(STAGES["src"], {"configuration": Configuration("a", 0), "s": list(range(40)), "name": NAMES})
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


@pytest.mark.slow
def test_submitters_at_once_do_not_get_the_same(path: Path) -> None:
    """Each waits for the one before it, and sees what that one has taken."""
    program = (
        "import sys, braid_hpc as braid\n"
        "from braid_hpc.campaigns.claims import claim\n"
        "with braid.open(sys.argv[1]) as store:\n"
        "    for _ in range(2):\n"
        "        print(*claim(store, 'src', most=5)[1]['name'])\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    taken = [name for process in started for name in process.communicate(timeout=120)[0].split()]
    assert all(process.returncode == 0 for process in started)
    assert sorted(taken) == sorted(NAMES[:30])


def test_a_claim_ends(path: Path) -> None:
    """By its time, or because it is given back; then the files can be taken again."""
    with Store(path) as store:
        first, files = claim(store, "src", most=3, who="me")
        assert files["name"] == NAMES[:3]
        assert {(row["claim"], row["table"], row["who"]) for row in claimed(store)} == {(first, "src", "me")}
        second, files = claim(store, "src", most=2, seconds=3600, s__gte=10)
        assert files["name"] == NAMES[10:12]
        later = time.time_ns() + 2 * 3600 * 10**9
        assert claimed(store, now=later)["name"] == NAMES[:3]
        assert release(store, first) == 3
        assert claim(store, "src", most=1)[1]["name"] == NAMES[:1]
        with pytest.raises(NotFoundError, match="no claim"):
            release(store, first)
        everything = claim(store, "src")[1]
        assert len(everything) == 40 - 3
        assert claim(store, "src")[0] == ""
        assert release(store, second) == 2
        for wrong in (
            {"most": 0},
            {"seconds": 0.0},
            {"seconds": float("nan")},
            {"seconds": math.inf},
            {"seconds": 1e12},
        ):
            with pytest.raises(InvalidInputError):
                claim(store, "src", **wrong)


def test_what_could_not_be_said_is_not_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two submitters would get the same files."""
    monkeypatch.delenv("BRAID_STRICT")
    with Store(path) as store:
        taken, _ = claim(store, "src", most=1)
        with monkeypatch.context() as refused:
            refused.setattr(Stream, "extend", lambda *_: NO_ROWS)
            with pytest.raises(StorageError, match="could not be written"):
                claim(store, "src", most=1)
            with pytest.raises(StorageError, match="could not be written"):
                release(store, taken)
        assert claimed(store)["claim"] == [taken]
        with pytest.raises(InvalidInputError, match="who= is a text"):
            claim(store, "src", most=1, who=5)  # type: ignore[arg-type]

"""Damage to the archive of a store: each is named, nothing is replaced by less, and what is left is made when asked."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import CorruptLogError
from tests.faults.campaign import many, seeds
from tests.faults.campaign import trial as seeded
from tests.faults.stores import archives, flip, say, say_much, tables_of
from tests.jobs import Job, count, rows
from tests.rank_logs import small_tails

#: What is damaged in the archive of the second commit, and what of it must be named.
FILES = {
    "rows": "events.arrows",
    "a sum": "events.sums",
    "a batch": "batches.arrows",
    "writers": "writers.jsonl",
    "numbers": "numbers.tsv",
    "arrays": "arrays.jsonl",
    "commit": "commit.json",
}
WAYS = [*FILES, "a batch is removed", "rows are removed", "a line is removed", "a linked log", "an array", "all of it"]


class Place:
    """A store of three commits, one of which has linked a log; each trial has its own copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs, self.start = folder / "logs", folder / "start"
        self.start.mkdir()
        store = self.start / "prov.duckdb"
        job = Job(self.logs, 2)
        say(job, 0)
        compact(self.logs, store)
        say_much(job, 1)
        job[0].close()
        self.linked = job[0].writer.hex()
        compact(self.logs, store)
        say(job, 2)
        job[1].data("last", digest="x:last")
        job.close()
        compact(self.logs, store)
        self.tables = tables_of(store)
        assert (archives(store)[1] / self.linked).is_dir()

    def copy(self, name: str) -> Path:
        shutil.copytree(self.start, self.folder / name)
        store = self.folder / name / "prov.duckdb"
        os.unlink(store)
        os.link(StoreFiles(store).newest(), store)
        return store


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    with pytest.MonkeyPatch.context() as patch:
        small_tails(patch)
        return Place(tmp_path_factory.mktemp("archive"))


def damaged(place: Place, store: Path, how: str) -> str:
    """Damage an archive; return what must be named."""
    folder = archives(store)[1]
    if how in FILES:
        path = folder / FILES[how]
        flip(path, path.stat().st_size // 2)
        return path.name
    if how == "a batch is removed":
        path = folder / "batches.arrows"
        os.truncate(path, path.stat().st_size // 2)
        return path.name
    if how == "rows are removed":
        (folder / "events.arrows").unlink()
        return "events.arrows"
    if how == "a line is removed":
        lines = (folder / "numbers.tsv").read_text().splitlines(keepends=True)
        (folder / "numbers.tsv").write_text("".join(lines[1:]))
        return "numbers.tsv"
    if how == "a linked log":
        path = folder / place.linked / "events.arrows"
        flip(path, 3_000)
        return place.linked
    if how == "an array":
        path = StoreFiles(store).arrays / f"{folder.name}.h5"
        path.chmod(0o644)
        flip(path, path.read_bytes().index(np.full(100, 7.0).tobytes()) + 50)
        return path.name
    assert how == "all of it"
    shutil.rmtree(folder)
    return "snapshot 2"


def check_refused(store: Path, before: dict[str, tuple[int, int]]) -> list[str]:
    """What cannot be made whole changes nothing; return what was named."""
    beside = sorted(store.with_name("prov.duckdb.d").iterdir())
    for partial in (False, True):
        with pytest.raises(CorruptLogError, match="nothing was changed") as told:
            rebuild(store, partial=partial)
    assert tables_of(store) == before
    assert sorted(store.with_name("prov.duckdb.d").iterdir()) == beside
    return list(told.value.__notes__)


@pytest.mark.timeout(4_000)
def test_damage_is_named(place: Place) -> None:
    """Its file and what it took; the rest is made when asked to, says what it is without, and merges bring it back."""
    for how in random.sample(WAYS, many(len(WAYS), 1)):
        store = place.copy("trial")
        named = damaged(place, store, how)
        notes = check_refused(store, place.tables)
        assert any(named in note for note in notes), (how, notes)
        new = store.with_name("new.duckdb")
        made = rebuild(store, into=new, partial=True)
        assert made.snapshot == 3
        assert set(made.damage) == set(notes)
        assert {text for (text,) in rows(new, "select message from problems where code = 'archive'")} == set(notes)
        with Store(new) as opened:
            twice = "select kind, name, version from nodes group by all having count(*) > 1"
            assert rows(opened, twice) == []
            if how in ("rows", "rows are removed", "a sum", "a linked log"):
                assert count(opened, "ranks", "state = 'corrupt'") > 0, how
                assert not opened.lineage("model:net").complete
        compact(place.logs, new)
        events = "select sum(events) from ledger"
        assert rows(new, events) == rows(store, events)
        # What was recorded by names that were lost could not be understood, and is not taken twice.
        unclear = count(new, "problems", "code = 'undecodable'")
        assert count(new, "occurrences") + unclear >= place.tables["main.occurrences"][0], how
        shutil.rmtree(store.parent)


@pytest.mark.slow
@pytest.mark.timeout(40_000)
def test_no_flipped_bit_is_silent(place: Place) -> None:
    """In any file of an archive: it is named, or it changes nothing that a store is made of."""
    silent, trials = 0, 0
    for seed in seeds(2_000, 3):
        trials += 1
        with seeded(seed) as chance:
            subprocess.run(["cp", "-a", place.start, place.folder / "trial"], check=True)
            store = place.folder / "trial" / "prov.duckdb"
            files = StoreFiles(store)
            found = [path for path in [*files.archive.rglob("*"), *files.arrays.iterdir()] if path.is_file()]
            path = chance.choice([path for path in found if path.stat().st_size])
            # A copy of its own: links would be changed in all copies.
            path.write_bytes(path.read_bytes()) if path.stat().st_nlink == 1 else _own(path)
            path.chmod(0o644)
            flip(path, chance.randrange(path.stat().st_size))
            with contextlib.suppress(CorruptLogError):
                rebuild(store)
                silent += 1
            assert tables_of(store) == place.tables, path
            shutil.rmtree(store.parent)
    # Bits that nothing depends on: ends of streams, room that HDF5 leaves, parts of a linked log that stand elsewhere.
    assert silent <= trials // 2 + 3


def _own(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)

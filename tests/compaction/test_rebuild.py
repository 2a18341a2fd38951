"""The store made again from its archive: the same in every row, whatever its merges were made of."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.compaction import ledger
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.names import PUBLISHED
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ConflictError, CorruptLogError, NotFoundError
from tests.faults.stores import archives, check_leftovers, check_rebuilt, flip, say, say_much, tables_of
from tests.golden.make import versions
from tests.jobs import Job, count, deliver, digests, one
from tests.rank_logs import overwrite, small_tails

GOLDEN = [case for version in versions() for case in sorted(version.iterdir()) if case.is_dir()]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new.duckdb"


# whatever the logs were


@pytest.mark.slow
def test_live_logs_that_were_taken_in_parts(logs: Path, store: Path, new: Path) -> None:
    """Edges, tags, rows, batches, arrays; the logs are gone since; answers, arrays and all snapshots are there."""
    with Job(logs, 2) as job:
        for turn in range(3):
            say(job, turn)
            compact(logs, store)
    compact(logs, store)
    logs.rename(new.with_name("gone"))
    check_rebuilt(store, new)
    with Store(store) as old, Store(new) as made:
        assert made.snapshot == 4
        assert np.array_equal(made.array("data:map@1").read(), old.array("data:map@1").read())
        for at in (None, 2):
            ours, theirs = (opened.lineage("model:net", at=at) for opened in (made, old))
            assert ours.counts == theirs.counts
            assert ours.nodes == theirs.nodes
    assert not compact(new.with_name("gone"), new).new


def test_golden_logs(store: Path, new: Path) -> None:
    """Every kind of row, in logs that were sealed, killed, lossy, in frames, with arrays and states; one by one."""
    for case in GOLDEN:
        assert compact(case, store).new
    check_rebuilt(store, new)


@pytest.mark.slow
def test_several_jobs_with_long_logs_and_slices(
    logs: Path, store: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs that are linked, and those that are copied; commits that were worked off in slices; an absent rank."""
    small_tails(monkeypatch)
    monkeypatch.setattr("braid_hpc.compaction.slices.SLICE", 40)
    for number in range(2):
        with Job(logs, 2, name=f"job{number}") as job:
            say_much(job, number)
            compact(logs, store)
            say_much(job, number + 7)
        compact(logs, store)
    (logs / job.runs[1].writer.hex()).rename(logs.parent / "elsewhere")
    assert any((folder / run.writer.hex()).is_dir() for folder in archives(store) for run in job.runs)
    monkeypatch.setattr("braid_hpc.compaction.slices.SLICE", 50_000)
    check_rebuilt(store, new)


@pytest.mark.slow
@pytest.mark.parametrize("links", [True, False])
def test_a_file_system_without_links(
    logs: Path, store: Path, new: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Rows and batches of a long log that has ended are copied there; the store is made of either."""
    small_tails(monkeypatch)
    with one(logs) as job:
        say_much(job, 0)
    real = os.link

    def refuse(source: Any, target: Any, **options: Any) -> None:
        if "events" in str(source):
            raise PermissionError(1, "no links here")
        real(source, target, **options)

    monkeypatch.setattr(os, "link", real if links else refuse)
    compact(logs, store)
    monkeypatch.setattr(os, "link", real)
    assert (archives(store)[0] / job[0].writer.hex()).is_dir() == links
    shutil.rmtree(logs)
    check_rebuilt(store, new)


@pytest.mark.slow
def test_torn_and_corrupt_logs_and_a_copy_that_came_later(
    logs: Path, store: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be read then is said again, and what a copy of the log brought later fills the holes."""
    small_tails(monkeypatch)
    monkeypatch.setattr(ledger, "STORING_NS", 0)
    with Job(logs, 2) as job:
        for turn in range(2):
            say(job, turn, many=20)
    folders = [job.folder(rank) for rank in range(2)]
    whole = [deliver(folder, tmp_path / "whole") for folder in folders]
    assert whole
    flip(folders[0] / "events.arrows", 5_000)
    batches = sorted(folders[1].glob("stream-*.arrows"))
    events = folders[1] / "events.arrows"
    os.truncate(events, events.stat().st_size // 2)
    for path in batches:
        flip(path, path.stat().st_size - 100)
    compact(logs, store)
    assert count(store, "ranks", "state in ('torn', 'corrupt')") == 2
    compact(tmp_path / "whole", store)
    check_rebuilt(store, new)
    shutil.rmtree(logs)
    shutil.rmtree(tmp_path / "whole")
    rebuild(store)
    assert digests(store) == digests(new)


@pytest.mark.slow
def test_statements_that_were_made_after_the_run(logs: Path, store: Path, new: Path) -> None:
    """Their logs are gone into the archive, each with a snapshot of its own."""
    with one(logs) as job:
        scan = job[0].data("scan", digest="x:1", on_invalid=["true"])
        job[0].model("net", digest="n:0", derived_from=scan)
    compact(logs, store)
    with Store(store) as opened:
        opened.invalidate("data:scan", cause="beam off")
        opened.revalidate("data:scan")
        opened.invalidate("data:scan", cause="beam off again")
        opened.run_actions()
    check_rebuilt(store, new)
    with Store(new) as made:
        assert not made.lineage("model:net", depth=0).nodes[0].valid
        made.invalidate("model:net", cause="and here")
    check_rebuilt(new, new.with_name("newer.duckdb"))


@pytest.mark.slow
def test_streams_of_every_type_that_widen(logs: Path, store: Path, new: Path) -> None:
    """Columns in the order in which they came, rows as records, as lists and as batches small and large."""
    types = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "bool"]
    for turn, shift in enumerate((0, 1)):
        with Job(logs, 2) as job:
            for run in job.runs:
                columns = {f"c{number}": types[(number + shift) % len(types)] for number in range(len(types))}
                stream = run.stream("all", {**columns, "when": "timestamp", "text": "text", "raw": "bytes"})
                values = [1] * 10 + [True] if not shift else [1] * 9 + [True, 1]
                for size in (3, 3_000):
                    data: dict[str, Any] = {name: [value] * size for name, value in zip(columns, values, strict=True)}
                    stream.extend({**data, "when": [0] * size, "text": ["ä"] * size, "raw": [b"\0"] * size})
        assert compact(logs, store).stream_rows == 2 * 3_003, turn
    check_rebuilt(store, new)


def test_a_store_that_was_copied_elsewhere(logs: Path, store: Path, tmp_path: Path) -> None:
    """With its directory: the copy is made again from its own archive, whatever becomes of the original."""
    with Job(logs, 2) as job:
        say(job, 0)
        compact(logs, store)
    compact(logs, store)
    before = tables_of(store)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(store.with_name("prov.duckdb.d"), other / "prov.duckdb.d")
    for path in (store, store.with_name("prov.duckdb.d"), logs):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (other / "prov.duckdb.d").glob("*.duckdb"):
        path.unlink()
    rebuild(other / "prov.duckdb")
    assert tables_of(other / "prov.duckdb") == before


def test_an_empty_store(store: Path, new: Path) -> None:
    from braid_hpc.compaction.create import create

    create(store)
    check_rebuilt(store, new)


# in the place of the old one


def test_old_files_are_moved_aside(logs: Path, store: Path) -> None:
    """The new ones have their names; the old ones are in a directory that is named; nothing else is left over."""
    with one(logs) as job:
        for turn in range(3):
            say(job, turn)
            compact(logs, store)
    before = tables_of(store)
    old = {path.name for path in store.with_name("prov.duckdb.d").glob("[0-9]*")}
    made = rebuild(store)
    assert made.replaced is not None
    assert {path.name for path in made.replaced.iterdir()} == {*old, "prov.duckdb"}
    assert tables_of(store) == before
    shutil.rmtree(made.replaced)
    check_leftovers(store)
    compact(logs, store)
    check_leftovers(store)


@pytest.mark.parametrize("what", ["gone", "damaged", "newest damaged", "name only"])
def test_a_store_whose_files_are_damaged_or_gone(logs: Path, store: Path, what: str) -> None:
    """It is made of what was published, and of nothing that a merge has left that did not come to its end."""
    with one(logs) as job:
        for turn in range(3):
            say(job, turn)
            compact(logs, store)
    before = tables_of(store)
    files = StoreFiles(store)
    left = files.archive / f"{files.snapshots()[-1] + 1}-0123abcd"
    shutil.copytree(archives(store)[-1], left)
    (left / PUBLISHED).unlink()
    for path in [store, *(files.snapshot(number) for number in files.snapshots())]:
        if what == "gone":
            path.unlink()
        elif what == "damaged" or (what == "newest damaged" and path.name == "3.duckdb"):
            path.chmod(0o644)
            overwrite(path, 0, bytes(20_000))
        elif what == "name only" and path != store:
            path.unlink()
    made = rebuild(store)
    assert made.notes == made.damage == []
    assert tables_of(store) == before
    assert store.samefile(files.newest())


def test_a_merge_that_was_ended_while_it_published(logs: Path, store: Path) -> None:
    """What it took is not lost, and that is said; of two with one number the one that was published counts."""
    with one(logs) as job:
        for turn in range(2):
            say(job, turn)
            compact(logs, store)
    before = tables_of(store)
    files = StoreFiles(store)
    first, last = archives(store)
    shutil.copytree(first, files.archive / "1-ffffffff")
    (files.archive / "1-ffffffff" / PUBLISHED).rename(files.archive / "1-ffffffff" / "publishing")
    (last / PUBLISHED).rename(last / "publishing")
    for path in [store, *files.directory.glob("*.duckdb")]:
        path.unlink()
    (note,) = rebuild(store).notes
    assert last.name in note
    assert tables_of(store) == before
    assert files.mark_of(last.name) == PUBLISHED


def test_what_is_there_is_not_overwritten(logs: Path, store: Path, new: Path, tmp_path: Path) -> None:
    with one(logs) as job:
        say(job, 0)
    compact(logs, store)
    new.write_bytes(b"mine")
    with pytest.raises(ConflictError, match="is there already"):
        rebuild(store, into=new)
    assert new.read_bytes() == b"mine"
    with pytest.raises(NotFoundError, match="holds no archive"):
        rebuild(tmp_path / "none.duckdb")


# damage


def test_a_digest_that_does_not_hold_is_named(logs: Path, store: Path) -> None:
    """Also where every sum of a file was made anew: the digest of what was taken stands in another one."""
    from braid_hpc.compaction.archive_files import file_sum
    from braid_hpc.log.header import pack_header, unpack_header

    with one(logs) as job:
        say(job, 0)
    compact(logs, store)
    (folder,) = archives(store)
    (line,) = map(json.loads, (folder / "writers.jsonl").read_text().splitlines())
    (folder / "writers.jsonl").write_text(json.dumps(line | {"digest": "0" * 32}) + "\n")
    about = unpack_header((folder / "commit.json").read_bytes())
    about["files"]["writers.jsonl"] = file_sum(folder / "writers.jsonl")
    (folder / "commit.json").write_bytes(pack_header(about))
    with pytest.raises(CorruptLogError) as told:
        rebuild(store)
    assert "does not carry its digest" in told.value.__notes__[0]

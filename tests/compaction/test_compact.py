"""Compaction as a whole: each event once, whoever is writing, dying or compacting at the same time."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.log.header import pack_header, unpack_header
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import (
    BraidError,
    FormatTooNewError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from tests.faults.campaign import many
from tests.jobs import Job, count, deliver, digests, has_cycle, made, one, rows
from tests.rank_logs import tmpfs


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


def train(job: Job, epochs: int = 5) -> Iterator[int]:
    """A little of everything, on all ranks; yields after each epoch."""
    configs = [run.fact("config", {"threshold": 40}, tags={"energy_keV": 71.7}) for run in job.runs]
    streams = [run.stream("losses", {"epoch": "int32", "loss": "float64", "note": "text"}) for run in job.runs]
    models = [
        run.model("net", digest="w:start", derived_from=config) for run, config in zip(job.runs, configs, strict=True)
    ]
    parts = [run.data("part") for run in job.runs]
    for epoch in range(epochs):
        for rank, run in enumerate(job.runs):
            with run.activity("train", used=models[rank], params={"epoch": epoch}) as activity:
                peaks = activity.data(f"peaks/{epoch}/{rank}", digest=f"x:{epoch}{rank}", uri=f"s3://b/{epoch}/{rank}")
                models[rank] = run.model("net", digest=f"w:{epoch}", derived_from=[models[rank], peaks])
            # An answer to another rank's message, and one by name.
            run.data("reply", digest=f"r:{epoch}{rank}", derived_from=[models[rank - 1], "fact:config"])
            run.derive(peaks, configs[rank])
            run.tag(peaks, "epoch", epoch)
            streams[rank].append(epoch, 1 / (epoch + 1), None)
            streams[rank].extend({"epoch": [epoch] * 2000, "loss": [0.5] * 2000, "note": ["🧵"] * 2000})
        yield epoch
    job[0].data("whole", digest="x:whole", derived_from=parts[0].on_all_ranks())


def record(logs: Path, size: int = 3, epochs: int = 5) -> Job:
    """All of it, and the end."""
    with Job(logs, size) as job:
        for _ in train(job, epochs):
            pass
    return job


# once, and the same


def test_compacting_twice_changes_nothing(logs: Path, store: Path) -> None:
    """Nothing new, no new snapshot, the same digest of every table."""
    record(logs)
    first = compact(logs, store)
    before = digests(store)
    again = compact(logs, store)
    assert (first.new, first.snapshot) == (True, 1)
    assert (again.new, again.snapshot, again.events) == (False, 1, 0)
    assert digests(store) == before
    assert set(first.states.values()) == set(again.states.values()) == {WriterState.CLOSED}


@pytest.mark.slow
def test_two_stores_of_the_same_logs_are_equal(logs: Path, tmp_path: Path) -> None:
    """Digest by digest, version numbers among them; and they differ from a store of other logs."""
    record(logs)
    record(tmp_path / "other")
    for name in ("one", "two"):
        compact(logs, tmp_path / name)
    compact(tmp_path / "other", tmp_path / "three")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    differ = {name for name, digest in digests(tmp_path / "three").items() if digest != digests(tmp_path / "one")[name]}
    assert {"versions", "occurrences", "edges", "tags", "runs", "ranks", "stream.losses"} <= differ


def test_what_was_done_is_told(logs: Path, store: Path) -> None:
    """The counts are those of the tables, and those of the snapshot's own row."""
    job = record(logs, size=2, epochs=2)
    done = compact(logs, store)
    assert done.writers == 2
    assert done.versions == count(store, "versions")
    assert done.activities == count(store, "activities") == 4
    assert done.edges == count(store, "edge_rows")
    assert done.stream_rows == count(store, "stream.losses") == 2 * 2 * 2001
    assert done.events == rows(store, "select sum(events) from ledger")[0][0]
    assert set(done.states) == {run.writer.hex() for run in job.runs}
    told = rows(store, "select writers, events, versions, activities, edges, stream_rows from snapshots")
    assert told == [(2, done.events, done.versions, done.activities, done.edges, done.stream_rows)]


def test_one_go_and_many_increments_give_the_same(logs: Path, store: Path, tmp_path: Path) -> None:
    """While the job is written: each commit takes what is there, the rest comes next time, nothing is doubled."""
    with Job(logs, 3) as job:
        for _ in train(job):
            assert compact(logs, store).new
    compact(logs, store)
    compact(logs, tmp_path / "whole")
    assert count(store, "snapshots") == 6
    assert digests(store, numbers=False) == digests(tmp_path / "whole", numbers=False)


@pytest.mark.parametrize("seed", range(4))
def test_logs_that_arrive_one_by_one_in_any_state(logs: Path, store: Path, tmp_path: Path, seed: int) -> None:
    """Copies of ranks' logs, older and newer ones, in any order: the store ends up as if all had come at once."""
    chance = random.Random(seed)
    some = tmp_path / "some"
    with Job(logs, 3) as job:
        for _ in train(job):
            for rank in chance.sample(range(3), chance.randint(0, 3)):
                deliver(job.folder(rank), some)
            if some.exists():
                compact(some, store)
    for rank in chance.sample(range(3), 3):
        deliver(job.folder(rank), some)
        compact(some, store)
    compact(logs, tmp_path / "whole")
    with Store(store) as opened:
        assert not has_cycle(opened)
        assert opened.lineage("data:whole").complete
    assert digests(store, numbers=False) == digests(tmp_path / "whole", numbers=False)


def test_two_copies_of_a_log_count_once(logs: Path, store: Path, tmp_path: Path) -> None:
    """A copy from while it was written, and the whole one: what either holds counts."""
    both = tmp_path / "both"
    with Job(logs, 2) as job:
        for epoch in train(job, 2):
            if not epoch:
                deliver(job.folder(0), both / "early")
    for rank in (0, 1):
        deliver(job.folder(rank), both / "late")
    compact(both, store)
    compact(logs, tmp_path / "whole")
    assert digests(store) == digests(tmp_path / "whole")


@pytest.mark.parametrize("most", [7, 40])
def test_slices_of_a_commit_are_as_increments(
    logs: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A commit that is worked off in slices, with hardly anything kept in memory in between, is what one shot gives."""
    record(logs)
    compact(logs, tmp_path / "whole")
    monkeypatch.setattr("braid_hpc.compaction.slices.SLICE", most)
    monkeypatch.setattr("braid_hpc.compaction.past.KEPT", 4)
    sliced: list[int] = []
    compact(logs, store, progress=lambda step, done, _: sliced.append(done) if step == "resolve" else None)
    # At least two: they are cut by time, and a rank that was held up has said most of it in one of them.
    assert max(sliced) >= 1
    assert digests(store, numbers=False) == digests(tmp_path / "whole", numbers=False)
    assert count(store, "snapshots") == 1
    with Store(store) as opened:
        assert not has_cycle(opened)
        assert opened.lineage("data:whole").complete


def test_a_store_goes_on_when_logs_are_gone(logs: Path, store: Path, tmp_path: Path) -> None:
    """Logs may be removed once they were taken; later runs add to what is there."""
    record(logs, size=2, epochs=1)
    compact(logs, store)
    before = digests(store)["versions"]
    record(tmp_path / "more", size=2, epochs=1)
    shutil.rmtree(logs)
    compact(tmp_path / "more", store)
    assert count(store, "runs") == 2
    assert digests(store)["versions"] != before


def test_many_threads_of_one_rank_while_it_is_compacted(logs: Path, store: Path, tmp_path: Path) -> None:
    """Rows are stored by several threads at once; what a commit in between takes means the same as at the end."""
    done = threading.Event()
    with one(logs) as job:
        run = job[0]

        def work(name: str) -> None:
            last = run.data("start", digest="x:s")
            step = 0
            while not done.is_set() and step < 3000:
                step += 1
                # All threads move one name on, so what each declaration means depends on those of the others.
                last = run.data("chain", digest=f"x:{name}{step}", derived_from=last)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for _ in range(6):
            compact(logs, store)
        done.set()
        for thread in threads:
            thread.join()
    compact(logs, store)
    compact(logs, tmp_path / "whole")
    assert count(store, "problems") == 0
    assert digests(store, numbers=False) == digests(tmp_path / "whole", numbers=False)


# several at once, and killed ones

COMPACT = "import sys; from braid_hpc.compaction.compact import compact; compact(sys.argv[1], sys.argv[2])"


def start(logs: Path, store: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", COMPACT, logs, store], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("together", [2, 4])
def test_several_at_once_and_nothing_is_doubled(logs: Path, store: Path, tmp_path: Path, together: int) -> None:
    """One wins each number; the others find nothing new, or take the rest."""
    with Job(logs, 2) as job:
        for _ in train(job, 3):
            compactions = [start(logs, store) for _ in range(together)]
            for process in compactions:
                _, errors = process.communicate(timeout=60)
                assert process.returncode == 0, errors
    compact(logs, store)
    compact(logs, tmp_path / "whole")
    assert digests(store, numbers=False) == digests(tmp_path / "whole", numbers=False)
    with Store(store) as opened:
        assert opened.snapshot <= 4
    # The archives are those that snapshots name: the losers took theirs away.
    named = {name for (name,) in rows(store, "select archive from main.snapshots")}
    assert {path.name for path in StoreFiles(store).archive.iterdir()} == named


@pytest.mark.slow
def test_killed_at_any_time_and_run_again(logs: Path, store: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments; then the store is what an uninterrupted compaction makes."""
    record(logs, size=3, epochs=10)
    began = time.monotonic()
    whole = start(logs, tmp_path / "whole")
    whole.communicate(timeout=60)
    usual = time.monotonic() - began
    chance = random.Random(11)
    for number in range(many(80, 4)):
        process = start(logs, store)
        # Most of the time goes into starting Python, which kills nobody: half of them come late.
        time.sleep(chance.uniform(0.4 if number % 2 else 0.7, 1.05) * usual)
        process.kill()
        process.communicate(timeout=60)
        if StoreFiles(store).exists():
            with Store(store) as opened:
                assert opened.digests() == digests(tmp_path / "whole")
    compact(logs, store)
    assert digests(store) == digests(tmp_path / "whole")
    assert compact(logs, store).new is False


def test_leftovers_of_killed_compactions_do_no_harm(logs: Path, store: Path, tmp_path: Path) -> None:
    """Half-built files, whole or garbage, a stale write-ahead log beside the name, an archive that nothing names."""
    job = record(logs, size=2, epochs=1)
    files = StoreFiles(store)
    files.archive.mkdir(parents=True)
    (files.directory / "building-1-00ff00ff.lock").touch()
    (files.directory / "building-1-00ff00ff.duckdb").write_bytes(b"garbage")
    (files.directory / "building-1-00ff00ff.duckdb.wal").write_bytes(b"garbage")
    (files.archive / "1-00ff00ff").mkdir()
    store.with_name(store.name + ".wal").write_bytes(b"garbage of somebody")
    compact(logs, store)
    compact(logs, tmp_path / "whole")
    assert digests(store) == digests(tmp_path / "whole")
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("select count(*) from writers").fetchall() == [(2,)]
    # Not removed: it is somebody's.
    (aside,) = tmp_path.glob("prov.duckdb.wal.*.aside")
    assert aside.read_bytes() == b"garbage of somebody"
    assert {path.name for path in files.directory.iterdir()} == {"1.adjacency", "1.duckdb", "logs"}
    assert len(list(files.archive.iterdir())) == 1
    (files.directory / "building-2-00ff00ff.lock").touch()
    (files.directory / "building-2-00ff00ff.duckdb").write_bytes(files.newest().read_bytes()[: 1 << 20])
    record(logs, size=2, epochs=1)
    assert compact(logs, store).snapshot == 2
    numbered = {f"{number}.{kind}" for number in (1, 2) for kind in ("adjacency", "duckdb")}
    assert {path.name for path in files.directory.iterdir()} == {*numbered, "logs"}
    assert {run.writer.hex() for run in job.runs} <= {writer for (writer,) in rows(store, "select writer from writers")}


def test_a_reader_keeps_its_snapshot(logs: Path, store: Path) -> None:
    """Compactions that publish later ones neither disturb nor wait for it."""
    record(logs, size=1, epochs=1)
    compact(logs, store)
    with Store(store) as opened:
        before = opened.digests()
        for _ in range(4):
            record(logs, size=1, epochs=1)
            compact(logs, store)
        assert opened.digests() == before
        with Store(store) as later:
            assert (opened.snapshot, later.snapshot) == (1, 5)
            assert later.digests() != before


def test_readers_while_snapshots_are_published(logs: Path, store: Path) -> None:
    """A store can be opened at any moment, and is whole then."""
    record(logs, size=1, epochs=1)
    compact(logs, store)
    stop = threading.Event()
    seen: list[int] = []
    failed: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                with Store(store) as opened:
                    assert opened.snapshot == count(opened, "snapshots")
                    seen.append(opened.snapshot)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(6):
        record(logs, size=1, epochs=1)
        compact(logs, store)
    stop.set()
    thread.join()
    assert not failed
    assert seen == sorted(seen)


# incomplete logs


def test_a_rank_whose_log_is_gone_is_absent(logs: Path, store: Path) -> None:
    """The rest compacts; the answer names the rank that nothing is known of."""
    job = record(logs, size=3)
    shutil.rmtree(job.folder(1))
    done = compact(logs, store)
    assert len(done.states) == 2
    with Store(store) as opened:
        answer = opened.lineage("model:net")
        assert not answer.complete
        assert [(each.rank, each.writer, each.state) for each in answer.missing] == [(1, None, "absent")]
        assert rows(opened, "select status from runs") == [("incomplete",)]


def test_a_rank_that_was_never_closed_is_open_until_it_is(logs: Path, store: Path) -> None:
    """While it runs the answer is incomplete and says why; when it has ended, it is complete."""
    with Job(logs, 2) as job:
        for _ in train(job, 1):
            pass
        job[1].close()
        with made(logs, store) as opened:
            answer = opened.lineage("model:net")
            writer = job[0].writer.hex()
            assert [(each.rank, each.writer, each.state) for each in answer.missing] == [(0, writer, "open")]
    with made(logs, store) as opened:
        assert opened.lineage("model:net").complete
        assert not opened.lineage("model:net", at=1).complete


def test_a_torn_log_gives_what_it_holds(logs: Path, store: Path) -> None:
    """A tail that was cut off: the rows that are whole count, and the rank is named."""
    job = record(logs, size=2, epochs=1)
    (tail,) = job.folder(0).glob("tail-*")
    with tail.open("r+b") as file:
        file.truncate(4096)
    with made(logs, store) as opened:
        ((state, faults),) = rows(opened, "select state, faults from ranks where rank = 0")
        assert not WriterState(state).complete
        assert faults
        assert not opened.lineage("model:net").complete


# bad input


def test_no_logs(tmp_path: Path, store: Path) -> None:
    with pytest.raises(NotFoundError, match="is not a directory"):
        compact(tmp_path / "nowhere", store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no rank logs in"):
        compact(tmp_path / "empty", store)
    assert not store.exists()
    assert not store.with_name(store.name + ".d").exists()


def test_a_log_that_is_not_ours(tmp_path: Path, store: Path) -> None:
    """A directory with another program's files of the same names is no log, and is left alone."""
    other = tmp_path / "logs" / "run-1"
    other.mkdir(parents=True)
    (other / "header.json").write_text('{"format": "something else"}')
    (other / "tail-0").write_bytes(bytes(100))
    with pytest.raises(NotFoundError, match="no rank logs in"):
        compact(tmp_path / "logs", store)


def test_a_log_of_a_newer_format(logs: Path, store: Path) -> None:
    """It is refused with its place, and nothing is made of the others meanwhile."""
    job = record(logs, size=2, epochs=1)
    file = job.folder(1) / "header.json"
    header = unpack_header(file.read_bytes())
    file.write_bytes(pack_header({**header, "major": 99}))
    with pytest.raises(FormatTooNewError, match="format 99") as caught:
        compact(logs, store)
    assert str(job.folder(1)) in caught.value.__notes__
    assert not StoreFiles(store).exists()


def test_a_store_of_a_newer_format(logs: Path, store: Path) -> None:
    """Neither read nor written: update braid_hpc."""
    record(logs, size=1, epochs=1)
    with duckdb.connect(str(store)) as connection:
        connection.execute("create table meta (key varchar, value varchar)")
        connection.execute("insert into meta values ('format', 'braid store'), ('major', '99')")
    before = store.read_bytes()
    for call in (lambda: compact(logs, store), lambda: Store(store)):
        with pytest.raises(FormatTooNewError, match=r"store format 99.*update braid_hpc"):
            call()
    assert store.read_bytes() == before


@pytest.mark.parametrize("tables", [[], ["create table mine (x int)"], ["create table meta (a int)"]])
def test_a_database_that_is_no_store(logs: Path, store: Path, tables: list[str]) -> None:
    """Somebody's database is not written into, not even an empty one."""
    record(logs, size=1, epochs=1)
    with duckdb.connect(str(store)) as connection:
        connection.execute("create table x (y int); drop table x")
        for table in tables:
            connection.execute(table)
    before = store.read_bytes()
    for call in (lambda: compact(logs, store), lambda: Store(store)):
        with pytest.raises(InvalidInputError, match="is not a braid store"):
            call()
    assert store.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 300, b"short", b""])
def test_a_file_that_is_no_database(logs: Path, store: Path, content: bytes) -> None:
    """Somebody's file stays what it is."""
    record(logs, size=1, epochs=1)
    store.write_bytes(content)
    for call in (lambda: compact(logs, store), lambda: Store(store)):
        with pytest.raises(InvalidInputError, match="is not a"):
            call()
    assert store.read_bytes() == content


def test_no_store_is_named(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one the job's own counts, else the variable; two different ones are a question."""
    record(logs, size=1, epochs=1)
    with pytest.raises(InvalidInputError, match="name no stores: say which with --store"):
        compact(logs)
    monkeypatch.setenv("BRAID_STORE", str(tmp_path / "by-variable"))
    assert compact(logs).store == tmp_path / "by-variable"
    for name in ("a", "b"):
        from braid_hpc.run.recorder import Run

        Run("job", log_dir=tmp_path / "named", store=tmp_path / name).close()
        if name == "a":
            assert compact(tmp_path / "named").store == tmp_path / "a"
    with pytest.raises(InvalidInputError, match="name 2 stores: say which with --store"):
        compact(tmp_path / "named")


def test_a_place_that_cannot_be_written(logs: Path, tmp_path: Path) -> None:
    """One sentence that names the place."""
    record(logs, size=1, epochs=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another place"):
        compact(logs, tmp_path / "file" / "prov.duckdb")
    with pytest.raises(StorageError, match="choose another place"):
        compact(logs, "/proc/prov.duckdb")


def test_a_full_disk_changes_nothing(logs: Path, tmp_path: Path) -> None:
    """The snapshot before it stays the newest, nothing is left over, and with more space it goes on."""
    record(logs, size=1, epochs=1)
    with tmpfs(tmp_path / "small", "24m") as small:
        store = small / "prov.duckdb"
        compact(logs, store)
        before = digests(store)
        with one(logs) as job:
            stream = job[0].stream("big", {"x": "bytes"})
            for _ in range(40):
                stream.extend({"x": [os.urandom(1 << 20)]})
        with pytest.raises(BraidError) as caught:
            compact(logs, store)
        assert isinstance(caught.value, StorageError)
        assert "\n" not in str(caught.value)
        assert digests(store) == before
        assert sorted(path.name for path in StoreFiles(store).directory.iterdir()) == [
            "1.adjacency",
            "1.duckdb",
            "logs",
        ]
        assert len(list(StoreFiles(store).archive.iterdir())) == 1


def test_a_store_that_was_copied_without_its_directory(logs: Path, store: Path, tmp_path: Path) -> None:
    """One file is a store; a later compaction goes on from it."""
    record(logs, size=1, epochs=1)
    compact(logs, store)
    copy = tmp_path / "copied" / "my.duckdb"
    copy.parent.mkdir()
    shutil.copy(store, copy)
    assert digests(copy) == digests(store)
    assert compact(logs, copy).new is False
    record(logs, size=1, epochs=1)
    assert compact(logs, copy).snapshot == 2
    compact(logs, store)
    assert digests(copy) == digests(store)


def test_progress_is_told(logs: Path, store: Path) -> None:
    """Steps with how much of each is done."""
    record(logs, size=2, epochs=1)
    told: list[tuple[str, int, int]] = []
    compact(logs, store, progress=lambda *step: told.append(step))
    assert told[0][0] == "read"
    assert {"read", "resolve", "streams", "write"} <= {name for name, *_ in told}
    assert all(0 <= done <= total for _, done, total in told)


@pytest.mark.parametrize("room", ["9m", "14m", "19m"])
def test_a_disk_that_is_full_at_any_step(logs: Path, tmp_path: Path, room: str) -> None:
    """Whether the copy, the transaction or the archive does not fit: one sentence, and what was there stays."""
    record(logs, size=1, epochs=1)
    with tmpfs(tmp_path / "small", room) as small:
        store = small / "prov.duckdb"
        compact(logs, store)
        before = digests(store)
        with one(logs) as job:
            job[0].stream("big", {"x": "bytes"}).extend({"x": [os.urandom(1 << 20) for _ in range(12)]})
        with pytest.raises(StorageError) as caught:
            compact(logs, store)
        assert "\n" not in str(caught.value)
        assert digests(store) == before
        assert sorted(path.name for path in StoreFiles(store).directory.iterdir()) == [
            "1.adjacency",
            "1.duckdb",
            "logs",
        ]

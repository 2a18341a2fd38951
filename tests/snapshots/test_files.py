"""The files of a store: numbered, complete before they have their number, named last."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from braid_hpc.snapshots.files import KEEP, StoreFiles
from braid_hpc.vocabulary.errors import ConflictError, NotFoundError, StorageError


@pytest.fixture
def files(tmp_path: Path) -> StoreFiles:
    return StoreFiles(tmp_path / "prov.duckdb")


def publish(files: StoreFiles, number: int, content: bytes) -> None:
    """Build a snapshot of these bytes and publish it."""
    aside = files.begin(number - 1 if number - 1 in files.snapshots() else 0)
    aside.write_bytes(content)
    try:
        files.publish(aside, number)
    finally:
        files.discard(aside)


def test_there_is_no_store_at_first(files: StoreFiles) -> None:
    assert not files.exists()
    assert files.snapshots() == []
    with pytest.raises(NotFoundError, match=r"there is no store .*prov.duckdb: make one with 'braid compact"):
        files.newest()


def test_a_snapshot_has_its_number_when_it_is_whole(files: StoreFiles) -> None:
    """Until then it has a name that nobody reads."""
    aside = files.begin(0)
    aside.write_bytes(b"half")
    assert files.snapshots() == []
    files.publish(aside, 1)
    files.discard(aside)
    assert files.snapshots() == [1]
    assert files.newest() == files.snapshot(1)
    assert sorted(path.name for path in files.directory.iterdir()) == ["1.duckdb"]


def test_a_snapshot_cannot_be_changed(files: StoreFiles) -> None:
    publish(files, 1, b"one")
    assert files.snapshot(1).stat().st_mode & 0o777 == 0o444


def test_a_number_is_given_once(files: StoreFiles) -> None:
    """The second one gets an error, and the first one stays what it is."""
    publish(files, 1, b"one")
    with pytest.raises(ConflictError, match="has published snapshot 1"):
        publish(files, 1, b"other")
    assert files.snapshot(1).read_bytes() == b"one"


def test_the_name_is_the_newest_snapshot(files: StoreFiles) -> None:
    """The same file under two names; the one before stays for a reader that has just looked it up."""
    for number in range(1, 6):
        publish(files, number, str(number).encode())
        files.name_newest()
        assert files.path.samefile(files.snapshot(number))
        assert files.snapshots() == list(range(max(1, number - KEEP + 1), number + 1))
    assert [path.name for path in files.path.parent.iterdir() if path.name.startswith(".")] == []


def test_the_name_stands_for_the_newest_also_after_a_kill_in_between(files: StoreFiles) -> None:
    """Published, and then killed before it was named: the next call names it."""
    publish(files, 1, b"one")
    files.name_newest()
    publish(files, 2, b"two")
    assert files.path.read_bytes() == b"one"
    assert files.newest().read_bytes() == b"two"
    files.name_newest()
    assert files.path.read_bytes() == b"two"


def test_a_copy_begins_with_the_snapshot_it_builds_on(files: StoreFiles) -> None:
    """And with no other one, though a later one is there already."""
    for number in (1, 2):
        publish(files, number, str(number).encode())
    assert files.begin(1).read_bytes() == b"1"
    with pytest.raises(ConflictError, match="beyond snapshot 7"):
        files.begin(7)


def test_a_store_without_its_directory_is_one_file(files: StoreFiles) -> None:
    files.path.write_bytes(b"alone")
    assert files.exists()
    assert files.newest() == files.path
    assert files.begin(3).read_bytes() == b"alone"


def test_a_stale_write_ahead_log_is_moved_aside(files: StoreFiles) -> None:
    """It would be replayed into a file it does not belong to."""
    wal = files.path.with_name("prov.duckdb.wal")
    wal.write_bytes(b"stale")
    publish(files, 1, b"one")
    files.name_newest()
    assert not wal.exists()
    assert [path.read_bytes() for path in wal.parent.glob("*.aside")] == [b"stale"]


def test_many_publish_and_name_at_once(files: StoreFiles) -> None:
    """Each number is given once, and at the end the name stands for the last of them."""
    conflicts = []

    def work() -> None:
        for number in range(1, 31):
            try:
                publish(files, number, str(number).encode())
            except ConflictError as error:
                conflicts.append(error)
            files.name_newest()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conflicts) == 90
    assert files.path.read_bytes() == b"30"
    assert files.snapshots()[-1] == 30


def test_a_number_that_is_free_again_is_not_given(files: StoreFiles) -> None:
    """Others went so far beyond it that its snapshot was removed; what is published there would be lost."""
    publish(files, 1, b"one")
    slow = files.begin(1)
    first = files.begin(0)
    first.write_bytes(b"first")
    for number in range(2, KEEP + 4):
        publish(files, number, b"later")
        files.name_newest()
    assert 2 not in files.snapshots()
    for aside, number in ((slow, 2), (first, 1)):
        with pytest.raises(ConflictError, match=f"another compaction has published snapshot {number}"):
            files.publish(aside, number)
    assert files.snapshots() == [KEEP + 2, KEEP + 3]


def test_a_snapshot_that_was_made_again_is_not_added_to(files: StoreFiles) -> None:
    """A merge that had copied the old one begins again, and a rebuild does where a merge was faster."""
    publish(files, 1, b"wrong")
    merge, again, late = files.begin(1), files.begin(0), files.begin(0)
    for aside in (again, late):
        aside.write_bytes(b"right")
    files.index_of(again).write_bytes(b"index")
    files.replace(again, 1, [1])
    with pytest.raises(ConflictError, match=r"1.duckdb was made again, or replaced"):
        files.publish(merge, 2)
    assert files.snapshot(1).read_bytes() == files.path.read_bytes() == b"right"
    publish(files, 2, b"two")
    with pytest.raises(ConflictError, match="has gone beyond snapshot 1"):
        files.replace(late, 1, [1])
    assert files.newest().read_bytes() == b"two"
    for aside in (merge, again, late):
        files.discard(aside)
    assert sorted(path.name for path in files.directory.iterdir() if "building" in path.name) == []


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write beside .*: choose another place"):
        StoreFiles(tmp_path / "file" / "prov.duckdb").begin(0)


def test_the_index_of_the_edges_goes_with_its_snapshot(files: StoreFiles) -> None:
    """The winner of a number names its index, the loser's goes; one that is made of no snapshot is not there."""
    winner, loser = files.begin(0), files.begin(0)
    for aside, content in ((winner, b"winner"), (loser, b"loser")):
        aside.write_bytes(content)
        files.index_of(aside).write_bytes(content)
    files.publish(winner, 1)
    with pytest.raises(ConflictError):
        files.publish(loser, 1)
    files.discard(winner)
    files.discard(loser)
    assert files.adjacency(1).read_bytes() == b"winner"
    for number in range(2, KEEP + 2):
        publish(files, number, b"later")
    files.name_newest()
    assert not files.adjacency(1).exists()
    assert sorted(path.name for path in files.directory.iterdir() if "building" in path.name) == []


def test_names_that_only_look_like_snapshots(files: StoreFiles) -> None:
    files.directory.mkdir()
    for name in ("0.duckdb", "01.duckdb", "x.duckdb", "1.duckdb.wal", "building-1-2-3.duckdb", "-1.duckdb"):
        (files.directory / name).write_bytes(b"")
    assert files.snapshots() == []


# what a dead compaction leaves

FORK = """
import os, signal, sys
from braid_hpc.snapshots.files import StoreFiles
files = StoreFiles(sys.argv[1])
aside = files.begin(int(sys.argv[2]))
aside.write_bytes(b"half")
aside.with_name(aside.name + ".wal").write_bytes(b"half")
aside.with_name(aside.name + ".tmp").mkdir()
(aside.with_name(aside.name + ".tmp") / "spilled").write_bytes(b"much")
tag = files.tag(aside)
(files.archive / tag).mkdir(parents=True)
(files.archive / tag / "events.arrows").write_bytes(b"half")
files.arrays.mkdir(exist_ok=True)
(files.arrays / f"{tag}.h5").write_bytes(b"half")
if sys.argv[3] == "publish":
    files.publish(aside, int(sys.argv[2]) + 1)
print(tag, flush=True)
if sys.argv[3] == "live":
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def left_behind(files: StoreFiles, base: int, how: str) -> subprocess.Popen[str]:
    """Start a compaction of sorts that is killed, or that waits for the end of its input first."""
    command = [sys.executable, "-c", FORK, str(files.path), str(base), how]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tag_of(process: subprocess.Popen[str], *, wait: bool) -> str:
    assert process.stdout is not None
    tag = process.stdout.readline().strip()
    if wait:
        process.communicate(timeout=60)
    return tag


def everything(files: StoreFiles) -> set[str]:
    return {str(path.relative_to(files.directory)) for path in files.directory.rglob("*")}


def test_what_a_dead_compaction_left_is_removed(files: StoreFiles) -> None:
    """All of it, archive, arrays and what DuckDB put aside, whether its number was given to another one or not."""
    tag_of(left_behind(files, 0, "die"), wait=True)
    publish(files, 6, b"six")
    tag_of(left_behind(files, 6, "die"), wait=True)
    files.snapshot(6).unlink()
    assert len(everything(files)) > 10
    publish(files, 1, b"one")
    files.sweep(1, {"1-0"})
    assert everything(files) == {"1.duckdb", "logs", "arrays"}


def test_what_a_living_compaction_builds_stays(files: StoreFiles) -> None:
    """Its lock says that it lives, whatever its number; when it has died, the same is removed."""
    process = left_behind(files, 0, "live")
    tag = tag_of(process, wait=False)
    before = everything(files)
    assert f"logs/{tag}" in before
    mine = files.begin(0)
    files.sweep(0, set())
    files.discard(mine)
    assert everything(files) == before
    process.communicate("", timeout=60)
    files.sweep(0, set())
    assert everything(files) == {"logs", "arrays"}


def test_what_a_published_snapshot_names_stays(files: StoreFiles) -> None:
    """A compaction that was killed right after it had published leaves its file to build in, and nothing else."""
    tag = tag_of(left_behind(files, 0, "publish"), wait=True)
    # Whoever does not know the snapshot yet cannot tell, and leaves all of it.
    before = everything(files)
    files.sweep(0, set())
    assert everything(files) == before
    files.sweep(1, {tag})
    archive = {f"logs/{tag}", f"logs/{tag}/events.arrows", f"logs/{tag}/published"}
    assert everything(files) == {"1.duckdb", "logs", *archive, "arrays", f"arrays/{tag}.h5"}


def test_a_refusal_after_publishing_takes_nothing_away(files: StoreFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot is there, so its archive stays, though the disk could not confirm its name."""
    aside = files.begin(0)
    aside.write_bytes(b"whole")
    archive = files.archive / files.tag(aside)
    archive.mkdir(parents=True)
    synced = []

    def refuse(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="cannot publish snapshot 1"):
        files.publish(aside, 1)
    files.discard_kept(aside)
    files.discard(aside)
    assert archive.is_dir()
    assert files.snapshots() == [1]


def test_a_file_system_without_locks(files: StoreFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots are published there as well; nothing is taken for dead."""

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    tag_of(left_behind(files, 0, "die"), wait=True)
    before = everything(files)
    monkeypatch.setattr(fcntl, "flock", refuse)
    publish(files, 1, b"one")
    files.sweep(1, {"1-0"})
    assert everything(files) == before | {"1.duckdb"}

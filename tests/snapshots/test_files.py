"""The files of a store: numbered, complete before they have their number, named last."""

from __future__ import annotations

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
    aside = files.begin(0)
    aside.write_bytes(content)
    files.publish(aside, number)
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
    assert len(conflicts) <= 90
    assert files.path.read_bytes() == b"30"
    assert files.snapshots()[-1] == 30


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write beside .*: choose another place"):
        StoreFiles(tmp_path / "file" / "prov.duckdb").begin(0)


def test_names_that_only_look_like_snapshots(files: StoreFiles) -> None:
    files.directory.mkdir()
    for name in ("0.duckdb", "01.duckdb", "x.duckdb", "1.duckdb.wal", "building-1-2-3.duckdb", "-1.duckdb"):
        (files.directory / name).write_bytes(b"")
    assert files.snapshots() == []

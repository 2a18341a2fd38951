"""Who may read a store and its logs: whom the umask and the directory let, and in a shared directory its group."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from braid_hpc.cli.app import braid
from braid_hpc.compaction.compact import compact
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.store import Store
from tests.jobs import one

GROUP = 54321

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories to groups that it is not in")


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def shared(path: Path, mode: int, group: int = GROUP) -> Path:
    path.mkdir()
    os.chown(path, -1, group)
    path.chmod(mode)
    return path


def record(logs: Path) -> None:
    """A little of everything, and a log that is linked, as long ones are."""
    with one(logs) as job:
        job[0].array("a", np.arange(3.0))
        job[0].stream("s", {"x": "int64"}).extend({"x": np.arange(50_000)})
        job[0].data("d")


def modes_in(top: Path) -> dict[str, os.stat_result]:
    return {str(path.relative_to(top)): path.lstat() for path in [top, *top.rglob("*")]}


def made_in(place: Path, logs: Path) -> StoreFiles:
    record(logs)
    compact(logs, place / "s.duckdb")
    with Store(place / "s.duckdb") as store:
        store.invalidate("data:d", cause="no")
    return StoreFiles(place / "s.duckdb")


def test_nothing_is_readable_for_more_than_the_umask_lets(tmp_path: Path, umask: int) -> None:
    """Neither logs, nor snapshots, nor what lies beside them; and snapshots are not written."""
    files = made_in(tmp_path, tmp_path / "logs")
    for top in (tmp_path / "logs", files.directory, files.path):
        for name, found in modes_in(top).items():
            assert not stat.S_IMODE(found.st_mode) & umask, name
    for path in (files.path, files.newest(), *files.arrays.glob("*.h5")):
        assert not path.stat().st_mode & 0o222, path
        assert bool(path.stat().st_mode & 0o040) == (umask != 0o077), path


@as_root
def test_a_store_in_the_directory_of_a_group_is_the_groups_to_read(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, and wherever the logs lie; nobody else reads it."""
    place = shared(tmp_path / "proposal", 0o2750)
    files = made_in(place, tmp_path / "logs")
    with one(tmp_path / "logs") as job:
        job[0].data("more")
    compact(tmp_path / "logs", files.path)
    for name, found in modes_in(place).items():
        assert found.st_gid == GROUP, name
        wanted = 0o050 if stat.S_ISDIR(found.st_mode) else 0o040
        if not name.endswith(".lock"):
            assert found.st_mode & wanted == wanted, name
        if stat.S_ISDIR(found.st_mode) or umask & 0o007:
            assert not found.st_mode & 0o007, name
    assert not files.newest().stat().st_mode & 0o227


@as_root
def test_logs_in_the_directory_of_a_group_are_the_groups_to_read(tmp_path: Path) -> None:
    logs = shared(tmp_path / "logs", 0o2770)
    before = os.umask(0o027)
    try:
        record(logs)
    finally:
        os.umask(before)
    for name, found in modes_in(logs).items():
        assert (found.st_gid, found.st_mode & 0o007, bool(found.st_mode & 0o040)) == (GROUP, 0, True), name


@as_root
def test_a_log_of_others_is_not_linked_into_the_archive_of_a_group(tmp_path: Path) -> None:
    """Its own group and mode stay what they are, and the group reads a copy."""
    logs, place = tmp_path / "logs", shared(tmp_path / "proposal", 0o2750)
    record(logs)
    before = {name: (found.st_gid, found.st_mode) for name, found in modes_in(logs).items()}
    compact(logs, place / "s.duckdb")
    assert {name: (found.st_gid, found.st_mode) for name, found in modes_in(logs).items()} == before
    with Store(place / "s.duckdb") as store:
        digests = store.digests()
    assert CliRunner().invoke(braid, ["rebuild", str(place / "s.duckdb")]).exit_code == 0
    with Store(place / "s.duckdb") as store:
        assert store.digests() == digests


@as_root
@pytest.mark.parametrize("group", ["daemon", str(GROUP)])
def test_a_store_is_given_to_a_group(tmp_path: Path, group: str) -> None:
    """What was there before, and what comes later by others who do not say it."""
    number = 1 if group == "daemon" else GROUP
    before = os.umask(0o077)
    try:
        files = made_in(tmp_path, tmp_path / "logs")
        with one(tmp_path / "logs") as job:
            job[0].data("more")
        command = ["compact", str(tmp_path / "logs"), "--store", str(files.path), "--group", group]
        ran = CliRunner().invoke(braid, command)
        assert ran.exit_code == 0, ran.output
        with one(tmp_path / "logs") as job:
            job[0].data("and more")
        compact(tmp_path / "logs", files.path)
    finally:
        os.umask(before)
    for name, found in {**modes_in(files.directory), "name": files.path.stat()}.items():
        assert found.st_gid == number, name
        assert found.st_mode & 0o040 or name.endswith(".lock"), name
        assert not found.st_mode & 0o007, name


def test_a_group_that_there_is_not(tmp_path: Path) -> None:
    record(tmp_path / "logs")
    command = ["compact", str(tmp_path / "logs"), "--store", str(tmp_path / "s.duckdb"), "--group", "no-such-group"]
    ran = CliRunner().invoke(braid, command)
    assert (ran.exit_code, "there is no group 'no-such-group'" in ran.stderr) == (2, True)
    assert not (tmp_path / "s.duckdb").exists()

"""Each place keeps the contract, and what goes wrong in a directory leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pytest

from braid_hpc.results import local
from braid_hpc.results.local import LocalStorage
from braid_hpc.results.remote import RemoteStorage
from braid_hpc.results.storage import Storage, storage_of
from braid_hpc.results.testing import StorageContract
from braid_hpc.vocabulary.errors import InvalidInputError, MissingExtraError, NotFoundError, StorageError
from tests.rank_logs import tmpfs
from tests.results.tasks_there import TasksThere


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class TestLocal(StorageContract):
    def make(self, folder: Path) -> Storage:
        return LocalStorage(str(folder / "place"))

    def names(self, folder: Path) -> set[str]:
        return files_below(folder / "place")


class TestLocalWithNames(TestLocal):
    """On file systems that have no files without a name."""

    @pytest.fixture(autouse=True)
    def without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_WRONLY)  # which a directory refuses

    def test_a_name_aside_is_used(self, tmp_path: Path) -> None:
        def fill(_: BinaryIO) -> None:
            (name,) = files_below(tmp_path / "place")
            assert name.startswith(local.ASIDE)

        self.make(tmp_path).put("x.bin", fill)
        assert self.names(tmp_path) == {"x.bin"}


class TestMemory(StorageContract):
    keeps_times = False

    @pytest.fixture(autouse=True)
    def place(self) -> Iterator[str]:
        self.url = f"memory://{uuid.uuid4().hex}"
        yield self.url
        system, path = fsspec.core.url_to_fs(self.url)
        if system.exists(path):
            system.rm(path, recursive=True)

    def make(self, folder: Path) -> Storage:
        return RemoteStorage(self.url)

    def names(self, folder: Path) -> set[str]:
        system, path = fsspec.core.url_to_fs(self.url)
        return {name.removeprefix(f"{path}/") for name in system.find(path)}


class TestResultsHere(TasksThere):
    def place(self, folder: Path) -> tuple[str, dict[str, Any]]:
        return f"file://{folder}/place", {}


class TestResultsInMemory(TasksThere):
    shared = False

    @pytest.fixture(autouse=True)
    def name(self) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"

    def place(self, folder: Path) -> tuple[str, dict[str, Any]]:
        return self.url, {}


class TestMovedThere(StorageContract):
    """A place of fsspec at which a half of a file can be seen: it is sent aside and moved."""

    keeps_times = False

    def make(self, folder: Path) -> Storage:
        return RemoteStorage(f"file://{folder}/place")

    def names(self, folder: Path) -> set[str]:
        return files_below(folder / "place")


@pytest.mark.parametrize("size", [100, 17 << 20])
def test_large_files_go_through_the_disk(tmp_path: Path, size: int) -> None:
    storage = RemoteStorage(f"file://{tmp_path}/place")
    assert storage.put("x.bin", lambda file: file.write(bytes(size))).size == size
    assert (tmp_path / "place/x.bin").stat().st_size == size


# ---------------------------------------------------------------------- what a url names


def test_urls_name_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage_of("a b", {}) == LocalStorage(f"{tmp_path}/a b")
    assert storage_of(tmp_path / "a", {}) == LocalStorage(f"{tmp_path}/a")
    assert storage_of(f"file://{tmp_path}/a%20b", {}) == LocalStorage(f"{tmp_path}/a b")
    assert storage_of("s3://bucket/a/", {"anon": True}) == RemoteStorage("s3://bucket/a", (("anon", True),))
    assert storage_of("a b", {}).uri("ä.npy").endswith("/a%20b/%C3%A4.npy")


@pytest.mark.parametrize("url", ["", None, 3, "file://elsewhere/x", "file://"])
def test_other_places_are_refused(url: Any) -> None:
    with pytest.raises(InvalidInputError):
        storage_of(url, {})


def test_a_directory_takes_no_options() -> None:
    with pytest.raises(InvalidInputError, match="takes no anon="):
        storage_of("cells", {"anon": True})


def test_a_url_that_nobody_knows_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidInputError, match="nobody://x"):
        RemoteStorage("nobody://x").ready()


def test_a_missing_package_of_a_url_is_one_sentence() -> None:
    """S3 wants a package that is not among ours."""
    with pytest.raises(MissingExtraError, match=r"s3://bucket: .*s3fs") as caught:
        RemoteStorage("s3://bucket").ready()
    assert "\n" not in str(caught.value)


def test_passwords_are_not_shown() -> None:
    from braid_hpc.results import Result

    result = Result("s3://bucket", options={"secret": "hidden"})
    assert "hidden" not in repr(result)
    assert "hidden" not in repr(result.storage)


# ---------------------------------------------------------------------- links


def test_links_out_of_the_directory_are_not_followed(tmp_path: Path) -> None:
    """To write, to look, to read; and nothing is made there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.bin").write_bytes(b"secret")
    place = tmp_path / "place"
    place.mkdir()
    (place / "there").symlink_to(outside)
    (place / "x.bin").symlink_to(outside / "x.bin")
    storage = LocalStorage(str(place))
    calls: list[Callable[[], Any]] = [
        lambda: storage.put("there/new/y.bin", lambda _: None),
        lambda: storage.look("there/x.bin"),
        lambda: storage.open("there/x.bin"),
        lambda: storage.open("x.bin"),
        lambda: storage.look("x.bin"),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError, match="leads out of"):
            call()
    assert files_below(outside) == {"x.bin"}
    assert list(outside.iterdir()) == [outside / "x.bin"]


def test_a_link_at_the_target_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside.bin").write_bytes(b"theirs")
    (tmp_path / "place").mkdir()
    (tmp_path / "place/x.bin").symlink_to(tmp_path / "outside.bin")
    LocalStorage(str(tmp_path / "place")).put("x.bin", lambda file: file.write(b"ours"))
    assert (tmp_path / "outside.bin").read_bytes() == b"theirs"
    assert not (tmp_path / "place/x.bin").is_symlink()


def test_links_within_the_directory_and_above_it_are_followed(tmp_path: Path) -> None:
    """Staging directories often are links to a larger disk."""
    (tmp_path / "disk/b").mkdir(parents=True)
    (tmp_path / "staging").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/a").symlink_to("b")
    LocalStorage(str(tmp_path / "staging")).put("a/x.bin", lambda file: file.write(b"x"))
    assert (tmp_path / "disk/b/x.bin").read_bytes() == b"x"


# ---------------------------------------------------------------------- what goes wrong


def test_a_fifo_is_no_file(tmp_path: Path) -> None:
    """Nobody waits for what may never be written into it."""
    os.mkfifo(tmp_path / "x.bin")
    storage = LocalStorage(str(tmp_path))
    assert storage.look("x.bin") is None
    with pytest.raises(StorageError, match="not a regular file"):
        storage.open("x.bin")


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    storage = LocalStorage(str(tmp_path))
    with pytest.raises(StorageError, match=r"a/b\.bin: (Not a directory|File exists)"):
        storage.put("a/b.bin", lambda _: None)
    assert storage.look("a/b.bin") is None
    with pytest.raises(NotFoundError):
        storage.open("a/b.bin")


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files of this process end at 64 KiB, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("kind", ["Raw", "Npy", "Hdf5", "Zarr", "OmeTiff", "Png", "Parquet"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, small_files: None, kind: str) -> None:
    """Whatever the library makes of it."""
    import numpy as np

    import braid_hpc.results as results

    pixels = np.random.default_rng(0).integers(0, 256, (400, 500), dtype=np.uint8)
    value = {"Raw": pixels.tobytes(), "Parquet": {"pixels": pixels.reshape(-1)}}.get(kind, pixels)
    serializer = results.OmeTiff("YX") if kind == "OmeTiff" else getattr(results, kind)()
    target = results.LocalResult(tmp_path / "place", serializer=serializer).at("x", {})
    with pytest.raises(StorageError, match=r"/place/x cannot be written: File too large; nothing was left there"):
        target.write(value)
    assert files_below(tmp_path / "place") == set()


@pytest.mark.parametrize("kind", ["Npy", "Hdf5", "Zarr", "OmeTiff", "Png"])
def test_a_disk_without_room_keeps_what_was_there(tmp_path: Path, kind: str) -> None:
    """A real one, of a few pages: no part of a file and no other name is left, and the next small one is written."""
    import numpy as np

    import braid_hpc.results as results

    pixels = np.random.default_rng(0).integers(0, 256, (600, 600), dtype=np.uint8)
    serializer = results.OmeTiff("YX") if kind == "OmeTiff" else getattr(results, kind)()
    with tmpfs(tmp_path / "disk", "256k") as disk:
        target = results.LocalResult(disk / "place", serializer=serializer).at("x", {})
        written = target.write(pixels[:9, :9])
        for _ in range(2):
            with pytest.raises(StorageError, match=r"/x cannot be written: No space left on device; nothing was left"):
                target.write(pixels)
            assert np.array_equal(target.read(digest=written.digest), pixels[:9, :9])
            assert files_below(disk) == {"place/x"}
        assert target.write(pixels[:9, :8]).digest != written.digest


def test_a_dataset_for_which_there_is_no_room_changes_nothing(tmp_path: Path) -> None:
    """Readme and manifest are both those of before; and of an export nothing is left."""
    from braid_hpc.results import DatasetResult, LocalResult, Raw, Text, export_package, loaded
    from braid_hpc.results.export import open_dataset

    place = LocalResult(tmp_path / "texts", serializer=Text())
    rows = []
    for number in range(4000):
        target = place.at("{n}.txt", {"n": number})
        rows.append({"n": number, "text": target.lazy(target.write(f"text of {number}"))})
    with tmpfs(tmp_path / "disk", "256k") as disk:
        result = DatasetResult("texts", readme="Texts.", file_columns=["text"], within=disk)
        target = result.at("", {})
        target.write(rows[:9])
        before = {name: (disk / name).read_bytes() for name in files_below(disk)}
        assert set(before) == {"texts/README.md", "texts/manifest.parquet"}
        with pytest.raises(StorageError, match=r"manifest\.parquet cannot be written: No space left on device"):
            target.write(rows)
        assert {name: (disk / name).read_bytes() for name in files_below(disk)} == before
        elsewhere = DatasetResult("texts", readme="Texts.", file_columns=["text"], within=tmp_path / "all").at("", {})
        dataset = loaded(elsewhere.lazy(elsewhere.write(rows)))
        for export in (
            lambda: dataset.export(disk / "package"),
            lambda: dataset.export(f"file://{disk}/package"),
            lambda: export_package(dataset, disk / "registry", "lab/texts"),
        ):
            with pytest.raises(StorageError, match="No space left on device"):
                export()
            assert {name: (disk / name).read_bytes() for name in files_below(disk)} == before
        assert len(open_dataset(disk / "texts")) == 9
        LocalResult(disk, serializer=Raw()).at("small", {}).write(b"small")


KILLED = """
import os, signal, sys
from braid_hpc.results.local import LocalStorage

def fill(file):
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

LocalStorage(sys.argv[1]).put("x.bin", fill)
"""


@pytest.mark.parametrize("before", [b"", b"what was there"])
def test_a_process_killed_while_it_writes_leaves_what_was_there(tmp_path: Path, before: bytes) -> None:
    if before:
        (tmp_path / "x.bin").write_bytes(before)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert files_below(tmp_path) - {"x.bin"} == set()
    assert (tmp_path / "x.bin").exists() == bool(before)
    if before:
        assert (tmp_path / "x.bin").read_bytes() == before
    LocalStorage(str(tmp_path)).put("x.bin", lambda file: file.write(b"all of it"))
    assert (tmp_path / "x.bin").read_bytes() == b"all of it"


def test_files_have_the_mode_of_any_file(tmp_path: Path) -> None:
    """A group that may read the directory may read its results."""
    before = os.umask(0o027)
    try:
        LocalStorage(str(tmp_path)).put("x.bin", lambda _: None)
    finally:
        os.umask(before)
    assert (tmp_path / "x.bin").stat().st_mode & 0o777 == 0o640


TOGETHER = """
import sys
from mpi4py import MPI
from braid_hpc.results.local import LocalStorage

comm = MPI.COMM_WORLD
storage = LocalStorage(sys.argv[1])
for turn in range(50):
    data = bytes([comm.rank]) * (200_000 + comm.rank)
    comm.Barrier()
    stored = storage.put(f"deep/{turn % 5}/x.bin", lambda file: file.write(data))
    with storage.open(f"deep/{turn % 5}/x.bin") as file:
        found = file.read()
    assert len(found) == 200_000 + found[0], "a mixture"
    assert set(found) == {found[0]}, "a mixture"
"""


@pytest.mark.mpi_matrix
def test_ranks_that_write_one_target_at_once_leave_one_whole_file(run_ranks: Any, tmp_path: Path) -> None:
    """One of theirs, and nothing beside it; who reads meanwhile reads a whole one."""
    assert run_ranks(2, TOGETHER, tmp_path / "place").returncode == 0
    assert files_below(tmp_path / "place") == {f"deep/{turn}/x.bin" for turn in range(5)}

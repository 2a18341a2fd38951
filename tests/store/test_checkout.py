"""From a version back to files: verified, under a name of their own, and never over another file."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from blake3 import blake3

import braid_hpc as braid
from braid_hpc.run import contents
from braid_hpc.store.checkout import CheckedOut, WrittenFile
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import (
    ConflictError,
    CorruptLogError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from tests.jobs import Job, made, one
from tests.recorded_arrays import same

STATE = {"conv.weight": np.arange(9_000.0), "head": np.full((3, 2), 1.5, ">f4")}


def digest_of(path: Path) -> str:
    return f"blake3:{blake3(path.read_bytes()).hexdigest()}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Files that a program declared."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("frames.raw", "weights.pt", "kept.pt", "poni é.txt"):
        (folder / name).write_bytes(name.encode() * 1000)
    return folder


@pytest.fixture
def job(tmp_path: Path, files: Path) -> Job:
    with one(tmp_path / "logs") as job:
        run = job[0]
        run.model("net", state=STATE)
        run.model("net", state={**STATE, "head": np.zeros(2)})
        run.model("a/b ../c", state={"x": np.arange(3)})
        run.model("weights", state=files / "weights.pt")
        run.model("kept", state=files / "kept.pt", keep=True)
        run.model("bytes", state=b"some bytes")
        run.array("image", np.arange(9_000).reshape(90, 100))
        run.data("frames", path=files / "frames.raw")
        sha = hashlib.sha256((files / "frames.raw").read_bytes()).hexdigest()
        run.data("sha", uri=["s3://bucket/x", str(files / "frames.raw")], digest=f"SHA256:{sha.upper()}")
        run.data("odd", path=files / "frames.raw", digest="crc:1234")
        run.data("remote", uri="s3://bucket/key", digest="sha256:ab")
        run.data("nothing")
        run.fact("poni", path=files / "poni é.txt")
        run.fact("config", {"a": 1})
        with run.activity("train"):
            pass
    return job


@pytest.fixture
def store(job: Job, tmp_path: Path) -> Any:
    with made(job.logs, tmp_path / "prov.duckdb") as store:
        yield store


def bring(store: Store, reference: str, into: Path) -> WrittenFile:
    """Check a version out; what is returned is what lies there, and nothing else does."""
    done = store.checkout(reference, into=into)
    node = store.get(reference)
    assert isinstance(done, CheckedOut)
    assert (done.ref, done.uid, done.into) == (node.ref, node.uid, into)
    (written,) = done.files
    assert written.path.parent == into
    assert (written.digest, written.size) == (digest_of(written.path), written.path.stat().st_size)
    assert not list(into.glob(".braid-*"))
    return written


def test_a_state_becomes_an_npz_that_numpy_reads(store: Store, tmp_path: Path) -> None:
    """The same state makes the same bytes, so a second time it is there already."""
    written = bring(store, "model:net@1", tmp_path / "new" / "out")
    assert (written.path.name, written.source, written.already) == ("net@1.npz", "store", False)
    assert written.content == store.model("net@1").digest
    with np.load(written.path) as back:
        assert list(back) == list(STATE)
        assert all(same(back[name], array) for name, array in STATE.items())
    before = written.path.stat()
    again = bring(store, "model:net@1", tmp_path / "new" / "out")
    assert (again.already, again.digest) == (True, written.digest)
    assert written.path.stat().st_ino == before.st_ino
    assert bring(store, "model:net@2", tmp_path / "new" / "out").path.name == "net@2.npz"


def test_an_array_becomes_an_npy(store: Store, tmp_path: Path) -> None:
    written = bring(store, "image", tmp_path / "out")
    assert written.path.name == "image@1.npy"
    assert same(np.load(written.path), np.arange(9_000).reshape(90, 100))


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("frames", "frames.raw"),
        ("weights", "weights.pt"),
        ("kept", "kept.pt"),
        ("poni", "poni é.txt"),
        ("sha", "frames.raw"),
    ],
)
def test_a_file_comes_from_where_it_was(store: Store, files: Path, tmp_path: Path, reference: str, name: str) -> None:
    written = bring(store, reference, tmp_path / "out")
    assert written.path.name == name
    assert written.path.read_bytes() == (files / name).read_bytes()
    assert written.source == (files / name).as_uri()
    assert not written.weak
    # Where it lies it is there already, and stays.
    assert store.checkout(reference, into=files).files[0].already


def test_bytes_that_were_recorded_come_from_the_store(store: Store, files: Path, tmp_path: Path) -> None:
    """Also those of a file that is not there any more, or was changed; under its name."""
    assert bring(store, "bytes", tmp_path / "out").path == tmp_path / "out" / "bytes@1"
    expected = (files / "kept.pt").read_bytes()
    (files / "kept.pt").write_bytes(b"changed")
    written = bring(store, "kept", tmp_path / "out")
    assert (written.path.name, written.source, written.path.read_bytes()) == ("kept.pt", "store", expected)
    (files / "kept.pt").unlink()
    assert bring(store, "kept", tmp_path / "other").path.read_bytes() == expected


def test_what_is_not_there_is_named_with_the_reason(store: Store, files: Path, tmp_path: Path) -> None:
    """One sentence each, and no file is left behind, nor a directory made."""
    (files / "weights.pt").write_bytes(b"changed")
    (files / "frames.raw").unlink()
    for reference, said in [
        ("weights", f"model:weights@1 are not there: {files}/weights.pt has other bytes now; they were not recorded"),
        ("frames", f"data:frames@1 are not there: {files}/frames.raw is not there any more"),
        ("odd", "data:odd@1 are not there: a digest 'crc' cannot be verified here"),
        ("remote", "data:remote@1 are not there: s3://bucket/key is not a file of this machine"),
        ("nothing", "data:nothing@1 are not there: it was declared without a content"),
        ("config", "fact:config@1 are not there: neither they nor their place were recorded"),
    ]:
        with pytest.raises(NotFoundError) as told:
            store.checkout(reference, into=tmp_path / "out")
        assert str(told.value).startswith(f"the bytes of {said}")
        assert "\n" not in str(told.value)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    with pytest.raises(InvalidInputError, match="activity:train@1 is an activity"):
        store.checkout("train", into=tmp_path / "out")


def test_another_file_is_never_replaced(store: Store, tmp_path: Path) -> None:
    """Nor a directory, nor a link that leads nowhere; what is there stays as it is."""
    out = tmp_path / "out"
    (out / "net@2.npz").mkdir(parents=True)
    (out / "net@1.npz").write_bytes(b"mine")
    (out / "image@1.npy").symlink_to(out / "nowhere")
    for reference in ("net@1", "net@2", "image"):
        with pytest.raises(ConflictError, match="is there already and is another file"):
            store.checkout(reference, into=out)
    assert (out / "net@1.npz").read_bytes() == b"mine"
    assert sorted(path.name for path in out.iterdir()) == ["image@1.npy", "net@1.npz", "net@2.npz"]


def test_a_name_leads_nowhere_else(store: Store, tmp_path: Path) -> None:
    written = bring(store, '"a/b ../c"', tmp_path / "out")
    assert written.path.name == "a%2Fb ..%2Fc@1.npz"


@pytest.mark.parametrize("name", ["..", ".hidden", "x" * 300, "é" * 200, "a\nb", "/etc/passwd", "nul\\0"])
def test_names_of_any_kind_make_files(tmp_path: Path, name: str) -> None:
    with one(tmp_path / "logs") as job:
        job[0].model(name, state=b"abc")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        (uid,) = store.sql("select uid from versions")["uid"]
        written = bring(store, f"id:{uid}", tmp_path / "out")
        assert written.path.read_bytes() == b"abc"
        assert not written.path.name.startswith(".")


def test_a_uri_leads_nowhere_else(tmp_path: Path) -> None:
    """A log may name any path: what it is called in is the last part, and that only if it is a name."""
    folder = tmp_path / "files"
    folder.mkdir()
    with one(tmp_path / "logs") as job:
        job[0].data("folder", uri=f"{folder}/..", digest="blake3:00")
        job[0].model("kept", state=b"abc", uri=f"file://{folder}/..")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        with pytest.raises(NotFoundError, match="is not there any more"):
            store.checkout("folder", into=tmp_path / "out")
        assert bring(store, "kept", tmp_path / "out").path.name == "kept@1"


def test_a_large_file_that_was_not_read_is_weak(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "HASH_LIMIT", 100)
    with one(tmp_path / "logs") as job:
        job[0].data("large", path=files / "frames.raw")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        written = bring(store, "large", tmp_path / "out")
        assert (written.weak, written.content.partition(":")[0]) == (True, "stat")
        os.utime(files / "frames.raw", ns=(1, 1))
        with pytest.raises(NotFoundError, match="is another file, or was changed"):
            store.checkout("large", into=tmp_path / "other")


@pytest.mark.parametrize("into", [3, None, b"x", "a\0b"])
def test_what_is_no_directory_is_refused(store: Store, into: Any) -> None:
    ref = store.sql("select kind || ':' || name ref from versions where kind = 'model'")["ref"][0]
    with pytest.raises(InvalidInputError, match="is not the path of a directory"):
        store.checkout(ref, into=into)


def test_damaged_bytes_are_not_written(store: Store, tmp_path: Path) -> None:
    (path,) = (tmp_path / "prov.duckdb.d" / "arrays").glob("*.h5")
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        for dataset in file.values():
            if dataset.shape == (9_000,):
                dataset[5] = -1.0
    with pytest.raises(CorruptLogError, match=r"array 'conv\.weight' of model:net@1 do not carry their digest"):
        store.checkout("net@1", into=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_refusal_of_the_disk_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for reference in ("net@1", "frames", "bytes"):
        with pytest.raises(StorageError, match=r"cannot be written .No space left on device"):
            store.checkout(reference, into=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        store.checkout("net@1", into=tmp_path / "file")


@pytest.mark.parametrize("there", [False, True])
def test_without_hard_links_it_is_renamed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    if there:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "net@1.npz").write_bytes(b"mine")
        with pytest.raises(ConflictError):
            store.checkout("net@1", into=tmp_path / "out")
    else:
        assert not bring(store, "net@1", tmp_path / "out").already
        assert bring(store, "net@1", tmp_path / "out").already


def test_it_needs_no_log(job: Job, tmp_path: Path) -> None:
    """Once merged, the store alone has everything."""
    braid.compact(job.logs, tmp_path / "prov.duckdb")
    shutil.rmtree(job.logs)
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert bring(store, "net@1", tmp_path / "out").path.name == "net@1.npz"

"""``store.stage``: copies that carry the digests of their sources, and what lies beside them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest
from blake3 import blake3
from ophyd.sim import NumpySeqHandler

from braid_hpc.assets import Filler, Staged, filled
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import BraidError, ConflictError, InvalidInputError, NotFoundError, StorageError
from tests.assets.files import (
    DATA,
    events_of,
    images,
    uri_of,
    with_datums,
    with_stream,
    write_hdf5,
    write_npys,
    write_tiffs,
)
from tests.collectors.documents.instrument import Pair, record, stored
from tests.jobs import made, one


def scans(folder: Path) -> dict[str, list[Pair]]:
    """Give runs whose files are of each kind; two have files of one name."""
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).mkdir()
    kwargs = {"template": "%s%s_%6.6d.tif", "filename": "shot", "frame_per_point": 2}
    tiffs = uri_of(write_tiffs(folder / "b" / "tiffs", images(5)))
    npys = write_npys(folder / "a" / "stem", images(3))
    shape, points = (3, 4), [{"point_number": n} for n in range(2)]
    hdf5 = {name: write_hdf5(folder / name / "x y.h5", images(4) + len(name)) for name in ("a", "b")}
    write_hdf5(folder / "b" / "x y.h5", images(4) + 5)
    return {
        "npy": with_datums("NPY_SEQ", npys, {}, [{"index": 2}, {"index": 0}], shape),
        "tiff": with_datums("AD_TIFF", write_tiffs(folder / "a" / "tiffs", images(4)), kwargs, points, (2, *shape)),
        "hdf5": with_datums("AD_HDF5", hdf5["a"], {}, points, shape),
        "hdf5 stream": with_stream("application/x-hdf5", uri_of(hdf5["b"]), {"dataset": DATA}, (1, *shape), [(0, 4)]),
        "tiff stream": with_stream(
            "multipart/related;type=image/tiff", tiffs + "/", {"template": "shot_{:06d}.tif"}, (2, *shape), [(1, 2)]
        ),
    }


def everything(folder: Path) -> dict[str, bytes]:
    """Give the bytes of all files below a directory."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_whole(staged: Staged) -> None:
    """Hold that copies, digests and lists agree, and that nothing half-written is left."""
    listed = json.loads((staged.to / "stage.json").read_text())
    for each in staged.files:
        data = each.path.read_bytes()
        assert data == each.source.read_bytes()
        assert (each.size, each.digest) == (len(data), f"blake3:{blake3(data).hexdigest()}")
    by_path = {str(each.path.relative_to(staged.to)): each for each in staged.files}
    assert by_path.keys() <= {each["path"] for each in listed["files"]}
    assert {each["path"] for each in listed["files"]} == {f for f in everything(staged.to) if f.startswith("files/")}
    assert not [path for path in staged.to.rglob("*") if path.name.endswith(".part")]
    assert staged.root_map.items() <= json.loads((staged.to / "root-map.json").read_text()).items()


def test_the_files_of_scans_are_copied_and_read_from_the_copies(tmp_path: Path) -> None:
    """By the root map, and by the documents that lie beside them, here and in event-model."""
    cases = scans(tmp_path / "data")
    with stored(tmp_path, [pair for documents in cases.values() for pair in documents]) as store:
        uids = {name: documents[0][1]["uid"] for name, documents in cases.items()}
        expected = {name: events_of(filled(store.documents(uid))) for name, uid in uids.items()}
        staged = store.stage([uids["npy"], *(f"scan:{uid}" for uid in uids.values())], tmp_path / "out")
        check_whole(staged)
        names = [
            str(each.path.relative_to(tmp_path / "out" / "files" / str(tmp_path / "data")[1:])) for each in staged.files
        ]
        assert names == [
            *("a/stem_0.npy", "a/stem_2.npy", *(f"a/tiffs/shot_00000{n}.tif" for n in range(4)), "a/x y.h5"),
            *("b/tiffs/shot_000002.tif", "b/tiffs/shot_000003.tif", "b/x y.h5"),
        ]
        assert {each.path.name for each in staged.files if each.verified} == {"x y.h5"}
        shutil.move(tmp_path / "data", tmp_path / "gone")
        roots = json.loads((tmp_path / "out" / "root-map.json").read_text())
        for name, uid in uids.items():
            lines = [tuple(json.loads(line)) for line in staged.documents[uid].read_text().splitlines()]
            for found in (filled(store.documents(uid), root_map=roots), filled(lines)):
                events = events_of(found)
                assert len(events) == len(expected[name])
                for one_event, other in zip(events, expected[name], strict=True):
                    np.testing.assert_array_equal(one_event["data"]["img"], other["data"]["img"])
        with event_model.Filler(
            {"NPY_SEQ": NumpySeqHandler}, root_map=roots, inplace=False, retry_intervals=[]
        ) as filler:
            pairs = [filler(kind, document) for kind, document in store.documents(uids["npy"])]
        for one_event, other in zip(events_of(pairs), expected["npy"], strict=True):
            np.testing.assert_array_equal(one_event["data"]["img"], other["data"]["img"])


def test_a_second_call_goes_on_and_adds(tmp_path: Path) -> None:
    cases = scans(tmp_path / "data")
    with stored(tmp_path, [pair for documents in cases.values() for pair in documents]) as store:
        first = store.stage(cases["npy"][0][1]["uid"], tmp_path / "out")
        before = everything(tmp_path / "out")
        again = store.stage(cases["npy"][0][1]["uid"], tmp_path / "out")
        assert all(each.already for each in again.files)
        assert everything(tmp_path / "out") == before
        more = store.stage([documents[0][1]["uid"] for documents in cases.values()], tmp_path / "out")
        assert {each.path for each in more.files if each.already} == {each.path for each in first.files}
        check_whole(more)


KILLED = """
import sys
from braid_hpc import open
import braid_hpc.assets.copying as copying
count = 0
copy = copying._copy_bytes
def slow(source, file):
    global count
    count += 1
    if count == int(sys.argv[4]):
        file.write(b"half")
        file.flush()
        print("now", flush=True)
        import time
        time.sleep(600)
    return copy(source, file)
copying._copy_bytes = slow
with open(sys.argv[1]) as store:
    store.stage(sys.argv[2], sys.argv[3])
"""


@pytest.mark.parametrize("copy", [1, 3])
def test_killed_in_the_middle_it_leaves_whole_copies_and_goes_on(copy: int, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    kwargs = {"template": "%s%s_%6.6d.tif", "filename": "shot"}
    tiffs = write_tiffs(tmp_path / "data" / "tiffs", images(4, (50, 50)))
    documents = with_datums("AD_TIFF", tiffs, kwargs, [{"point_number": n} for n in range(4)], (50, 50))
    with stored(tmp_path, documents) as store:
        uid = documents[0][1]["uid"]
        arguments = [tmp_path / "prov.duckdb", uid, tmp_path / "out", str(copy)]
        with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"now\n"
            process.send_signal(signal.SIGKILL)
        left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        whole = [path for path in left if not path.name.endswith(".part")]
        assert (len(left), len(whole)) == (copy, copy - 1)
        assert all(path.read_bytes() == (tiffs / path.name).read_bytes() for path in whole)
        staged = store.stage(uid, tmp_path / "out")
        assert sum(each.already for each in staged.files) == copy - 1
        (part,) = set(left) - set(whole)
        # It might be that of somebody who is at work; later it cannot.
        assert part.exists()
        os.utime(part, (0, 0))
        check_whole(store.stage(uid, tmp_path / "out"))


def test_two_at_once_make_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = write_npys(tmp_path / "data" / "stem", images(30, (60, 60)))
    documents = with_datums("NPY_SEQ", path, {}, [{"index": n} for n in range(30)], (60, 60))
    with stored(tmp_path, documents) as store:
        command = [sys.executable, "-m", "braid_hpc", "stage", documents[0][1]["uid"], "--to", tmp_path / "out"]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "cwd": tmp_path}
        processes = [subprocess.Popen(command, **options) for _ in range(3)]  # type: ignore[call-overload]
        for process in processes:
            said = process.communicate(timeout=100)[0].decode()
            assert process.returncode == 0, said
        staged = store.stage(documents[0][1]["uid"], tmp_path / "out")
        assert all(each.already for each in staged.files)
        check_whole(staged)


def staged_problem(folder: Path, kind: str) -> tuple[Store, Any, str, type[BraidError]]:
    """Give a store, what is staged of it, the sentence, and its class."""
    cases = scans(folder / "data")
    path = folder / "data" / "a" / "x y.h5"
    other = with_datums("MY_OWN", folder / "data" / "nothing", {}, [{}], (1,))
    store = stored(folder, [pair for documents in (*cases.values(), other) for pair in documents])
    uid = cases["hdf5"][0][1]["uid"]
    if kind == "nothing named":
        return store, [], "nothing is named", InvalidInputError
    if kind == "unknown":
        return store, "scan:nobody", "nobody", NotFoundError
    if kind == "gone":
        (folder / "data" / "a" / "stem_2.npy").unlink()
        return (
            store,
            cases["npy"][0][1]["uid"],
            r"1 of 2 files are not there, nothing was copied: .*stem_2.npy",
            NotFoundError,
        )
    if kind == "changed":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        return store, uid, r"x y.h5 was changed after it was recorded", ConflictError
    if kind == "pipe":
        path.unlink()
        os.mkfifo(path)
        return store, uid, "1 of 1 files are not there", NotFoundError
    if kind == "other content":
        target = folder / "out" / "files" / str(path)[1:]
        target.parent.mkdir(parents=True)
        target.write_bytes(b"mine")
        return store, uid, r"x y.h5 is there already and is another file than .*x y.h5", ConflictError
    if kind == "other documents":
        (folder / "out" / "documents").mkdir(parents=True)
        (folder / "out" / "documents" / f"{uid}.jsonl").write_text("mine")
        return store, uid, r"jsonl is there already and is another file", ConflictError
    if kind == "other list":
        (folder / "out").mkdir()
        (folder / "out" / "stage.json").write_text("{}")
        return store, uid, r"stage.json is not a list that staging wrote", ConflictError
    if kind == "a file":
        (folder / "out").write_text("mine")
        return store, uid, "out is no directory", InvalidInputError
    if kind == "unknown spec":
        return store, other[0][1]["uid"], "cannot be staged: there is no reader for the spec 'MY_OWN'", NotFoundError
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("nothing named", "unknown", "gone", "changed", "pipe", "other content", "other documents", "other list"),
        *("a file", "unknown spec"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_half_written(kind: str, tmp_path: Path) -> None:
    store, refs, sentence, expected = staged_problem(tmp_path, kind)
    before = everything(tmp_path / "out") if (tmp_path / "out").is_dir() else {}
    with store, pytest.raises(expected, match=sentence) as caught:
        store.stage(refs, tmp_path / "out")
    assert "\n" not in str(caught.value)
    if (tmp_path / "out").is_dir():
        found = everything(tmp_path / "out")
        assert before.items() <= found.items()
        # What else there is are whole copies.
        for name in found.keys() - before.keys():
            assert found[name] == Path("/", name.removeprefix("files/")).read_bytes()


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known before, or met on the way: the copy that did not fit is not there."""
    cases = scans(tmp_path / "data")
    with stored(tmp_path, [pair for documents in cases.values() for pair in documents]) as store:
        uid = cases["tiff"][0][1]["uid"]
        with monkeypatch.context() as patch:
            state = os.statvfs(tmp_path)
            patch.setattr(os, "statvfs", lambda path: os.statvfs_result([*state[:4], 0, *state[5:10]]))
            with pytest.raises(
                StorageError, match=r"there is too little space in .*out: 1,120 bytes are needed, 0 are"
            ):
                store.stage(uid, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        synced: list[int] = []

        def full(descriptor: int) -> None:
            synced.append(descriptor)
            if len(synced) == 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("braid_hpc.assets.copying.os.fsync", full)
            with pytest.raises(StorageError, match=r"shot_000002.tif cannot be copied to .*: No space left on device"):
                store.stage(uid, tmp_path / "out")
        assert len(everything(tmp_path / "out")) == 2
        check_whole(store.stage(uid, tmp_path / "out"))


def test_versions_runs_directories_and_what_fed_them(tmp_path: Path) -> None:
    """A file, a directory, a run's products, and a model with all that it was made of; what has no file is told."""
    data = tmp_path / "data"
    (data / "set" / "deep").mkdir(parents=True)
    for name in ("set/1", "set/deep/1", "1"):
        (data / name).write_text(name)
    documents = with_datums("AD_HDF5", write_hdf5(data / "x.h5", images(2)), {}, [{"point_number": 0}], (3, 4))
    record(tmp_path / "logs", documents)
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    with one(tmp_path / "logs", "fit") as job:
        raw = job[0].data("raw", path=data / "x.h5")
        folder = job[0].data("set", uri=f"file://{data / 'set'}")
        far = job[0].data("far", uri="s3://bucket/key", digest="sha256:00")
        with job[0].activity("fit", used=[raw, folder, far]) as fit:
            fit.model("net", path=data / "1")
        job[0].fact("nothing", 3)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:

        def names(staged: Staged) -> list[str]:
            check_whole(staged)
            return [str(each.path.relative_to(staged.to / "files" / str(data)[1:])) for each in staged.files]

        assert names(store.stage("model:net", tmp_path / "a")) == ["1"]
        assert names(store.stage(["data:set", "model:net"], tmp_path / "b")) == ["1", "set/1", "set/deep/1"]
        up = store.stage("model:net", tmp_path / "c", up=True)
        assert names(up) == ["1", "set/1", "set/deep/1", "x.h5"]
        # The file that the job read has the content of the scan's, so the scan is above it.
        assert list(up.documents) == [documents[0][1]["uid"]]
        assert len(up.left) == 1
        assert up.left[0].startswith("data:far@1 has no file of this machine: s3://bucket/key is no file")
        run = store.sql("select run from runs where job = 'job'")["run"][0]
        assert names(store.stage(f"run:{run[:8]}", tmp_path / "d")) == ["x.h5"]
        for ref, sentence in (("data:far", "s3://bucket/key is no file"), ("fact:nothing", "has no uri")):
            with pytest.raises((NotFoundError, InvalidInputError), match=sentence):
                store.stage(ref, tmp_path / "e")
        os.symlink(data / "set" / "deep", data / "set" / "link")
        with pytest.raises(InvalidInputError, match="link is a link to a directory"):
            store.stage("data:set", tmp_path / "e")


def test_a_job_on_a_staged_copy_descends_from_the_scan(tmp_path: Path) -> None:
    """It says no more than the path of the copy: the content says the rest."""
    (tmp_path / "data").mkdir()
    path = write_hdf5(tmp_path / "data" / "x.h5", images(2))
    documents = with_stream("application/x-hdf5", uri_of(path), {"dataset": DATA}, (1, 3, 4), [(0, 2)])
    record(tmp_path / "logs", documents)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        (copy,) = store.stage(documents[0][1]["uid"], tmp_path / "out").files
    with one(tmp_path / "logs", "fit") as job:
        given = job[0].data("frames", path=copy.path)
        with job[0].activity("fit", used=[given]) as fit:
            fit.model("net", digest="m:1")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = {node.ref for node in store.lineage("model:net").nodes}
        assert f"scan:{documents[0][1]['uid']}@1" in found
        assert store.impact(f"scan:{documents[0][1]['uid']}").counts["model"] == 1


def test_files_that_were_moved_are_staged_under_their_old_paths(tmp_path: Path) -> None:
    cases = scans(tmp_path / "data")
    with stored(tmp_path, [pair for documents in cases.values() for pair in documents]) as store:
        uids = [documents[0][1]["uid"] for documents in cases.values()]
        os.rename(tmp_path / "data", tmp_path / "new")
        staged = store.stage(uids, tmp_path / "out", root_map={str(tmp_path / "data"): tmp_path / "new"})
        check_whole(staged)
        assert all(
            str(each.path).startswith(str(tmp_path / "out" / "files") + str(tmp_path / "data")) for each in staged.files
        )
        shutil.rmtree(tmp_path / "new")
        for uid in uids:
            with Filler(store.documents(uid), root_map=staged.root_map) as filler:
                assert np.asarray(filler.array("primary", "img")).size


def test_times_are_kept(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = write_npys(tmp_path / "data" / "stem", images(1))
    os.utime(f"{path}_0.npy", ns=(10**18, 10**18 + 1000))
    documents = with_datums("NPY_SEQ", path, {}, [{"index": 0}], (3, 4))
    with stored(tmp_path, documents) as store:
        (copy,) = store.stage(documents[0][1]["uid"], tmp_path / "out").files
    assert copy.path.stat().st_mtime_ns == 10**18 + 1000
    assert time.time_ns() > copy.path.stat().st_mtime_ns

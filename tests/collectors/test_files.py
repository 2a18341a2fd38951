"""What a program opens is recorded without a line of code, and what became of it is found out at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.collectors.files import FileCollector
from braid_hpc.collectors.testing import CollectorContract
from braid_hpc.run.job import job


class TestFilesContract(CollectorContract):
    module = "braid_hpc.collectors.files"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "fed"
        self.folder.mkdir()
        self.fed = 0

    def make(self, run: Any) -> Any:
        return FileCollector(run, include=["*/fed/*"])

    def feed(self, collector: Any, items: int) -> None:
        for _ in range(items):
            self.fed += 1
            (self.folder / f"{self.fed}.dat").write_text(f"{self.fed}")

    def spoil(self, collector: Any) -> None:
        where = os.open(self.folder, os.O_RDONLY)
        try:
            (self.folder / "a").touch()
            os.rename("a", "a", src_dir_fd=where, dst_dir_fd=where)
            os.remove(self.folder / "a")
        finally:
            os.close(where)

    def misuse(self, collector: Any) -> None:
        collector.seen(3)

    def recorded(self, store: Any) -> int:
        return len(store.sql("select * from versions where kind = 'data' and name like '%.dat'"))


def test_uses_and_generations_with_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads, writes, renames, removals and links, absolute and relative; failed opens and our own files are dropped."""
    monkeypatch.chdir(tmp_path)
    Path("raw.txt").write_text("raw")
    Path("old.txt").write_text("old")
    Path("sub").mkdir()

    @job("reduce", log_dir=tmp_path / "logs", files="auto")
    def main() -> None:
        raw = Path("raw.txt").read_text()
        with pytest.raises(FileNotFoundError):
            Path("nothing.txt").read_text()
        Path("part.tmp").write_text(raw * 2)
        os.rename("part.tmp", "result.txt")
        Path("scratch").write_text("gone")
        os.remove("scratch")
        os.link("result.txt", "linked.txt")
        os.chdir("sub")
        Path("below.txt").write_text("below")
        os.chdir("..")
        old = Path("old.txt").read_text()
        Path("old.txt").write_text(old + "new")
        with open("result.txt") as again:
            again.read()

    main()
    braid.compact("logs", "prov.duckdb")
    with braid.open("prov.duckdb") as store:
        versions = store.sql("select * from versions where kind = 'data'").to_pylist()
        names = sorted(row["name"] for row in versions)
        assert names == sorted(
            ["raw.txt", "result.txt", "linked.txt", "sub/below.txt", "old.txt", str(tmp_path / "old.txt")]
        )
        about = {row["name"]: row for row in versions}
        assert about["result.txt"]["digest"] == about["linked.txt"]["digest"]
        assert about["raw.txt"]["size"] == 3
        fed = {node.ref for node in store.lineage("data:result.txt").nodes}
        assert "data:raw.txt@1" in fed
        assert any(ref.startswith("activity:") for ref in fed)
        assert set(store.sql("select path from stream.files where state = 'verified'")["path"]) == {
            str(tmp_path / name) for name in ("result.txt", "linked.txt", "sub/below.txt", "old.txt")
        }


def test_a_copy_that_keeps_an_old_time_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old").write_text("old")
    os.utime("old", (1, 1))
    with braid.job("copy", log_dir="logs", files="auto"):
        shutil.copy2("old", "new")
    braid.compact("logs", "prov.duckdb")
    with braid.open("prov.duckdb") as store:
        assert {node.ref for node in store.lineage("data:new", kinds="data").nodes} == {"data:new@1", "data:old@1"}


def test_an_activity_has_the_files_of_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Path(name).write_text(name)
    with braid.job("reduce", log_dir="logs") as run, FileCollector(run, exclude=["*.log"]) as files:
        for name in ("one", "two"):
            with files.activity(f"make {name}"):
                Path(f"{name}.out").write_text(Path(name).read_text())
                Path("some.log").write_text("not of interest")
    braid.compact("logs", "prov.duckdb")
    with braid.open("prov.duckdb") as store:
        fed = {node.ref for node in store.lineage("data:one.out", kinds="data").nodes}
        assert fed == {"data:one.out@1", "data:one@1"}
        assert not store.sql("select * from versions where name = 'some.log'").to_pylist()


def test_what_is_opened_elsewhere_is_told(tmp_path: Path) -> None:
    """h5py opens its files in C, a child process in another process."""
    h5py = pytest.importorskip("h5py", reason="of the extra arrays")
    own = h5py.File.__init__
    with braid.job("reduce", log_dir=tmp_path / "logs") as run, FileCollector(run) as files:
        with files.h5py_file(tmp_path / "peaks.h5", "w") as file:
            file["group/peaks"] = [1.0, 2.0]
        subprocess.run([sys.executable, "-c", "open('child', 'w')"], cwd=tmp_path, check=True)
        files.seen(tmp_path / "child", "w")
    assert h5py.File.__init__ is own
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert {Path(name).name for name in store.sql("select name from versions where kind = 'data'")["name"]} == {
            "child",
            "peaks.h5",
        }
        (shape,) = store.sql("select text from tags where key = 'hdf5.group.peaks'")["text"]
        assert shape == "float64 (2,)"


KILLED = """
import os, pathlib, time
import braid_hpc as braid
from braid_hpc.collectors.files import FileCollector

run = braid.start("killed", log_dir="logs")
files = FileCollector(run)
pathlib.Path("half.txt").write_text("half")
files._note()
os.kill(os.getpid(), 9)
"""


def test_outputs_of_a_killed_rank_are_unverified(tmp_path: Path) -> None:
    """A thread notes about once a second what is being written; here it is called."""
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, timeout=60)
    assert done.returncode == -9
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        (row,) = store.sql("select distinct path, state from stream.files").to_pylist()
        assert row == {"path": str(tmp_path / "half.txt"), "state": "unverified"}
        assert not store.sql("select * from versions where kind = 'data'").to_pylist()


def test_threads_and_closed_collectors_leave_the_hook_idle(tmp_path: Path) -> None:
    """The hook cannot be removed; without a collector it appends nothing."""
    from braid_hpc.collectors import files as module

    with braid.job("reduce", log_dir=tmp_path / "logs") as run:
        files = FileCollector(run)
        worker = threading.Thread(target=lambda: (tmp_path / "by a thread").write_text("x"))
        worker.start()
        worker.join()
        files._fold()
        _, found = files._found[0]
        assert str(tmp_path / "by a thread") in found.places
        files.close()
        (tmp_path / "later").write_text("x")
        assert not files._taken
        assert all(taken is not files._taken for taken in module._taking)


def test_a_wrong_choice_is_told_and_the_program_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRAID_STRICT", "0")
    with braid.job("reduce", log_dir=tmp_path / "logs", files="all") as run:
        assert run
    assert "files= is 'auto' or a mapping" in capfd.readouterr().err


def edges(store: Any) -> set[tuple[str, str, str]]:
    """Give all edges by the names of their ends."""
    query = (
        "select c.name as child, e.relation, p.name as parent from edges e join nodes c on c.id = e.child "
        "join nodes p on p.id = e.parent"
    )
    return {(row["child"], row["relation"], row["parent"]) for row in store.sql(query).to_pylist()}


STAGES = """
import os, sys, threading
from pathlib import Path
import braid_hpc as braid

@braid.activity
def write():
    Path("part").write_text(Path("raw").read_text())

@braid.activity
def outer(number):
    Path("outer").write_text("outer")
    write()
    for name, target in (("thread", lambda: Path("thread").touch()), ("carried", lambda: Path("carried").touch())):
        worker = threading.Thread(target=braid.carry(target) if name == "carried" else target)
        worker.start()
        worker.join()
    return number

@braid.activity
def rename():
    os.replace("part", "whole")
    raise ZeroDivisionError

@braid.activity
def nothing():
    pass

@braid.job("stages", log_dir="logs", files="auto")
def main():
    outer(1)
    with braid.current_run().activity("block"):
        Path("block").write_text(Path("outer").read_text())
    try:
        rename()
    except ZeroDivisionError:
        nothing()
    Path("plain").touch()

main()
"""


@pytest.mark.parametrize("tail", ["", "python"])
def test_files_belong_to_the_innermost_activity(tmp_path: Path, tail: str) -> None:
    """Of calls, blocks, a call that fails, and carried threads; of the job where there is none, or a plain thread."""
    (tmp_path / "raw").write_text("raw")
    (tmp_path / "stages.py").write_text(STAGES)
    environment = {**os.environ, "BRAID_TAIL": tail}
    subprocess.run([sys.executable, "stages.py"], cwd=tmp_path, env=environment, timeout=60, check=True)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert edges(store) == {
            ("write", "wasStartedBy", "outer"),
            ("write", "used", "raw"),
            ("part", "wasGeneratedBy", "write"),
            ("outer", "wasGeneratedBy", "outer"),
            ("carried", "wasGeneratedBy", "outer"),
            ("thread", "wasGeneratedBy", "stages files"),
            ("block", "used", "outer"),
            ("block", "wasGeneratedBy", "block"),
            ("rename", "used", "part"),
            ("whole", "wasGeneratedBy", "rename"),
            ("plain", "wasGeneratedBy", "stages files"),
        }
        # A call that opens no file stays one row.
        states = store.sql("select name, status from activities order by name")
        assert dict(zip(states["name"], states["status"], strict=True)) == {
            **dict.fromkeys(("outer", "write", "block", "nothing", "stages files"), "ok"),
            "rename": "failed",
        }


CHILDREN = """
import multiprocessing, os, sys
from pathlib import Path
import braid_hpc as braid

@braid.activity
def made(name):
    Path(name).write_text(Path("raw").read_text())

def plain(name):
    Path(name).write_text(Path("raw").read_text())

with braid.job("children", log_dir="logs", files="auto"):
    Path("before").touch()
    fork = multiprocessing.get_context("fork")
    for target, name in ((made, "by an activity"), (plain, "by a worker")):
        worker = fork.Process(target=target, args=(name,))
        worker.start()
        worker.join()
    with fork.Pool(2) as pool:
        pool.map(made, ["in a pool"])
    child = os.fork()
    if not child:
        Path("by a fork").touch()
        sys.exit(0)
    os.waitpid(child, 0)
    Path("after").touch()
"""


def test_forked_processes_tell_of_their_own_files(tmp_path: Path) -> None:
    """Each file once, by the process that opened it, and what the parent did before is not told again."""
    (tmp_path / "raw").write_text("raw")
    subprocess.run([sys.executable, "-c", CHILDREN], cwd=tmp_path, timeout=60, check=True)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        rows = store.sql("select name, occurrences from versions where kind = 'data' and name <> 'raw'").to_pylist()
        assert {row["name"]: row["occurrences"] for row in rows} == dict.fromkeys(
            ["before", "by an activity", "by a worker", "in a pool", "by a fork", "after"], 1
        )
        assert ("in a pool", "wasGeneratedBy", "made") in edges(store)
        assert ("by a worker", "wasGeneratedBy", "children files") in edges(store)
        whose = "select count(distinct writer) from occurrences o join versions v using (id) where v.kind = 'data'"
        assert store.sql(whose).to_pylist() == [{"count(DISTINCT writer)": 5}]


IMPORTED_LATER = """
import sys
from pathlib import Path
import braid_hpc as braid

with braid.job("later", log_dir="logs", files="auto"):
    import h5py
    import torch
    with h5py.File("made.h5", "w") as file:
        file["x"] = [1, 2]
    with h5py.File("made.h5") as file:
        file["x"][:]
    torch.save([1], "model.pt")
assert "braid" not in h5py.File.__init__.__code__.co_filename
assert "braid" not in torch.save.__code__.co_filename
"""
#: Writes through the C library, as PyTorch writes its files in C++.
TORCH = """
import ctypes
def save(obj, f):
    c = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    c.fclose.argtypes = [ctypes.c_void_p]
    c.fclose(c.fopen(f.encode(), b"w"))
"""


def test_libraries_in_c_are_wrapped_as_soon_as_they_are_imported(tmp_path: Path) -> None:
    """h5py, and what stands in for PyTorch; when the job ends, their functions are their own again."""
    pytest.importorskip("h5py", reason="of the extra arrays")
    (tmp_path / "torch.py").write_text(TORCH)
    subprocess.run([sys.executable, "-c", IMPORTED_LATER], cwd=tmp_path, timeout=60, check=True)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        names = set(store.sql("select name from versions where kind = 'data'")["name"])
        assert names == {"made.h5", "model.pt"}
        assert "hdf5.x" in store.sql("select key from tags")["key"]


def test_patterns_and_limits_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file's digest is left to the merge; a temporary directory is removed and nothing is counted."""
    monkeypatch.chdir(tmp_path)
    about = {"include": ["*.dat"], "exclude": ["*/not/*"], "digest_limit": 10}
    with braid.job("patterns", log_dir="logs", files=about):
        Path("not").mkdir()
        for name in ("small.dat", "other.txt", "not/this.dat"):
            Path(name).write_text("small")
        Path("large.dat").write_text("large" * 10)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "gone.dat").touch()
    done = braid.compact("logs", "prov.duckdb")
    assert done.inspected == {"verified": 1}
    with braid.open("prov.duckdb") as store:
        rows = store.sql("select name, weak from versions where kind = 'data' order by name").to_pylist()
        assert rows == [{"name": "large.dat", "weak": True}, {"name": "small.dat", "weak": False}]
        assert "collector_losses" not in store.sql("select stream from streams")["stream"]


def test_paths_that_begin_at_a_descriptor_and_renamed_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never the file of the same name in the working directory; what nobody can place is counted."""
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("same.txt", "told.txt", "kept.txt", "sub/same.txt", "sub/told.txt", "sub/kept.txt"):
        Path(name).write_text(name)
    kept, where = os.open, os.open("sub", os.O_RDONLY)
    with braid.job("c", log_dir="logs", files="auto") as run:
        assert os.open in os.supports_dir_fd
        with run.activity("write"):
            Path("d1/e").mkdir(parents=True)
            Path("d1/e/f.txt").write_text("1")
            os.rename("d1", "d2")
        with run.activity("later"):
            os.rename("d2", "d3")
        with run.activity("read"):
            os.close(os.open("same.txt", os.O_RDONLY, dir_fd=where))
            with open("told.txt", opener=lambda path, flags: os.open(path, flags, dir_fd=where)):
                pass
            os.close(kept("kept.txt", os.O_RDONLY, dir_fd=where))
            os.close(os.open("sub/kept.txt", os.O_RDONLY))
    assert os.open is kept
    os.close(where)
    braid.compact("logs", "prov.duckdb")
    with braid.open("prov.duckdb") as store:
        names = store.sql("select name from versions where kind = 'data' and name like '%.txt' order by name")["name"]
        assert names == ["d2/e/f.txt", "d3/e/f.txt", "sub/kept.txt", "sub/same.txt", "sub/told.txt"]
        assert "data:d2/e/f.txt@1" in [node.ref for node in store.lineage("data:d3/e/f.txt").nodes]
        assert store.sql("select reason, count from stream.collector_losses").to_pylist() == [
            {"reason": "path that cannot be followed", "count": 1}
        ]

"""What a program opens is recorded without a line of code, and what became of it is found out at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
    with braid.job("reduce", log_dir=tmp_path / "logs") as run, FileCollector(run) as files:
        with files.h5py_file(tmp_path / "peaks.h5", "w") as file:
            file["group/peaks"] = [1.0, 2.0]
        subprocess.run([sys.executable, "-c", "open('child', 'w')"], cwd=tmp_path, check=True)
        files.seen(tmp_path / "child", "w")
    assert h5py
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
        assert str(tmp_path / "by a thread") in files._found.places
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

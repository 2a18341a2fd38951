"""Files that a program declares: their bytes, and what is known of the arrays in them."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.vocabulary.errors import BraidError


def test_files_connect_the_activities_that_wrote_and_read_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was written here and is read here is one record, as long as its bytes are the same."""
    monkeypatch.chdir(tmp_path)
    Path("raw.bin").write_bytes(b"raw")
    with braid.job("files", log_dir="logs") as run:
        with run.activity("first"):
            run.input("raw.bin")
            np.save("mid.npy", np.zeros((2, 3), ">i2"))
            made = run.output("mid.npy", tags={"level": 1})
        with run.activity("second"):
            assert run.input(tmp_path / "mid.npy") == made
            with h5py.File("end.h5", "w") as file:
                file["a/b"] = np.zeros(4)
            run.output("end.h5", stamp=True)
        Path("mid.npy").write_bytes(b"other")
        assert run.input("mid.npy") != made
        weak = run.input("raw.bin", name="large", digest=False)
    with h5py.File("end.h5") as file:
        assert run.writer.hex() in file.attrs["braid_hpc"]
    braid.compact("logs", "prov.duckdb")
    with braid.open("prov.duckdb") as store:
        fed = {node.ref for node in store.lineage("data:end.h5", kinds="data").nodes}
        assert fed == {"data:end.h5@1", "data:mid.npy@1", "data:raw.bin@1"}
        found = store.sql("select * from versions where name = 'mid.npy' and version = 1").to_pylist()[0]
        assert (found["dtype"], list(found["shape"])) == (">i2", [2, 3])
        digests = dict(
            store.sql("select name, digest from versions where kind = 'data'").to_arrow().to_pydict().items()
        )
        assert sum(digest.startswith("stat:") for digest in digests["digest"]) == 1
        tags = store.sql("select key, text from tags where key like 'hdf5%'").to_pylist()
        assert tags == [{"key": "hdf5.a.b", "text": "float64 (4,)"}]
        assert weak
        assert store.find("mtime_ns > 0")


@pytest.mark.parametrize("header", [b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", b"\x93NUMPY"])
def test_a_damaged_header_costs_the_shape_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: bytes) -> None:
    monkeypatch.setenv("BRAID_STRICT", "0")
    (tmp_path / "bad.npy").write_bytes(header)
    with braid.job("files", log_dir=tmp_path / "logs") as run:
        assert run.input(tmp_path / "bad.npy")


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with braid.job("files", log_dir=tmp_path / "logs") as run:
        for wrong in (tmp_path / "nothing", 3, tmp_path):
            with pytest.raises((BraidError, OSError)):
                run.input(wrong)
        monkeypatch.setenv("BRAID_STRICT", "0")
        assert not run.output(tmp_path / "nothing")


def test_digests_above_a_threshold_are_left_to_the_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the program says that none is wanted; a threshold that is none is told, and the digest is taken."""
    for name, size in (("small", 10), ("large", 11)):
        (tmp_path / name).write_bytes(bytes(size))
    with braid.job("files", log_dir=tmp_path / "logs") as run:
        monkeypatch.setenv("BRAID_DEFER_DIGESTS", "10")
        for name in ("small", "large"):
            run.input(tmp_path / name, name=name)
            run.input(tmp_path / name, name=f"{name} never", digest=False)
        with pytest.raises(BraidError, match="digest= is True, False or 'deferred', not 'later'"):
            run.input(tmp_path / "small", digest="later")
        monkeypatch.setenv("BRAID_STRICT", "0")
        monkeypatch.setenv("BRAID_DEFER_DIGESTS", "1 GB")
        assert run.input(tmp_path / "large", name="bad threshold")
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        rows = store.sql("select name, weak from versions where kind = 'data'").to_pylist()
        assert {row["name"]: row["weak"] for row in rows} == {
            "small": False,
            "large": True,
            "small never": True,
            "large never": True,
            "bad threshold": False,
        }
        assert store.sql("select name from inspections")["name"] == ["large"]
        (message,) = store.sql("select message from problems where code = 'rejected'")["message"]
        assert "BRAID_DEFER_DIGESTS is a number of bytes, not '1 GB'" in message


def test_what_never_ends_is_refused_and_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A FIFO and an endless device: read, written, stamped, as a state, as weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRAID_STRICT", raising=False)
    os.mkfifo("fifo")
    with braid.job("files", log_dir="logs") as run:
        for path in ("fifo", "/dev/zero"):
            assert not run.input(path)
            assert not run.output(path)
            assert not run.output(path, stamp=True)
            run.model("net", state=Path(path))
            run.data("named", path=path)
    assert "not a regular file" in capsys.readouterr().err

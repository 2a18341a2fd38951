"""Small files in the log: back byte for byte, each content once, and removed only when they are safe."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from braid_hpc.cli.app import braid
from braid_hpc.run.null import NullRun
from braid_hpc.store.attached import attached_files, read_attached, remove_attached
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from tests.jobs import Job, made, one, rows


def test_many_small_files_come_back(tmp_path: Path) -> None:
    """Texts, bytes that cannot be compressed, an empty file, and one as long as the limit, from two ranks."""
    chosen = random.Random(4)
    contents = [b"", b"mass: 0.1\n" * 50, chosen.randbytes(3000), chosen.randbytes(1 << 20), "ä\n".encode()]
    paths = []
    with Job(tmp_path / "logs", 2) as job:
        before = {path for path in (tmp_path / "logs").rglob("*") if path.is_file()}
        for number in range(40):
            path = tmp_path / f"file-{number}"
            path.write_bytes(contents[number % len(contents)] + (b"" if number < 20 else b"."))
            paths.append(path)
            if path.stat().st_size <= 1 << 20:
                assert job[number % 2].attach(path, name=path.name)
        after = {path for path in (tmp_path / "logs").rglob("*") if path.is_file()}
        assert len(after - before) <= 2 * 4, "no file for each file"
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        for path in paths:
            if path.stat().st_size <= 1 << 20:
                assert read_attached(store, path.name) == path.read_bytes()
        found = attached_files(store)
        assert read_attached(store, found["digest"][0]) == read_attached(store, found["name"][0])
        # Each content once for each rank.
        stored = rows(store, "select digest, _rank from stream.\"braid.attached\" where form in ('zlib', 'plain')")
        assert len(stored) == len(set(stored))
        assert rows(store, "select count(*) from versions where kind = 'file' and digest like 'blake3:%'") == [(36,)]


def test_a_large_file_stays(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is declared by its digest, that is said, and it is not removed."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * 101)
    with one(tmp_path / "logs") as job:
        assert job[0].attach(path, name="large", limit=100)
        assert job[0].attach(path, name="again", limit=101)
    assert "has more than 100 bytes, and stays where it is" in capfd.readouterr().err
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert attached_files(store)["form"] == ["zlib", "left"]
        with pytest.raises(NotFoundError, match="the bytes of large are not in the store"):
            read_attached(store, "large")
        assert remove_attached(store, ["large"]) == []
        assert len({row[0] for row in rows(store, "select digest from versions where kind = 'file'")}) == 1


def test_only_what_is_safe_is_removed(tmp_path: Path) -> None:
    """What has changed stays, and so does everything where nothing is known of it; a second time nothing is left."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("1")
    second.write_text("2")
    with one(tmp_path / "logs") as job:
        for path in (first, second):
            job[0].attach(path, name=path.name)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert remove_attached(store, dry_run=True) == [first, second]
        second.write_text("3")
        with pytest.raises(ConflictError, match="second has changed since it was attached"):
            remove_attached(store, ["second"])
        with pytest.raises(NotFoundError, match="no file 'third' was attached"):
            remove_attached(store, ["first", "third"])
        assert first.exists()
        assert remove_attached(store, ["first"]) == [first]
        assert remove_attached(store, ["first"]) == []
        assert (first.exists(), second.read_text()) == (False, "3")


def test_the_commands(tmp_path: Path) -> None:
    """Bytes go to stdout as they are, or into a file."""
    data = bytes(range(256))
    (tmp_path / "raw").write_bytes(data)
    with one(tmp_path / "logs") as job:
        job[0].attach(tmp_path / "raw", name="raw")
    store = tmp_path / "prov.duckdb"
    made(tmp_path / "logs", store).close()
    call = CliRunner().invoke
    assert call(braid, ["files", "get", "raw", "--store", str(store)]).stdout_bytes == data
    assert call(braid, ["files", "get", "raw", "--store", str(store), "--into", str(tmp_path / "copy")]).exit_code == 0
    assert (tmp_path / "copy").read_bytes() == data
    assert "raw" in call(braid, ["files", "list", "--store", str(store)]).stdout
    assert call(braid, ["files", "get", "none", "--store", str(store)]).exit_code == 3
    assert str(tmp_path / "raw") in call(braid, ["files", "remove", "--store", str(store)]).stdout


def test_what_cannot_be_attached(tmp_path: Path) -> None:
    """A recording call raises nothing; nothing is in a store of which nothing was attached."""
    with one(tmp_path / "logs") as job, pytest.MonkeyPatch.context() as patch:
        for path, error in ((tmp_path / "none", OSError), (3, InvalidInputError), (tmp_path, OSError)):
            with pytest.raises(error):
                job[0].attach(path)
        patch.setenv("BRAID_STRICT", "0")
        assert not job[0].attach(tmp_path / "none")
    assert not NullRun().attach("x")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert len(attached_files(store)) == len(remove_attached(store)) == 0
        assert isinstance(store, Store)
        with pytest.raises(NotFoundError):
            read_attached(store, "x")

"""Logs in node bundles: they are read as directories are, and nothing reaches beyond a temporary place."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import braid_hpc as braid
from braid_hpc.log.bundle import ZEROS_LEFT_OUT, members_of, pack_member, piece_of
from braid_hpc.log.node_bundle import NodeBundles
from braid_hpc.log.pieces import WriterFiles
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import BraidWarning, CorruptLogError, FormatTooNewError, NotFoundError
from tests.jobs import Job, digests

WRITER = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for what is unpacked, which has to be empty afterwards."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def bundle(logs: Path, target: Path, node: str = "n1") -> None:
    """Bring all logs of a directory."""
    bundles = NodeBundles(target, node)
    bundles.look()
    for source in sorted(logs.iterdir()):
        files = WriterFiles(source)
        for part in (files.events, files.streams, files.arrays):
            for piece in part(bundles.held(source.name)):
                bundles.add(source.name, piece, bundles.moment())
    bundles.mark()


def written(place: Path, *members: bytes, about: object = None) -> Path:
    """Write a bundle by hand."""
    place.mkdir(exist_ok=True)
    told = {"format": "braid node bundle", "major": 1, "minor": 0} if about is None else about
    path = place / "n1-00000000.braid.tar"
    path.write_bytes(b"".join([pack_member("bundle.json", json.dumps(told).encode(), time=1), *members]))
    return path


def record(logs: Path, name: str = "fit") -> None:
    with Job(logs, 2, name=name) as job:
        for rank, run in enumerate(job.runs):
            config = run.fact("config", {"threshold": 40})
            run.model("net", digest=f"w:{rank}", derived_from=config)
            run.stream("n", {"n": "int64"}).extend({"n": list(range(6_000))})


def test_bundles_and_directories_at_any_depth_are_one_directory_of_logs(tmp_path: Path, temporary: Path) -> None:
    """A store made of them has the digests of one that was made of the directories; nothing is left behind."""
    record(tmp_path / "logs" / "a")
    record(tmp_path / "logs" / "b")
    bundle(tmp_path / "logs" / "a", tmp_path / "shared" / "attempt-0")
    (tmp_path / "shared" / "attempt-0" / "direct").mkdir()
    (tmp_path / "logs" / "b").rename(tmp_path / "shared" / "attempt-0" / "direct" / "b")
    braid.compact(tmp_path / "shared", tmp_path / "from-bundles.duckdb")
    (tmp_path / "shared" / "attempt-0" / "direct" / "b").rename(tmp_path / "logs" / "b")
    braid.compact(tmp_path / "logs", tmp_path / "from-directories.duckdb")
    assert digests(tmp_path / "from-bundles.duckdb") == digests(tmp_path / "from-directories.duckdb")
    assert list(temporary.iterdir()) == []
    again = braid.compact(tmp_path / "logs" / "a", tmp_path / "from-bundles.duckdb")
    assert not again.new


def test_one_bundle_may_be_named(tmp_path: Path) -> None:
    record(tmp_path / "logs")
    bundle(tmp_path / "logs", tmp_path / "shared")
    (path,) = (tmp_path / "shared").iterdir()
    with opened_logs(path) as found:
        assert [read_writer(each).state for each in found] == [WriterState.CLOSED] * 2


def test_bundles_of_nodes_are_apart_and_a_copy_of_a_log_counts_once(tmp_path: Path) -> None:
    """Two nodes that both saw a directory bring it twice; it is one log."""
    record(tmp_path / "logs")
    bundle(tmp_path / "logs", tmp_path / "shared", "n1")
    bundle(tmp_path / "logs", tmp_path / "shared", "n2")
    bundle(tmp_path / "logs", tmp_path / "more", "n1")
    assert len(list((tmp_path / "shared").iterdir())) == 2
    (tmp_path / "more").rename(tmp_path / "shared" / "more")
    with opened_logs(tmp_path / "shared") as found:
        assert len(found) == 4
    assert braid.compact(tmp_path / "shared", tmp_path / "prov.duckdb").writers == 2


def test_a_piece_that_does_not_carry_its_digest_costs_that_piece(tmp_path: Path) -> None:
    """An earlier one of its place counts, and what stands behind it in the bundle too."""
    header = f"{WRITER}/header.json"
    damaged = bytearray(pack_member(header, b"new", time=3))
    damaged[damaged.index(b"new", 1536 - 512)] ^= 1
    written(
        tmp_path / "logs",
        pack_member(header, b"old", time=2),
        bytes(damaged),
        pack_member(f"{WRITER}/tail-000001", b"tail", time=4),
    )
    with opened_logs(tmp_path / "logs") as (found,):
        assert (found / "header.json").read_bytes() == b"old"
        assert (found / "tail-000001").read_bytes() == b"tail"


def test_a_file_is_as_long_as_its_latest_piece_says(tmp_path: Path) -> None:
    """It may have been cut off, extended with zeros, or be gone."""
    name = f"{WRITER}/tail-000001"
    written(
        tmp_path / "logs",
        pack_member(f"{WRITER}/header.json", b"{}", time=1),
        pack_member(name, b"abcdef", time=1),
        pack_member(name, b"", offset=4, size=4, time=2),
        pack_member(f"{WRITER}/tail-000002", b"abc", size=9, time=2),
        pack_member(f"{WRITER}/tail-000003", b"abc", time=2),
        pack_member(f"{WRITER}/tail-000003", b"", time=3, gone=True),
    )
    with opened_logs(tmp_path / "logs") as (found,):
        names = {path.name: path.read_bytes() for path in found.iterdir()}
    assert names == {"header.json": b"{}", "tail-000001": b"abcd", "tail-000002": b"abc\0\0\0\0\0\0"}


@pytest.mark.parametrize("size", [ZEROS_LEFT_OUT + 4, 1 << 62])
def test_a_size_without_bytes_is_refused(tmp_path: Path, temporary: Path, size: int) -> None:
    """A few bytes that say they are an exabyte are not unpacked, and neither is a piece at the end of one."""
    written(tmp_path / "logs", pack_member(f"{WRITER}/tail-000001", b"abc", offset=size - 3, size=size, time=1))
    with (
        pytest.warns(BraidWarning, match="of which hardly any are there"),
        opened_logs(tmp_path / "logs") as (found,),
    ):
        assert list(found.iterdir()) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("about", [{}, [], {"format": "something"}, {"format": "braid node bundle", "major": "x"}])
def test_what_does_not_say_that_it_is_a_bundle_is_refused(tmp_path: Path, about: object) -> None:
    written(tmp_path / "logs", about=about)
    with pytest.raises((CorruptLogError, FormatTooNewError)), opened_logs(tmp_path / "logs"):
        pass


@pytest.mark.parametrize("what", [pack_member("round", b"", time=1), bytes(pack_member("../../x", b"", time=1))])
def test_a_file_that_is_no_bundle_costs_no_other_log(tmp_path: Path, what: bytes) -> None:
    """Somebody's file among those of a hundred nodes."""
    record(tmp_path / "logs")
    bundle(tmp_path / "logs", tmp_path / "shared")
    (tmp_path / "shared" / "odd.braid.tar").write_bytes(what)
    with (
        pytest.warns(BraidWarning, match=r"odd\.braid\.tar is no node bundle"),
        opened_logs(tmp_path / "shared") as found,
    ):
        assert [read_writer(each).state for each in found] == [WriterState.CLOSED] * 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    record(folder / "logs")
    bundle(folder / "logs", folder / "shared")
    (path,) = (folder / "shared").iterdir()
    return path.read_bytes()


@given(st.data())
def test_a_flipped_bit_costs_one_member_and_is_told(whole: bytes, data: st.DataObject) -> None:
    """In its headers or its bytes: all others are read, none is what it was not, and a hole is told."""
    members = list(members_of(io.BytesIO(whole), name="whole"))
    starts = [0, *(member.after for member in members[:-1])]
    hit = data.draw(st.integers(0, len(members) - 1))
    where = data.draw(st.integers(starts[hit], members[hit].after - 1))
    damaged = bytearray(whole)
    damaged[where] ^= 1 << data.draw(st.integers(0, 7))
    told: list[tuple[int, int]] = []
    file = io.BytesIO(damaged)
    found = list(members_of(file, name="flipped", damaged=told))
    assert [member for member in members if member not in found] in ([], [members[hit]])
    assert set(found) <= set(members)
    assert all(
        piece_of(file, member) is not None for member in found if member is not members[hit] and member != members[hit]
    )
    if members[hit] not in found and hit < len(members) - 1:
        assert told == [(starts[hit], members[hit].after)]
    else:
        assert told == []


def test_a_newer_major_version_is_refused_by_its_number(tmp_path: Path) -> None:
    written(tmp_path / "logs", about={"format": "braid node bundle", "major": 2})
    with pytest.raises(FormatTooNewError, match="bundle format 2"), opened_logs(tmp_path / "logs"):
        pass


def test_bundles_without_a_piece_hold_no_logs(tmp_path: Path) -> None:
    """Those that were only begun, one that is empty, and one that is cut off within its first member."""
    path = written(tmp_path / "logs")
    (tmp_path / "logs" / "n1-00000001.braid.tar").touch()
    (tmp_path / "logs" / "n1-00000002.braid.tar").write_bytes(path.read_bytes()[:700])
    with pytest.raises(NotFoundError, match="hold none yet"), opened_logs(tmp_path / "logs"):
        pass

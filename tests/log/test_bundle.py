"""Node bundles: what a member says, what a torn or a stranger's file does, and which pieces of a log are brought."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_128_hexdigest

import braid_hpc as braid
from braid_hpc.log import bundle, pieces
from braid_hpc.log.bundle import LARGEST_PIECE, Member, members_of, pack_member, piece_of
from braid_hpc.log.node_bundle import NodeBundles
from braid_hpc.log.pieces import HeldFile, WriterFiles, tail_image
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.tails import read_tail
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import CorruptLogError, StorageError
from tests.rank_logs import small_tails

WRITER = "0123456789abcdef" * 2
HEADER = f"{WRITER}/header.json"


def ship(source: Path, bundles: NodeBundles, files: WriterFiles) -> int:
    """Bring what is new of one log; returns the bytes."""
    before = bundles.written
    bundles.look()
    moment = bundles.moment()
    for part in (files.events, files.streams, files.arrays):
        for piece in part(bundles.held(source.name)):
            bundles.add(source.name, piece, moment)
        bundles.flush()
    bundles.mark()
    files.arrived()
    return bundles.written - before


def contents(directory: Path) -> dict[str, bytes]:
    """Give all files of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def read(data: bytes) -> list[Member]:
    return list(members_of(io.BytesIO(data), name="a.braid.tar"))


def test_a_member_is_what_was_packed_and_any_tar_reads_it() -> None:
    """Name, place, size and bytes come back, and the standard library finds the same members."""
    data = pack_member(HEADER, b"abc", offset=7, size=20, time=5) + pack_member(HEADER, b"", time=6, gone=True)
    first, second = read(data)
    assert (first.name, first.offset, first.size, first.time, first.gone) == (HEADER, 7, 20, 5, False)
    assert piece_of(io.BytesIO(data), first) == b"abc"
    assert second.gone
    assert second.after == len(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [info.name for info in tar] == [HEADER, HEADER]
        assert [info.pax_headers["BRAID.offset"] for info in tar] == ["7", "0"]


def test_every_cut_of_a_bundle_is_a_beginning_of_it() -> None:
    """However much of the last append is there, the members before it are, and it is not."""
    first, second = pack_member(HEADER, b"x" * 700, time=1), pack_member(HEADER, b"y" * 9, time=2)
    for length in range(0, len(first) + len(second), 37):
        assert len(read((first + second)[:length])) == (length >= len(first))


def test_a_flipped_bit_in_a_member_never_puts_bytes_somewhere_else() -> None:
    """Whatever bit it is, each member that is still believed says what was packed, or its bytes fail their digest."""
    packed = pack_member(HEADER, b"abc", offset=70_000, size=70_003, time=5)
    (whole,) = read(packed)
    for place in range(len(packed) * 8):
        data = bytearray(packed)
        data[place // 8] ^= 1 << place % 8
        try:
            found = read(bytes(data))
        except CorruptLogError:
            continue
        for member in found:
            assert member == whole or piece_of(io.BytesIO(bytes(data)), member) is None


def link(name: str, sort: bytes, target: str = "/etc/passwd") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = sort, target
    return info.tobuf(tarfile.USTAR_FORMAT)


def member(name: str, *, told: dict[str, str] | None = None, size: int | None = None, sort: bytes = b"0") -> bytes:
    """Pack a member as somebody else might."""
    info = tarfile.TarInfo(name)
    info.size, info.type = 3 if size is None else size, sort
    info.pax_headers = {} if told is None else told
    return info.tobuf(tarfile.PAX_FORMAT) + b"abc".ljust(512, b"\0")


HOSTILE = {
    "link": link(HEADER, tarfile.SYMTYPE),
    "hard link": link(HEADER, tarfile.LNKTYPE),
    "device": link(HEADER, tarfile.CHRTYPE),
    "FIFO": link(HEADER, tarfile.FIFOTYPE),
    "directory": link(WRITER, tarfile.DIRTYPE),
    "plain": link(HEADER, tarfile.REGTYPE),
    "absolute": pack_member("/tmp/header.json", b"abc", time=1),
    "above": pack_member(f"../{WRITER}/header.json", b"abc", time=1),
    "within": pack_member(f"{WRITER}/../header.json", b"abc", time=1),
    "unknown file": pack_member(f"{WRITER}/.bashrc", b"abc", time=1),
    "deeper": pack_member(f"{WRITER}/a/header.json", b"abc", time=1),
    "no place": member(HEADER, told={"comment": "x"}),
    "a pax size": member(HEADER, told={"size": "99999999999999"}),
    "a pax path": member(HEADER, told={"path": "/etc/passwd"}),
    "a large piece": member(HEADER, told={"BRAID.offset": "0"}, size=LARGEST_PIECE + 1),
    "beyond its file": pack_member(HEADER, b"abc", offset=9, size=5, time=1),
    "a long pax header": member(HEADER, told={"comment": "x" * 100_000}),
    "linked piece": member(HEADER, told={"BRAID.offset": "0"}, sort=b"2"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_strangers_tar_is_refused_in_one_sentence(what: str, tmp_path: Path) -> None:
    """Nothing that a tar may hold beside pieces of logs is acted upon, and the message says what it was."""
    data = pack_member("bundle.json", b'{"format": "braid node bundle", "major": 1}', time=1) + HOSTILE[what]
    with pytest.raises(CorruptLogError, match=r"is no node bundle: it .* so nothing of it is read") as found:
        read(data)
    assert "\n" not in str(found.value)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.braid.tar").write_bytes(data)
    with pytest.raises(CorruptLogError), opened_logs(tmp_path / "logs"):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.braid.tar", "logs"]


def test_a_number_that_is_none_is_refused() -> None:
    """Negative, signed, spaced and very long numbers in a header that carries its check."""
    for bad in ("-1", "+1", " 1", "1_0", "9" * 25, "", "\u0661"):
        told = {"BRAID.offset": bad, "BRAID.size": "3", "BRAID.time": "1", "BRAID.gone": "0", "BRAID.xxh3": "0" * 32}
        data = member(HEADER, told=told | {"BRAID.check": bundle._check(HEADER, told)})
        with pytest.raises(CorruptLogError, match="does not say where it belongs"):
            read(data)


def test_a_log_arrives_whole_in_rounds_and_only_what_is_new_is_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, batches, arrays and removed tails: after each round what is unpacked is the source, byte for byte."""
    small_tails(monkeypatch)
    run = braid.start("shipped", log_dir=tmp_path / "node")
    source = tmp_path / "node" / run.writer.hex()
    bundles, files = NodeBundles(tmp_path / "shared", "n1"), WriterFiles(source)
    stream = run.stream("numbers", {"n": "int64"})
    for number in range(5):
        for _ in range(100):
            stream.append(number)
        stream.extend({"n": np.arange(5_000)})
        run.array("block", np.full(5_000, number))
        run._log.seal()
        assert ship(source, bundles, files) > 0
        with opened_logs(tmp_path / "shared") as (unpacked,):
            assert read_writer(unpacked).ranges == read_writer(source).ranges
    run.close()
    ship(source, bundles, files)
    assert ship(source, bundles, files) == 0
    with opened_logs(tmp_path / "shared") as (unpacked,):
        assert contents(unpacked) == contents(source)
        assert read_writer(unpacked).state is WriterState.CLOSED
    assert not unpacked.exists()
    # Another process finds all of it there.
    assert ship(source, NodeBundles(tmp_path / "shared", "n1"), WriterFiles(source)) == 0
    assert len(list((tmp_path / "shared").iterdir())) == 1


def test_a_tail_that_went_in_the_round_that_read_it_is_said_to_be_gone(tmp_path: Path) -> None:
    """One that was made ahead and never needed is removed when the log is closed, perhaps after it was brought."""
    run = braid.start("ahead", log_dir=tmp_path / "node")
    source = tmp_path / "node" / run.writer.hex()
    stream = run.stream("numbers", {"n": "int64"})
    for number in range(1_500):
        stream.append(number)
    run._log.prepare()
    assert len(list(source.glob("tail-*"))) == 2
    bundles, files = NodeBundles(tmp_path / "shared", "n1"), WriterFiles(source)
    for number, piece in enumerate(files.events(bundles.held(source.name))):
        if piece.file == "tail-000002":
            run.close()
        bundles.add(source.name, piece, bundles.moment() + number)
    bundles.mark()
    ship(source, bundles, files)
    with opened_logs(tmp_path / "shared") as (unpacked,):
        assert contents(unpacked) == contents(source)


def test_a_quiet_log_costs_little_in_each_round(tmp_path: Path) -> None:
    """A row more is some kilobytes more, not a tail of hundreds."""
    run = braid.start("quiet", log_dir=tmp_path / "node")
    source = tmp_path / "node" / run.writer.hex()
    bundles, files = NodeBundles(tmp_path / "shared", "n1"), WriterFiles(source)
    stream = run.stream("numbers", {"n": "int64"})
    ship(source, bundles, files)
    for _ in range(3):
        stream.append(1)
        assert 0 < ship(source, bundles, files) < 40_000
    assert ship(source, bundles, files) == 0
    run.close()


def test_pieces_of_a_shipper_that_was_killed_are_brought_again_where_they_are_torn(tmp_path: Path) -> None:
    """Cut anywhere, the next process goes on from what is whole, in a file of its own."""
    run = braid.start("torn", log_dir=tmp_path / "node")
    source = tmp_path / "node" / run.writer.hex()
    stream = run.stream("numbers", {"n": "int64"})
    for number in range(50):
        stream.append(number)
    run.close()
    ship(source, NodeBundles(tmp_path / "whole", "n1"), WriterFiles(source))
    (whole,) = (tmp_path / "whole").iterdir()
    data = whole.read_bytes()
    for number, length in enumerate(range(0, len(data), 1700)):
        place = tmp_path / str(number)
        place.mkdir()
        (place / whole.name).write_bytes(data[:length])
        written = ship(source, NodeBundles(place, "n1"), WriterFiles(source))
        assert written < len(data) + 512
        with opened_logs(place) as (unpacked,):
            assert contents(unpacked) == contents(source)


def test_a_bundle_that_is_taken_away_is_brought_again(tmp_path: Path) -> None:
    """Of a directory that was emptied nothing is believed to be there."""
    run = braid.start("gone", log_dir=tmp_path / "node")
    source = tmp_path / "node" / run.writer.hex()
    run.close()
    bundles, files = NodeBundles(tmp_path / "shared", "n1"), WriterFiles(source)
    ship(source, bundles, files)
    (bundle,) = (tmp_path / "shared").iterdir()
    bundle.unlink()
    assert not bundles.look()
    files.forget()
    ship(source, bundles, files)
    with opened_logs(tmp_path / "shared") as (unpacked,):
        assert contents(unpacked) == contents(source)


def test_a_target_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    """And what could not be brought counts as not brought."""
    run = braid.start("nowhere", log_dir=tmp_path / "node")
    source = tmp_path / "node" / run.writer.hex()
    run.close()
    (tmp_path / "shared").write_text("a file")
    bundles, files = NodeBundles(tmp_path / "shared", "n1"), WriterFiles(source)
    with pytest.raises(StorageError, match="cannot"):
        ship(source, bundles, files)
    (tmp_path / "shared").unlink()
    files.forget()
    ship(source, bundles, files)
    with opened_logs(tmp_path / "shared") as (unpacked,):
        assert contents(unpacked) == contents(source)


def test_a_later_reading_of_a_file_counts_whichever_process_made_it(tmp_path: Path) -> None:
    """A shipper that began first and goes on is not overruled by one that began later and has gone."""
    run = braid.start("two", log_dir=tmp_path / "node")
    source = tmp_path / "node" / run.writer.hex()
    stream = run.stream("numbers", {"n": "int64"})
    resident, files = NodeBundles(tmp_path / "shared", "n1"), WriterFiles(source)
    ship(source, resident, files)
    for number in range(30):
        stream.append(number)
    ship(source, NodeBundles(tmp_path / "shared", "n1"), WriterFiles(source))
    for number in range(30):
        stream.append(number)
    ship(source, resident, files)
    run.close()
    assert len(list((tmp_path / "shared").iterdir())) == 2
    with opened_logs(tmp_path / "shared") as (unpacked,):
        assert len(read_writer(unpacked).events) >= 62


def test_a_tail_that_is_written_meanwhile_is_read_without_a_torn_row(tmp_path: Path) -> None:
    """Every row in a copy that was taken at any moment verifies, with its payload."""
    run = braid.start("busy", log_dir=tmp_path / "node")
    source = tmp_path / "node" / run.writer.hex()
    stream = run.stream("texts", {"text": "text"})
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for _ in range(20):
                stream.append("x" * 30)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(20):
            for path in sorted(source.glob("tail-*"))[-2:]:
                try:
                    image = tail_image(path)
                except FileNotFoundError:
                    continue
                (tmp_path / "copy").write_bytes(image)
                assert read_tail(tmp_path / "copy").corrupt == [], number
    finally:
        stop.set()
        writer.join()
        run.close()


def test_rows_that_are_published_while_a_tail_is_read_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row whose word came between the two readings may be torn there: it comes with the next round."""
    run = braid.start("image", log_dir=tmp_path / "node")
    path = tmp_path / "node" / run.writer.hex() / "tail-000001"
    stream = run.stream("numbers", {"n": "int64"})
    rows = len(read_tail(path).events)
    words = pieces._words

    def words_then_a_row(table: bytes) -> Any:
        found = words(table)
        stream.append(1)
        return found

    monkeypatch.setattr(pieces, "_words", words_then_a_row)
    (tmp_path / "copy").write_bytes(tail_image(path))
    run.close()
    assert len(read_tail(tmp_path / "copy").events) == rows


def test_of_two_readings_the_later_one_counts_in_whatever_order_they_are_found() -> None:
    """By the time that a piece was read at, and a piece of another length is another piece."""
    held = HeldFile()
    held.take(0, 3, xxh3_128_hexdigest(b"abc"), size=10, time=2, gone=False)
    held.take(0, 5, xxh3_128_hexdigest(b"abcde"), size=12, time=1, gone=False)
    assert held.size == 10
    assert held.has(0, b"abc")
    assert not held.has(0, b"abcde")

"""header.json: what it says, that it is whole, and that it is believed only with its check."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from pathlib import Path

import pytest

from braid_hpc.log.header import boot_id, make_header, pack_header, process_start, unpack_header, write_header
from braid_hpc.log.layout import FORMAT, HEADER_NAME, MAJOR
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

WRITER = bytes(range(16))
FACTS = {"job": 'braggnn \u2713 "quoted"', "rank": 3, "size": 4, "evidence": {"run_id": "x"}, "store": None}


def test_it_says_who_writes_where_and_since_when() -> None:
    """What a reader needs before the first row."""
    before = time.monotonic_ns(), time.time_ns()
    header = make_header(WRITER, FACTS)
    after = time.monotonic_ns(), time.time_ns()
    assert (header["format"], header["major"], header["writer"]) == (FORMAT, MAJOR, WRITER.hex())
    assert (header["host"], header["pid"], header["boot_id"]) == (socket.gethostname(), os.getpid(), boot_id())
    assert header["process_start"] == process_start(os.getpid()) > 0
    assert before[0] <= header["clock"]["monotonic_ns"] <= after[0]
    assert before[1] <= header["clock"]["utc_ns"] <= after[1]
    assert header["rank"] == 3


def test_it_is_plain_json_of_one_file(tmp_path: Path) -> None:
    """Any tool reads it; the file aside is gone, and text of any sort comes back."""
    header = make_header(WRITER, FACTS | {"odd": "\ud800", "path": Path("/x")})
    write_header(tmp_path, header)
    assert os.listdir(tmp_path) == [HEADER_NAME]
    data = (tmp_path / HEADER_NAME).read_bytes()
    plain = json.loads(data)
    assert plain["job"] == FACTS["job"]
    del plain["check"]
    assert unpack_header(data) == plain == header | {"path": "/x"}


def test_every_flipped_bit_is_noticed() -> None:
    """A flipped digit would make one rank another one, or move every time: nothing but an error may come of it."""
    packed = pack_header(make_header(WRITER, FACTS))
    for bit in range(len(packed) * 8):
        damaged = bytearray(packed)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(CorruptLogError):
            unpack_header(bytes(damaged))


def test_every_cut_is_noticed_as_a_cut() -> None:
    """At each length; but for the last line break, which says nothing."""
    packed = pack_header(make_header(WRITER, FACTS))
    for length in range(len(packed) - 1):
        with pytest.raises(CorruptLogError, match="ends within its text"):
            unpack_header(packed[:length])


def test_damage_at_random_raises_nothing_else() -> None:
    """Whatever the bytes are, the one documented error comes of them."""
    dice = random.Random(11)
    packed = pack_header(make_header(WRITER, FACTS))
    for _ in range(500):
        damaged = bytearray(packed)
        at = dice.randrange(len(packed))
        damaged[at : at + dice.randrange(40)] = dice.randbytes(dice.randrange(40))
        if bytes(damaged) != packed:
            with pytest.raises(CorruptLogError):
                unpack_header(bytes(damaged))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]\n}\n", b"null", b'{"major": 1}', b'"check"', b"\xff\xfe"])
def test_what_is_no_header_is_corrupt(data: bytes) -> None:
    """Also if it is JSON."""
    with pytest.raises(CorruptLogError):
        unpack_header(data)


def test_a_newer_major_version_is_refused() -> None:
    """With its check, or where a later version has done away with it."""
    header = make_header(WRITER, FACTS) | {"major": MAJOR + 1}
    for data in (pack_header(header), json.dumps(header).encode()):
        with pytest.raises(FormatTooNewError, match="update braid_hpc"):
            unpack_header(data)


def test_a_newer_minor_version_is_read() -> None:
    """With members that this version does not know."""
    header = make_header(WRITER, FACTS) | {"minor": 99, "of_a_later_version": [1]}
    assert unpack_header(pack_header(header)) == header


def test_no_process_starts_at_zero() -> None:
    """Where the kernel does not know the process."""
    assert process_start(os.getppid()) > 0
    assert process_start(1 << 30) == 0


def test_the_start_is_found_behind_any_command_name(tmp_path: Path) -> None:
    """The command stands in parentheses in the same line, and may hold parentheses and blanks."""
    child = os.fork()
    if child == 0:
        try:
            Path("/proc/self/comm").write_text("a) R 1 (b")
            os._exit(0 if process_start(os.getpid()) > 1 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

"""Node bundles, member by member: one append-only tar that holds the logs of a node's writers in pieces.

``docs/bundle-format.md`` says the same in words. What is read here may be a stranger's file: the reader takes the
strict form that :func:`pack_member` writes and nothing else of what a tar may hold, so that no size, name or link in
it is ever acted upon.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from xxhash import xxh3_64_hexdigest, xxh3_128_hexdigest

from braid_hpc.vocabulary.errors import CorruptLogError

__all__ = [
    "BUNDLE_FORMAT",
    "BUNDLE_MAJOR",
    "BUNDLE_MINOR",
    "BUNDLE_SUFFIX",
    "DESCRIPTION",
    "LARGEST_PIECE",
    "LOG_FILE",
    "ROUND",
    "ZEROS_LEFT_OUT",
    "Member",
    "members_of",
    "pack_member",
    "piece_of",
]

BUNDLE_FORMAT = "braid node bundle"
BUNDLE_MAJOR = 1
BUNDLE_MINOR = 0
BUNDLE_SUFFIX = ".braid.tar"

#: The first member, which says what the file is.
DESCRIPTION = "bundle.json"
#: A member without bytes: whatever stands before it was read again where it arrived.
ROUND = "round"

#: No member has more bytes.
LARGEST_PIECE = 4 << 20
#: By how much a file may be longer than what is held of it: zeros at the end of a tail are not stored.
ZEROS_LEFT_OUT = 64 << 20

#: The files of a writer that are taken along.
LOG_FILE = re.compile(
    r"header\.json|ended\.json|gone\.json|tail-[0-9]{6,10}(?:-[0-9a-f]{8})?"
    r"|(?:events|stream-[0-9]{4,10})(?:-[0-9]{6,10})?\.(?:arrows|sums)|arrays-[0-9]{1,10}\.h5"
)
_NAME = re.compile(rf"[0-9a-f]{{32}}/(?:{LOG_FILE.pattern})|{re.escape(DESCRIPTION)}|{ROUND}")

_BLOCK = 512
_MAGIC, _MAGIC_AT, _SORT_AT = b"ustar\x0000", 257, 156
#: Bytes that are searched for a header at once.
_AT_ONCE = 1 << 20
#: A pax header of ours has some 250 bytes.
_MOST_PAX = 4 * _BLOCK
_NUMBER = re.compile(r"[0-9]{1,19}")
_SORTS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a FIFO"}


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a bundle: a piece of a file.

    Attributes
    ----------
    name : str
        ``<writer>/<file>``, :data:`DESCRIPTION` or :data:`ROUND`.
    at, length : int
        Where its bytes stand in the bundle.
    offset : int
        Where they stand in the file.
    size : int
        Bytes of the whole file when this piece was read.
    digest : str
        XXH3-128 of the bytes, 32 hexadecimal digits.
    time : int
        When the file was read, UTC ns by the node's clock; later pieces have later times.
    gone : bool
        Whether this says that the file is no longer there.
    after : int
        Where the next member begins in the bundle.
    """

    name: str
    at: int
    length: int
    offset: int
    size: int
    digest: str
    time: int
    gone: bool
    after: int


def pack_member(
    name: str, data: bytes | memoryview, *, offset: int = 0, size: int | None = None, time: int, gone: bool = False
) -> bytes:
    """Return the bytes of one member.

    Parameters
    ----------
    name : str
        As in :class:`Member`.
    data : bytes or memoryview
        The piece, at most :data:`LARGEST_PIECE` bytes.
    offset : int
        Where it stands in its file.
    size : int, optional
        Bytes of the whole file; without it the piece is all of it.
    time : int
        UTC ns.
    gone : bool
        Whether the file is no longer there.

    Returns
    -------
    bytes
        A multiple of 512 bytes.
    """
    told = {
        "BRAID.offset": str(offset),
        "BRAID.size": str(offset + len(data) if size is None else size),
        "BRAID.time": str(time),
        "BRAID.gone": "1" if gone else "0",
        "BRAID.xxh3": xxh3_128_hexdigest(data),
    }
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o440, time // 1_000_000_000
    info.pax_headers = told | {"BRAID.check": _check(name, told)}
    return b"".join((info.tobuf(tarfile.PAX_FORMAT), data, bytes(-len(data) % _BLOCK)))


def _check(name: str, told: dict[str, str]) -> str:
    """Return the check of what a member says of itself: a flipped bit there would put its bytes somewhere else."""
    said = (told[f"BRAID.{key}"] for key in ("offset", "size", "time", "gone", "xxh3"))
    return xxh3_64_hexdigest("\0".join((name, *said)).encode())


def members_of(
    file: BinaryIO, start: int = 0, *, name: str, damaged: list[tuple[int, int]] | None = None
) -> Iterator[Member]:
    """Yield the members of a bundle whose bytes are all there.

    Parameters
    ----------
    file : file
        Open for reading and unbuffered or not; it may grow meanwhile.
    start : int
        Where a member begins.
    name : str
        The bundle, for messages.
    damaged : list of (int, int), optional
        Takes where bytes stand that are no member and have members behind them, first and after; without it these are
        not looked for.

    Yields
    ------
    Member
        Up to the first that is not there wholly, or whose header does not carry its check sum: what a shipper that
        was killed leaves behind. Their bytes are not read.

    Raises
    ------
    CorruptLogError
        If a member is whole and nothing that this package writes: another sort of tar.
    """
    end = file.seek(0, 2)
    while start < end:
        member = _member_at(file, start, name)
        if member is None:
            behind = None if damaged is None else _next_header(file, start + _BLOCK, end)
            if behind is None:
                return
            assert damaged is not None
            damaged.append((start, behind))
            start = behind
            continue
        if member.after > end:
            return
        yield member
        start = member.after


def _member_at(file: BinaryIO, start: int, bundle: str) -> Member | None:
    """Return the member that begins at a byte; None if its headers are not whole."""
    file.seek(start)
    pax = _header(file.read(_BLOCK))
    if pax is None:
        return None
    if pax[0] != b"x" or pax[2] > _MOST_PAX:
        raise _refused(bundle, start, f"holds {_SORTS.get(pax[0], 'a member that is no piece of a log')}")
    said = file.read(-(-pax[2] // _BLOCK) * _BLOCK)
    header = _header(file.read(_BLOCK))
    return None if header is None else _member(bundle, start, (said[: pax[2]], header, file.tell()))


def _next_header(file: BinaryIO, start: int, end: int) -> int | None:
    """Return where the next header stands that carries its check sum and belongs to a whole member of ours."""
    while start < end:
        file.seek(start)
        chunk = file.read(_AT_ONCE)
        found = -1
        while (found := chunk.find(_MAGIC, found + 1)) >= 0:
            at = found - _MAGIC_AT
            if at >= 0 and at % _BLOCK == 0 and chunk[at + _SORT_AT : at + _SORT_AT + 1] == b"x":
                try:
                    member = _member_at(file, start + at, "")
                except CorruptLogError:
                    # Bytes of a piece that look like a header.
                    continue
                if member is not None and member.after <= end:
                    return start + at
        start += len(chunk) // _BLOCK * _BLOCK or _BLOCK
    return None


def _header(block: bytes) -> tuple[bytes, str, int] | None:
    """Return sort, name and size that a tar header states; None if it does not carry its check sum."""
    if len(block) < _BLOCK or block[_MAGIC_AT:265] != _MAGIC:
        return None
    stated = block[148:156].rstrip(b"\0 ")
    counted = sum(block[:148]) + sum(block[156:]) + 8 * 32
    size = block[124:136].rstrip(b"\0 ")
    if not re.fullmatch(rb"[0-7]{1,8}", stated) or int(stated, 8) != counted or block[345:346] != b"\0":
        return None
    # A size in another form than octal digits is larger than any piece.
    length = int(size, 8) if re.fullmatch(rb"[0-7]{1,12}", size) else 1 << 62
    return block[156:157], block[:100].rstrip(b"\0").decode("utf-8", "replace"), length


def _member(bundle: str, start: int, parts: tuple[bytes, tuple[bytes, str, int], int]) -> Member | None:
    said, (sort, name, length), at = parts
    if sort != b"0":
        raise _refused(bundle, start, f"holds {_SORTS.get(sort, 'a member that is no file')}")
    if not _NAME.fullmatch(name):
        raise _refused(bundle, start, f"holds {name[:100]!r}, which is no file of a rank log")
    if length > LARGEST_PIECE:
        raise _refused(bundle, start, f"has a piece of more than {LARGEST_PIECE >> 20} MiB")
    told = _told(said)
    if told is None:
        return None
    if not any(key.startswith("BRAID.") for key in told):
        raise _refused(bundle, start, "has a member that does not say where it belongs")
    try:
        if told["BRAID.check"] != _check(name, told):
            return None
    except KeyError:
        return None
    if unknown := [key for key in told if not key.startswith("BRAID.")]:
        raise _refused(bundle, start, f"states {unknown[0][:40]!r} of a member")
    numbers = [_NUMBER.fullmatch(told[f"BRAID.{key}"]) for key in ("offset", "size", "time")]
    if None in numbers:
        raise _refused(bundle, start, "has a member that does not say where it belongs")
    offset, size, time = (int(number[0]) for number in numbers if number is not None)
    if offset + length > size:
        raise _refused(bundle, start, "has a piece that lies beyond the end of its file")
    gone = told["BRAID.gone"] == "1"
    after = at + length + -length % _BLOCK
    return Member(name, at, length, offset, size, told["BRAID.xxh3"], time, gone, after)


def _told(said: bytes) -> dict[str, str] | None:
    """Return the records of a pax header; None if they are not whole."""
    told = {}
    while said:
        stated, _, _ = said.partition(b" ")
        if not re.fullmatch(rb"[0-9]{1,4}", stated):
            return None
        record, said = said[: int(stated)], said[int(stated) :]
        key, equals, value = record[len(stated) + 1 :].partition(b"=")
        if len(record) != int(stated) or not equals or not value.endswith(b"\n"):
            return None
        told[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "replace")
    return told


def _refused(bundle: str, start: int, what: str) -> CorruptLogError:
    return CorruptLogError(f"{bundle} is no node bundle: it {what} (at byte {start}), so nothing of it is read")


def piece_of(file: BinaryIO, member: Member) -> bytes | None:
    """Read a member's bytes.

    Parameters
    ----------
    file : file
        The bundle.
    member : Member
        From :func:`members_of`.

    Returns
    -------
    bytes or None
        None if they do not carry their digest.
    """
    file.seek(member.at)
    data = file.read(member.length)
    return data if len(data) == member.length and xxh3_128_hexdigest(data) == member.digest else None

"""Framing: where in a stream of bytes the frames of a data-reduction device are, and what lies between them.

A frame is a header that begins with a magic, as many words as the header says, and a trailer with a check sum. Bytes
may be missing, flipped or made up by somebody, so a frame counts only if its magic, its length and its check sum hold;
where they do not, the search goes on at the very next byte. Every byte that is passed belongs to a frame or to a piece
that is set aside, with the reason.

:func:`scan` is compiled, :func:`scan_slow` is its readable twin, which needs no numba; they agree in every byte.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = [
    *("AGAIN", "BAD_CHECK", "CRC32", "CUT_OFF", "NOT_EXAMINED", "NO_FRAME", "PIECES", "TOO_LONG"),
    *("Check", "Framing", "Scanned", "State", "check_of", "scan", "scan_slow"),
]

#: Why bytes are set aside: they begin no frame, the frame claims more words than one may have, its check sum does not
#: hold, the input ends before it, or so many check sums did not hold here that no more are computed.
NO_FRAME, TOO_LONG, BAD_CHECK, CUT_OFF, NOT_EXAMINED = range(1, 6)
#: Added to the reason of a piece that goes on where a piece ended that was given earlier.
AGAIN = 16

#: How many bytes may be checked in vain for each byte passed, and frames of the greatest length beyond that: bytes
#: that were made so that every one of them seems to begin a long frame would take for ever otherwise.
WASTE, SPARE = 16, 4
#: Pieces that one call gives at most; it stops there, and is called again.
PIECES = 4096


class Check(NamedTuple):
    """A cyclic redundancy check, in the usual parameters.

    Attributes
    ----------
    width : int
        Bits: 8, 16 or 32.
    polynomial : int
        Without its highest term, not reflected: 0x04C11DB7 is CRC-32's.
    start, xor : int
        What the register begins with, and what its end is combined with.
    reflected : bool
        Whether bits go lowest first, in and out.
    """

    width: int
    polynomial: int
    start: int
    xor: int
    reflected: bool


class Framing(NamedTuple):
    """What of a frame format framing depends on.

    Attributes
    ----------
    magic : bytes
        What each frame begins with.
    header, word, trailer : int
        Sizes, bytes.
    count_at, count_bytes : int
        Where in the header the number of words stands, and how wide it is (1, 2, 4 or 8).
    check_at : int
        Where in the trailer the check sum stands; it covers all bytes of the frame before it.
    big : bool
        Whether both are big-endian.
    max_words : int
        A frame that claims more is none.
    check : Check
        The check sum.
    """

    magic: bytes
    header: int
    word: int
    trailer: int
    count_at: int
    count_bytes: int
    check_at: int
    big: bool
    max_words: int
    check: Check

    @property
    def longest(self) -> int:
        """Bytes of a frame of the greatest length."""
        return self.header + self.max_words * self.word + self.trailer


@dataclass(slots=True)
class State:
    """What a scan hands on to the next one of the same stream.

    Attributes
    ----------
    wasted : int
        Bytes checked in vain since the last frame.
    since : int
        Where in the stream that ended.
    reason : int
        Why the bytes just before are set aside; 0 behind a frame.
    """

    wasted: int = 0
    since: int = 0
    reason: int = 0


class Scanned(NamedTuple):
    """What a scan found.

    Attributes
    ----------
    passed : int
        How many bytes are done with: the rest is to be given again, with what follows it.
    places : ndarray of int64, shape (frames, 2)
        Offset and size of each frame in the bytes that were given.
    headers : ndarray of uint8, shape (frames, header)
        Their headers.
    words : ndarray of uint8, shape (bytes,)
        The words of all frames, one frame behind the other.
    trailers : ndarray of uint8, shape (frames, trailer)
        Their trailers.
    aside : ndarray of int64, shape (pieces, 3)
        Reason, begin and end of what is no frame, in order.
    """

    passed: int
    places: NDArray[np.int64]
    headers: NDArray[np.uint8]
    words: NDArray[np.uint8]
    trailers: NDArray[np.uint8]
    aside: NDArray[np.int64]


def check_of(data: bytes | memoryview, check: Check) -> int:
    """Compute a check sum.

    Parameters
    ----------
    data : bytes-like
        What it covers.
    check : Check
        How.

    Returns
    -------
    int
        Of `check.width` bits.

    Examples
    --------
    >>> hex(check_of(b"123456789", Check(16, 0x1021, 0xFFFF, 0, False)))
    '0x29b1'
    """
    if check == CRC32:
        return zlib.crc32(data)
    table = _table(check.width, check.polynomial, check.reflected)[0].tolist()
    register = _aligned(check.start, check)
    if check.reflected:
        for byte in bytes(data):
            register = table[(register ^ byte) & 0xFF] ^ register >> 8
        return register ^ check.xor
    for byte in bytes(data):
        register = table[(register >> 24) ^ byte] ^ register << 8 & 0xFFFFFFFF
    return (register >> (32 - check.width)) ^ check.xor


#: The one that Ethernet, zlib and PNG use.
CRC32 = Check(32, 0x04C11DB7, 0xFFFFFFFF, 0xFFFFFFFF, True)


def _aligned(value: int, check: Check) -> int:
    """Give the register as it is kept, in 32 bits: at their lower end if reflected, else at their upper end."""
    if check.reflected:
        return int(f"{value:0{check.width}b}"[::-1], 2)
    return value << (32 - check.width)


@functools.cache
def _table(width: int, polynomial: int, reflected: bool) -> NDArray[np.uint64]:
    """Give eight tables: what one byte does to the register when 0 to 7 zero bytes follow it."""
    made = np.empty((8, 256), np.uint64)
    feedback = _aligned(polynomial, Check(width, polynomial, 0, 0, reflected))
    for byte in range(256):
        register = byte if reflected else byte << 24
        for _ in range(8):
            if reflected:
                register = register >> 1 ^ (feedback if register & 1 else 0)
            else:
                register = register << 1 & 0xFFFFFFFF ^ (feedback if register >> 31 else 0)
        made[0, byte] = register
    for after in range(1, 8):
        before = made[after - 1]
        if reflected:
            made[after] = made[0][before & 0xFF] ^ before >> 8
        else:
            made[after] = made[0][before >> 24] ^ (before << 8 & 0xFFFFFFFF)
    made.flags.writeable = False
    return made


def scan(
    data: NDArray[np.uint8],
    framing: Framing,
    *,
    at: int,
    final: bool,
    state: State,
    room: NDArray[np.uint8] | None = None,
) -> Scanned:
    """Find the frames in a part of a stream.

    Parameters
    ----------
    data : ndarray of uint8, shape (bytes,)
        What was not passed before, and what follows it.
    framing : Framing
        What frames look like.
    at : int
        Where in the stream `data` begins.
    final : bool
        Whether nothing follows: a frame that is not complete is none then.
    state : State
        From the scan before; it is changed.
    room : ndarray of uint8, optional
        Where words are put, if it is as long as `data`: memory that is used again costs half as much as new memory.

    Returns
    -------
    Scanned
        Frames and pieces in order, up to the first that is not complete, or that did not find room among
        :data:`PIECES`.

    Raises
    ------
    ModuleNotFoundError
        If numba is not installed.

    See Also
    --------
    scan_slow : the same in plain Python.
    """
    most = len(data) // (framing.header + framing.trailer) + 1
    places = np.empty((most, 2), np.int64)
    headers = np.empty((most, framing.header), np.uint8)
    trailers = np.empty((most, framing.trailer), np.uint8)
    words = room if room is not None and len(room) >= len(data) else np.empty(len(data), np.uint8)
    aside = np.empty((PIECES, 3), np.int64)
    handed = np.array([state.wasted, state.since, state.reason], np.int64)
    check = framing.check
    passed, frames, end, pieces = _scan(
        data,
        np.frombuffer(framing.magic, np.uint8),
        np.array(framing[1:7], np.int64),
        framing.big,
        np.uint64(framing.max_words),
        _table(check.width, check.polynomial, check.reflected),
        check.reflected,
        np.array([_aligned(check.start, check), check.xor], np.uint64),
        check.width,
        at,
        final,
        handed,
        places,
        headers,
        words,
        trailers,
        aside,
    )
    state.wasted, state.since, state.reason = (int(value) for value in handed)
    return Scanned(passed, places[:frames], headers[:frames], words[:end], trailers[:frames], aside[:pieces])


@compiled
def _scan(
    data: NDArray[np.uint8],
    magic: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    big: bool,
    max_words: np.uint64,
    table: NDArray[np.uint64],
    reflected: bool,
    check: NDArray[np.uint64],
    width: int,
    base: int,
    final: bool,
    state: NDArray[np.int64],
    places: NDArray[np.int64],
    headers: NDArray[np.uint8],
    words: NDArray[np.uint8],
    trailers: NDArray[np.uint8],
    aside: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    header, word, trailer = sizes[0], sizes[1], sizes[2]
    count_at, count_bytes, check_at = sizes[3], sizes[4], sizes[5]
    longest = header + np.int64(max_words) * word + trailer
    stop, long = data.size, magic.size
    low, eight = np.uint64(0xFF), np.uint64(8)
    p = frames = filled = pieces = 0
    wasted, since, reason = state[0], state[1], state[2]
    fresh = True  # nothing was set aside in this call, so a piece cannot be made longer
    while p < stop:
        same = 0
        while same < long and p + same < stop and data[p + same] == magic[same]:
            same += 1
        if same < long and p + same == stop and not final:
            break
        why = 0
        if same == long:
            if stop - p < header:
                if not final:
                    break
                why = 4
            else:
                count = np.uint64(0)
                for k in range(count_bytes):
                    byte = np.uint64(data[p + count_at + (k if big else count_bytes - 1 - k)])
                    count = (count << np.uint64(8)) | byte
                if count > max_words:
                    why = 2
                else:
                    body = header + np.int64(count) * word
                    end = p + body + trailer
                    if end > stop:
                        if not final:
                            break
                        why = 4
                    elif wasted > 16 * (base + p - since) + 4 * longest:
                        why = 5
                    else:
                        # Unsigned throughout: a signed index is tested for its sign, which costs half of the speed.
                        register, last = check[0], p + body + check_at
                        i, behind = np.uint64(p), np.uint64(last)
                        while i + eight <= behind:
                            if reflected:
                                b0, b1 = register & low, (register >> eight) & low
                                b2, b3 = (register >> np.uint64(16)) & low, register >> np.uint64(24)
                            else:
                                b3, b2 = register & low, (register >> eight) & low
                                b1, b0 = (register >> np.uint64(16)) & low, register >> np.uint64(24)
                            register = (
                                table[np.uint64(7), b0 ^ np.uint64(data[i])]
                                ^ table[np.uint64(6), b1 ^ np.uint64(data[i + np.uint64(1)])]
                                ^ table[np.uint64(5), b2 ^ np.uint64(data[i + np.uint64(2)])]
                                ^ table[np.uint64(4), b3 ^ np.uint64(data[i + np.uint64(3)])]
                                ^ table[np.uint64(3), data[i + np.uint64(4)]]
                                ^ table[np.uint64(2), data[i + np.uint64(5)]]
                                ^ table[np.uint64(1), data[i + np.uint64(6)]]
                                ^ table[np.uint64(0), data[i + np.uint64(7)]]
                            )
                            i += eight
                        while i < behind:
                            byte = np.uint64(data[i])
                            if reflected:
                                register = table[np.uint64(0), (register ^ byte) & low] ^ (register >> eight)
                            else:
                                moved = (register << eight) & np.uint64(0xFFFFFFFF)
                                register = table[np.uint64(0), (register >> np.uint64(24)) ^ byte] ^ moved
                            i += np.uint64(1)
                        if not reflected:
                            register = register >> np.uint64(32 - width)
                        register = register ^ check[1]
                        for k in range(width // 8):
                            shift = np.uint64(8 * (width // 8 - 1 - k if big else k))
                            if np.uint64(data[last + k]) != (register >> shift) & low:
                                why = 3
                        if why:
                            wasted += last - p
                        else:
                            places[frames, 0], places[frames, 1] = p, end - p
                            headers[frames] = data[p : p + header]
                            trailers[frames] = data[p + body : end]
                            # A loop, because assigning a slice goes byte by byte, and this is vectorised.
                            to, source = np.uint64(filled), np.uint64(p + header)
                            for k in range(np.uint64(body - header)):
                                words[to + k] = data[source + k]
                            filled += body - header
                            frames += 1
                            p = end
                            wasted, since, reason, fresh = 0, base + end, 0, True
                            continue
        # Not the beginning of a frame. These two are not counted one by one: there may be one every eight bytes.
        if why == reason and (why == 2 or why == 5):
            why = 0
        if why == 0 and reason and not fresh:
            aside[pieces - 1, 2] = p + 1
        else:
            if pieces == aside.shape[0]:
                break
            aside[pieces, 0] = why if why else (reason + 16 if reason else 1)
            aside[pieces, 1], aside[pieces, 2] = p, p + 1
            pieces += 1
            fresh = False
            reason = why if why else (reason if reason else 1)
        p += 1
        if p < stop and data[p] != magic[0]:
            # The usual case of damage, at the speed of memory.
            while p < stop and data[p] != magic[0]:
                p += 1
            aside[pieces - 1, 2] = p
    state[0], state[1], state[2] = wasted, since, reason
    return p, frames, filled, pieces


def scan_slow(
    data: NDArray[np.uint8],
    framing: Framing,
    *,
    at: int,
    final: bool,
    state: State,
    room: NDArray[np.uint8] | None = None,
) -> Scanned:
    """Find the frames in a part of a stream, frame by frame in plain Python.

    Parameters
    ----------
    data, framing, at, final, state, room
        As for :func:`scan`; `room` is not used.

    Returns
    -------
    Scanned
        The same as :func:`scan` returns, byte for byte.

    See Also
    --------
    scan : the compiled one.
    """
    found = _Found([], [])
    raw = data.tobytes()
    p = 0
    while p < len(raw):
        size, why = _frame_at(raw, p, framing, final, state, at)
        if why == _WAIT:
            break
        if size:
            found.places.append((p, size))
            p += size
            state.wasted, state.since, state.reason = 0, at + p, 0
        else:
            # Up to where a frame could begin: at the next magic, or with a part of one at the end.
            after = raw.find(framing.magic, p + 1)
            after = after if after > 0 else max(p + 1, len(raw) - len(framing.magic) + 1)
            if not found.put_aside(why, p, after, state):
                break
            p = after
    return found.cut(data, p, framing)


#: Says that what follows decides.
_WAIT = -1


def _frame_at(raw: bytes, p: int, framing: Framing, final: bool, state: State, at: int) -> tuple[int, int]:
    """Give the size of the frame that begins here, or 0 and the reason why there is none."""
    magic = framing.magic
    begin = raw[p : p + len(magic)]
    if begin != magic:
        return 0, _WAIT if magic.startswith(begin) and not final else 0
    if len(raw) - p < framing.header:
        return 0, CUT_OFF if final else _WAIT
    where = p + framing.count_at
    order = "big" if framing.big else "little"
    count = int.from_bytes(raw[where : where + framing.count_bytes], order)  # type: ignore[arg-type]
    if count > framing.max_words:
        return 0, TOO_LONG
    size = framing.header + count * framing.word + framing.trailer
    if p + size > len(raw):
        return 0, CUT_OFF if final else _WAIT
    if state.wasted > WASTE * (at + p - state.since) + SPARE * framing.longest:
        return 0, NOT_EXAMINED
    covered = size - framing.trailer + framing.check_at
    said = raw[p + covered : p + covered + framing.check.width // 8]
    if int.from_bytes(said, order) != check_of(memoryview(raw)[p : p + covered], framing.check):  # type: ignore[arg-type]
        state.wasted += covered
        return 0, BAD_CHECK
    return size, 0


class _Found(NamedTuple):
    """What a scan has found so far."""

    places: list[tuple[int, int]]
    aside: list[list[int]]

    def put_aside(self, why: int, p: int, end: int, state: State) -> bool:
        """Set bytes aside; return whether there was room to."""
        if why == state.reason and why in (TOO_LONG, NOT_EXAMINED):
            why = 0
        if why == 0 and state.reason and self.aside and self.aside[-1][2] == p:
            self.aside[-1][2] = end
            return True
        if len(self.aside) == PIECES:
            return False
        going_on = why == 0 and state.reason
        self.aside.append([state.reason + AGAIN if going_on else why or NO_FRAME, p, end])
        state.reason = why or state.reason or NO_FRAME
        return True

    def cut(self, data: NDArray[np.uint8], passed: int, framing: Framing) -> Scanned:
        """Return the parts of the frames."""
        places = np.array(self.places, np.int64).reshape(-1, 2)
        head, tail = framing.header, framing.trailer
        headers = [data[p : p + head] for p, _ in self.places]
        trailers = [data[p + size - tail : p + size] for p, size in self.places]
        words = [data[p + head : p + size - tail] for p, size in self.places]
        return Scanned(
            passed,
            places,
            np.concatenate(headers).reshape(-1, head) if headers else np.empty((0, head), np.uint8),
            np.concatenate(words) if words else np.empty(0, np.uint8),
            np.concatenate(trailers).reshape(-1, tail) if trailers else np.empty((0, tail), np.uint8),
            np.array(self.aside, np.int64).reshape(-1, 3),
        )

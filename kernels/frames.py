"""Framing: where in a stream of bytes the frames of a data-reduction device are, and what lies between them.

A frame is a header that begins with a magic, as many words as the header says, and a trailer with a check sum. Bytes
may be missing, flipped or made up by somebody, so a frame counts only if its magic, its length and its check sum hold;
where they do not, the search goes on at the very next byte. Every byte that is passed belongs to a frame or to a piece
that is set aside, with the reason.

:func:`scan` is compiled, :func:`scan_slow` is its readable twin, which needs no numba; they agree in every byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled
from braid_hpc.kernels.checks import Check, check_of, first_register, holds, tables_of

__all__ = [
    *("AGAIN", "BAD_CHECK", "CUT_OFF", "NOT_EXAMINED", "NO_FRAME", "PIECES", "TOO_LONG"),
    *("Framing", "Scanned", "State", "scan", "scan_slow"),
]

#: Why bytes are set aside: they begin no frame, the frame claims more words than one may have, its check sum does not
#: hold, the input ends before it, or so many check sums did not hold here that no more are computed.
NO_FRAME, TOO_LONG, BAD_CHECK, CUT_OFF, NOT_EXAMINED = range(1, 6)
#: Added to the reason of a piece that goes on where a piece ended that was given earlier.
AGAIN = 16

#: Instead of a reason: what follows decides.
WAIT = -1

#: How many bytes may be checked in vain for each byte passed, and frames of the greatest length beyond that: bytes
#: that were made so that every one of them seems to begin a long frame would take for ever otherwise.
WASTE, SPARE = 16, 4
#: Pieces that one call gives at most; it stops there, and is called again.
PIECES = 4096


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
        tables_of(check),
        np.array([check.width, first_register(check), check.xor, check.reflected], np.uint64),
        at,
        final,
        handed,
        places,
        headers.reshape(-1),
        words,
        trailers.reshape(-1),
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
    tables: NDArray[np.uint32],
    check: NDArray[np.uint64],
    base: int,
    final: bool,
    state: NDArray[np.int64],
    places: NDArray[np.int64],
    headers: NDArray[np.uint8],
    words: NDArray[np.uint8],
    trailers: NDArray[np.uint8],
    aside: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Go from frame to frame."""
    header, trailer = sizes[0], sizes[2]
    stop = data.size
    p = frames = filled = pieces = 0
    fresh = True  # nothing was set aside in this call, so a piece cannot be made longer
    while p < stop:
        size, why = _frame_here(data, p, magic, sizes, big, max_words, final, state, base)
        if why == WAIT:
            break
        if size:
            covered = size - trailer + sizes[5]
            if holds(data, p, p + covered, tables, check, big):
                places[frames, 0], places[frames, 1] = p, size
                _copy(data, p, header, headers, frames * header)
                _copy(data, p + size - trailer, trailer, trailers, frames * trailer)
                filled = _copy(data, p + header, size - header - trailer, words, filled)
                frames += 1
                p += size
                state[0], state[1], state[2], fresh = 0, base + p, 0, True
                continue
            state[0] += covered
            why = BAD_CHECK
        # As far as no frame can begin, at the speed of memory: the usual case of damage.
        after = p + 1
        while after < stop and data[after] != magic[0]:
            after += 1
        with_it = _put_aside(aside, pieces, fresh, why, p, after, state)
        if not with_it:
            break
        pieces, fresh, p = with_it, False, after
    return p, frames, filled, pieces


@compiled
def _frame_here(
    data: NDArray[np.uint8],
    p: int,
    magic: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    big: bool,
    max_words: np.uint64,
    final: bool,
    state: NDArray[np.int64],
    base: int,
) -> tuple[int, int]:
    """Give the size of the frame that seems to begin here, whose check sum decides; or 0, and why none does."""
    left, same = data.size - p, 0
    while same < magic.size and same < left and data[p + same] == magic[same]:
        same += 1
    if same < magic.size:
        return 0, WAIT if same == left and not final else 0
    if left < sizes[0]:
        return 0, CUT_OFF if final else WAIT
    at, wide = p + sizes[3], sizes[4]
    count = np.uint64(0)
    for k in range(wide):
        count = (count << np.uint64(8)) | np.uint64(data[at + (k if big else wide - 1 - k)])
    if count > max_words:
        return 0, TOO_LONG
    size = sizes[0] + np.int64(count) * sizes[1] + sizes[2]
    if size > left:
        return 0, CUT_OFF if final else WAIT
    longest = sizes[0] + np.int64(max_words) * sizes[1] + sizes[2]
    if state[0] > WASTE * (base + p - state[1]) + SPARE * longest:
        return 0, NOT_EXAMINED
    return size, 0


@compiled
def _copy(data: NDArray[np.uint8], begin: int, size: int, to: NDArray[np.uint8], at: int) -> int:
    """Copy bytes, and give where the next ones go; in a loop, because assigning a slice goes byte by byte."""
    source, target = np.uint64(begin), np.uint64(at)
    for k in range(np.uint64(size)):
        to[target + k] = data[source + k]
    return at + size


@compiled
def _put_aside(
    aside: NDArray[np.int64], pieces: int, fresh: bool, why: int, begin: int, end: int, state: NDArray[np.int64]
) -> int:
    """Set bytes aside; give how many pieces there are now, or 0 if there is no room for one more."""
    reason = state[2]
    # These two are not told one by one: there may be one every eight bytes.
    if why == reason and why in (TOO_LONG, NOT_EXAMINED):
        why = 0
    if why == 0 and reason and not fresh:
        aside[pieces - 1, 2] = end
        return pieces
    if pieces == aside.shape[0]:
        return 0
    aside[pieces, 0] = why if why else (reason + AGAIN if reason else NO_FRAME)
    aside[pieces, 1], aside[pieces, 2] = begin, end
    state[2] = why if why else (reason if reason else NO_FRAME)
    return pieces + 1


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
        if why == WAIT:
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


def _frame_at(raw: bytes, p: int, framing: Framing, final: bool, state: State, at: int) -> tuple[int, int]:
    """Give the size of the frame that begins here, or 0 and the reason why there is none."""
    magic = framing.magic
    begin = raw[p : p + len(magic)]
    if begin != magic:
        return 0, WAIT if magic.startswith(begin) and not final else 0
    if len(raw) - p < framing.header:
        return 0, CUT_OFF if final else WAIT
    where = p + framing.count_at
    order = "big" if framing.big else "little"
    count = int.from_bytes(raw[where : where + framing.count_bytes], order)  # type: ignore[arg-type]
    if count > framing.max_words:
        return 0, TOO_LONG
    size = framing.header + count * framing.word + framing.trailer
    if p + size > len(raw):
        return 0, CUT_OFF if final else WAIT
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

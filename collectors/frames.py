"""Frames of a data-reduction device: how they are laid out, and how bytes become frames again."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels.checks import CRC32, Check, check_of
from braid_hpc.kernels.frames import (
    AGAIN,
    BAD_CHECK,
    CUT_OFF,
    NO_FRAME,
    NOT_EXAMINED,
    PIECES,
    TOO_LONG,
    Framing,
    State,
    scan,
    scan_slow,
)
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["DEFAULT", "REASONS", "Aside", "Check", "FrameDecoder", "FrameFormat", "Frames"]

#: Types of fields, in the machine's order; each has the format's.
TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")

#: What is said of bytes that are set aside.
REASONS = {
    NO_FRAME: "no frame",
    TOO_LONG: "impossible length",
    BAD_CHECK: "bad check sum",
    CUT_OFF: "cut off",
    NOT_EXAMINED: "not examined",
}

#: Decoded at once, in bytes: as much as stays in a core's cache while it is searched, copied, cut into columns and
#: written. Smaller ones cost more, because what is done once for each slice takes as long as some
#: hundred kilobytes.
SLICE = 1 << 20
#: So many bytes are put behind a frame that was cut, for it to be whole in one place.
JOIN = 64 << 10

Fields = Mapping[str, str]


_HEADER = {"words": "uint32", "frame": "uint64", "time": "uint64", "first": "uint64", "firmware": "uint32"}
_WORD = {"channel": "uint16", "sample": "int16"}
_TRAILER = {"kept": "uint32", "dropped": "uint32", "flags": "uint32", "check": "uint32"}

#: The longest frame that a format may allow, bytes: a decoder waits for all of a frame, and a damaged or hostile one
#: may claim to be as long as any.
LONGEST = 1 << 30

#: Columns that a stream of frames has beside the fields, which therefore cannot be fields.
RESERVED = ("samples", "offset", "row", "reduced", "order")


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """How frames are laid out: magic and header, words, trailer.

    Fields follow each other without padding. A name that begins with ``_`` stands for bytes that mean nothing; fields
    beyond those that are named here are kept as further columns.

    Attributes
    ----------
    magic : bytes
        What each frame begins with; 2 to 16 bytes, as they are sent.
    header : mapping of str to str
        Fields behind the magic, name to type (:data:`TYPES`): ``words`` (how many follow) and ``frame`` (number) must
        be among them; ``time`` (in ticks), ``first`` (number of the first input sample that the frame covers) and
        ``firmware`` (id) may be.
    word : mapping of str to str
        Fields of a word.
    trailer : mapping of str to str
        Fields behind the words: ``kept`` and ``dropped`` (input samples), ``flags`` (of overflows, 0 if there was
        none) and ``check``, which covers all bytes of the frame before it.
    byte_order : str
        ``little`` or ``big``, of all fields.
    check : Check
        How the check sum is computed; of the width of its field.
    max_words : int
        Most words of a frame. One that claims more is none; so this bounds what a decoder holds. A frame of so many
        has at most :data:`LONGEST` bytes.
    position : str or None
        The field of a word that says which of the frame's input samples it is, counted from ``first``; None if none
        does, and then only the frame of a sample can be told, and not whether it was kept.
    tick_ns : float or None
        Nanoseconds of a tick of ``time``, where that is known.

    Raises
    ------
    InvalidInputError
        If that is no format that frames could have.
    """

    magic: bytes = b"BRF1"
    header: Fields = field(default_factory=_HEADER.copy)
    word: Fields = field(default_factory=_WORD.copy)
    trailer: Fields = field(default_factory=_TRAILER.copy)
    byte_order: str = "little"
    check: Check = CRC32
    max_words: int = 65536
    position: str | None = "channel"
    tick_ns: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a format.

        Raises
        ------
        InvalidInputError
            Always then.
        """
        if not isinstance(self.magic, bytes) or not 2 <= len(self.magic) <= 16:
            raise InvalidInputError(f"a magic is 2 to 16 bytes, not {self.magic!r}")
        if self.byte_order not in ("little", "big"):
            raise InvalidInputError(f"a byte order is little or big, not {self.byte_order!r}")
        for part in (self.header, self.word, self.trailer):
            for name, kind in part.items():
                if kind not in TYPES:
                    raise InvalidInputError(f"field {name!r} is of type {kind!r}: that is one of {', '.join(TYPES)}")
        if taken := [name for name in (*self.header, *self.trailer) if name in RESERVED]:
            raise InvalidInputError(f"a field cannot be called {taken[0]!r}: a column of its stream is")
        for part, needed in ((self.header, ("words", "frame")), (self.trailer, ("check",))):
            for name in needed:
                if not str(part.get(name)).startswith("uint"):
                    raise InvalidInputError(f"a frame needs a field {name!r} of an unsigned type")
        if not self.word or self.max_words < 1:
            raise InvalidInputError("a word needs fields, and a frame room for one word")
        if self.framing.longest > LONGEST:
            raise InvalidInputError(
                f"a frame of max_words={self.max_words} would have {self.framing.longest} bytes, more than {LONGEST}"
            )
        if self.check.width not in (8, 16, 32) or self.trailer["check"] != f"uint{self.check.width}":
            raise InvalidInputError(
                f"the field of the check sum is {self.trailer['check']}, and the sum has {self.check.width} bits"
            )
        if self.position is not None and self.position not in self.word:
            raise InvalidInputError(f"a word has no field {self.position!r} to say which sample it is")
        twice = [name for name in self.header if name in self.trailer and not name.startswith("_")]
        if twice:
            raise InvalidInputError(f"field {twice[0]!r} is in the header and in the trailer")

    def dtype(self, part: str) -> np.dtype[Any]:
        """Return the layout of a part.

        Parameters
        ----------
        part : str
            ``header`` (with the magic, as ``_magic``), ``word`` or ``trailer``.

        Returns
        -------
        numpy.dtype
            Without padding.
        """
        order = "<" if self.byte_order == "little" else ">"
        fields: list[Any] = [("_magic", f"V{len(self.magic)}")] if part == "header" else []
        fields += [(name, np.dtype(kind).newbyteorder(order)) for name, kind in getattr(self, part).items()]
        return np.dtype(fields)

    @property
    def framing(self) -> Framing:
        """What the kernel has to know."""
        header, word, trailer = (self.dtype(part) for part in ("header", "word", "trailer"))
        count, check = header.fields["words"], trailer.fields["check"]  # type: ignore[index]
        return Framing(
            self.magic,
            *(header.itemsize, word.itemsize, trailer.itemsize),
            *(count[1], count[0].itemsize, check[1]),
            self.byte_order == "big",
            self.max_words,
            self.check,
        )

    def describe(self) -> dict[str, Any]:
        """Return the format as plain values, as it is recorded.

        Returns
        -------
        dict
            All that the decoding depends on.
        """
        plain: dict[str, Any] = {"magic": self.magic.hex(), "byte_order": self.byte_order}
        for part in ("header", "word", "trailer"):
            plain[part] = [[name, kind] for name, kind in getattr(self, part).items()]
        plain["check"] = self.check._asdict()
        return {**plain, "max_words": self.max_words, "position": self.position, "tick_ns": self.tick_ns}

    def encode(self, words: Mapping[str, Sequence[Any] | NDArray[Any]], **fields: Any) -> bytes:
        """Make a frame, as a device or its emulation does.

        Parameters
        ----------
        words : mapping of str to sequence
            A column for each field of a word.
        **fields
            Fields of header and trailer; those that are not given are 0, ``words`` is counted, ``kept`` is their
            number, and ``check`` is computed.

        Returns
        -------
        bytes
            The frame.
        """
        body = np.zeros(len(next(iter(words.values()))), self.dtype("word"))
        for name in words:
            body[name] = words[name]
        head, tail = np.zeros(1, self.dtype("header")), np.zeros(1, self.dtype("trailer"))
        head["_magic"] = np.void(self.magic)
        head["words"] = len(body)
        if "kept" in self.trailer:
            tail["kept"] = len(body)
        for name, value in fields.items():
            (head if name in self.header else tail)[name] = value
        at = self.framing.check_at
        covered = head.tobytes() + body.tobytes() + tail.tobytes()[:at]
        if "check" not in fields:
            tail["check"] = check_of(covered, self.check)
        return covered + tail.tobytes()[at:]


#: The format of ``docs/fpga-format.md``.
DEFAULT = FrameFormat()


class Aside(NamedTuple):
    """Bytes that are no frame.

    Attributes
    ----------
    reason : str
        One of :data:`REASONS`.
    offset : int
        Where in the stream they were.
    data : bytes
        What they are.
    again : bool
        Whether they go on where the piece before them ended.
    """

    reason: str
    offset: int
    data: bytes
    again: bool


class Frames(NamedTuple):
    """Frames that were decoded at once; to be used before the next ones are asked for, which take their place.

    Attributes
    ----------
    offsets : ndarray of int64, shape (frames,)
        Where in the stream each began.
    header, trailer : structured ndarray, shape (frames,)
        Their fields, as they were sent.
    words : structured ndarray
        The words of all of them, one frame behind the other.
    aside : list of Aside
        What was between them.
    """

    offsets: NDArray[np.int64]
    header: NDArray[Any]
    trailer: NDArray[Any]
    words: NDArray[Any]
    aside: list[Aside]


class FrameDecoder:
    """Turns bytes into frames, however they are cut into chunks.

    Frames are the same for any cuts, and every byte ends in a frame or is set aside. It holds at most one frame of
    the greatest length and a slice of what it was given last.

    Parameters
    ----------
    layout : FrameFormat
        What frames look like.
    compiled : bool
        Whether numba does it; without it Python does, frame by frame, with check sums by zlib where they are CRC-32.
    """

    def __init__(self, layout: FrameFormat = DEFAULT, *, compiled: bool = False) -> None:
        self._parts = {part: layout.dtype(part) for part in ("header", "word", "trailer")}
        self._scan = functools.partial(scan if compiled else scan_slow, framing=layout.framing)
        # What waits is between begin and end; the room grows to some times a frame of the greatest length at most.
        self._room = np.empty(1 << 16, np.uint8)
        self._begin = self._end = 0
        self._words = self._room[:0]
        self._state = State()
        self._at = 0

    @property
    def passed(self) -> int:
        """How many bytes are done with; the next one that is held, or to come, has this offset."""
        return self._at

    @property
    def held(self) -> int:
        """How many bytes wait for what follows them."""
        return self._end - self._begin

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Frames]:
        """Take what comes next.

        Parameters
        ----------
        data : bytes-like
            Any number of bytes; they are looked at where they are until the last frames of them were given.

        Yields
        ------
        Frames
            For each slice of them, if there is anything in it.
        """
        given = np.frombuffer(data, np.uint8)
        at = 0
        while at < len(given):
            if self.held:
                joined = given[at : at + JOIN]
                self._hold(joined)
                at += len(joined)
                passed = yield from self._decode(self._room[self._begin : self._end], final=False)
                self._begin += passed
                if self.held <= len(joined):
                    # What waited is done with: from here on the bytes are used where they are.
                    at -= self.held
                    self._begin = self._end = 0
            else:
                part = given[at : at + SLICE]
                passed = yield from self._decode(part, final=False)
                at += passed
                if at - passed + len(part) == len(given) or not passed:
                    self._hold(part[passed:])
                    at += len(part) - passed

    def finish(self) -> Iterator[Frames]:
        """Say that nothing follows: what is held is no frame then, but frames may be within it.

        Yields
        ------
        Frames
            The last ones.
        """
        yield from self._decode_rest()

    def skip(self, lost: int) -> Iterator[Frames]:
        """Say that bytes are missing here; what comes next is counted from behind them.

        Parameters
        ----------
        lost : int
            How many.

        Yields
        ------
        Frames
            Those of the bytes that are held.
        """
        yield from self._decode_rest()
        self._at += lost
        self._state = State(since=self._at)

    def _hold(self, data: NDArray[np.uint8]) -> None:
        """Put bytes behind those that wait."""
        if self._end + len(data) > len(self._room):
            waiting = self._room[self._begin : self._end]
            need = 2 * (len(waiting) + len(data))
            room = np.empty(need, np.uint8) if need > len(self._room) else self._room
            room[: len(waiting)] = waiting if room is not self._room else waiting.copy()
            self._room, self._begin, self._end = room, 0, len(waiting)
        self._room[self._end : self._end + len(data)] = data
        self._end += len(data)

    def _decode_rest(self) -> Iterator[Frames]:
        self._begin += yield from self._decode(self._room[self._begin : self._end], final=True)

    def _decode(self, data: NDArray[np.uint8], *, final: bool) -> Generator[Frames, None, int]:
        """Give what is found in some bytes; return how many of them are done with."""
        begin, pieces = 0, PIECES
        if len(self._words) < len(data):
            self._words = np.empty(len(data), np.uint8)
        while begin < len(data) and pieces == PIECES:
            rest = data[begin:]
            found = self._scan(rest, at=self._at, final=final, state=self._state, room=self._words)
            pieces = len(found.aside)
            frames = Frames(
                found.places[:, 0] + self._at,
                found.headers.view(self._parts["header"])[:, 0],
                found.trailers.view(self._parts["trailer"])[:, 0],
                found.words.view(self._parts["word"]),
                [self._aside(rest, *piece) for piece in found.aside.tolist()],
            )
            begin += found.passed
            self._at += found.passed
            if len(frames.offsets) or frames.aside:
                yield frames
        return begin

    def _aside(self, data: NDArray[np.uint8], why: int, begin: int, end: int) -> Aside:
        return Aside(REASONS[why & ~AGAIN], self._at + begin, data[begin:end].tobytes(), bool(why & AGAIN))

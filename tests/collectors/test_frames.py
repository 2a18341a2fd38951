"""Frame formats, and decoding: the same frames however the bytes are cut, and every byte accounted for."""

from __future__ import annotations

import itertools
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.collectors.frames import DEFAULT, SLICE, Check, FrameDecoder, FrameFormat
from braid_hpc.kernels.checks import CRC32
from braid_hpc.vocabulary.errors import InvalidInputError

#: Everything unlike the default.
ODD = FrameFormat(
    magic=b"\xaa\x55\xaa",
    header={"frame": "uint16", "_spare": "uint8", "words": "uint64", "first": "uint32"},
    word={"sample": "float32", "line": "uint8"},
    trailer={"check": "uint16", "_end": "uint8", "flags": "uint8"},
    byte_order="big",
    check=Check(16, 0x1021, 0xFFFF, 0, False),
    max_words=9,
    position=None,
)


def decode(layout: FrameFormat, chunks: list[bytes], *, compiled: bool = False) -> dict[str, Any]:
    """All frames, field by field, and what was set aside, with pieces that go on joined."""
    decoder = FrameDecoder(layout, compiled=compiled)
    found: dict[str, list[Any]] = {"offsets": [], "header": [], "trailer": [], "words": []}
    aside: list[list[Any]] = []
    parts = (part for chunk in chunks for part in decoder.feed(chunk))
    for frames in itertools.chain(parts, decoder.finish()):
        for name, values in found.items():
            values += [item.tobytes() for item in getattr(frames, name)]
        for piece in frames.aside:
            if piece.again and aside and aside[-1][1] + len(aside[-1][2]) == piece.offset:
                aside[-1][2] += piece.data
            else:
                aside.append([piece.reason, piece.offset, piece.data])
    assert decoder.held == 0
    assert decoder.passed == sum(len(chunk) for chunk in chunks)
    return {**found, "aside": aside}


def frame(layout: FrameFormat, number: int, count: int) -> bytes:
    words = {name: np.arange(count) % 100 for name in layout.word}
    return layout.encode(words, frame=number)


@st.composite
def inputs(draw: st.DrawFn) -> tuple[FrameFormat, bytes, list[int]]:
    """Frames, cut and flipped ones, noise; and where the whole is cut."""
    layout = draw(st.sampled_from([DEFAULT, ODD]))
    good = st.builds(frame, st.just(layout), st.integers(0, 9), st.integers(0, 9))
    cut = st.tuples(good, st.integers(0, 60)).map(lambda pair: pair[0][: pair[1]])
    flipped = st.tuples(good, st.integers(0, 999), st.integers(1, 255)).map(
        lambda given: bytes(byte ^ given[2] * (at == given[1] % len(given[0])) for at, byte in enumerate(given[0]))
    )
    noise = st.one_of(st.binary(max_size=30), st.just(layout.magic), st.just(layout.magic[:1] * 5))
    data = b"".join(draw(st.lists(st.one_of(good, cut, flipped, noise), max_size=9)))
    return layout, data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=9)))


@given(given=inputs())
@settings(max_examples=60)
def test_any_cuts_give_the_frames_of_the_whole(given: tuple[FrameFormat, bytes, list[int]]) -> None:
    """And frames and what is set aside are all of the input, byte for byte, each once."""
    layout, data, cuts = given
    whole = decode(layout, [data])
    ends = [*cuts, len(data)]
    chunks = [data[begin:end] for begin, end in zip([0, *cuts], ends, strict=True)]
    assert decode(layout, chunks) == whole
    assert decode(layout, [data[at : at + 1] for at in range(len(data))]) == whole
    parts: dict[int, bytes] = {offset: piece for _, offset, piece in whole["aside"]}
    words = b"".join(whole["words"])
    for offset, header, trailer in zip(whole["offsets"], whole["header"], whole["trailer"], strict=True):
        (count,) = np.frombuffer(header, layout.dtype("header"))["words"].tolist()
        size = count * layout.framing.word
        parts[int.from_bytes(offset, "little")] = header + words[:size] + trailer
        words = words[size:]
    assert words == b""
    assert b"".join(parts[offset] for offset in sorted(parts)) == data


@pytest.mark.slow
@given(given=inputs())
def test_numba_finds_the_same(given: tuple[FrameFormat, bytes, list[int]]) -> None:
    layout, data, cuts = given
    chunks = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert decode(layout, chunks, compiled=True) == decode(layout, chunks)


@given(given=st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_kept_aside(given: list[bytes]) -> None:
    found = decode(DEFAULT, given)
    assert b"".join(piece for _, _, piece in found["aside"]) == b"".join(given)


@pytest.mark.parametrize("layout", [DEFAULT, ODD], ids=["default", "odd"])
def test_fields_come_back(layout: FrameFormat) -> None:
    """In the format's byte order and widths, NaN included."""
    sample = [1, -2, 3] if layout is DEFAULT else [1.5, float("nan"), float("-inf")]
    other = next(name for name in layout.word if name != "sample")
    data = layout.encode({"sample": sample, other: [7, 8, 9]}, frame=513, first=70_000, flags=3)
    (frames,) = FrameDecoder(layout).feed(data)
    assert frames.header["frame"].tolist() == [513]
    assert frames.header["words"].tolist() == [3]
    assert frames.header["first"].tolist() == [70_000]
    assert frames.trailer["flags"].tolist() == [3]
    assert np.array_equal(frames.words["sample"], np.array(sample, frames.words["sample"].dtype), equal_nan=True)
    assert frames.words[other].tolist() == [7, 8, 9]


def test_the_default_is_laid_out_as_its_page_says() -> None:
    """Byte for byte: the example of docs/fpga-format.md."""
    data = DEFAULT.encode(
        {"channel": [3, 9], "sample": [55, -2]}, frame=1, time=2, first=64, firmware=7, dropped=62, flags=0
    )
    assert data.hex(" ", 4).split() == [
        *("42524631", "02000000", "01000000", "00000000", "02000000", "00000000", "40000000", "00000000"),
        *("07000000", "03003700", "0900feff", "02000000", "3e000000", "00000000", data[-4:].hex()),
    ]
    assert data[-4:] == zlib.crc32(data[:-4]).to_bytes(4, "little")


def test_a_claim_of_any_size_takes_no_memory() -> None:
    """2**40 words are more than a frame may have: it is set aside at once, and what follows is found."""
    layout = FrameFormat(header={"words": "uint64", "frame": "uint64"}, max_words=100)
    good = frame(layout, 1, 3)
    claim = layout.magic + (2**40).to_bytes(8, "little")
    found = decode(layout, [claim, good])
    assert len(found["header"]) == 1
    assert found["aside"] == [["impossible length", 0, claim]]
    decoder = FrameDecoder()
    longest = DEFAULT.magic + DEFAULT.max_words.to_bytes(4, "little")
    tracemalloc.start()
    for _ in range(40):
        for _frames in decoder.feed(longest * 1000 + bytes(1 << 18)):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoder.held <= DEFAULT.framing.longest
    assert peak < 4 * SLICE


def test_bytes_that_are_missing_end_what_was_begun() -> None:
    data = frame(DEFAULT, 1, 5)
    decoder = FrameDecoder()
    assert list(decoder.feed(data[:50])) == []
    (rest,) = decoder.skip(len(data) - 50)
    assert [(piece.reason, piece.offset, piece.data) for piece in rest.aside] == [("cut off", 0, data[:50])]
    (found,) = decoder.feed(data)
    assert found.offsets.tolist() == [len(data)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"magic": b"x"}, "2 to 16 bytes"),
        ({"magic": "BRF1"}, "2 to 16 bytes"),
        ({"byte_order": "native"}, "little or big"),
        ({"header": {"frame": "uint64"}}, "field 'words' of an unsigned type"),
        ({"header": {"frame": "int64", "words": "uint8"}}, "field 'frame' of an unsigned type"),
        ({"word": {}, "position": None}, "a word needs fields"),
        ({"word": {"channel": "text"}}, "is of type 'text'"),
        ({"trailer": {"kept": "uint8"}}, "field 'check' of an unsigned type"),
        ({"check": Check(16, 0x1021, 0, 0, True)}, "the sum has 16 bits"),
        ({"check": CRC32._replace(width=24)}, "the sum has 24 bits"),
        ({"max_words": 0}, "room for one word"),
        ({"max_words": 2**40}, "more than 1073741824"),
        ({"position": "pixel"}, "no field 'pixel'"),
        ({"word": {"channel": "uint16", "offset": "uint8"}, "header": {**DEFAULT.header, "row": "uint8"}}, "'row'"),
        ({"header": {**DEFAULT.header, "kept": "uint32"}}, "in the header and in the trailer"),
    ],
)
def test_what_is_no_format_is_one_clear_sentence(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        FrameFormat(**change)

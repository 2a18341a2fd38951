"""Framing: the compiled kernel and its slow twin find the same frames, and lose no byte."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.kernels.checks import CRC32, Check, check_of
from braid_hpc.kernels.frames import (
    AGAIN,
    BAD_CHECK,
    NO_FRAME,
    NOT_EXAMINED,
    PIECES,
    Framing,
    Scanned,
    State,
    scan,
    scan_slow,
)
from tests.kernels.test_checks import CHECKS


def framing_of(check: Check, *, big: bool = False, max_words: int = 40, word: int = 3, count_bytes: int = 2) -> Framing:
    """A small format: magic, count; words; one byte, check sum, one byte that it does not cover."""
    size = check.width // 8
    return Framing(b"MG", 2 + count_bytes, word, size + 2, 2, count_bytes, 1, big, max_words, check)


def frame(framing: Framing, words: bytes, *, claim: int | None = None) -> bytes:
    order = "big" if framing.big else "little"
    count = len(words) // framing.word if claim is None else claim
    covered = framing.magic + count.to_bytes(framing.count_bytes, order) + words + b"\x07"  # type: ignore[arg-type]
    return covered + check_of(covered, framing.check).to_bytes(framing.check.width // 8, order) + b"\xee"  # type: ignore[arg-type]


FRAMINGS = st.builds(
    framing_of,
    st.sampled_from([check for check, _ in CHECKS.values()]),
    big=st.booleans(),
    max_words=st.sampled_from([1, 40, 300]),
    word=st.sampled_from([1, 3, 4]),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Framing, bytes]:
    """Frames, damaged ones, pieces of them and noise, in any order."""
    framing = draw(FRAMINGS)
    words = st.binary(max_size=60).map(lambda data: data[: len(data) // framing.word * framing.word])
    good = words.map(lambda data: frame(framing, data))
    cut = st.tuples(good, st.integers(0, 30)).map(lambda pair: pair[0][: pair[1]])
    flipped = st.tuples(good, st.integers(0, 1000)).map(
        lambda pair: bytes(byte ^ (at == pair[1] % len(pair[0])) for at, byte in enumerate(pair[0]))
    )
    claims = st.tuples(words, st.integers(0, 65535)).map(lambda pair: frame(framing, pair[0], claim=pair[1]))
    noise = st.one_of(st.binary(max_size=20), st.sampled_from([b"M", b"MG", b"MGMGMG", b"G"]))
    return framing, b"".join(draw(st.lists(st.one_of(good, cut, flipped, claims, noise), max_size=12)))


def scanned(function: object, data: bytes, framing: Framing, *, final: bool, state: State | None = None) -> Scanned:
    state = State() if state is None else state
    return function(np.frombuffer(data, np.uint8), framing, at=0, final=final, state=state)  # type: ignore[operator, no-any-return]


@given(stream=streams(), final=st.booleans())
@settings(max_examples=100)
def test_twin_and_kernel_agree(stream: tuple[Framing, bytes], final: bool) -> None:
    framing, data = stream
    one, other = State(), State()
    fast, slow = (
        scanned(scan, data, framing, final=final, state=one),
        scanned(scan_slow, data, framing, final=final, state=other),
    )
    assert one == other
    assert fast.passed == slow.passed
    for part in Scanned._fields[1:]:
        found, expected = getattr(fast, part), getattr(slow, part)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()


@given(stream=streams())
def test_frames_and_pieces_tile_what_was_passed(stream: tuple[Framing, bytes]) -> None:
    framing, data = stream
    found = scanned(scan_slow, data, framing, final=True)
    spans = [(at, at + size) for at, size in found.places.tolist()] + [tuple(row[1:]) for row in found.aside.tolist()]
    at = 0
    for begin, end in sorted(spans):
        assert begin == at < end
        at = end
    assert at == found.passed == len(data)


def test_a_frame_behind_damage_is_found_at_the_next_byte() -> None:
    """Also where a damaged length would have swallowed it."""
    framing = framing_of(CRC32)
    good = frame(framing, b"abc" * 4)
    for function in (scan, scan_slow):
        found = scanned(function, frame(framing, b"", claim=40)[:5] + good, framing, final=True)
        assert found.places.tolist() == [[5, len(good)]]
        found = scanned(function, b"?" * 7 + good[:-3] + b"\0" + good[-2:] + good, framing, final=True)
        assert found.places.tolist() == [[7 + len(good), len(good)]]
        assert found.aside[:, 0].tolist() == [NO_FRAME, BAD_CHECK]


def test_what_goes_on_in_the_next_call_says_so() -> None:
    framing = framing_of(CRC32)
    for function in (scan, scan_slow):
        state = State()
        scanned(function, b"????", framing, final=False, state=state)
        again = scanned(function, b"??", framing, final=False, state=state)
        assert again.aside.tolist() == [[NO_FRAME + AGAIN, 0, 2]]


def test_bytes_made_to_cost_time_cost_little() -> None:
    """Each eight bytes claim the longest frame: most of them are not examined, and all are accounted for."""
    framing = Framing(b"BRF1", 8, 4, 16, 4, 4, 12, False, 1 << 16, CRC32)
    data = (b"BRF1" + struct.pack("<I", framing.max_words)) * 200_000
    state, at, reasons, rest = State(), 0, set(), np.frombuffer(data, np.uint8)
    while True:
        found = scan(rest[at:], framing, at=at, final=False, state=state)
        reasons |= set(found.aside[:, 0].tolist())
        at += found.passed
        if len(found.aside) < PIECES:
            break
    assert len(data) - at < framing.longest
    assert NOT_EXAMINED in reasons
    assert state.wasted < 17 * len(data) + 5 * framing.longest


def test_numba_is_imported_by_the_first_call_only() -> None:
    program = (
        "import sys, numpy; from braid_hpc.kernels import checks as c, frames as f;"
        "F = f.Framing(b'MG', 4, 1, 4, 2, 2, 0, False, 9, c.CRC32); d = numpy.zeros(9, 'u1');"
        "f.scan_slow(d, F, at=0, final=True, state=f.State()); assert 'numba' not in sys.modules;"
        "f.scan(d, F, at=0, final=True, state=f.State()); assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)

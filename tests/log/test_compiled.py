"""The compiled tail: the contract of every tail, and byte for byte what its twin in Python writes."""

from __future__ import annotations

import mmap
import os
import random
import struct
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid_hpc.log import seal as seal_module
from braid_hpc.log import tail as twin_module
from braid_hpc.log.layout import PAGE, ROW_BYTES, TailHeader
from braid_hpc.log.seal import encode_rows, encode_tail, event_buffers, event_framing, give_back
from braid_hpc.log.tail import FrameTail, MappedTail, Tail
from braid_hpc.log.writer import RankLog
from braid_hpc.reading.events import ROW_DTYPE
from braid_hpc.reading.tails import _verifies, read_tail
from braid_hpc.vocabulary.codes import Code
from tests.log.contract import WRITER, TailContract, TailFactory
from tests.rank_logs import read_only_log, small_tails

_tail = pytest.importorskip("braid_hpc.kernels._tail", reason="the tail is not compiled here")
CompiledTail = pytest.importorskip("braid_hpc.log.compiled").CompiledTail

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
# Around the length up to which a row and its payload are hashed in one piece, and far from it.
PAYLOADS = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([0, 1, 71, 72, 73, 183, 184, 185, 1023, 1024, 1025, 5000]).map(
        lambda size: random.Random(size).randbytes(size)
    ),
)
GOOD = st.tuples(U16, U32, U64, U64, U32, U16, PAYLOADS)
# What struct.pack refuses: beyond the range of the field, and no integer.
BAD = st.builds(
    lambda row, at, value: (*row[:at], value, *row[at + 1 :]),
    GOOD,
    st.integers(0, 5),
    st.sampled_from([-1, 1 << 64, 1 << 200, -(1 << 64), 1.0, None, "1"]),
)


class Index:
    """An integer that is none."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def attempt(tail: Tail, row: tuple[Any, ...]) -> int | type[Exception]:
    """Give what a call returned, or the type of what it raised."""
    try:
        return tail.append(*row)
    except Exception as error:
        return type(error)


class TestCompiledTail(TailContract):
    """A tail in a shared mapping, with a compiled append."""

    @pytest.fixture
    def make_tail(self) -> TailFactory:
        """Give the class under test."""
        return CompiledTail  # type: ignore[no-any-return]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.one_of(GOOD, GOOD, GOOD, BAD), max_size=40),
    slots=st.integers(1, 40),
    heap=st.sampled_from([1, PAGE, 4 * PAGE, 64 * PAGE]),
    first=st.sampled_from([1, 17, 2**32 - 5, 2**40]),
)
def test_both_write_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], slots: int, heap: int, first: int
) -> None:
    """The same calls return and raise the same, and leave the same bytes, if the twin is told the same times."""
    folder = tmp_path_factory.mktemp("tails")
    compiled = CompiledTail(folder / "compiled", WRITER, 3, first, slots, heap)
    returned = [attempt(compiled, row) for row in rows]
    state = (compiled.fill, compiled.settled)
    compiled.close()
    data = compiled.path.read_bytes()
    times = [struct.unpack_from("<q", data, PAGE + slot * ROW_BYTES)[0] for slot in range(slots)]

    twin = MappedTail(folder / "twin", WRITER, 3, first, slots, heap)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twin_module, "monotonic_ns", lambda: times[twin._next] if twin._next < slots else 0)
        assert [attempt(twin, row) for row in rows] == returned
    assert (twin.fill, twin.settled) == state
    twin.close()
    assert twin.path.read_bytes() == data
    scan = read_tail(compiled.path)
    assert (scan.corrupt, scan.torn, scan.damaged) == ([], None, None)
    assert len(scan.events) == sum(isinstance(sequence, int) and sequence > 0 for sequence in returned)


@pytest.mark.parametrize("kind", [CompiledTail, MappedTail, FrameTail])
@pytest.mark.parametrize("at", range(6))
def test_a_number_that_does_not_fit_is_refused_alike(kind: TailFactory, at: int, tmp_path: Path) -> None:
    """By struct.error, with nothing stored and no place taken, so that the tail can still be sealed."""
    tail = kind(tmp_path / "tail", WRITER, 1, 1, 8, PAGE)
    most = (2**16, 2**32, 2**64, 2**64, 2**32, 2**16)[at]
    for value in (-1, most, 1.5, None, "1"):
        row: list[Any] = [1, 2, 3, 4, 5, 6, b"payload"]
        row[at] = value
        with pytest.raises(struct.error):
            tail.append(*row)
    assert tail.settled
    row = [1, 2, 3, 4, 5, 6, b"payload"]
    row[at] = Index(most - 1)
    assert tail.append(*row) == 1
    assert len(read_tail(tail.path).events) == 1
    tail.close()


@pytest.mark.parametrize("kind", [CompiledTail, MappedTail, FrameTail])
def test_a_payload_that_has_no_bytes_is_refused_alike(kind: Any, tmp_path: Path) -> None:
    """By TypeError; what has bytes without being bytes is taken."""
    tail = kind(tmp_path / "tail", WRITER, 1, 1, 8, PAGE)
    for payload in ("text", None, 3, [1, 2]):
        with pytest.raises(TypeError):
            tail.append(1, 0, 0, 0, 0, 0, payload)
    with pytest.raises(TypeError):
        tail.append(1, 0, 0)
    assert tail.settled
    assert tail.append(1, 0, 0, 0, 0, 0, bytearray(b"one")) == 1
    assert tail.append(1, 0, 0, 0, 0, 0, memoryview(b"two")) == 2
    events = read_tail(tail.path).events
    assert [events.payload(0), events.payload(1)] == [b"one", b"two"]
    tail.close()


def test_a_number_may_be_read_by_python_code(tmp_path: Path) -> None:
    """Which appends to the same tail, fills it, or closes it: nothing is torn, and nothing is written outside."""
    tail = CompiledTail(tmp_path / "tail", WRITER, 1, 1, 3, PAGE)

    class Nested:
        def __index__(self) -> int:
            return int(tail.append(2, 0, 9, 0, 0, 0, b"inner"))

    class Closing:
        def __index__(self) -> int:
            tail.close()
            return 1

    assert tail.append(1, 0, Nested(), 0, 0, 0, b"outer") == 2
    events = read_tail(tail.path).events
    assert events["subject"].tolist() == [9, 1]
    assert tail.append(1, 0, Closing(), 0, 0, 0, b"late") == 0
    assert len(read_tail(tail.path).events) == 2


@settings(deadline=None)
@given(
    st.sampled_from([0, 100, PAGE, 2 * PAGE, 2 * PAGE + 24]),
    st.integers(0, 300) | U64,
    st.integers(0, 3 * PAGE) | U64,
    st.integers(0, 3 * PAGE) | U64,
)
def test_no_table_reaches_beyond_its_buffer(size: int, rows: int, heap_offset: int, heap_bytes: int) -> None:
    """What would is refused when it is made; whatever is stored then stays inside."""
    guard = b"\xaa" * PAGE
    whole = mmap.mmap(-1, PAGE + size + PAGE)
    whole[:PAGE] = whole[PAGE + size :] = guard
    with memoryview(whole) as outer, outer[PAGE : PAGE + size] as inner:
        fits = size >= PAGE and PAGE + rows * ROW_BYTES <= heap_offset and heap_offset + heap_bytes <= size
        if not fits:
            with pytest.raises(ValueError, match="do not lie"):
                _tail.Table(inner, WRITER, 1, rows, heap_offset, heap_bytes)
        else:
            table = _tail.Table(inner, WRITER, 1, rows, heap_offset, heap_bytes)
            while table.append(1, 0, 0, 0, 0, 0, b"\xff" * 50):
                pass
            with pytest.raises(BufferError):
                inner.release()
            table.close()
            assert table.append(1, 0, 0, 0, 0, 0, b"") == 0
    assert whole[:PAGE] == whole[PAGE + size :] == guard
    whole.close()


def test_a_buffer_that_cannot_be_written_is_refused() -> None:
    """A table is made of a writable mapping."""
    with pytest.raises(BufferError):
        _tail.Table(bytes(4 * PAGE), WRITER, 1, 1, 2 * PAGE, PAGE)


# ---- reading


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(0, 40), st.booleans())
def test_verify_rows_judges_as_the_python_loop(
    tmp_path_factory: pytest.TempPathFactory, seed: int, flips: int, cut: bool
) -> None:
    """Whatever is flipped or cut off; the header is believed no more than the rows."""
    dice = random.Random(seed)
    tail = CompiledTail(tmp_path_factory.mktemp("tails") / "tail", WRITER, 1, 2**32 - 7, 40, 16 * PAGE)
    for _ in range(dice.randrange(41)):
        tail.append(1, 2, 3, 4, 5, 6, dice.randbytes(dice.choice([0, 5, 100, 1024, 1025, 3000])))
    tail.close()
    data = bytearray(tail.path.read_bytes())
    for _ in range(flips):
        data[PAGE + dice.randrange(40 * ROW_BYTES)] ^= 1 << dice.randrange(8)
    damaged = bytes(data[: dice.randrange(len(data))] if cut else data)
    offset = dice.choice([tail.header.heap_offset, 0, len(damaged), 2**64 - 1])
    header = TailHeader(WRITER, 1, tail.header.first, 40, offset, tail.header.heap_bytes)
    whole = min(40, max(0, len(damaged) - PAGE) // ROW_BYTES)
    words = [int.from_bytes(damaged[PAGE + 64 * slot + 56 :][:8], "little") for slot in range(whole)]
    wanted = bytes((1 if _verifies(damaged, header, slot) else 2) if word else 0 for slot, word in enumerate(words))
    assert _tail.verify_rows(damaged, header.first, header.rows, offset) == wanted


def test_a_tail_is_read_alike_without_the_compiled_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same events, and the same sequences named as corrupt."""
    tail = CompiledTail(tmp_path / "tail", WRITER, 1, 1, 64, 4 * PAGE)
    for step in range(50):
        tail.append(1, 0, step, 0, 0, 0, b"x" * step)
    tail.close()
    data = bytearray(tail.path.read_bytes())
    data[PAGE + 7 * ROW_BYTES + 3] ^= 1
    tail.path.write_bytes(data)
    compiled = read_tail(tail.path)
    monkeypatch.setenv("BRAID_TAIL", "python")
    python = read_tail(tail.path)
    assert compiled.corrupt == python.corrupt == [8]
    assert compiled.events["subject"].tolist() == python.events["subject"].tolist()
    assert ROW_DTYPE.itemsize == ROW_BYTES


@settings(max_examples=60, deadline=None)
@given(st.lists(PAYLOADS, max_size=40), st.sets(st.integers(0, 39)))
def test_rows_are_encoded_as_nanoarrow_encodes_the_columns_of_the_twin(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], holes: set[int]
) -> None:
    """Byte for byte, also where rows were reserved and never published; without rows, where both are right, not."""
    tail = CompiledTail(tmp_path_factory.mktemp("tails") / "tail", WRITER, 1, 2**33, 40, 64 * PAGE)
    for at, payload in enumerate(payloads):
        tail.append(at, 2, at, 4, 5, 6, payload)
    view = tail.rows_view()
    for slot in holes:
        view[PAGE + ROW_BYTES * slot + 56 : PAGE + ROW_BYTES * (slot + 1)] = bytes(8)
    columns, offsets, texts, rows = event_buffers(view, tail.header)
    schema, batch = encode_rows(columns, offsets, texts, rows)
    compiled = encode_tail(view, tail.header)
    if rows:
        assert compiled == (schema, batch, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seal_module, "compiled_module", lambda: None)
        assert encode_tail(view, tail.header) == compiled
    give_back(compiled[1])
    tail.close()


def test_encoding_reaches_not_beyond_its_buffers(tmp_path: Path) -> None:
    """Whatever a damaged tail says of its payloads, and however small the memory for the batch is."""
    tail = CompiledTail(tmp_path / "tail", WRITER, 1, 1, 8, PAGE)
    tail.append(1, 0, 0, 0, 0, 0, b"payload")
    view, header = tail.rows_view(), tail.header
    framing = event_framing()
    assert framing is not None
    head, places, memory = framing.sample, framing.places, bytearray(1 << 16)
    for rows, offset in ((1 << 40, header.heap_offset), (8, 1 << 50), (2**64 - 1, 0)):
        with pytest.raises(ValueError, match="do not lie"):
            _tail.encode_rows(view, 1, rows, offset, head, places, memory)
    used, length = _tail.encode_rows(view, 1, header.rows, header.heap_offset, head, places, memory)
    assert (used, length) == (1, len(head) + 10 * 8 + 8 + 8)
    for small in (0, len(head), length - 1):
        with pytest.raises(ValueError, match="longer than the memory"):
            _tail.encode_rows(view, 1, header.rows, header.heap_offset, head, places, bytearray(small))
    for at in range(4):
        for wrong in (len(head) - 7, 2**64 - 8):
            there = (*places[:at], wrong, *places[at + 1 :])
            with pytest.raises(ValueError, match="shorter"):
                _tail.encode_rows(view, 1, header.rows, header.heap_offset, head, there, memory)
    for damage in (b"\xff\xff\xff\xff\x07\0\0\0", b"\0\0\0\0\xff\xff\xff\xff"):
        view[PAGE + 40 : PAGE + 48] = damage
        with pytest.raises(ValueError, match="does not lie"):
            _tail.encode_rows(view, 1, header.rows, header.heap_offset, head, places, memory)
    tail.close()


# ---- in a writer


def test_a_log_uses_it_from_tail_to_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by name and with what is left out; what does not fit is refused as the method refuses it."""
    small_tails(monkeypatch, rows=8)
    log = RankLog(tmp_path, {}, background=False)
    sequences = []
    for step in range(50):
        sequences.append(log.append(Code.CLOCK, subject=step))
        sequences.append(log.append(Code.TAG, 0, step, other=5, payload=b"%d" % step))
    assert sequences == list(range(1, 101))
    assert isinstance(log.tail, CompiledTail)
    for wrong in ((), (1, 2, 3, 4, 5, 6, b"7", 8)):
        with pytest.raises(TypeError):
            log.append(*wrong)
    for names in ({"unknown": 1}, {"code": 1}):
        with pytest.raises(TypeError):
            log.append(1, **names)  # type: ignore[arg-type]
    assert log.lost == 0
    assert log.append(1 << 16) == 0
    assert log.append(1, payload="text") == 0  # type: ignore[arg-type]
    assert log.lost == 2
    log.close()
    events = read_only_log(tmp_path).events
    tagged = list(events.positions(Code.TAG))
    assert [events.payload(row) for row in tagged] == [b"%d" % step for step in range(50)]
    assert [int(events["subject"][row]) for row in tagged] == list(range(50))
    assert {int(events["other"][row]) for row in tagged} == {5}


def test_a_payload_larger_than_a_tail_gets_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the compiled way is taken again behind it."""
    small_tails(monkeypatch)
    log = RankLog(tmp_path, {}, background=False)
    assert [log.append(Code.TAG, payload=bytes(size)) for size in (10, 1 << 20, 10)] == [1, 65, 66]
    log.close()
    events = read_only_log(tmp_path).events
    assert [len(events.payload(row)) for row in events.positions(Code.TAG)] == [10, 1 << 20, 10]


def test_a_forked_child_writes_into_its_own_log(tmp_path: Path) -> None:
    """The cell that parent and child share by inheritance leads nowhere in the child."""
    log = RankLog(tmp_path, {}, background=False)
    log.append(Code.CLOCK, subject=1)
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            log.append(Code.CLOCK, subject=2)
            log.append(Code.CLOCK, subject=3)
            log.close()
            ended = 0
        finally:
            os._exit(ended)
    assert os.waitpid(child, 0)[1] == 0
    assert log.append(Code.CLOCK, subject=4) == 2
    log.close()
    found = []
    for folder in tmp_path.iterdir():
        scan = read_tail(folder / "tail-000001")
        found.append([int(scan.events["subject"][row]) for row in scan.events.positions(Code.CLOCK)])
    assert sorted(found) == [[1, 4], [2, 3]]


def test_a_log_that_is_let_go_is_gone_at_once(tmp_path: Path) -> None:
    """With its mappings: its cell does not hold it. A call that was kept is harmless."""
    log = RankLog(tmp_path, {}, background=False)
    log.append(Code.CLOCK)
    gone, append = weakref.ref(log), log.append
    del log
    assert gone() is None
    assert append(Code.CLOCK) in (0, 2)


def test_a_cell_takes_tables_only() -> None:
    """And says so."""
    cell = _tail.Cell(lambda *row, **named: (row, named))
    with pytest.raises(TypeError, match="Table or None"):
        cell.point("table")
    cell.point(None)
    assert cell.append(1, 2, flags=3) == ((1, 2), {"flags": 3})

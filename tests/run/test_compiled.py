"""The compiled stream and its rows: what the twins in Python say and store, value for value and byte for byte."""

from __future__ import annotations

import collections
import copy
import math
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid_hpc.log.writer import RankLog
from braid_hpc.reading.tails import read_tail
from braid_hpc.run.handles import NO_ROWS, Rows
from braid_hpc.run.streams import Stream, stream_type
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.columns import FIXED, VARIABLE
from tests.rank_logs import small_tails
from tests.ranks import RunRanks

_tail = pytest.importorskip("braid_hpc.kernels._tail", reason="the tail is not compiled here")


class Index:
    """An integer that is none."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Index({self.value})"


class Failing:
    """What raises when it is looked at."""

    def __index__(self) -> int:
        raise ValueError("no index")

    def __float__(self) -> float:
        raise ValueError("no float")

    def __repr__(self) -> str:
        return "Failing()"


class Run:
    """Stands for a run, which a stream asks for nothing but what to do with a refusal."""

    def _note_late(self) -> None:
        """Do nothing."""


KINDS = st.sampled_from([*FIXED, *VARIABLE])
# Both ends of every range, and just beyond them.
EDGES = sorted(
    {sign * (1 << bits) + step for bits in (0, 7, 8, 15, 16, 31, 32, 63, 64) for sign in (-1, 1) for step in (-1, 0, 1)}
)
NUMBERS = st.one_of(
    st.sampled_from(EDGES),
    st.integers(),
    st.floats(),
    st.sampled_from(
        [math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0, 1e38, 3.4028235677973366e38, 1e39, 5e-324, 1 << 2000]
    ),
    st.sampled_from(
        [np.int8(-3), np.uint64(2**64 - 1), np.float32(0.1), np.float64(0.1), np.bool_(True), np.float16(2)]
    ),
    st.sampled_from([True, False, Index(5), Index(1 << 40), Index(-1), Failing()]),
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60),
    st.sampled_from(
        ["", "é", "\ud800", "x" * 5000, np.str_("numpy"), b"", b"\xff" * 2000, bytearray(b"no"), memoryview(b"no")]
    ),
)
ANYTHING = st.one_of(st.none(), NUMBERS, TEXTS, st.just(object), st.just([1]))


def values_of(kind: str) -> st.SearchStrategy[Any]:
    """Give values for a column, most of them good."""
    if kind in FIXED:
        good = st.booleans() if kind == "bool" else NUMBERS
        if kind not in ("bool", "float32", "float64"):
            bits = struct.calcsize("<" + FIXED[kind]) * 8
            signed = FIXED[kind].islower()
            good = st.integers(-(1 << bits - 1) if signed else 0, (1 << bits - signed) - 1)
    else:
        good = st.text(max_size=60) if kind == "text" else st.binary(max_size=60)
    return st.one_of(good, good, good, NUMBERS if kind in FIXED else TEXTS, ANYTHING)


@st.composite
def calls(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Draw columns, and calls of append with them: in order, by name, too few, too many."""
    columns = [(f"c{at}", kind) for at, kind in enumerate(draw(st.lists(KINDS, min_size=1, max_size=8)))]
    made: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    for _ in range(draw(st.integers(1, 8))):
        values = tuple(draw(values_of(kind)) for _, kind in columns)
        cut = draw(st.sampled_from([len(values)] * 6 + [0, len(values) - 1]))
        rest = {name: value for (name, _), value in zip(columns[cut:], values[cut:], strict=True)}
        extra = draw(st.sampled_from([()] * 8 + [(1,)]))
        made.append(((*values[:cut], *extra), rest if draw(st.booleans()) else {}))
    return columns, made


def outcome(stream: Stream, values: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Give where the row stands, or what was raised."""
    try:
        return tuple(stream.append(*values, **named))[1:]
    except Exception as error:
        return type(error), str(error)


def make(folder: Path, columns: list[tuple[str, str]], kind: str) -> tuple[RankLog, Stream]:
    """Make a log and a stream of one kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAID_TAIL", kind)
        log = RankLog(folder, {}, background=False)
        stream = stream_type(log)(Run(), log, 7, "stream", columns)  # type: ignore[arg-type]
    assert isinstance(stream, _tail.StreamBase) == (kind == "compiled")
    return log, stream


def rows_of(log: RankLog) -> list[tuple[Any, ...]]:
    """Give what a log's first tail holds, without times."""
    events = read_tail(log.directory / "tail-000001").events
    fields = ("sequence", "code", "name", "subject", "object", "other", "flags", "thread")
    return [(*(int(events[field][row]) for field in fields), events.payload(row)) for row in range(len(events))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls())
def test_both_streams_do_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    given_calls: tuple[list[tuple[str, str]], list[tuple[tuple[Any, ...], dict[str, Any]]]],
) -> None:
    """Whatever is given: the same rows are stored, the same places returned, the same errors raised."""
    columns, made = given_calls
    folder = tmp_path_factory.mktemp("streams")
    log, stream = make(folder, columns, "compiled")
    twin_log, twin = make(folder, columns, "python")
    for values, named in made:
        assert outcome(stream, values, named) == outcome(twin, values, named)
    assert stream._next == twin._next
    assert rows_of(log) == rows_of(twin_log)
    log.close()
    twin_log.close()


@pytest.mark.parametrize("length", [0, 1, 1000, 1015, 1016, 1017, 5000, 100_000])
def test_long_texts_are_stored_whole(length: int, tmp_path: Path) -> None:
    """Also beyond what is hashed in one piece, and with several in a row."""
    columns = [("a", "text"), ("n", "int32"), ("b", "bytes"), ("c", "text")]
    stored = []
    for kind in ("compiled", "python"):
        log, stream = make(tmp_path / kind, columns, kind)
        stream.append("é" * (length // 2), -1, os.urandom(0) + b"\0" * length, "z" * (length // 3))
        stored.append(rows_of(log))
        log.close()
    assert stored[0] == stored[1]
    assert len(stored[0]) == 1


@pytest.mark.parametrize(
    "columns",
    [[(f"c{at}", "int64") for at in range(65)], [(f"c{at}", "text") for at in range(17)]],
    ids=["columns", "texts"],
)
def test_rows_wider_than_the_compiled_way_takes_go_the_other(columns: list[tuple[str, str]], tmp_path: Path) -> None:
    """Nobody sees the difference."""
    log, stream = make(tmp_path, columns, "compiled")
    value: Any = "x" if columns[0][1] == "text" else 3
    assert stream.append(*[value] * len(columns)) == (log.writer, "stream", 0, 1)
    assert len(rows_of(log)) == 1
    log.close()


def test_rows_go_on_in_the_next_tail_and_beside_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one count of rows, whichever way each of them takes."""
    small_tails(monkeypatch, rows=8)
    log, stream = make(tmp_path, [("a", "int64")], "compiled")
    places = []
    for step in range(50):
        places += [stream.append(step), stream.append(None), stream.append(a=step), stream.extend({"a": [1, 2]})]
    log.close()
    assert [place.first for place in places] == [5 * (at // 4) + at % 4 for at in range(200)]
    assert {tuple(place)[:2] for place in places} == {(log.writer, "stream")}
    assert log.append(Code.ROW) == 0
    assert stream.append(1) == NO_ROWS


def test_a_value_may_append_to_the_same_stream(tmp_path: Path) -> None:
    """When it is read as a number, before the row around it has a place."""
    log, stream = make(tmp_path, [("a", "int64"), ("b", "int64")], "compiled")

    class Nested:
        def __index__(self) -> int:
            return stream.append(8, 8).first

    assert [stream.append(1, Nested()).first, stream.append(2, 2).first] == [1, 2]
    payloads = [struct.unpack("<qq", row[-1]) for row in rows_of(log)]
    assert payloads == [(8, 8), (1, 0), (2, 2)]
    log.close()


def test_a_stream_whose_log_is_replaced_in_a_child_names_the_new_writer(tmp_path: Path) -> None:
    """A place without its writer would be another row."""
    log, stream = make(tmp_path, [("a", "int64")], "compiled")
    stream.append(1)
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            places = [stream.append(2), stream.append(3)]
            ended = 0 if [(place.writer, place.count) for place in places] == [(log.writer, 1)] * 2 else 2
        finally:
            os._exit(ended)
    assert os.waitpid(child, 0)[1] == 0
    assert stream.append(2) == (log.writer, "stream", 1, 1)
    log.close()


# ---- places of rows

NamedRows = collections.namedtuple("NamedRows", ["writer", "stream", "first", "count"])
PLACES = st.tuples(st.binary(max_size=16), st.text(max_size=5), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


@given(PLACES, PLACES, st.integers(-5, 5))
def test_places_are_as_named_tuples(values: tuple[Any, ...], others: tuple[Any, ...], index: int) -> None:
    """They read, compare, hash, unpack and print alike, with each other and with tuples."""
    rows, named, other = _tail.Rows(*values), NamedRows(*values), _tail.Rows(*others)
    assert (rows.writer, rows.stream, rows.first, rows.count) == values
    assert tuple(rows) == (*rows,) == values
    assert (rows == values, values == rows, rows == other, rows != other) == (
        True,
        True,
        values == others,
        values != others,
    )
    assert (rows < other, rows <= other, rows > other, rows >= other) == (
        values < others,
        values <= others,
        values > others,
        values >= others,
    )
    assert rows != list(values)
    assert (len(rows), hash(rows)) == (4, hash(named))
    assert repr(rows) == repr(named).replace("NamedRows", "Rows")
    assert rows[index:] == named[index:]
    if -4 <= index < 4:
        assert rows[index] == named[index]
    else:
        with pytest.raises(IndexError):
            rows[index]
    assert (values[2] in rows, object() in rows) == (True, False)


def test_places_cannot_be_changed() -> None:
    """They are keys of dictionaries."""
    rows = _tail.Rows(writer=bytes(16), stream="a", first=1, count=2)
    with pytest.raises(AttributeError):
        rows.first = 2
    with pytest.raises(TypeError):
        _tail.Rows("writer", "a", 1, 2)
    with pytest.raises(struct.error):
        _tail.Rows(bytes(16), "a", -1, 2)
    with pytest.raises(TypeError):
        rows < 3  # noqa: B015


def test_places_can_be_kept_beyond_the_process(run_ranks: RunRanks) -> None:
    """Pickled by one process, read by one where nothing is compiled, and the other way."""
    rows = Rows(bytes(range(16)), "a", 3, 4)
    assert type(rows) is _tail.Rows
    assert type(pickle.loads(pickle.dumps(rows))) is _tail.Rows
    assert copy.deepcopy([rows]) == [copy.copy(rows)] == [rows]
    script = """
    import os, pickle, sys
    os.environ["BRAID_TAIL"] = "python"
    rows = pickle.loads(bytes.fromhex(sys.argv[1]))
    assert isinstance(rows, tuple) and rows == (bytes(range(16)), "a", 3, 4), rows
    assert "braid_hpc.kernels._tail" not in sys.modules
    print(pickle.dumps(rows).hex())
    """
    printed = run_ranks(0, script, pickle.dumps(rows).hex()).stdout
    assert pickle.loads(bytes.fromhex(printed)) == rows


def test_many_places_can_be_kept() -> None:
    """The memory of one that is forgotten is used again, and only then."""
    kept = [_tail.Rows(bytes(16), "a", number, 1) for number in range(1000)]
    for number in range(0, 1000, 3):
        kept[number] = _tail.Rows(bytes(16), "b", number, 1)
    assert [(place.stream, place.first) for place in kept] == [("ab"[n % 3 == 0], n) for n in range(1000)]


def test_a_compiled_stream_counts_with_another_compiled_stream_only(tmp_path: Path) -> None:
    """Whose counter it can reach; with itself again, it counts on for itself."""
    log, stream = make(tmp_path, [("a", "int64")], "compiled")
    other = stream_type(log)(Run(), log, 8, "stream", [("b", "int64")])  # type: ignore[arg-type]
    stream.append(1)
    other._counter = stream
    assert other._counter is stream
    assert other.append(2).first == 1
    assert (stream._next, other._next) == (2, 0)
    with pytest.raises(TypeError, match="a stream of the same type"):
        other._counter = None  # type: ignore[assignment]
    other._counter = other
    assert other.append(3).first == 0
    log.close()

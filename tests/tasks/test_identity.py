"""The identity of a call: what makes it another one, what does not, and what is refused."""

from __future__ import annotations

import array
import copy
import datetime
import decimal
import math
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import braid_hpc as braid
from braid_hpc.run.job import job
from braid_hpc.tasks import forms
from braid_hpc.tasks.keys import keys_of_columns
from braid_hpc.tasks.known import RESULTS
from braid_hpc.tasks.values import decode_value, encode_value
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError
from tests.tasks.functions import Access, Colour, Window, anything, double, draw, several, spectrum


def key(value: Any) -> bytes:
    return anything.key_of(value)


def test_a_key_has_128_bits_and_is_the_same_in_every_process() -> None:
    """Also under another seed of hashing, which shuffles sets."""
    code = (
        "from tests.tasks.functions import anything\n"
        "print(anything.key_of({'b', 'a', 'c'}, {'k': (1, 2.5)}).hex(), end='')"
    )
    mine = anything.key_of({"a", "b", "c"}, {"k": (1, 2.5)}).hex()
    root = Path(__file__).parents[2]
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {mine}
    assert len(bytes.fromhex(mine)) == 16


CLASSES = """
import enum, multiprocessing, sys
from dataclasses import dataclass
from tests.tasks.functions import anything
from braid_hpc.tasks.keys import keys_of_columns
from braid_hpc.tasks.known import RESULTS
from braid_hpc.tasks.values import decode_value, encode_value

@dataclass(frozen=True)
class Config:
    a: int

class Colour(enum.Enum):
    RED = 1

def helper():
    pass

def keys():
    return [anything.key_of(value).hex() for value in (Config(1), Colour.RED, Config, helper)]

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        theirs = pool.apply(keys)
    assert theirs == keys(), (theirs, keys())
    assert isinstance(decode_value(encode_value(Config(1))[0]), Config)
    assert decode_value(encode_value(Colour.RED)[0]) is Colour.RED
    print(*theirs)
"""


def test_what_a_script_defines_is_named_alike_in_its_workers_and_not_as_another_script_s(tmp_path: Path) -> None:
    """Run as a file or as a module, the names of its classes and functions are its own."""
    root = Path(__file__).parents[2]
    found = []
    for name, how in (("one", "one.py"), ("two", "two.py"), ("one", "-mone")):
        (tmp_path / f"{name}.py").write_text(CLASSES)
        call = [sys.executable, *([how] if how.startswith("-m") else [str(tmp_path / how)])]
        env = {"PYTHONPATH": os.pathsep.join([str(root), str(tmp_path)])}
        found.append(subprocess.run(call, env=env, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    keys = [each.split() for each in found]
    assert [len(each) for each in keys] == [4, 4, 4]
    assert len({key for each in keys for key in each}) == 12


def test_order_and_defaults_do_not_count() -> None:
    assert draw.key_of(0) == draw.key_of(draws=1, seed=0) == draw.key_of(0, 1, 0.0)
    assert draw.key_of(0) == draw.key_of(seed=np.int64(0), delay_time=0)
    assert len({draw.key_of(0), draw.key_of(0, 10), draw.key_of(3, 2, 5), draw.key_of(5, 1, 3)}) == 4


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, "1", True, b"1", None, [1], (1,), {1}, frozenset({1}), {1: 1}, 1j),
        (0.0, -0.0, math.inf, -math.inf, 5e-324, 0),
        (2**63, 2**64, -(2**63) - 1, float(2**64), str(2**64)),
        ({"a": 1}, {"a": 1.0}, {"b": 1}, [["a", 1]], {"a": {"a": 1}}),
        (Colour.RED, Colour.BLUE, 1, "RED"),
        (Window(1, 2), Window(2, 1), (1, 2), {"low": 1, "high": 2}),
        (datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), "2026-01-01", decimal.Decimal("1.0"), 1.0),
        (datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
        (np.zeros(2), np.zeros(2, "f4"), np.zeros((1, 2)), np.zeros((2, 1)), [0.0, 0.0], np.array([0, -0.0])),
        ("", b"", [], (), {}, set(), frozenset(), None, np.zeros(0)),
        ("a\udcff", "a?", b"a\xff"),
        (["a", "bc"], ["ab", "c"], ["abc"]),
        (int, float, "int", len),
        (np.datetime64(5, "ns"), np.datetime64(5, "ps"), np.timedelta64(5, "ns"), 5),
        (np.timedelta64(5, "M"), np.timedelta64(5, "Y"), np.timedelta64(5)),
        (pandas.DataFrame({"a": [1, 2]}), pandas.DataFrame({"b": [1, 2]}), np.array([[1], [2]])),
        (pandas.DataFrame({"a": [1]}, index=[5]), pandas.DataFrame({"a": [1]}), pandas.DataFrame({"a": [1.0]})),
        (pandas.Series([1, 2]), pandas.Series([1, 2], name="a"), pandas.Series([1, 2], index=[1, 0])),
        (polars.DataFrame({"a": [1, 2]}), polars.DataFrame({"b": [1, 2]}), pyarrow.table({"a": [1, 2]})),
        (pyarrow.table({"a": [1, 2]}), pyarrow.table({"b": [1, 2]})),
        (Access(0), Access(8), Access(16), Access.READ, Access.READ | Access(8), Access.READ | Access.WRITE),
        (np.array([[1, 2]]).view(np.matrix), np.array([[1, 2]])),
    ],
)
def test_other_values_have_other_keys(values: tuple[Any, ...]) -> None:
    assert len({key(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, OrderedDict([("b", 2), ("a", 1)])),
        ({3, 1, 2}, {1, 2, 3}),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int16(7), 7),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
        (np.arange(10)[::2], np.arange(0, 10, 2)),
    ],
)
def test_equal_values_have_one_key(one: Any, other: Any) -> None:
    assert key(one) == key(other)


RECORD = np.dtype([("a", "i1"), ("b", "f8"), ("c", "g", (2,)), ("d", [("x", "i2"), ("y", "G")])], align=True)


def laid(values: Any, dtype: Any, memory: int) -> np.ndarray[Any, Any]:
    """An array of some values, in memory that held something else before."""
    held = np.array(values, dtype)
    found = np.zeros_like(held)
    counts = np.full(held.itemsize, False)
    for name, (field, offset, *_) in dtype.fields.items():
        del name
        parts = field.fields.values() if field.fields else [(field, 0)]
        for inner, at, *_ in parts:
            base = inner.subdtype[0] if inner.subdtype else inner
            long = base.char in "gG" and np.finfo("g").nmant == 63
            step, used = (16, 10) if long else (inner.itemsize, inner.itemsize)
            for first in range(offset + at, offset + at + inner.itemsize, step):
                counts[first : first + used] = True
    raw = np.frombuffer(held.tobytes(), "u1").reshape(-1, held.itemsize)
    found.view("u1").reshape(-1, held.itemsize)[:] = np.where(counts, raw, memory)
    return found


def test_bytes_that_belong_to_no_value_do_not_count() -> None:
    """Between the fields of a record, and behind the ten bytes of a long double."""
    rows = [(1, 2.0, (3, 4), (5, 6 + 7j)), (-1, -0.0, (0.1, np.inf), (0, 1j))]
    one, other = laid(rows, RECORD, 0x00), laid(rows, RECORD, 0xFF)
    assert (one == other).all()
    assert one.tobytes() != other.tobytes()
    assert key(one) == key(other) == key(one[::-1][::-1])
    assert key(one[0]) == key(other[0]) != key(one[1])
    assert key({"x": [one]}) == key({"x": [other]})
    assert key(one) != key(laid([rows[0], (-1, 0.0, *rows[1][2:])], RECORD, 0x00))
    columns = keys_of_columns(anything.identity, {"x": one})
    assert [row.tobytes() for row in columns] == [key(row) for row in one] == [key(row) for row in other]
    encoded = [encode_value(each) for each in (one, other)]
    assert encoded[0] == encoded[1]
    for dtype in ("g", "G", np.dtype("g").newbyteorder(), np.dtype("G").newbyteorder()):
        values = np.array([[1.5, 2], [1 / np.longdouble(3), 4]], "g").astype(dtype)
        dirty = values.copy()
        parts = dirty.view("u1").reshape(-1, np.dtype("g").itemsize)
        if np.finfo("g").nmant == 63:
            parts[:, slice(10, None) if dirty.dtype.isnative else slice(None, -10)] = 0x77
        assert (dirty == values).all()
        assert key(dirty) == key(values) == key(np.asfortranarray(dirty)) != key(values + 1)


def test_a_long_double_counts_as_the_number_that_it_equals() -> None:
    assert key(np.longdouble(0.5)) == key(0.5) == key(np.float32(0.5))
    assert key(np.clongdouble(0.5j)) == key(0.5j)
    third = 1 / np.longdouble(3)
    if third != float(third):
        assert key(third) == key(np.array(third)) != key(float(third))
    assert key(np.longdouble("1e4000")) != key(math.inf) == key(np.longdouble("inf"))
    for nan in (np.longdouble("nan"), np.clongdouble(complex(0, math.nan))):
        with pytest.raises(InvalidInputError, match="x= is NaN, which is not equal to itself"):
            key(nan)


#: Values of which no two kinds are equal to Python, so that its own comparison is an oracle.
WORDS = st.text(max_size=4)
ANY_VALUES = st.recursive(
    st.none() | st.integers() | WORDS | st.binary(max_size=4) | st.sampled_from(list(Colour)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(WORDS, inner, max_size=3)
        | st.frozensets(WORDS, max_size=4)
        | st.frozensets(st.integers(), max_size=4).map(set)
        | st.builds(Window, st.integers(), st.integers())
    ),
    max_leaves=6,
)

IN_ANOTHER_PROCESS = """
import pickle, sys
from tests.tasks.functions import anything

pickle.dump([anything.key_of(value) for value in pickle.load(sys.stdin.buffer)], sys.stdout.buffer)
"""


@settings(max_examples=10, deadline=None)
@given(st.lists(ANY_VALUES, min_size=1, max_size=60))
def test_equal_values_have_one_key_and_others_another_one_whatever_the_seed_of_hashing(values: list[Any]) -> None:
    """In two processes that put sets in other orders; whether two are equal Python says, sets being no frozensets."""
    both = [*values, *copy.deepcopy(values)]
    found = [
        pickle.loads(
            subprocess.run(
                [sys.executable, "-c", IN_ANOTHER_PROCESS],
                env={**os.environ, "PYTHONHASHSEED": seed},
                cwd=Path(__file__).parents[2],
                input=pickle.dumps(both),
                capture_output=True,
                check=True,
            ).stdout
        )
        for seed in ("1", "4711")
    ]
    assert found[0] == found[1] == [key(value) for value in both]
    for one, its in zip(both, found[0], strict=True):
        for other, others in zip(both, found[1], strict=True):
            assert (its == others) == (marked(one) == marked(other))


def marked(value: Any) -> Any:
    """A value with what tells those apart that Python calls equal: sets and frozensets."""
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, value
    if isinstance(value, (list, tuple)):
        return type(value)(marked(each) for each in value)
    return {name: marked(each) for name, each in value.items()} if isinstance(value, dict) else value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_comes_back_from_a_result_has_the_key_of_what_was_returned(value: Any) -> None:
    """A result that is read counts as the one that was computed."""
    encoded, why = encode_value(value)
    assert encoded is not None, why
    assert key(decode_value(encoded)) == key(value)


def test_a_file_that_is_written_twice_within_a_tick_is_read_twice(tmp_path: Path) -> None:
    """Size and time of the last change are what they were; a file that is older than that is read once."""
    path = tmp_path / "f"
    path.write_text("aaa")
    first, before = key(path), path.stat()
    path.write_text("bbb")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert key(path) != first


def test_a_file_counts_by_its_bytes_and_a_text_by_its_letters(tmp_path: Path) -> None:
    one, other = tmp_path / "one.fits", tmp_path / "other.fits"
    one.write_bytes(b"x" * 10)
    other.write_bytes(b"x" * 10)
    assert spectrum.key_of(one) == spectrum.key_of(other) == spectrum.key_of(str(other))
    assert key(str(one)) != key(str(other))
    before = spectrum.key_of(one)
    one.write_bytes(b"y" * 10)
    assert spectrum.key_of(one) != before


def test_a_record_counts_by_its_content() -> None:
    keys = []
    for _ in range(2):
        with job("records") as run:
            keys.append(anything.key_of(run.fact("config", {"steps": 3})))
            keys.append(anything.key_of(run.data("frames", digest="blake3:" + "0" * 64)))
            keys.append(anything.key_of(run.data("nothing")))
    assert keys[:2] == keys[3:5]
    # Without content it is this one and no other.
    assert keys[2] != keys[5]


def test_versions_count_as_far_as_they_are_significant() -> None:
    def fit(x: int) -> int:
        return x

    def keyed(version: str, significant: str = "exact") -> bytes:
        return braid.task(version=version, significant=significant, name="fit")(fit).key_of(1)

    assert keyed("0.1.12", "major.minor") == keyed("0.1.13", "major.minor") != keyed("0.2.0", "major.minor")
    assert keyed("0.1.12") != keyed("0.1.13")
    assert keyed("1.2", "major") == keyed("1.9", "major")
    with pytest.raises(InvalidInputError, match="version '1' has no minor number"):
        keyed("1", "major.minor")


def test_without_a_version_the_source_stands_in() -> None:
    space: dict[str, Any] = {}

    def made(body: str) -> Any:
        folder = Path(braid.__file__).parent  # Any file that is there: what counts is the source.
        del folder
        exec(compile(f"def fit(x):\n    {body}\n", "<typed>", "exec"), space)
        space["fit"].__module__ = "somewhere"
        return braid.task(space["fit"])

    assert made("return x").key_of(1) == made("return x").key_of(1) != made("return x + 1").key_of(1)


def test_arguments_that_are_ignored_do_not_count() -> None:
    def fit(x: int, workers: int = 1) -> int:
        return x

    task = braid.task(version="1", ignore="workers")(fit)
    assert task.key_of(1, workers=2) == task.key_of(1)
    with pytest.raises(InvalidInputError, match="ignore= names 'worker', which is no parameter of it"):
        braid.task(version="1", ignore=["worker"])(fit)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda x: x, "x= is a lambda, which has no name"),
        (sys.stdin, "x= is an open file"),
        (float("nan"), "x= is NaN, which is not equal to itself"),
        ([1, float("nan")], r"x=\[1\] is NaN"),
        ({1, "a"}, "x= is a set of int and str, which have no order"),
        (iter([1]), "x= is an iterator"),
        (object(), "x= is a object, which has no value that stays the same from run to run"),
        (np.array([object()]), "x= cannot be told by its content: array= holds Python objects"),
        ({"a": [{"b": sys.stdout}]}, r"x=\['a'\]\[0\]\['b'\] is an open file"),
        (Path("."), "x= is the directory ."),
        (np.float64("nan"), "x= is NaN"),
    ],
)
def test_what_has_no_lasting_value_is_refused_with_one_sentence(value: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as refused:
        key(value)
    assert str(refused.value).startswith("task tests.tasks.functions.anything: ")
    assert "\n" not in str(refused.value)


def test_what_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidInputError, match="is nested deeper than 64 levels, or holds itself"):
        key(loop)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "missing a required argument: 'seed'"),
        ({"sed": 1}, "missing a required argument: 'seed'|unexpected keyword argument 'sed'"),
        ({"seed": "1"}, "seed= is '1', a str, and is declared int"),
        ({"seed": 1.0}, "seed= is 1.0, a float, and is declared int"),
        ({"seed": True}, "seed= is True, a bool, and is declared int"),
        ({"seed": 1, "delay_time": 10**400}, "delay_time= is 1000.*, a int, and is declared float"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        draw.key_of(**arguments)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"cannot be read \(No such file or directory\)"):
        spectrum.key_of(tmp_path / "none.fits")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": 1}, "version= is a text such as '0.1.3', not 1"),
        ({"significant": "minor"}, "significant= is one of exact, major.minor, major, not 'minor'"),
        ({"name": ""}, "name= of a task is a text of one line"),
        ({"target": "{x}.npy"}, "target= says what is written, and result= where"),
        ({"result": "staging"}, "result= is a place such as LocalResult, not 'staging'"),
        ({"verify": "time"}, "verify= is 'size' or 'digest', not 'time'"),
        ({"code": "warn"}, "code= is 'rerun' or 'keep', not 'warn'"),
        ({"table": "t"}, "table= names a table of results, whose columns= are missing"),
        ({"columns": {"x": "complex"}}, "'complex' is not a column type"),
        ({"columns": {"output_pk": int}}, "a column of results cannot be called 'output_pk'"),
        ({"colums": {"x": int}}, "colums= is no option"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], said: str) -> None:
    def fit(x: int) -> int:
        return x

    with pytest.raises(BraidError, match=said):
        braid.task(**options)(fit)


def test_only_functions_with_a_name_that_return_are_tasks() -> None:
    def steps() -> Any:
        yield 1

    for function, said in (
        (lambda: 1, "not a lambda"),
        (steps, "no generator or coroutine"),
        (Window, "a class that is a task has a method run"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            braid.task(version="1")(function)


class Unreadable:
    """As a tensor that gradients are kept of."""

    def __array__(self) -> Any:
        raise RuntimeError("detach it first")


def test_what_does_not_count_is_no_reason_not_to_run(tmp_path: Path) -> None:
    @braid.task(version="1", ignore="y")
    def counted(x: int, y: Any) -> int:
        return x

    with job("job", log_dir=tmp_path / "logs"):
        assert counted.key_of(1, Unreadable()) == counted.key_of(1, None)
        assert counted(1, Unreadable()) == 1


class Measured(np.ndarray[Any, Any]):
    """An array with a unit, as several packages have it."""


def test_what_an_array_has_beside_its_values_counts() -> None:
    metres, again, miles = (np.arange(3.0).view(Measured) for _ in range(3))
    metres.unit = again.unit = "m"  # type: ignore[attr-defined]
    miles.unit = "mi"  # type: ignore[attr-defined]
    assert key(metres) == key(again)
    assert len({key(metres), key(miles), key(np.arange(3.0))}) == 3


def test_a_result_that_was_changed_in_place_counts_by_itself(tmp_path: Path) -> None:
    """Also where it is a table, which no more than an array is the result that was recorded then."""
    with job("job", log_dir=tmp_path / "logs") as run:
        record = run.record("result", "x", value=1)
        values: list[Any] = [pandas.DataFrame({"a": [1, 2]}), np.arange(2)]
        for value in values:
            RESULTS.remember(value, "blake3:00", record)
            before = key(value)
            assert RESULTS.find(value) == ("blake3:00", record)
            value[value == 1] = 7
            assert RESULTS.find(value) is None
            assert key(value) != before


WIDE = 2**53


@pytest.mark.parametrize(
    "values",
    [
        # As floats, which one array of all columns has, these integers are one.
        [pandas.DataFrame({"a": [number], "b": [0.5]}) for number in (WIDE, WIDE + 1)],
        [polars.DataFrame({"a": [number], "b": [0.5]}) for number in (WIDE, WIDE + 1)],
        [pyarrow.table({"a": [0] * 50 + [n] + [0] * 50, "b": [0.5] * 101}) for n in (WIDE, WIDE + 1)],
        [pyarrow.array([number, None]) for number in (WIDE, WIDE + 1)],
        [pandas.Series(pandas.array([number, None], "Int64")) for number in (WIDE, WIDE + 1)],
        [pandas.DataFrame({"a": pandas.array([number, None], "Int64")}) for number in (WIDE, WIDE + 1)],
        [polars.Series([number, None]) for number in (WIDE, WIDE + 1)],
        # What is missing is not NaN, and is missing where it is.
        [pyarrow.array([1.0, None]), pyarrow.array([1.0, math.nan]), pyarrow.array([None, 1.0]), pyarrow.array([1.0])],
        [pyarrow.chunked_array([[1.0, None]]), pyarrow.chunked_array([[1.0, math.nan]])],
        [polars.Series([1.0, None]), polars.Series([1.0, math.nan]), polars.Series([None, 1.0])],
        # Names beside the values.
        [pandas.DataFrame({"a": [1]}, index=pandas.Index([0], name=name)) for name in (None, "i", "k")],
        [pandas.DataFrame([[1]], columns=pandas.Index(["a"], name=name)) for name in (None, "i", "k")],
        [pandas.Index([1, 2], name=name) for name in (None, "i", "k")],
        [polars.Series(name, [1, 2]) for name in ("", "i", "k")],
    ],
)
def test_tables_of_other_values_have_other_keys(values: list[Any]) -> None:
    assert len({key(value) for value in values}) == len(values)
    again = [copy.deepcopy(value) for value in values]
    assert [key(value) for value in again] == [key(value) for value in values]


@pytest.mark.parametrize("value", [np.ma.masked, np.ma.array([1.0, 2.0], mask=[False, True])[1]])
def test_a_masked_number_is_not_the_number_behind_it(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="masked"):
        key(value)
    with pytest.raises(InvalidInputError, match="masked"):
        draw.key_of(0, 1, value)


@pytest.mark.parametrize("value", [Access(0), Access(8), Access.READ | Access.WRITE, Access.READ])
def test_flags_come_back(value: Access) -> None:
    encoded, _ = encode_value(value)
    assert encoded is not None
    assert decode_value(encoded) is value


def test_equal_tables_have_one_key() -> None:
    pieces = pyarrow.concat_tables([pyarrow.table({"a": [1]}), pyarrow.table({"a": [2]})])
    assert key(pieces) == key(pyarrow.table({"a": [1, 2]}))
    assert key(pandas.DataFrame({"a": [1, 2]})) == key(pandas.DataFrame({"a": [1, 2]}))
    assert key(polars.DataFrame({"a": [1, 2]})) == key(polars.DataFrame({"a": [1, 2]}))


@pytest.mark.parametrize("unit", ["ns", "us", "D", "Y"])
@pytest.mark.parametrize("kind", [np.datetime64, np.timedelta64])
def test_a_column_of_times_has_the_keys_of_its_values(kind: Any, unit: str) -> None:
    column = np.array([kind(5, unit), kind(7, unit)])
    assert [each.tobytes() for each in anything.keys_of({"x": column})] == [key(value) for value in column]


@pytest.mark.parametrize("value", [str.upper, 1 << 20_000], ids=["method", "wide"])
def test_what_cannot_be_told_again_is_refused_in_one_sentence(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="x= is"):
        key(value)


@pytest.mark.parametrize(
    "value",
    [np.timedelta64(5, "Y"), np.datetime64(5, "ns"), [np.datetime64("2020-01-01")], np.zeros(2, "M8[us]")],
)
def test_times_come_back_with_their_unit(value: Any) -> None:
    encoded, _ = encode_value(value)
    assert encoded is not None
    found = decode_value(encoded)
    assert type(found) is type(value)
    assert np.asarray(found).dtype == np.asarray(value).dtype
    assert np.array_equal(found, value)


@pytest.mark.parametrize(
    "value",
    [
        pandas.DataFrame({"a": [1]}),
        np.arange(3.0).view(Measured),
        np.rec.array([(1,)], dtype=[("a", "i4")]),
        array.array("d", [1.0]),
    ],
)
def test_what_would_come_back_as_another_array_is_not_kept(value: Any) -> None:
    encoded, why = encode_value(value)
    assert encoded is None
    assert "give result=" in why


def test_keys_of_columns_are_those_of_calls() -> None:
    seeds = np.arange(50)
    keys = draw.keys_of({"seed": seeds, "draws": [1, 2] * 25})
    assert (keys.shape, str(keys.dtype)) == ((50, 16), "uint8")
    for at in (0, 7, 49):
        assert keys[at].tobytes() == draw.key_of(int(seeds[at]), 1 + at % 2)
    assert double.keys_of({"x": [1, 2.0, -0.0]})[0].tobytes() == double.key_of(1.0)
    assert double.keys_of({"x": []}).shape == (0, 16)
    with pytest.raises(InvalidInputError, match="columns are of one length: seed has 2, draws has 1"):
        draw.keys_of({"seed": [1, 2], "draws": [1]})


#: Values of each argument: numbers beyond 64 bits, texts that are no UTF-8, both zeros, and some of several types.
DISTINCT: dict[str, st.SearchStrategy[Any]] = {
    "a": st.integers() | st.integers(-(1 << 70), 1 << 70) | st.sampled_from([-(1 << 63), (1 << 64) - 1, 1 << 64]),
    "b": st.integers(),
    "c": st.text(st.characters(), max_size=3),
    "d": st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0]),
    "e": st.integers(0, 1) | st.booleans() | st.sampled_from([0.0, -0.0, None, "1", (1, 2), Colour.RED]),
}


@given(st.data(), st.integers(1, 6), st.sets(st.sampled_from("abcde"), min_size=1), st.sets(st.sampled_from("abcde")))
def test_each_key_of_columns_is_that_of_its_call(data: Any, count: int, columns: set[str], common: set[str]) -> None:
    """Whatever is a column, is the same in all calls, or has its default."""
    given = {name: data.draw(st.lists(DISTINCT[name], min_size=count, max_size=count)) for name in sorted(columns)}
    same = {name: data.draw(DISTINCT[name]) for name in sorted(common - columns)}
    keys = keys_of_columns(several.identity, given, same)
    assert [each.tobytes() for each in keys] == [
        several.key_of(**same, **{name: values[at] for name, values in given.items()}) for at in range(count)
    ]


def test_a_mapping_comes_back_in_its_order() -> None:
    """As it was returned the first time; as arguments two orders are one."""
    value = {"z": 1, "a": {"y": 2, "b": 3}}
    encoded, _ = encode_value(value)
    assert encoded is not None
    found = decode_value(encoded)
    assert (list(found), list(found["a"])) == (["z", "a"], ["y", "b"])
    assert key(value) == key({"a": {"b": 3, "y": 2}, "z": 1})


def test_digests_of_many_files_take_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that are not known any more the digest is the same when they are met again."""
    monkeypatch.setattr(forms, "_FILES", {})
    monkeypatch.setattr(forms, "_FILES_KNOWN", 4, raising=False)
    paths = [tmp_path / str(number) for number in range(5)]
    for path in paths:
        path.write_text(path.name)
        os.utime(path, (0, 0))
    found = [forms.file_digest(str(path)) for path in paths]
    assert len(forms._FILES) == 3
    assert [forms.file_digest(str(path)) for path in paths] == found

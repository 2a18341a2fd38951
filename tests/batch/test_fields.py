"""What may stand in a field, and what is said of what may not."""

from __future__ import annotations

from typing import Any

import pytest

from braid_hpc.batch import fields
from braid_hpc.batch.durations import duration, shown_time


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("00:10:00", 600),
        ("1-02:03:04", 93784),
        (10, 600),
        ("2 h", 7200),
        ("90 min", 5400),
        ("1h 30min", 5400),
        ("45s", 45),
        ("1.5 hours", 5400),
    ],
)
def test_times(given: Any, seconds: int) -> None:
    assert duration(given) == seconds


@pytest.mark.parametrize("given", ["", "10", "00:61:00", "1:2", "soon", "3 weeks", 0, -5, True, None, 1.5, "0 h", []])
def test_what_is_no_time(given: Any) -> None:
    with pytest.raises(ValueError, match="a time: 'HH:MM:SS', a whole number of minutes"):
        duration(given)


@pytest.mark.parametrize("given", ["0-19", "0-19%4", "1,3,5", "0-30:5", "7", "1,4-6"])
def test_arrays(given: str) -> None:
    assert fields.array(given) == given


@pytest.mark.parametrize("given", ["", "a-b", "5-1", "0-19%0", "0-", "-3", "0-19%", 5])
def test_what_is_no_array(given: Any) -> None:
    with pytest.raises(ValueError, match="numbers of tasks"):
        fields.array(given)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (fields.name, ["fit", "a-b_c.1"], ["", "1st", "a b", "ü", "x" * 64, "../x", 3]),
        (fields.place, ["/tmp", "$TMPDIR", "${SCRATCH}/x", "/mnt/bb/$USER"], ["tmp", "", "/a b", "/x;rm", "$(id)", 1]),
        (fields.word, ["debug", "a.b-c"], ["", "a b", "$(id)", "a;b", "a&b", "a\0b", 7]),
        (fields.text, ["gpu&nvme"], ["", " ", "a\nb", 7]),
        (fields.lines, ["x", ["--qos=debug", "-l a=b"]], [["a\nb"], [1], 5, [""]]),
        (fields.words, ["python", ["gcc/12", "hdf5"]], [["a b"], "x;y", 5]),
        (fields.command, ["python x.py", ["python", "a b"]], ["", [], "a\nb", "x \\", [1], 5, [""]]),
        (fields.environment, [{"A": "x", "B": 1}], [{"1A": "x"}, {"A": True}, {"A": "x\ny"}, {"A": "\0"}, [], "A=1"]),
        (fields.truth, [True, False], [1, "true", None]),
        (fields.number(1), [1, 5], [0, -2, "3", 1.0, True, 10**9]),
        (fields.choice("a", "b"), ["a"], ["c", 1, None]),
    ],
    ids=["name", "place", "word", "text", "lines", "words", "command", "environment", "truth", "number", "choice"],
)
def test_each_sort_of_value(check: fields.Check, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(ValueError, match=r"\w"):
            check(value)


def test_hours_and_minutes_are_rounded_up() -> None:
    """A scheduler that takes no seconds gives no less than what was asked for."""
    assert shown_time(61, seconds_too=False) == "00:02"
    assert shown_time(3600, seconds_too=False) == "01:00"
    assert shown_time(100 * 3600) == "100:00:00"

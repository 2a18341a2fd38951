"""Searches written with Python's operators are those of the text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from braid_hpc.queries import Query, field, kind, name, param, parse_query, rank, run, tag, time, valid, value
from braid_hpc.vocabulary.errors import InvalidInputError


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ((tag("energy_keV") > 70) & (kind == "model"), "energy_keV > 70 and kind = model"),
        (tag("a b") == "x", 'tag."a b" = x'),
        (tag("n") != 3, "n != 3"),
        (tag("n").one_of([1, 2.0, True]), "n in (1, 2.0, true)"),
        (name.like("scan-*") | name.matches("^a"), 'name ~ "scan-*" or name matches "^a"'),
        (tag("s").similar("Nickel", at=0.9), "s similar Nickel at 0.9"),
        (tag("s").contains("ick"), "s contains ick"),
        (param("threshold") >= 40, "param.threshold >= 40"),
        (value() == 3, "value = 3"),
        (value("site.name").exists(), "value.site.name exists"),
        (field("run", "lost") > 0, "run.lost > 0"),
        ((rank < 3) & (run == "fit") & (valid == True), "rank < 3 and run = fit and valid = true"),  # noqa: E712
        (time <= datetime(2026, 11, 21, tzinfo=UTC), "time <= 2026-11-21T00:00:00+00:00"),
        (tag("x") == np.float32(0.5), "x = 0.5"),
        (tag("x") == np.int64(3), "x = 3"),
    ],
)
def test_it_is_the_text(query: Query, text: str) -> None:
    assert repr(query) == repr(parse_query(text))
    assert repr(parse_query(str(query))) == repr(query)


@pytest.mark.parametrize("wrong", [None, [1], object(), b"x", 10**4200], ids=lambda value: str(type(value)))
def test_what_is_no_value_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError):
        _ = tag("x") == wrong


def test_a_field_is_not_hashed_and_not_there_twice() -> None:
    """It is compared by making a search, so that a set of fields could not work."""
    with pytest.raises(TypeError):
        hash(kind)
    with pytest.raises(InvalidInputError, match="near it is kind"):
        field("knid")
    with pytest.raises(InvalidInputError, match="no list"):
        kind.one_of("data")

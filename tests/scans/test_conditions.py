"""What is asked of events: the same as plain Python over their documents."""

from __future__ import annotations

import operator
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid_hpc.queries import tag
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.tree import Query
from braid_hpc.scans.scan import Scan
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.collectors.documents.instrument import Pair, descriptor, event, key, start, stored
from tests.scans.plain import events_of

Judge = Callable[[dict[str, Any]], bool]

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NUMBERS = [0, 1, -1, 2, 0.5, -0.0, 1e300, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), float("inf")]
ASKED = [*NUMBERS, 2**70, "a", "Ångström", "", True, False]
HELD = [
    *NUMBERS,
    float("nan"),
    None,
    "a",
    "b",
    "Ångström",
    True,
    False,
    [1, 2],
    np.arange(3),
    {"a": 1},
    "\ud800",
    2**70,
]


def compares(value: Any, sign: str, asked: Any) -> bool:
    """Compare as the language of searches does: numbers with numbers exactly, texts with texts, truth with truth."""
    if type(asked) is bool:
        return type(value) is bool and sign == "=" and value is asked
    if type(asked) is str:
        # What is no text in UTF-8, and what is wider than 64 bits, stands as it was and is not compared.
        return type(value) is str and "\ud800" not in value and bool(_SIGNS[sign](value, asked))
    if type(value) is int and not -(2**63) <= value < 2**63:
        return False
    return type(value) in (int, float) and bool(_SIGNS[sign](value, asked))


@st.composite
def conditions(draw: st.DrawFn) -> tuple[Query, Judge]:
    """Give a search over the keys a and b, and what it means."""
    name = draw(st.sampled_from(["a", "b"]))
    asked = draw(st.sampled_from(ASKED))
    how = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "in", "exists"]))
    if how == "exists":
        return tag(name).exists(), lambda data: data.get(name) is not None
    if how == "in":
        several = [asked, draw(st.sampled_from(ASKED))]
        return tag(name).one_of(several), lambda data: any(compares(data.get(name), "=", one) for one in several)
    if how == "!=":
        return tag(name) != asked, lambda data: not compares(data.get(name), "=", asked)
    if type(asked) is bool and how != "=":
        how = "="
    found: Query = (tag(name) == asked) if how == "=" else _SIGNS[how](tag(name), asked)
    return found, lambda data: compares(data.get(name), how, asked)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Query, Judge]:
    (one, holds), (other, too) = draw(conditions()), draw(conditions())
    how = draw(st.sampled_from(["one", "and", "or", "not", "and not"]))
    return {
        "one": (one, holds),
        "and": (one & other, lambda data: holds(data) and too(data)),
        "or": (one | other, lambda data: holds(data) or too(data)),
        "not": (~one, lambda data: not holds(data)),
        "and not": (one & ~other, lambda data: holds(data) and not too(data)),
    }[how]


def holds_no_scalars(scan: Scan, name: str) -> bool:
    """Whether all columns of a key hold lists, or what no type holds."""
    kinds = [field.type for field in scan.table(columns=[name]).schema]
    return all(pa.types.is_large_list(kind) or pa.types.is_large_binary(kind) for kind in kinds)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_events_are_chosen_as_plain_python_chooses_them(data: st.DataObject) -> None:
    """In columns, in rests and as documents; of rows that came once or twice, also with several contents."""
    kinds = st.sampled_from(["number", "integer", "boolean", "string", "array"])
    first = start()
    of = descriptor(first, {"a": key(data.draw(kinds)), "b": key(data.draw(kinds))})
    few = data.draw(st.lists(st.sampled_from(HELD), min_size=1, max_size=4))
    events: list[Pair] = []
    for number in range(1, data.draw(st.integers(1, 9))):
        names = [name for name in ("a", "b") if data.draw(st.integers(0, 6))]
        values = st.sampled_from(few if number % 3 else HELD)
        events.append(event(of, number, {name: data.draw(values) for name in names}))
    again = data.draw(st.lists(st.sampled_from(events), max_size=2)) if events else []
    late = data.draw(st.booleans())
    with (
        tempfile.TemporaryDirectory() as folder,
        stored(Path(folder), [first, *events, of, *again] if late else [first, of, *events, *again]) as store,
    ):
        scan = store.scan(-1)
        every = events_of(scan, "primary")
        for query, holds in data.draw(st.lists(searches(), min_size=8, max_size=8)):
            wanted = [each["seq_num"] for each in every if holds(each["data"])]
            arrays = [name for name in ("a", "b") if holds_no_scalars(scan, name)]
            if any(each.operator != Operator.EXISTS and each.field.key in arrays for each in query.conditions()):
                with pytest.raises(InvalidInputError, match="holds arrays"):
                    scan.table(where=query)
                continue
            found = scan.table(columns=["seq_num"], where=query)
            assert [row["seq_num"] for row in found] == wanted, (query, [each["data"] for each in every])

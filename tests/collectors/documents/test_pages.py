"""Pages: stored as columns where their values allow it, and equal to their events whatever they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.collectors.documents.pages import is_page, kinds_of_column
from tests.collectors.documents.instrument import check, descriptor, event, folded, key, page, start, stored

KINDS = [
    ([1.0, 2.0], "float64"),
    ([1, 2], "int64"),
    ([1, 2.0], "float64"),
    ([None, 2.0], "float64"),
    ([None, None], None),
    (["a", 1], "text"),
    ([[1], 2.0], "bytes"),
    (np.zeros(2), "float64"),
    (np.zeros(2, "f4"), "float64"),
    (np.zeros(2, "u2"), "int64"),
    (np.zeros((2, 3)), "bytes"),
    (np.array([{}, 1], object), "bytes"),
]


@pytest.mark.parametrize(("column", "kind"), KINDS)
def test_the_type_of_a_column(column: Any, kind: str | None) -> None:
    assert kinds_of_column(column) == kind


def test_pages_of_arrays(tmp_path: Path) -> None:
    """As a program hands them over that has never seen a list; a page may say nothing of what is filled."""
    first = start()
    of = descriptor(first, {name: key() for name in ("x", "n", "flag", "img", "big", "words")})
    data = {
        "x": np.linspace(0, 1, 4, dtype="f4"),
        "n": np.arange(4, dtype="u1"),
        "flag": np.array([True, False, True, True]),
        "img": np.arange(24, dtype=">u2").reshape(4, 3, 2),
        "big": np.array([1, 2, 3, 2**63], "u8"),
        "words": np.array(["a", "ü", "", "d"]),
    }
    whole = page([event(of, n, {"x": 0.0}) for n in range(1, 5)])[1]
    whole = {**whole, "data": data, "timestamps": dict.fromkeys(data, np.arange(4.0)), "seq_num": np.arange(1, 5)}
    del whole["filled"]
    lists = {**whole, "seq_num": [1, 2, 3, 4], "data": {name: list(column) for name, column in data.items()}}
    lists["data"]["img"] = list(data["img"])
    documents = [first, of, ("event_page", whole)]
    with stored(tmp_path, documents) as store:
        check(store.documents(first[1]["uid"]), folded([first, of, ("event_page", lists)], first[1]["uid"]))


def test_a_page_of_more_rows_than_are_stored_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts are batches; integers among floats and what is filled stay with their rows."""
    monkeypatch.setattr("braid_hpc.collectors.documents.pages.ROWS_AT_ONCE", 7)
    first = start()
    of = descriptor(first, {"x": key(), "f": key(external="FILESTORE:")})
    events = [event(of, n, {"x": n if n % 5 else n / 2, "f": f"r/{n}"}, filled={"f": n % 3 == 0}) for n in range(1, 30)]
    documents = [first, of, page(events)]
    with stored(tmp_path, documents) as store:
        check(store.documents(first[1]["uid"]), folded(documents, first[1]["uid"]))
        assert store.sql('select count(distinct _time) as n from stream."bluesky/primary"')["n"] == [5]


def test_what_is_no_page() -> None:
    good = page([event(("descriptor", {"uid": "d"}), n, {"x": 1.0}) for n in (1, 2)])[1]
    assert is_page(good)
    for change in (
        {"seq_num": [1]},
        {"seq_num": 5},
        {"data": None},
        {"data": {"x": "ab"}},
        {"descriptor": None},
        {"further": 1},
        {"filled": {"x": [True]}},
    ):
        assert not is_page({**good, **change})
    assert not is_page(None)

"""What is printed where."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from braid_hpc.cli.output import as_json, emit, stepper

ROWS = [(1, "a"), (None, "b|c"), (3, None)]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("json", '[{"n": 1, "s": "a"}, {"n": null, "s": "b|c"}, {"n": 3, "s": null}]'),
        ("ndjson", '{"n": 1, "s": "a"}\n{"n": null, "s": "b|c"}\n{"n": 3, "s": null}\n'),
        ("csv", "n,s\n1,a\n,b|c\n3,\n"),
    ],
)
def test_forms(capsys: pytest.CaptureFixture[str], form: str, text: str) -> None:
    assert emit(("n", "s"), ROWS, form) == 3
    printed = capsys.readouterr()
    assert (json.loads(printed.out) == json.loads(text)) if form == "json" else printed.out == text
    assert printed.err == ""


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(st.characters(codec="utf-8")), inside),
)


@given(PLAIN)
def test_json_is_what_the_standard_library_writes(plain: Any) -> None:
    assert as_json(plain) == json.dumps(plain, ensure_ascii=False, indent=2)


def test_a_table_aligns_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    emit(("number", "text"), [(1, "a"), (22, "b")], "table", title="A title")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "A title"
    assert lines[3:] == ["      1   a", "     22   b"]


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the standard output be a terminal of 80 columns."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")


def test_a_table_that_is_too_wide_for_a_terminal_is_shown_row_by_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of columns of a letter or two; lists have a line for each element, and nothing is cut."""
    on_a_terminal(monkeypatch)
    names = [f"column-{n}" for n in range(8)]
    emit(names, [(n, "x" * 100, None, True, ["a", "b"], 5, 6, []) for n in range(2)], "table", title="Title")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == ["Title", "column-0  0", "column-1  " + "x" * 100, "column-2", "column-3  true", "column-4  a"]
    assert lines[6:11] == ["          b", "column-5  5", "column-6  6", "column-7", ""]
    assert lines[11] == "column-0  1"


def test_a_table_that_fits_when_it_is_folded_is_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    emit(("name", "text"), [("a", "y" * 120)], "table")
    lines = capsys.readouterr().out.splitlines()
    assert "name" in lines[0]
    assert "text" in lines[0]
    assert sum(line.count("y") for line in lines) == 120
    assert max(Text.from_ansi(line).cell_len for line in lines) <= 80


def test_text_in_a_table_is_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets and emoji codes in names are what they are."""
    emit(("[bold]c[/]",), [("[red]x[/red] :smile:",)], "table")
    printed = capsys.readouterr().out
    assert "[bold]c[/]" in printed
    assert "[red]x[/red] :smile:" in printed


@pytest.mark.parametrize(
    ("value", "as_json", "as_csv"),
    [
        (True, True, "true"),
        (float("inf"), "inf", "inf"),
        (0.1, 0.1, "0.1"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:05.000000Z"),
        (date(2026, 1, 2), "2026-01-02", "2026-01-02"),
        (["a", 1], ["a", 1], '"a, 1"'),
        (b"\xaa", "aa", "aa"),
        (Decimal(7), 7, "7"),
        (Decimal("7.50"), "7.50", "7.50"),
        ({"k": None}, {"k": None}, None),
    ],
)
def test_values(capsys: pytest.CaptureFixture[str], value: Any, as_json: Any, as_csv: str | None) -> None:
    emit(("v",), [(value,)], "json")
    assert json.loads(capsys.readouterr().out) == [{"v": as_json}]
    emit(("v",), [(value,)], "csv")
    if as_csv is not None:
        assert capsys.readouterr().out == f"v\n{as_csv}\n"


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    stepper()("read", 1, 2)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_table_without_rows_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr; the other forms say it in their own way, and where the caller says more, nothing is."""
    for form, out in (("table", ""), ("json", "[]\n"), ("ndjson", ""), ("csv", "n,s\n")):
        assert emit(("n", "s"), [], form, title="A title", nothing="nothing fits") == 0
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == (out, "nothing fits\n" if form == "table" else "")
    assert emit(("n", "s"), [], "table", nothing="") == 0
    assert capsys.readouterr() == ("", "")

"""Text on its way into a store."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.vocabulary.texts import clean, visible


@given(st.text(st.characters()))
def test_text_is_made_fit_for_utf8(text: str) -> None:
    """Text that UTF-8 holds stays as it is."""
    found = clean(text)
    found.encode()
    try:
        text.encode()
    except UnicodeEncodeError:
        assert found != text
    else:
        assert found == text


def test_control_characters_are_shown_and_not_obeyed() -> None:
    """Escape, C0 and C1 and delete; tabs, line breaks and letters of any script stay."""
    assert visible("a\x1b[31m\x9b2J\x00\x7f\r\x07z") == "a\\x1b[31m\\x9b2J\\x00\\x7f\\x0d\\x07z"
    assert visible("é 🧵\t日本\n\\x1b") == "é 🧵\t日本\n\\x1b"

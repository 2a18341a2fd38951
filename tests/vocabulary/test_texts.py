"""Text on its way into a store."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.vocabulary.texts import clean


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

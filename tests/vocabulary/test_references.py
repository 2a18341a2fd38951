"""References: what is written is read back, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import LATEST, Reference, format_reference, parse_reference

KINDS = st.none() | st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True).filter(lambda kind: kind != "id")
# Letters that mean something in a reference are as likely as all others together.
NAMES = st.text(st.sampled_from('"@:#\\\n \t.1a-') | st.characters(exclude_categories=[]), max_size=40)
VERSIONS = st.none() | st.integers(1, 10**17) | st.just(LATEST)


@given(kind=KINDS, name=NAMES, version=VERSIONS)
@example(kind=None, name="id:ffff", version=None)
@example(kind=None, name='"', version=1)
@example(kind="data", name="a@b", version=None)
@example(kind="data", name="positions#3", version=None)
@example(kind=None, name="http://host/x", version=LATEST)
@example(kind=None, name="\ud800 \U0001f9f6", version=None)
@example(kind="model", name="a\\", version=3)
@example(kind="data", name='é@"\\\n:' * 8192, version=7)
@example(kind=None, name="x" * 65536, version=None)
def test_any_name_comes_back(kind: str | None, name: str, version: int | str | None) -> None:
    """Whatever a name holds, its reference is parsed to the same kind, name and version."""
    found = parse_reference(format_reference(kind, name, version))
    assert (found.kind, found.name, found.identity, found.row) == (kind, name, None, None)
    assert (LATEST if found.latest else found.version) == version


@given(kind=KINDS, name=NAMES, version=VERSIONS, row=st.none() | st.integers(0, 10**17))
@example(kind=None, name="a\\", version=None, row=5)
@example(kind=None, name="a#1", version=None, row=5)
def test_the_text_of_a_reference_is_the_reference(
    kind: str | None, name: str, version: int | str | None, row: int | None
) -> None:
    """`str` of a parsed reference parses to an equal one, rows of streams included."""
    number = version if isinstance(version, int) else None
    reference = Reference(name, kind, number, latest=version == LATEST, row=row)
    assert parse_reference(str(reference)) == reference


@given(st.text())
def test_any_text_is_a_reference_or_is_refused(text: str) -> None:
    """No text raises anything else than the error that says what is wrong with it."""
    try:
        found = parse_reference(text)
    except InvalidInputError:
        return
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("braggnn", Reference("braggnn")),
        ("model:braggnn", Reference("braggnn", "model")),
        ("model:braggnn@3", Reference("braggnn", "model", 3)),
        ("model:braggnn@latest", Reference("braggnn", "model", latest=True)),
        ("peaks/scan-7/rank-0", Reference("peaks/scan-7/rank-0")),
        ("C:\\data", Reference("C:\\data")),
        ("data:a:b", Reference("a:b", "data")),
        ('"a:b"', Reference("a:b")),
        (" model:x ", Reference("x", "model")),
        ("positions#12", Reference("positions", row=12)),
        ("positions@2#12", Reference("positions", version=2, row=12)),
        ("id:0F3A", Reference(None, identity="0f3a")),
    ],
)
def test_grammar(text: str, reference: Reference) -> None:
    """The forms that the guide shows."""
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty reference"),
        ("  ", "empty reference"),
        ("id:xyz", "not an id"),
        ("id:123", "4 to 32"),
        ("id:" + "0" * 33, "4 to 32"),
        ("a@b", "not a version"),
        ("a@0", "not a version"),
        ("a@-1", "not a version"),
        ("a@", "not a version"),
        ("a@1.0", "not a version"),
        ('data:"a', "not closed"),
        ('"a"b', "only '@version' may follow"),
        (7, "7 is not a reference: that is a text"),
    ],
)
def test_what_is_no_reference_is_refused(text: object, reason: str) -> None:
    """The message says which part is wrong."""
    with pytest.raises(InvalidInputError, match=reason):
        parse_reference(text)  # type: ignore[arg-type]


def test_a_plain_name_is_written_plainly() -> None:
    """Quotes appear only where they are needed."""
    assert format_reference("model", "braggnn", 3) == "model:braggnn@3"
    assert format_reference("data", "peaks/scan-7: a, b", None) == "data:peaks/scan-7: a, b"

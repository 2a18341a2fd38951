"""Times as people give them, to the nanosecond."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.times import nanoseconds, shown_time

SECOND = 1_795_257_000_000_000_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T10:30:00", SECOND),
        ("2026-11-21", SECOND - (10 * 60 + 30) * 60 * 10**9),
        ("2026-11-21T10:30:00.5", SECOND + 500_000_000),
        ("2026-11-21T10:30:00.000001234Z", SECOND + 1234),
        ("2026-11-21 10:30:00.0000012", SECOND + 1200),
        ("20261121T103000,123456789", SECOND + 123_456_789),
        ("2026-W47-6T10:30:00.000000009+00:00", SECOND + 9),
        ("2026-11-21T09:30:00.000000001-01:00", SECOND + 1),
        ("2026-11-21T10:30:00.0000000019", SECOND + 1),
        (datetime.fromtimestamp(SECOND // 10**9, UTC), SECOND),
        (SECOND + 1, SECOND + 1),
    ],
)
def test_a_time_is_taken_to_the_nanosecond(text: object, moment: int) -> None:
    assert nanoseconds(text) == moment


def test_what_is_shown_is_taken_back_as_it_was() -> None:
    """So a time that an error names can be given to the next question."""
    for moment in (0, 1, 999, 1001, SECOND - 1, SECOND + 123_456_789):
        assert nanoseconds(shown_time(moment)) == moment


@pytest.mark.parametrize("text", ["yesterday", "2026-11-21T10:30:00.5x", True, 1.5, "2026-11-21T25:00"])
def test_what_is_no_time(text: object) -> None:
    with pytest.raises(InvalidInputError, match="is not a time"):
        nanoseconds(text)

"""Event codes, kinds and states."""

from __future__ import annotations

import pytest

from braid_hpc.vocabulary.codes import ACTIVITY_KIND, Code, Outcome, WriterState, check_kind
from braid_hpc.vocabulary.errors import InvalidInputError

# As they stand in logs that exist; a number may be added, never changed.
NUMBERS = {
    "NAME": 1,
    "OPEN": 2,
    "CLOSE": 3,
    "CLOCK": 4,
    "INFO": 5,
    "DECLARE": 10,
    "DERIVE": 11,
    "TAG": 12,
    "BEGIN": 20,
    "END": 21,
    "USE": 22,
    "GENERATE": 23,
    "CALL": 25,
    "STREAM": 30,
    "ROW": 31,
    "BATCH": 32,
    "ROW_EDGES": 33,
    "LOSS": 40,
    "REJECTED": 41,
}


def test_codes_keep_their_numbers() -> None:
    """A log written by an earlier version must not be read as something else."""
    assert {name: int(Code[name]) for name in NUMBERS} == NUMBERS
    assert all(0 < code < 1 << 16 for code in Code)


def test_outcomes_keep_their_numbers() -> None:
    """They are the flags of END and CLOSE rows."""
    assert (Outcome.OK, Outcome.FAILED, Outcome.EXITED) == (0, 1, 2)


@pytest.mark.parametrize("kind", ["fact", "data", "model", "a", "my-kind_2", "x" * 32])
def test_kinds_are_lower_case_words(kind: str) -> None:
    """A kind that fits is returned as it is."""
    assert check_kind(kind) == kind


@pytest.mark.parametrize(
    "kind", ["", "Fact", "2d", "-a", "a b", "a:b", "x" * 33, "é", "id", ACTIVITY_KIND, "a\n", 5, None]
)
def test_other_kinds_are_refused(kind: object) -> None:
    """What could not be told from a name, or is reserved, is no kind, whatever its type."""
    with pytest.raises(InvalidInputError, match="cannot be a kind"):
        check_kind(kind)  # type: ignore[arg-type]


def test_only_closed_and_ended_logs_are_complete() -> None:
    """An answer that rests on any other log has to say so."""
    assert {state for state in WriterState if state.complete} == {WriterState.CLOSED, WriterState.ENDED}

"""Which values fit a field and an operator."""

from __future__ import annotations

import math
import re
from typing import Any

from braid_hpc.queries.fields import STATUSES, Field, Holds
from braid_hpc.queries.operators import EQUAL, ORDERED, PATTERNS, Operator, Scalar
from braid_hpc.queries.written import noun
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, UNSEEN_KIND, is_kind
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.times import nanoseconds

__all__ = ["DIGITS", "LONGEST", "checked_value"]

#: Characters of a search.
LONGEST = 65_536

#: A whole number has at most so many digits: Python converts no more at once.
DIGITS = 4_000
_TOO_LONG = 10**DIGITS


def checked_value(field: Field, operator: Operator, value: Any) -> Scalar:
    """Return a value that a field can be compared with.

    Parameters
    ----------
    field : Field
        Which field.
    operator : Operator
        How; one that the field allows.
    value : object
        One value; of a list each by itself.

    Returns
    -------
    str, int, float or bool
        The value, of exactly that type.

    Raises
    ------
    InvalidInputError
        If it cannot be compared so.
    """
    if not isinstance(value, (str, bool, int, float)):
        raise InvalidInputError(f"{value!r:.80} is no value to compare with: give a text, a number or a truth value")
    if isinstance(value, int) and abs(value) >= _TOO_LONG:
        raise InvalidInputError(f"a number of more than {DIGITS} digits is too long to compare with")
    if isinstance(value, str) and len(value) > LONGEST:
        raise InvalidInputError(f"a text of {len(value)} characters is too long: {LONGEST} at most")
    holds = field.holds
    if operator in PATTERNS and not isinstance(value, str):
        raise InvalidInputError(f"after {operator!s} comes a text, and {value!r} is none")
    if operator in ORDERED:
        _check_ordered(value)
    _CHECKS.get(holds, _accept)(field, operator, value)
    # Not a subclass with a text of its own.
    return {bool: bool, int: int, float: float}.get(type(value), _plain)(value)


def _plain(value: Any) -> Scalar:
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(type(value))


def _accept(field: Field, operator: Operator, value: Scalar) -> None:
    """Take any value."""


def _check_ordered(value: Scalar) -> None:
    if isinstance(value, bool):
        raise InvalidInputError("true and false have no order: compare with = or !=")
    if isinstance(value, float) and math.isnan(value):
        raise InvalidInputError("nothing is more or less than nan: compare with = or !=")


def _check_text(field: Field, operator: Operator, value: Scalar) -> None:
    if not isinstance(value, str):
        raise InvalidInputError(f"{noun(field)} is a text, and {value!r} is none")


def _check_kind(field: Field, operator: Operator, value: Scalar) -> None:
    _check_text(field, operator, value)
    if operator in EQUAL and not is_kind(value) and value not in (ACTIVITY_KIND, UNSEEN_KIND):
        raise InvalidInputError(
            f"{value!r:.80} cannot be a kind: that is a word of lower-case letters, digits, '-' and '_', such as 'data'"
        )


def _check_status(field: Field, operator: Operator, value: Scalar) -> None:
    if value not in STATUSES:
        raise InvalidInputError(f"{value!r:.80} is no status: there are {', '.join(STATUSES)}")


def _check_number(field: Field, operator: Operator, value: Scalar) -> None:
    if isinstance(value, (bool, str)):
        raise InvalidInputError(f"{noun(field)} is a number, and {value!r:.80} is none")


def _check_time(field: Field, operator: Operator, value: Scalar) -> None:
    if isinstance(value, (bool, float)):
        raise InvalidInputError(f"{value!r} is not a time: give one such as 2026-11-21T10:30:00, in UTC")
    nanoseconds(value)


def _check_flag(field: Field, operator: Operator, value: Scalar) -> None:
    if not isinstance(value, bool):
        raise InvalidInputError(f"{noun(field)} is true or false, and {value!r:.80} is neither")


def _check_id(field: Field, operator: Operator, value: Scalar) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"(id:)?[0-9a-fA-F]{4,32}", value):
        raise InvalidInputError(f"{value!r:.80} is no id: that is 4 to 32 hexadecimal digits")


_CHECKS = {
    Holds.TEXT: _check_text,
    Holds.KIND: _check_kind,
    Holds.STATUS: _check_status,
    Holds.NUMBER: _check_number,
    Holds.TIME: _check_time,
    Holds.FLAG: _check_flag,
    Holds.ID: _check_id,
    Holds.RUN: _check_text,
    Holds.URI: _check_text,
}

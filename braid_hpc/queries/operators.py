"""How fields are compared, and with what."""

from __future__ import annotations

from enum import StrEnum

from braid_hpc.queries.fields import Holds

__all__ = ["ALLOWED", "EQUAL", "ORDERED", "PATTERNS", "Operator", "Scalar"]

Scalar = str | int | float | bool


class Operator(StrEnum):
    """How a field is compared, as it is written."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    LIKE = "~"
    """By a pattern of a shell: ``*``, ``?``, ``[a-z]``, ``[!a]``; of the whole text."""
    MATCHES = "matches"
    """By a regular expression (RE2), anywhere in the text."""
    CONTAINS = "contains"
    SIMILAR = "similar"
    EXISTS = "exists"


ORDERED = (Operator.LT, Operator.LE, Operator.GT, Operator.GE)
PATTERNS = (Operator.LIKE, Operator.MATCHES, Operator.CONTAINS, Operator.SIMILAR)

EQUAL = (Operator.EQ, Operator.NE, Operator.IN)
_ANY = tuple(Operator)
ALLOWED: dict[Holds, tuple[Operator, ...]] = {
    Holds.TEXT: _ANY,
    Holds.KIND: (*EQUAL, *PATTERNS),
    Holds.STATUS: (*EQUAL, Operator.EXISTS),
    Holds.NUMBER: (*EQUAL, *ORDERED, Operator.EXISTS),
    Holds.TIME: (*EQUAL, *ORDERED, Operator.EXISTS),
    Holds.FLAG: (Operator.EQ, Operator.NE),
    Holds.ID: EQUAL,
    Holds.RUN: (*EQUAL, *PATTERNS, Operator.EXISTS),
    Holds.URI: (*EQUAL, *PATTERNS, Operator.EXISTS),
    Holds.TYPED: _ANY,
}

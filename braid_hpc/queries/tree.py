"""Searches as objects: conditions, joined with and, or and not. Values that never change, and their text."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, ClassVar

from braid_hpc.queries.fields import Field, find_field
from braid_hpc.queries.operators import ALLOWED, Operator, Scalar
from braid_hpc.queries.values import checked_value
from braid_hpc.queries.written import noun, written
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["DEEPEST", "SIMILAR", "And", "Condition", "Not", "Or", "Query"]

#: Levels of and, or, not and parentheses; nobody writes more, and Python's own stack holds that.
DEEPEST = 100

#: From this on two texts are similar where nothing else is said (Jaro-Winkler, 0 to 1).
SIMILAR = 0.85


class Query:
    """A search: what holds of a version, an activity or a run. Frozen; two of one text are one.

    Join them with ``&``, ``|`` and ``~``. ``str(query)`` is the text that :func:`parse_query` reads back.
    """

    __slots__ = ()
    #: How tightly a query of this class binds, where its text stands within another one.
    _binds: ClassVar[int] = 3

    @property
    def depth(self) -> int:
        """Levels below this one."""
        return 0

    @property
    def parts(self) -> tuple[Query, ...]:
        """What it is joined of."""
        return ()

    def __and__(self, other: Query) -> And:
        """Return what holds where both hold."""
        return And((self, other)) if isinstance(other, Query) else NotImplemented

    def __or__(self, other: Query) -> Or:
        """Return what holds where one of both holds."""
        return Or((self, other)) if isinstance(other, Query) else NotImplemented

    def __invert__(self) -> Not:
        """Return what holds where this does not."""
        return Not(self)

    def __bool__(self) -> bool:
        """Refuse to be a truth value: ``a and b`` of Python would quietly be ``b``.

        Raises
        ------
        InvalidInputError
            Always.
        """
        raise InvalidInputError("a search is not true or false: join searches with &, | and ~, in parentheses")

    def __eq__(self, other: object) -> bool:
        """Say whether both ask the same in the same words: 1, 1.0 and True are three."""
        return str(self) == str(other) if isinstance(other, Query) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of its text."""
        return hash(str(self))

    def conditions(self) -> list[Condition]:
        """Return all conditions in it.

        Returns
        -------
        list of Condition
            From left to right.
        """
        return [found for part in self.parts for found in part.conditions()]


def _check_joined(parts: object, word: str) -> tuple[Query, ...]:
    if not isinstance(parts, (tuple, list)) or not all(isinstance(part, Query) for part in parts):
        raise InvalidInputError(f"only searches are joined with {word}")
    return tuple(parts)


def _check_depth(query: Query) -> None:
    if query.depth > DEEPEST:
        raise InvalidInputError(f"the search is nested more than {DEEPEST} levels deep: write it flatter")


def _below(parts: tuple[Query, ...]) -> int:
    return 1 + max(part.depth for part in parts)


class _Joined(Query):
    """Several searches; such as are of the same class are taken apart, so that a & (b & c) is a & b & c."""

    __slots__ = ("_depth", "_parts")
    _word: ClassVar[str]
    _parts: tuple[Query, ...]
    _depth: int

    def __init__(self, parts: tuple[Query, ...]) -> None:
        given = _check_joined(parts, self._word)
        if len(given) < 2:
            raise InvalidInputError(f"{self._word} joins two searches at least")
        flat = tuple(each for part in given for each in (part.parts if type(part) is type(self) else (part,)))
        object.__setattr__(self, "_parts", flat)
        object.__setattr__(self, "_depth", _below(flat))
        _check_depth(self)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is made again."""
        return type(self), (self._parts,)

    @property
    def parts(self) -> tuple[Query, ...]:
        """What it is joined of."""
        return self._parts

    @property
    def depth(self) -> int:
        """Levels below this one."""
        return self._depth

    def __str__(self) -> str:
        """Return its text."""
        texts = (f"({part})" if part._binds <= self._binds else str(part) for part in self.parts)
        return f" {self._word} ".join(texts)

    def __repr__(self) -> str:
        """Return how it is written in Python."""
        return f"{type(self).__name__}({self.parts!r})"


class And(_Joined):
    """What holds where all of some searches hold.

    Parameters
    ----------
    parts : tuple of Query
        Two at least.

    Raises
    ------
    InvalidInputError
        If something else is joined, or the search is nested too deep.
    """

    __slots__ = ()
    _binds = 1
    _word = "and"


class Or(_Joined):
    """What holds where one of some searches holds.

    Parameters
    ----------
    parts : tuple of Query
        Two at least.

    Raises
    ------
    InvalidInputError
        If something else is joined, or the search is nested too deep.
    """

    __slots__ = ()
    _binds = 0
    _word = "or"


@dataclass(frozen=True, slots=True, eq=False)
class Not(Query):
    """What holds where a search does not.

    Attributes
    ----------
    part : Query
        That search.

    Raises
    ------
    InvalidInputError
        If it is none, or the search is nested too deep.
    """

    part: Query
    _binds: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Check it."""
        _check_joined((self.part,), "not")
        _check_depth(self)

    @property
    def parts(self) -> tuple[Query, ...]:
        """The one search."""
        return (self.part,)

    @property
    def depth(self) -> int:
        """Levels below this one."""
        return _below((self.part,))

    def __str__(self) -> str:
        """Return its text."""
        return f"not ({self.part})" if self.part._binds < self._binds else f"not {self.part}"


@dataclass(frozen=True, slots=True, eq=False)
class Condition(Query):
    """One field, compared with something.

    Attributes
    ----------
    field : Field
        What is compared.
    operator : Operator
        How.
    value : str, int, float, bool, tuple of these, or None
        With what: a tuple for ``in``, None for ``exists``. A time is a text in ISO 8601, or nanoseconds since 1970.
    least : float or None
        For ``similar``: how similar at least, 0 to 1.
    place : tuple of (str, int), or None
        For ``matches``: the search it was read from, and where in it the expression stands. What is wrong with an
        expression, only a store can tell.

    Raises
    ------
    InvalidInputError
        If the field cannot be compared so, or not with that.
    """

    field: Field
    operator: Operator
    value: Scalar | tuple[Scalar, ...] | None = None
    least: float | None = None
    place: tuple[str, int] | None = dataclass_field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check it.

        Raises
        ------
        InvalidInputError
            As the class says.
        """
        find_field(self.field.name, self.field.key, of=self.field.of, stream=self.field.stream)
        allowed = ALLOWED[self.field.holds]
        if self.operator not in allowed:
            ways = ", ".join(allowed)
            raise InvalidInputError(f"{noun(self.field)} is not compared with {self.operator}: its ways are {ways}")
        if self.operator is Operator.EXISTS:
            object.__setattr__(self, "value", None)
        elif self.operator is Operator.IN:
            if not isinstance(self.value, (tuple, list)) or not self.value:
                raise InvalidInputError("after 'in' comes a list of values, one at least: in (a, b)")
            object.__setattr__(
                self, "value", tuple(checked_value(self.field, self.operator, each) for each in self.value)
            )
        else:
            object.__setattr__(self, "value", checked_value(self.field, self.operator, self.value))
        least = SIMILAR if self.least is None else self.least
        if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 <= least <= 1:
            raise InvalidInputError(f"{least!r} is no similarity: it is a number from 0 to 1")
        object.__setattr__(self, "least", float(least) if self.operator is Operator.SIMILAR else None)

    def conditions(self) -> list[Condition]:
        """Return itself.

        Returns
        -------
        list of Condition
            Of one.
        """
        return [self]

    def __str__(self) -> str:
        """Return its text."""
        head = f"{noun(self.field)} {self.operator}"
        if self.operator is Operator.EXISTS:
            return head
        if isinstance(self.value, tuple):
            return f"{head} ({', '.join(written(each) for each in self.value)})"
        text = f"{head} {written(self.value if self.value is not None else '')}"
        return text if self.least in (None, SIMILAR) else f"{text} at {self.least!r}"

"""Comparisons in SQL: exact for numbers of any size and type, and with nothing of what was asked in the text."""

from __future__ import annotations

import math
from typing import Any

from braid_hpc.queries.operators import Operator, Scalar
from braid_hpc.queries.tree import Condition
from braid_hpc.store.bound import Bound
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.texts import clean

__all__ = [
    "among_numbers",
    "among_texts",
    "among_typed",
    "check_expression",
    "compared_number",
    "compared_real",
    "compared_text",
    "compared_typed",
    "glob_expression",
]

#: From so many values on they are hashed.
_MANY = 32

#: The widest integer that DuckDB computes with.
_WIDEST = (1 << 127) - 1


# ------------------------------------------------------------------------------------------------------------ numbers


def compared_number(column: str, operator: Operator, value: float, bound: Bound) -> str:
    """Compare an integer column with a number.

    Parameters
    ----------
    column : str
        SQL of an integer.
    operator : Operator
        ``=`` or an order.
    value : int or float
        Any; a fraction and an infinity are compared exactly.
    bound : Bound
        Takes it.

    Returns
    -------
    str
        SQL that is true, false or null.
    """
    if isinstance(value, float) and math.isinf(value):
        return f"({column} is not null and {_sql(_holds_beyond(operator, above=value > 0))})"
    exact = _as_integer(operator, value)
    if exact is None or not -_WIDEST <= exact <= _WIDEST:
        beyond = exact is not None and _holds_beyond(operator, above=exact > 0)
        return f"({column} is not null and {_sql(beyond)})"
    return f"{column} {operator} {bound.integer(exact)}"


def _sql(truth: bool) -> str:
    return "true" if truth else "false"


def _holds_beyond(operator: Operator, *, above: bool) -> bool:
    """Say whether every number compares so with one that lies above, or below, all of them."""
    return operator in (Operator.LT, Operator.LE) if above else operator in (Operator.GT, Operator.GE)


def _as_integer(operator: Operator, value: float) -> int | None:
    """Return the integer with which integers compare as with a number; None where none is equal to it."""
    if isinstance(value, int):
        return value
    if math.isnan(value) or (operator is Operator.EQ and value != math.floor(value)):
        return None
    return math.ceil(value) if operator in (Operator.GE, Operator.LT) else math.floor(value)


def _compared_wide(operator: Operator, value: float, bound: Bound) -> str:
    """Compare tags that are integers of more than 128 bits, of which the table has the digits."""
    if isinstance(value, float) and math.isinf(value):
        return _sql(_holds_beyond(operator, above=value > 0))
    exact = _as_integer(operator, value)
    if exact is None:
        return "false"
    if operator is Operator.EQ:
        return f"text = {bound(str(exact))}"
    if -_WIDEST <= exact <= _WIDEST:
        below = _sql(_holds_beyond(operator, above=True))
        return f"(starts_with(text, '-') = {below})"
    digits = str(abs(exact))
    pair = f"({bound(len(digits))}, {bound(digits)})"
    if exact > 0:
        negative = _sql(_holds_beyond(operator, above=True))
        return f"if(starts_with(text, '-'), {negative}, (length(text), text) {operator} {pair})"
    positive = _sql(_holds_beyond(operator, above=False))
    return f"if(starts_with(text, '-'), {pair} {operator} (length(text) - 1, text[2:]), {positive})"


def compared_real(column: str, operator: Operator, value: float, bound: Bound) -> str:
    """Compare a column of doubles with a number; what is not a number is neither more nor less than any.

    Parameters
    ----------
    column : str
        SQL of a double.
    operator : Operator
        ``=`` or an order.
    value : int or float
        Any; it is compared exactly, whether there is such a double or not.
    bound : Bound
        Takes it.

    Returns
    -------
    str
        SQL that is true, false or null.
    """
    if isinstance(value, float) and math.isnan(value):
        return f"isnan({column})"
    nearest = _rounded(value)
    if nearest != value:
        if operator is Operator.EQ:
            return "false"
        # No double lies between a number and the double nearest to it: only that one is to be put on its side.
        if nearest > value:
            operator = {Operator.GT: Operator.GE, Operator.LE: Operator.LT}.get(operator, operator)
        else:
            operator = {Operator.GE: Operator.GT, Operator.LT: Operator.LE}.get(operator, operator)
    return f"(not isnan({column}) and {column} {operator} {bound(nearest)}::double)"


# -------------------------------------------------------------------------------------------------------- typed values


def compared_typed(condition: Condition, value: Scalar | None, bound: Bound) -> str:
    """Compare rows that have the columns ``type``, ``text``, ``integer``, ``real`` and ``boolean``, as tags do.

    Parameters
    ----------
    condition : Condition
        What is asked.
    value : str, int, float, bool or None
        Its value, or one of its values.
    bound : Bound
        Takes it.

    Returns
    -------
    str
        SQL that is true, false or null.
    """
    operator = condition.operator
    if operator is Operator.EXISTS:
        return "true"
    if operator in (Operator.IN, Operator.NE):
        operator = Operator.EQ
    if isinstance(value, bool):
        return f"type = 'bool' and boolean = {bound(value)}"
    if isinstance(value, str):
        return f"type = 'str' and {compared_text('text', condition, value, bound)}"
    assert value is not None
    narrow = compared_number("integer", operator, value, bound)
    wide, real = _compared_wide(operator, value, bound), compared_real("real", operator, value, bound)
    return f"(type = 'int' and if(integer is not null, {narrow}, {wide}) or type = 'float' and {real})"


# ------------------------------------------------------------------------------------------------------ several values


def _among(column: str, values: list[Any], kind: str, bound: Bound) -> str:
    """Return SQL that is true, false or null: whether a column is one of some values."""
    if not values:
        return "false"
    given = f"{bound(values)}::{kind}[]"
    return f"list_contains({given}, {column})" if len(values) < _MANY else f"{column} in (select unnest({given}))"


def among_texts(column: str, values: list[str], bound: Bound) -> str:
    """Say whether a column is one of some texts.

    Parameters
    ----------
    column : str
        SQL of a text.
    values : list of str
        Any number.
    bound : Bound
        Takes them.

    Returns
    -------
    str
        SQL that is true, false or null.
    """
    return _among(column, [clean(value) for value in values], "varchar", bound)


def among_numbers(column: str, values: list[float], bound: Bound) -> str:
    """Say whether an integer column is one of some numbers.

    Parameters
    ----------
    column : str
        SQL of an integer.
    values : list of int or float
        Any; fractions, infinities and what is wider than the column are equal to none.
    bound : Bound
        Takes them.

    Returns
    -------
    str
        SQL that is true, false or null.
    """
    exact = {_as_integer(Operator.EQ, value) for value in values if not math.isinf(_rounded(value))}
    narrow = sorted(value for value in exact if value is not None and -_WIDEST <= value <= _WIDEST)
    return _among(f"{column}::hugeint", [str(value) for value in narrow], "hugeint", bound)


def _rounded(value: float) -> float:
    """Return the double nearest to a number, infinity beyond all of them."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def among_typed(values: tuple[Scalar, ...], bound: Bound) -> str:
    """Say whether rows that have the columns of tags are one of some values.

    Parameters
    ----------
    values : tuple of str, int, float or bool
        Any number.
    bound : Bound
        Takes them.

    Returns
    -------
    str
        SQL that is true, false or null.
    """
    texts = [value for value in values if isinstance(value, str)]
    truths = [value for value in values if isinstance(value, bool)]
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    ways = [f"type = 'str' and {among_texts('text', texts, bound)}"] if texts else []
    ways += [f"type = 'bool' and {_among('boolean', truths, 'boolean', bound)}"] if truths else []
    if numbers:
        wide = {_as_integer(Operator.EQ, value) for value in numbers if value == value and abs(value) != math.inf}
        digits = [str(value) for value in sorted(value for value in wide if value is not None)]
        narrow = f"if(integer is not null, {among_numbers('integer', numbers, bound)}, "
        ways.append(f"type = 'int' and {narrow}{_among('text', digits, 'varchar', bound)})")
        # What no double is equal to is left out.
        reals = sorted({_rounded(value) for value in numbers if _rounded(value) == value})
        missing = " or isnan(real)" if any(value != value for value in numbers) else ""
        ways.append(f"type = 'float' and ({_among('real', reals, 'double', bound)}{missing})")
    return " or ".join(f"({way})" for way in ways)


# --------------------------------------------------------------------------------------------------------------- texts


def compared_text(column: str, condition: Condition, value: str, bound: Bound) -> str:
    """Compare a column of text.

    Parameters
    ----------
    column : str
        SQL of a text.
    condition : Condition
        What is asked.
    value : str
        Its value, or one of its values.
    bound : Bound
        Takes it.

    Returns
    -------
    str
        SQL that is true, false or null.
    """
    operator = condition.operator
    if operator is Operator.CONTAINS:
        return f"contains({column}, {bound(value)})"
    if operator is Operator.LIKE:
        return f"regexp_full_match({column}, {bound(glob_expression(clean(value)))})"
    if operator is Operator.MATCHES:
        return f"regexp_matches({column}, {bound(value)})"
    if operator is Operator.SIMILAR:
        return f"jaro_winkler_similarity({column}, {bound(value)}) >= {bound(condition.least)}::double"
    if operator in (Operator.IN, Operator.NE):
        operator = Operator.EQ
    return f"{column} {operator} {bound(value)}"


def glob_expression(pattern: str) -> str:
    """Return the regular expression of a shell's pattern.

    Parameters
    ----------
    pattern : str
        With ``*``, ``?``, ``[a-z]`` and ``[!a]``; a bracket that is not closed is a letter like others.

    Returns
    -------
    str
        For RE2, of the whole text.

    Examples
    --------
    >>> glob_expression("scan?[0-9]*")
    '(?s)scan.[0-9].*'
    """
    found, at = "(?s)", 0
    while at < len(pattern):
        letter, at = pattern[at], at + 1
        if letter == "*":
            found += "" if found.endswith(".*") and pattern[at - 2] == "*" else ".*"
        elif letter == "?":
            found += "."
        elif letter == "[" and (end := _closing(pattern, at)):
            found, at = found + _choice(pattern[at:end]), end + 1
        else:
            found += _escaped(letter)
    return found


def _closing(pattern: str, at: int) -> int:
    first = at + 1 if pattern[at : at + 1] == "!" else at
    # As the first of them, the closing bracket is a letter.
    return pattern.find("]", first + 1) if pattern.find("]", first + 1) > 0 else 0


def _choice(letters: str) -> str:
    negated, letters = letters.startswith("!"), letters.removeprefix("!")
    parts, at = "", 0
    while at < len(letters):
        if letters[at + 1 : at + 2] == "-" and at + 2 < len(letters):
            low, high = letters[at], letters[at + 2]
            # A range from high to low holds nothing.
            parts += f"{_escaped(low)}-{_escaped(high)}" if low <= high else ""
            at += 3
        else:
            parts, at = parts + _escaped(letters[at]), at + 1
    if not parts:
        return "." if negated else r"[^\x{0}-\x{10FFFF}]"
    return f"[{'^' if negated else ''}{parts}]"


def _escaped(letter: str) -> str:
    return letter if letter.isalnum() or letter == "_" or ord(letter) > 127 else f"\\x{{{ord(letter):x}}}"


def check_expression(connection: Any, pattern: str) -> None:
    """See that a regular expression is one.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Any.
    pattern : str
        As it was asked.

    Raises
    ------
    InvalidInputError
        If RE2 refuses it; its reason is told.
    """
    import duckdb

    try:
        connection.cursor().execute("select regexp_matches('', $pattern)", {"pattern": clean(pattern)}).fetchall()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].removeprefix("Invalid Input Error: ")
        raise InvalidInputError(f"{pattern!r:.80} is no regular expression: {reason:.80}") from error

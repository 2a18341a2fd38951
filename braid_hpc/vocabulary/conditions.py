"""Conditions on the values of a row: one text, that Python evaluates for one row and SQL for all of them.

A condition is a Python expression of column names (``parent.column`` for a column of what a row belongs to), numbers,
texts, ``True``, ``False``; comparisons, also chained ones and ``in`` a tuple; ``and``, ``or``, ``not``; ``+``, ``-``,
``*``, ``/``, ``//``, ``%``; ``abs``, ``len``, ``.startswith``, ``.endswith``; ``is None`` and ``is not None``.
Where a value is not known, or a number is divided by zero, it is not known whether the condition holds, and only what
is known not to hold is a violation: so it is in SQL. NaN is unequal to everything, as in Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Condition"]

_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "timestamp")
_FAMILY = {
    **dict.fromkeys(_NUMBERS, "integer"),
    "float32": "float",
    "float64": "float",
    "bool": "truth",
    "text": "text",
    "bytes": "bytes",
}
_COMPARED: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("=", lambda a, b: a == b),
    ast.NotEq: ("<>", lambda a, b: a != b),
    ast.Lt: ("<", lambda a, b: a < b),
    ast.LtE: ("<=", lambda a, b: a <= b),
    ast.Gt: (">", lambda a, b: a > b),
    ast.GtE: (">=", lambda a, b: a >= b),
}
_CALCULATED: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", lambda a, b: a + b),
    ast.Sub: ("-", lambda a, b: a - b),
    ast.Mult: ("*", lambda a, b: a * b),
    ast.Div: ("/", lambda a, b: a / b if b else None),
    ast.FloorDiv: ("//", lambda a, b: a // b if b else None),
    ast.Mod: ("%", lambda a, b: a % b if b else None),
}
_METHODS = {"startswith": "starts_with", "endswith": "ends_with"}
_LETTERS = 2000
#: How deep it may be nested: beyond it are the ends of Python's stack and of what DuckDB reads.
_DEEP = 50
#: About how many names and values its SQL may have, where some parts of it are written more than once: DuckDB reads so
#: many in less than half a second.
_LONG = 30_000


class Condition:
    """A condition on the values of a row.

    Parameters
    ----------
    text : str
        The expression.
    types : mapping of str to str
        Type of each name that may stand in it, as in :mod:`braid_hpc.vocabulary.columns`.

    Attributes
    ----------
    text : str
        As it was given.
    names : set of str
        The names in it.

    Raises
    ------
    InvalidInputError
        If the text is no such expression, names something that is not there, or compares what cannot be compared.

    Examples
    --------
    >>> inside = Condition("0 <= t < nt", {"t": "int32", "nt": "int32"})
    >>> inside.holds({"t": 7, "nt": 4}.get), inside.holds({"t": 7, "nt": None}.get)
    (False, None)
    >>> inside.sql(lambda name: name)
    '((0 <= t) and (t < nt))'
    """

    def __init__(self, text: str, types: Mapping[str, str]) -> None:
        if not isinstance(text, str) or not text.strip() or len(text) > _LETTERS:
            raise InvalidInputError(f"a condition is a text of up to {_LETTERS} letters, not {str(text)[:80]!r}")
        self.text = text
        self.names: set[str] = set()
        self._types = types
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise InvalidInputError(f"{text!r} is no condition: it is not a Python expression") from None
        if _depth(self._tree) > _DEEP or _length(self._tree) > _LONG:
            raise self._refuse("it is too involved; make several of it")
        if (kind := self._kind(self._tree)) != "truth":
            raise InvalidInputError(f"{text!r} is no condition: it is {kind}, and not true or false")

    def holds(self, value: Callable[[str], Any]) -> bool | None:
        """Evaluate it for one row.

        Parameters
        ----------
        value : callable
            Gives the value of a name, None where it is not known.

        Returns
        -------
        bool or None
            None if it is not known.
        """
        found: bool | None = self._value(self._tree, value)
        return found

    def sql(self, column: Callable[[str], str]) -> str:
        """Write it in SQL.

        Parameters
        ----------
        column : callable
            Gives the SQL of a name.

        Returns
        -------
        str
            An expression that is null where it is not known.
        """
        return self._sql(self._tree, column)

    # ------------------------------------------------------------------ what it may be

    def _refuse(self, why: str) -> InvalidInputError:
        return InvalidInputError(f"{self.text!r} is no condition: {why}")

    def _kind(self, node: ast.expr) -> str:
        """Return what a part is: ``integer``, ``float``, ``text``, ``bytes``, ``truth``; or say what is wrong."""
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = _dotted(node)
            if name is None or name not in self._types:
                raise self._refuse(f"there is no column {name or ast.unparse(node)!r}")
            self.names.add(name)
            return _FAMILY[self._types[name]]
        if isinstance(node, ast.Constant):
            return self._constant(node.value)
        if isinstance(node, ast.BoolOp):
            return self._all("truth", node.values)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._all("truth", [node.operand])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            return self._number(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in _CALCULATED:
            kinds = {self._number(node.left), self._number(node.right)}
            return "float" if "float" in kinds or isinstance(node.op, ast.Div) else "integer"
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.Call) and not node.keywords:
            return self._call(node)
        raise self._refuse(f"{ast.unparse(node)!r} cannot stand in one")

    def _constant(self, value: Any) -> str:
        kinds = {bool: "truth", int: "integer", float: "float", str: "text"}
        if type(value) not in kinds or (type(value) is int and not -(1 << 63) <= value < 1 << 64):
            raise self._refuse(f"{value!r} cannot stand in one")
        if type(value) is str and not _is_text(value):
            raise self._refuse(f"{value!r} is no text of Unicode characters")
        return kinds[type(value)]

    def _all(self, wanted: str, nodes: list[ast.expr]) -> str:
        for node in nodes:
            if (kind := self._kind(node)) != wanted:
                raise self._refuse(f"{ast.unparse(node)!r} is {kind}, and not {wanted}")
        return wanted

    def _number(self, node: ast.expr) -> str:
        if (kind := self._kind(node)) not in ("integer", "float"):
            raise self._refuse(f"{ast.unparse(node)!r} is {kind}, and not a number")
        return kind

    def _comparison(self, node: ast.Compare) -> str:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, (ast.Is, ast.IsNot)):
                if not (isinstance(right, ast.Constant) and right.value is None):
                    raise self._refuse("'is' stands before None only")
                self._kind(left)
            elif isinstance(operator, (ast.In, ast.NotIn)):
                if not isinstance(right, (ast.Tuple, ast.List, ast.Set)) or not right.elts:
                    raise self._refuse("'in' stands before a tuple of values")
                for each in right.elts:
                    self._alike(left, each)
            elif type(operator) in _COMPARED:
                self._alike(left, right)
            else:
                raise self._refuse(f"{ast.unparse(node)!r} cannot stand in one")
            left = right
        return "truth"

    def _alike(self, left: ast.expr, right: ast.expr) -> None:
        one, other = self._kind(left), self._kind(right)
        if one != other and {one, other} != {"integer", "float"}:
            raise self._refuse(f"{ast.unparse(left)!r} is {one}, and {ast.unparse(right)!r} is {other}")

    def _call(self, node: ast.Call) -> str:
        if isinstance(node.func, ast.Name) and len(node.args) == 1 and node.func.id in ("abs", "len"):
            if node.func.id == "len":
                self._all("text", node.args)
                return "integer"
            return self._number(node.args[0])
        if isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS and len(node.args) == 1:
            self._all("text", [node.func.value, node.args[0]])
            return "truth"
        raise self._refuse(f"{ast.unparse(node)!r} cannot stand in one")

    # ------------------------------------------------------------------ in Python

    def _value(self, node: Any, value: Callable[[str], Any]) -> Any:
        if isinstance(node, (ast.Name, ast.Attribute)):
            return value(_dotted(node) or "")
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.BoolOp):
            parts = [self._value(each, value) for each in node.values]
            decisive = isinstance(node.op, ast.Or)
            return decisive if decisive in parts else (None if None in parts else not decisive)
        if isinstance(node, ast.UnaryOp):
            found = self._value(node.operand, value)
            if found is None:
                return None
            return not found if isinstance(node.op, ast.Not) else -found if isinstance(node.op, ast.USub) else found
        if isinstance(node, ast.BinOp):
            one, other = self._value(node.left, value), self._value(node.right, value)
            try:
                return None if one is None or other is None else _CALCULATED[type(node.op)][1](one, other)
            except OverflowError:
                # An integer that no float holds.
                return None
        if isinstance(node, ast.Compare):
            return self._compared(node, value)
        given = [self._value(each, value) for each in node.args]
        if isinstance(node.func, ast.Attribute):
            given.insert(0, self._value(node.func.value, value))
        if None in given:
            return None
        if isinstance(node.func, ast.Attribute):
            return getattr(given[0], node.func.attr)(given[1])
        return abs(given[0]) if node.func.id == "abs" else len(given[0])

    def _compared(self, node: ast.Compare, value: Callable[[str], Any]) -> bool | None:
        found: bool | None = True
        one = self._value(node.left, value)
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, (ast.Is, ast.IsNot)):
                this: bool | None = (one is None) == isinstance(operator, ast.Is)
                other: Any = None
            elif isinstance(operator, (ast.In, ast.NotIn)):
                others = [self._value(each, value) for each in right.elts]  # type: ignore[attr-defined]
                other, this = others, None if one is None else any(one == each for each in others)
                if this is False and None in others:
                    this = None
                if this is not None:
                    this = this == isinstance(operator, ast.In)
            else:
                other = self._value(right, value)
                this = None if one is None or other is None else _COMPARED[type(operator)][1](one, other)
            if this is False:
                return False
            found = found if this else None
            one = other
        return found

    # ------------------------------------------------------------------ in SQL

    def _sql(self, node: Any, column: Callable[[str], str]) -> str:
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = _dotted(node) or ""
            return f"epoch_ns({column(name)})" if self._types[name] == "timestamp" else column(name)
        if isinstance(node, ast.Constant):
            return _literal(node.value)
        if isinstance(node, ast.BoolOp):
            word = " and " if isinstance(node.op, ast.And) else " or "
            return f"({word.join(self._sql(each, column) for each in node.values)})"
        if isinstance(node, ast.UnaryOp):
            return self._signed(node, column)
        if isinstance(node, ast.BinOp):
            return self._calculated(node, column)
        if isinstance(node, ast.Compare):
            return self._compared_sql(node, column)
        given = [self._sql(each, column) for each in node.args]
        if isinstance(node.func, ast.Attribute):
            return f"{_METHODS[node.func.attr]}({self._sql(node.func.value, column)}, {given[0]})"
        return f"abs(({given[0]})::{self._wide(node)})" if node.func.id == "abs" else f"length({given[0]})"

    def _signed(self, node: ast.UnaryOp, column: Callable[[str], str]) -> str:
        found = self._sql(node.operand, column)
        if isinstance(node.op, ast.Not):
            return f"(not {found})"
        # Not every type has a minus, and none of the smallest number that it holds.
        return f"(-(({found})::{self._wide(node)}))" if isinstance(node.op, ast.USub) else found

    def _wide(self, node: ast.expr) -> str:
        """Return the type to calculate with: sums and products of 64 bits have room in 128, floats are Python's."""
        return "double" if self._kind(node) == "float" else "hugeint"

    def _calculated(self, node: ast.BinOp, column: Callable[[str], str]) -> str:
        kind = self._wide(node)
        one, other = (f"({self._sql(side, column)})::{kind}" for side in (node.left, node.right))
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
            # What even 128 bits do not hold is not known. A try around the whole would not do: DuckDB takes what
            # stands in it twice out of it.
            return f"try({one} {_CALCULATED[type(node.op)][0]} {other})"
        other = f"nullif({other}, 0)"
        if isinstance(node.op, ast.Div):
            return f"({one} / {other})"
        # SQL takes the remainder's sign from the other side, and cuts what it divides.
        rest = f"({one} % {other})"
        lower = f"{rest} <> 0 and ({rest} < 0) <> ({other} < 0)"
        if isinstance(node.op, ast.Mod):
            return f"(case when {lower} then {rest} + {other} else {rest} end)"
        whole = f"round(({one} - {rest}) / {other})" if kind == "double" else f"({one} // {other})"
        return f"({whole} - (case when {lower} then 1 else 0 end))"

    def _compared_sql(self, node: ast.Compare, column: Callable[[str], str]) -> str:
        parts = []
        left: Any = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            one = self._sql(left, column)
            if isinstance(operator, (ast.Is, ast.IsNot)):
                parts.append(f"({one} is {'' if isinstance(operator, ast.Is) else 'not '}null)")
            elif isinstance(operator, (ast.In, ast.NotIn)):
                each = [self._pair(left, one, "=", item, column) for item in right.elts]  # type: ignore[attr-defined]
                parts.append(f"({'not ' if isinstance(operator, ast.NotIn) else ''}({' or '.join(each)}))")
            else:
                parts.append(self._pair(left, one, _COMPARED[type(operator)][0], right, column))
            left = right
        return parts[0] if len(parts) == 1 else f"({' and '.join(parts)})"

    def _pair(self, left: Any, one: str, sign: str, right: Any, column: Callable[[str], str]) -> str:
        other = self._sql(right, column)
        compared = f"({one} {sign} {other})"
        # SQL takes NaN for the largest number, and equal to itself.
        none = [f"isnan({sql}::double)" for sql, node in ((one, left), (other, right)) if self._may_be_nan(node)]
        if not none:
            return compared
        known = f"{one} is not null and {other} is not null"
        unlike = "true" if sign == "<>" else "false"
        return f"(case when {known} and ({' or '.join(none)}) then {unlike} else {compared} end)"

    def _may_be_nan(self, node: Any) -> bool:
        return not isinstance(node, ast.Constant) and self._kind(node) == "float"


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)) is not None:
        return f"{before}.{node.attr}"
    return None


def _depth(tree: ast.expr) -> int:
    """Return how deep an expression is nested; level by level, since it may be deeper than Python's stack."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [below for node in level for below in ast.iter_child_nodes(node) if isinstance(below, ast.expr)]
    return depth


def _length(node: ast.AST) -> int:
    """Return about how many names and values the SQL of an expression has."""
    parts = [_length(below) for below in ast.iter_child_nodes(node)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.FloorDiv)):
        return 6 * sum(parts)
    if isinstance(node, ast.Compare):
        # Of a chain those in the middle are there twice, and what may be NaN three times in each.
        choices = max((len(each.elts) for each in node.comparators if hasattr(each, "elts")), default=1)
        return 6 * choices * sum(parts)
    return max(1, sum(parts))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return f"'{value!r}'::double"
    return str(value)

"""From the text of a search to the object. One token ahead, one method for each rule of the grammar."""

from __future__ import annotations

from typing import NoReturn

from braid_hpc.queries.fields import FAMILIES, FIELDS, FUNCTIONS, Field, Holds, find_field, near
from braid_hpc.queries.operators import PATTERNS, Operator, Scalar
from braid_hpc.queries.tree import DEEPEST, And, Condition, Not, Or, Query
from braid_hpc.queries.words import Mark, Word, mistake, split
from braid_hpc.queries.written import KEYWORDS, NUMBER
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["parse_query", "read_value"]

_SIGNS = ("=", "!=", "<", "<=", ">", ">=", "~")
_WORDS = ("in", "exists", "contains", "matches", "similar")
_FLAGS = ("valid", "invalid", "weak", "placeholder")
#: What others write, and what it is here.
_ELSEWHERE = {"==": "=", "&&": "and", "||": "or", "<>": "!=", "=~": "~", "!~": "not ... ~", "like": "~", "is": "="}


def parse_query(text: str, *, columns: bool = False) -> Query:
    """Read a search.

    Parameters
    ----------
    text : str
        Such as ``kind = model and energy_keV > 70``; the page :doc:`filter` has the grammar.
    columns : bool
        Whether rows of a table are searched: then every name is a column, ``time`` and ``name`` too.

    Returns
    -------
    Query
        Its text is read back to the same.

    Raises
    ------
    InvalidInputError
        If it does not parse. The message says what is wrong and what was expected; its notes are the line of the text
        and a caret below the place.

    Examples
    --------
    >>> query = parse_query("kind=model and energy_keV>70 and not (rank=3 or name ~ scan-*)")
    >>> print(query)
    kind = model and energy_keV > 70 and not (rank = 3 or name ~ "scan-*")
    """
    return _Parser(text, columns=columns).whole()


def read_value(word: str) -> Scalar:
    """Return what a word without quotes stands for.

    Parameters
    ----------
    word : str
        As it is written.

    Returns
    -------
    int, float, bool or str
        A number or a truth value if it reads as one, and else the text itself.

    Raises
    ------
    InvalidInputError
        If it is a number of more digits than Python converts.
    """
    if word in ("true", "false"):
        return word == "true"
    if not NUMBER.fullmatch(word):
        return word
    try:
        return int(word)
    except ValueError as error:
        if word.lstrip("+-").isdecimal():
            raise InvalidInputError(f"a number of {len(word)} digits is too long") from error
        return float(word)


def _elsewhere(said: str) -> str:
    shown = repr(said) if said.isalpha() else said
    return f"{shown} is written {_ELSEWHERE[said]} here"


class _Parser:
    def __init__(self, text: str, *, columns: bool = False) -> None:
        self.text = text
        self.columns = columns
        self.words = split(text)
        self.at = 0
        self.level = 0

    # ------------------------------------------------------------------ the words

    @property
    def next(self) -> Word:
        return self.words[self.at]

    def take(self) -> Word:
        word = self.words[self.at]
        self.at = min(self.at + 1, len(self.words) - 1)
        return word

    def wrong(self, message: str, word: Word | None = None) -> NoReturn:
        raise mistake(message, self.text, (self.next if word is None else word).start) from None

    def deeper(self, word: Word) -> None:
        self.level += 1
        if self.level > DEEPEST:
            self.wrong(f"the search is nested more than {DEEPEST} levels deep: write it flatter", word)

    # ------------------------------------------------------------------ the rules

    def whole(self) -> Query:
        if self.next.ends:
            self.wrong("the search is empty: write a condition such as kind = model")
        found = self.any_of()
        if self.next.is_sign(")"):
            self.wrong("this parenthesis was never opened")
        if not self.next.ends:
            self.wrong(self._instead("'and', 'or' or the end"))
        return found

    def any_of(self) -> Query:
        parts = [self.all_of()]
        while self.next.is_word("or") or self.next.is_sign("|"):
            self.once(self.take())
            parts.append(self.all_of())
        return self.joined(Or, parts)

    def all_of(self) -> Query:
        parts = [self.negated()]
        while self.next.is_word("and") or self.next.is_sign("&"):
            self.once(self.take())
            parts.append(self.negated())
        return self.joined(And, parts)

    def once(self, word: Word) -> None:
        """See that a sign between two searches does not stand twice, as elsewhere."""
        if word.mark is Mark.SIGN and self._whole(self.at - 1) in _ELSEWHERE:
            self.wrong(_elsewhere(self._whole(self.at - 1)), word)

    def joined(self, how: type[And | Or], parts: list[Query]) -> Query:
        return parts[0] if len(parts) == 1 else how(tuple(parts))

    def negated(self) -> Query:
        first = self.next
        if not (first.is_word("not") or first.is_sign("!")):
            return self.single()
        self.take()
        self.deeper(first)
        found = Not(self.negated())
        self.level -= 1
        return found

    def single(self) -> Query:
        opened = self.next
        if not opened.is_sign("("):
            return self.condition()
        self.take()
        self.deeper(opened)
        found = self.any_of()
        if not self.next.is_sign(")"):
            if self.next.ends:
                self.wrong("this parenthesis is not closed", opened)
            self.wrong(self._instead("'and', 'or' or ')'"))
        self.take()
        self.level -= 1
        return found

    # ------------------------------------------------------------------ a condition

    def condition(self) -> Query:
        start = self.next
        if (
            start.is_word("invalid")
            and not self.columns
            and not self._compares(self.words[min(self.at + 1, len(self.words) - 1)])
        ):
            self.take()
            return Condition(Field("valid"), Operator.EQ, False)
        field = self.field()
        word = self.next
        if field.holds is Holds.FLAG and not self._compares(word):
            return Condition(field, Operator.EQ, True)
        operator, negated = self.operator(start)
        place = (self.text, self.next.start) if operator is Operator.MATCHES else None
        value, least = self.operand(field, operator)
        try:
            found = Condition(field, operator, value, least, place)
        except InvalidInputError as error:
            # What is wrong with the value stands behind the operator; what is wrong with both, before it.
            fits = operator.value in str(error) and "is not compared with" in str(error)
            self.wrong(str(error), word if fits else self.words[min(self.at, len(self.words)) - 1])
        return Not(found) if negated else found

    def field(self) -> Field:
        word = self.take()
        if word.mark is Mark.QUOTED:
            return Field("tag", word.text)
        if word.is_word(*FUNCTIONS) and self.next.is_sign("("):
            return self.function(word)
        if word.mark is not Mark.WORD or word.is_word("and", "or", "in"):
            self.wrong(f"a condition was expected here, such as kind = model, and not {word.shown}", word)
        if self.columns:
            return Field("tag", word.text)
        head, dot, key = word.text.partition(".")
        if dot and head == "data":
            return self.data(word, None)
        if word.text.startswith("/"):
            return Field("nexus", word.text)
        if dot and head in FAMILIES:
            quoted = self.next
            if not key and quoted.mark is Mark.QUOTED and quoted.start == word.end:
                key = self.take().text
            elif not key:
                self.wrong(f"a key was expected after {word.text}", self.next)
            try:
                return find_field(head, key)
            except InvalidInputError as error:
                self.wrong(str(error), word)
        if word.text in FIELDS or word.text == "value":
            return Field(word.text)
        if word.text.lower() in FIELDS:
            self.wrong(f"fields are written in small letters: {word.text.lower()}, or tag.{word.text} for a tag", word)
        return Field("tag", word.text, bare=True)

    def function(self, word: Word) -> Field:
        opened = self.take()
        inner = self.take()
        if inner.mark is not Mark.WORD or not inner.text.startswith("data."):
            shown = f"{word.text.lower()}(data.motor)"
            self.wrong(
                f"a data key was expected after {word.text.lower()}(, as in {shown}, and not {inner.shown}", inner
            )
        found = self.data(inner, word.text.lower())
        if not self.next.is_sign(")"):
            if self.next.ends:
                self.wrong("this parenthesis is not closed", opened)
            self.wrong(self._instead("')'"))
        self.take()
        return found

    def data(self, word: Word, of: str | None) -> Field:
        """Read ``data.KEY`` and ``data.KEY@STREAM``; either may stand in quotes."""
        key, at, stream = word.text.removeprefix("data.").partition("@")
        end = word.end
        if not key and not at:
            if self.next.mark is not Mark.QUOTED or self.next.start != end:
                self.wrong(f"a key was expected after {word.text}", self.next)
            quoted, following = self.take(), self.next
            key, end = quoted.text, quoted.end
            if following.mark is Mark.WORD and following.start == end and following.text.startswith("@"):
                self.take()
                at, stream, end = "@", following.text[1:], following.end
        elif not key:
            self.wrong("a key was expected after data.", word)
        if at and not stream:
            if self.next.mark is not Mark.QUOTED or self.next.start != end:
                self.wrong("the name of a stream was expected after @", self.next)
            stream = self.take().text
        return Field("data", key, of, stream if at else None)

    def _compares(self, word: Word) -> bool:
        return word.is_sign(*_SIGNS) or word.is_word(*_WORDS)

    def operator(self, start: Word) -> tuple[Operator, bool]:
        word = self.next
        negated = word.is_word("not")
        if negated:
            self.take()
            word = self.next
            if word.text.lower() == "like":
                self.wrong(f"like is written ~ here, with not before it all: not {start.shown} ~ ...", word)
            if not word.is_word(*_WORDS):
                self.wrong(self._instead("'in', 'contains', 'matches', 'similar' or 'exists' after 'not'"))
        if not self._compares(word):
            self.wrong(self._no_operator(start, word))
        self.take()
        if self._whole(self.at - 1) in _ELSEWHERE:
            self.wrong(_elsewhere(self._whole(self.at - 1)), word)
        return Operator(word.text.lower()), negated

    def _whole(self, at: int) -> str:
        """Return a sign with the sign that stands right behind it, which others write as one."""
        word, after = self.words[at], self.words[min(at + 1, len(self.words) - 1)]
        return word.text + (after.text if after.start == word.end and after.mark is Mark.SIGN else "")

    def _no_operator(self, start: Word, word: Word) -> str:
        following = [each.text.lower() for each in self.words[self.at + 1 : self.at + 3]]
        if word.is_word("is") and "null" in (following[0], "".join(following[:2]).removeprefix("not")):
            said, meant = ("is not null", "exists") if following[0] == "not" else ("is null", "not exists")
            return f"{said} is written {meant} here"
        if word.text.lower() in _ELSEWHERE:
            return _elsewhere(word.text.lower())
        shown = self._whole(self.at) if word.mark is Mark.SIGN else word.shown
        known = [*FIELDS, *FAMILIES, *sorted(KEYWORDS)]
        # Of one letter or two, everything is near.
        asks = start.mark is Mark.WORD and start.text not in known and len(start.text) > 2
        hint = near(start.text, known) if asks else ""
        close = f" ({start.text:.40}{hint})" if hint.startswith(": near") else ""
        return f"a comparison was expected after {start.shown}, such as =, >, ~ or exists, and not {shown}{close}"

    def operand(self, field: Field, operator: Operator) -> tuple[Scalar | tuple[Scalar, ...] | None, float | None]:
        if operator is Operator.EXISTS:
            return None, None
        if operator is Operator.IN:
            return self.several(field), None
        value = self.value(field, operator)
        if operator is not Operator.SIMILAR or not self.next.is_word("at"):
            return value, None
        self.take()
        word = self.take()
        least = read_value(word.text) if word.mark is Mark.WORD else None
        if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 <= least <= 1:
            self.wrong(f"a number from 0 to 1 was expected after 'at', and not {word.shown}", word)
        return value, float(least)

    def several(self, field: Field) -> tuple[Scalar, ...]:
        opened = self.next
        if not opened.is_sign("("):
            self.wrong(self._instead("a list in parentheses after 'in', such as (a, b),"))
        self.take()
        found = [self.value(field, Operator.IN)]
        while self.next.is_sign(","):
            self.take()
            found.append(self.value(field, Operator.IN))
        if not self.next.is_sign(")"):
            if self.next.ends:
                self.wrong("this parenthesis is not closed", opened)
            self.wrong(self._instead("',' or ')'"))
        self.take()
        return tuple(found)

    def value(self, field: Field, operator: Operator) -> Scalar:
        word = self.next
        if word.mark is Mark.QUOTED:
            return self.take().text
        if word.mark is not Mark.WORD or word.is_word("and", "or", "not", "in"):
            self.wrong(self._instead(f"a value after {operator!s}"))
        self.take()
        if field.holds is not Holds.TYPED and field.holds not in (Holds.NUMBER, Holds.TIME, Holds.FLAG):
            return word.text
        if operator in PATTERNS:
            return word.text
        try:
            found = read_value(word.text)
        except InvalidInputError as error:
            self.wrong(str(error), word)
        # 20261121 is a day, not so many nanoseconds since 1970.
        if field.holds is Holds.TIME and not (isinstance(found, int) and abs(found) >= 10**9):
            return word.text
        return found

    def _ends_a_value(self, word: Word) -> bool:
        return word.mark is Mark.WORD and not word.is_word("in", "not", "exists")

    def _instead(self, wanted: str) -> str:
        word = self.next
        before = self.words[self.at - 1] if self.at else None
        hint = ""
        if word.mark in (Mark.WORD, Mark.QUOTED) and before is not None and self._ends_a_value(before):
            hint = ": a text with spaces stands in double quotes"
        elif word.is_sign("=") and before is not None and before.is_sign("="):
            hint = ": = is enough"
        return f"{wanted} was expected here, and not {word.shown}{hint}"

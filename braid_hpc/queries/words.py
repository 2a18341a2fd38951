"""Words, quoted texts and marks of a search, and where in the text a mistake is."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto

from braid_hpc.queries.values import LONGEST
from braid_hpc.queries.written import WORD
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Mark", "Word", "mistake", "split"]

#: Cells of a line that are shown to both sides of a mistake.
_AROUND = 50

_SPACE = re.compile(r"\s+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SIGN = re.compile(r"!=|<=|>=|[=<>~()&|!,]")


class Mark(Enum):
    """What a piece of the text is."""

    WORD = auto()
    QUOTED = auto()
    SIGN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of the text.

    Attributes
    ----------
    mark : Mark
        What it is.
    text : str
        Without quotes and escapes.
    start, end : int
        Where it stands, in characters.
    """

    mark: Mark
    text: str
    start: int
    end: int

    @property
    def ends(self) -> bool:
        """Whether it is the end of the text."""
        return self.mark is Mark.END

    def is_word(self, *words: str) -> bool:
        """Say whether it is one of some words of the language, in small or capital letters.

        Parameters
        ----------
        *words : str
            In small letters.

        Returns
        -------
        bool
            Never for what stands in quotes.
        """
        return self.mark is Mark.WORD and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        """Say whether it is one of some signs.

        Parameters
        ----------
        *signs : str
            Such as ``(``.

        Returns
        -------
        bool
            Never for what stands in quotes.
        """
        return self.mark is Mark.SIGN and self.text in signs

    @property
    def shown(self) -> str:
        """What to call it in a message."""
        if self.mark is Mark.END:
            return "the end"
        return f'"{self.text:.40}"' if self.mark is Mark.QUOTED else f"{self.text:.40}"


def split(text: str) -> list[Word]:
    """Take a search apart.

    Parameters
    ----------
    text : str
        Of one line or several.

    Returns
    -------
    list of Word
        In order; the last one is the end.

    Raises
    ------
    InvalidInputError
        If it is no text, is too long, or quotes are not closed.
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"{text!r:.80} is no search: that is a text such as 'kind = model', or a query object")
    if len(text) > LONGEST:
        raise InvalidInputError(f"a search of {len(text):,} characters is too long: {LONGEST:,} at most")
    found, at = [], 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
        elif quoted := _QUOTED.match(text, at):
            inside = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
            found.append(Word(Mark.QUOTED, inside, at, quoted.end()))
            at = quoted.end()
        elif text[at] == '"':
            raise mistake("the quotes that begin here are not closed", text, at)
        elif sign := _SIGN.match(text, at):
            found.append(Word(Mark.SIGN, sign[0], at, sign.end()))
            at = sign.end()
        else:
            word = WORD.match(text, at)
            assert word is not None
            found.append(Word(Mark.WORD, word[0], at, word.end()))
            at = word.end()
    found.append(Word(Mark.END, "", len(text), len(text)))
    return found


def mistake(message: str, text: str, at: int) -> InvalidInputError:
    """Return the error for a mistake at some place of a search.

    Parameters
    ----------
    message : str
        One sentence.
    text : str
        The search.
    at : int
        Where it is, in characters.

    Returns
    -------
    InvalidInputError
        Its notes are the line of the search, and a caret below the place.
    """
    first = text.rfind("\n", 0, at) + 1
    last = text.find("\n", at)
    line = _printable(text[first : None if last < 0 else last])
    column = at - first
    begin, end = max(0, column - _AROUND), column + _AROUND
    before, after = "…" if begin else "", "…" if end < len(line) else ""
    lines = text.count("\n")
    where = f"line {text.count(chr(10), 0, at) + 1}: " if lines else ""
    shown = f"{where}{before}{line[begin:end]}{after}"
    error = InvalidInputError(message)
    error.add_note(shown)
    error.add_note(" " * _cells(f"{where}{before}{line[begin:column]}") + "^")
    return error


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() or _joins(letter) else " " for letter in line)


def _joins(letter: str) -> bool:
    return unicodedata.category(letter) in ("Mn", "Me") or letter == "\u200d"


def _cells(text: str) -> int:
    """Return how wide a text is on a terminal."""
    return sum(0 if _joins(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)

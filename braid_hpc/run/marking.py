"""Saying of files of declared tables where they are, and what became of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from braid_hpc.run.declared_rows import DeclaringRows
from braid_hpc.run.guard import passes, shown
from braid_hpc.run.handles import NO_ROWS, Rows
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.places import MARK_COLUMNS, MARKS, FileState
from braid_hpc.vocabulary.times import nanoseconds

__all__ = ["Marking"]

_WORDS = {state.word: state for state in FileState if state is not FileState.EXPECTED}


class Marking(DeclaringRows):
    """What marks files of declared tables."""

    def mark(
        self,
        thing: Any,
        state: str,
        *,
        names: Any = None,
        place: str = "disk",
        size: Any = None,
        modified: Any = None,
        digest: Any = None,
        cause: str = "",
    ) -> Rows:
        """Say what is known of files that rows of a declared table stand for; the newest word counts.

        Parameters
        ----------
        thing : object or type
            An instance of a declared table; or the class, with `names`; or a task, whose results are named by uri.
        state : str
            ``exists``, ``consumed`` (removed when it had served), ``missing``, ``corrupt``, ``archived``,
            ``growing``; or ``invalid``: the row is not to be relied on, nor is what came of it, until it is made again
            or said to be ``valid``.
        names : sequence of str, optional
            Names of the files; of a table without a file column the key's values with ``/`` between them, times as
            nanoseconds since 1970 UTC and bytes as hexadecimal digits; in a text of a key of several columns a
            backslash stands before each ``/`` and each backslash. They may be declared later, or by others.
        place : str
            Where: ``disk``, or a word of yours; ``tape`` and ``archive`` have to be read back first.
        size : int or sequence of int, optional
            Bytes.
        modified : datetime, int or sequence of int, optional
            When the file was changed last; nanoseconds since 1970 UTC.
        digest : str or sequence of str, optional
            Of the content, ``"<algorithm>:<hex>"``.
        cause : str
            Why, for people.

        Returns
        -------
        Rows
            The place of what was said; count 0 if it was refused.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if there is no such state, or something is of another type.
        """
        try:
            if not self._open:
                self._note_late()
                return NO_ROWS
            return self._mark(thing, state, names, place, {"size": size, "modified": modified, "digest": digest}, cause)
        except Exception as error:
            if passes(error):
                raise
            self._refused(f"mark {shown(thing)}", error, f"state={shown(state)}, names={shown(names)}")
            return NO_ROWS

    def _mark(self, thing: Any, state: str, names: Any, place: str, about: dict[str, Any], cause: str) -> Rows:
        from braid_hpc.run.tables import declared_table

        if state not in _WORDS:
            raise InvalidInputError(f"{shown(state)} is not the state of a file: there are {', '.join(_WORDS)}")
        if not all(isinstance(text, str) for text in (place, cause)) or not place:
            raise InvalidInputError("place= and cause= are texts")
        # A task says itself what it is called; of its results there is no table that would have a key.
        table = getattr(thing, "marks_as", None)
        declared = None if isinstance(table, str) else declared_table(thing)
        if (declared is None or isinstance(thing, type)) == (names is None) or isinstance(names, str):
            raise InvalidInputError("mark an instance, or a class or task with the names of its files as a sequence")
        given = names if declared is None or names is not None else [declared.name_of(thing)]
        count = len(given)
        if isinstance(about["modified"], datetime):
            about["modified"] = nanoseconds(about["modified"])
        empty = {"size": -1, "modified": 0, "digest": ""}
        columns = {
            name: value if hasattr(value, "__len__") and not isinstance(value, str) else [value] * count
            for name, value in (
                ("table", table if declared is None else declared.name),
                ("name", given),
                ("place", place),
                ("state", int(_WORDS[state])),
                *((name, empty[name] if value is None else value) for name, value in about.items()),
                ("cause", cause),
            )
        }
        return self._own_stream(MARKS, MARK_COLUMNS).extend(columns)

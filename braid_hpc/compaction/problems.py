"""What a person should know of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A row of the table ``problems``.

    Attributes
    ----------
    code : str
        ``array``, ``cycle``, ``denied``, ``link``, ``quarantine``, ``rejected``, ``run``, ``set``, ``stream``,
        ``undecodable``, ``unknown``, ``unresolved`` or ``world``.
    message : str
        One sentence.
    run, writer : str or None
        Whose it is.
    sequence : int or None
        The row of the writer's log.
    given : str or None
        What the program gave.
    place : str or None
        The program's line.
    """

    code: str
    message: str
    run: str | None = None
    writer: str | None = None
    sequence: int | None = None
    given: str | None = None
    place: str | None = None

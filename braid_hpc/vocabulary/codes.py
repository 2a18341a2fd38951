"""The closed sets of the vocabulary: event codes, relations, states, outcomes.

The numbers are part of the log format (``docs/log-format.md``) and never change their meaning.
"""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum

__all__ = [
    "ACTIVITY_KIND",
    "COLLECTIVE_KIND",
    "KIND_PATTERN",
    "UNSEEN_KIND",
    "Code",
    "Outcome",
    "Relation",
    "WriterState",
    "check_kind",
    "check_retractable",
    "is_kind",
]

#: The kind of the graph nodes that ran, as it stands in references (``activity:find-peaks@2``).
ACTIVITY_KIND = "activity"

#: The kind of placeholders: records and activities that others name and whose log was not seen.
UNSEEN_KIND = "unseen"

#: The kind of the graph nodes that stand for collective calls of MPI (``collective:allreduce@2``).
COLLECTIVE_KIND = "collective"

#: What a kind may look like. It is closed, so that ``kind:name`` can be told from a name with a colon.
KIND_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class Code(IntEnum):
    """What one row of a rank log says (column ``code``, uint16)."""

    NAME = 1
    """A text interned by this writer; its number is the row's ``subject``."""
    OPEN = 2
    """The run begins on this writer."""
    CLOSE = 3
    """The run ended on this writer; the last row of a log that was closed."""
    CLOCK = 4
    """A pair of clocks: ``time`` is monotonic, ``subject`` the same moment in UTC, both nanoseconds."""
    INFO = 5
    """One fact about the run or the process: interned key, encoded value."""
    FRAMES = 6
    """A tail of frames was left: ``subject`` is its number, ``object`` how many frames it holds."""
    DECLARE = 10
    """An occurrence of a version of a record."""
    DERIVE = 11
    """Further parents of an earlier occurrence."""
    TAG = 12
    """Further tags of an earlier occurrence."""
    BEGIN = 20
    """An activity begins."""
    END = 21
    """An activity ended; ``subject`` is the sequence of its beginning."""
    USE = 22
    """An activity used records after it began."""
    GENERATE = 23
    """An activity generated a record that was declared before."""
    ARRAY = 24
    """The bytes of an array, or where they lie; what is declared with that digest has them as content."""
    CALL = 25
    """A call of a decorated function, from its beginning to its end; ``object`` is how long it took (ns)."""
    INSPECT = 26
    """What a file was found to be whose digest was left to the merge."""
    STREAM = 30
    """A typed table is declared."""
    ROW = 31
    """One row of a declared stream."""
    BATCH = 32
    """Many rows of a declared stream, as columns."""
    ROW_EDGES = 33
    """Which rows of a stream came from which rows of a stream."""
    LOSS = 40
    """Events that could not be written: how many, and from when to when."""
    REJECTED = 41
    """A call whose input was refused; kept with its message and the caller's line."""
    TROUBLE = 42
    """What the log could not do in the background, once for each kind."""
    INVALIDATE = 50
    """A statement that something is not to be relied on, and why."""
    REVALIDATE = 51
    """A statement that takes such statements back, or that something holds in spite of one."""
    RETRACT = 52
    """A statement that an edge was stated wrongly."""
    ACTION = 60
    """What may be done when a record turns out not to hold."""
    ATTACH = 61
    """It is to be done when that record turns out not to hold."""
    ATTEMPT = 62
    """It is begun: on which record, because of which statement."""
    RESULT = 63
    """How it ended; ``subject`` is the sequence of its ATTEMPT."""
    TASK = 70
    """An activity is the execution of a task: its key, version and parameters; ``subject`` is its BEGIN."""
    TASK_END = 71
    """What the execution of a task returned; ``subject`` is its BEGIN."""
    TASK_SKIP = 72
    """A task was called and did not run, because it was done; ``subject`` is the activity that called it."""
    TASK_MISSING = 73
    """A task was called and did not run, because a file that it was given is not there."""


class Relation(StrEnum):
    """The edges of the graph, child to parent, by their W3C PROV-DM meaning."""

    DERIVED = "wasDerivedFrom"
    USED = "used"
    GENERATED = "wasGeneratedBy"
    SAME_CONTENT = "same-content"
    """From a source to a version of equal content that was made before; found when logs are merged."""
    CALLED = "wasStartedBy"
    """An activity that was begun inside another one."""
    INFORMED = "wasInformedBy"
    """An activity that received a message of another one; found when logs are merged."""


class Outcome(IntEnum):
    """How an activity or a writer's part of a run ended (low byte of ``flags`` of END, CALL and CLOSE)."""

    OK = 0
    FAILED = 1
    EXITED = 2
    """Left by ``SystemExit`` or ``KeyboardInterrupt``, or ended at interpreter exit."""


class WriterState(StrEnum):
    """What the log of one writer amounts to; ``closed`` and ``ended`` are complete."""

    CLOSED = "closed"
    ENDED = "ended"
    OPEN = "open"
    LOSSY = "lossy"
    TORN = "torn"
    CORRUPT = "corrupt"
    ABSENT = "absent"

    @property
    def complete(self) -> bool:
        """Whether a log in this state holds everything its writer recorded."""
        return self in (WriterState.CLOSED, WriterState.ENDED)


class Ending(StrEnum):
    """How it is known that the process of a writer has ended."""

    EXITED = "exited"
    """Its parent saw it exit."""
    KILLED = "killed"
    """Its parent saw a signal end it."""
    GONE = "gone"
    """There is no such process any more, said somebody who looked on its machine and among its process ids."""
    REBOOTED = "rebooted"
    """Its machine was started again."""


def is_kind(kind: object) -> bool:
    """Return whether something can be a kind.

    Parameters
    ----------
    kind : object
        Anything.

    Returns
    -------
    bool
        Whether it is a text that matches :data:`KIND_PATTERN` and is not reserved.
    """
    return isinstance(kind, str) and KIND_PATTERN.fullmatch(kind) is not None and kind not in ("id", ACTIVITY_KIND)


def check_kind(kind: str) -> str:
    """Return `kind` if it can be one.

    Parameters
    ----------
    kind : str
        A proposed kind, such as ``"model"``.

    Returns
    -------
    str
        The same text.

    Raises
    ------
    InvalidInputError
        If it does not match :data:`KIND_PATTERN`, or is the reserved word ``id``.
    """
    from braid_hpc.vocabulary.errors import InvalidInputError

    if not is_kind(kind):
        raise InvalidInputError(
            f"{kind!r} cannot be a kind: use lower-case letters, digits, '-' and '_', starting with a letter, "
            f"at most 32 of them, and not 'id' or 'activity'"
        )
    return kind


def check_retractable(relation: object) -> str:
    """Return a relation, having seen that edges of it are stated and can be retracted.

    Parameters
    ----------
    relation : object
        What the caller gave.

    Returns
    -------
    str
        The same.

    Raises
    ------
    InvalidInputError
        If it is none; equal content is found and not stated.
    """
    from braid_hpc.vocabulary.errors import InvalidInputError

    stated = [str(each) for each in Relation if each is not Relation.SAME_CONTENT]
    if relation not in stated:
        raise InvalidInputError(f"{relation!r} is no relation that is stated: these are {', '.join(stated)}")
    return str(relation)

"""The closed sets of tasks: what is known of a key, how an execution ended, and why a call runs.

The numbers are part of the format of the done index (``docs/done-format.md``) and never change their meaning.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

__all__ = ["Reason", "Role", "State"]


class State(IntEnum):
    """What a store knows of a key."""

    UNKNOWN = 0
    """Nothing: no execution is on record."""
    DONE = 1
    """An execution ended well, and holds."""
    FAILED = 2
    """It ended by an exception."""
    RUNNING = 3
    """It has begun, and nothing on record says that its process has ended."""
    INVALID = 4
    """It ended well, and it, or something that it came of, was invalidated since."""
    INTERRUPTED = 5
    """It was left by ``SystemExit`` or ``KeyboardInterrupt``, or has no end and its process has certainly ended."""
    UNRECORDED = 6
    """It ended well, and what it returned was too large, or of no kind that can be kept."""


class Reason(StrEnum):
    """Why a call of a task ran."""

    NEW = "new"
    """No execution of this key is on record."""
    NO_INDEX = "no-index"
    """There is no done index: no store is named, or nothing of tasks was merged into it yet."""
    ASKED = "rerun"
    """``rerun=True``."""
    ALWAYS = "location"
    """The task has ``location=`` instead of ``target=``, and always writes."""
    INVALID = "invalidated"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    RUNNING = "running"
    """Another process has begun it, and no end is on record: it may be running still."""
    UNRECORDED = "unrecorded"
    CODE = "code"
    """The source of the function is another one than that of the execution on record, under the same version."""
    MISSING = "target-missing"
    CHANGED = "target-changed"
    ELSEWHERE = "target-moved"
    """The execution on record wrote to another place, or to none."""
    DAMAGED = "damaged"
    """The entry of the done index does not carry the sum it was written with."""
    DISABLED = "disabled"


class Role(StrEnum):
    """Where a parameter came from."""

    GIVEN = "given"
    DEFAULT = "default"
    INHERITED = "inherited"
    """Not an argument: from the version of the task, or of the package that the function is in."""
    IGNORED = "ignored"
    """An argument that ``ignore=`` names: recorded, and not a part of the identity."""

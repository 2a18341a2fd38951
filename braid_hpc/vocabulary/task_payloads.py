"""What stands in the payload of rows about tasks: structures of the log format, and of entries of the done index."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Done", "Output", "TaskBegun", "TaskEnded", "TaskMissing", "TaskParameter", "TaskSkipped"]


class TaskParameter(msgspec.Struct, array_like=True, frozen=True):
    """One parameter of a call.

    Attributes
    ----------
    name : str
        Of the argument, or of what was inherited.
    form : object
        Canonical, see ``docs/tasks.md``.
    role : str
        ``given``, ``default``, ``inherited`` or ``ignored``.
    given : str or None
        What it was given as, where the form does not say it: a file's path, a record's token.
    """

    name: str
    form: Any
    role: str
    given: str | None = None


class Output(msgspec.Struct, array_like=True, frozen=True):
    """What an execution wrote.

    Attributes
    ----------
    uri : str
        Where.
    size : int
        Bytes.
    mtime_ns : int or None
        Modification time, nanoseconds since 1970 UTC; None where the place has none.
    digest : str
        ``blake3:<hex>`` of the bytes.
    content : str or None
        ``blake3:<hex>`` of the decoded value, where the serializer tells it.
    media_type : str or None
        Of the bytes.
    """

    uri: str
    size: int
    mtime_ns: int | None
    digest: str
    content: str | None = None
    media_type: str | None = None


class TaskBegun(msgspec.Struct, omit_defaults=True):
    """Payload of TASK.

    Attributes
    ----------
    key : bytes
        16 bytes.
    task : str
        Name of the task.
    parameters : list of TaskParameter
        All of them.
    version : str or None
        As declared.
    module, script, function : str
        Where the function is; one of the first two is empty.
    code : str or None
        Digest of the function's source.
    reason, detail : str
        Why it ran; :class:`braid_hpc.tasks.states.Reason`.
    columns : list of (str, str)
        Of the typed table that its results stand in; empty if there is none.
    table : str
        Name of that table.
    shared : int
        Nanoseconds of set-up time that were this execution's share.
    """

    key: bytes
    task: str
    parameters: list[TaskParameter] = []
    version: str | None = None
    module: str = ""
    script: str = ""
    function: str = ""
    code: str | None = None
    reason: str = ""
    detail: str = ""
    columns: list[tuple[str, str]] = []
    table: str = ""
    shared: int = 0


class TaskEnded(msgspec.Struct, omit_defaults=True):
    """Payload of TASK_END, of an execution that returned.

    Attributes
    ----------
    record : int
        Sequence of the declaration of its result, a record of kind ``result``; 0 if there is none.
    value : bytes or None
        What it returned, as a form in MessagePack; None if it is not kept here.
    output : Output or None
        What was written.
    unkept : str
        Why there is neither.
    """

    record: int = 0
    value: bytes | None = None
    output: Output | None = None
    unkept: str = ""


class TaskSkipped(msgspec.Struct, omit_defaults=True):
    """Payload of TASK_SKIP.

    Attributes
    ----------
    key : bytes
        16 bytes.
    task : str
        Name of the task.
    execution : bytes
        The execution whose result was taken: writer and sequence of its beginning, 24 bytes.
    record : bytes
        Its result, likewise; empty if there is none.
    detail : str
        What else is to be said.
    """

    key: bytes
    task: str
    execution: bytes
    record: bytes = b""
    detail: str = ""


class TaskMissing(msgspec.Struct, omit_defaults=True):
    """Payload of TASK_MISSING.

    Attributes
    ----------
    task : str
        Name of the task.
    message : str
        Which file is not there.
    """

    task: str
    message: str


class Done(msgspec.Struct, array_like=True, frozen=True):
    """An entry of the done index (``docs/done-format.md``).

    Attributes
    ----------
    task : str
        Name of the task.
    version : str or None
        As declared.
    execution : bytes
        Writer and sequence of the beginning of the execution, 24 bytes.
    record : bytes
        Handle of its result, 24 bytes; empty if there is none.
    code : str or None
        Digest of the function's source.
    time : int
        When it began, nanoseconds since 1970 UTC.
    cause : str
        Of an execution that does not hold: why. Of one that failed: the exception.
    value : bytes or None
        What it returned, see :class:`TaskEnded`.
    output : Output or None
        What it wrote.
    """

    task: str
    version: str | None
    execution: bytes
    record: bytes
    code: str | None
    time: int
    cause: str
    value: bytes | None
    output: Output | None

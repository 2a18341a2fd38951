"""What stands in the payload of a row, by event code: the structures of the log format.

Fields are encoded as MessagePack maps by their short names and left out where they hold their default, so that
a reader of an older minor version can pass over what it does not know.

A *link* says which occurrence is meant: an int is the sequence of an occurrence of the same writer; 24 bytes are
a writer id (16) and a little-endian sequence (8); a text is a reference that compaction resolves; a list
``[link]`` of one element means that kind, name and step of every writer of the run.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ARRAY_IN_FILE",
    "ARRAY_LOST",
    "Action",
    "ArrayEntry",
    "Attachment",
    "Attempt",
    "Begin",
    "Called",
    "Close",
    "Declaration",
    "End",
    "Inspection",
    "Invalidation",
    "Link",
    "Links",
    "Loss",
    "Rejected",
    "Result",
    "Retraction",
    "Revalidation",
    "RowEdges",
    "StreamSchema",
    "TableParent",
    "TableSchema",
    "Tensor",
    "Trouble",
]

#: Flags of ARRAY: the bytes lie in an arrays file; they could not be stored. Without either they are in the payload.
ARRAY_IN_FILE = 1
ARRAY_LOST = 2

#: See the module's text. ``Any`` because msgspec does not tell str from bytes from list of itself in a union.
Link = Any


class Tensor(msgspec.Struct, array_like=True, frozen=True):
    """One array of a model state, as it stands in its list.

    Attributes
    ----------
    name : str
        Dotted where mappings were nested.
    digest : str
        As in its :class:`ArrayEntry`.
    dtype, shape
        As in :class:`braid_hpc.vocabulary.arrays.ArrayBytes`.
    size : int
        Bytes.
    """

    name: str
    digest: str
    dtype: str
    shape: list[int]
    size: int


class Declaration(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=False):
    """Payload of DECLARE.

    Attributes
    ----------
    parents : list of Link
        Direct parents (relation ``wasDerivedFrom``), in the order given.
    digest, size, weak
        The content, see :class:`braid_hpc.vocabulary.identity.Content`; None where there is none.
    value : object
        The declared value of a record without bytes of its own.
    uris : list of str
        Where the bytes are, in order.
    tags : dict or None
        Flat, typed tags.
    dtype, shape, unit
        Of an array: NumPy's ``dtype.str``, lengths, a unit symbol.
    shared : bool
        Declared with ``same_on_all_ranks=True``.
    state : list of Tensor or None
        Of a state that is a mapping of arrays: each of them, sorted by name; `digest` is that of this list.
    kept : str or None
        Of bytes that stand in the log: the digest of the array of uint8 that they are there.
    deferred : bool
        `digest` is weak, and that of the bytes is to be taken when logs are merged.
    """

    parents: list[Link] = []
    digest: str | None = None
    size: int | None = None
    weak: bool = False
    value: Any = None
    uris: list[str] = []
    tags: dict[str, Any] | None = None
    dtype: str | None = None
    shape: list[int] | None = None
    unit: str | None = None
    shared: bool = False
    state: list[Tensor] | None = None
    kept: str | None = None
    deferred: bool = False


class Inspection(msgspec.Struct, omit_defaults=True):
    """Payload of INSPECT.

    Attributes
    ----------
    state : str
        ``verified``: size and modification time are those of the declaration, and these are digest and size of the
        bytes; ``changed``: they are not; ``missing``; ``unreadable``.
    uri : str
        Where it was looked for.
    digest : str or None
        ``blake3:...``, where it was verified.
    size : int or None
        Bytes.
    detail : str
        More of it, for people.
    """

    state: str
    uri: str = ""
    digest: str | None = None
    size: int | None = None
    detail: str = ""


class Links(msgspec.Struct, omit_defaults=True):
    """Payload of DERIVE, USE and GENERATE: the records at the other end."""

    links: list[Link] = []


class ArrayEntry(msgspec.Struct, omit_defaults=True):
    """Payload of ARRAY; ``docs/array-format.md``.

    Attributes
    ----------
    digest : str
        As in the declaration of what it is the content of.
    size : int
        Bytes.
    dtype, shape
        As in :class:`braid_hpc.vocabulary.arrays.ArrayBytes`.
    file : int
        Number of the arrays file, from 1; 0 if the bytes are here.
    pool : str
        Name of the dataset in it.
    offset, length : int
        Elements of that dataset.
    end : int
        Bytes of the file when the array was in it.
    data : bytes or None
        The bytes.
    error : str or None
        Why they could not be stored.
    """

    digest: str
    size: int
    dtype: str
    shape: list[int]
    file: int = 0
    pool: str = ""
    offset: int = 0
    length: int = 0
    end: int = 0
    data: Any = None
    error: str | None = None


class Begin(msgspec.Struct, omit_defaults=True):
    """Payload of BEGIN.

    Attributes
    ----------
    used : list of Link
        Records used from the start.
    params : dict or None
        Parameters by name.
    function : str or None
        Qualified name of a decorated function.
    since : int or None
        When it began, monotonic ns, where that was not when this row was written: the beginning of a call of a
        decorated function becomes a row only when something is recorded in it, or when it lasts.
    """

    used: list[Link] = []
    params: dict[str, Any] | None = None
    function: str | None = None
    since: int | None = None


class End(msgspec.Struct, omit_defaults=True):
    """Payload of END, where there is something to say.

    Attributes
    ----------
    error : str or None
        Type and message of the exception.
    result : object
        What a decorated function returned, if that is a scalar, a short text, or described by type.
    generated : list of Link
        Records that the returned object stands for.
    """

    error: str | None = None
    result: Any = None
    generated: list[Link] = []


class Called(msgspec.Struct, omit_defaults=True):
    """Payload of CALL: what :class:`Begin` and :class:`End` say of an activity with two rows."""

    used: list[Link] = []
    params: dict[str, Any] | None = None
    function: str | None = None
    error: str | None = None
    result: Any = None
    generated: list[Link] = []


class Invalidation(msgspec.Struct, omit_defaults=True):
    """Payload of INVALIDATE.

    Attributes
    ----------
    target : Link
        What is not to be relied on; a text without a version means the version that this writer declared or used
        last.
    cause : str
        Why.
    cascade : bool
        Whether it reaches everything that came of it.
    all_versions : bool
        Every version of that name up to now.
    """

    target: Link
    cause: str
    cascade: bool = True
    all_versions: bool = False


class Revalidation(msgspec.Struct, omit_defaults=True):
    """Payload of REVALIDATE.

    Attributes
    ----------
    target : Link
        What the statements stand on that are taken back.
    despite : str or None
        Id of one statement, or the beginning of it: `target`, and what comes of it alone, holds in spite of that one.
    all_versions : bool
        Every version of that name up to now.
    """

    target: Link
    despite: str | None = None
    all_versions: bool = False


class Retraction(msgspec.Struct, omit_defaults=True):
    """Payload of RETRACT.

    Attributes
    ----------
    child, parent : Link
        The ends of the edge that was stated wrongly; texts as in :class:`Invalidation`.
    cause : str
        Why.
    relation : str or None
        Only the edge of this relation; None for all between the two.
    """

    child: Link
    parent: Link
    cause: str
    relation: str | None = None


class Action(msgspec.Struct, omit_defaults=True):
    """Payload of ACTION: a command or a function.

    Attributes
    ----------
    command : list of str
        Program and arguments, with placeholders; empty for a function.
    entry : str or None
        ``package.module:function``.
    name : str or None
        What people call it.
    timeout : float or None
        Seconds after which it is ended; None for what the caller of it says.
    """

    command: list[str] = []
    entry: str | None = None
    name: str | None = None
    timeout: float | None = None


class Attachment(msgspec.Struct):
    """Payload of ATTACH.

    Attributes
    ----------
    target : Link
        The record, as in :class:`Invalidation`.
    action : Link
        Sequence of an ACTION of this writer, or 24 bytes.
    """

    target: Link
    action: Link


class Attempt(msgspec.Struct):
    """Payload of ATTEMPT: ids of the action, of the version that is invalid, and of the statement that says so."""

    action: str
    record: str
    statement: str


class Result(msgspec.Struct, omit_defaults=True):
    """Payload of RESULT.

    Attributes
    ----------
    ok : bool
        Whether it ended with exit code 0.
    code, signal : int or None
        Exit code, or the signal that ended it; neither if it could not be begun.
    error : str or None
        Why it is not ok.
    output : str
        What it printed, both outputs together: the first and the last of it.
    cut : int
        Bytes that were left out in the middle of it.
    """

    ok: bool
    code: int | None = None
    signal: int | None = None
    error: str | None = None
    output: str = ""
    cut: int = 0


class Close(msgspec.Struct, omit_defaults=True):
    """Payload of CLOSE: the exception that ended the run, if one did, and how many calls were refused."""

    error: str | None = None
    rejected: int = 0
    lost: int = 0


class Loss(msgspec.Struct):
    """Payload of LOSS: events that could not be written, and the range of monotonic times (ns) of their calls."""

    count: int
    first: int
    last: int
    reason: str = ""


class Trouble(msgspec.Struct):
    """Payload of TROUBLE: what was to be done in the background (``sync``, ``seal``, ``ship``, ...), and why not."""

    step: str
    reason: str


class Rejected(msgspec.Struct, omit_defaults=True):
    """Payload of REJECTED: what the call was, why it was refused, where it stands, and what was given."""

    call: str
    message: str
    where: str = ""
    given: str = ""


class TableParent(msgspec.Struct, array_like=True, frozen=True):
    """What each row of a declared table belongs to.

    Attributes
    ----------
    field : str
        What the row calls it.
    table : str
        Name of its table.
    columns, keys : list of str
        The row's columns, and the columns of that table whose values they hold.
    """

    field: str
    table: str
    columns: list[str]
    keys: list[str]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each of the row's columns, with that of the table whose value it holds; none where that cannot be told."""
        named = {f"{self.field}__{key}": key for key in self.keys}
        if named.keys() == set(self.columns):
            # Earlier writers gave the two in different orders, and a key as often as it was named.
            return [(column, named[column]) for column in self.columns]
        return list(zip(self.columns, self.keys, strict=True)) if len(self.columns) == len(self.keys) else []


class TableSchema(msgspec.Struct, omit_defaults=True):
    """What a stream says of itself that is a declared table.

    Attributes
    ----------
    key : list of str
        Columns that say which row it is.
    unique : list of list of str
        Further columns whose values no two rows have in common.
    needed : list of str
        Columns that have a value in every row.
    checks : list of (str, str)
        What is said of a row that violates it, and the condition (:mod:`braid_hpc.vocabulary.conditions`).
    parents : list of TableParent
        What rows belong to.
    file : str or None
        The column with the names of the files that the rows stand for.
    """

    key: list[str]
    unique: list[list[str]] = []
    needed: list[str] = []
    checks: list[tuple[str, str]] = []
    parents: list[TableParent] = []
    file: str | None = None


class StreamSchema(msgspec.Struct, omit_defaults=True):
    """Payload of STREAM.

    Attributes
    ----------
    columns : list of (str, str)
        Name and type of each column; the types are those of :mod:`braid_hpc.vocabulary.columns`.
    units : dict
        Unit symbol by column name.
    parents : list of Link
        Records the whole stream is derived from.
    tags : dict or None
        Flat, typed tags.
    table : TableSchema or None
        What else is declared of its rows.
    """

    columns: list[tuple[str, str]] = []
    units: dict[str, str] = {}
    parents: list[Link] = []
    tags: dict[str, Any] | None = None
    table: TableSchema | None = None


class RowEdges(msgspec.Struct, omit_defaults=True):
    """Payload of ROW_EDGES: pairs of rows, child and parent, as two rows of numbers of one length.

    Attributes
    ----------
    child, parent : list of int
        Two numbers: the first row, and how much further each following one is, from 0. One number: the rows are
        listed, and this is added to each.
    child_writer, parent_writer : bytes
        Id of the writer whose rows they are, 16 bytes; empty for the one that says so.
    said : str or None
        The reference, where the parents' stream was named by a text; `parent_writer` is empty then.
    listed : bytes
        Rows that are listed, int64, the children before the parents; where they are in a file, their place there.
    """

    child: list[int]
    parent: list[int]
    child_writer: bytes = b""
    parent_writer: bytes = b""
    said: str | None = None
    listed: bytes = b""

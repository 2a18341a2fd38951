"""What is said of the file of a result: what was written, what is there now, and whether these are the same."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Found", "Seen", "Stored", "Verify", "Written"]


class Found(StrEnum):
    """What a place holds, beside what was recorded of it."""

    AS_RECORDED = "as recorded"
    CHANGED = "changed"
    MISSING = "missing"


class Verify(StrEnum):
    """What is looked at before a file counts as the recorded one."""

    #: Size and time of the last change; where the time differs, the digest decides.
    SIZE = "size"
    #: All bytes.
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as its place lists it.

    Attributes
    ----------
    size : int
        Bytes.
    mtime_ns : int or None
        Time of the last change, nanoseconds since 1970; None where a place keeps none that it does not change.
    """

    size: int
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that was stored whole.

    Attributes
    ----------
    size, mtime_ns
        As in :class:`Seen`.
    digest : str
        ``"blake3:<hex>"`` of all bytes.
    """

    size: int
    mtime_ns: int | None
    digest: str


@dataclass(frozen=True, slots=True)
class Written:
    """A result that was written.

    Attributes
    ----------
    uri : str
        Where.
    size : int
        Bytes.
    mtime_ns : int or None
        Time of the last change, nanoseconds since 1970; None where a place keeps none.
    digest : str
        ``"blake3:<hex>"`` of the bytes.
    content : str or None
        ``"blake3:<hex>"`` of the value that the bytes give when they are read: equal for equal values, however they
        are packed. None where the serializer has none.
    media_type : str
        For instance ``image/tiff``.
    """

    uri: str
    size: int
    mtime_ns: int | None
    digest: str
    content: str | None = None
    media_type: str = "application/octet-stream"

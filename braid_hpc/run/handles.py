"""Record handles: an occurrence, 24 bytes, valid in any message, file or argument."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from braid_hpc.log.choice import compiled_module
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["NO_ROWS", "RECORDS", "Record", "RecordMap", "Rows", "record_of"]


@dataclass(frozen=True, slots=True)
class Record:
    """A handle of one declaration.

    Attributes
    ----------
    writer : bytes
        Id of the writer that declared it, 16 bytes.
    sequence : int
        Its sequence number there; 0 if the declaration was lost or refused.
    kind, name : str
        For people; not part of the handle's identity in a log.
    late : bool
        Made by :meth:`on_all_ranks`.

    Examples
    --------
    >>> handle = Record(bytes(16), 7, "data", "frames")
    >>> Record.from_bytes(bytes(handle)) == Record(bytes(16), 7)
    True
    """

    writer: bytes
    sequence: int
    kind: str = field(default="", compare=False)
    name: str = field(default="", compare=False)
    late: bool = False

    def __bytes__(self) -> bytes:
        """Return the 24 bytes: writer id, then the sequence, little-endian."""
        return self.writer + self.sequence.to_bytes(8, "little")

    def __bool__(self) -> bool:
        """Whether there is an occurrence behind the handle."""
        return self.sequence > 0

    @property
    def token(self) -> str:
        """The 24 bytes as 48 hexadecimal digits, for files and environment variables."""
        return bytes(self).hex()

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """Read a handle.

        Parameters
        ----------
        data : bytes
            24 bytes.

        Returns
        -------
        Record
            Without kind and name.

        Raises
        ------
        InvalidInputError
            If there are not 24 bytes.
        """
        if len(data) != 24:
            raise InvalidInputError(f"a record handle is 24 bytes, not {len(data)}")
        return cls(bytes(data[:16]), int.from_bytes(data[16:], "little"))

    @classmethod
    def from_token(cls, token: str) -> Record:
        """Read a handle from its :attr:`token`.

        Parameters
        ----------
        token : str
            48 hexadecimal digits.

        Returns
        -------
        Record
            Without kind and name.

        Raises
        ------
        InvalidInputError
            If the text is something else.
        """
        try:
            return cls.from_bytes(bytes.fromhex(token))
        except (ValueError, TypeError):
            raise InvalidInputError(f"{token!r} is not a record handle: that is 48 hexadecimal digits") from None

    def on_all_ranks(self) -> Record:
        """Return the same kind, name and step of every writer of the run, bound when logs are merged.

        Returns
        -------
        Record
            A handle for lists of parents and of used records.

        Examples
        --------
        >>> Record(bytes(16), 7, "data", "peaks").on_all_ranks().late
        True
        """
        return Record(self.writer, self.sequence, self.kind, self.name, late=True)


class Rows(NamedTuple):
    """A range of rows of a stream.

    Attributes
    ----------
    writer : bytes
        Id of the writer, 16 bytes.
    stream : str
        Name of the stream.
    first : int
        Number of the first row within this writer's part of the stream, from 0.
    count : int
        How many; 0 if the rows were refused.
    """

    writer: bytes
    stream: str
    first: int
    count: int  # type: ignore[assignment]


if not TYPE_CHECKING and (compiled := compiled_module()) is not None:
    # A named tuple takes longer to make than a row to store; this one reads, compares, hashes and pickles alike.
    Rows = compiled.Rows

#: What a refused call returns.
NO_ROWS = Rows(bytes(16), "", 0, 0)


class RecordMap:
    """Which record an object in memory stands for, as long as the object lives."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Record]] = {}

    def remember(self, thing: object, record: Record) -> bool:
        """Note that `thing` is what `record` declares.

        Parameters
        ----------
        thing : object
            Numbers, text and built-in containers cannot be told from their equals and are passed over.
        record : Record
            Its handle.

        Returns
        -------
        bool
            Whether it could be noted.
        """
        key, known = id(thing), self._known
        try:
            reference = weakref.ref(thing, lambda _: known.pop(key, None))
        except TypeError:
            return False
        known[key] = (reference, record)
        return True

    def find(self, thing: object, *, views: bool = True) -> Record | None:
        """Return the record of an object, or of the array that it is a view of.

        Parameters
        ----------
        thing : object
            Anything.
        views : bool
            Whether an array that a view was taken of counts for the view.

        Returns
        -------
        Record or None
            None if no record was made for it.
        """
        for _ in range(4 if views else 1):
            found = self._known.get(id(thing))
            if found is not None and found[0]() is thing:
                return found[1]
            # Asked of the class: an object of the program may answer to any attribute, or raise.
            kind = type(thing)
            if not (hasattr(kind, "base") and hasattr(kind, "__array_interface__")):
                return None
            thing = getattr(thing, "base", None)
            if thing is None:
                return None
        return None


#: One for the process: objects pass from run to run.
RECORDS = RecordMap()


def record_of(thing: object) -> Record | None:
    """Return the handle of the record that an object in memory stands for.

    Parameters
    ----------
    thing : object
        What a decorated function returned, or what was given as ``array=``; a handle is returned as it is.

    Returns
    -------
    Record or None
        None if no record was made for the object.
    """
    return thing if isinstance(thing, Record) else RECORDS.find(thing)

"""Text, JSON and plain bytes in files, and serializers that make bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

from braid_hpc.vocabulary.encoding import encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_bytes, content_of_value

__all__ = ["Json", "OfBytes", "Raw", "Text"]


@dataclass(frozen=True, slots=True)
class Json:
    """Values that JSON gives back as they are: None, truth values, numbers, text, lists, and mappings of text."""

    @property
    def suffix(self) -> str:
        """``.json``."""
        return ".json"

    @property
    def media_type(self) -> str:
        """``application/json``."""
        return "application/json"

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write a value.

        Parameters
        ----------
        value : object
            What JSON has.
        file : binary file
            Takes it.

        Raises
        ------
        InvalidInputError
            If it is something else, which would come back as another value (a tuple as a list) or not at all (NaN).
        """
        file.write(_json(value))

    def read(self, file: BinaryIO) -> Any:
        """Read a value.

        Parameters
        ----------
        file : binary file
            Holds one.

        Returns
        -------
        object
            As it was written.

        Raises
        ------
        ValueError
            If it is not JSON.
        """
        return json.loads(file.read())

    def content(self, value: Any) -> str | None:
        """Give a value's digest.

        Parameters
        ----------
        value : object
            What JSON has.

        Returns
        -------
        str
            That of a fact with this value.

        Raises
        ------
        InvalidInputError
            If it is something else.
        """
        return content_of_value(encode_canonical(json.loads(_json(value)))).digest


def _json(value: Any) -> bytes:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True, indent=1)
        same = _alike(json.loads(text), value)
        made = f"{text}\n".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"Json has no place for this value: {error}") from error
    if not same:
        raise InvalidInputError(
            "Json would not give this value back as it is: it has lists, no tuples, and text as keys"
        )
    return made


def _alike(read: Any, given: Any) -> bool:
    """Whether a value came back, types and all: 1, 1.0 and True are equal to Python."""
    if isinstance(read, dict):
        return (
            type(given) is dict
            and read.keys() == given.keys()
            and all(_alike(part, given[key]) for key, part in read.items())
        )
    if isinstance(read, list):
        return type(given) is list and len(read) == len(given) and all(map(_alike, read, given))
    return type(read) is type(given) and bool(read == given)


@dataclass(frozen=True, slots=True)
class Text:
    """Text as UTF-8, its line ends as they are."""

    @property
    def suffix(self) -> str:
        """``.txt``."""
        return ".txt"

    @property
    def media_type(self) -> str:
        """``text/plain``."""
        return "text/plain"

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write a text.

        Parameters
        ----------
        value : str
            The text.
        file : binary file
            Takes it.

        Raises
        ------
        InvalidInputError
            If it is none, or UTF-8 has no bytes for it.
        """
        file.write(_utf8(value))

    def read(self, file: BinaryIO) -> Any:
        """Read a text.

        Parameters
        ----------
        file : binary file
            Holds one.

        Returns
        -------
        str
            As it was written.

        Raises
        ------
        ValueError
            If it is not UTF-8.
        """
        return file.read().decode()

    def content(self, value: Any) -> str | None:
        """Give a text's digest.

        Parameters
        ----------
        value : str
            The text.

        Returns
        -------
        str
            Of its bytes.

        Raises
        ------
        InvalidInputError
            If it is none.
        """
        return content_of_bytes(_utf8(value)).digest


def _utf8(value: Any) -> bytes:
    if not isinstance(value, str):
        raise InvalidInputError(f"Text writes a text, not a {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"Text writes UTF-8, which has no bytes for this text: {error}") from error


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes as they are."""

    @property
    def suffix(self) -> str:
        """``.bin``."""
        return ".bin"

    @property
    def media_type(self) -> str:
        """``application/octet-stream``."""
        return "application/octet-stream"

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write bytes.

        Parameters
        ----------
        value : bytes
            The bytes.
        file : binary file
            Takes them.

        Raises
        ------
        InvalidInputError
            If it is something else.
        """
        file.write(_bytes(value))

    def read(self, file: BinaryIO) -> Any:
        """Read bytes.

        Parameters
        ----------
        file : binary file
            Holds them.

        Returns
        -------
        bytes
            As they were written.
        """
        return file.read()

    def content(self, value: Any) -> str | None:
        """Give the digest of bytes.

        Parameters
        ----------
        value : bytes
            The bytes.

        Returns
        -------
        str
            The file's own.

        Raises
        ------
        InvalidInputError
            If it is something else.
        """
        return content_of_bytes(_bytes(value)).digest


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise InvalidInputError(f"Raw writes bytes, not a {type(value).__name__}")
    return value


class MakesBytes(Protocol):
    """What other workflow systems call a serializer."""

    def serialize(self, value: Any) -> bytes:
        """Return a value's bytes."""
        ...

    def deserialize(self, value: bytes) -> Any:
        """Return the value of bytes."""
        ...


@dataclass(frozen=True, slots=True)
class OfBytes:
    """A serializer of another system, which makes bytes: ``serialize(value)`` and ``deserialize(bytes)``.

    Parameters
    ----------
    inner : object
        With these two methods.
    suffix : str
        How names of its files end.
    media_type : str
        What kind of files they are.
    """

    inner: MakesBytes
    suffix: str = ".bin"
    media_type: str = "application/octet-stream"

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write a value.

        Parameters
        ----------
        value : object
            What the other one takes.
        file : binary file
            Takes its bytes.

        Raises
        ------
        InvalidInputError
            If the other one makes no bytes.
        """
        made = self.inner.serialize(value)
        if not isinstance(made, (bytes, bytearray, memoryview)):
            raise InvalidInputError(f"{type(self.inner).__name__}.serialize gives bytes, not a {type(made).__name__}")
        file.write(made)

    def read(self, file: BinaryIO) -> Any:
        """Read a value.

        Parameters
        ----------
        file : binary file
            Holds one.

        Returns
        -------
        object
            What the other one makes of the bytes.
        """
        return self.inner.deserialize(file.read())

    def content(self, value: Any) -> str | None:
        """Give the digest of a value, where the other one has a method ``digest(value)``.

        Parameters
        ----------
        value : object
            What the other one takes.

        Returns
        -------
        str or None
            Its digest.
        """
        digest = getattr(self.inner, "digest", None)
        return None if digest is None else cast(str, digest(value))

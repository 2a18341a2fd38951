"""Files that other programs wrote instrument documents into: JSON lines or MessagePack, compressed by gzip or not.

A file is read piece by piece. What is no document is passed over and said, and what cannot be read any further ends
the file, which is said as well.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from braid_hpc.cli.msgpack_stream import Messages, arrays_of
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.regular import open_regular
from braid_hpc.vocabulary.verbatim import decode_extension

__all__ = ["LONGEST", "SUFFIXES", "Lost", "Pair", "find_document_files", "form_of", "read_documents"]

#: Name and document.
Pair = tuple[str, dict[str, Any]]

#: Bytes of a line or a message; what is longer is no document.
LONGEST = 256 << 20
#: What files of documents in a directory are called.
SUFFIXES = (".jsonl", ".ndjson", ".msgpack", ".jsonl.gz", ".ndjson.gz", ".msgpack.gz")

#: What an export wrote as a type of its own comes back as it was.
_DECODER = msgspec.msgpack.Decoder(ext_hook=decode_extension)

_GZIP = b"\x1f\x8b"
#: What some programs write at the beginning of a text in UTF-8.
_BOM = b"\xef\xbb\xbf"
#: How the first line begins where the file is one value, and not each line one document.
_WHOLE = re.compile(rb"\s*(?:\[\s*[\[{]|[\[{]\s*$)")
#: Lines among which one has to begin as a document does.
_LOOKED_AT = 64


class Lost(msgspec.Struct, frozen=True):
    """Stands where a document was expected.

    Attributes
    ----------
    unit : str
        ``line`` (counted from 1), ``item`` of an array (from 0) or ``byte`` (from 0, uncompressed).
    at : int
        Where.
    note : str
        What was there.
    """

    unit: str
    at: int
    note: str


def find_document_files(paths: list[Path]) -> list[Path]:
    """Return the files that paths mean.

    Parameters
    ----------
    paths : list of Path
        Files, and directories, which stand for the files of documents below them.

    Returns
    -------
    list of Path
        Those of a directory sorted, each once.

    Raises
    ------
    NotFoundError
        If there is no such file, or no file of documents below a directory.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        inside = sorted(each for each in path.rglob("*") if each.name.endswith(SUFFIXES) and each.is_file())
        if not inside:
            raise NotFoundError(f"there are no files of documents in {path}: they end in {', '.join(SUFFIXES[:3])}")
        found.update(dict.fromkeys(inside))
    return list(found)


def form_of(path: Path) -> str:
    """Return how a file holds documents.

    Parameters
    ----------
    path : Path
        It.

    Returns
    -------
    str
        ``jsonl``, ``json`` (one array of documents, however it is laid out) or ``msgpack``; a file with nothing in it
        is the first.

    Raises
    ------
    NotFoundError
        If it is not there.
    InvalidInputError
        If it cannot be read, or holds something else.
    """
    try:
        with _opened(path) as file:
            head = file.read(1)
            if head in (b"\x92", b"\x82", b"\xdc", b"\xdd", b"\xde", b"\xdf"):
                return "msgpack"
            if not head:
                return "jsonl"
            line = _first_line(head, file)
            whole = _WHOLE.match(line) is not None
            if whole and any(_document(item) for item in _array(path)):
                return "json"
            for _ in range(_LOOKED_AT):
                if _document_in(line) or (_begins(line) and not whole):
                    return "jsonl"
                if not (line := file.readline(1 << 16)):
                    break
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    raise InvalidInputError(f"{path} holds no documents: neither JSON lines or an array, nor MessagePack")


def read_documents(path: Path, form: str) -> Iterator[Pair | Lost]:
    """Read a file of documents.

    Parameters
    ----------
    path : Path
        It.
    form : str
        From :func:`form_of`.

    Yields
    ------
    (str, dict) or Lost
        Names and documents in their order, and what was none.
    """
    with _opened(path) as file:
        reading = _messages(file) if form == "msgpack" else _items(path) if form == "json" else _lines(file)
        try:
            yield from reading
        except (OSError, EOFError, zlib.error) as error:
            # A compressed file that was cut, or is damaged.
            yield Lost("byte", file.tell(), f"the rest cannot be read: {error}")


def _opened(path: Path) -> BinaryIO:
    file = open_regular(path)
    magic = file.read(2)
    file.seek(0)
    if magic != _GZIP:
        return file
    file.close()
    return gzip.open(path, "rb")  # type: ignore[return-value]


def _begins(line: bytes) -> bool:
    return line.lstrip(b"\x1e \t\r\n")[:1] in (b"[", b"{")


def _first_line(head: bytes, file: BinaryIO) -> bytes:
    """Return the first line in which something is, without a mark before it; empty if there is none."""
    line = (head + file.readline(1 << 16)).removeprefix(_BOM)
    while line.isspace():
        line = file.readline(1 << 16)
    return line


def _document_in(line: bytes) -> bool:
    try:
        return _document(json.loads(line.lstrip(b"\x1e")))
    except (ValueError, RecursionError):
        return False


def _document(found: Any) -> bool:
    return _pair(found) is not None


def _array(path: Path) -> list[Any]:
    """Return the items of a file that is one array; none if it is something else, or too long."""
    with _opened(path) as file:
        data = file.read(LONGEST)
    try:
        found = json.loads(data.removeprefix(_BOM))
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _items(path: Path) -> Iterator[Pair | Lost]:
    for number, item in enumerate(_array(path)):
        pair = _pair(item)
        yield pair if pair is not None else Lost("item", number, repr(item)[:60])


def _lines(file: BinaryIO) -> Iterator[Pair | Lost]:
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        if len(line) == LONGEST and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
            line = line[:100]
        if line.isspace():
            continue
        try:
            # Text sequences (RFC 7464) have a separator before each.
            pair = _pair(json.loads(line.removeprefix(_BOM if number == 1 else b"").lstrip(b"\x1e")))
        except (ValueError, RecursionError):
            pair = None
        yield pair if pair is not None else Lost("line", number, repr(line[:60]))


def _messages(file: BinaryIO) -> Iterator[Pair | Lost]:
    messages = Messages(file, LONGEST)
    for at, data in messages:
        try:
            pair = _pair(arrays_of(_DECODER.decode(data)))
        except (ValueError, TypeError, RecursionError):
            pair = None
        yield pair if pair is not None else Lost("byte", at, repr(bytes(data[:60])))
    if messages.fault:
        yield Lost("byte", messages.at, messages.fault)


def _pair(found: Any) -> Pair | None:
    """Return the name and the document that something is, if it is that."""
    if isinstance(found, dict):
        found = [found.get("name"), found.get("doc")]
    if not isinstance(found, list) or len(found) != 2:
        return None
    name, document = found
    return (name, document) if isinstance(name, str) and isinstance(document, dict) else None

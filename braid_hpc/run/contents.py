"""From what a program names (a path, a uri, an array, a digest) to a content, uris, shape and dtype."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid_hpc.vocabulary.arrays import array_bytes
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import Content, content_of_file
from braid_hpc.vocabulary.regular import open_regular

__all__ = ["HASH_LIMIT", "Described", "describe", "given_content", "local_path"]

#: Files up to this size are read and hashed when they are declared; of larger ones size, time and inode stand in.
HASH_LIMIT = 64 << 20


@dataclass(slots=True)
class Described:
    """What is known of a record's bytes."""

    content: Content | None = None
    uris: list[str] = field(default_factory=list)
    dtype: str | None = None
    shape: list[int] | None = None


def describe(
    *, uri: Any = None, path: Any = None, array: Any = None, digest: Any = None, size: Any = None
) -> Described:
    """Find out what a record consists of and where it lies.

    Parameters
    ----------
    uri : str, list of str, optional
        Where the bytes are; a file on this machine is hashed and its uri made absolute.
    path : path-like, optional
        A file on this machine, as a uri.
    array : array, optional
        Anything with the buffer protocol or ``__array__``: digest, dtype and shape are taken from it.
    digest : str or bytes, optional
        The content's digest, if the caller knows it: ``"<algorithm>:<hex>"``, bare hexadecimal digits, or bytes.
    size : int, optional
        Bytes.

    Returns
    -------
    Described
        A digest given by the caller counts before one of `array`, and that before one of a file.

    Raises
    ------
    InvalidInputError
        If one of them is of the wrong type.
    """
    found = Described()
    files: Content | None = None
    if path is not None:
        try:
            absolute = Path(os.fspath(path)).absolute()
        except TypeError:
            raise InvalidInputError(f"path= is a file's path, not a {type(path).__name__}") from None
        found.uris.append(absolute.as_uri())
        files = _file_content(absolute)
    for each in _texts(uri):
        local = local_path(each)
        if local is not None and (local.exists() or each.startswith("file:")):
            found.uris.append(local.as_uri())
            files = files or _file_content(local)
        else:
            found.uris.append(each)
    if array is not None:
        found.content, found.dtype, found.shape = _array_content(array)
    found.content = given_content(digest, size) or found.content or files
    if found.content is not None and size is not None and found.content.size is None:
        found.content = Content(found.content.digest, int(size), found.content.weak)
    return found


def local_path(uri: str) -> Path | None:
    """Return the file on this machine that a uri names.

    Parameters
    ----------
    uri : str
        ``file:`` followed by a path, absolute or relative to the working directory, or a plain path.

    Returns
    -------
    Path or None
        Absolute; None for other schemes and other hosts.
    """
    if uri.startswith("file:"):
        from urllib.parse import unquote

        rest = uri[5:]
        if rest.startswith("//"):
            host, slash, tail = rest[2:].partition("/")
            if host not in ("", "localhost") or not slash:
                return None
            rest = "/" + tail
        return Path(unquote(rest)).absolute()
    head, colon, _ = uri.partition(":")
    if colon and "/" not in head:
        return None
    return Path(uri).absolute()


def _texts(uri: Any) -> list[str]:
    if uri is None:
        return []
    if isinstance(uri, str):
        return [uri]
    if isinstance(uri, os.PathLike):
        return [str(os.fspath(uri))]
    if isinstance(uri, (list, tuple)) and all(isinstance(each, (str, os.PathLike)) for each in uri):
        return [str(os.fspath(each)) for each in uri]
    raise InvalidInputError(f"uri= is a text or a list of texts, not {type(uri).__name__}")


def _file_content(path: Path) -> Content | None:
    try:
        with open_regular(path) as file:
            stat = os.fstat(file.fileno())
            if stat.st_size > HASH_LIMIT:
                return Content(f"stat:{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}", stat.st_size, weak=True)
            return content_of_file(file)
    except OSError:
        # Not readable here and now: the record stands without content, its uri says where it is to be found.
        return None


def given_content(digest: Any, size: Any) -> Content | None:
    """Return the content that a caller knows.

    Parameters
    ----------
    digest : str, bytes or None
        ``"<algorithm>:<hex>"``, bare hexadecimal digits, or bytes.
    size : int or None
        Bytes.

    Returns
    -------
    Content or None
        None without a digest.

    Raises
    ------
    InvalidInputError
        If one of them is of the wrong type.
    """
    if digest is None:
        return None
    if isinstance(digest, (bytes, bytearray, memoryview)):
        digest = bytes(digest).hex()
    if not isinstance(digest, str) or not digest.strip():
        raise InvalidInputError(f"digest= is '<algorithm>:<hex>' or bytes, not {digest!r}")
    if size is not None and (isinstance(size, bool) or not hasattr(size, "__index__")):
        raise InvalidInputError(f"size= is a number of bytes, not {size!r}")
    if size is not None and not 0 <= int(size) < 1 << 63:
        raise InvalidInputError("size= is a number of bytes from 0 below 2**63")
    return Content(digest, None if size is None else int(size))


def _array_content(array: Any) -> tuple[Content, str, list[int]]:
    laid = array_bytes(array)
    return laid.content(), laid.dtype, laid.shape

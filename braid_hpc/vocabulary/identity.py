"""Identities: writer ids, content digests, and the keys that make occurrences one version.

A declaration is an *occurrence*: the writer's 128-bit id and a sequence number. A version is a group of
occurrences with one key (``docs/identity.md``); its global id is the digest of that key, 128 bits of BLAKE2b
(RFC 7693) over the parts, each preceded by its length, so that no two lists of parts read alike.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Content", "content_of_bytes", "content_of_file", "content_of_value", "key_digest"]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """What a version consists of: a digest and a size.

    Attributes
    ----------
    digest : str
        ``"<algorithm>:<hex>"``; this package makes ``blake3`` (256 bits) and, for files that were not read,
        ``stat`` (size, modification time and inode stand in; see `weak`).
    size : int or None
        Bytes, if known.
    weak : bool
        Whether the digest only stands in for one: equal weak digests do not prove equal bytes.
    """

    digest: str
    size: int | None = None
    weak: bool = False


def key_digest(parts: Iterable[str | bytes | int | None]) -> str:
    """Return the 128-bit digest of a list of parts.

    Parameters
    ----------
    parts : iterable of str, bytes, int or None
        The parts in order. Types are told apart: 1, "1" and None give three digests.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    whole: list[bytes] = []
    for part in parts:
        if part is None:
            tag, data = b"n", b""
        elif isinstance(part, bytes):
            tag, data = b"b", part
        elif isinstance(part, int):
            tag, data = b"i", str(part).encode()
        else:
            tag, data = b"s", part.encode("utf-8", "surrogatepass")
        whole += (tag, len(data).to_bytes(8, "little"), data)
    return hashlib.blake2b(b"".join(whole), digest_size=16, person=b"braid_hpc key 1").hexdigest()


def content_of_bytes(data: bytes | memoryview, *, prefix: bytes = b"") -> Content:
    """Digest bytes that are in memory.

    Parameters
    ----------
    data : bytes or C-contiguous memoryview
        The content.
    prefix : bytes
        What else belongs to the identity (dtype and shape of an array).

    Returns
    -------
    Content
        BLAKE3 digest and size in bytes (of `data` alone).
    """
    from blake3 import blake3

    digest = blake3(prefix)
    digest.update(data)
    return Content(f"blake3:{digest.hexdigest()}", len(data) if isinstance(data, bytes) else data.nbytes)


def content_of_value(encoded: bytes) -> Content:
    """Digest the declared value of a record that has no bytes of its own.

    Parameters
    ----------
    encoded : bytes
        The value in its canonical encoding (:func:`braid_hpc.vocabulary.encoding.encode_canonical`).

    Returns
    -------
    Content
        Digest; the size is None, because a value has no place where bytes lie.
    """
    return Content(content_of_bytes(encoded, prefix=b"value\0").digest, None)


def content_of_file(file: BinaryIO) -> Content:
    """Digest an open file from where it stands to its end, in chunks of 1 MiB.

    Parameters
    ----------
    file : binary file
        Open for reading.

    Returns
    -------
    Content
        BLAKE3 digest and size in bytes.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    from blake3 import blake3

    digest, size = blake3(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return Content(f"blake3:{digest.hexdigest()}", size)

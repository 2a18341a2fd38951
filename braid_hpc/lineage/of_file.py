"""From a file on a disk, or from a digest, to what the store calls it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.errors import ConflictError, NotFoundError, StorageError
from braid_hpc.vocabulary.identity import content_of_file
from braid_hpc.vocabulary.regular import open_regular

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["reference_of"]

#: How digests of contents are written; nothing else is called so.
_DIGEST = re.compile(r"(blake3|sha256|sha512|sha1|md5|xxh3):[0-9a-fA-F]{16,}")


def reference_of(store: Store, asked: str | os.PathLike[str], *, at: int | None, as_of: Any) -> str:
    """Give the reference of what was asked for by its file or its digest.

    Parameters
    ----------
    store : Store
        Open.
    asked : str or path
        A path stands for the file there, by its bytes: where it lies now does not matter. A text that is a digest
        stands for what has it; any other text is a reference already.
    at : int, optional
        A snapshot number.
    as_of : datetime, str or int, optional
        A time.

    Returns
    -------
    str
        Of several with these bytes the one that was recorded there, then the last one.

    Raises
    ------
    NotFoundError
        If the store has nothing with these bytes, or there is no file.
    ConflictError
        If the store knows a file there, of other bytes.
    StorageError
        If the file cannot be read.
    """
    if isinstance(asked, str):
        if not _DIGEST.fullmatch(asked):
            return asked
        found = _of_digest(store, asked.lower(), at=at, as_of=as_of)
        if not found:
            raise NotFoundError(f"the store has nothing with the digest {asked}")
        return f"id:{found[-1]['uid']}"
    path = Path(os.fsdecode(asked)).absolute()
    digest = _digest(path)
    there = [row["uid"] for row in store.find(uri=path.as_uri(), at=at, as_of=as_of).to_pylist()]
    found = _of_digest(store, digest, at=at, as_of=as_of)
    if found:
        found.sort(key=lambda row: row["uid"] in there)
        return f"id:{found[-1]['uid']}"
    if there:
        raise ConflictError(f"{path} has other bytes than any file that was recorded there: now {digest}")
    raise NotFoundError(f"the store has nothing with the bytes of {path} ({digest})")


def _of_digest(store: Store, digest: str, *, at: int | None, as_of: Any) -> list[dict[str, Any]]:
    """Find what has a digest, in the order of time."""
    found: list[dict[str, Any]] = store.find(f'digest = "{digest}"', at=at, as_of=as_of).to_pylist()
    return sorted(found, key=lambda row: (row["time"], row["version"] or 0))


def _digest(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return content_of_file(file).digest
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error

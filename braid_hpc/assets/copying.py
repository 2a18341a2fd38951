"""Copies of files that carry the digests of what they are copies of."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from braid_hpc.assets.regular import check_regular
from braid_hpc.store.placing import aside_of, publish
from braid_hpc.vocabulary.errors import BraidError, ConflictError, StorageError
from braid_hpc.vocabulary.identity import content_of_file

__all__ = ["clear_parts", "copy_file", "digest_of"]

_CHUNK = 4 << 20

#: Seconds for which a file that is written stays alone even if nobody has locked it yet.
YOUNG = 60


def digest_of(path: Path) -> str:
    """Return the digest of a file's bytes.

    Parameters
    ----------
    path : Path
        Of it.

    Returns
    -------
    str
        ``blake3:<hex>``.

    Raises
    ------
    StorageError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return content_of_file(file).digest
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error


def copy_file(source: Path, target: Path, *, digest: str | None) -> tuple[str, int, bool]:
    """Copy a file, and read the copy back.

    Parameters
    ----------
    source : Path
        The file.
    target : Path
        The copy; its directory is made.
    digest : str, optional
        What the source's bytes have to carry.

    Returns
    -------
    digest : str
        Of both.
    size : int
        Bytes.
    already : bool
        Whether the copy was there before.

    Raises
    ------
    NotFoundError
        If the source is not there.
    ConflictError
        If the source has other bytes than it should, was changed meanwhile, or another file has the copy's name.
    StorageError
        If one of the two cannot be read or written; nothing of the copy is left then.
    """
    before = check_regular(str(source))
    if target.exists():
        return _compare(source, target, digest)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside_of(target) as aside:
            with aside.open("xb") as file:
                # Whoever clears up sees by the lock that this one is being written.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = _copy_bytes(source, file)
                file.flush()
                os.fsync(file.fileno())
            _check_source(source, found, digest, before)
            os.utime(aside, ns=(before.st_atime_ns, before.st_mtime_ns))
            if digest_of(aside) != found:
                raise StorageError(f"{target} does not carry the digest of {source} after copying: copy it again")
            already = not publish(aside, target, found)
    except OSError as error:
        if isinstance(error, BraidError):
            raise
        raise StorageError(f"{source} cannot be copied to {target}: {error.strerror or error}") from error
    return found, before.st_size, already


def _compare(source: Path, target: Path, digest: str | None) -> tuple[str, int, bool]:
    """Find that a copy is there already."""
    before = check_regular(str(source))
    there = digest_of(target)
    found = digest_of(source)
    _check_source(source, found, digest, before)
    if there != found:
        raise ConflictError(
            f"{target} is there already and is another file than {source}: move it away, or choose another directory"
        )
    return found, before.st_size, True


def _copy_bytes(source: Path, file: IO[bytes]) -> str:
    from blake3 import blake3

    hasher = blake3()
    try:
        under = source.open("rb")
    except OSError as error:
        raise StorageError(f"{source} cannot be read: {error.strerror or error}") from error
    with under:
        while chunk := _read(source, under):
            hasher.update(chunk)
            file.write(chunk)
    return f"blake3:{hasher.hexdigest()}"


def _read(source: Path, under: IO[bytes]) -> bytes:
    try:
        return under.read(_CHUNK)
    except OSError as error:
        raise StorageError(f"{source} cannot be read: {error.strerror or error}") from error


def _check_source(source: Path, found: str, digest: str | None, before: os.stat_result) -> None:
    after = check_regular(str(source))
    if (after.st_size, after.st_mtime_ns, after.st_ino) != (before.st_size, before.st_mtime_ns, before.st_ino):
        raise ConflictError(f"{source} was changed while it was copied: stage it when nobody writes it")
    if digest is not None and digest != found:
        raise ConflictError(f"{source} was changed after it was recorded: its bytes do not carry the digest of then")


def clear_parts(folders: Iterable[Path]) -> list[Path]:
    """Remove what copies that were killed left behind; those that are being written stay.

    Parameters
    ----------
    folders : iterable of Path
        Where to look, not below.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    for folder in folders:
        for part in folder.glob(".braid-*.part"):
            try:
                with part.open("rb") as file:
                    if time.time() - os.fstat(file.fileno()).st_mtime < YOUNG:
                        continue
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()
            except (BlockingIOError, FileNotFoundError):
                # Somebody else is at work on it, or was faster.
                continue
            removed.append(part)
    return removed

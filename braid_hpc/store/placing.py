"""Files that get their names when they are complete, and take no other file's place."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from braid_hpc.vocabulary.errors import ConflictError
from braid_hpc.vocabulary.identity import content_of_file

__all__ = ["aside_of", "name_file", "publish"]


@contextmanager
def aside_of(target: Path) -> Iterator[Path]:
    """Give a path beside a file, which is removed at the end.

    Parameters
    ----------
    target : Path
        The file that will be.

    Yields
    ------
    Path
        Of no file yet.
    """
    aside = target.with_name(f".braid-{secrets.token_hex(8)}.part")
    try:
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def name_file(aside: Path, target: Path) -> bool:
    """Give a file its name, unless something has it.

    Parameters
    ----------
    aside : Path
        The file, complete.
    target : Path
        Its name, in the same directory.

    Returns
    -------
    bool
        False if something has that name; it stays what it is.

    Raises
    ------
    OSError
        If the file system refuses.
    """
    try:
        # A link replaces nothing, whoever else may be writing there.
        os.link(aside, target)
    except FileExistsError:
        return False
    except OSError as error:
        # A file system without hard links.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if os.path.lexists(target):
            return False
        os.rename(aside, target)
    return True


def publish(aside: Path, target: Path, digest: str) -> bool:
    """Give a file its name, or find that one of the same bytes has it.

    Parameters
    ----------
    aside : Path
        The file, complete.
    target : Path
        Its name.
    digest : str
        Of its bytes.

    Returns
    -------
    bool
        False if a file with these bytes has that name already.

    Raises
    ------
    ConflictError
        If another file has it.
    OSError
        If the file system refuses.
    """
    if name_file(aside, target):
        return True
    if target.is_file():
        with target.open("rb") as file:
            if content_of_file(file).digest == digest:
                return False
    raise ConflictError(f"{target} is there already and is another file: move it away, or choose another directory")

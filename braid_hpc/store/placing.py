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

__all__ = ["aside_of", "publish"]


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


def publish(aside: Path, target: Path, digest: str) -> bool:
    """Give a file its name.

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
    try:
        # A link replaces nothing, whoever else may be writing there.
        os.link(aside, target)
        return True
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if not os.path.lexists(target):
            os.rename(aside, target)
            return True
    if target.is_file():
        with target.open("rb") as file:
            if content_of_file(file).digest == digest:
                return False
    raise ConflictError(f"{target} is there already and is another file: move it away, or choose another directory")

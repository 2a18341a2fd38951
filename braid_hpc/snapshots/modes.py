"""Who may read the files of a store: as the directory says that it lies in.

Nothing is readable for more people than the umask and the directory allow. In a directory that gives its group on
(setgid), as groups that share files have them, the group reads what the directory lets it read, whatever the umask.
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from pathlib import Path

from braid_hpc.vocabulary.errors import InvalidInputError, StorageError

__all__ = ["follow_directory", "make_directory", "may_be_linked", "seal_file", "share_directory"]


def _readers(around: int) -> int:
    """Return the bits of reading that a directory's mode leaves of a file's."""
    return 0o400 | (0o040 if around & 0o050 else 0) | (0o004 if around & 0o005 else 0)


def _given_on(around: int) -> int:
    """Return the bits that a file has for its group's sake, whatever the umask."""
    return 0o040 if around & stat.S_ISGID and around & 0o040 else 0


def seal_file(path: Path) -> None:
    """Let a complete file be read, and not be written any more.

    Parameters
    ----------
    path : Path
        In the directory of a store.

    Raises
    ------
    OSError
        If the file system refuses.
    """
    around = path.parent.stat().st_mode
    os.chmod(path, path.stat().st_mode & 0o444 & _readers(around) | _given_on(around) | 0o400)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, where it is not there.

    Parameters
    ----------
    path : Path
        It.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        follow_directory(path)


def follow_directory(path: Path, *, deep: bool = True) -> None:
    """Give a file or a directory, and all that is in it, the group and the readers of a directory that gives them on.

    Parameters
    ----------
    path : Path
        What was made in it; it need not be there. Symbolic links are not followed.
    deep : bool
        Whether what is in it gets them too.

    Raises
    ------
    OSError
        If the file system refuses.
    """
    if path.is_symlink() or not path.exists() or not (around := path.parent.stat()).st_mode & stat.S_ISGID:
        return
    _share(path, around.st_gid, around.st_mode)
    if deep and path.is_dir():
        for inner in sorted(path.iterdir()):
            follow_directory(inner)


def _share(path: Path, group: int, around: int) -> None:
    found = path.stat()
    if found.st_gid != group:
        os.chown(path, -1, group)
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        others = 0o007 if around & 0o005 else 0
        wanted = mode & (0o770 | others) | (around & 0o070) | stat.S_ISGID
    else:
        wanted = mode & (_readers(around) | 0o330) | _given_on(around)
    if wanted != mode or found.st_gid != group:
        os.chmod(path, wanted)


def may_be_linked(path: Path, into: Path) -> bool:
    """Return whether a file is readable for those who a directory is for, so that a hard link to it will do.

    Parameters
    ----------
    path : Path
        The file; a link has its group and mode.
    into : Path
        The directory.

    Returns
    -------
    bool
        True also where the directory gives no group on.
    """
    around, found = into.stat(), path.stat()
    if not around.st_mode & stat.S_ISGID:
        return True
    return found.st_gid == around.st_gid and found.st_mode & _given_on(around.st_mode) == _given_on(around.st_mode)


def share_directory(path: Path, group: str) -> None:
    """Give a directory to a group: all that is in it, and what will be made in it, is the group's to read.

    Parameters
    ----------
    path : Path
        Made where it is not there.
    group : str
        Name of the group, or its number.

    Raises
    ------
    InvalidInputError
        If there is no such group.
    StorageError
        If the directory, or something in it, cannot be given to it.
    """
    try:
        number = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidInputError(f"there is no group {group!r} on this machine: see 'getent group'") from None
    try:
        make_directory(path)
        os.chown(path, -1, number)
        os.chmod(path, stat.S_IMODE(path.stat().st_mode) & 0o777 | 0o050 | stat.S_ISGID)
        for inner in sorted(path.iterdir()):
            follow_directory(inner)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be given to group {group} ({error.strerror}): its owner may, who has to be in the group"
        ) from error

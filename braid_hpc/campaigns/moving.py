"""Moving files between disk and tape by a command of the site, and saying in the store what has come of it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.campaigns.archiving import Decision, copies
from braid_hpc.campaigns.campaign import Campaign
from braid_hpc.campaigns.checking import say_marks
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.identity import content_of_file
from braid_hpc.vocabulary.places import FileState

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["Moved", "move"]

_FIELDS = ("{name}", "{path}")

#: What is said in the store at once: who ends the command in between loses no more than these.
_SAID_AT_ONCE = 1000


@dataclass(slots=True)
class Moved:
    """What came of moving files.

    Attributes
    ----------
    done : list of str
        Names of those that were moved, and of which that is said in the store.
    failed : dict of str to str
        By name why others were not.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def move(
    store: Store,
    table: Any,
    decision: str,
    *,
    command: str | Sequence[str],
    root: str | os.PathLike[str] = ".",
    tape: str = "tape",
    most: int | None = None,
    told: Callable[[str], None] | None = None,
    **conditions: Any,
) -> Moved:
    """Archive or read back the files of a table for which that was decided, one after the other.

    A file is digested on disk, before it is archived or after it was read back; one that came back with another size
    or digest than it was archived with is ``corrupt``. A command that fails is no reason to end: its file is among the
    failed ones.

    Parameters
    ----------
    store : Store
        Open; moves on to the snapshots that say what was moved.
    table : type or str
        A declared class, or the name of the table.
    decision : str
        ``archive`` or ``restore``.
    command : str or sequence of str
        The site's command, without a shell; ``{name}`` in it is the file's name, ``{path}`` its path on disk. It
        succeeds with the exit code 0.
    root : path-like
        What names of files are below on disk.
    tape : str
        Which place that is.
    most : int, optional
        How many files at most, the first ones.
    told : callable, optional
        Is told of each file that failed.
    **conditions
        As for :meth:`~braid_hpc.campaigns.campaign.Campaign.missing`.

    Returns
    -------
    Moved
        Which files were moved, and why others were not.

    Raises
    ------
    NotFoundError
        If no such table was declared, or there is no such command.
    InvalidInputError
        If something else is to be done than to archive or restore, `command` names no file, `root` is no directory,
        `most` is not positive, or a condition cannot be asked.
    StorageError
        If nothing can be written beside the store.
    """
    words = _words(command)
    if decision not in (Decision.ARCHIVE, Decision.RESTORE):
        raise InvalidInputError(f"files are moved to archive or to restore them, not to {decision!r}")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise InvalidInputError(f"most= is a number of files, one at least, not {most!r}")
    folder = Path(root)
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no directory: name the one that the files' names are below")
    campaign = Campaign(store)
    stage = campaign._stage(table)
    file = stage.table.schema.file or ""
    found = copies(campaign, table, tape=tape, **conditions)
    chosen = [row for row in found if row["decision"] == decision][:most]
    moved = Moved()
    place = tape if decision == Decision.ARCHIVE else "disk"
    for first in range(0, len(chosen), _SAID_AT_ONCE):
        _move_some(
            _Move(store, stage.name, Decision(decision), words, folder, place, told),
            [(row[file], row["tape_size"], row["tape_digest"]) for row in chosen[first : first + _SAID_AT_ONCE]],
            moved,
        )
    return moved


@dataclass(frozen=True, slots=True)
class _Move:
    store: Store
    table: str
    decision: Decision
    words: list[str]
    root: Path
    place: str
    told: Callable[[str], None] | None


def _move_some(about: _Move, files: Iterable[tuple[str, int | None, str | None]], moved: Moved) -> None:
    """Move files, and say it, also of those that were moved before somebody ended it."""
    said: dict[FileState, list[tuple[str, int, int]]] = {}
    digests: dict[str, str] = {}
    done = []
    try:
        for name, size, digest in files:
            path = about.root / name
            try:
                before = _look(path) if about.decision is Decision.ARCHIVE else None
                _run(about.words, name, path)
                now = before or _look(path)
            except _Failed as error:
                moved.failed[name] = str(error)
                if about.told is not None:
                    about.told(f"{name}: {error}")
                continue
            state = FileState.EXISTS
            if before is None and ((size is not None and size != now[0]) or not _same(digest, now[2])):
                state = FileState.CORRUPT
                moved.failed[name] = "it came back as another one than was archived"
                if about.told is not None:
                    about.told(f"{name}: {moved.failed[name]}")
            else:
                done.append(name)
            said.setdefault(state, []).append((name, now[0], now[1]))
            digests[name] = now[2]
    finally:
        if said:
            say_marks(about.store, about.table, about.place, said, about.decision, digests)
            moved.done += done


class _Failed(Exception):
    """One file could not be moved; says why."""


def _words(command: str | Sequence[str]) -> list[str]:
    try:
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{command!r} is no command: {error}") from None
    if not any(field in word for word in words for field in _FIELDS):
        raise InvalidInputError(f"{command!r} names no file: write {' or '.join(_FIELDS)} where it belongs")
    return words


def _run(words: list[str], name: str, path: Path) -> None:
    filled = [word.replace("{name}", name).replace("{path}", str(path)) for word in words]
    try:
        done = subprocess.run(filled, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except FileNotFoundError:
        raise NotFoundError(f"there is no command {filled[0]!r}") from None
    except OSError as error:
        raise _Failed(f"{filled[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise _Failed(f"{filled[0]} ended with {done.returncode}{': ' + last[0] if last else ''}")


def _look(path: Path) -> tuple[int, int, str]:
    """Return size, time of the last change and digest of a file."""
    try:
        with path.open("rb") as file:
            content = content_of_file(file)
            return content.size or 0, os.fstat(file.fileno()).st_mtime_ns, content.digest
    except OSError as error:
        raise _Failed(f"{path} cannot be read: {error.strerror}") from error


def _same(one: str | None, other: str) -> bool:
    """Whether a digest is another one, as far as the two can be compared."""
    return one is None or one.partition(":")[0] != other.partition(":")[0] or one == other

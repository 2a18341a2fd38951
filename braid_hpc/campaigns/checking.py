"""Looking at files: what is there, how large it is, and whether it is still being written; all of them at once."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.campaigns.campaign import Campaign
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError
from braid_hpc.vocabulary.places import FileState

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["YOUNG", "Folders", "check_files", "check_young", "say_marks"]

#: Seconds after its last change for which a file counts as being written.
YOUNG = 60.0


def check_files(
    store: Store,
    table: Any,
    *,
    root: str | os.PathLike[str] = ".",
    size: int | None = None,
    young: float = YOUNG,
    place: str = "disk",
    **conditions: Any,
) -> dict[str, int]:
    """Look for the files of a table, and say in the store what has changed.

    A file is ``corrupt`` if it is empty, or its size is not the one that it should have or was recorded with;
    ``growing`` if it was changed lately; ``missing`` if it is not there although it was. One that was ``consumed`` and
    is not there is as it should be. Directories are listed, and no file is opened.

    Parameters
    ----------
    store : Store
        Open; moves on to the snapshot that takes what was found.
    table : type or str
        A declared class, or the name of the table.
    root : path-like
        What names of files are below.
    size : int, optional
        Bytes that each file should have.
    young : float
        Seconds after its last change for which a file counts as growing.
    place : str
        Which place that is.
    **conditions
        As for :meth:`~braid_hpc.campaigns.campaign.Campaign.missing`.

    Returns
    -------
    dict of str to int
        How many files were found in each state that they were not in before.

    Raises
    ------
    NotFoundError
        If no such table was declared.
    InvalidInputError
        If `root` is no directory, `size` no number of bytes, `young` none of seconds, `place` no text, or a condition
        cannot be asked.
    StorageError
        If a directory cannot be listed, or nothing can be written beside the store.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no directory: name the one that the files' names are below")
    since = time.time_ns() - check_young(young)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise InvalidInputError(f"size= is a number of bytes, not {size!r}")
    if not isinstance(place, str) or not place:
        raise InvalidInputError(f"place= is a text such as 'disk', not {place!r}")
    campaign = Campaign(store)
    stage = campaign._stage(table)
    names = campaign.list("total", table, **conditions)[stage.table.schema.file or ""]
    known = _known(store, stage.name, place)
    found: dict[FileState, list[tuple[str, int, int]]] = defaultdict(list)
    seen = Folders(folder)
    for name in names:
        before, recorded = known.get(name, (FileState.EXPECTED, None))
        there = seen.look(name)
        state = _state(there, before, size if size is not None else recorded, since)
        # A size that nobody recorded is worth knowing the next time.
        sized = state is not FileState.EXISTS or recorded is not None
        if state is not None and (state != before or not sized):
            found[state].append((name, *(there or (-1, 0))))
    if found:
        say_marks(store, stage.name, place, found)
    return dict(Counter({state.word: len(each) for state, each in found.items()}))


def check_young(young: Any) -> int:
    """Return the nanoseconds for which a file counts as growing.

    Parameters
    ----------
    young : float
        Seconds.

    Returns
    -------
    int
        As many nanoseconds.

    Raises
    ------
    InvalidInputError
        If it is no number of seconds.
    """
    if isinstance(young, bool) or not isinstance(young, (int, float)) or not 0 <= young < 1e9:
        raise InvalidInputError(f"young= is a number of seconds, not {young!r}")
    return int(young * 1e9)


def _state(there: tuple[int, int] | None, before: FileState, size: int | None, since: int) -> FileState | None:
    if there is None:
        expected = before in (FileState.EXPECTED, FileState.CONSUMED, FileState.ARCHIVED, FileState.MISSING)
        return None if expected else FileState.MISSING
    if there[1] > since:
        return FileState.GROWING
    if not there[0] or (size is not None and there[0] != size):
        return FileState.CORRUPT
    return FileState.EXISTS


class Folders:
    """What directories hold, each of which is listed once.

    Parameters
    ----------
    root : Path
        What names are below.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[str, dict[str, tuple[int, int]]] = {}

    def look(self, name: str) -> tuple[int, int] | None:
        """Look for a file.

        Parameters
        ----------
        name : str
            Below the root.

        Returns
        -------
        tuple of (int, int) or None
            Size in bytes, and time of the last change in nanoseconds since 1970 UTC; None if it is not there.

        Raises
        ------
        StorageError
            If its directory cannot be listed.
        """
        folder, _, last = name.rpartition("/")
        if folder not in self._listed:
            self._listed[folder] = self._list(folder)
        return self._listed[folder].get(last)

    def _list(self, folder: str) -> dict[str, tuple[int, int]]:
        stats = {}
        try:
            with os.scandir(self._root / folder) as found:
                for each in found:
                    # One that is removed meanwhile is not there; the others are.
                    with suppress(FileNotFoundError):
                        if each.is_file():
                            stats[each.name] = each.stat()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise StorageError(
                f"{self._root / folder} cannot be listed ({error.strerror}): nothing is said of any file"
            ) from error
        return {name: (each.st_size, each.st_mtime_ns) for name, each in stats.items()}


def _known(store: Store, table: str, place: str) -> dict[str, tuple[FileState, int | None]]:
    """Return the newest word on each file at a place, and the size that it existed with."""
    campaign = Campaign(store)
    stage = campaign._stage(table)
    file = f't."{stage.table.schema.file}"'
    rows = store._asked(
        f"select {file} as name, arg_max(m.state, (m.time, m.writer, m.mark)) as state, "
        "arg_max(m.size, (m.time, m.writer, m.mark)) filter (where m.state = 1 and m.size is not null) as size "
        f"from mark_rows m join row_holders h using (holder) join {stage.table.place} t "
        "on t._writer = h.writer and t._row = m.row where h.stream = ? and m.place = ? and m.state < 7 group by all",
        [table, place],
    )
    return {row["name"]: (FileState(row["state"]), row["size"]) for row in rows}


def say_marks(
    store: Store,
    table: str,
    place: str,
    found: dict[FileState, list[tuple[str, int, int]]],
    cause: str = "looked at",
    digests: Mapping[str, str] | None = None,
) -> None:
    """Say in a store what was found of files.

    Parameters
    ----------
    store : Store
        Open; moves on to the snapshot that takes it.
    table : str
        Name of the table.
    place : str
        Which place that is.
    found : dict of FileState to list of (str, int, int)
        Name, size in bytes (-1: not known) and time of the last change (ns since 1970 UTC, 0: not known) of each file.
    cause : str
        Why, for people.
    digests : mapping of str to str, optional
        Digests by name, where they are known.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    from braid_hpc.vocabulary.places import MARK_COLUMNS, MARKS

    def say(run: Any) -> list[str]:
        stream = run.stream(MARKS, MARK_COLUMNS)
        said: list[str] = []
        for state, files in sorted(found.items()):
            names, sizes, times = zip(*files, strict=True)
            count = len(names)
            rows = stream.extend(
                {
                    "table": [table] * count,
                    "name": list(names),
                    "place": [place] * count,
                    "state": [int(state)] * count,
                    "size": list(sizes),
                    "modified": list(times),
                    "digest": [(digests or {}).get(name, "") for name in names],
                    "cause": [cause] * count,
                }
            )
            said.append(state.name if rows.count == count else "")
        return said

    store._state(say)

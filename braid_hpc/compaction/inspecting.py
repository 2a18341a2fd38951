"""Files whose digests a program left to the merge: they are read here, once, if they still are what was declared.

What is found is stated in a log beside the store, like everything that is said after a run, so that a rebuild repeats
it without the files.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.run.contents import local_path
from braid_hpc.run.filing import record_inspection
from braid_hpc.run.handles import Record
from braid_hpc.run.recorder import Run
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.vocabulary.errors import StorageError
from braid_hpc.vocabulary.identity import content_of_file
from braid_hpc.vocabulary.payloads import Inspection
from braid_hpc.vocabulary.regular import open_regular

__all__ = ["Uninspected", "find_uninspected", "inspect_file", "inspect_files"]

# A file that was not there, or was another one, is looked for again: that costs a stat.
_WAITING = """
    with open as (
        select v.id, v.digest from version_rows v
        where v.weak and starts_with(v.digest, 'stat:') and v.id in (select id from occurrences where deferred)),
    said as (
        select o.id, r.state, r.uri, r.digest, r.size, r.detail, r.time, r.writer, r.sequence
        from inspection_rows r join occurrences o on o.writer = r.about_writer and o.sequence = r.about_sequence),
    last as (select * from said qualify row_number() over (
        partition by id order by time desc, writer, sequence desc) = 1)
    select p.id, p.digest, o.place, u.uris, l.state, l.uri, l.detail
    from open p
    join (select id, min((writer, sequence)) as place from occurrences where deferred group by id) o on o.id = p.id
    left join (select id, list(distinct uri order by uri) as uris from uri_rows group by id) u on u.id = p.id
    left join last l on l.id = p.id
    where p.id not in (select id from said where state = 'verified')
    order by p.id
"""

_STAT = re.compile(r"stat:(\d+)-(-?\d+)-\d+")


@dataclass(frozen=True, slots=True)
class Uninspected:
    """A version whose bytes nobody has read yet.

    Attributes
    ----------
    writer : str
        Of an occurrence of it, 32 hexadecimal digits, and
    sequence : int
        where that stands.
    size, mtime_ns : int
        What the file was when it was declared.
    uris : tuple of str
        Where it was.
    last : Inspection or None
        What was found the last time.
    """

    writer: str
    sequence: int
    size: int
    mtime_ns: int
    uris: tuple[str, ...]
    last: Inspection | None


#: Has others look at files; what each was found to be, in their order.
Looking = Callable[[list[Uninspected], Callable[[str, int, int], None]], list[Inspection]]


def find_uninspected(connection: Any) -> list[Uninspected]:
    """Return the versions of a store whose digests were left to the merge and are not known.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.

    Returns
    -------
    list of Uninspected
        In order of their ids.
    """
    found = []
    for _, digest, place, uris, state, uri, detail in connection.execute(_WAITING).fetchall():
        matched = _STAT.fullmatch(digest)
        if matched is not None:
            writer, sequence = place.values() if isinstance(place, dict) else place
            last = None if state is None else Inspection(state, uri, detail=detail)
            size, mtime = int(matched[1]), int(matched[2])
            found.append(Uninspected(writer, int(sequence), size, mtime, tuple(uris or ()), last))
    return found


def inspect_files(
    waiting: list[Uninspected],
    files: StoreFiles,
    progress: Callable[[str, int, int], None],
    *,
    looking: Looking | None = None,
) -> Counter[str]:
    """Look at files, and state beside the store what is news of them.

    Parameters
    ----------
    waiting : list of Uninspected
        From :func:`find_uninspected`.
    files : StoreFiles
        The store's.
    progress : callable
        As for :func:`braid_hpc.compaction.compact.compact`.
    looking : callable, optional
        Has others look at the files first; those that they do not find as they were are looked at here as well.

    Returns
    -------
    Counter
        How many files were found in each state for the first time; empty where nothing was stated.

    Raises
    ------
    StorageError
        If that cannot be written.
    """
    stated: Counter[str] = Counter()
    run: Run | None = None
    once = {(each.size, each.mtime_ns, each.uris): each for each in reversed(waiting)}
    known: dict[tuple[Any, ...], Inspection] = {}
    if looking is not None:
        for key, found in zip(once, looking(list(once.values()), progress), strict=True):
            # A file of one node may be seen from there only, and from here only.
            known[key] = found if found.state == "verified" else _best([inspect_file(once[key]), found])
    try:
        for done, each in enumerate(waiting):
            progress("digests", done, len(waiting))
            key = (each.size, each.mtime_ns, each.uris)
            if key not in known:
                known[key] = inspect_file(each)
            found = known[key]
            if each.last == Inspection(found.state, found.uri, detail=found.detail):
                continue
            if run is None:
                run = Run("inspect files", log_dir=files.archive, store=files.path, alone=True)
            if not record_inspection(run, Record(bytes.fromhex(each.writer), each.sequence), found):
                raise StorageError(f"what was found of files cannot be written beside {files.path}")
            stated[found.state] += 1
        if run is not None and not run.flush("held"):
            raise StorageError(f"what was found of files cannot be written beside {files.path}")
    finally:
        if run is not None:
            run.close()
    return stated


def inspect_file(each: Uninspected) -> Inspection:
    """Look at each place of a file; the best that is found counts.

    Parameters
    ----------
    each : Uninspected
        The file.

    Returns
    -------
    Inspection
        What it is.
    """
    return _best([_look(uri, each) for uri in each.uris])


def _best(found: list[Inspection]) -> Inspection:
    order = ("verified", "changed", "unreadable", "missing")
    return min(found, key=lambda one: order.index(one.state), default=Inspection("missing", detail="it has no uri"))


def _look(uri: str, each: Uninspected) -> Inspection:
    path: Path | None = local_path(uri)
    if path is None:
        return Inspection("unreadable", uri, detail="no file of this machine")
    try:
        with open_regular(path) as file:
            if (difference := _difference(os.fstat(file.fileno()), each)) is None:
                content = content_of_file(file)
                # Also somebody who writes into it meanwhile.
                difference = _difference(os.fstat(file.fileno()), each)
    except FileNotFoundError:
        return Inspection("missing", uri)
    except (OSError, ValueError) as error:
        return Inspection("unreadable", uri, detail=getattr(error, "strerror", None) or str(error))
    if difference is not None:
        return Inspection("changed", uri, detail=difference)
    return Inspection("verified", uri, content.digest, content.size)


def _difference(stat: os.stat_result, each: Uninspected) -> str | None:
    # Not by the inode: a copy that keeps the time, and a file seen through another mount, have another one.
    if stat.st_size != each.size:
        return f"{stat.st_size} bytes instead of {each.size}"
    return None if stat.st_mtime_ns == each.mtime_ns else "modified since"

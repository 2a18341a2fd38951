"""A store that holds what somebody of some groups may see of another one, and nothing else.

It is made of the logs of the runs that are shown, as if there were no others: ids, numbers, snapshots and problems
tell nothing of what was left out. It has an archive and arrays of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.compaction.archive import Archive
from braid_hpc.compaction.array_forms import boxes
from braid_hpc.compaction.commit import Commit, write_commit
from braid_hpc.compaction.done_index import write_done
from braid_hpc.compaction.joined import Source
from braid_hpc.compaction.ledger import Ledger
from braid_hpc.compaction.retold import Retold, Told
from braid_hpc.compaction.visible import visible_writers
from braid_hpc.compaction.write import Writer
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.snapshots.connect import connect_asking, connect_building, storage_error
from braid_hpc.snapshots.empty import write_empty
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.modes import follow_directory, seal_file
from braid_hpc.vocabulary.errors import BraidError, ConflictError, MissingExtraError, NotFoundError, StorageError

__all__ = ["Restricted", "restrict_store"]

Progress = Callable[[str, int, int], None]

#: Bytes of an array that are copied at once.
BLOCK = 16 << 20


@dataclass(frozen=True, slots=True)
class Restricted:
    """What was made.

    Attributes
    ----------
    store : Path
        The store.
    snapshot : int
        Number of its newest snapshot.
    runs, writers, arrays : int
        What it holds.
    damage : list of str
        What of the archive cannot be read, a sentence for each.
    """

    store: Path
    snapshot: int
    runs: int
    writers: int
    arrays: int
    damage: list[str]


def restrict_store(
    source: Source,
    groups: Collection[str],
    target: StoreFiles,
    *,
    progress: Progress = lambda step, done, total: None,
) -> Restricted:
    """Publish a store of what some groups may see.

    Parameters
    ----------
    source : Source
        The store that it is taken from.
    groups : collection of str
        The groups.
    target : StoreFiles
        Of a store that does not exist.
    progress : callable, optional
        As for :func:`braid_hpc.compaction.compact.compact`.

    Returns
    -------
    Restricted
        What was made.

    Raises
    ------
    ConflictError
        If there is a store of the new name.
    NotFoundError
        If the store has no archive of its merges, which it would be made of.
    CorruptLogError
        If an archive cannot be used at all.
    FormatTooNewError
        If the store, its archive or a log is of a newer format.
    StorageError
        If the new store cannot be written.
    """
    if target.exists() or os.path.lexists(target.path) or target.directory.exists():
        raise ConflictError(f"{target.path} is there already: it stays as it is")
    if missing := [number for number in source.commits if not (source.folder(number) / "commit.json").is_file()]:
        raise NotFoundError(
            f"{source.files.path} has no archive of its merge {missing[0]} beside it, and what some groups may see is "
            f"made of that: bring the directory {source.files.directory.name}"
        )
    aside = target.begin(0)
    try:
        made = _build(source, frozenset(groups), target, aside, progress)
        target.publish(aside, made.snapshot)
        target.name_newest()
    except BaseException as error:
        target.discard(aside)
        # All of it was made here.
        shutil.rmtree(target.directory, ignore_errors=True)
        if (refused := storage_error(target.path, error)) is not None:
            raise refused from error
        if isinstance(error, OSError) and not isinstance(error, BraidError):
            raise StorageError(f"{target.path} cannot be written ({error.strerror or error})") from error
        raise
    target.discard(aside)
    return made


def _build(source: Source, groups: frozenset[str], target: StoreFiles, aside: Path, progress: Progress) -> Restricted:
    write_empty(aside)
    with contextlib.ExitStack() as stack:
        elder = stack.enter_context(connect_asking(source.newest))
        connection = stack.enter_context(connect_building(aside))
        writers = visible_writers(elder, groups)
        copies = _Copies(elder, source, target, writers)
        damage: list[str] = []
        snapshot, base = 0, None
        folders = [source.folder(number) for number in source.commits]
        for number, told in Retold(folders).each(wanted=writers.__contains__):
            progress("restrict", number - 1, len(folders))
            if told.logs:
                snapshot += 1
                base = _commit(connection, target, told, (snapshot, base), copies.take(number, snapshot), progress)
                damage.extend(told.damage)
        if not snapshot:
            snapshot = 1
            empty = Commit(1, _tag(1), None, [], [], committed=0)
            write_commit(Writer(connection, 1), empty, Ledger(), lambda: _archiving(target, empty.tag, {}), progress)
            target.mark_published(empty.tag)
        for kept in (target.archive, target.arrays):
            follow_directory(kept)
        write_adjacency(connection, target.index_of(aside), snapshot)
        write_done(connection, target.done_of(aside), snapshot)
        ((runs,),) = connection.execute("select count(distinct run) from writers").fetchall()
        return Restricted(target.path, snapshot, runs, len(writers), copies.count, damage)


def _tag(snapshot: int) -> str:
    return f"{snapshot}-{os.urandom(4).hex()}"


def _commit(
    connection: Any,
    target: StoreFiles,
    told: Told,
    place: tuple[int, str | None],
    arrays: list[tuple[Any, ...]],
    progress: Progress,
) -> str:
    """Write what a commit took of the logs that are shown; return its tag."""
    snapshot, base = place
    about, ledger = told.found.about, Ledger.read(connection)
    taken = told.fresh(ledger)
    commit = Commit(
        snapshot=snapshot,
        tag=_tag(snapshot),
        base=base,
        taken=taken,
        cuts=about["cuts"],
        apart={writer: why for writer, why in told.apart.items() if writer not in ledger.runs},
        arrays=arrays,
        lost_arrays=[(writer, run, fault) for writer, run, fault in about["lost_arrays"] if writer in told.logs],
        damage=told.damage,
        committed=int(about["committed_ns"]),
        version=str(about["braid_version"]),
    )
    directories = {line["writer"]: line["directory"] for line in told.found.lines}
    keeping = lambda: _archiving(target, commit.tag, directories)  # noqa: E731
    write_commit(Writer(connection, snapshot), commit, ledger, keeping, progress)
    target.mark_published(commit.tag)
    return commit.tag


class _Kept(Archive):
    """An archive that says of a log where it was read first, and not where another archive has it."""

    def __init__(self, directory: Path, directories: dict[str, str]) -> None:
        super().__init__(directory)
        self._directories = directories

    def finish(self, commit: Commit, out: Writer) -> None:
        for line in self.lines:
            line["directory"] = self._directories[line["writer"]]
        super().finish(commit, out)


@contextlib.contextmanager
def _archiving(target: StoreFiles, tag: str, directories: dict[str, str]) -> Iterator[_Kept]:
    with _Kept(target.archive / tag, directories) as archive:
        yield archive


_CONTENTS = """
    with shown as (select id, min(snapshot) as snapshot from occurrences
        where writer in (select unnest($writers::varchar[])) group by id),
    contents as (select v.digest, min(s.snapshot) as snapshot from version_rows v join shown s using (id)
        where v.digest is not null group by v.digest),
    wanted as (
        from contents union all
        select t.digest, c.snapshot from state_rows t join contents c on c.digest = t.state where t.digest is not null)
    select a.digest, a.file, a.dataset, a.dtype, a.shape, a.bytes, min(w.snapshot) as snapshot
    from array_rows a join wanted w using (digest) group by all
"""
_NAMES = """
    select distinct v.digest, v.name, o.unit from version_rows v join occurrences o using (id)
    where o.writer in (select unnest($writers::varchar[])) and v.digest in (select digest from array_rows)
    order by all
"""


class _Copies:
    """The arrays of what is shown: copied once, with the names that the logs that are shown gave them."""

    def __init__(self, elder: Any, source: Source, target: StoreFiles, writers: set[str]) -> None:
        given = {"writers": sorted(writers)}
        self._from, self._into = source.files.arrays, target.arrays
        self._rows: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        self.count = 0
        for *row, snapshot in elder.execute(_CONTENTS, given).fetchall():
            self._rows[snapshot].append(tuple(row))
            self.count += 1
        self._names: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
        for digest, name, unit in elder.execute(_NAMES, given).fetchall() if self._rows else ():
            self._names[digest].append((name, unit))

    def take(self, number: int, snapshot: int) -> list[tuple[Any, ...]]:
        """Copy the arrays that are wanted first by a commit of the store; return rows of ``array_rows``."""
        rows = self._rows.pop(number, [])
        if not rows:
            return []
        try:
            import h5py
        except ImportError as error:
            raise MissingExtraError("arrays are copied with h5py: pip install 'braid_hpc[arrays]'") from error
        self._into.mkdir(exist_ok=True)
        path = self._into / f"{_tag(snapshot)}.h5"
        with h5py.File(path, "x", libver=("v110", "v110"), locking=False) as into:
            for digest, file, dataset, *_ in rows:
                with h5py.File(self._from / file, "r", locking=False) as opened:
                    self._copy(opened[dataset], into, digest, dataset)
        seal_file(path)
        return [(digest, path.name, *rest) for digest, _, *rest in rows]

    def _copy(self, dataset: Any, into: Any, digest: str, name: str) -> None:
        made = into.create_dataset(name, shape=dataset.shape, dtype=dataset.dtype, chunks=dataset.chunks)
        for box in boxes(dataset.shape, dataset.dtype.itemsize, BLOCK) if dataset.size else ():
            made[box] = dataset[box]
        named = self._names[digest]
        made.attrs["names"] = sorted({each for each, _ in named})
        made.attrs["dtype"] = dataset.attrs["dtype"]
        if units := [unit for _, unit in named if unit is not None]:
            made.attrs["unit"] = units[0]

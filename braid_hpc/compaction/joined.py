"""Several stores in one file: a copy of the largest one, and the commits of the others told again behind it.

What a store made of a reference in text it made of what it held, so the same is made of it here: each store is asked
what it found. What none of them knew before is tried again at the end, because another one may have brought it.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid_hpc.compaction.commit import Commit, write_commit
from braid_hpc.compaction.done_index import write_done
from braid_hpc.compaction.known import Known, look_up
from braid_hpc.compaction.ledger import Ledger
from braid_hpc.compaction.origins import note_origins
from braid_hpc.compaction.published import archive_of
from braid_hpc.compaction.retold import KeepingNothing, Retold, Told
from braid_hpc.compaction.retried import retry_links
from braid_hpc.compaction.write import Writer
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.snapshots.connect import connect_asking, connect_building, snapshot_number, storage_error
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.schema import MAJOR, MINOR
from braid_hpc.vocabulary.errors import (
    BraidError,
    CorruptLogError,
    FormatTooNewError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from braid_hpc.vocabulary.references import Reference

__all__ = ["Joining", "Source", "join_stores", "look_at", "origins_of"]


@dataclass(frozen=True, slots=True)
class Source:
    """A store as it was when it was looked at.

    Attributes
    ----------
    origin : str
        What it is called among the others.
    files : StoreFiles
        Its files.
    newest : Path
        The snapshot that is read.
    commits : dict of int to (str, int)
        The tag of each commit, and when it was made (UTC ns).
    """

    origin: str
    files: StoreFiles
    newest: Path
    commits: dict[int, tuple[str, int]]

    def folder(self, number: int) -> Path:
        """Return the archive of a commit.

        Parameters
        ----------
        number : int
            From 1.

        Returns
        -------
        Path
            It need not exist.
        """
        return archive_of(self.files, number, self.commits[number][0])


def look_at(origin: str, files: StoreFiles) -> Source:
    """Look which commits a store has now.

    Parameters
    ----------
    origin : str
        What it is called among the others.
    files : StoreFiles
        Its files.

    Returns
    -------
    Source
        Of this moment.

    Raises
    ------
    NotFoundError
        If there is no such store.
    InvalidInputError
        If it is something else.
    FormatTooNewError
        If it is of a newer format, also of a newer minor one: nothing here knows what that has to be told.
    StorageError
        If it cannot be read.
    """
    while True:
        newest = files.newest()
        try:
            connection = connect_asking(newest)
        except StorageError:
            if newest.exists():
                raise
            continue
        with connection:
            snapshot_number(connection, files.path)
            ((minor,),) = connection.execute("select value from meta where key = 'minor'").fetchall() or (("0",),)
            if int(minor) > MINOR:
                raise FormatTooNewError(
                    f"{files.path} is of store format {MAJOR}.{minor}, this braid_hpc reads stores of up to "
                    f"{MAJOR}.{MINOR} together: ask it alone, or update braid_hpc"
                )
            rows = connection.execute(
                "select snapshot, archive, epoch_ns(committed) from snapshots order by snapshot"
            ).fetchall()
        return Source(origin, files, newest, {number: (tag, time) for number, tag, time in rows})


@dataclass(slots=True)
class Joining:
    """What came of it.

    Attributes
    ----------
    snapshot : int
        Number of the newest snapshot in the file.
    told : int
        How many commits were told again.
    damage : list of str
        What of the archives cannot be read, a sentence for each.
    """

    snapshot: int = 0
    told: int = 0
    damage: list[str] = field(default_factory=list)


def join_stores(
    sources: Sequence[Source],
    target: StoreFiles,
    *,
    earlier: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> Joining:
    """Publish a store that holds what several stores hold, each thing once.

    Parameters
    ----------
    sources : sequence of Source
        The stores, under different names.
    target : StoreFiles
        Of a store that does not exist.
    earlier : Path, optional
        A file that was made of the same stores before they went on; only what is new is added to a copy of it.
    progress : callable, optional
        As for :func:`braid_hpc.compaction.compact.compact`.

    Returns
    -------
    Joining
        What came of it.

    Raises
    ------
    NotFoundError
        If several of the stores have no archive.
    FormatTooNewError
        If an archive is of a newer format.
    StorageError
        If the file cannot be written.
    """
    base = _choose_base(sources)
    aside = target.begin(0)
    try:
        with contextlib.ExitStack() as stack:
            # Opened before it is copied: a file that was removed meanwhile stays what it was as long as it is open.
            elders = {each.origin: stack.enter_context(connect_asking(each.newest)) for each in sources}
            shutil.copyfile(earlier or base.newest, aside)
            os.chmod(aside, 0o600)
            connection = stack.enter_context(connect_building(aside))
            found = _Joint(connection, list(sources), elders, progress)
            if earlier is None:
                found.begin(base)
            found.go_on()
            found.end()
            write_adjacency(connection, target.index_of(aside), found.result.snapshot)
            write_done(connection, target.done_of(aside), found.result.snapshot)
        _link_archives(sources, target)
        target.publish(aside, found.result.snapshot)
        target.name_newest()
    except BaseException as error:
        target.discard(aside)
        if (refused := storage_error(target.path, error)) is not None:
            raise refused from error
        if isinstance(error, OSError) and not isinstance(error, BraidError):
            raise StorageError(f"{target.path} cannot be written ({error.strerror or error})") from error
        raise
    target.discard(aside)
    return found.result


def _choose_base(sources: Sequence[Source]) -> Source:
    """Return the store that is copied: the one without an archive, else the largest."""
    without = [each for each in sources if not _is_archived(each)]
    if len(without) > 1:
        named = " and ".join(str(each.files.path) for each in without)
        raise NotFoundError(
            f"{named} have no archive of all their merges beside them, and only one of several stores may lack that: "
            f"bring the directories {', '.join(each.files.directory.name for each in without)}"
        )
    return without[0] if without else max(sources, key=lambda each: (each.newest.stat().st_size, each.origin))


def _is_archived(source: Source) -> bool:
    return all((source.folder(number) / "commit.json").is_file() for number in source.commits)


def _link_archives(sources: Sequence[Source], target: StoreFiles) -> None:
    """Let the new store find logs and arrays where they are: by name, so nothing of theirs is copied."""
    for place, within in ((target.archive, "archive"), (target.arrays, "arrays")):
        place.mkdir(exist_ok=True)
        for source in sources:
            folder = getattr(source.files, within).absolute()
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                with contextlib.suppress(FileExistsError):
                    os.symlink(path, place / path.name)


class _Meant(Known):
    """What references in text meant to the store that a commit comes from; what they mean here where it knew none."""

    def __init__(self, connection: Any, snapshot: int, elder: Any, number: int) -> None:
        super().__init__(connection, snapshot)
        self._elder, self._number = elder, number

    def _look_up(self, reference: Reference, before: int) -> str | None:
        meant = look_up(self._elder, reference, before, self._number)
        if meant is not None and self._rows("select 1 from version_rows where uid = ?", [meant]):
            return meant
        # A number is an alias of that store, and means nothing in any other.
        return None if reference.version is not None else super()._look_up(reference, before)


def _moment(told: tuple[Source, int, Told]) -> tuple[int, str]:
    source, number, _ = told
    return source.commits[number][1], source.origin


class _Joint:
    """A file that is being joined."""

    def __init__(self, connection: Any, sources: list[Source], elders: dict[str, Any], progress: Any) -> None:
        self._connection, self._sources, self._elders, self._progress = connection, sources, elders, progress
        self.result = Joining()

    def begin(self, base: Source) -> None:
        """Note what the copy is of."""
        self._connection.execute("create table joined_commits (origin varchar, number integer, archive varchar)")
        self._connection.executemany(
            "insert into joined_commits values (?, ?, ?)",
            [(base.origin, number, tag) for number, (tag, _) in base.commits.items()] or [(base.origin, 0, "")],
        )

    def go_on(self) -> None:
        """Tell the commits again that are not there, in the order of their times."""
        joined = dict(
            self._connection.execute("select origin, max(number) from joined_commits group by origin").fetchall()
        )
        (self.result.snapshot,) = self._connection.execute(
            "select coalesce(max(snapshot), 0) from snapshots"
        ).fetchall()[0]
        waiting = {source.origin: joined.get(source.origin, 0) for source in self._sources}
        total = sum(len(source.commits) - waiting[source.origin] for source in self._sources)
        telling = (self._telling(source, waiting[source.origin]) for source in self._sources)
        for source, number, told in heapq.merge(*telling, key=_moment):
            self._progress("join", self.result.told, total)
            self._commit(source, number, told)
            self.result.told += 1

    def _telling(self, source: Source, after: int) -> Iterator[tuple[Source, int, Told]]:
        """Tell the commits of a store behind the first ones, as far as its archive can be read."""
        if after >= len(source.commits):
            return
        try:
            for number, told in Retold([source.folder(number) for number in source.commits]).each(after=after):
                yield source, number, told
        except CorruptLogError as error:
            self.result.damage.append(f"{source.files.path}: {error}")

    def _commit(self, source: Source, number: int, told: Told) -> None:
        tag, time = source.commits[number]
        self.result.damage.extend(told.damage)
        ledger = Ledger.read(self._connection)
        taken = told.fresh(ledger)
        arrays = self._new_arrays(told)
        if taken or arrays:
            self.result.snapshot += 1
            about = told.found.about
            new = {each.writer for each in taken} - ledger.runs.keys()
            commit = Commit(
                snapshot=self.result.snapshot,
                tag=tag,
                base=None,
                taken=taken,
                cuts=about["cuts"],
                apart={
                    each["writer"]: each["apart"]
                    for each in told.found.lines
                    if each["apart"] and each["writer"] in new
                },
                arrays=arrays,
                lost_arrays=[(writer, run, fault) for writer, run, fault in about["lost_arrays"]],
                damage=told.damage,
                committed=time,
                version=str(about["braid_version"]),
            )
            out = Writer(self._connection, commit.snapshot)
            keeper = KeepingNothing(told.found.lines)
            known = _Meant(self._connection, commit.snapshot, self._elders[source.origin], number)
            write_commit(out, commit, ledger, lambda: contextlib.nullcontext(keeper), self._progress, known=known)
        self._connection.execute("insert into joined_commits values (?, ?, ?)", [source.origin, number, tag])

    def _new_arrays(self, told: Told) -> list[tuple[Any, ...]]:
        if not told.found.arrays:
            return []
        digests = [row[0] for row in told.found.arrays]
        there = self._connection.execute(
            "select digest from array_rows where digest in (select unnest(?::varchar[]))", [digests]
        ).fetchall()
        known = {digest for (digest,) in there}
        return [row for row in told.found.arrays if row[0] not in known]

    def end(self) -> None:
        """Try again what meant nothing, and note what is whose."""
        self._connection.execute("begin transaction")
        retry_links(self._connection, self.result.snapshot)
        note_origins(self._connection, {each.origin: self._elders[each.origin] for each in self._sources})
        self._connection.execute("commit")
        self._connection.execute("checkpoint")


def origins_of(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each of several stores, by which they differ.

    Parameters
    ----------
    paths : sequence of Path
        Of the stores.

    Returns
    -------
    list of str
        The file's name without its ending; with directories before it where that is not enough.

    Raises
    ------
    InvalidInputError
        If two are the same path.
    """
    stems = [path.absolute().with_suffix("") for path in paths]
    for length in range(1, max(len(stem.parts) for stem in stems) + 1):
        names = ["/".join(stem.parts[-length:]) for stem in stems]
        if len(set(names)) == len(names):
            return names
    names = [str(path.absolute()) for path in paths]
    if len(set(names)) == len(names):
        return names
    raise InvalidInputError(f"{names[0]} is named twice")

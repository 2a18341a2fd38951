"""A store made again from its archive: commit by commit, beside what is there, and published when it is complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid_hpc.compaction.done_index import write_done
from braid_hpc.compaction.published import Published, archive_of, find_published
from braid_hpc.compaction.replay import Replay
from braid_hpc.snapshots.adjacency_write import write_adjacency
from braid_hpc.snapshots.connect import connect_building, storage_error
from braid_hpc.snapshots.empty import write_empty
from braid_hpc.snapshots.files import StoreFiles, sync_path
from braid_hpc.vocabulary.errors import ConflictError, CorruptLogError, NotFoundError, StorageError

__all__ = ["Rebuilt", "rebuild"]

#: How often a rebuild begins again because somebody published before it could.
ATTEMPTS = 5

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did.

    Attributes
    ----------
    store : Path
        The store that was made.
    snapshot : int
        Number of its newest snapshot, as before.
    counts : dict of str to int
        What all of its snapshots added: events, versions, and so on.
    damage : list of str
        What of the archive cannot be read and so is not in the store, a sentence for each; empty unless asked for.
    notes : list of str
        What else a person should know.
    replaced : Path or None
        Directory with the old files, where they were replaced.
    """

    store: Path
    snapshot: int
    counts: dict[str, int]
    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    replaced: Path | None = None


def rebuild(
    store: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str] | None = None,
    partial: bool = False,
    progress: Progress | None = None,
) -> Rebuilt:
    """Make a store again from the archive beside it, commit by commit; nothing is read from its old tables.

    Only which commits belong to it is taken from a file of the store, where one can be read.

    Parameters
    ----------
    store : path-like
        The store; its own files may be damaged or gone, its directory ``<store>.d`` must be there.
    into : path-like, optional
        Name of a new store, with an archive of its own; without it the new files take the place of the old ones,
        which are moved aside.
    partial : bool
        Whether to make what can be made of an archive that is damaged. What is lost is then named in the store, too.
    progress : callable, optional
        As for :func:`braid_hpc.compaction.compact.compact`.

    Returns
    -------
    Rebuilt
        What was made.

    Raises
    ------
    NotFoundError
        If there is no archive.
    CorruptLogError
        If the archive is damaged, with a note for each damage; nothing has changed. With `partial` too, where the
        damaged one would replace a store that can be read.
    ConflictError
        If there is a store of the new name, or others merged into the store all the time.
    FormatTooNewError
        If the store, its archive or a log is of a newer format.
    StorageError
        If the new store cannot be written.
    """
    source = StoreFiles(store)
    target = source if into is None else StoreFiles(into)
    if target.path == source.path:
        target = source
    elif target.exists() or os.path.lexists(target.path):
        raise ConflictError(f"{target.path} is there already: it stays as it is")
    for _ in range(ATTEMPTS - 1 if target is source else 0):
        # Somebody else may publish in the moment between the last look and the replacing.
        with contextlib.suppress(ConflictError):
            return _rebuild(source, target, progress or _silent, partial=partial)
    return _rebuild(source, target, progress or _silent, partial=partial)


def _rebuild(source: StoreFiles, target: StoreFiles, progress: Progress, *, partial: bool) -> Rebuilt:
    old = source.snapshots()
    if not find_published(source).tags:
        raise NotFoundError(f"there is nothing to make {source.path} of: {source.archive} holds no archive of a merge")
    aside = target.begin(0)
    try:
        done, published = _build(source, target, aside, progress, partial=partial)
        if target is source:
            replaced = target.replace(aside, len(published.tags), old)
        else:
            _bring_archive(source, target, published, aside)
            target.publish(aside, len(published.tags))
            target.name_newest()
            replaced = None
    except BaseException as error:
        target.discard(aside)
        if (refused := storage_error(target.path, error)) is not None:
            raise refused from error
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError(f"{target.path} cannot be written ({error.strerror or error})") from error
        raise
    target.discard(aside)
    target.sweep(len(published.tags), {tag for tag in published.tags.values() if tag is not None})
    return Rebuilt(
        target.path, len(published.tags), dict(done.counts), done.damage, [*published.notes, *done.notes], replaced
    )


def _silent(step: str, done: int, total: int) -> None:
    return


def _build(
    source: StoreFiles, target: StoreFiles, aside: Path, progress: Progress, *, partial: bool
) -> tuple[Replay, Published]:
    """Write all commits into a file; those too that others publish meanwhile."""
    write_empty(aside)
    connection = connect_building(aside)
    try:
        replay = Replay(connection, source, progress)
        indexed = 0
        # Also what was published while the index was written, which takes its time.
        while len((published := find_published(source)).tags) > indexed:
            replay.go_on(published)
            if replay.damage:
                _refuse(source, replay.damage, partial=partial and (target is not source or not published.readable))
            if len(find_published(source).tags) == replay.done:
                target.index_of(aside).unlink(missing_ok=True)
                write_adjacency(connection, target.index_of(aside), replay.done)
                target.done_of(aside).unlink(missing_ok=True)
                write_done(connection, target.done_of(aside), replay.done)
                indexed = replay.done
    finally:
        connection.close()
    return replay, published


def _refuse(source: StoreFiles, damage: list[str], *, partial: bool) -> None:
    if partial:
        return
    error = CorruptLogError(
        f"the archive of {source.path} is damaged, and nothing was changed: with --partial and --into NEW a store "
        f"is made of what can be read"
    )
    for each in damage:
        error.add_note(each)
    raise error


def _bring_archive(source: StoreFiles, target: StoreFiles, published: Published, aside: Path) -> None:
    """Give a new store the archive that it was made of; each part appears whole or not at all."""
    for number, tag in published.tags.items():
        folder = archive_of(source, number, tag)
        for path, place in ((folder, target.archive), (source.arrays / f"{folder.name}.h5", target.arrays)):
            if not path.exists() or (place / path.name).exists():
                continue
            place.mkdir(exist_ok=True)
            # Under the name of this rebuild, so that a later one removes it if this one is killed.
            half = aside.with_name(f"building-{target.tag(aside)}.{path.name}")
            if path.is_dir():
                shutil.copytree(path, half, copy_function=_link)
                for folder_in, _, names in os.walk(half):
                    for name in (*names, "."):
                        sync_path(Path(folder_in, name))
            else:
                _link(path, half)
                sync_path(half)
            os.rename(half, place / path.name)
            sync_path(place)
        if tag is not None:
            target.mark_published(tag)


def _link(source: Any, target: Any) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

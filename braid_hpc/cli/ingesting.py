"""Taking files of instrument documents into a store: through a log of their own beside it, like everything else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from braid_hpc.vocabulary.identity import Content, content_of_file

if TYPE_CHECKING:
    from braid_hpc.snapshots.files import StoreFiles

__all__ = ["FILE_KIND", "LONGEST_LINE", "Ingested", "ingest_documents"]

#: The kind of record by which a store knows a file that was taken whole.
FILE_KIND = "document-file"

#: Bytes of a line; what is longer is no document.
LONGEST_LINE = 256 << 20


@dataclass(slots=True)
class Ingested:
    """What was taken.

    Attributes
    ----------
    snapshot : int or None
        The newest snapshot; None if there was nothing to take.
    taken, known : list of Path
        Files that were taken, and those whose content the store has.
    documents : int
        That were recorded.
    losses : dict of str to int
        What could not be taken, by reason.
    """

    snapshot: int | None = None
    taken: list[Path] = field(default_factory=list)
    known: list[Path] = field(default_factory=list)
    documents: int = 0
    losses: dict[str, int] = field(default_factory=dict)


def ingest_documents(
    paths: list[Path], files: StoreFiles, *, progress: Callable[[str, int, int], None] | None = None
) -> Ingested:
    """Take files of JSON lines into a store, each content once.

    Parameters
    ----------
    paths : list of Path
        Files in which each line is ``[name, document]``, as suitcase-jsonl writes them, or an object with these two
        as ``name`` and ``doc``.
    files : StoreFiles
        The store's; it is made if it does not exist.
    progress : callable, optional
        Called with a step's name, how much of it is done, and how much there is.

    Returns
    -------
    Ingested
        What was taken.

    Raises
    ------
    NotFoundError
        If a file is not there; nothing is taken then.
    InvalidInputError
        If one is a directory, or cannot be read.
    StorageError
        If the store cannot be written.
    ConflictError
        If other compactions were faster each time; what was read is taken by the next one.
    """
    from braid_hpc.compaction.compact import compact_statements
    from braid_hpc.run.recorder import Run

    done = Ingested()
    contents = [(path, _content(path)) for path in paths]
    known = _known(files)
    todo: dict[str, tuple[Path, Content]] = {}
    for path, content in contents:
        if content.digest in known or content.digest in todo:
            done.known.append(path)
        else:
            todo[content.digest] = (path, content)
    if not todo:
        return done
    run = Run("ingest", log_dir=files.archive, store=files.path, alone=True)
    try:
        for number, (path, content) in enumerate(todo.values()):
            if progress is not None:
                progress("read", number, len(todo))
            with DocumentCollector(run) as collect, path.open("rb") as file:
                _deliver(file, collect)
            done.documents += collect.taken
            for reason, count in collect.losses.counts.items():
                done.losses[reason] = done.losses.get(reason, 0) + count
            # Only now: a file of which a part was read before somebody ended this is read again.
            run.record(FILE_KIND, path.name, uri=path.absolute().as_uri(), digest=content.digest, size=content.size)
            done.taken.append(path)
        kept = run.flush("held")
    finally:
        run.close()
    if not kept or done.losses.get("lost"):
        raise StorageError(f"not all documents could be written beside {files.path}: see that there is room, repeat it")
    done.snapshot = compact_statements(files.path).snapshot
    return done


def _content(path: Path) -> Content:
    try:
        with path.open("rb") as file:
            return content_of_file(file)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from None


def _known(files: StoreFiles) -> set[str]:
    """Return the digests of the files that a store has taken."""
    if not files.exists():
        return set()
    from braid_hpc.store.store import Store

    with Store(files.path) as store:
        return set(
            store.sql("select digest from versions where kind = ? and digest is not null", [FILE_KIND])["digest"]
        )


def _deliver(file: BinaryIO, collect: DocumentCollector) -> None:
    for number, line in _lines(file):
        pair = _pair(line)
        if pair is None:
            collect.losses.count("no document", unit="line", first=number, note=repr(line[:60]))
        else:
            collect(*pair)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty with their numbers from 1; of one that is too long the beginning alone."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            line = line[:100]
        if not line.isspace():
            yield number, line


def _pair(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the document that a line holds, if it does."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        found = [found.get("name"), found.get("doc")]
    if not isinstance(found, list) or len(found) != 2:
        return None
    name, document = found
    return (name, document) if isinstance(name, str) and isinstance(document, dict) else None

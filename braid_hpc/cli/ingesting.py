"""Taking files of instrument documents into a store: through a log of their own beside it, like everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from braid_hpc.cli.document_files import Lost, find_document_files, form_of, read_documents
from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from braid_hpc.vocabulary.identity import Content, content_of_file
from braid_hpc.vocabulary.regular import open_regular

if TYPE_CHECKING:
    from braid_hpc.snapshots.files import StoreFiles

__all__ = ["FILE_KIND", "Ingested", "ingest_documents"]

#: The kind of record by which a store knows a file that was taken whole.
FILE_KIND = "document-file"


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
    """Take files of instrument documents into a store, each content once.

    Parameters
    ----------
    paths : list of Path
        Files in which each line is ``[name, document]``, as suitcase-jsonl writes them, or which hold such lists as
        MessagePack one after another, as suitcase-msgpack does; instead of a list, an object with these two as
        ``name`` and ``doc``. They may be compressed by gzip. Directories stand for the files of documents below them.
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
        If a file is not there, or no file in a directory; nothing is taken then.
    InvalidInputError
        If one cannot be read, or holds something else; nothing is taken then.
    StorageError
        If the store cannot be written.
    ConflictError
        If other compactions were faster each time; what was read is taken by the next one.
    """
    from braid_hpc.compaction.compact import compact_statements
    from braid_hpc.run.recorder import Run

    done = Ingested()
    # All of them, before anything is taken.
    forms = {path: form_of(path) for path in find_document_files(paths)}
    contents = [(path, _content(path)) for path in forms]
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
            with DocumentCollector(run) as collect:
                _deliver(path, forms[path], collect)
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
        with open_regular(path) as file:
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


def _deliver(path: Path, form: str, collect: DocumentCollector) -> None:
    for found in read_documents(path, form):
        if isinstance(found, Lost):
            collect.losses.count("no document", unit=found.unit, first=found.at, note=found.note)
        else:
            collect(*found)

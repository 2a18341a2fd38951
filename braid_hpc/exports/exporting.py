"""Exports of a scan, of a stream, and of a whole store: files that others read without this package."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc._version import __version__
from braid_hpc.exports.aside import whole_file, whole_folder
from braid_hpc.exports.nexus import write_nexus
from braid_hpc.exports.replaying import export_documents, not_whole
from braid_hpc.exports.tables import csv_metadata, write_csv, write_parquet
from braid_hpc.exports.words import FORMS
from braid_hpc.scans.program_run import ProgramRun
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid_hpc.exports.nexus_names import Place
    from braid_hpc.scans.scan import Scan
    from braid_hpc.store.store import Store

__all__ = ["FORMATS", "Exported", "export", "export_stream", "format_of", "write_table"]

#: What an export may be.
FORMATS = ("documents", "jsonl", "msgpack", "parquet", "csv", "nexus")

_SUFFIXES = {
    ".json": "documents",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".msgpack": "msgpack",
    ".parquet": "parquet",
    ".csv": "csv",
    **dict.fromkeys((".nxs", ".nx5", ".nexus", ".h5", ".hdf5"), "nexus"),
}
_NOT_IN_FILES = re.compile(r"[^\w.-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path : Path
        The file or the folder.
    counts : dict of str to int
        Rows of each stream, or documents.
    notes : list of str
        What the scan lacks, and what could not be written; a sentence for each.
    """

    path: Path
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def format_of(to: str | os.PathLike[str]) -> str | None:
    """Return the format that the name of a file says.

    Parameters
    ----------
    to : path
        Its name.

    Returns
    -------
    str or None
        One of :data:`FORMATS`.

    Examples
    --------
    >>> format_of("scan.nxs"), format_of("scan.jsonl"), format_of("folder")
    ('nexus', 'jsonl', None)
    """
    return _SUFFIXES.get(Path(to).suffix.lower())


def export(
    store: Store,
    which: Any,
    *,
    to: str | os.PathLike[str],
    format: str | None = None,
    streams: Iterable[str] | None = None,
    pages: int | None = None,
    images: str = "link",
    names: dict[str, Place] | None = None,
    overwrite: bool = False,
    at: int | None = None,
    as_of: Any = None,
) -> Exported:
    """Write a scan into a file or a folder, whole or not at all.

    Parameters
    ----------
    store : Store
        Open.
    which : str, int or Scan
        As for ``store.scan``, also ``run:`` and a run that is no scan; or what that returned.
    to : path
        File, or for ``parquet`` and ``csv`` a folder with a file for each stream; one stream may go into a file.
    format : str, optional
        ``documents`` (one JSON array), ``jsonl``, ``msgpack``, ``parquet``, ``csv`` or ``nexus``; without it what the
        name of the file says.
    streams : iterable of str, optional
        Which streams, for tables and NeXus; all of them without it.
    pages : int, optional
        Of documents: events of a page at most.
    images : {"link", "copy", "none"}
        Of NeXus: whether what lies in files of detectors is linked, copied, or left out.
    names : dict of str to Place, optional
        Of NeXus: further names, beside those of the start's projections.
    overwrite : bool
        Whether it takes the place of an earlier export.
    at : int, optional
        A snapshot number: what the store knew then.
    as_of : datetime, str or int, optional
        A time: what had been recorded by then.

    Returns
    -------
    Exported
        What was written, and what is not in it.

    Raises
    ------
    NotFoundError
        If there is no such scan, or stream of it.
    ConflictError
        If something of that name is there, or several scans are meant.
    InvalidInputError
        If the format is none, or cannot say a value of the documents.
    StorageError
        If it cannot be written.
    """
    form = _checked(format or format_of(to), to)
    if images not in ("link", "copy", "none"):
        raise InvalidInputError(f"images={images!r:.40} is none of link, copy and none")
    scan: Scan | ProgramRun = store.scan(which, at=at, as_of=as_of) if isinstance(which, (str, int)) else which
    about = _about(store, scan)
    if isinstance(scan, ProgramRun):
        if form not in ("parquet", "csv"):
            raise InvalidInputError(f"run:{scan.uid} is no scan and has no documents: export its streams as tables")
        notes = [each.detail for each in scan.missing]
    else:
        documents = scan.documents()
        lacks = not_whole(documents, stopped=scan.stop is not None)
        notes = [lacks] if lacks else []
    if form in FORMS:
        with whole_file(to, overwrite=overwrite) as aside, open(aside, "wb") as file:
            count = FORMS[form](export_documents(documents, pages=pages), file)
        return Exported(Path(to), {"documents": count}, notes)
    chosen = _streams(scan, streams)
    if form == "nexus":
        with whole_file(to, overwrite=overwrite) as aside:
            notes += write_nexus(scan, aside, about=about, streams=chosen, images=images, names=names)
        return Exported(Path(to), {stream: scan.streams[stream] for stream in chosen}, notes)
    if format_of(to) == form:
        if len(chosen) != 1:
            raise InvalidInputError(f"{to} holds one stream: name one of {', '.join(chosen)}, or give a folder")
        counts = {chosen[0]: write_table(scan.table(chosen[0]), to, form, about | {"stream": chosen[0]}, overwrite)}
        return Exported(Path(to), counts, notes)
    with _folder_of_tables(to, about, overwrite=overwrite) as put:
        counts = {stream: put(scan.table(stream), stream, form, {"stream": stream}) for stream in chosen}
    return Exported(Path(to), counts, notes)


def export_stream(
    store: Store,
    stream: str,
    *,
    to: str | os.PathLike[str],
    format: str | None = None,
    overwrite: bool = False,
    at: int | None = None,
    as_of: Any = None,
) -> Exported:
    """Write all rows of a stream of a store into one file, whole or not at all; any stream, of any run.

    Parameters
    ----------
    store : Store
        Open.
    stream : str
        Its name, as ``store.table`` takes it.
    to : path
        The file.
    format : {"parquet", "csv"}, optional
        Without it what the name of the file says.
    overwrite : bool
        Whether it takes the place of another file.
    at : int, optional
        A snapshot number: what the store knew then.
    as_of : datetime, str or int, optional
        A time: rows that had been appended by then.

    Returns
    -------
    Exported
        What was written.

    Raises
    ------
    NotFoundError
        If there is no such stream.
    ConflictError
        If something of that name is there.
    InvalidInputError
        If the format is none for a table.
    StorageError
        If it cannot be written.
    """
    from braid_hpc.exports.store_tables import stream_rows

    form = _checked(format or format_of(to), to)
    if form not in ("parquet", "csv"):
        raise InvalidInputError(f"a stream is exported as parquet or csv, and not as {form}")
    rows = stream_rows(store, stream, at=at, as_of=as_of)
    about = _of_store(store) | {"stream": stream}
    return Exported(Path(to), {stream: write_table(rows, to, form, about, overwrite)})


def _checked(form: str | None, to: str | os.PathLike[str]) -> str:
    if form is None:
        raise InvalidInputError(f"{os.fspath(to)} does not say a format: give one of {', '.join(FORMATS)}")
    if form not in FORMATS:
        raise InvalidInputError(f"{form!r:.40} is no format of exports: these are {', '.join(FORMATS)}")
    return form


def _streams(scan: Scan | ProgramRun, streams: Iterable[str] | None) -> list[str]:
    known = list(scan.streams)
    chosen = known if streams is None else [streams] if isinstance(streams, str) else list(dict.fromkeys(streams))
    for stream in chosen:
        if stream not in known:
            raise NotFoundError(f"scan {scan.uid} has no stream {stream!r:.80}: it has {', '.join(known) or 'none'}")
    return chosen


def _of_store(store: Store) -> dict[str, Any]:
    return {"program": f"braid_hpc {__version__}", "store": str(store.path.absolute()), "snapshot": store.snapshot}


def _about(store: Store, scan: Scan | ProgramRun) -> dict[str, Any]:
    """Return where a scan comes from, and its reference in the store, by which its lineage can be asked for."""
    about = _of_store(store) | {"scan": scan.uid}
    try:
        node = store.get(f'scan:"{scan.uid}"')
    except (NotFoundError, InvalidInputError):
        # Its start is not there, or came from a program that made no record of it.
        return about
    return about | {"reference": node.ref, "id": f"id:{node.uid}"}


def write_table(
    table: Any, to: str | os.PathLike[str], form: str, about: dict[str, Any], overwrite: bool = False
) -> int:
    """Write a table into one file; beside CSV goes a file that says what its columns are.

    Parameters
    ----------
    table : StreamTable
        With ``schema`` and ``batches(size)``.
    to : path
        The file.
    form : {"parquet", "csv"}
        As what.
    about : dict
        Where it comes from.
    overwrite : bool
        Whether it takes the place of another file.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    ConflictError, StorageError
        As :func:`export`.
    """
    target = Path(to)
    with whole_file(target, overwrite=overwrite) as aside:
        if form == "parquet":
            return write_parquet(table.batches(_ROWS), table.schema, aside, about)
        beside = target.with_name(f"{target.name}-metadata.json")
        with whole_file(beside, overwrite=overwrite) as said:
            said.write_text(json.dumps(csv_metadata(target.name, table.schema, about), indent=1) + "\n")
            return write_csv(table.batches(_ROWS), table.schema, aside)


#: Rows of a batch, and of a row group.
_ROWS = 65_536


@contextmanager
def _folder_of_tables(to: str | os.PathLike[str], about: dict[str, Any], *, overwrite: bool) -> Iterator[Any]:
    """Give a function that puts tables into a folder of an export, and lists them in its manifest."""
    manifest = about | {"files": {}}
    with whole_folder(to, manifest, overwrite=overwrite) as folder:

        def put(table: Any, name: str, form: str, said: dict[str, Any], inside: str = "") -> int:
            (folder / inside).mkdir(exist_ok=True)
            base = _NOT_IN_FILES.sub("_", name)
            file, number = f"{base}.{form}", 1
            while (folder / inside / file).exists():
                number += 1
                file = f"{base}_{number}.{form}"
            rows = write_table(table, folder / inside / file, form, about | said)
            manifest["files"][f"{inside}/{file}" if inside else file] = said | {"rows": rows}
            return rows

        yield put

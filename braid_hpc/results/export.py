"""Datasets as folders: all files, the manifest with paths, a readme, and what RO-Crate wants."""

from __future__ import annotations

import datetime
import io
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from braid_hpc.results.crate import CRATE, crate_of
from braid_hpc.results.dataset import MANIFEST, README, Dataset, Manifest
from braid_hpc.results.local import ASIDE, LocalStorage
from braid_hpc.results.made import how_made
from braid_hpc.results.members import Columns, File, Options, place_of
from braid_hpc.results.readme import readme_text
from braid_hpc.results.remote import RemoteStorage
from braid_hpc.results.storage import Fill, Storage, storage_of
from braid_hpc.results.written import Stored
from braid_hpc.run.contents import local_path
from braid_hpc.vocabulary.errors import BraidError, ConflictError, InvalidInputError, StorageError

if TYPE_CHECKING:
    from braid_hpc.results.made import Made

__all__ = ["absolute", "export_dataset", "folder_at", "names_in", "open_dataset", "relative"]

#: Stores a file of the folder.
Put = Callable[[str, Fill], Stored]

_NO_LICENSE = "No license was given: ask those who made it."


def export_dataset(
    dataset: Dataset,
    folder: str | os.PathLike[str],
    *,
    store: Any = None,
    require_clean: bool = False,
    license: str = _NO_LICENSE,
    published: datetime.date | None = None,
    options: Options | None = None,
) -> Dataset:
    """Copy a dataset into a folder of its own: it is there whole, or not at all.

    At a url the manifest comes last: before it is there, there is no dataset.

    Parameters
    ----------
    dataset : Dataset
        What is copied; each file's digest is checked while it is.
    folder : path or url
        Made; it must not be there yet.
    store : Store, optional
        As ``braid.open`` gives it: says which code, commands and inputs made it.
    require_clean : bool
        Whether sources with uncommitted changes are refused; needs `store`.
    license : str
        Url.
    published : date, optional
        By default today.
    options : mapping, optional
        For fsspec, where the folder or files lie at urls.

    Returns
    -------
    Dataset
        That of the folder, its uris absolute.

    Raises
    ------
    ConflictError
        If the folder is there, a file is not that of the manifest, or the sources had uncommitted changes.
    InvalidInputError
        If `require_clean` has no store.
    NotFoundError
        If a file is missing, or the store does not know the dataset.
    StorageError
        If a file cannot be read or written.
    """
    made = how_made(store, dataset.version) if store is not None else None
    if require_clean:
        if made is None:
            raise InvalidInputError("require_clean= asks the store for the state of the sources: give store=")
        made.must_be_clean()
    date = (published or datetime.datetime.now(datetime.UTC).date()).isoformat()

    def fill(put: Put) -> None:
        _fill(dataset, put, made, license=license, published=date, options=options)

    storage = folder_at(folder, options)
    if isinstance(storage, LocalStorage):
        _export_here(Path(storage.folder), fill)
    else:
        _export_there(storage, fill)
    return open_dataset(folder, options=options)


def folder_at(folder: str | os.PathLike[str], options: Options | None) -> Storage:
    """Give the place of a dataset.

    Parameters
    ----------
    folder : path or url
        Where it lies.
    options : mapping, optional
        For fsspec; a folder of this machine takes none: they are for its files then.

    Returns
    -------
    Storage
        The place.

    Raises
    ------
    InvalidInputError
        If it is neither path nor url.
    """
    if not isinstance(folder, (str, os.PathLike)) or not os.fspath(folder):
        raise InvalidInputError(f"a dataset lies in a folder or at a url, not at {folder!r}")
    text = os.fsdecode(folder)
    return storage_of(folder, dict(options or {}) if "://" in text and not text.startswith("file:") else {})


def _export_here(place: Path, fill: Callable[[Put], None]) -> None:
    if place.exists() or place.is_symlink():
        raise ConflictError(f"{place} is there already: give a folder that is not there yet")
    aside = place.with_name(f"{ASIDE}{uuid.uuid4().hex}")
    try:
        fill(LocalStorage(str(aside)).put)
        os.rename(aside, place)
    except OSError as error:
        if isinstance(error, BraidError) or error.errno is None:
            raise
        raise StorageError(f"{place} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _export_there(storage: Storage, fill: Callable[[Put], None]) -> None:
    assert isinstance(storage, RemoteStorage)
    storage.ready()
    if storage.names():
        raise ConflictError(f"{storage.url} is there already: give a folder that is not there yet")
    written: list[str] = []

    def put(path: str, bytes_of: Fill) -> Stored:
        stored = storage.put(path, bytes_of)
        written.append(path)
        return stored

    try:
        fill(put)
    except BaseException as error:
        try:
            # What others may have written there meanwhile is theirs.
            storage.remove(written)
        except StorageError as other:
            error.add_note(f"what was written there is left, without {MANIFEST}: {other}")
        raise


def _fill(
    dataset: Dataset, put: Put, made: Made | None, *, license: str, published: str, options: Options | None
) -> None:
    names = names_in(dataset)
    for number, column, file in dataset.files():
        _copy(put, names[number, column], file, f"row {number}, column {column}", options)
    rows = tuple(
        row._replace(files={name: replace(file, uri=names[number, name]) for name, file in row.files.items()})
        for number, row in enumerate(dataset.rows)
    )
    inside = Dataset(dataset.name, rows, dataset.readme, dataset.file_columns)
    text = readme_text(inside, made.lines() if made is not None else ()).encode()
    manifest = io.BytesIO()
    Manifest(dataset.name, dataset.readme, Columns(dataset.file_columns, None)).write(inside, manifest)
    beside = {MANIFEST: len(manifest.getvalue()), README: put(README, lambda file: file.write(text)).size}
    crate = crate_of(inside, made, published=published, license=license, beside=beside)
    put(CRATE, lambda file: file.write(json.dumps(crate, indent=1, ensure_ascii=False).encode()))
    put(MANIFEST, lambda file: file.write(manifest.getvalue()))


def names_in(dataset: Dataset) -> dict[tuple[int, str], str]:
    """Give each file a path in the folder: its own name, with its row before it where two have one.

    Parameters
    ----------
    dataset : Dataset
        Whose files.

    Returns
    -------
    dict of (int, str) to str
        By row and column: ``<column>/<name>``.
    """
    plain = {(number, column): place_of(file.uri)[1] for number, column, file in dataset.files()}
    counts = Counter((column, name.lower()) for (_, column), name in plain.items())
    numbered = {(number, column): f"{number:06d}-{name}" for (number, column), name in plain.items()}
    twice = {key for key, name in plain.items() if counts[key[1], name.lower()] > 1}
    # Where a file is called as another one is now, all of its column have their rows.
    taken = {(column, numbered[number, column].lower()) for number, column in twice}
    all_of = {column for (number, column), name in plain.items() if (column, name.lower()) in taken}
    return {
        key: f"{key[1]}/{numbered[key] if key in twice or key[1] in all_of else name}" for key, name in plain.items()
    }


def _copy(put: Put, path: str, file: File, said: str, options: Options | None) -> None:
    there, name = place_of(file.uri, options)
    with there.open(name) as source:
        stored = put(path, _copier(source))
    if (stored.digest, stored.size) != (file.digest, file.size):
        raise ConflictError(f"{said}: {file.uri} is not the file of the manifest: run its task again")


def _copier(source: BinaryIO) -> Callable[[BinaryIO], object]:
    return lambda file: shutil.copyfileobj(source, file, 1 << 20)


def open_dataset(folder: str | os.PathLike[str], *, options: Options | None = None) -> Dataset:
    """Open a dataset that lies in a folder, exported or not.

    Parameters
    ----------
    folder : path or url
        With ``manifest.parquet`` in it.
    options : mapping, optional
        For fsspec, where it lies at a url.

    Returns
    -------
    Dataset
        Its uris absolute; ``problems(verify="digest")`` says whether all files are those of the manifest.

    Raises
    ------
    NotFoundError
        If there is none.
    InvalidInputError
        If the manifest is none, or names a file outside of the folder by a path.
    """
    storage = folder_at(folder, options)
    storage.ready()
    with storage.open(MANIFEST) as file:
        try:
            found = Manifest("", "", Columns((), None)).read(file)
        except ValueError as error:
            said = " ".join(str(error).split())
            raise InvalidInputError(f"{storage.uri(MANIFEST)} is no manifest of a dataset: {said}") from error
    return absolute(found, folder)


def absolute(dataset: Dataset, folder: str | os.PathLike[str]) -> Dataset:
    """Name the files of a dataset by absolute uris.

    Parameters
    ----------
    dataset : Dataset
        Its files may be named by paths below the folder.
    folder : path or url
        Where it lies.

    Returns
    -------
    Dataset
        The same members.

    Raises
    ------
    InvalidInputError
        If a path leads out of the folder.

    See Also
    --------
    relative : the other way.
    """
    from braid_hpc.results.targets import check_path

    storage = folder_at(folder, None)

    def named(file: File) -> File:
        return file if "://" in file.uri else replace(file, uri=storage.uri(check_path(file.uri, file.uri)))

    return _renamed(dataset, named)


def relative(dataset: Dataset, folder: str | os.PathLike[str]) -> Dataset:
    """Name the files of a dataset that lie below a folder by their paths there.

    Parameters
    ----------
    dataset : Dataset
        Its files are named by absolute uris.
    folder : path or url
        The folder.

    Returns
    -------
    Dataset
        The same members; files that lie elsewhere keep their uris.

    See Also
    --------
    absolute : the other way.
    """
    storage = folder_at(folder, None)

    def named(file: File) -> File:
        local = local_path(file.uri)
        if isinstance(storage, LocalStorage):
            below = local is not None and local.is_relative_to(storage.folder)
            return replace(file, uri=local.relative_to(storage.folder).as_posix()) if below and local else file
        place = storage.uri("")
        return replace(file, uri=file.uri.removeprefix(place)) if file.uri.startswith(place) else file

    return _renamed(dataset, named)


def _renamed(dataset: Dataset, named: Callable[[File], File]) -> Dataset:
    rows = tuple(row._replace(files={name: named(file) for name, file in row.files.items()}) for row in dataset.rows)
    return Dataset(dataset.name, rows, dataset.readme, dataset.file_columns)

"""The rows of a manifest: which files they name, what is known of these, and what is wrong with them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from braid_hpc.results.lazy import Lazy
from braid_hpc.results.storage import Storage, storage_of
from braid_hpc.results.written import Written
from braid_hpc.run.contents import local_path
from braid_hpc.run.handles import Record, record_of
from braid_hpc.vocabulary.encoding import encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from braid_hpc.vocabulary.identity import content_of_bytes, content_of_file, content_of_value

__all__ = ["Columns", "File", "Options", "Reach", "Row", "checked_rows", "place_of", "version_of"]

#: What fsspec is told of a place, such as ``{"endpoint_url": ...}``.
Options = Mapping[str, Any]

#: What a metadata column may hold, beside None.
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a dataset.

    Attributes
    ----------
    uri : str
        Where; in an exported dataset a path below its folder.
    size : int
        Bytes.
    digest : str
        ``"blake3:<hex>"`` of the bytes.
    content : str or None
        ``"blake3:<hex>"`` of the value, where its serializer has one.
    media_type : str
        For instance ``image/tiff``.
    """

    uri: str
    size: int
    digest: str
    content: str | None = None
    media_type: str = "application/octet-stream"

    def load(self, serializer: Any = None, *, options: Options | None = None) -> Any:
        """Read the value.

        Parameters
        ----------
        serializer : Serializer, optional
            By default the one that belongs to the ending.
        options : mapping, optional
            For fsspec, where the file lies at a url.

        Returns
        -------
        object
            What the serializer gives; the digest has been checked.

        Raises
        ------
        NotFoundError
            If there is no such file.
        ConflictError
            If it is another one.
        InvalidInputError
            If no serializer belongs to its ending.
        """
        from braid_hpc.results.result import Target
        from braid_hpc.results.serializer import serializer_for

        storage, path = place_of(self.uri, options)
        return Target(storage, path, serializer or serializer_for(path)).read(digest=self.digest)


class Columns(NamedTuple):
    """The columns of a manifest."""

    files: tuple[str, ...]
    #: None: every other column.
    metadata: tuple[str, ...] | None


class Reach(NamedTuple):
    """How files are asked for that lie at the same kind of storage as the manifest."""

    #: What the manifest's url begins with, such as ``s3://``.
    scheme: str = ""
    options: Options | None = None

    def of(self, uri: str) -> Options | None:
        """Give the options for a file."""
        return self.options if self.scheme and uri.startswith(self.scheme) else None


class Row(NamedTuple):
    """A row: its files and its metadata by column, and the records that stand for the files."""

    files: dict[str, File]
    metadata: dict[str, Any]
    records: tuple[Record, ...]

    @property
    def digest(self) -> str:
        """Of what the row says, wherever its files are."""
        files = {name: file.content or file.digest for name, file in self.files.items()}
        return content_of_value(encode_canonical([files, self.metadata])).digest


def place_of(uri: str, options: Options | None = None) -> tuple[Storage, str]:
    """Split a uri into a place and a path below it.

    Parameters
    ----------
    uri : str
        Of a file.
    options : mapping, optional
        For fsspec; a file of this machine takes none.

    Returns
    -------
    storage : Storage
        The place.
    path : str
        Below it.

    Raises
    ------
    InvalidInputError
        If it names no file.
    """
    local = local_path(uri)
    if local is not None:
        return storage_of(str(local.parent), {}), local.name
    folder, slash, name = uri.rpartition("/")
    if not slash or not name or folder.endswith(":/"):
        raise InvalidInputError(f"{uri!r} names no file")
    return storage_of(folder, dict(options or {})), name


def version_of(rows: Iterable[Row]) -> str:
    """Return the digest of a set of members.

    Parameters
    ----------
    rows : iterable of Row
        In any order.

    Returns
    -------
    str
        ``"blake3:<hex>"``: the same for the same members, whatever their order and wherever they are.
    """
    digests = sorted(row.digest for row in rows)
    return content_of_bytes("\n".join(digests).encode(), prefix=b"dataset\0").digest


def checked_rows(value: Any, columns: Columns, reach: Reach | None = None) -> list[Row]:
    """Give the rows of a manifest, having looked at every file.

    Parameters
    ----------
    value : object
        Mappings, a mapping of columns, or a table of pyarrow, pandas or polars.
    columns : Columns
        What they hold.
    reach : Reach, optional
        How files at urls are asked for.

    Returns
    -------
    list of Row
        In an order of their own, so that the same members make the same manifest.

    Raises
    ------
    InvalidInputError
        If a column is missing or unknown, a value is none for it, or two rows name one file.
    NotFoundError
        If a file is missing.
    """
    given = _rows(value)
    if not given:
        raise InvalidInputError("a dataset has at least one row: this manifest has none")
    metadata = _metadata(given, columns)
    rows, seen = [], dict[tuple[str, str], int]()
    for number, row in enumerate(given):
        _check_names(number, row, columns.files, metadata)
        found = [_file(number, name, row[name], reach or Reach()) for name in columns.files]
        for name, (file, _) in zip(columns.files, found, strict=True):
            first = seen.setdefault((name, file.uri), number)
            if first != number:
                raise InvalidInputError(f"row {number}, column {name}: {file.uri} is that of row {first} too")
        rows.append(
            Row(
                {name: file for name, (file, _) in zip(columns.files, found, strict=True)},
                {name: _scalar(number, name, row[name]) for name in metadata},
                tuple(record for _, record in found if record),
            )
        )
    _check_types(rows, metadata)
    return sorted(rows, key=lambda row: ([_order(value) for value in row.metadata.values()], row.digest))


def _rows(value: Any) -> list[Mapping[str, Any]]:
    """Give any kind of table as mappings."""
    if hasattr(value, "to_pydict"):
        value = value.to_pydict()
    elif hasattr(value, "columns") and hasattr(value, "__getitem__") and not isinstance(value, Mapping):
        value = {str(name): list(value[name]) for name in value.columns}
    if isinstance(value, Mapping):
        for name, column in value.items():
            if isinstance(column, (str, bytes)) or not hasattr(column, "__iter__"):
                raise InvalidInputError(
                    f"the column {name} of a manifest is a {type(column).__name__}, and has one value for each row"
                )
        columns = {name: list(column) for name, column in value.items()}
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            said = ", ".join(f"{name} has {len(column)}" for name, column in columns.items())
            raise InvalidInputError(f"columns of a manifest are of one length: {said}")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for number, row in enumerate(value):
            if not isinstance(row, Mapping):
                raise InvalidInputError(f"row {number} of a manifest is a mapping, not a {type(row).__name__}")
        return list(value)
    raise InvalidInputError(f"a manifest is a table, or a list of mappings, not a {type(value).__name__}")


def _metadata(given: list[Mapping[str, Any]], columns: Columns) -> tuple[str, ...]:
    if columns.metadata is not None:
        return columns.metadata
    return tuple(name for name in given[0] if name not in columns.files)


def _check_names(number: int, row: Mapping[str, Any], files: tuple[str, ...], metadata: tuple[str, ...]) -> None:
    for name in (*files, *metadata):
        if name not in row:
            raise InvalidInputError(f"row {number} has no column {name}; it has {', '.join(map(str, row))}")
    for name in row:
        if not isinstance(name, str):
            raise InvalidInputError(f"row {number} has a column {name!r}, and names of columns are texts")
        if name not in files and name not in metadata:
            raise InvalidInputError(f"row {number} has a column {name}, which is neither of files nor of metadata")


def _file(number: int, name: str, value: Any, reach: Reach) -> tuple[File, Record | None]:
    """Find out which file a cell names."""
    said = f"row {number}, column {name}"
    if isinstance(value, Lazy):
        written, target = value._lazy.written, value._lazy.target
        _check_there(said, written, target.storage, target.path)
        return _of_written(written), record_of(value)
    if isinstance(value, (File, Written)):
        _check_there(said, value, *place_of(value.uri, reach.of(value.uri)))
        return (value if isinstance(value, File) else _of_written(value)), None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        kind = "is empty" if value is None or isinstance(value, str) else f"is a {type(value).__name__}"
        raise InvalidInputError(f"{said} {kind}: give the result of a task, or the path of a file")
    return _of_path(said, os.fsdecode(value), reach), None


def _of_written(written: Written) -> File:
    # What the done index gives has the same members and may have no media type.
    media_type = written.media_type or "application/octet-stream"
    return File(written.uri, written.size, written.digest, written.content, media_type)


def _check_there(said: str, known: Written | File, storage: Storage, path: str) -> None:
    seen = storage.look(path)
    if seen is None:
        raise NotFoundError(f"{said}: there is no file at {known.uri}")
    if seen.size != known.size:
        raise InvalidInputError(f"{said}: {known.uri} is not the file that was recorded: run its task again")


def _of_path(said: str, text: str, reach: Reach) -> File:
    local = local_path(text)
    if local is not None and local.is_dir():
        raise InvalidInputError(f"{said}: {local} is a directory: give a file in it")
    try:
        storage, path = place_of(text, reach.of(text))
        with storage.open(path) as file:
            content = content_of_file(file)
    except NotFoundError:
        raise NotFoundError(f"{said}: there is no file at {text}") from None
    except (StorageError, InvalidInputError) as error:
        raise InvalidInputError(f"{said}: {error}") from error
    import mimetypes

    kind = mimetypes.guess_type(Path(path).name)[0] or "application/octet-stream"
    return File(storage.uri(path), content.size or 0, content.digest, None, kind)


def _scalar(number: int, name: str, value: Any) -> Any:
    if isinstance(value, Lazy) or (not isinstance(value, _SCALARS) and hasattr(value, "item")):
        value = value.item() if getattr(value, "shape", None) == () else value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"row {number}, column {name} is not UTF-8") from error
    if value is None or type(value) in _SCALARS:
        return value
    raise InvalidInputError(
        f"row {number}, column {name} is a {type(value).__name__}: metadata are numbers, texts, truth values or None"
    )


def _check_types(rows: list[Row], metadata: tuple[str, ...]) -> None:
    for name in metadata:
        first: type | None = None
        for number, row in enumerate(rows):
            value = row.metadata[name]
            if value is None:
                continue
            kind = type(value)
            first = first or kind
            if kind is not first and {kind, first} != {int, float}:
                raise InvalidInputError(
                    f"row {number}, column {name} is a {kind.__name__}, and in rows before it a {first.__name__}"
                )
            if kind is int and not -(1 << 63) <= value < 1 << 63:
                raise InvalidInputError(f"row {number}, column {name} is {value}, which has more than 64 bits")
        kinds = {type(row.metadata[name]) for row in rows}
        if {int, float} <= kinds:
            # As they come back.
            for number, row in enumerate(rows):
                value = row.metadata[name]
                if isinstance(value, int) and int(float(value)) != value:
                    raise InvalidInputError(
                        f"row {number}, column {name} is {value}, which no float equals, and other rows have floats"
                    )
                row.metadata[name] = None if value is None else float(value)


def _order(value: Any) -> tuple[Any, ...]:
    if value is None:
        return (0,)
    return (1,) if isinstance(value, float) and math.isnan(value) else (2, value)

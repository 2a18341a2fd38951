"""Datasets: many results under one name, with a manifest, a readme and a version."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from braid_hpc.results.members import Columns, File, Options, Reach, Row, checked_rows, version_of
from braid_hpc.results.packages import package
from braid_hpc.results.readme import readme_text
from braid_hpc.results.result import Result, Target
from braid_hpc.results.targets import TargetName, check_path, path_of
from braid_hpc.results.written import Found, Written
from braid_hpc.run.job import current_run
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError

__all__ = ["MANIFEST", "README", "Dataset", "DatasetResult", "Manifest"]

MANIFEST = "manifest.parquet"
README = "README.md"

#: What the columns of a file are called, after the column's own name.
_OF_FILE = ("size", "digest", "content", "media_type")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Files with metadata, under one name.

    Attributes
    ----------
    name : str
        Its name.
    rows : tuple of Row
        ``files`` and ``metadata`` of each member, by column.
    readme : str
        What it is, for people.
    file_columns : tuple of str
        Columns of files.
    version : str
        ``"blake3:<hex>"``: the same for the same members, in whatever order they came and wherever they are.
    """

    name: str
    rows: tuple[Row, ...]
    readme: str = ""
    file_columns: tuple[str, ...] = ()
    version: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Take the version."""
        object.__setattr__(self, "version", version_of(self.rows))

    def __len__(self) -> int:
        """How many members there are."""
        return len(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """Return a column: files or values.

        Raises
        ------
        NotFoundError
            If there is no such column.
        """
        try:
            return [row.files[column] if column in self.file_columns else row.metadata[column] for row in self.rows]
        except KeyError:
            raise NotFoundError(
                f"dataset {self.name} has no column {column}; it has {', '.join(self.columns)}"
            ) from None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of files, then of metadata."""
        return (*self.file_columns, *(self.rows[0].metadata if self.rows else ()))

    def files(self) -> Iterator[tuple[int, str, File]]:
        """Give every file.

        Yields
        ------
        row : int
            Number of its row, from 0.
        column : str
            Its column.
        file : File
            The file.
        """
        for number, row in enumerate(self.rows):
            for name, file in row.files.items():
                yield number, name, file

    def table(self) -> Any:
        """Return the manifest.

        Returns
        -------
        pyarrow.Table
            A row for each member; a file has columns of its uri and, after its name and a dot, of size, digest,
            content and media type.

        Raises
        ------
        MissingExtraError
            If pyarrow is not installed.
        """
        pyarrow = package("pyarrow", "manifests")
        columns: dict[str, Any] = {}
        for name in self.rows[0].metadata if self.rows else ():
            values = self[name]
            kinds = {type(value) for value in values if value is not None}
            columns[name] = pyarrow.array(values, pyarrow.float64()) if kinds == {int, float} else values
        for name in self.file_columns:
            files = [row.files[name] for row in self.rows]
            columns[name] = [file.uri for file in files]
            columns |= {f"{name}.{part}": [getattr(file, part) for file in files] for part in _OF_FILE}
            columns[f"{name}.content"] = pyarrow.array(columns[f"{name}.content"], pyarrow.string())
        about = {"name": self.name, "readme": self.readme, "file_columns": self.file_columns, "version": self.version}
        return pyarrow.table(columns).replace_schema_metadata({"braid_hpc.dataset": json.dumps(about)})

    def problems(self, *, verify: str = "size", options: Options | None = None) -> list[str]:
        """Say which files are not those of the manifest.

        Parameters
        ----------
        verify : str
            ``"size"``, or ``"digest"`` to read all bytes.
        options : mapping, optional
            For fsspec, where files lie at urls.

        Returns
        -------
        list of str
            A sentence each, with row and column; empty if all is well.

        Raises
        ------
        InvalidInputError
            If `verify` is something else.
        """
        from braid_hpc.results.members import place_of
        from braid_hpc.results.texts import Raw

        found = []
        for number, name, file in self.files():
            storage, path = place_of(file.uri, options)
            try:
                state = Target(storage, path, Raw()).found(
                    size=file.size, mtime_ns=None, digest=file.digest, verify=verify
                )
            except InvalidInputError:
                raise
            except BraidError as error:
                found.append(f"row {number}, column {name}: {error}")
                continue
            if state is not Found.AS_RECORDED:
                found.append(f"row {number}, column {name}: {file.uri} is {state}")
        return found

    def export(self, folder: str | os.PathLike[str], **about: Any) -> Dataset:
        """Copy it into a folder of its own: see :func:`braid_hpc.results.export.export_dataset`.

        Parameters
        ----------
        folder : path or url
            Made; it must not be there yet.
        **about
            As for the function.

        Returns
        -------
        Dataset
            That of the folder.

        Raises
        ------
        ConflictError
            If the folder is there, or a file is not that of the manifest.
        NotFoundError
            If a file is missing.
        StorageError
            If a file cannot be read or written.
        """
        from braid_hpc.results.export import export_dataset

        return export_dataset(self, folder, **about)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Writes a manifest as Parquet, and reads it.

    Parameters
    ----------
    name : str
        Of the dataset.
    readme : str
        What it is.
    columns : Columns
        What its rows hold.
    reach : Reach
        How files at urls are asked for.
    """

    name: str
    readme: str
    columns: Columns
    reach: Reach = field(default=Reach(), repr=False, compare=False)

    @property
    def suffix(self) -> str:
        """``.parquet``."""
        return ".parquet"

    @property
    def media_type(self) -> str:
        """``application/vnd.apache.parquet``."""
        return "application/vnd.apache.parquet"

    def ready(self) -> None:
        """Load pyarrow.

        Raises
        ------
        MissingExtraError
            If it is not installed.
        """
        package("pyarrow.parquet", "manifests")

    def dataset(self, value: Any) -> Dataset:
        """Make a dataset of rows.

        Parameters
        ----------
        value : object
            Rows, as :func:`braid_hpc.results.members.checked_rows` takes them, or a dataset.

        Returns
        -------
        Dataset
            With every file looked at.

        Raises
        ------
        InvalidInputError
            If something is wrong with a row.
        NotFoundError
            If a file is missing.
        """
        if isinstance(value, Dataset):
            return value
        return Dataset(self.name, tuple(checked_rows(value, self.columns, self.reach)), self.readme, self.columns.files)

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write a manifest.

        Parameters
        ----------
        value : Dataset or rows
            What it is of.
        file : binary file
            Takes it.

        Raises
        ------
        InvalidInputError
            If something is wrong with a row.
        NotFoundError
            If a file is missing.
        """
        package("pyarrow.parquet", "manifests").write_table(self.dataset(value).table(), file, compression="zstd")

    def read(self, file: BinaryIO) -> Any:
        """Read a manifest.

        Parameters
        ----------
        file : binary file
            Holds one.

        Returns
        -------
        Dataset
            Its uris as they stand there.

        Raises
        ------
        ValueError
            If it holds none.
        """
        return read_table(package("pyarrow.parquet", "manifests").read_table(file))

    def content(self, value: Any) -> str | None:
        """Return the version of a dataset.

        Parameters
        ----------
        value : Dataset or rows
            What it is of.

        Returns
        -------
        str
            The same for the same members.

        Raises
        ------
        InvalidInputError
            If something is wrong with a row.
        NotFoundError
            If a file is missing.
        """
        return self.dataset(value).version


def read_table(table: Any) -> Dataset:
    """Make a dataset of its manifest.

    Parameters
    ----------
    table : pyarrow.Table
        From :meth:`Dataset.table`.

    Returns
    -------
    Dataset
        The same.

    Raises
    ------
    ValueError
        If it is no manifest, or the members are not those of its version.
    """
    said = (table.schema.metadata or {}).get(b"braid_hpc.dataset")
    if said is None:
        raise ValueError("it does not say that it is one")
    about = json.loads(said)
    if not isinstance(about, dict) or not all(
        isinstance(about.get(name), str) for name in ("name", "readme", "version")
    ):
        raise ValueError("its name, readme or version is not said")
    columns = about.get("file_columns")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise ValueError("its columns of files are not said")
    names = tuple(columns)
    of_files = {f"{name}.{part}" for name in names for part in _OF_FILE} | set(names)
    if missing := sorted(of_files - set(table.column_names)):
        raise ValueError(f"it has no column {missing[0]}")
    rows = [
        Row(
            {name: _file_of(row, name, number) for name in names},
            {name: value for name, value in row.items() if name not in of_files},
            (),
        )
        for number, row in enumerate(table.to_pylist())
    ]
    made = Dataset(about["name"], tuple(rows), about["readme"], names)
    if made.version != about["version"]:
        raise ValueError(f"the members of dataset {made.name} are not those of its version {about['version']}")
    return made


def _file_of(row: Mapping[str, Any], name: str, number: int) -> File:
    file = File(row[name], **{part: row[f"{name}.{part}"] for part in _OF_FILE})
    texts = (file.uri, file.digest, file.media_type, "" if file.content is None else file.content)
    if not all(isinstance(text, str) for text in texts) or not isinstance(file.size, int) or file.size < 0:
        raise ValueError(f"row {number}, column {name} is no file with uri, size and digest")
    return file


class DatasetTarget(Target):
    """The manifest of a dataset, and the readme beside it."""

    def write(self, value: Any) -> Written:
        """Write manifest and readme, and declare the dataset with its members.

        Parameters
        ----------
        value : rows
            As :func:`braid_hpc.results.members.checked_rows` takes them.

        Returns
        -------
        Written
            Of the manifest; ``content`` is the dataset's version.

        Raises
        ------
        InvalidInputError
            If something is wrong with a row; nothing is written then.
        NotFoundError
            If a file is missing; nothing is written then.
        StorageError
            If the place refuses.
        """
        from braid_hpc.results.lazy import loaded

        serializer = self.serializer
        assert isinstance(serializer, Manifest)
        dataset = serializer.dataset(loaded(value))
        # What says that it is done is the manifest. It has been written when the readme takes the place of an earlier
        # one, so that on a full disk both are what they were.
        text, beside = readme_text(dataset).encode(), self.path.removesuffix(MANIFEST) + README
        written = self._write(dataset, lambda: self.storage.put(beside, lambda file: file.write(text)))
        members = dict.fromkeys(record for row in dataset.rows for record in row.records)
        current_run().record(
            "dataset",
            dataset.name,
            uri=written.uri,
            digest=dataset.version,
            derived_from=list(members),
            tags={"members": len(dataset), "columns": ", ".join(dataset.columns)},
        )
        return written

    def lazy(self, written: Written, *, value: tuple[Any, ...] = (), **about: Any) -> Any:
        """Give the dataset, which is what is read, also of rows that were just written.

        Parameters
        ----------
        written : Written
            Of the manifest.
        value : tuple of object
            The rows, if any.
        **about
            As for any target.

        Returns
        -------
        Lazy
            Of the :class:`Dataset`.
        """
        return super().lazy(written, **about)


@dataclass(frozen=True)
class DatasetResult(Result):
    """Where a task's table of results goes, as a dataset: a manifest and a readme.

    The task returns rows: a list of mappings, a mapping of columns, or a table. What tasks have returned stands in
    the columns of files as it is; so may paths.

    Parameters
    ----------
    url : str
        Name of the dataset; its folder is called so.
    readme : str
        What it is, as Markdown.
    file_columns : sequence of str
        Columns of files.
    metadata_columns : sequence of str, optional
        The others; by default all that the first row has.
    within : str or path
        Directory or url that its folder lies in.

    Raises
    ------
    InvalidInputError
        If one of them is something else.

    Examples
    --------
    >>> DatasetResult("cells", readme="Cells.", file_columns=["image"]).at("", {}).path
    'cells/manifest.parquet'
    """

    readme: str = field(default="", kw_only=True)
    file_columns: Sequence[str] = field(default=(), kw_only=True)
    metadata_columns: Sequence[str] | None = field(default=None, kw_only=True)
    within: str | os.PathLike[str] = field(default="datasets", kw_only=True)

    def __post_init__(self) -> None:
        """Check what was given.

        Raises
        ------
        InvalidInputError
            If something is wrong.
        """
        if self.serializer is not None:
            raise InvalidInputError(f"dataset {self.url} has a manifest, and no serializer=")
        if not isinstance(self.url, str) or "/" in self.url:
            raise InvalidInputError(f"a dataset's name is a text without a slash, not {self.url!r}")
        check_path(self.url, self.url)
        if not isinstance(self.readme, str) or not self.readme.strip():
            raise InvalidInputError(f"dataset {self.url} has no readme=: say in a sentence what it is")
        columns = Columns(
            _names("file_columns", self.file_columns),
            None if self.metadata_columns is None else _names("metadata_columns", self.metadata_columns),
        )
        both = [*columns.files, *(columns.metadata or ())]
        if not columns.files or len(set(both)) < len(both):
            raise InvalidInputError(f"dataset {self.url} has file_columns=, at least one, and each column once: {both}")
        scheme, colon, _ = str(self.within).partition("://")
        reach = Reach(f"{scheme}://" if colon else "", dict(self.options))
        object.__setattr__(self, "serializer", Manifest(self.url, self.readme, columns, reach))
        super().__post_init__()

    def _place(self) -> str | os.PathLike[str]:
        return self.within

    def at(self, target: TargetName, arguments: Mapping[str, object]) -> Target:
        """Say where the manifest lies.

        Parameters
        ----------
        target : str or callable
            Name of the folder; empty for the dataset's name.
        arguments : mapping of str to object
            Of the call.

        Returns
        -------
        Target
            Of the manifest.

        Raises
        ------
        InvalidInputError
            If the target cannot be made, or leads out of the directory.
        MissingExtraError
            If a package is not installed.
        """
        assert isinstance(self.url, str)
        folder = self.url if target == "" else path_of(target, arguments)
        made = self._target(f"{folder}/{MANIFEST}")
        return DatasetTarget(made.storage, made.path, made.serializer, made.verify)

    def default(self, task: str, key: str) -> Target:
        """Say where the manifest lies of a call that was given no target.

        Parameters
        ----------
        task, key : str
            Of the call.

        Returns
        -------
        Target
            In the folder of the dataset's name.

        Raises
        ------
        MissingExtraError
            If a package is not installed.
        """
        return self.at("", {})


def _names(said: str, given: object) -> tuple[str, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise InvalidInputError(f"{said}= is a list of names, not {given!r}")
    for name in given:
        if not isinstance(name, str) or not name or "." in name:
            raise InvalidInputError(f"{said}= has names without a dot, not {name!r}")
    return tuple(given)

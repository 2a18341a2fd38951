"""Datasets as Quilt packages: manifests that ``quilt3`` reads, in a registry that is a directory or a bucket.

Nothing of Quilt is needed here: a package is a file of JSON lines, and its name is a file with the digest of that.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from braid_hpc.results.dataset import MANIFEST, README, Dataset, DatasetResult, DatasetTarget, Manifest
from braid_hpc.results.export import export_dataset, folder_at, names_in
from braid_hpc.results.lazy import loaded
from braid_hpc.results.local import LocalStorage
from braid_hpc.results.members import File, Options, Row, place_of
from braid_hpc.results.result import Target
from braid_hpc.results.storage import Storage
from braid_hpc.results.targets import TargetName
from braid_hpc.results.texts import Raw
from braid_hpc.results.written import Written
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError

__all__ = ["QuiltDatasetResult", "export_package", "open_package"]

#: What Quilt takes for the name of a package.
_NAME = re.compile(r"[\w-]+/[\w-]+")

#: Where its metadata say what is ours.
_OURS = "braid_hpc"


@dataclass(frozen=True, slots=True)
class QuiltTarget(DatasetTarget):
    """The manifest of a dataset, the readme beside it, and a package of both with all members.

    Attributes
    ----------
    registry : Storage
        Where packages are registered.
    package : str
        Name of the package.
    options : mapping, optional
        For fsspec.
    """

    registry: Storage = field(default=LocalStorage("."), kw_only=True)
    package: str = field(default="", kw_only=True)
    options: Options | None = field(default=None, kw_only=True, repr=False)

    def write(self, value: Any) -> Written:
        """Write manifest and readme, register the package, and declare the dataset with its members.

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
            If something is wrong with a row, or a file lies where Quilt reads none; nothing is written then.
        NotFoundError
            If a file is missing; nothing is written then.
        ConflictError
            If a file is not that of its row.
        StorageError
            If the place refuses.
        """
        serializer = self.serializer
        assert isinstance(serializer, Manifest)
        dataset = serializer.dataset(loaded(value))
        _check_columns(dataset)
        for number, column, file in dataset.files():
            _physical(file.uri, f"row {number}, column {column}")
        entries = list(_entries(dataset, self.options))
        # Without its pointer a package is not there, so that one whose manifest could not be written is not either.
        written = DatasetTarget.write(self, dataset)
        folder = self.path.removesuffix(MANIFEST)
        entries += [_beside(self.storage, f"{folder}{name}", name) for name in (README, MANIFEST)]
        _register(self.registry, self.package, _about(dataset), entries)
        return written


@dataclass(frozen=True)
class QuiltDatasetResult(DatasetResult):
    """Where a task's table of results goes, as a dataset that is a Quilt package too.

    What :class:`~braid_hpc.results.DatasetResult` writes, with a package of it in the registry that `within` names:
    ``quilt3.Package.browse("braid/cells", registry=...)``. Files stay where they are.

    Parameters
    ----------
    url, readme, file_columns, metadata_columns, within
        As for :class:`~braid_hpc.results.DatasetResult`; `within` is a directory, or a url of S3.
    namespace : str
        What stands before the slash in the name of the package.

    Raises
    ------
    InvalidInputError
        If one of them is something else, or Quilt takes no such name.

    Examples
    --------
    >>> QuiltDatasetResult("cells", readme="Cells.", file_columns=["image"]).package
    'braid/cells'
    """

    namespace: str = field(default="braid", kw_only=True)

    def __post_init__(self) -> None:
        """Check what was given.

        Raises
        ------
        InvalidInputError
            If something is wrong.
        """
        super().__post_init__()
        _check_name(self.package)
        _physical(self.storage.uri(MANIFEST), f"within={self.within}")

    @property
    def package(self) -> str:
        """Name of the package."""
        return f"{self.namespace}/{self.url}"

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
        made = super().at(target, arguments)
        return QuiltTarget(
            made.storage,
            made.path,
            made.serializer,
            made.verify,
            registry=made.storage,
            package=self.package,
            options=dict(self.options) or None,
        )


def export_package(
    dataset: Dataset, registry: str | os.PathLike[str], package: str, *, options: Options | None = None, **about: Any
) -> Dataset:
    """Copy a dataset into a Quilt registry, as ``quilt3`` pushes a package.

    Parameters
    ----------
    dataset : Dataset
        What is copied, into the folder of the package's name below the registry.
    registry : path or url
        A directory, or a bucket of S3.
    package : str
        Name of the package: ``lab/cells``.
    options : mapping, optional
        For fsspec.
    **about
        As for :func:`braid_hpc.results.export.export_dataset`.

    Returns
    -------
    Dataset
        That of the registry.

    Raises
    ------
    ConflictError
        If the folder is there, or a file is not that of the manifest.
    InvalidInputError
        If Quilt takes no such name, or reads nothing there.
    NotFoundError
        If a file is missing.
    StorageError
        If a file cannot be read or written.
    """
    _check_name(package)
    _check_columns(dataset)
    storage = folder_at(registry, options)
    _physical(storage.uri(MANIFEST), f"registry {os.fspath(registry)}")
    exported = export_dataset(dataset, f"{os.fspath(registry)}/{package}", options=options, **about)
    entries = list(_entries(exported, options))
    entries += [_beside(storage, f"{package}/{name}", name) for name in (README, MANIFEST)]
    _register(storage, package, _about(exported), entries)
    return exported


def open_package(
    registry: str | os.PathLike[str], package: str, *, top_hash: str | None = None, options: Options | None = None
) -> Dataset:
    """Open a dataset that is a Quilt package.

    Parameters
    ----------
    registry : path or url
        Where it is registered.
    package : str
        Its name: ``braid/cells``.
    top_hash : str, optional
        Which of its revisions; by default the latest.
    options : mapping, optional
        For fsspec.

    Returns
    -------
    Dataset
        The same rows as its manifest has.

    Raises
    ------
    NotFoundError
        If there is no such package.
    InvalidInputError
        If it is no package of a dataset, or its lines are not those of its top hash.
    """
    _check_name(package)
    storage = folder_at(registry, options)
    storage.ready()
    chosen = top_hash or _read(storage, f".quilt/named_packages/{package}/latest").decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", chosen):
        raise InvalidInputError(f"{chosen!r} is no top hash of a package: it has 64 hexadecimal digits")
    try:
        about, *entries = [json.loads(line) for line in _read(storage, f".quilt/packages/{chosen}").splitlines()]
        if top_hash_of(about, entries) != chosen:
            raise InvalidInputError(f"the lines of package {package} are not those of its top hash {chosen}")
        return _dataset(about["user_meta"], entries)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"package {package} is not that of a dataset: {type(error).__name__} {error}"
        ) from error


def top_hash_of(about: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> str:
    """Give the digest that Quilt knows a package by.

    Parameters
    ----------
    about : mapping
        First line of its manifest.
    entries : iterable of mappings
        The other lines.

    Returns
    -------
    str
        64 hexadecimal digits. Where files are does not count.
    """
    digest = hashlib.sha256()
    encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
    digest.update(encode(about).encode())
    for entry in sorted(entries, key=lambda each: str(each["logical_key"])):
        digest.update(encode({name: entry[name] for name in ("hash", "logical_key", "meta", "size")}).encode())
    return digest.hexdigest()


def _check_name(package: str) -> None:
    if not isinstance(package, str) or not _NAME.fullmatch(package):
        raise InvalidInputError(
            f"Quilt takes no package {package!r}: two words with a slash between, such as lab/cells"
        )


def _check_columns(dataset: Dataset) -> None:
    if _OURS in dataset.columns[len(dataset.file_columns) :]:
        raise InvalidInputError(
            f"dataset {dataset.name} has a column {_OURS}, which packages keep for themselves: rename it"
        )


def _physical(uri: str, said: str) -> str:
    """Give the name of a file as Quilt has it."""
    scheme, colon, rest = uri.partition("://")
    if colon and scheme == "file":
        return uri
    if colon and scheme == "s3":
        return f"s3://{quote(rest)}"
    raise InvalidInputError(f"{said}: Quilt reads files of this machine and of S3, and not {uri}")


def _about(dataset: Dataset) -> dict[str, Any]:
    said = {
        "name": dataset.name,
        "readme": dataset.readme,
        "file_columns": list(dataset.file_columns),
        "metadata_columns": list(dataset.columns[len(dataset.file_columns) :]),
        "version": dataset.version,
    }
    return {"version": "v0", "message": None, "user_meta": {_OURS: said}}


def _entries(dataset: Dataset, options: Options | None) -> Iterable[dict[str, Any]]:
    """Give the lines of all members, each with the digest that Quilt wants, having read the file."""
    names = names_in(dataset)
    for number, column, file in dataset.files():
        said = f"row {number}, column {column}"
        storage, path = place_of(file.uri, options)
        sha, size, digest = _digests(storage, path)
        if (size, digest) != (file.size, file.digest):
            raise ConflictError(f"{said}: {file.uri} is not the file of the manifest: run its task again")
        plain, odd = _plain(dataset.rows[number].metadata)
        ours = {"row": number, "column": column, "digest": digest, "content": file.content, "odd": odd}
        ours["media_type"] = file.media_type
        yield _entry(names[number, column], _physical(file.uri, said), size, sha, {**plain, _OURS: ours})


def _beside(storage: Storage, path: str, name: str) -> dict[str, Any]:
    sha, size, _ = _digests(storage, path)
    return _entry(name, _physical(storage.uri(path), name), size, sha, {})


def _entry(key: str, physical: str, size: int, sha: str, meta: dict[str, Any]) -> dict[str, Any]:
    return {
        "logical_key": key,
        "physical_keys": [physical],
        "size": size,
        "hash": {"type": "SHA256", "value": sha},
        "meta": {"user_meta": meta} if meta else {},
    }


def _digests(storage: Storage, path: str) -> tuple[str, int, str]:
    from blake3 import blake3

    sha, other, size = hashlib.sha256(), blake3(), 0
    with storage.open(path) as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
            other.update(chunk)
            size += len(chunk)
    return sha.hexdigest(), size, f"blake3:{other.hexdigest()}"


def _plain(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Give what JSON has, and apart what it has not."""
    odd = {
        name: str(value) for name, value in metadata.items() if isinstance(value, float) and not math.isfinite(value)
    }
    return {name: None if name in odd else value for name, value in metadata.items()}, odd


def _register(storage: Storage, package: str, about: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    """Write the manifest of a package, and then the names that lead to it."""
    entries = sorted(entries, key=lambda entry: str(entry["logical_key"]))
    top_hash = top_hash_of(about, entries)
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    text = "".join(f"{encode(line)}\n" for line in (about, *entries)).encode()

    def put(path: str, data: bytes) -> None:
        def fill(file: BinaryIO) -> None:
            file.write(data)

        storage.put(path, fill)

    put(f".quilt/packages/{top_hash}", text)
    for pointer in (str(int(time.time())), "latest"):
        put(f".quilt/named_packages/{package}/{pointer}", top_hash.encode())


def _read(storage: Storage, path: str) -> bytes:
    data: bytes = Target(storage, path, Raw()).read()
    return data


def _dataset(about: dict[str, Any], entries: list[dict[str, Any]]) -> Dataset:
    said = about[_OURS]
    files: dict[int, dict[str, File]] = {}
    metadata: dict[int, dict[str, Any]] = {}
    for entry in entries:
        meta = dict(entry["meta"].get("user_meta", {}))
        if (ours := meta.pop(_OURS, None)) is None:
            continue
        uri = entry["physical_keys"][0]
        name, number = str(ours["column"]), int(ours["row"])
        file = File(uri if uri.startswith("file:") else unquote(uri), entry["size"], ours["digest"])
        file = replace(file, content=ours["content"], media_type=ours["media_type"])
        files.setdefault(number, {})[name] = file
        metadata[number] = meta | {key: float(value) for key, value in ours["odd"].items()}
    rows = tuple(
        Row(
            {name: files[number][name] for name in said["file_columns"]},
            {name: metadata[number][name] for name in said["metadata_columns"]},
            (),
        )
        for number in sorted(files)
    )
    made = Dataset(said["name"], rows, said["readme"], tuple(said["file_columns"]))
    if made.version != said["version"]:
        raise InvalidInputError(f"the members of dataset {made.name} are not those of its version {said['version']}")
    return made

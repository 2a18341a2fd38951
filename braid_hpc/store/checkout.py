"""From a version back to files: what was recorded of it, verified, under names of its own."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from braid_hpc.run.contents import local_path
from braid_hpc.store.archives import write_npy, write_npz
from braid_hpc.store.arrays import StoredArray, find_array
from braid_hpc.store.placing import aside_of, publish
from braid_hpc.store.resolve import Node
from braid_hpc.store.states import StoredModel, find_model
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from braid_hpc.vocabulary.identity import content_of_file

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["CheckedOut", "WrittenFile", "checkout"]

_CHUNK = 1 << 20

#: Longer names of files are cut, with an id behind them.
_LONGEST = 180


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that was brought back.

    Attributes
    ----------
    path : Path
        Absolute.
    digest : str
        ``"blake3:<hex>"`` of the file's bytes.
    size : int
        Bytes.
    source : str
        Where they came from: the uri of the file that was recorded, or ``store``.
    content : str
        Digest of the version's content, which they were verified by.
    weak : bool
        Whether that content is only size, time and inode of a large file: they still agree, which proves little.
    already : bool
        Whether the file was there before, with these bytes.
    """

    path: Path
    digest: str
    size: int
    source: str
    content: str
    weak: bool = False
    already: bool = False


@dataclass(frozen=True, slots=True)
class CheckedOut:
    """What :meth:`braid_hpc.Store.checkout` wrote.

    Attributes
    ----------
    ref : str
        Reference of the version.
    uid : str
        Its global id.
    into : Path
        The directory, absolute.
    files : tuple of WrittenFile
        One, today.
    """

    ref: str
    uid: str
    into: Path
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True, slots=True)
class _Content:
    """What is recorded of a version."""

    digest: str | None
    weak: bool
    uris: list[str]


def checkout(store: Store, node: Node, into: str | os.PathLike[str]) -> CheckedOut:
    """Write the content of a version into a directory.

    Parameters
    ----------
    store : Store
        Open.
    node : Node
        The version.
    into : path-like
        The directory; made if it is not there.

    Returns
    -------
    CheckedOut
        What was written.

    Raises
    ------
    NotFoundError
        If the bytes are not there.
    CorruptLogError
        If recorded bytes do not carry their digest.
    ConflictError
        If another file has that name there.
    InvalidInputError
        If `node` is an activity, or `into` no path.
    StorageError
        If nothing can be written there.
    """
    if not isinstance(into, (str, os.PathLike)) or "\0" in str(into):
        raise InvalidInputError(f"into={into!r} is not the path of a directory")
    folder = Path(os.fspath(into)).absolute()
    if node.kind == "activity":
        raise InvalidInputError(f"{node.ref} is an activity, which has no bytes: name a record")
    model = find_model(store._connected, store._arrays, node)
    content = _content(store, node)
    if model.has_state:
        # Before anything is written: a large state takes its time.
        arrays = model.arrays()
        target = folder / f"{_name(node)}.npz"
        written = _place(target, content, "store", lambda file: write_npz(file, node.ref, arrays))
    elif (array := _array(store, node)) is not None:
        stored = array
        written = _place(folder / f"{_name(node)}.npy", content, "store", lambda file: write_npy(file, stored))
    else:
        written = _bring_file(folder, node, content, model)
    return CheckedOut(node.ref, node.uid, folder, (written,))


def _content(store: Store, node: Node) -> _Content:
    (row,) = store.sql("select digest, weak from versions where id = ?", [node.id])
    uris = store.sql("select uri from uris where id = ? order by position, uri", [node.id])["uri"]
    if row["weak"]:
        late = store.sql("select digest from inspections where id = ? and state = 'verified'", [node.id])["digest"]
        if late:
            return _Content(late[0], False, uris)
    return _Content(row["digest"], row["weak"], uris)


def _array(store: Store, node: Node) -> StoredArray | None:
    there = store.sql(
        "select 1 from versions v join array_rows a on a.digest = v.digest where v.id = ? limit 1", [node.id]
    )
    return find_array(store._connected, store._arrays, node.ref, node.id) if len(there) else None


def _name(node: Node) -> str:
    """Return what a file of a version is called: nothing in a record's name leads out of the directory."""
    name = quote(node.name, safe=" !#$&'()+,;=@[]^{}~")
    name = re.sub(r"^\.", "%2E", name)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{node.uid[:12]}"
    return f"{name}@{node.version}"


# ------------------------------------------------------------------ files


def _bring_file(folder: Path, node: Node, content: _Content, model: StoredModel) -> WrittenFile:
    """Bring back bytes: from where they were, else from the store."""
    if content.digest is None:
        raise NotFoundError(f"the bytes of {node.ref} are not there: it was declared without a content")
    reasons: list[str] = []
    named: Path | None = None
    for uri in content.uris:
        path = local_path(uri)
        if path is None:
            reasons.append(f"{uri} is not a file of this machine")
            continue
        named = named or path
        try:
            return _place(folder / _plain(path, node), content, uri, _copier(path, content))
        except _OtherBytesError as error:
            reasons.append(str(error))
    if model.has_bytes:
        data = model.data()
        name = _plain(named, node) if named is not None else _name(node)
        return _place(folder / name, content, "store", lambda file: _write_all(file, data))
    reasons.append("they were not recorded" if reasons else "neither they nor their place were recorded")
    raise NotFoundError(f"the bytes of {node.ref} are not there: {'; '.join(reasons)}")


def _plain(path: Path, node: Node) -> str:
    return path.name if path.name not in ("", ".", "..") else _name(node)


class _OtherBytesError(Exception):
    """A file is not there, or is not what it was."""


def _copier(path: Path, content: _Content) -> Callable[[IO[bytes]], None]:
    assert content.digest is not None
    digest = content.digest
    hasher = None if content.weak else _hasher(digest)
    if hasher is None and not content.weak:
        raise _OtherBytesError(f"a digest {digest.partition(':')[0]!r} cannot be verified here")

    # Before anything is made: most files that are missing are missing now.
    if not path.is_file():
        raise _OtherBytesError(f"{path} is not there any more")

    def copy(file: IO[bytes]) -> None:
        try:
            source = path.open("rb")
        except OSError as error:
            raise _OtherBytesError(f"{path} cannot be read ({error.strerror})") from None
        with source:
            if content.weak and not _stands_in(os.fstat(source.fileno()), digest):
                raise _OtherBytesError(f"{path} is another file, or was changed")
            while chunk := _read(source, path):
                if hasher is not None:
                    hasher.update(chunk)
                file.write(chunk)
        if hasher is not None and hasher.hexdigest() != digest.partition(":")[2].lower():
            raise _OtherBytesError(f"{path} has other bytes now")

    return copy


def _read(source: IO[bytes], path: Path) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise _OtherBytesError(f"{path} cannot be read ({error.strerror})") from None


def _stands_in(stat: os.stat_result, digest: str) -> bool:
    return digest == f"stat:{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


def _hasher(digest: str) -> Any:
    """Return what computes digests of that algorithm; None where there is none."""
    algorithm = digest.partition(":")[0].lower()
    if algorithm == "blake3":
        from blake3 import blake3

        return blake3()
    if algorithm in hashlib.algorithms_available and not algorithm.startswith("shake"):
        return hashlib.new(algorithm, usedforsecurity=False)
    return None


def _write_all(file: IO[bytes], data: bytes) -> None:
    file.write(data)


# ------------------------------------------------------------------ writing


def _place(target: Path, content: _Content, source: str, write: Callable[[IO[bytes]], None]) -> WrittenFile:
    """Write a file under another name, and give it its own when it is complete."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside_of(target) as aside:
            with aside.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            with aside.open("rb") as file:
                whole = content_of_file(file)
            already = not publish(aside, target, whole.digest)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{target} cannot be written ({error.strerror or error})") from error
    return WrittenFile(target, whole.digest, whole.size or 0, source, content.digest or "", content.weak, already)

"""Copies of the files that scans, runs and versions refer to, for a job somewhere else."""

from __future__ import annotations

import fcntl
import json
import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from braid_hpc.assets.copying import clear_parts, copy_file, digest_of
from braid_hpc.assets.opened import check_unchanged
from braid_hpc.assets.paths import Place, RootMap, place_of, plain_root
from braid_hpc.assets.wanted import Wanted, WantedFile, wanted_of
from braid_hpc.store.placing import aside_of, publish
from braid_hpc.vocabulary.errors import BraidError, ConflictError, InvalidInputError, NotFoundError, StorageError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["FILES", "MANIFEST", "ROOT_MAP", "Staged", "StagedFile", "stage"]

#: What lies in a staging directory: copies under their old paths, documents that name the copies, and two lists.
FILES, DOCUMENTS, ROOT_MAP, MANIFEST = "files", "documents", "root-map.json", "stage.json"


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that was staged.

    Attributes
    ----------
    source : Path
        Where it is.
    path : Path
        The copy.
    size : int
        Bytes.
    digest : str
        ``blake3:<hex>`` of both.
    refs : tuple of str
        What it belongs to.
    verified : bool
        Whether something was recorded of its content, which it still has.
    already : bool
        Whether the copy was there before.
    """

    source: Path
    path: Path
    size: int
    digest: str
    refs: tuple[str, ...]
    verified: bool
    already: bool


@dataclass(frozen=True, slots=True)
class Staged:
    """What :func:`stage` wrote.

    Attributes
    ----------
    to : Path
        The directory, absolute.
    files : tuple of StagedFile
        By their paths.
    root_map : dict of str to str
        Where the files lie that were there: what ``root-map.json`` has.
    documents : dict of str to Path
        Of each scan, by its uid, documents that name the copies.
    left : tuple of str
        Sentences on what has no file of this machine, among what was found by lineage or in a run.
    """

    to: Path
    files: tuple[StagedFile, ...]
    root_map: dict[str, str]
    documents: dict[str, Path]
    left: tuple[str, ...] = ()


def stage(
    store: Store,
    refs: str | Iterable[str],
    to: str | os.PathLike[str],
    *,
    up: bool = False,
    root_map: Mapping[str, Any] | None = None,
    at: int | None = None,
    as_of: Any = None,
) -> Staged:
    """Copy the files that scans, runs and versions refer to into a directory.

    Each copy is written under another name, read back, and gets its own name when it has the digest of its source;
    a source has to have what was recorded of it. What is there already is not copied again, so that the same call goes
    on where one was killed; no other file is ever replaced.

    Parameters
    ----------
    store : Store
        Open.
    refs : str or iterable of str
        Scans (``scan:<uid>``, or a uid or its beginning), runs (``run:<id>``: what they made), and versions.
    to : path-like
        The directory; made if it is not there. Copies lie in ``files`` under the paths they had, so that no two of
        them have one name; ``root-map.json`` is a root map of them, ``documents/<uid>.jsonl`` has the documents of
        each scan with the places of the copies, and ``stage.json`` lists copies with size and digest.
    up : bool
        Whether what fed them is copied too.
    root_map : mapping of str to path-like, optional
        Where the files lie today, as for :class:`~braid_hpc.assets.Filler`.
    at : int, optional
        A snapshot number: what the store knew then.
    as_of : datetime, str or int, optional
        A time: what had been recorded by then.

    Returns
    -------
    Staged
        What is there now.

    Raises
    ------
    NotFoundError
        If there is no such thing, or a file is not there; nothing was copied then.
    ConflictError
        If a file has other bytes than were recorded, or another file has the name of a copy.
    InvalidInputError
        If something that is named has no file, or `to` is no directory.
    StorageError
        If something cannot be read or written, or there is too little space.
    MissingExtraError
        If a package is not installed that knows which files belong to a resource.
    """
    if not isinstance(to, (str, os.PathLike)) or "\0" in str(to):
        raise InvalidInputError(f"to={to!r} is not the path of a directory")
    folder = Path(os.fspath(to)).absolute()
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is no directory")
    named = [refs] if isinstance(refs, str) else list(refs)
    wanted = wanted_of(store, named, up=up, roots=RootMap(root_map), at=at, as_of=as_of)
    files = [wanted.files[path] for path in sorted(wanted.files)]
    _check_there(files)
    known = _read_manifest(folder)
    targets = [folder / FILES / os.path.normpath("/" + each.recorded.lstrip("/"))[1:] for each in files]
    _check_space(folder, files, targets)
    clear_parts({target.parent for target in targets} | {folder, folder / DOCUMENTS})
    staged = tuple(_copied(file, target) for file, target in zip(files, targets, strict=True))
    roots = {root: str(folder / FILES / plain_root(root).lstrip("/")) for root in sorted(set(wanted.roots))}
    documents = _write_documents(folder, wanted, known, RootMap(roots))
    _write_lists(folder, staged, roots, documents, known)
    return Staged(folder, staged, roots, documents, tuple(wanted.left))


def _check_there(files: list[WantedFile]) -> None:
    gone = [each for each in files if not os.path.isfile(each.path)]
    if not files:
        raise NotFoundError("there is no file to be staged: nothing that is named refers to any")
    if gone:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        shown = ", ".join(f"{each.path} of {each.refs[0]}" for each in gone[:3])
        raise NotFoundError(f"{len(gone)} of {len(files)} files are not there, nothing was copied: {shown}{more}")


def _check_space(folder: Path, files: list[WantedFile], targets: list[Path]) -> None:
    needed = sum(os.path.getsize(file.path) for file, target in zip(files, targets, strict=True) if not target.exists())
    there = folder
    while not there.exists():
        there = there.parent
    state = os.statvfs(there)
    free = state.f_bavail * state.f_frsize
    if needed > free:
        raise StorageError(f"there is too little space in {folder}: {needed:,} bytes are needed, {free:,} are free")


def _copied(file: WantedFile, target: Path) -> StagedFile:
    digests = {each.digest for each in file.known if each.digest is not None}
    (only,) = digests if len(digests) == 1 else ("",)
    # One digest is compared while copying; anything else needs a look at the file of its own.
    digest = only if only.startswith("blake3:") else None
    if digests and digest is None:
        check_unchanged(Place(file.path, file.recorded, file.mapped), file.known)
    try:
        found, size, already = copy_file(Path(file.path), target, digest=digest)
    except BraidError as error:
        raise type(error)(f"{', '.join(file.refs)} cannot be staged: {error}") from error
    return StagedFile(Path(file.path), target, size, found, tuple(file.refs), bool(digests), already)


# ------------------------------------------------------------------ what lies beside the copies


def _write_documents(folder: Path, wanted: Wanted, known: dict[str, Any], roots: RootMap) -> dict[str, Path]:
    written = {}
    for uid, documents in sorted(wanted.documents.items()):
        path = folder / DOCUMENTS / f"{_file_name(uid)}.jsonl"
        lines = (
            json.dumps([name, _moved(name, document, roots)], default=_plain, ensure_ascii=False) + "\n"
            for name, document in documents
        )
        _replace(path, lines, known.get(str(path.relative_to(folder))))
        written[uid] = path
    return written


def _file_name(uid: str) -> str:
    name = quote(uid, safe=" !#$&'()+,;=@[]^{}~")
    return f"%2E{name[1:]}" if name.startswith(".") else name[:200]


def _moved(name: str, document: dict[str, Any], roots: RootMap) -> dict[str, Any]:
    """Return a document whose place is that of the copy."""
    if name not in ("resource", "stream_resource"):
        return document
    place = place_of(document, roots)
    if isinstance(document.get("uri"), str) and document["uri"]:
        slash = "/" if document["uri"].endswith("/") and not place.path.endswith("/") else ""
        return {**document, "uri": f"file://localhost{quote(place.path)}{slash}"}
    root = document.get("root")
    if isinstance(root, str) and root:
        today = str(roots.apply(plain_root(root)))
        inside = posixpath.relpath(place.path, today)
        return {**document, "root": today, "resource_path": inside, "path_semantics": "posix"}
    return {**document, "resource_path": place.path, "path_semantics": "posix"}


def _plain(value: Any) -> Any:
    """Return what JSON can say of a value that it has no form for."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, complex):
        return [value.real, value.imag]
    return str(value)


def _write_lists(
    folder: Path,
    staged: tuple[StagedFile, ...],
    roots: dict[str, str],
    documents: dict[str, Path],
    known: dict[str, Any],
) -> None:
    before = json.loads((folder / ROOT_MAP).read_text()) if ROOT_MAP in known else {}
    lines = [json.dumps({**before, **roots}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"]
    _replace(folder / ROOT_MAP, lines, known.get(ROOT_MAP))
    files = {each["path"]: each for each in known.get("", {}).get("files", [])}
    for each in staged:
        about = {"source": str(each.source), "size": each.size, "digest": each.digest, "refs": list(each.refs)}
        path = str(each.path.relative_to(folder))
        files[path] = {"path": path, **about}
    ours = dict(known.get("", {}).get("written", {}))
    for written in (folder / ROOT_MAP, *documents.values()):
        ours[str(written.relative_to(folder))] = digest_of(written)
    whole = {"format": "braid stage 1", "files": [files[path] for path in sorted(files)], "written": ours}
    text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    _replace(folder / MANIFEST, [text], digest_of(folder / MANIFEST) if known else None)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return what an earlier call wrote: digests by name, and under "" the whole list."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        if found["format"] != "braid stage 1":
            raise ValueError(found["format"])
        return {**found["written"], "": found}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConflictError(f"{path} is not a list that staging wrote: choose another directory") from error


def _replace(path: Path, lines: Iterable[str], ours: str | None) -> None:
    """Write a file, in place of one of ours that nobody changed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside_of(path) as aside:
            with aside.open("x", encoding="utf-8", errors="surrogateescape") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            if ours is not None and path.is_file() and digest_of(path) == ours:
                os.replace(aside, path)
            else:
                publish(aside, path, digest_of(aside))
    except OSError as error:
        if isinstance(error, BraidError):
            raise
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error

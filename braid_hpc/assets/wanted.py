"""Which files belong to what is named: scans, runs, versions, and what fed them."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.assets.opened import Opened, recorded_of, told
from braid_hpc.assets.paths import Place, RootMap, place_of
from braid_hpc.assets.references import References
from braid_hpc.assets.registry import Readers
from braid_hpc.assets.rows import StreamRows
from braid_hpc.store.documents import Documents
from braid_hpc.store.recorded_files import RecordedFile
from braid_hpc.store.runs import RUN_PREFIX, resolve_run
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["Wanted", "WantedFile", "wanted_of"]

_SCAN = "scan:"


@dataclass(slots=True)
class WantedFile:
    """A file that is to be staged.

    Attributes
    ----------
    path : str
        Where it is.
    recorded : str
        Its path as it was recorded; another one if a root map is used.
    refs : list of str
        What it belongs to.
    known : list of RecordedFile
        What was recorded of it.
    mapped : bool
        Whether a root map says where it is.
    """

    path: str
    recorded: str
    refs: list[str] = field(default_factory=list)
    known: list[RecordedFile] = field(default_factory=list)
    mapped: bool = False


@dataclass(slots=True)
class Wanted:
    """What is to be staged.

    Attributes
    ----------
    files : dict of str to WantedFile
        By their recorded path.
    roots : list of str
        Directories as they were recorded, as documents and uris name them.
    documents : dict of str to Documents
        Of the scans, by uid.
    left : list of str
        Sentences on what has no file of this machine, and was not named itself.
    """

    files: dict[str, WantedFile] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    documents: dict[str, Documents] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    covered: set[str] = field(default_factory=set)

    def add(self, ref: str, place: Place, paths: Iterable[str], known: list[RecordedFile]) -> None:
        """Take files of one place.

        Parameters
        ----------
        ref : str
            What they belong to.
        place : Place
            What documents or a uri name.
        paths : iterable of str
            The files, as they lie today.
        known : list of RecordedFile
            What was recorded of the file at the place itself.
        """
        self.covered.add(place.recorded)
        for path in paths:
            before = _before(path, place)
            file = self.files.setdefault(before, WantedFile(path, before, mapped=place.mapped))
            if ref not in file.refs:
                file.refs.append(ref)
            if path == place.path:
                file.known += [each for each in known if each not in file.known]


def _before(path: str, place: Place) -> str:
    """Return where a file was when the place was recorded."""
    path = os.path.normpath(path)
    if not place.mapped:
        return path
    # Of a stem of names the files lie beside it.
    for today, then in ((place.path, place.recorded), (os.path.dirname(place.path), os.path.dirname(place.recorded))):
        if path == today or path.startswith(today.rstrip("/") + "/"):
            return then + path[len(today.rstrip("/")) :]
    return path


def wanted_of(store: Store, refs: Iterable[str], *, up: bool, roots: RootMap, at: int | None, as_of: Any) -> Wanted:
    """Find the files of what is named.

    Parameters
    ----------
    store : Store
        Open.
    refs : iterable of str
        Scans (``scan:<uid>``, or the uid or its beginning), runs (``run:<id>``), versions.
    up : bool
        Whether what fed them is meant too.
    roots : RootMap
        What was moved.
    at, as_of
        The moment.

    Returns
    -------
    Wanted
        Nothing of it was read.

    Raises
    ------
    NotFoundError
        If there is no such thing, or a file is not there.
    ConflictError
        If a reference has several answers.
    InvalidInputError
        If something that is named has no file.
    StorageError, MissingExtraError
        If it cannot be found out which files a resource has.
    """
    wanted = Wanted()
    then = {"at": at, "as_of": as_of}
    named = [(ref, True) for ref in refs]
    if not named:
        raise InvalidInputError("nothing is named that is to be staged: name scans, runs or versions")
    scans: list[tuple[str, str]] = []
    versions: list[tuple[str, bool]] = []
    for ref, own in named:
        for kind, name in _resolved(store, ref, up, then):
            if kind == "scan":
                scans.append((ref, name))
            else:
                versions.append((name, own and not up and not ref.startswith(RUN_PREFIX)))
    for ref, uid in dict.fromkeys(scans):
        _add_scan(store, wanted, ref, uid, roots, then)
    for name, own in dict.fromkeys(versions):
        _add_version(store, wanted, name, roots, then, own=own)
    return wanted


def _resolved(store: Store, ref: str, up: bool, then: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield scans by uid and versions by reference."""
    if not isinstance(ref, str):
        raise InvalidInputError(f"what is to be staged is named by a text, not {ref!r}")
    if ref.startswith(RUN_PREFIX):
        yield from _of_run(store, ref, then)
        return
    try:
        node = store.get(ref, **then)
    except NotFoundError as error:
        # Scans are known by the beginning of their uid, too.
        try:
            yield "scan", store.documents(ref.removeprefix(_SCAN), **then).uid
        except NotFoundError:
            raise error from None
        return
    if not up:
        yield _thing(node.kind, node.name, node.ref)
        return
    for each in store.lineage(node.ref, **then).nodes:
        thing = _thing(each.kind, each.name, each.ref)
        if thing[0] == "scan" or each.kind != "activity":
            yield thing


def _of_run(store: Store, ref: str, then: dict[str, Any]) -> Iterator[tuple[str, str]]:
    moment = store._then(then["at"], then["as_of"])
    run = resolve_run(store._connected, ref, moment["at"])
    held = "snapshot <= $at and run = $run and epoch_ns({}) <= $as_of"
    activities = store.sql(
        f"select distinct name from activities where {held.format('begin_time')} and starts_with(name, 'scan:')",
        {"run": run, **moment},
    )
    for name in sorted(activities["name"]):
        yield "scan", name.removeprefix(_SCAN)
    rows = store.sql(
        "select distinct v.kind || ':' || v.name as plain, v.uid from versions v join uris u on u.id = v.id "
        "where v.snapshot <= $at and epoch_ns(v.time) <= $as_of and (v.run = $run or v.id in ("
        "select e.child from edges e join activities a on a.id = e.parent where a.run = $run "
        "and e.relation = 'wasGeneratedBy')) order by plain, uid",
        {"run": run, **moment},
    )
    for row in rows:
        yield "version", f"id:{row['uid']}"


def _thing(kind: str, name: str, ref: str) -> tuple[str, str]:
    if kind == "scan":
        return "scan", name
    if kind == "activity" and name.startswith(_SCAN):
        return "scan", name.removeprefix(_SCAN)
    return "version", ref


# ------------------------------------------------------------------ scans


def _add_scan(store: Store, wanted: Wanted, ref: str, uid: str, roots: RootMap, then: dict[str, Any]) -> None:
    documents = store.documents(uid, **then)
    wanted.documents[documents.uid] = documents
    references = References.of(documents)
    name = f"{_SCAN}{documents.uid}"
    opened = Opened(references, roots, Readers(), verify=False)
    try:
        for resource in (*references.resources.values(), *references.stream_resources.values()):
            streamed = resource.get("uid") in references.stream_resources
            try:
                place = place_of(resource, roots)
                paths = (_of_stream if streamed else _of_datums)(references, opened, resource, place)
            except BraidError as error:
                raise type(error)(f"{name} cannot be staged: {error}") from error
            wanted.add(name, place, paths, recorded_of(references, resource, place))
            root = resource.get("root") if not streamed else None
            wanted.roots.append(root if isinstance(root, str) and root else os.path.dirname(place.recorded))
    finally:
        opened.close()


def _of_datums(references: References, opened: Opened, resource: dict[str, Any], place: Place) -> list[str]:
    """Return the files of a resource: as its handler tells, else what is at its path."""
    datums = [each for each in references.datums.values() if each.get("resource") == resource.get("uid")]
    if os.path.isfile(place.path):
        return [place.path]
    handler = opened.handler(resource)
    tell = getattr(handler, "get_file_list", None)
    if callable(tell):
        with told(f"the reader of {place.path}"):
            found = [os.fspath(each) for each in tell([each.get("datum_kwargs") or {} for each in datums])]
        return list(dict.fromkeys(found))
    return list(_below(place.path))


def _of_stream(references: References, opened: Opened, resource: dict[str, Any], place: Place) -> list[str]:
    """Return the files of a stream resource: those that hold its rows."""
    if os.path.isfile(place.path):
        return [place.path]
    key = str(resource.get("data_key"))
    found: list[str] = []
    for uid, descriptor in references.descriptors.items():
        keys = descriptor.get("data_keys")
        about = keys.get(key) if isinstance(keys, Mapping) else None
        segments = [each for each in references.segments([uid], key) if each.resource == resource.get("uid")]
        rows = StreamRows(opened, references, segments, about, key=key, stream=str(descriptor.get("name")))
        for segment in segments:
            reader, per_event, _ = rows.layout(segment)
            end = segment.index + segment.stop - segment.first
            with told(f"the reader of {place.path}"):
                found += reader.files(segment.index * per_event, end * per_event)
    return list(dict.fromkeys(found))


def _below(path: str) -> Iterator[str]:
    """Yield the files of a directory."""
    if not os.path.isdir(path):
        raise NotFoundError(f"{path} is not there: if files were moved, say where they are with root_map=")

    def refuse(error: OSError) -> None:
        raise InvalidInputError(f"{error.filename} cannot be listed: {error.strerror}") from error

    for folder, folders, names in os.walk(path, onerror=refuse):
        for name in sorted((*folders, *names)):
            whole = os.path.join(folder, name)
            if name in folders:
                if os.path.islink(whole):
                    raise InvalidInputError(f"{whole} is a link to a directory: name what it points at")
                continue
            if not modes.S_ISREG(os.stat(whole).st_mode if os.path.exists(whole) else 0):
                raise InvalidInputError(f"{whole} is no regular file, so that {path} cannot be copied")
            yield whole
        folders.sort()


# ------------------------------------------------------------------ versions


def _known(store: Store, node: int, uri: str) -> list[RecordedFile]:
    """Return what is recorded of a version whose content is that of its file."""
    rows = store.sql(
        "select digest, size, weak from versions v where id = ? and digest is not null and (not weak or "
        "starts_with(digest, 'stat:')) and dtype is null and not exists (select 1 from array_rows a "
        "where a.digest = v.digest) and not exists (select 1 from tensors t where t.id = v.id)",
        [node],
    )
    return [RecordedFile(uri, row["digest"], row["size"], row["weak"], None) for row in rows]


def _add_version(store: Store, wanted: Wanted, name: str, roots: RootMap, then: dict[str, Any], *, own: bool) -> None:
    node = store.get(name, **then)
    uris = store.sql("select uri from uris where id = ? order by position, uri", [node.id])["uri"]
    reasons: list[str] = []
    for uri in uris:
        try:
            place = place_of({"uri": uri}, roots)
        except BraidError as error:
            reasons.append(str(error))
            continue
        if place.recorded in wanted.covered:
            # The file of a resource whose scan is staged.
            return
        if not os.path.lexists(place.path):
            reasons.append(f"{place.path} is not there")
            continue
        paths = [place.path] if os.path.isfile(place.path) else list(_below(place.path))
        wanted.add(node.ref, place, paths, _known(store, node.id, uri) if paths == [place.path] else [])
        wanted.roots.append(os.path.dirname(place.recorded))
        return
    if uris and not own and not any("is not there" in each for each in reasons):
        wanted.left.append(f"{node.ref} has no file of this machine: {'; '.join(reasons)}")
    elif uris:
        raise NotFoundError(f"{node.ref} cannot be staged: {'; '.join(reasons)}")
    elif own:
        raise InvalidInputError(f"{node.ref} has no uri, so that it is not known which files it has")

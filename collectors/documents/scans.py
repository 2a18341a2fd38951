"""What the documents of a Bluesky run mean for the graph: its activity, its settings, and its files."""

from __future__ import annotations

import contextvars
import posixpath
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.documents.people import ACCESS, groups_of, owners_of
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import parse_reference
from braid_hpc.vocabulary.settings import settings_digest, words_digest
from braid_hpc.vocabulary.verbatim import encode_words

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run

__all__ = ["MOST_SCANS", "ScanFailed", "Scans", "uri_of"]

#: Bluesky runs that are known at once, the files of each that become locations, and settings that are remembered.
MOST_SCANS = 1024
MOST_FILES = 10_000
MOST_SETTINGS = 4096

#: Tags of a scan, and characters of each.
MOST_TAGS = 200
LONGEST_TAG = 1000
#: Bytes of the settings of a device that stand in its record themselves; of larger ones the digest does.
LARGEST_VALUE = 64 << 10


class ScanFailed(Exception):
    """A Bluesky run ended otherwise than with success. It is never raised: an activity's end names it."""


@dataclass(slots=True)
class Scan:
    """What is remembered of a Bluesky run."""

    activity: Any = None
    record: Any = None
    settings: list[Any] = field(default_factory=list)
    files: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    stop: dict[str, Any] | None = None
    done: bool = False


class Scans:
    """The Bluesky runs that a collector has met, newest last.

    Parameters
    ----------
    run : Run
        The job they are recorded in.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._scans: OrderedDict[str, Scan] = OrderedDict()
        self._settings: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def start(self, document: dict[str, Any], digest: str) -> None:
        """Begin the activity of a Bluesky run, once.

        Parameters
        ----------
        document : dict
            Its start document.
        digest : str
            Of that document.
        """
        scan = self._scan(document.get("uid"))
        if scan is None or scan.activity is not None:
            return
        uid = document["uid"]
        tags = _tags(document)
        parents = _parents(document)
        scan.record = self._run.record("scan", uid, digest=digest, tags=tags, derived_from=parents or None)
        people = self._people(scan.record, document)
        used = [scan.record, *parents, *people, *scan.settings]
        scan.activity = self._run.activity(f"scan:{uid}", used=used, params=tags)
        if scan.stop is not None:
            self._end(scan)

    def _people(self, scan: Any, document: dict[str, Any]) -> list[Any]:
        """Declare whose a Bluesky run is, and which groups may see it; equal names are one version."""
        found = []
        groups = groups_of(document)
        if groups:
            found.append(self._known("fact", ACCESS, groups))
            for group in groups:
                if document.get(ACCESS) != group:
                    self._run.tag(scan, ACCESS, group)
        for kind, name in owners_of(document):
            found.append(self._known(kind, name, name))
        return found

    def _known(self, kind: str, name: str, value: Any) -> Any:
        """Declare something that has no content but its value, once; it was not made by what runs in this program."""
        digest = words_digest(encode_words(value)[0])
        key = (f"{kind}:{name}", digest)
        if (known := self._settings.get(key)) is None:
            declare = contextvars.Context().run
            known = declare(lambda: self._run.record(kind, name, digest=digest, value=value))
            self._remember(key, known)
        return known

    def _remember(self, key: tuple[str, str], record: Any) -> None:
        self._settings[key] = record
        if len(self._settings) > MOST_SETTINGS:
            self._settings.popitem(last=False)

    def descriptor(self, document: dict[str, Any]) -> None:
        """Declare the settings of the devices of a descriptor; equal ones are one version.

        Parameters
        ----------
        document : dict
            The descriptor.
        """
        settings = document.get("configuration")
        scan = self._scan(document.get("run_start"))
        if not isinstance(settings, dict):
            return
        for device, about in list(settings.items())[:MOST_FILES]:
            if type(device) is not str or not device or not isinstance(about, dict) or not about.get("data"):
                continue
            record = self._setting(device, about)
            if scan is not None and len(scan.settings) < MOST_FILES and record not in scan.settings:
                scan.settings.append(record)
                if scan.activity is not None:
                    scan.activity.use(record)

    def _setting(self, device: str, about: dict[str, Any]) -> Any:
        data = encode_words(about.get("data"))[0]
        digest = settings_digest(about)
        known = self._settings.get((device, digest))
        if known is None:
            value = _jsonable(about["data"]) if len(data) <= LARGEST_VALUE else None
            # What a device is set to was not made by what runs in this program.
            declare = contextvars.Context().run
            known = declare(lambda: self._run.record("config", device[:LONGEST_TAG], digest=digest, value=value))
            self._remember((device, digest), known)
        return known

    def resource(self, document: dict[str, Any]) -> None:
        """Remember where external data lie; they are looked at when the run has stopped and the files are complete.

        Parameters
        ----------
        document : dict
            A resource or a stream resource.
        """
        scan = self._scan(document.get("run_start"))
        uri, uid = uri_of(document), document.get("uid")
        if scan is None or uri is None or type(uid) is not str or len(scan.files) >= MOST_FILES:
            return
        said = {key: document.get(key) for key in ("spec", "mimetype", "data_key")}
        about = {key: value[:LONGEST_TAG] for key, value in said.items() if type(value) is str}
        scan.files[uid] = (uri, {"resource": uid[:LONGEST_TAG], **about})
        if scan.done:
            self._declare_files(scan)

    def stop(self, document: dict[str, Any]) -> None:
        """End the activity of a Bluesky run, if its beginning was here.

        Parameters
        ----------
        document : dict
            Its stop document.
        """
        scan = self._scan(document.get("run_start"))
        if scan is None or scan.stop is not None:
            return
        scan.stop = {key: document.get(key) for key in ("exit_status", "reason")}
        counts = document.get("num_events")
        scan.stop["num_events"] = counts if isinstance(counts, dict) else None
        if scan.activity is not None:
            self._end(scan)
        else:
            self._declare_files(scan)

    def close(self) -> None:
        """Declare the files of the runs that have not stopped; their activities stay unfinished."""
        for scan in self._scans.values():
            self._declare_files(scan)

    def _end(self, scan: Scan) -> None:
        self._declare_files(scan)
        said = scan.stop or {}
        status, reason = _tag(said.get("exit_status")), _tag(said.get("reason"))
        failed = None if status in ("success", None) else ScanFailed(f"{status}: {reason}"[:400])
        result = {"exit_status": status, **_tags({"num_events": said.get("num_events") or {}})}
        scan.activity.end(error=failed, result=result)
        scan.done = True

    def _declare_files(self, scan: Scan) -> None:
        declare = scan.activity.record if scan.activity is not None else self._run.record
        files, scan.files = scan.files, {}
        for uri, tags in files.values():
            declare("file", uri, uri=uri, tags=tags)

    def _scan(self, uid: Any) -> Scan | None:
        if type(uid) is not str or not 0 < len(uid) <= LONGEST_TAG:
            return None
        scan = self._scans.get(uid)
        if scan is None:
            scan = self._scans[uid] = Scan()
            if len(self._scans) > MOST_SCANS:
                # One that never stopped, most likely: its activity stays unfinished, which is true of it.
                self._declare_files(self._scans.popitem(last=False)[1])
        return scan


def _parents(document: dict[str, Any]) -> list[str]:
    """Return the references by which a start document names the scans that it was made of."""
    said = document.get("derived_from")
    found = []
    for each in (said if isinstance(said, (list, tuple)) else [said])[:MOST_SETTINGS]:
        if type(each) is str and each.startswith(("scan:", "id:")):
            try:
                parse_reference(each)
            except InvalidInputError:
                # Text that somebody means otherwise; the document has it word for word.
                continue
            found.append(each)
    return found


def uri_of(document: dict[str, Any]) -> str | None:
    """Return where the external data of a resource lie.

    Parameters
    ----------
    document : dict
        A resource or a stream resource, of today or older.

    Returns
    -------
    str or None
        Its ``uri``, else the path of ``root`` and ``resource_path``; None if it says neither.
    """
    uri = document.get("uri")
    if type(uri) is str and uri:
        return _utf8(uri)
    path, root = document.get("resource_path"), document.get("root", "")
    if type(path) is not str or not path or type(root) is not str or "\0" in path + root:
        return None
    joined = posixpath.join(root, path.lstrip("/") if root else path)
    if document.get("path_semantics", "posix") != "posix" or not joined.startswith("/"):
        return _utf8(joined)
    from pathlib import PurePosixPath

    return PurePosixPath(joined).as_uri()


def _utf8(text: str) -> str | None:
    """Return a uri that the record's name can be, or None."""
    if "\0" in text or len(text) > 4096:
        return None
    return text.encode("utf-8", "backslashreplace").decode()


def _jsonable(data: Any) -> Any:
    """Return the values of a device as the value of a record: scalars, and what else there is as text."""
    return (
        {str(key): _value(value) for key, value in list(data.items())[:MOST_TAGS]} if isinstance(data, dict) else None
    )


def _value(value: Any) -> Any:
    if type(value) in (list, tuple):
        return [_tag(item) for item in value[:MOST_TAGS]]
    return _tag(value)


def _tag(value: Any) -> Any:
    """Return a scalar as a tag holds it; of anything else its type."""
    if value is None or type(value) in (bool, float):
        return value
    if type(value) is int:
        return value if value.bit_length() <= 64 else f"<int of {value.bit_length()} bits>"
    if type(value) is str:
        return value[:LONGEST_TAG]
    if _is_scalar(value):
        return _tag(value.item())
    return f"<{type(value).__name__}>"


def _is_scalar(value: Any) -> bool:
    """Whether a value is a scalar of NumPy."""
    return getattr(value, "shape", None) == () and hasattr(value, "item")


def _tags(document: dict[str, Any]) -> dict[str, Any]:
    """Return the scalar fields of a document, those of inner mappings under dotted keys."""
    found: dict[str, Any] = {}
    todo: list[tuple[str, Any, int]] = [("", document, 0)]
    while todo and len(found) < MOST_TAGS:
        prefix, inner, depth = todo.pop()
        for key, value in list(inner.items())[:MOST_TAGS]:
            if type(key) is not str or len(key) > LONGEST_TAG:
                continue
            name = f"{prefix}{key}"
            if isinstance(value, dict) and depth < 4:
                todo.append((f"{name}.", value, depth + 1))
            elif name not in found and (type(value) in (bool, int, float, str) or _is_scalar(value)):
                found[name] = _tag(value)
    return found

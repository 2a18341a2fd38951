"""Scans as NeXus files: HDF5 that a viewer of NeXus draws without being told what."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc._version import __version__
from braid_hpc.exports.nexus_columns import name_of, write_columns
from braid_hpc.exports.nexus_files import write_external
from braid_hpc.exports.nexus_names import CLASSES, Place, known_places, projected
from braid_hpc.exports.nexus_plot import choose_plot, write_plot
from braid_hpc.exports.nexus_values import make_group, write_document, write_mapping, write_value

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_nexus"]

#: Groups of an entry that are written behind the streams, and what an instrument has beside its devices.
_LATER = ("bluesky", "data", "instrument", "process")
_OWN = ("name",)


def write_nexus(
    scan: Any,
    path: Path,
    *,
    about: Mapping[str, Any],
    streams: Iterable[str] | None = None,
    images: str = "link",
    names: Mapping[str, Place] | None = None,
) -> list[str]:
    """Write a scan as a NeXus file.

    Parameters
    ----------
    scan : Scan
        What is written.
    path : Path
        Of the file.
    about : mapping
        Where the scan comes from: store, snapshot, reference.
    streams : iterable of str, optional
        Which streams; all of them without it.
    images : {"link", "copy", "none"}
        Whether data in files of detectors are linked, copied, or left out.
    names : mapping of str to Place, optional
        Further names: a path below the entry, and what is to be found there. Those of the start's projections are
        taken without it.

    Returns
    -------
    list of str
        What could not be written, a sentence for each.
    """
    import h5py

    start = scan.start or {}
    notes: list[str] = []
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["NX_class"] = "NXroot"
        file.attrs["creator"] = f"braid_hpc {__version__}"
        file.attrs["HDF5_Version"] = h5py.version.hdf5_version
        file.attrs["h5py_version"] = h5py.version.version
        file.attrs["file_time"] = _iso(datetime.datetime.now(datetime.UTC).timestamp())
        file.attrs["default"] = "entry"
        entry = make_group(file, "entry", "NXentry")
        _write_entry(entry, scan, start)
        chosen = list(scan.streams if streams is None else streams)
        writer = _Streams(entry, scan, notes)
        for stream in chosen:
            writer.write(stream, images)
        writer.devices(start)
        numeric = {stream: writer.numeric(stream) for stream in chosen}
        plot = choose_plot(start, {stream: _hinted(scan, stream) for stream in chosen}, numeric)
        if plot is not None and writer.groups[plot.stream]["time"].shape[0]:
            write_plot(entry, plot, writer.groups[plot.stream], writer.names[plot.stream], start.get("time"))
        else:
            notes.append("there is nothing to draw: no stream has events with a number")
        documents = make_group(entry, "bluesky", "NXcollection")
        for name, document in (("start", scan.start), ("stop", scan.stop)):
            if document is not None:
                write_mapping(make_group(documents, name, "NXcollection"), document)
                write_document(documents, f"{name}_document", document)
        write_document(documents, "descriptors", scan.descriptors)
        _write_process(entry, about)
        found = projected(start) if names is None else {**projected(start), **names}
        notes += writer.place(found, start)
        # What all scans call so is no demand on each of them.
        writer.place(known_places(start, scan.stop or {}, writer.names), start)
    return notes


def _write_entry(entry: Any, scan: Any, start: Mapping[str, Any]) -> None:
    """Write what every entry has: title, times, identifier, user and sample."""
    title = start.get("title") or " ".join(
        str(start[key]) for key in ("plan_name", "scan_id") if start.get(key) is not None
    )
    write_value(entry, "title", str(title or scan.uid))
    write_value(entry, "entry_identifier", scan.uid)
    stop = scan.stop or {}
    for name, time in (("start_time", start.get("time")), ("end_time", stop.get("time"))):
        if (text := _iso(time)) is not None:
            write_value(entry, name, text)
    if scan.stop is not None and "start_time" in entry and "end_time" in entry:
        write_value(entry, "duration", float(stop["time"]) - float(start["time"]), "s")
    if type(plan := start.get("plan_name")) is str:
        write_value(entry, "program_name", "bluesky").attrs["configuration"] = plan
    people = start.get("owner") or start.get("operator") or start.get("user")
    if isinstance(people, str):
        write_value(make_group(entry, "user", "NXuser"), "name", people)
    sample = start.get("sample")
    if isinstance(sample, str):
        write_value(make_group(entry, "sample", "NXsample"), "name", sample)
    elif isinstance(sample, dict):
        write_mapping(make_group(entry, "sample", "NXsample"), sample)


def _write_process(entry: Any, about: Mapping[str, Any]) -> None:
    process = make_group(entry, "process", "NXprocess")
    write_value(process, "program", "braid_hpc")
    write_value(process, "version", __version__)
    write_value(process, "date", _iso(datetime.datetime.now(datetime.UTC).timestamp()))
    note = make_group(process, "provenance", "NXnote")
    write_value(note, "type", "application/json")
    write_value(note, "description", "the store, the snapshot of it, and the reference there that this is an export of")
    write_value(note, "data", json.dumps(dict(about)))


def _iso(time: Any) -> str | None:
    """Return a time of a document in ISO 8601; None if it is none."""
    try:
        return datetime.datetime.fromtimestamp(float(time), datetime.UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _hinted(scan: Any, stream: str) -> list[str]:
    """Return the data keys that the hints of a stream's descriptors name."""
    found: dict[str, None] = {}
    for descriptor in scan.descriptors:
        hints = descriptor.get("hints") if descriptor.get("name") == stream else None
        for about in hints.values() if isinstance(hints, dict) else ():
            fields = about.get("fields") if isinstance(about, dict) else None
            found.update(dict.fromkeys(key for key in (fields or ()) if type(key) is str))
    return list(found)


class _Streams:
    """The streams of a scan in an entry, and the devices that they were read from."""

    def __init__(self, entry: Any, scan: Any, notes: list[str]) -> None:
        self._entry, self._scan, self._notes = entry, scan, notes
        self.groups: dict[str, Any] = {}
        self.names: dict[str, dict[str, str]] = {}
        self._tables: dict[str, Any] = {}

    def _described(self, stream: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for descriptor in self._scan.descriptors:
            keys = descriptor.get("data_keys") if descriptor.get("name") == stream else None
            found.update({k: v for k, v in (keys.items() if isinstance(keys, dict) else ()) if isinstance(v, dict)})
        return found

    def write(self, stream: str, images: str) -> None:
        """Write a stream as a group of datasets, one for each column."""
        described = self._described(stream)
        table = self._tables[stream] = self._scan.table(stream)
        group = make_group(self._entry, name_of(stream, {*self._entry, *_LATER}), "NXdata")
        group.attrs["stream"] = stream
        self.groups[stream] = group
        self.names[stream] = write_columns(group, table, described)
        if "time" in group:
            group["time"].attrs["start"] = "1970-01-01T00:00:00Z"
        external = {key: about for key, about in described.items() if about.get("external") is not None}
        if external and images != "none":
            names, notes = write_external(group, self._scan, stream, external, copied=images == "copy")
            self.names[stream].update(names)
            self._notes += notes
        numeric = self.numeric(stream)
        if numeric and group["time"].shape[0]:
            plot = choose_plot({}, {stream: _hinted(self._scan, stream)}, {stream: numeric})
            assert plot is not None
            group.attrs["signal"] = self.names[stream][plot.signals[0]]
            signal = group[group.attrs["signal"]]
            group.attrs["axes"] = ["time", *["."] * (len(signal.shape) - 1)]
            group.attrs["time_indices"] = 0

    def numeric(self, stream: str) -> dict[str, int]:
        """Return the data keys of a stream that hold numbers, each with the dimensions of one value."""
        group, found = self.groups[stream], {}
        for key, name in self.names[stream].items():
            dataset = group.get(name)
            if key not in ("seq_num", "time") and dataset is not None and dataset.dtype.kind in "iuf":
                rows = group["time"].shape[0]
                if dataset.shape and dataset.shape[0] == rows and 0 not in dataset.shape[1:]:
                    found[key] = dataset.ndim - 1
        return found

    def devices(self, start: Mapping[str, Any]) -> None:
        """Write the instrument: its positioners and detectors with links to their values, and their settings."""
        import h5py

        instrument = make_group(self._entry, "instrument", "NXinstrument")
        name = start.get("beamline_id") or start.get("instrument")
        write_value(instrument, "name", name if isinstance(name, str) else "unknown")
        moved = start.get("motors")
        motors = {each for each in moved if type(each) is str} if isinstance(moved, (list, tuple)) else set()
        for descriptor in self._scan.descriptors:
            stream = descriptor.get("name")
            objects = descriptor.get("object_keys")
            settings = descriptor.get("configuration")
            settings = settings if isinstance(settings, dict) else {}
            for device, keys in objects.items() if isinstance(objects, dict) else ():
                kind = "NXpositioner" if device in motors or motors & set(map(str, keys)) else "NXdetector"
                group = make_group(instrument, name_of(str(device), _OWN), kind)
                for at, key in enumerate(key for key in keys if key in self.names.get(stream, {})):
                    dataset = self.names[stream][key]
                    whole = "value" if kind == "NXpositioner" else "data"
                    for link in (whole, dataset) if at == 0 else (dataset,):
                        if link not in group:
                            group[link] = h5py.SoftLink(f"{self.groups[stream].name}/{dataset}")
            for device, about in settings.items():
                data = about.get("data") if isinstance(about, dict) else None
                if isinstance(data, dict) and data:
                    self._configure(make_group(instrument, name_of(str(device), _OWN), "NXdetector"), descriptor, about)

    def _configure(self, group: Any, descriptor: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Write the settings of a device; equal ones once."""
        said = hashlib.blake2b(json.dumps(about["data"], sort_keys=True, default=repr).encode(), digest_size=16)
        known = [inner.attrs.get("digest") for name, inner in group.items() if name.startswith("configuration")]
        if said.hexdigest() in known:
            return
        keys = about.get("data_keys")
        inner = make_group(group, name_of("configuration", group), "NXcollection")
        inner.attrs["digest"] = said.hexdigest()
        inner.attrs["descriptor"] = str(descriptor.get("uid"))
        for key, value in about["data"].items():
            described = keys.get(key) if isinstance(keys, dict) else None
            unit = described.get("units") if isinstance(described, dict) else None
            name = name_of(str(key), inner)
            write_value(inner, name, value, unit)

    def place(self, places: Mapping[str, Place], start: Mapping[str, Any]) -> list[str]:
        """Give values the further names that they have; return what is not there."""
        import h5py

        notes = []
        for path, place in places.items():
            inside = path.strip("/").removeprefix("entry/")
            target: Any = None
            if place.location == "event" and place.field in self.names.get(place.stream, {}):
                name = self.names[place.stream][place.field]
                target = h5py.SoftLink(f"{self.groups[place.stream].name}/{name}")
            elif place.location in ("start", "static"):
                target = place.value if place.location == "static" else start.get(place.field)
            elif place.location == "configuration":
                target = self._setting(place)
            if target is None:
                notes.append(f"{path} is not written: there is no {place.said}")
                continue
            *parents, last = inside.split("/")
            group = self._entry
            for parent in parents:
                name = name_of(parent)
                if group is not None and group.get(name, getlink=True) is not None:
                    group = group.get(name) if group.get(name, getclass=True) is h5py.Group else None
                elif group is not None:
                    group = make_group(group, name, CLASSES.get(parent, "NXcollection"))
            if group is None or group.get(name_of(last), getlink=True) is not None:
                notes.append(f"{path} is not written: something is there already")
            elif isinstance(target, h5py.SoftLink):
                group[name_of(last)] = target
            else:
                write_value(group, name_of(last), target)
        return notes

    def _setting(self, place: Place) -> Any:
        for descriptor in self._scan.descriptors:
            if place.stream in ("", descriptor.get("name")):
                about = (descriptor.get("configuration") or {}).get(place.device)
                if isinstance(about, dict) and isinstance(about.get("data"), dict):
                    return about["data"].get(place.field)
        return None

"""Names of NeXus for the values of a scan, as its start document gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from braid_hpc.store.nexus_names import nexus_table

__all__ = ["CLASSES", "Place", "known_places", "projected"]

#: The class of a group that is made for a name, by what the group is called.
CLASSES = {
    name: f"NX{name}"
    for name in ("beam", "detector", "monitor", "monochromator", "positioner", "sample", "source", "user")
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is.

    Attributes
    ----------
    location : str
        ``event``, ``configuration``, ``start``, or ``static``.
    field : str
        Data key, setting, or member of the start.
    stream : str
        Of an event or a configuration.
    device : str
        Of a configuration.
    value : object
        Of what is static.
    """

    location: str
    field: str = ""
    stream: str = ""
    device: str = ""
    value: Any = None

    @property
    def said(self) -> str:
        """The place in words."""
        where = f" of {self.device!r}" if self.device else ""
        return f"{self.field!r}{where} in {f'stream {self.stream!r}' if self.stream else self.location}"


def projected(start: Mapping[str, Any]) -> dict[str, Place]:
    """Return the names that the projections of a start document give.

    Parameters
    ----------
    start : mapping
        The document; its ``projections`` are those of event-model.

    Returns
    -------
    dict of str to Place
        Path to value; what is calculated by a program of others is left out.

    Examples
    --------
    >>> said = {"type": "linked", "location": "event", "stream": "primary", "field": "det"}
    >>> projected({"projections": [{"projection": {"entry/data/data": said}}]})["entry/data/data"].field
    'det'
    """
    found: dict[str, Place] = {}
    projections = start.get("projections")
    for each in projections if isinstance(projections, (list, tuple)) else ():
        said = each.get("projection") if isinstance(each, dict) else None
        for path, about in said.items() if isinstance(said, dict) else ():
            if not isinstance(path, str) or not isinstance(about, dict) or not path.strip("/"):
                continue
            if about.get("type") == "static":
                found[path] = Place("static", value=about.get("value"))
            elif about.get("type") == "linked":
                texts = [about.get(key) for key in ("location", "field", "stream", "config_device")]
                location, field, stream, device = (text if type(text) is str else "" for text in texts)
                found[path] = Place(location, field, stream, device)
    return found


def known_places(
    start: Mapping[str, Any], stop: Mapping[str, Any], names: Mapping[str, Mapping[str, str]]
) -> dict[str, Place]:
    """Return the names that all scans have in common, of what this one has.

    Parameters
    ----------
    start, stop : mapping
        The documents.
    names : mapping of str to mapping of str to str
        The data keys of each stream.

    Returns
    -------
    dict of str to Place
        Path to value: of the table that searches go by too (:func:`braid_hpc.store.nexus_names.nexus_table`).

    Raises
    ------
    NotFoundError, InvalidInputError
        If the file that ``BRAID_NEXUS_NAMES`` names is not there, or is none.

    Examples
    --------
    >>> known_places({"sample": {"name": "Ni"}}, {}, {"primary": {"energy": "energy"}}).keys()
    dict_keys(['/entry/sample/name', '/entry/instrument/monochromator/energy'])
    """
    found: dict[str, Place] = {}
    for path, said in nexus_table().items():
        key = said.key or ""
        if said.name in ("start", "stop"):
            value: Any = start if said.name == "start" else stop
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if value is not None:
                found[path] = Place("static", value=value)
        elif said.name == "config":
            device, _, setting = key.partition(".")
            found[path] = Place("configuration", setting, said.stream or "", device)
        elif streams := [name for name in names if key in names[name] and said.stream in (None, name)]:
            found[path] = Place("event", key, min(streams, key=lambda name: name != "primary"))
    return found

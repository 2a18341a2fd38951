"""Names of NeXus for the values of a scan, as its start document gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Place", "projected"]


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

"""NeXus names of what documents say: a table that all scans have in common, and the projections of each start."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.queries.fields import Field, find_field
from braid_hpc.queries.parse import parse_query
from braid_hpc.queries.tree import Condition
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

__all__ = [
    "STANDARD",
    "NexusName",
    "nexus_names",
    "nexus_path",
    "nexus_table",
    "read_nexus_names",
    "register_nexus_name",
]

#: What is called so where nothing else is said: names of NXentry and its groups, and fields of searches.
STANDARD: dict[str, str] = {
    "/entry/entry_identifier": "start.uid",
    "/entry/title": "start.title",
    "/entry/definition": "start.definition",
    "/entry/experiment_identifier": "start.proposal_id",
    "/entry/start_time": "start.time",
    "/entry/end_time": "stop.time",
    "/entry/run_cycle": "start.cycle",
    "/entry/scan_number": "start.scan_id",
    "/entry/plan_name": "start.plan_name",
    "/entry/user/name": "start.owner",
    "/entry/sample/name": "start.sample.name",
    "/entry/sample/chemical_formula": "start.sample.chemical_formula",
    "/entry/sample/mass": "start.sample.mass",
    "/entry/sample/temperature": "data.temperature",
    "/entry/sample/magnetic_field": "data.magnetic_field",
    "/entry/instrument/name": "start.beamline_id",
    "/entry/instrument/source/name": "start.facility",
    "/entry/instrument/source/current": "data.ring_current",
    "/entry/instrument/monochromator/energy": "data.energy",
    "/entry/instrument/monochromator/wavelength": "data.wavelength",
    "/entry/instrument/detector/data": "data.image",
    "/entry/instrument/detector/count_time": "data.count_time",
    "/entry/monitor/data": "data.monitor",
}

_OURS = ("start", "stop", "config", "data")
_REGISTERED: dict[str, str] = {}

#: Names a file of further ones.
VARIABLE = "BRAID_NEXUS_NAMES"


@dataclass(frozen=True, slots=True)
class NexusName:
    """What is called by a NeXus name in one scan.

    Attributes
    ----------
    path : str
        Such as ``/entry/sample/name``.
    field : Field or None
        Which part of its documents or events that is; None where the start says the value itself.
    value : object
        That value.
    """

    path: str
    field: Field | None = None
    value: Any = None


def nexus_path(path: Any) -> str:
    """Return a NeXus name as it is compared.

    Parameters
    ----------
    path : str
        With or without a slash before it; a class may stand behind a colon, ``/entry:NXentry/sample:NXsample/name``.

    Returns
    -------
    str
        With a slash, and without classes.

    Raises
    ------
    InvalidInputError
        If it is no text, or empty.

    Examples
    --------
    >>> nexus_path("entry:NXentry/sample/name/")
    '/entry/sample/name'
    """
    if not isinstance(path, str) or not path.strip("/"):
        raise InvalidInputError(f"{path!r:.80} is no NeXus name: that is a text such as /entry/sample/name")
    parts = (part.partition(":")[0] if ":NX" in part else part for part in path.strip("/").split("/"))
    return "/" + "/".join(parts)


def register_nexus_name(path: str, field: str) -> None:
    """Say what is called by a NeXus name, in this process.

    Parameters
    ----------
    path : str
        The name.
    field : str
        As in a search: ``start.sample.name``, ``config.mono.energy``, ``data.mono_energy@primary``.

    Raises
    ------
    InvalidInputError
        If one of the two is none.

    See Also
    --------
    nexus_table : all that are known.
    """
    _field(field, path)
    _REGISTERED[nexus_path(path)] = field


def read_nexus_names(file: str | os.PathLike[str]) -> dict[str, str]:
    """Read a file of NeXus names.

    Parameters
    ----------
    file : path-like
        TOML: ``"/entry/sample/name" = "start.sample.name"`` on each line.

    Returns
    -------
    dict of str to str
        Name to field.

    Raises
    ------
    NotFoundError
        If there is no such file.
    InvalidInputError
        If it is no TOML, or has something else in it.
    """
    try:
        found = tomllib.loads(Path(file).read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file of NeXus names {file}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{file} is no TOML: {error}") from error
    for path, field in found.items():
        _field(field, path)
    return {nexus_path(path): field for path, field in found.items()}


def nexus_table() -> dict[str, Field]:
    """Return what is called by NeXus names in all scans that do not say otherwise.

    Returns
    -------
    dict of str to Field
        The standard ones, over them those of the file that ``BRAID_NEXUS_NAMES`` names, and over these the registered
        ones.

    Raises
    ------
    NotFoundError, InvalidInputError
        As :func:`read_nexus_names`.
    """
    file = os.environ.get(VARIABLE)
    said = {**STANDARD, **(read_nexus_names(file) if file else {}), **_REGISTERED}
    return {path: _field(field, path) for path, field in said.items()}


def nexus_names(start: Mapping[str, Any], table: Mapping[str, Field] | None = None) -> dict[str, NexusName]:
    """Return what is called by NeXus names in one scan.

    Parameters
    ----------
    start : mapping
        Its start document, whose ``projections`` stand over the table: of those that name one path, the first.
    table : mapping of str to Field, optional
        Instead of :func:`nexus_table`.

    Returns
    -------
    dict of str to NexusName
        By path. What a projection would have to calculate is not among them.

    Raises
    ------
    NotFoundError, InvalidInputError
        As :func:`read_nexus_names`.
    """
    known = nexus_table() if table is None else table
    return {**{path: NexusName(path, field) for path, field in known.items()}, **projected(start)}


def projected(start: Mapping[str, Any]) -> dict[str, NexusName]:
    """Return the names that a start document gives itself.

    Parameters
    ----------
    start : mapping
        The document.

    Returns
    -------
    dict of str to NexusName
        By path.
    """
    found: dict[str, NexusName] = {}
    given = start.get("projections")
    for each in given if isinstance(given, (list, tuple)) else ():
        names = each.get("projection") if isinstance(each, Mapping) else None
        for path, about in names.items() if isinstance(names, Mapping) else ():
            if isinstance(path, str) and path.strip("/") and isinstance(about, Mapping):
                name = _of_projection(nexus_path(path), about)
                if name is not None:
                    found.setdefault(name.path, name)
    return found


def _of_projection(path: str, about: Mapping[str, Any]) -> NexusName | None:
    if about.get("type") == "static":
        return NexusName(path, None, about.get("value"))
    field, stream, device = (about.get(name) for name in ("field", "stream", "config_device"))
    if about.get("type") != "linked" or not isinstance(field, str):
        return None
    location = about.get("location")
    if location == "configuration" and isinstance(device, str):
        return NexusName(path, Field("config", f"{device}.{field}"))
    if location == "event":
        return NexusName(path, Field("data", field, None, stream if isinstance(stream, str) else None))
    # Not of today's schema, and said all the same.
    return NexusName(path, Field(location, field)) if location in ("start", "stop") else None


def _field(text: Any, path: Any) -> Field:
    """Return what a field of searches stands for."""
    query = None
    try:
        query = parse_query(f"{text} exists") if isinstance(text, str) else None
    except InvalidInputError:
        query = None
    if not isinstance(query, Condition) or query.field.name not in _OURS or query.field.of is not None:
        raise InvalidInputError(
            f"{text!r:.80} cannot be called {path!s:.80}: name a part of documents, such as start.sample.name, "
            "config.mono.energy or data.energy@primary"
        )
    return find_field(query.field.name, query.field.key, stream=query.field.stream)

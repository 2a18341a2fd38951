"""Data in files of detectors, in a NeXus file: linked where they lie in HDF5, or copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid_hpc.assets import Filler
from braid_hpc.exports.nexus_columns import name_of
from braid_hpc.run.contents import local_path
from braid_hpc.vocabulary.errors import BraidError

__all__ = ["write_external"]

#: Where detectors of EPICS put their frames.
_AREA_DETECTOR = "/entry/data/data"


def write_external(
    group: Any, scan: Any, stream: str, external: Mapping[str, Mapping[str, Any]], *, copied: bool
) -> tuple[dict[str, str], list[str]]:
    """Write what lies in files.

    Parameters
    ----------
    group : h5py.Group
        Of the stream.
    scan : Scan
        Whose files these are.
    stream : str
        Its name.
    external : mapping of str to mapping
        What the descriptors say of the data keys.
    copied : bool
        Whether the frames are copied; else files of HDF5 are linked.

    Returns
    -------
    names : dict of str to str
        The dataset of each data key that was written.
    notes : list of str
        What was not, a sentence for each.
    """
    names: dict[str, str] = {}
    notes: list[str] = []
    taken = set(group)
    resources = _resources(scan)
    for key, about in external.items():
        name = name_of(key)
        if name in taken:
            # Names of datums stand there.
            names[key] = name_of(f"{name}_datum", group)
            group.move(name, names[key])
        try:
            if copied:
                with Filler(scan.documents()) as filler:
                    _copy(group, name, filler.array(stream, key))
                names[key] = name
            elif (place := _in_hdf5(key, resources)) is not None:
                import h5py

                group[name] = h5py.ExternalLink(*place)
                names[key] = name
            else:
                notes.append(f"{key!r} of stream {stream!r} lies in files that HDF5 cannot link: export a copy")
        except (BraidError, OSError, ValueError, TypeError) as error:
            if name in group:
                del group[name]
            notes.append(f"{key!r} of stream {stream!r} is not written: {error}")
        if names.get(key) == name:
            notes += _describe(group, name, about)
    return names, notes


def _describe(group: Any, name: str, about: Mapping[str, Any]) -> list[str]:
    try:
        dataset = group[name]
    except KeyError:
        link = group.get(name, getlink=True)
        return [f"{group.name}/{name} links to {link.path} in {link.filename}, which cannot be read now"]
    unit = about.get("units")
    if isinstance(unit, str) and unit and dataset.file == group.file:
        dataset.attrs["units"] = unit
    return []


def _copy(group: Any, name: str, array: Any) -> None:
    """Copy an array row by row."""
    import numpy as np

    shape = tuple(array.shape)
    dataset = group.create_dataset(name, shape, array.dtype)
    for row in range(shape[0] if shape else 0):
        dataset[row] = np.asarray(array[row])


def _resources(scan: Any) -> list[dict[str, Any]]:
    return [document for name, document in scan.documents() if name in ("stream_resource", "resource")]


def _in_hdf5(key: str, resources: list[dict[str, Any]]) -> tuple[str, str] | None:
    """Return the file and the dataset of a data key that lies in one file of HDF5."""
    found = []
    for resource in resources:
        if resource.get("mimetype") == "application/x-hdf5" and resource.get("data_key") == key:
            parameters = resource.get("parameters") or {}
            dataset = parameters.get("dataset") or parameters.get("path") or parameters.get("hdf5_path")
            path = local_path(str(resource.get("uri", "")))
            if path is not None and isinstance(dataset, str):
                found.append((str(path), dataset))
    return found[0] if len(set(found)) == 1 else None

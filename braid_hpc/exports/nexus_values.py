"""Metadata as groups of HDF5: readable by people, and word for word as JSON."""

from __future__ import annotations

import io
import json
from typing import Any

from braid_hpc.exports.nexus_columns import name_of
from braid_hpc.exports.words import write_msgpack
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["make_group", "write_document", "write_mapping", "write_value"]

#: Bytes of an attribute or a text that HDF5 takes in an object's header.
_DEEPEST = 16


def make_group(parent: Any, name: str, kind: str) -> Any:
    """Return a group of a class of NeXus, made if it is not there.

    Parameters
    ----------
    parent : h5py.Group
        Where.
    name : str
        Of the group.
    kind : str
        ``NXcollection`` and so on.

    Returns
    -------
    h5py.Group
        It.
    """
    group = parent.require_group(name)
    if "NX_class" not in group.attrs:
        group.attrs["NX_class"] = kind
    return group


def write_mapping(group: Any, values: dict[Any, Any], depth: int = 0) -> None:
    """Write a mapping: scalars and arrays as datasets, mappings as groups, and the rest as JSON.

    Parameters
    ----------
    group : h5py.Group
        Written into.
    values : dict
        It.
    depth : int
        How deep it lies.
    """
    for key, value in values.items():
        name = name_of(str(key), group)
        if isinstance(value, dict) and depth < _DEEPEST:
            inner = make_group(group, name, "NXcollection")
            write_mapping(inner, value, depth + 1)
        else:
            inner = write_value(group, name, value)
        if name != key:
            inner.attrs["local_name"] = _text(str(key))


def write_value(group: Any, name: str, value: Any, unit: Any = None) -> Any:
    """Write a value as a dataset: as what it is where HDF5 has that, else as JSON with the attribute ``encoding``.

    Parameters
    ----------
    group : h5py.Group
        Written into.
    name : str
        Of the dataset.
    value : object
        It.
    unit : str, optional
        Its unit.

    Returns
    -------
    h5py.Dataset
        It.
    """
    import numpy as np

    data: Any = None
    if isinstance(value, str):
        data = _text(value)
    elif isinstance(value, (bool, float)) or (isinstance(value, int) and -(1 << 63) <= value < 1 << 64):
        data = value
    elif hasattr(value, "dtype") and value.dtype.kind in "biufSU":
        data = value.astype(object) if value.dtype.kind == "U" else value
    elif isinstance(value, (list, tuple)) and value:
        kinds = {type(each) for each in value}
        if kinds == {str}:
            data = [_text(each) for each in value]
        elif kinds in ({float}, {bool}) or (kinds == {int} and all(-(1 << 63) <= each < 1 << 63 for each in value)):
            data = np.array(value)
    if data is not None:
        dataset = group.create_dataset(name, data=data)
    else:
        dataset = group.create_dataset(name, data=json.dumps(value, default=_shown))
        dataset.attrs["encoding"] = "json"
    if isinstance(unit, str) and unit:
        dataset.attrs["units"] = _text(unit)
    return dataset


def write_document(group: Any, name: str, document: Any) -> None:
    """Write a document word for word, as JSON, or as MessagePack where JSON cannot say it.

    Parameters
    ----------
    group : h5py.Group
        Written into.
    name : str
        Of the dataset.
    document : dict
        It.
    """
    import numpy as np

    from braid_hpc.exports.words import as_json

    try:
        dataset = group.create_dataset(name, data=as_json(document))
        dataset.attrs["encoding"] = "json"
    except InvalidInputError:
        file = io.BytesIO()
        write_msgpack([(name, document)], file)
        dataset = group.create_dataset(name, data=np.frombuffer(file.getvalue(), np.uint8))
        dataset.attrs["encoding"] = "msgpack"


def _text(text: str) -> str:
    """Return a text that HDF5 takes: UTF-8 without NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _shown(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else repr(value)

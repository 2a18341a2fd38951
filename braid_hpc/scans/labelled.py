"""A stream as an xarray Dataset: dimensions, coordinates, units and types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.scans.forms import PACKED
from braid_hpc.scans.packages import needed
from braid_hpc.scans.stream_array import declared_dtype, lies_in_files, stacked
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    from braid_hpc.scans.columns import Column
    from braid_hpc.scans.events import Events
    from braid_hpc.scans.filling import Filling

__all__ = ["to_dataset"]


def to_dataset(events: Events, columns: list[Column], table: Any, filling: Filling | None = None) -> Any:
    """Return rows of a stream as a dataset.

    Parameters
    ----------
    events : Events
        The stream.
    columns : list of Column
        Of the table, without the time.
    table : pyarrow.Table
        These columns, ``time`` and ``seq_num``.
    filling : Filling, optional
        Reads what lies in files.

    Returns
    -------
    xarray.Dataset
        The dimension ``time`` and its coordinate; further dimensions are called as the data key says (``dims``), and
        else ``dim_0``, ``dim_1`` and so on.

    Raises
    ------
    MissingExtraError
        If xarray is not installed.
    BraidError
        As :meth:`braid_hpc.scans.filling.Filling.values`.
    """
    xarray = needed("xarray")
    variables: dict[str, Any] = {}
    numbered = 0
    for column in columns:
        key = column.item[1] if column.item is not None and column.item[0] == "data" else None
        about = events.about(key) if key is not None else {}
        if filling is not None and key is not None and lies_in_files(events, key):
            if column.place == 0:
                dims, values = filling.values(key, table.column("seq_num"))
                variables[column.name] = (["time", *dims], values, _attributes(column, about))
            continue
        values = _values(table.column(column.name), column, about)
        dims = ["time"]
        further = values.ndim - 1
        if further:
            said = about.get("dims")
            if isinstance(said, (list, tuple)) and len(said) == further and all(type(each) is str for each in said):
                dims += said
            else:
                dims += [f"dim_{numbered + at}" for at in range(further)]
                numbered += further
        # What stands as MessagePack is objects, and xarray would ask pandas for a type, which has none for every text.
        packed = column.form == PACKED
        variables[column.name] = xarray.Variable(dims, values, _attributes(column, about), fastpath=packed)
    time = table.column("time").to_numpy()
    return xarray.Dataset(variables, coords={"time": ("time", time, {"units": "s"})})


def _attributes(column: Column, about: dict[str, Any]) -> dict[str, Any]:
    found = {}
    if type(about.get("units")) is str:
        found["units"] = about["units"]
    elif column.item is not None and column.item[0] == "timestamps":
        found["units"] = "s"
    return found


def _values(found: Any, column: Column, about: dict[str, Any]) -> Any:
    """Return a column as an array: of objects where no other type holds all of its values."""
    import numpy as np
    import pyarrow as pa

    array = found.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if column.form == PACKED:
        return _objects([None if body is None else decode_words(body) for body in array.to_pylist()])
    if array.null_count and column.form.kind in ("int64", "null") and not column.form.depth:
        try:
            array = array.cast(pa.float64())
        except pa.ArrowInvalid:
            # Integers that no double is equal to.
            return _objects(array.to_pylist())
    inner: tuple[int, ...] = ()
    if column.form.depth:
        first = next((each for each in array if each.is_valid), None)
        inner = () if first is None else _shape(first.as_py(), column.form.depth)
    try:
        values = stacked(array, pa.array(range(len(array))), inner, column.name)
    except InvalidInputError:
        # Values of several shapes, or missing ones.
        plain = array.to_pylist()
        return _objects([_as_array(each) if isinstance(each, list) else each for each in plain])
    wanted = declared_dtype(about, values.dtype)
    if wanted != values.dtype:
        with np.errstate(all="ignore"):
            narrow = values.astype(wanted)
        if np.array_equal(narrow.astype(values.dtype), values, equal_nan=values.dtype.kind == "f"):
            values = narrow
    return values


def _as_array(value: list[Any]) -> Any:
    """Return a list as an array: of lists where these differ in length."""
    import numpy as np

    try:
        return np.asarray(value)
    except ValueError:
        return _objects(value)


def _objects(values: list[Any]) -> Any:
    import numpy as np

    found = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        found[at] = value
    return found


def _shape(value: Any, depth: int) -> tuple[int, ...]:
    shape = []
    for _ in range(depth):
        shape.append(len(value))
        value = value[0] if value else []
    return tuple(shape)

"""Streams as groups of HDF5 datasets, written batch by batch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.exports.tables import UNIT

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["name_of", "write_columns"]

#: Rows that are written at once.
ROWS = 1_000
#: Bytes of a chunk, about.
CHUNK = 1 << 18

_NOT_IN_NAMES = re.compile(r"\W", re.ASCII)


def name_of(key: str, taken: Iterable[str] = ()) -> str:
    """Return a name that NeXus allows, for one that may have any characters.

    Parameters
    ----------
    key : str
        What something is called.
    taken : iterable of str
        Names that others have.

    Returns
    -------
    str
        Letters, digits and underscores.

    Examples
    --------
    >>> name_of("motor-1.x"), name_of("1st"), name_of("a b", ["a_b"])
    ('motor_1_x', '_1st', 'a_b_2')
    """
    base = _NOT_IN_NAMES.sub("_", key) or "_"
    base = f"_{base}" if base[0].isdigit() else base
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def write_columns(group: Any, table: Any, described: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Write the columns of a table as datasets, whose first dimension is that of the rows.

    Numbers keep their types, text is UTF-8, arrays of one shape become one dataset with further dimensions, and arrays
    of several lengths are ragged. Where values are missing a dataset ``<name>_missing`` says in which rows; there
    stands NaN, 0 or an empty text.

    Parameters
    ----------
    group : h5py.Group
        Written into.
    table : StreamTable
        With ``schema`` and ``batches(size)``.
    described : dict of str to dict
        What a descriptor says of the columns; source, precision and object become attributes.

    Returns
    -------
    dict of str to str
        The dataset of each column.
    """
    columns: dict[str, _Column] = {}
    names: dict[str, str] = {}
    for field in table.schema:
        name = names[field.name] = name_of(field.name, names.values())
        columns[field.name] = _Column(group, name, field)
    nested = [field.name for field in table.schema if columns[field.name].nested]
    if nested:
        for batch in table.batches(ROWS):
            for name in nested:
                columns[name].look(batch.column(batch.schema.get_field_index(name)))
    for column in columns.values():
        column.make()
    for batch in table.batches(ROWS):
        for at, name in enumerate(batch.schema.names):
            columns[name].append(batch.column(at))
    for name, column in columns.items():
        column.finish(described.get(name, {}))
    return names


class _Column:
    """One dataset."""

    def __init__(self, group: Any, name: str, field: pa.Field) -> None:
        import pyarrow as pa

        self._group, self.name, self._field = group, name, field
        kind = field.type
        self.nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        self._shapes: set[tuple[int, ...] | None] = set()
        self._kinds: set[Any] = set()
        self._missing: list[Any] = []
        self._rows = 0
        self._dataset: Any = None
        self._ragged = self._json = False

    def look(self, column: pa.Array) -> None:
        """Note the shapes of arrays before any is written."""
        for value in _arrays(column):
            self._shapes.add(None if value is None or value.dtype == object else value.shape)
            if value is not None:
                self._kinds.add(value.dtype)

    def make(self) -> None:
        """Make the dataset."""
        import h5py
        import numpy as np
        import pyarrow as pa

        kind = self._field.type
        inner: tuple[int, ...] = ()
        if self.nested:
            shapes = {shape for shape in self._shapes if shape is not None}
            numbers = all(each.kind in "biuf" for each in self._kinds)
            if numbers and len(shapes) <= 1:
                inner = next(iter(shapes), ())
                dtype: Any = np.result_type(*self._kinds) if self._kinds else np.dtype("f8")
            elif numbers and {len(shape) for shape in shapes} == {1}:
                self._ragged, dtype = True, h5py.vlen_dtype(np.result_type(*self._kinds))
            else:
                self._json, dtype = True, h5py.string_dtype()
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            self._ragged, dtype = True, h5py.vlen_dtype(np.uint8)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            dtype = h5py.string_dtype()
        elif pa.types.is_timestamp(kind):
            dtype = np.dtype("i8")
        else:
            dtype = np.dtype(kind.to_pandas_dtype())
        self._inner = inner
        size = max(1, int(np.prod(inner, dtype=np.int64)) * dtype.itemsize)
        chunk = (max(1, min(ROWS, CHUNK // size)), *(max(1, each) for each in inner))
        self._dataset = self._group.create_dataset(
            self.name, (0, *inner), dtype, maxshape=(None, *(max(1, each) for each in inner)), chunks=chunk
        )

    def append(self, column: pa.Array) -> None:
        """Write rows."""
        import numpy as np

        count = len(column)
        self._dataset.resize(self._rows + count, axis=0)
        if column.null_count:
            self._missing.append((self._rows, column.is_null().to_numpy(zero_copy_only=False)))
        if count:
            values = self._values(column)
            if self._ragged or np.asarray(values).dtype == object:
                for at, value in enumerate(values):
                    self._dataset[self._rows + at] = value
            else:
                self._dataset[self._rows : self._rows + count] = values
        self._rows += count

    def _values(self, column: pa.Array) -> Any:
        """Return the values of rows as NumPy has them, something of the type where one is missing."""
        import numpy as np
        import pyarrow as pa

        if self._json:
            return [json.dumps(value) for value in column.to_pylist()]
        if self.nested:
            found = list(_arrays(column))
            empty = np.zeros((0,) if self._ragged else self._inner, "f8" if self._ragged else self._dataset.dtype)
            if not self._ragged and empty.dtype.kind == "f":
                empty = np.full_like(empty, np.nan)
            filled = [empty if value is None else value for value in found]
            return filled if self._ragged else np.stack(filled)
        if self._ragged:
            return [np.frombuffer(value or b"", np.uint8) for value in column.to_pylist()]
        kind = column.type
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.int64())
        if column.null_count:
            nothing: Any = float("nan") if pa.types.is_floating(kind) else "" if self._dataset.dtype == object else 0
            return [nothing if value is None else value for value in column.to_pylist()]
        return column.to_pylist() if self._dataset.dtype == object else column.to_numpy(zero_copy_only=False)

    def finish(self, about: dict[str, Any]) -> None:
        """Write what is said of the column."""
        import numpy as np

        attributes = self._dataset.attrs
        if self.name != self._field.name:
            attributes["local_name"] = self._field.name
        unit = (self._field.metadata or {}).get(UNIT)
        if unit:
            attributes["units"] = unit.decode()
        encoding = b"json" if self._json else (self._field.metadata or {}).get(b"encoding")
        if encoding:
            attributes["encoding"] = encoding.decode()
        for member in ("source", "object_name", "precision"):
            if type(value := about.get(member)) in (str, int, float):
                attributes[member] = value
        if self._missing:
            mask = np.zeros(self._rows, np.uint8)
            for first, part in self._missing:
                mask[first : first + len(part)] = part
            dataset = self._group.create_dataset(name_of(f"{self.name}_missing", self._group), data=mask)
            dataset.attrs["long_name"] = f"1 where there is no value of {self.name}"


def _arrays(column: pa.Array) -> Iterator[Any]:
    """Yield arrays of NumPy, or None; of what has no one shape an array of objects."""
    import numpy as np

    for scalar in column:
        if not scalar.is_valid:
            yield None
            continue
        value = scalar.values
        shape = []
        while hasattr(value, "flatten") and hasattr(value.type, "value_type"):
            inner = value.flatten()
            lengths = set(value.value_lengths().to_pylist()) if len(value) else {0}
            shape.append(len(value))
            if len(lengths) != 1 or None in lengths:
                yield np.array([None, None], object)
                break
            value = inner
        else:
            flat = value.to_numpy(zero_copy_only=False)
            if value.null_count and flat.dtype.kind not in "f":
                yield np.array([None, None], object)
            else:
                yield flat.reshape((*shape, -1) if flat.size else (*shape, len(value) if not shape else 0))

"""From what a model returns to columns of a stream, and from what it was given to a digest."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128_hexdigest

from braid_hpc.vocabulary.arrays import array_bytes
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_bytes

if TYPE_CHECKING:
    from braid_hpc.run.handles import Record
    from braid_hpc.run.recorder import Run

__all__ = [
    "COLUMNS",
    "SAMPLES",
    "Threshold",
    "as_array",
    "columns_of",
    "digest_of_input",
    "ids_of",
    "named_outputs",
    "rows_of",
]

#: The most columns that outputs may have; an image for each sample is no row of columns.
COLUMNS = 1024
#: How many samples a statement names; it says how many there are.
SAMPLES = 100

#: Type of a column, and the dtype that its values are brought to, for each kind of NumPy's dtypes and size in bytes.
_KINDS = {
    "b1": ("bool", None),
    **{f"i{size}": (f"int{8 * size}", None) for size in (1, 2, 4, 8)},
    **{f"u{size}": (f"uint{8 * size}", None) for size in (1, 2, 4, 8)},
    "f2": ("float32", "<f4"),
    "f4": ("float32", None),
    "f8": ("float64", None),
}
_OWN = ("batch", "sample")


class Threshold:
    """A decision: a sample passes if a column of it reaches a value.

    Parameters
    ----------
    name : str
        What is claimed of the samples that pass: name of the column (bool) and of the statements.
    column : str
        Column that decides.
    at_least : float
        Its lowest value that passes; NaN does not.
    """

    def __init__(self, name: str, column: str, at_least: float) -> None:
        self.name, self.column, self.at_least = str(name), str(column), float(at_least)

    @property
    def described(self) -> dict[str, Any]:
        """What it is, for a fact."""
        return {"name": self.name, "column": self.column, "at_least": self.at_least}

    def passed(self, columns: Mapping[str, tuple[str, Any]]) -> tuple[str, Any]:
        """Return the column that says which samples pass.

        Parameters
        ----------
        columns : mapping
            As :func:`columns_of` gives them.

        Returns
        -------
        (str, numpy.ndarray)
            Type and values.

        Raises
        ------
        InvalidInputError
            If there is no such column, or it holds no numbers.
        """
        kind, values = columns.get(self.column, ("none", None))
        if values is None or kind in ("text", "bool"):
            raise InvalidInputError(f"threshold {self.name!r} wants numbers in a column {self.column!r}")
        if self.name in columns or self.name in _OWN:
            raise InvalidInputError(f"threshold {self.name!r} has the name of a column")
        return "bool", values >= self.at_least

    def state(self, run: Run, about: Record, batch: int, column: tuple[str, Any], samples: tuple[str, Any]) -> None:
        """State which samples of a batch passed, if any did.

        Parameters
        ----------
        run : Run
            Where.
        about : Record
            The outputs.
        batch : int
            Number of the batch.
        column, samples : (str, array)
            What :meth:`passed` gave, and the ids.
        """
        places = column[1].nonzero()[0][:SAMPLES]
        count = int(column[1].sum())
        if count:
            values = [samples[1][place] for place in places.tolist()]
            named = [value.item() if hasattr(value, "item") else value for value in values]
            said = {"batch": batch, "passed": count, "of": len(column[1]), "at_least": self.at_least, "samples": named}
            run.statement(self.name, about=about, value=said)


def as_array(value: Any) -> Any:
    """Return an array of NumPy's.

    Parameters
    ----------
    value : object
        An array, a tensor in the memory of a processor or of a device, a sequence of numbers.

    Returns
    -------
    numpy.ndarray
        A view where it can be.
    """
    import numpy as np

    if isinstance(value, np.ndarray):
        return value
    if callable(detach := getattr(value, "detach", None)):
        # A tensor that gradients are computed for, or in the memory of a device, gives its numbers to nobody.
        value = detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
    return np.asarray(value)


def columns_of(result: Any, names: Any) -> dict[str, tuple[str, Any]]:
    """Return the columns of what a model returned.

    Parameters
    ----------
    result : array, mapping or sequence of arrays
        The first axis is that of the samples.
    names : sequence of str, callable or None
        Of the columns; or what makes a mapping of the result. Without it ``output``, or ``output_0`` and so on; keys
        and fields keep their names.

    Returns
    -------
    dict of str to (str, numpy.ndarray)
        Type and values of each column, in native byte order.

    Raises
    ------
    InvalidInputError
        If they are no rows: of a type that has no column, of several lengths, more than :data:`COLUMNS`, or others
        than are named.
    """
    if callable(names):
        result, names = named_outputs(result, names), None
    columns: dict[str, Any] = {}
    parts: list[tuple[str, Any]]
    if isinstance(result, Mapping):
        parts = [(str(name), as_array(value)) for name, value in result.items()]
    elif isinstance(result, (tuple, list)) and result and hasattr(result[0], "shape"):
        several = len(result) > 1
        parts = [(f"output_{at}" if several else "output", as_array(value)) for at, value in enumerate(result)]
    else:
        parts = [("output", as_array(result))]
    for name, array in parts:
        for column, values in _split(name, array):
            if column in columns or column in _OWN:
                raise InvalidInputError(f"two columns of the outputs are called {column!r}")
            columns[column] = _typed(column, values)
    if names is not None:
        names = [names] if isinstance(names, str) else [str(name) for name in names]
        if len(names) != len(columns) or len(set(names)) != len(names) or set(names) & set(_OWN):
            raise InvalidInputError(f"the outputs have {len(columns)} columns, {len(names)} names were given")
        columns = dict(zip(names, columns.values(), strict=True))
    return columns


def named_outputs(result: Any, names: Callable[[Any], Any]) -> Any:
    """Ask the program's function for the outputs by their names.

    Parameters
    ----------
    result : object
        What a model returned.
    names : callable
        The function.

    Returns
    -------
    mapping of str to array
        What it returned.

    Raises
    ------
    InvalidInputError
        If that is no mapping.
    """
    found = names(result)
    if not isinstance(found, Mapping):
        raise InvalidInputError(f"outputs= gives a mapping of name to array, not a {type(found).__name__}")
    return found


def _split(name: str, array: Any) -> list[tuple[str, Any]]:
    if array.dtype.names:
        return [(field, array[field]) for field in array.dtype.names]
    if array.ndim == 1:
        return [(name, array)]
    if array.ndim == 0:
        return [(name, array.reshape(1))]
    # Also of a batch without samples: its columns are those of the others.
    flat = array.reshape(len(array), math.prod(array.shape[1:]))
    if flat.shape[1] > COLUMNS:
        raise InvalidInputError(f"{name} has {flat.shape[1]} values for each sample, more than {COLUMNS}")
    if flat.shape[1] == 1:
        return [(name, flat[:, 0])]
    return [(f"{name}_{at}", flat[:, at]) for at in range(flat.shape[1])]


def _typed(name: str, values: Any) -> tuple[str, Any]:
    dtype = values.dtype
    if (masks := sys.modules.get("numpy.ma")) is not None and masks.is_masked(values):
        raise InvalidInputError(f"{name} has masked values: give filled() or the samples that count")
    if values.ndim != 1:
        raise InvalidInputError(f"{name} has an array for each sample")
    if dtype.kind in "US":
        if dtype.kind == "S":
            raise InvalidInputError(f"{name} holds bytes: give text")
        return "text", values.tolist()
    if dtype.hasobject:
        texts = values.tolist()
        if not all(isinstance(value, str) for value in texts):
            raise InvalidInputError(f"{name} holds Python objects")
        return "text", texts
    kind, other = _KINDS.get(f"{dtype.kind}{dtype.itemsize}", (None, None))
    if kind is None:
        raise InvalidInputError(f"{name} is of dtype {dtype}, which no column holds")
    if other is not None:
        values = values.astype(other)
    elif not dtype.isnative:
        values = values.astype(dtype.newbyteorder("="))
    return kind, values


def rows_of(columns: Mapping[str, tuple[str, Any]]) -> int:
    """Return how many rows columns have.

    Parameters
    ----------
    columns : mapping
        As :func:`columns_of` gives them.

    Returns
    -------
    int
        The same for all.

    Raises
    ------
    InvalidInputError
        If it is not the same for all.
    """
    lengths = {len(values) for _, values in columns.values()}
    if len(lengths) > 1:
        raise InvalidInputError(f"the outputs have {', '.join(map(str, sorted(lengths)))} rows")
    return lengths.pop() if lengths else 0


def ids_of(ids: Any, rows: int, first: int) -> tuple[tuple[str, Any], int | None]:
    """Return the ids of samples.

    Parameters
    ----------
    ids : sequence of int or str, or None
        As the program gave them.
    rows : int
        How many samples there are.
    first : int
        Number of the first one, where no ids were given.

    Returns
    -------
    (str, array), int or None
        Type and values of the column; `first` if it was used.

    Raises
    ------
    InvalidInputError
        If there are more or fewer ids than samples, or they are neither numbers nor texts.
    """
    import numpy as np

    if ids is None:
        return ("int64", np.arange(first, first + rows, dtype=np.int64)), first
    given = list(ids) if isinstance(ids, Sequence) and not hasattr(ids, "dtype") else np.asarray(ids)
    if len(given) != rows:
        raise InvalidInputError(f"{len(given)} ids were given for {rows} samples")
    if all(isinstance(one, str) for one in given):
        return ("text", list(map(str, given))), None
    array = np.asarray(given)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InvalidInputError("ids of samples are whole numbers or texts")
    return ("uint64" if array.dtype == np.uint64 else "int64", array), None


def digest_of_input(batch: Any, how: str = "blake3") -> str:
    """Return the digest of a batch.

    Parameters
    ----------
    batch : array, mapping or sequence of arrays
        The input of a model.
    how : str
        ``blake3``, or ``xxh3``, which takes a tenth of the time: the first is of dtype, shape and bytes, as that of a
        record, the second of the bytes alone, and made to be quick and not to withstand anybody.

    Returns
    -------
    str
        Of an array, by blake3, as that of a record with ``array=``; of several, that of their names and digests. Empty
        if it is none of these.
    """
    try:
        if isinstance(batch, Mapping):
            parts = [f"{name}\0{digest_of_input(value, how)}" for name, value in batch.items()]
        elif isinstance(batch, (list, tuple)):
            parts = (
                [digest_of_input(value, how) for value in batch] if hasattr(next(iter(batch), None), "shape") else []
            )
            batch = batch if parts else as_array(batch)
        else:
            parts = []
        if parts:
            if any(part.endswith("\0") or not part for part in parts):
                return ""
            whole = "\n".join(parts).encode()
            return _quick(whole) if how == "xxh3" else content_of_bytes(whole, prefix=b"batch\0").digest
        laid = array_bytes(batch if hasattr(batch, "dtype") and not hasattr(batch, "detach") else as_array(batch))
        return _quick(laid.data) if how == "xxh3" else laid.content().digest
    except (InvalidInputError, TypeError, ValueError, RuntimeError, AttributeError):
        return ""


def _quick(data: bytes | memoryview) -> str:
    return f"xxh3:{xxh3_128_hexdigest(data)}"

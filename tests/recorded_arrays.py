"""Arrays for tests: one of every sort, and what a log gives back of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braid_hpc.reading.arrays import LoggedArray, dtype_of, logged_arrays
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.writer_log import WriterLog

FIELDS = [("a", "<i4"), ("b", ">f8"), ("c", "?", (2,))]
NAN_WITH_PAYLOAD = 0x7FF8_0000_DEAD_BEEF


def arrays_of_every_sort(length: int = 40_000) -> dict[str, Any]:
    """Give arrays of about `length` elements: with the default too large for the tail, with a small one small."""
    random = np.random.default_rng(7)
    base = random.integers(0, 256, 8 * length, np.uint8)
    floats = random.random(length)
    nan = floats.copy()
    nan.view("u8")[:5] = NAN_WITH_PAYLOAD
    table = np.zeros(length, FIELDS)
    table["a"], table["b"] = np.arange(length), floats
    made: dict[str, Any] = {
        dtype: np.resize(base.view(dtype) if dtype not in ("f2", "f4") else floats.astype(dtype), length)
        for dtype in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4")
    }
    made |= {
        "f8": floats,
        "nan": nan,
        "big-endian": floats.astype(">f8"),
        "bool": floats > 0.5,
        "c8": (floats + 1j).astype("c8"),
        "c16": floats * 1j,
        "datetime": np.arange(length).astype("M8[ms]"),
        "not-a-time": np.full(length, "NaT", "m8[ns]"),
        "structured": table,
        "aligned": np.zeros(length, np.dtype([("x", "i1"), ("y", "f8")], align=True)),
        "text": np.array(["µ" + str(i) for i in range(length // 4)]),
        "bytes": np.array([b"a\0b", b"", b"xyz"] * (length // 3)),
        "void": base[: length // 5 * 5].view("V5"),
        "long-double": floats.astype("g"),
        "strided": floats.reshape(-1, 4)[::2, 1:3],
        "fortran": np.asfortranarray(floats.reshape(-1, 8)),
        "reversed": floats[::-1],
        "four-dimensions": floats.reshape(2, 5, -1, 4),
        "scalar": np.float32(3.25),
        "no-dimensions": np.array(7, "i2"),
        "big-endian-scalar": np.array(1.5, ">f8"),
        "odd-bool": base[:length].view("?"),
        "empty": np.zeros((0, 3), "f4"),
        "empty-fields": np.zeros(0, FIELDS),
    }
    return made


def same(left: Any, right: Any) -> bool:
    """Whether two arrays are equal bit for bit, dtype and shape included."""
    left, right = np.asarray(left), np.asarray(right)
    return bool(left.dtype == right.dtype) and left.shape == right.shape and left.tobytes() == right.tobytes()


def read_array(reader: ArrayReader, directory: Path, array: LoggedArray) -> Any:
    """Give an array as it stands in a log, unchecked."""
    entry = array.entry
    data = array.read(reader, directory, 0, entry.size)
    dtype = dtype_of(entry.dtype)
    return np.frombuffer(data, dtype).reshape(entry.shape) if entry.size else np.zeros(entry.shape, dtype)


def read_arrays(log: WriterLog) -> dict[str, Any]:
    """Give the arrays of a log by name, without the kind."""
    with ArrayReader() as reader:
        return {
            name.partition(":")[2]: read_array(reader, log.directory, array)
            for array in logged_arrays(log)
            for name in array.names
        }

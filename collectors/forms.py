"""Kinds of outputs that were seen before: their columns are cut without another look at names and types."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from braid_hpc.collectors.outputs import columns_of, named_outputs

__all__ = ["FORMS", "Forms"]

#: Kinds that are remembered; any further one is looked at each time.
FORMS = 64


class Forms:
    """Makes columns of what one model returns, batch after batch.

    Looking at names, dtypes and shapes takes longer than recording the numbers, and they are the same for every batch
    of nearly every model: for plain arrays in plain containers the answer is remembered. Whatever it is not certain of
    goes to :func:`braid_hpc.collectors.outputs.columns_of`, so what that does is what holds.
    """

    def __init__(self) -> None:
        self._known: dict[Any, tuple[tuple[str, str], ...]] = {}

    def columns(self, result: Any, names: Any) -> dict[str, tuple[str, Any]]:
        """Return the columns of what a model returned.

        Parameters
        ----------
        result : array, mapping or sequence of arrays
            The first axis is that of the samples.
        names : sequence of str, callable or None
            Of the columns, the same in each call.

        Returns
        -------
        dict of str to (str, numpy.ndarray)
            As :func:`braid_hpc.collectors.outputs.columns_of`.

        Raises
        ------
        InvalidInputError
            If they are no rows.
        """
        if callable(names):
            result, names = named_outputs(result, names), None
        arrays, key = _looked_at(result)
        known = self._known.get(key) if key else None
        if known is not None:
            planes: list[Any] = []
            for array in arrays:
                if array.ndim == 1:
                    planes.append(array)
                else:
                    # All columns in one pass; each of them then lies in one piece.
                    planes.extend(array.reshape(len(array), -1).T.copy())
            return {name: (kind, plane) for (name, kind), plane in zip(known, planes, strict=True)}
        columns = columns_of(result, names)
        if key and len(self._known) < FORMS and _as_they_are(columns, arrays):
            self._known[key] = tuple((name, kind) for name, (kind, _) in columns.items())
        return columns


def _looked_at(result: Any) -> tuple[tuple[Any, ...], Any]:
    """Return the arrays of a result, and what kind of result it is; nothing for one that is not remembered."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return (), None
    names: Any = None
    if result.__class__ is numpy.ndarray:
        arrays: tuple[Any, ...] = (result,)
    elif result.__class__ is dict:
        names, arrays = tuple(result), tuple(result.values())
    elif result.__class__ is list or result.__class__ is tuple:
        names, arrays = len(result), tuple(result)
    else:
        return (), None
    key = [names]
    for array in arrays:
        # Of an array without rows the length of a sample cannot be told from its shape alone.
        if array.__class__ is not numpy.ndarray or not array.ndim or not array.size:
            return (), None
        key += (array.dtype, array.shape[1:])
    return arrays, tuple(key)


def _as_they_are(columns: Mapping[str, tuple[str, Any]], arrays: tuple[Any, ...]) -> bool:
    """Whether the columns are the numbers of the arrays, of the same dtypes and in the same order."""
    dtypes = [array.dtype for array in arrays for _ in range(array.size // len(array))]
    found = [getattr(values, "dtype", None) for _, values in columns.values()]
    return dtypes == found and not any(dtype.hasobject or dtype.names for dtype in dtypes)

"""Sums over images, a bounded part at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.assets.filler import Filler
from braid_hpc.assets.lazy import LazyArray
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["HOW", "reduce", "reduce_array"]

#: What can be asked.
HOW = ("sum", "min", "max", "mean", "count")


def reduce(
    store: Store,
    uid: str,
    stream: str,
    key: str,
    how: str,
    *,
    each: bool = False,
    root_map: Mapping[str, Any] | None = None,
    verify: bool = True,
    at: int | None = None,
    as_of: Any = None,
) -> Any:
    """Evaluate the values of a data key of a scan in bounded memory.

    Parameters
    ----------
    store : Store
        Open.
    uid : str
        Of the scan, or its beginning.
    stream : str
        Name of the stream.
    key : str
        The data key, external or not.
    how : str
        ``sum``, ``min``, ``max``, ``mean`` or ``count`` (of elements).
    each : bool
        Whether one answer for each event is wanted.
    root_map, verify
        As for :class:`~braid_hpc.assets.Filler`.
    at : int, optional
        A snapshot number: what the store knew then.
    as_of : datetime, str or int, optional
        A time: what had been recorded by then.

    Returns
    -------
    int, float, complex, bool, None, or list of these
        Integers are summed exactly, whatever their number. Over no element ``sum`` and ``count`` are 0, and the others
        None. With `each`, in order of the events' numbers.

    Raises
    ------
    NotFoundError, ConflictError, StorageError, MissingExtraError
        If there is no such scan, stream or key, or a file cannot be read; see :meth:`~braid_hpc.assets.Filler.fill`.
    InvalidInputError
        If `how` is none of these, or the values are no numbers.
    """
    if how not in HOW:
        raise InvalidInputError(f"how={how!r} is none of {', '.join(HOW)}")
    with Filler(store.documents(uid, at=at, as_of=as_of), root_map=root_map, verify=verify) as filler:
        return reduce_array(filler.array(stream, key), how, each=each)


def reduce_array(array: LazyArray, how: str, *, each: bool = False) -> Any:
    """Evaluate a lazy array in bounded memory.

    Parameters
    ----------
    array : LazyArray
        From :meth:`~braid_hpc.assets.Filler.array`.
    how : str
        As for :func:`reduce`.
    each : bool
        Whether one answer for each row is wanted.

    Returns
    -------
    int, float, complex, bool, None, or list of these
        As :func:`reduce`.

    Raises
    ------
    InvalidInputError
        If `how` is none of these, or the values are no numbers.
    NotFoundError, ConflictError, StorageError, MissingExtraError
        If a file cannot be read.
    """
    if how not in HOW:
        raise InvalidInputError(f"how={how!r} is none of {', '.join(HOW)}")
    if each:
        return [_Total(how, row).value for row in _rows(array)]
    total = _Total(how)
    for block in _numbers(array):
        total.add(block)
    return total.value


def _numbers(array: LazyArray) -> Iterator[np.ndarray[Any, Any]]:
    for _, block in array.blocks():
        if block.dtype == object:
            yield from map(np.asarray, block)
        else:
            yield block


def _rows(array: LazyArray) -> Iterator[np.ndarray[Any, Any]]:
    for _, block in array.blocks():
        yield from map(np.asarray, block)


class _Total:
    """What is known of the elements so far."""

    def __init__(self, how: str, block: np.ndarray[Any, Any] | None = None) -> None:
        self._how = how
        self._count = 0
        self._whole = 0
        self._parts: list[Any] = []
        self._best: Any = None
        if block is not None:
            self.add(block)

    def add(self, block: np.ndarray[Any, Any]) -> None:
        kind = block.dtype.kind
        if kind not in "biufc":
            raise InvalidInputError(f"values of type {block.dtype} have no {self._how}: they are no numbers")
        if kind == "c" and self._how in ("min", "max"):
            raise InvalidInputError(f"complex numbers have no {self._how}")
        self._count += block.size
        if not block.size:
            return
        if self._how in ("sum", "mean"):
            if kind in "biu":
                self._whole += _exact_sum(block)
            else:
                self._parts.append(block.sum(dtype=np.result_type(block.dtype, np.float64)))
        elif self._how in ("min", "max"):
            better: Callable[..., Any] = np.minimum if self._how == "min" else np.maximum
            # NaN is the least and the greatest, as for NumPy.
            found = block.min() if self._how == "min" else block.max()
            self._best = found if self._best is None else better(self._best, found)

    @property
    def value(self) -> Any:
        """The answer."""
        if self._how == "count":
            return self._count
        if self._how in ("min", "max"):
            return None if self._best is None else self._best.item()
        if self._how == "mean" and not self._count:
            return None
        total: Any = self._whole
        if self._parts:
            total = _float_sum([*self._parts, self._whole])
        return total if self._how == "sum" else total / self._count


def _exact_sum(block: np.ndarray[Any, Any]) -> int:
    if block.dtype.itemsize < 8:
        # 2^32 elements of 32 bits would still fit.
        return int(block.sum(dtype=np.int64 if block.dtype.kind != "u" else np.uint64))
    low = (block & block.dtype.type(0xFFFFFFFF)).sum(dtype=np.uint64)
    high = (block >> block.dtype.type(32)).sum(dtype=np.int64)
    return (int(high) << 32) + int(low)


def _float_sum(parts: list[Any]) -> Any:
    if any(isinstance(each, (complex, np.complexfloating)) for each in parts):
        return complex(_float_sum([each.real for each in parts]), _float_sum([each.imag for each in parts]))
    try:
        return math.fsum(parts)
    except (OverflowError, ValueError):
        # Infinities of both signs, and sums beyond the largest number: as NumPy has them.
        with np.errstate(all="ignore"):
            return float(np.sum(np.array([float(each) for each in parts])))

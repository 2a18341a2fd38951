"""Which executions in a done index were made by other source than the present one; of many keys at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from braid_hpc.tasks.deciding import other_code
from braid_hpc.vocabulary.errors import CorruptLogError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from braid_hpc.tasks.done_index import DoneIndex
    from braid_hpc.tasks.identity import Identity

__all__ = ["of_other_code"]

_ENCODE = msgspec.msgpack.encode
#: A list of nine, and handles: of 24 bytes, or of none.
_LIST, _BYTES, _HANDLES = b"\x99", 0xC4, (0, 24)


def of_other_code(index: DoneIndex, places: NDArray[Any], identity: Identity) -> NDArray[Any]:
    """Return which executions were made by source that is not that of a task now.

    All entries of one task begin alike, with its name and its version, so that the digest of the source is read where
    it stands, without decoding an entry.

    Parameters
    ----------
    index : DoneIndex
        What is done.
    places : numpy.ndarray
        int64, shape (n,): from :meth:`~braid_hpc.tasks.done_index.DoneIndex.places`, none of them -1.
    identity : Identity
        Of the task.

    Returns
    -------
    numpy.ndarray
        bool, shape (n,): False where one of the two is not known.
    """
    import numpy as np

    found = np.zeros(len(places), bool)
    now = identity.code
    if now is None or not len(places):
        return found
    code = np.frombuffer(_ENCODE(now), np.uint8)
    # Behind the list's head: name, version, the handle of the execution.
    handle = len(_LIST + _ENCODE(identity.name) + _ENCODE(identity.version))
    record = handle + 2 + 24
    table, heap = index.table[places], index.heap
    begin, length = table["begin"].astype(np.int64), table["length"].astype(np.int64)
    long = length > record + 2 + 24 + len(code)
    start = np.where(long, begin, 0)
    size = heap[np.minimum(start + record + 1, len(heap) - 1)]
    plain = long & (heap[start] == _LIST[0]) & np.isin(size, _HANDLES)
    for at in (handle, record):
        there = np.minimum(start + at, len(heap) - 2)
        plain &= heap[there] == _BYTES
    plain &= heap[np.minimum(start + handle + 1, len(heap) - 1)] == 24
    rows = np.flatnonzero(plain)
    first = begin[rows] + record + 2 + size[rows]
    shown = np.lib.stride_tricks.sliding_window_view(heap, len(code))[first]
    same = (shown == code).all(axis=1)
    found[rows] = ~same & (shown[:, 0] == code[0])
    # Those of another kind, those that are not laid out so, and those that say otherwise, one by one.
    for row in np.flatnonzero(found | ~plain).tolist():
        try:
            found[row] = other_code(index.entry(int(places[row])).code, now)
        except CorruptLogError:
            # The call finds it, says so, and runs.
            found[row] = True
    return found

"""The arrays beside a store, read whole and compared with their digests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from braid_hpc.compaction.array_forms import boxes, stored_form
from braid_hpc.reading.arrays import BLOCK, dtype_of
from braid_hpc.vocabulary.arrays import array_digest
from braid_hpc.vocabulary.errors import CorruptLogError, MissingExtraError

__all__ = ["lost_arrays"]


def lost_arrays(folder: Path, rows: list[tuple[Any, ...]], progress: Callable[[str, int, int], None]) -> dict[str, str]:
    """Read arrays, and say which are lost.

    Parameters
    ----------
    folder : Path
        With the HDF5 files.
    rows : list of tuple
        Rows of ``array_rows`` without the snapshot.
    progress : callable
        As for :func:`braid_hpc.compaction.compact.compact`.

    Returns
    -------
    dict of str to str
        A sentence for each that cannot be believed, by its digest.

    Raises
    ------
    MissingExtraError
        If there are arrays and h5py is not installed.
    """
    if not rows:
        return {}
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("arrays are read with h5py: pip install 'braid_hpc[arrays]'") from error
    lost: dict[str, str] = {}
    opened: dict[str, Any] = {}
    try:
        for done, (digest, file, dataset, dtype, shape, size) in enumerate(rows):
            progress("arrays", done, len(rows))
            try:
                if file not in opened:
                    opened[file] = h5py.File(folder / file, "r", locking=False)
                found = _digest(opened[file][dataset], dtype, shape, size)
                reason = "" if found == digest else "its bytes do not carry its digest"
            except (OSError, RuntimeError, KeyError, ValueError, TypeError, CorruptLogError) as error:
                # What HDF5 makes of a damaged file.
                reason = str(error.args[0] if error.args else error).strip().partition("\n")[0]
            if reason:
                lost[digest] = f"array {digest} of {folder / file} is lost: {reason}"
    finally:
        for each in opened.values():
            each.close()
    return lost


def _digest(dataset: Any, dtype: str, shape: list[int], size: int) -> str:
    digest = array_digest(dtype, shape)
    form, lengths = stored_form(dtype_of(dtype), tuple(shape))
    if dataset.shape != lengths:
        raise CorruptLogError("it is of another shape")
    for box in boxes(lengths, form.itemsize, BLOCK) if size else ():
        data = np.ascontiguousarray(dataset[box])
        digest.update(data.reshape(-1).view("u1").data)
    return f"blake3:{digest.hexdigest()}"

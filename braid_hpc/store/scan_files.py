"""Values of scans that lie in files of detectors, read a bounded part at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.errors import BraidError, BraidWarning

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened
    from braid_hpc.store.scan_facts import Described

__all__ = ["values_in_files"]


def values_in_files(
    store: Opened, then: dict[str, int], key: str, described: dict[str, Described]
) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Yield what lies in files under a data key.

    Parameters
    ----------
    store : Opened
        Open.
    then : dict of str to int
        The moment.
    key : str
        The data key.
    described : dict of str to Described
        The descriptors whose events are meant.

    Yields
    ------
    scan : str
        Uid.
    block : tuple
        Stream, and number of the first row.
    values : numpy.ndarray
        Some rows.

    Warns
    -----
    BraidWarning
        If a file cannot be read: its scan then has fewer values than it had.
    """
    streams: dict[str, set[str]] = {}
    for each in described.values():
        if key in each.external:
            streams.setdefault(each.scan, set()).add(each.stream)
    if not streams:
        return
    from braid_hpc.assets.filler import Filler
    from braid_hpc.store.documents import read_documents

    for scan, names in sorted(streams.items()):
        with Filler(read_documents(store, scan, then=then)) as filler:
            for stream in sorted(names):
                try:
                    for number, (_, block) in enumerate(filler.array(stream, key).blocks()):
                        yield scan, (stream, number), block
                except BraidError as error:
                    message = f"data.{key} of scan {scan} is not searched as a whole: {error}"
                    warnings.warn(message, BraidWarning, stacklevel=2)

"""Which run is meant: by uid, the beginning of one, a scan's number, or how many runs ago."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from braid_hpc.store.documents import documents_place, resolve_scan
from braid_hpc.store.event_documents import THEN
from braid_hpc.store.runs import RUN_PREFIX
from braid_hpc.vocabulary.errors import BraidWarning, InvalidInputError, NotFoundError
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["is_run", "resolve_which"]

#: Uids that are named in a message.
LISTED = 10


def is_run(which: Any) -> bool:
    """Say whether a run is meant that is no scan of an instrument.

    Parameters
    ----------
    which : object
        What was asked for.

    Returns
    -------
    bool
        Whether it begins with ``run:``.
    """
    return isinstance(which, str) and which.startswith(RUN_PREFIX)


def resolve_which(store: Opened, which: Any, then: dict[str, int]) -> str:
    """Find the scan that is meant.

    Parameters
    ----------
    store : Opened
        Open.
    which : str or int
        A uid or the beginning of one, with or without the kind ``scan:`` before it; a number of a scan, from 0; or -1
        for the newest, -2 for the one before it.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Returns
    -------
    str
        Its uid.

    Raises
    ------
    NotFoundError
        If there is none.
    ConflictError
        If several begin so.
    InvalidInputError
        If it is neither text nor number.

    Warns
    -----
    BraidWarning
        If several scans have that number: the newest is taken, and the others are named.
    """
    if isinstance(which, str):
        return resolve_scan(store, documents_place(store), which.removeprefix("scan:"), then)
    if isinstance(which, bool) or not hasattr(which, "__index__"):
        raise InvalidInputError(f"{which!r:.40} is no scan: name one by its uid, its scan_id, or -1 for the newest")
    number = int(which.__index__())
    starts = _starts(store, then)
    if number < 0:
        if -number > len(starts):
            raise NotFoundError(f"there is no scan {number} in {store.path.name}: it has {len(starts)}")
        return starts[number][1]
    found = [uid for _, uid, scan in starts if type(scan) is int and scan == number]
    if not found:
        raise NotFoundError(f"there is no scan with scan_id {number} in {store.path.name}")
    if len(found) > 1:
        others = ", ".join(found[-2::-1][:LISTED]) + (" and more" if len(found) > LISTED + 1 else "")
        warnings.warn(
            f"{len(found)} scans have scan_id {number}: {found[-1]} is the newest, and is taken; "
            f"the others are {others}",
            BraidWarning,
            stacklevel=5,
        )
    return found[-1]


def _starts(store: Opened, then: dict[str, int]) -> list[tuple[float, str, Any]]:
    """Return time, uid and number of all scans, by time."""
    place = documents_place(store)
    rows = store.sql(
        f"select scan, min(body) as body from {place} where document = 'start' and scan <> '' and {THEN} group by scan",
        then,
    )
    found = []
    for row in rows:
        start = decode_words(row["body"])
        time = start.get("time") if type(start) is dict else None
        good = type(time) in (int, float) and time == time
        found.append((float(time) if good else -1.0, str(row["scan"]), start.get("scan_id")))  # type: ignore[arg-type]
    return sorted(found, key=lambda each: each[:2])

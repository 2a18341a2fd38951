"""Work that somebody has taken: leases of files that are to be made, given between jobs and never on a rank."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.campaigns.campaign import Campaign
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from braid_hpc.vocabulary.places import CLAIM_COLUMNS, CLAIMS
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    from braid_hpc.campaigns.plan import Plan
    from braid_hpc.snapshots.files import StoreFiles
    from braid_hpc.store.store import Store
    from braid_hpc.store.tables import Table

__all__ = ["LEASE", "claim", "claim_cells", "claimed", "release"]

#: Seconds that a claim holds.
LEASE = 24 * 3600

_LOCK = "claims.lock"

#: No claim holds for more seconds: they are counted in nanoseconds since 1970, of 64 bits.
_LONGEST = 1e9


def claim(
    store: Store, table: Any, *, most: int | None = None, seconds: float = LEASE, who: str = "", **conditions: Any
) -> tuple[str, Table]:
    """Take files that can be made now, so that nobody else takes them.

    One who claims waits for another one; none of this is done on a rank. What is not made in time can be taken again.

    Parameters
    ----------
    store : Store
        Open; moves on to the snapshot that the claim makes.
    table : type or str
        A declared class, or the name of the table.
    most : int, optional
        How many files at most, the first ones.
    seconds : float
        How long the claim holds.
    who : str
        For people.
    **conditions
        As for :meth:`~braid_hpc.campaigns.campaign.Campaign.missing`.

    Returns
    -------
    id : str
        Of the claim; empty if there was nothing to take.
    files : Table
        As from :meth:`~braid_hpc.campaigns.campaign.Campaign.runnable`.

    Raises
    ------
    NotFoundError
        If no such table was declared.
    InvalidInputError
        If `most` or `seconds` is not positive, `seconds` is more than 1e9, `who` is no text, or a condition cannot
        be asked.
    StorageError
        If nothing can be written beside the store; then nothing is taken.
    """
    _check(most, seconds, who)
    with _alone(store._files):
        # What another one has claimed while this one waited.
        store.refresh()
        campaign = Campaign(store)
        found = campaign.runnable(table, **conditions).to_arrow()
        stage = campaign._stage(table)
        file = stage.table.schema.file or ""
        taken = set(claimed(store, stage.name)["name"])
        names = found.column(file).to_pylist()
        keep = [at for at, name in enumerate(names) if name not in taken][:most]
        import pyarrow as pa

        from braid_hpc.store.tables import Table

        chosen = Table(found.take(pa.array(keep, pa.int64())))
        if not keep:
            return "", chosen
        return _take(store, stage.name, [names[at] for at in keep], seconds, who), chosen


def claim_cells(store: Store, plan: Plan, *, most: int | None, seconds: float, who: str) -> tuple[str, Any]:
    """Take cells of a plan that are left; see :meth:`braid_hpc.campaigns.plan.Plan.claim`.

    Parameters
    ----------
    store : Store
        Open; moves on to the snapshot that the claim makes.
    plan : Plan
        Made with it; looks again at what is left.
    most, seconds, who
        As for :func:`claim`.

    Returns
    -------
    id : str
        Of the claim; empty if there was nothing to take.
    cells : numpy.ndarray
        Numbers of the cells.

    Raises
    ------
    InvalidInputError, StorageError
        As :func:`claim`.
    """
    _check(most, seconds, who)
    table = plan.task.marks_as
    with _alone(store._files):
        # What another one has claimed while this one waited.
        store.refresh()
        plan._forget()
        # Keys, because the cells of another grid may be the same calls; those that a grid has twice too.
        taken = {bytes.fromhex(name) for name in claimed(store, table)["name"]}
        cells: list[int] = []
        keys: list[str] = []
        for cell, key in plan._keys_left():
            if most is not None and len(cells) == most:
                break
            if key not in taken:
                taken.add(key)
                cells.append(cell)
                keys.append(key.hex())
        number = _take(store, table, keys, seconds, who) if keys else ""
        plan._forget()
    return number, np.array(cells, np.int64)


def _check(most: Any, seconds: Any, who: Any) -> None:
    if not isinstance(who, str):
        raise InvalidInputError(f"who= is a text, not {who!r}")
    numbers = (int, float, np.integer, np.floating)
    is_count = most is None or (isinstance(most, (int, np.integer)) and not isinstance(most, bool) and most >= 1)
    if not is_count or isinstance(seconds, bool) or not isinstance(seconds, numbers) or not 0 < seconds <= _LONGEST:
        raise InvalidInputError(f"a claim is of one at least and for a time: not {most!r} for {seconds!r} s")


def _take(store: Store, table: str, names: list[str], seconds: float, who: str) -> str:
    """Say that names are taken; return the id of the claim."""
    number = uuid.uuid4().hex[:12]
    _say(store, number, table, names, time.time_ns() + int(seconds * 1e9), who)
    return number


def claimed(store: Store, table: str | None = None, *, now: int | None = None) -> Table:
    """Return what is claimed at this moment.

    Parameters
    ----------
    store : Store
        Open.
    table : str, optional
        Name of a table; without it of all.
    now : int, optional
        Nanoseconds since 1970 UTC, instead of the present.

    Returns
    -------
    Table
        ``claim``, ``table``, ``name``, ``who`` and ``until``.
    """
    place = store._asked("select min(place) as place from stream_rows where stream = ?", [CLAIMS])["place"][0]
    if place is None:
        empty = ", ".join(f"null::varchar as {quoted(name)}" for name in ("claim", "table", "name", "who", "until"))
        return store._asked(f"select {empty} where false")
    return store._asked(
        'select claim, "table", name, who, until from ('
        f"from stream.{quoted(place)} qualify row_number() over ("
        'partition by claim, "table", name order by _time desc, _writer, _row desc) = 1) '
        'where epoch_ns(until) > $now and ($only is null or "table" = $only) order by all',
        {"now": time.time_ns() if now is None else now, "only": table},
    )


def release(store: Store, number: str) -> int:
    """Give back what a claim has taken.

    Parameters
    ----------
    store : Store
        Open; moves on to the snapshot that says so.
    number : str
        Id of the claim.

    Returns
    -------
    int
        How many files.

    Raises
    ------
    NotFoundError
        If there is no such claim, or it holds no more.
    StorageError
        If nothing can be written beside the store.
    """
    with _alone(store._files):
        store.refresh()
        held = [row for row in claimed(store) if row["claim"] == number]
        if not held:
            raise NotFoundError(f"there is no claim {number!r} that still holds")
        for table in sorted({row["table"] for row in held}):
            names = [row["name"] for row in held if row["table"] == table]
            _say(store, number, table, names, 0, "")
    return len(held)


def _say(store: Store, number: str, table: str, names: list[str], until: int, who: str) -> None:
    count = len(names)
    columns = {
        "claim": [number] * count,
        "table": [table] * count,
        "name": names,
        "until": np.full(count, until, np.int64),
        "who": [who or _me()] * count,
    }

    def say(run: Any) -> list[str]:
        # What nobody else can see is not taken.
        return [number if run.stream(CLAIMS, CLAIM_COLUMNS).extend(columns).count == count else ""]

    store._state(say)


def _me() -> str:
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


@contextmanager
def _alone(files: StoreFiles) -> Iterator[None]:
    """Wait for those who claim at the same time; the kernel ends the lock with its process."""
    try:
        files.directory.mkdir(exist_ok=True)
        descriptor = os.open(files.directory / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"nothing can be written beside {files.path} ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise StorageError(
                f"{files.directory} has no locks ({error.strerror}), and without one a file might be claimed twice"
            ) from error
        yield
    finally:
        os.close(descriptor)

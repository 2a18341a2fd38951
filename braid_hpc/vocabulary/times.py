"""Times as people give them: nanoseconds since 1970, UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["nanoseconds", "shown_time"]

MICROSECOND = timedelta(microseconds=1)

#: The digits behind the sixth of a second's fraction, which datetime drops.
_NANOSECONDS = re.compile(r"[\dW-]+[^\d+-][\d:]*[.,]\d{6}(\d{1,3})")


def nanoseconds(time: Any) -> int | None:
    """Return a time in nanoseconds since 1970 UTC.

    Parameters
    ----------
    time : datetime, str, int or None
        A text is ISO 8601, with up to nine digits of a second; without a zone, both a text and a datetime are UTC. An
        int is taken as it is.

    Returns
    -------
    int or None
        None for None.

    Raises
    ------
    InvalidInputError
        If it is no time.

    Examples
    --------
    >>> nanoseconds("2026-11-21 10:30:00.5+00:00")
    1795257000500000000
    >>> nanoseconds("2026-11-21T10:30:00.500000001Z")
    1795257000500000001
    """
    if time is None or (isinstance(time, int) and not isinstance(time, bool)):
        return time
    try:
        moment = datetime.fromisoformat(time) if isinstance(time, str) else time
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
    except (TypeError, ValueError, AttributeError):
        raise InvalidInputError(
            f"{time!r} is not a time: give one such as '2026-11-21T10:30:00', which is UTC if it names no zone"
        ) from None
    below = _NANOSECONDS.match(time) if isinstance(time, str) else None
    return whole * 1000 + (int(below[1].ljust(3, "0")) if below else 0)


def shown_time(moment: int) -> str:
    """Return a time as people read it.

    Parameters
    ----------
    moment : int
        Nanoseconds since 1970 UTC.

    Returns
    -------
    str
        ISO 8601, with all nine digits, as :func:`nanoseconds` takes it.

    Examples
    --------
    >>> shown_time(1795257000500000001)
    '2026-11-21T10:30:00.500000001Z'
    """
    seconds, rest = divmod(moment, 10**9)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    except (OverflowError, ValueError, OSError):
        return f"{moment} ns after 1970"

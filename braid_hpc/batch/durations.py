"""How long something takes: as people write it, and as schedulers take it."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["duration", "shown_time"]

#: More minutes than these are a slip of the keyboard.
_LONGEST = 10_000_000

_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400}
_UNITS |= {"seconds": 1, "minutes": 60, "hours": 3600, "day": 86400, "days": 86400}
_CLOCK = re.compile(r"(?:(\d{1,3})-)?(\d{1,4}):([0-5]\d):([0-5]\d)")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def duration(value: Any) -> int:
    """Check how long something takes.

    Parameters
    ----------
    value : object
        ``"HH:MM:SS"``, ``"D-HH:MM:SS"``, a whole number of minutes, or amounts with their units (``"2 h"``,
        ``"1 h 30 min"``).

    Returns
    -------
    int
        Seconds.

    Raises
    ------
    ValueError
        If it is nothing of it, or no time at all.

    Examples
    --------
    >>> duration("00:10:00"), duration(10), duration("1 h 30 min"), duration("1-00:00:00")
    (600, 600, 5400, 86400)
    """
    seconds = 0.0
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value * 60
    elif isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    elif isinstance(value, str) and not _AMOUNT.sub("", value.lower()).strip(" ,"):
        for amount, unit in _AMOUNT.findall(value.lower()):
            if unit not in _UNITS:
                raise ValueError(_TIMES)
            seconds += float(amount) * _UNITS[unit]
    if not 1 <= seconds <= _LONGEST * 60:
        raise ValueError(_TIMES)
    return round(seconds)


_TIMES = "a time: 'HH:MM:SS', a whole number of minutes, or an amount with its unit such as '2 h' or '90 min'"


def shown_time(seconds: int, *, seconds_too: bool = True) -> str:
    """Return a time as schedulers take it.

    Parameters
    ----------
    seconds : int
        How long.
    seconds_too : bool
        False: ``HH:MM``, rounded up.

    Returns
    -------
    str
        ``HH:MM:SS``.

    Examples
    --------
    >>> shown_time(90061), shown_time(61, seconds_too=False)
    ('25:01:01', '00:02')
    """
    if not seconds_too:
        minutes = -(-seconds // 60)
        return f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"

"""Times to the nanosecond, in UTC: as people give them, as answers have them, and as they are shown."""

from __future__ import annotations

import operator
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Self

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Moment", "nanoseconds", "shown_time"]

MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1)

#: The digits behind the sixth of a second's fraction, which datetime drops.
_NANOSECONDS = re.compile(r"[\dW-]+[^\d+-][\d:]*[.,]\d{6}(\d{1,3})")

#: Digits alone are a day (20261121), or from so many on nanoseconds since 1970.
_COUNT = re.compile(r"[+-]?\d{10,30}", re.ASCII)


class Moment(datetime):
    """A time in UTC, to the nanosecond; a :class:`datetime.datetime` without a zone for all who know of no more.

    It is shown with nine digits of a second, and ``as_of=`` takes it and its text to the nanosecond.

    Attributes
    ----------
    nanosecond : int
        What is beyond the microsecond, 0 to 999.

    Examples
    --------
    >>> print(Moment.of(1795257000500000001))
    2026-11-21 10:30:00.500000001
    """

    nanosecond: int

    def __new__(cls, *given: Any, nanosecond: int = 0, **named: Any) -> Self:
        """Make one, as a :class:`datetime.datetime` is made."""
        found = super().__new__(cls, *given, **named)
        found.nanosecond = nanosecond
        return found

    @classmethod
    def of(cls, count: int) -> Self:
        """Return a time.

        Parameters
        ----------
        count : int
            Nanoseconds since 1970.

        Returns
        -------
        Moment
            That time.
        """
        whole, below = divmod(count, 1000)
        return cls._from(_EPOCH + timedelta(microseconds=whole), below)

    @classmethod
    def _from(cls, at: datetime, nanosecond: int) -> Self:
        parts = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, at.tzinfo)
        return cls(*parts, fold=at.fold, nanosecond=nanosecond)

    @property
    def nanoseconds(self) -> int:
        """Nanoseconds since 1970."""
        found = nanoseconds(self)
        assert found is not None
        return found

    def isoformat(self, sep: str = "T", timespec: str = "nanoseconds") -> str:
        """Return it in ISO 8601.

        Parameters
        ----------
        sep : str
            Between day and time.
        timespec : str
            How much of it, as for :class:`datetime.datetime`; without it nine digits of a second.

        Returns
        -------
        str
            It.
        """
        if timespec not in ("nanoseconds", "auto"):
            return super().isoformat(sep, timespec)
        text = super().isoformat(sep, "microseconds")
        # A zone stands behind the fraction, where there is one.
        return f"{text[:26]}{self.nanosecond:03d}{text[26:]}"

    def __str__(self) -> str:
        """Return it with nine digits of a second."""
        return self.isoformat(" ")

    def __repr__(self) -> str:
        """Return it with nine digits of a second."""
        return f"Moment('{self.isoformat()}')"

    def replace(self, *given: Any, **named: Any) -> Self:
        """Return it with other parts, as :class:`datetime.datetime` does; nanoseconds stay.

        Parameters
        ----------
        *given, **named
            As there.

        Returns
        -------
        Moment
            Another one.
        """
        return self._from(self._whole().replace(*given, **named), self.nanosecond)

    def astimezone(self, tz: tzinfo | None = None) -> Self:
        """Return it in another zone, as :class:`datetime.datetime` does; nanoseconds stay.

        Parameters
        ----------
        tz : tzinfo, optional
            As there.

        Returns
        -------
        Moment
            Another one.
        """
        return self._from(self._whole().astimezone(tz), self.nanosecond)

    def _whole(self) -> datetime:
        parts = (self.year, self.month, self.day, self.hour, self.minute, self.second, self.microsecond, self.tzinfo)
        return datetime(*parts, fold=self.fold)

    def __add__(self, other: timedelta) -> Self:
        """Return a later time."""
        if not isinstance(other, timedelta):
            return NotImplemented
        return self._from(self._whole() + other, self.nanosecond)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        """Return an earlier time, or what lies between two, in whole microseconds."""
        found = self._whole() - (other._whole() if isinstance(other, Moment) else other)
        return self._from(found, self.nanosecond) if isinstance(found, datetime) else found

    def _compared(self, other: object, how: Any) -> Any:
        if not isinstance(other, datetime):
            return NotImplemented
        whole = other._whole() if isinstance(other, Moment) else other
        if self._whole() == whole:
            return how(self.nanosecond, getattr(other, "nanosecond", 0))
        return how(self._whole(), whole)

    def __eq__(self, other: object) -> bool:
        """Say whether both are one time, to the nanosecond."""
        found: bool = self._compared(other, operator.eq)
        return found

    def __ne__(self, other: object) -> bool:
        """Say whether they are two times."""
        found: bool = self._compared(other, operator.ne)
        return found

    def __lt__(self, other: date) -> bool:
        """Say whether it is earlier."""
        found: bool = self._compared(other, operator.lt)
        return found

    def __le__(self, other: date) -> bool:
        """Say whether it is no later."""
        found: bool = self._compared(other, operator.le)
        return found

    def __gt__(self, other: date) -> bool:
        """Say whether it is later."""
        found: bool = self._compared(other, operator.gt)
        return found

    def __ge__(self, other: date) -> bool:
        """Say whether it is no earlier."""
        found: bool = self._compared(other, operator.ge)
        return found

    def __hash__(self) -> int:
        """Return that of the datetime that is equal to it, if there is one."""
        whole = hash(self._whole())
        return hash((whole, self.nanosecond)) if self.nanosecond else whole

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Return how it is made again."""
        return type(self)._from, (self._whole(), self.nanosecond)


def nanoseconds(time: Any) -> int | None:
    """Return a time in nanoseconds since 1970 UTC.

    Parameters
    ----------
    time : datetime, numpy.datetime64, str, int or None
        A text is ISO 8601, with up to nine digits of a second, or the digits of an int; without a zone, both a text and
        a datetime are UTC. An int is taken as it is. What pandas and NumPy know of nanoseconds counts.

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
    if time is None:
        return None
    try:
        if isinstance(time, str) and _COUNT.fullmatch(time):
            return int(time)
        if type(time).__name__ == "datetime64":
            return _from_numpy(time)
        if not isinstance(time, (bool, str, datetime)) and hasattr(time, "__index__"):
            return operator.index(time)
        moment = datetime.fromisoformat(time) if isinstance(time, str) else time
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        # NaT, the time that is none, ends here.
        whole = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND)
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise InvalidInputError(
            f"{time!r:.80} is not a time: give one such as '2026-11-21T10:30:00', which is UTC if it names no zone"
        ) from None
    if not isinstance(time, str):
        return whole * 1000 + int(getattr(moment, "nanosecond", 0))
    below = _NANOSECONDS.match(time)
    return whole * 1000 + (int(below[1].ljust(3, "0")) if below else 0)


def _from_numpy(time: Any) -> int:
    """Return the nanoseconds of a numpy.datetime64, of any unit."""
    exact = time.astype("datetime64[ns]")
    # What 64 bits of nanoseconds cannot hold would be another time; NaT is equal to nothing.
    if exact.astype(time.dtype) != time:
        raise ValueError("no time of this kind")
    return int(exact.astype("int64"))


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

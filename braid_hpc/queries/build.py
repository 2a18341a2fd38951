"""Searches written in Python: ``tag("energy_keV") > 70``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from braid_hpc.queries.fields import Field, Holds, find_field
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.tree import Condition, Query
from braid_hpc.queries.written import noun
from braid_hpc.vocabulary.encoding import check_tags
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = [
    "Noun",
    "Series",
    "begin_time",
    "config",
    "data",
    "data_key",
    "device",
    "digest",
    "end_time",
    "field",
    "host",
    "kind",
    "name",
    "nexus",
    "param",
    "rank",
    "run",
    "start",
    "status",
    "stop",
    "stream",
    "tag",
    "time",
    "uri",
    "valid",
    "value",
]


class Noun:
    """A field, to be compared with Python's operators; each gives a :class:`Query`.

    Parameters
    ----------
    found : Field
        What it stands for.

    Examples
    --------
    >>> print((tag("energy_keV") > 70) & (kind == "data"))
    energy_keV > 70 and kind = data
    >>> print(name.like("scan-*") | ~tag("sample").similar("Nickel"))
    name ~ "scan-*" or not sample similar Nickel
    """

    __slots__ = ("field",)

    def __init__(self, found: Field) -> None:
        self.field = found

    def __eq__(self, other: object) -> Query:  # type: ignore[override]
        """Hold where it is equal."""
        return self._compared(Operator.EQ, other)

    def __ne__(self, other: object) -> Query:  # type: ignore[override]
        """Hold where it is not equal."""
        return self._compared(Operator.NE, other)

    def __lt__(self, other: Any) -> Query:
        """Hold where it is less."""
        return self._compared(Operator.LT, other)

    def __le__(self, other: Any) -> Query:
        """Hold where it is less or equal."""
        return self._compared(Operator.LE, other)

    def __gt__(self, other: Any) -> Query:
        """Hold where it is more."""
        return self._compared(Operator.GT, other)

    def __ge__(self, other: Any) -> Query:
        """Hold where it is more or equal."""
        return self._compared(Operator.GE, other)

    __hash__ = None  # type: ignore[assignment]

    def _compared(self, operator: Operator, other: Any) -> Query:
        return Condition(self.field, operator, self._given(other))

    def _given(self, other: Any) -> Any:
        if self.field.holds is Holds.TIME and isinstance(other, datetime):
            return other.isoformat()
        # A number of NumPy is what it is recorded as.
        try:
            plain = (check_tags({"k": other}) or {}).get("k")
        except InvalidInputError:
            plain = None
        # Anything else is recorded as what Python shows of it, and never meant by that.
        if not isinstance(plain, (int, float)) and not isinstance(other, str):
            raise InvalidInputError(
                f"{_shown(other)} is no value to compare with: give a text, a number or a truth value"
            )
        return plain

    def one_of(self, values: Iterable[Any]) -> Query:
        """Hold where it is one of several.

        Parameters
        ----------
        values : iterable
            One at least.

        Returns
        -------
        Query
            That condition.

        Raises
        ------
        InvalidInputError
            If there are none, or one cannot be.
        """
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise InvalidInputError(f"{values!r:.80} is no list of values")
        return Condition(self.field, Operator.IN, tuple(self._given(each) for each in values))

    def like(self, pattern: str) -> Query:
        """Hold where the whole text fits a pattern of a shell.

        Parameters
        ----------
        pattern : str
            With ``*``, ``?``, ``[a-z]`` and ``[!a]``; small and capital letters differ.

        Returns
        -------
        Query
            That condition.

        Raises
        ------
        InvalidInputError
            If it is no text.
        """
        return Condition(self.field, Operator.LIKE, pattern)

    def matches(self, pattern: str) -> Query:
        """Hold where a regular expression fits somewhere in the text.

        Parameters
        ----------
        pattern : str
            As RE2 takes it: without look-around and references back.

        Returns
        -------
        Query
            That condition.

        Raises
        ------
        InvalidInputError
            If it is no text; a pattern that RE2 refuses is told when it is asked.
        """
        return Condition(self.field, Operator.MATCHES, pattern)

    def contains(self, text: str) -> Query:
        """Hold where a text is a part of it.

        Parameters
        ----------
        text : str
            Small and capital letters differ.

        Returns
        -------
        Query
            That condition.

        Raises
        ------
        InvalidInputError
            If it is no text.
        """
        return Condition(self.field, Operator.CONTAINS, text)

    def similar(self, text: str, *, at: float | None = None) -> Query:
        """Hold where it is like a text, typing errors apart.

        Parameters
        ----------
        text : str
            What it should be like.
        at : float, optional
            Jaro-Winkler similarity at least, 0 to 1; 0.85 without it.

        Returns
        -------
        Query
            That condition.

        Raises
        ------
        InvalidInputError
            If it is no text, or `at` no such number.
        """
        return Condition(self.field, Operator.SIMILAR, text, at)

    def exists(self) -> Query:
        """Hold where there is a value.

        Returns
        -------
        Query
            That condition.

        Raises
        ------
        InvalidInputError
            If everything has one.
        """
        return Condition(self.field, Operator.EXISTS)

    def __repr__(self) -> str:
        """Return how it is written."""
        return f"<field {noun(self.field)}>"


class Series(Noun):
    """The values of a data key in the events of a scan; compared by itself, one value is enough.

    Parameters
    ----------
    found : Field
        What it stands for.

    Examples
    --------
    >>> print(data("motor").all_between(0, 5) & (data("det", stream="primary").max() > 10))
    all(data.motor) >= 0 and all(data.motor) <= 5 and max(data.det@primary) > 10
    """

    __slots__ = ()

    def _made(self, function: str) -> Noun:
        return Noun(find_field("data", self.field.key, of=function, stream=self.field.stream))

    def all(self) -> Noun:
        """Return every value; what is said of it holds if there are values and it holds of each.

        Returns
        -------
        Noun
            To be compared.
        """
        return self._made("all")

    def all_between(self, low: float, high: float) -> Query:
        """Hold where there are values, and all lie between two numbers, or are one of them.

        Parameters
        ----------
        low, high : int or float
            The two.

        Returns
        -------
        Query
            That condition.

        Raises
        ------
        InvalidInputError
            If they are no numbers.
        """
        every = self.all()
        return (every >= low) & (every <= high)

    def min(self) -> Noun:
        """Return the least of the values, those of arrays included.

        Returns
        -------
        Noun
            To be compared with numbers.
        """
        return self._made("min")

    def max(self) -> Noun:
        """Return the largest of the values, those of arrays included.

        Returns
        -------
        Noun
            To be compared with numbers.
        """
        return self._made("max")

    def mean(self) -> Noun:
        """Return the mean of the values, those of arrays included.

        Returns
        -------
        Noun
            To be compared with numbers.
        """
        return self._made("mean")

    def sum(self) -> Noun:
        """Return the sum of the values, those of arrays included.

        Returns
        -------
        Noun
            To be compared with numbers.
        """
        return self._made("sum")

    def count(self) -> Noun:
        """Return how many values there are, those of arrays included.

        Returns
        -------
        Noun
            To be compared with numbers; where a scan has none, no comparison holds.
        """
        return self._made("count")


def _shown(value: object) -> str:
    return "a number of too many digits" if isinstance(value, int) else f"{value!r:.80}"


def field(name: str, key: str | None = None) -> Noun:
    """Return any field.

    Parameters
    ----------
    name : str
        As on the page :doc:`filter`, ``step`` for example; ``run`` with a key is a column of the view ``runs``.
    key : str, optional
        Of a tag, a parameter, a declared value, a run, or a document of an instrument.

    Returns
    -------
    Noun
        To be compared.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    return Noun(find_field(name, key))


def tag(key: str) -> Noun:
    """Return a tag.

    Parameters
    ----------
    key : str
        Dotted where tags were nested.

    Returns
    -------
    Noun
        To be compared.

    Raises
    ------
    InvalidInputError
        If the key is no text.
    """
    return field("tag", key)


def param(key: str) -> Noun:
    """Return a parameter of an activity.

    Parameters
    ----------
    key : str
        Its name, dotted where it is nested.

    Returns
    -------
    Noun
        To be compared.

    Raises
    ------
    InvalidInputError
        If the key is no text.
    """
    return field("param", key)


def value(key: str | None = None) -> Noun:
    """Return the declared value of a fact, or a part of it.

    Parameters
    ----------
    key : str, optional
        Dotted where it is nested; without it all of it, if it is a text, a number or a truth value.

    Returns
    -------
    Noun
        To be compared.

    Raises
    ------
    InvalidInputError
        If the key is no text.
    """
    return field("value", key)


def start(key: str) -> Noun:
    """Return a part of the start document of a scan.

    Parameters
    ----------
    key : str
        Dotted where it is nested; of a list each item counts.

    Returns
    -------
    Noun
        To be compared.

    Raises
    ------
    InvalidInputError
        If the key is no text.
    """
    return field("start", key)


def stop(key: str) -> Noun:
    """Return a part of the stop document of a scan.

    Parameters
    ----------
    key : str
        ``exit_status``, ``num_events.primary`` and so on. A scan that never stopped has none of it.

    Returns
    -------
    Noun
        To be compared.

    Raises
    ------
    InvalidInputError
        If the key is no text.
    """
    return field("stop", key)


def config(key: str) -> Noun:
    """Return a setting of a device in a scan.

    Parameters
    ----------
    key : str
        ``device.setting``, or a setting alone, of whatever device.

    Returns
    -------
    Noun
        To be compared.

    Raises
    ------
    InvalidInputError
        If the key is no text.
    """
    return field("config", key)


def data(key: str, *, stream: str | None = None) -> Series:
    """Return the values of a data key in the events of a scan.

    Parameters
    ----------
    key : str
        The data key.
    stream : str, optional
        Only events of that stream; without it all of them.

    Returns
    -------
    Series
        To be compared, or reduced first.

    Raises
    ------
    InvalidInputError
        If one of the two is no text.
    """
    return Series(find_field("data", key, stream=stream))


def nexus(path: str) -> Noun:
    """Return what stands in the documents of a scan under a NeXus name.

    Parameters
    ----------
    path : str
        Such as ``/entry/sample/name``.

    Returns
    -------
    Noun
        To be compared.

    Raises
    ------
    InvalidInputError
        If it does not begin with a slash.
    """
    return field("nexus", path)


kind = Noun(Field("kind"))
name = Noun(Field("name"))
digest = Noun(Field("digest"))
uri = Noun(Field("uri"))
run = Noun(Field("run"))
rank = Noun(Field("rank"))
host = Noun(Field("host"))
stream = Noun(Field("stream"))
device = Noun(Field("device"))
data_key = Noun(Field("data_key"))
status = Noun(Field("status"))
time = Noun(Field("time"))
begin_time = Noun(Field("begin_time"))
end_time = Noun(Field("end_time"))
valid = Noun(Field("valid"))

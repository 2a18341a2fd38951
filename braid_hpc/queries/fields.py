"""What can be asked for: the fields of the language, which are columns of the store's views."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from enum import StrEnum

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = [
    "AGGREGATES",
    "FAMILIES",
    "FIELDS",
    "FUNCTIONS",
    "OF_SCANS",
    "RUN_FIELDS",
    "STATUSES",
    "Field",
    "Holds",
    "find_field",
    "likely_fields",
    "near",
]


class Holds(StrEnum):
    """What the values of a field are."""

    TEXT = "text"
    KIND = "kind"
    STATUS = "status"
    NUMBER = "number"
    TIME = "time"
    FLAG = "flag"
    ID = "id"
    RUN = "run"
    URI = "uri"
    TYPED = "typed"
    """A value of any type; the literal's type decides."""


#: Of activities, and of runs (``incomplete``).
STATUSES = ("ok", "failed", "exited", "unfinished", "incomplete")

#: What a version or an activity has, as columns of the views ``versions``, ``activities``, ``uris`` and ``ranks``.
FIELDS = {
    "kind": Holds.KIND,
    "name": Holds.TEXT,
    "version": Holds.NUMBER,
    "uid": Holds.ID,
    "digest": Holds.TEXT,
    "size": Holds.NUMBER,
    "dtype": Holds.TEXT,
    "unit": Holds.TEXT,
    "step": Holds.NUMBER,
    "time": Holds.TIME,
    "begin_time": Holds.TIME,
    "end_time": Holds.TIME,
    "duration_ns": Holds.NUMBER,
    "status": Holds.STATUS,
    "error": Holds.TEXT,
    "function": Holds.TEXT,
    "uri": Holds.URI,
    "run": Holds.RUN,
    "rank": Holds.NUMBER,
    "host": Holds.TEXT,
    "stream": Holds.TEXT,
    "device": Holds.TEXT,
    "data_key": Holds.TEXT,
    "snapshot": Holds.NUMBER,
    "valid": Holds.FLAG,
    "weak": Holds.FLAG,
    "placeholder": Holds.FLAG,
}

#: What a run has, behind ``run.``: columns of the view ``runs``.
RUN_FIELDS = {
    "job": Holds.TEXT,
    "size": Holds.NUMBER,
    "ranks": Holds.NUMBER,
    "begin_time": Holds.TIME,
    "end_time": Holds.TIME,
    "status": Holds.STATUS,
    "events": Holds.NUMBER,
    "lost": Holds.NUMBER,
    "argv": Holds.TEXT,
    "cwd": Holds.TEXT,
    "script": Holds.TEXT,
    "script_digest": Holds.TEXT,
    "git": Holds.TEXT,
    "user": Holds.TEXT,
    "launcher": Holds.TEXT,
    "scheduler_job": Holds.TEXT,
    "restart": Holds.NUMBER,
    "snapshot": Holds.NUMBER,
}

#: Fields with a key of their own behind a dot. ``value`` alone is what was declared as a whole.
FAMILIES = ("tag", "param", "value", "run", "start", "stop", "config", "data", "nexus")

#: What documents of an instrument say of a scan, and what its events hold.
OF_SCANS = frozenset(("start", "stop", "config", "data", "nexus", "stream", "device", "data_key"))

#: Numbers that are made of all values of a data key in a scan.
AGGREGATES = ("min", "max", "mean", "sum", "count")

#: What may stand around ``data.KEY``; without one, some value is meant.
FUNCTIONS = ("all", *AGGREGATES)


@dataclass(frozen=True, slots=True)
class Field:
    """A field, or a key of a family.

    Attributes
    ----------
    name : str
        Of :data:`FIELDS` or :data:`FAMILIES`.
    key : str or None
        Of a tag, a parameter, a part of a declared value, a column of a run, a part of a document, or a data key.
    of : str or None
        Of a data key one of :data:`FUNCTIONS`; None where one value is enough.
    stream : str or None
        Of a data key the stream whose events are meant; None for all.
    bare : bool
        Whether a tag was written without ``tag.`` before it, so that a misspelt field may be meant. It is no part of
        what is asked.
    """

    name: str
    key: str | None = None
    of: str | None = None
    stream: str | None = None
    bare: bool = field(default=False, compare=False, repr=False)

    @property
    def meant(self) -> list[str]:
        """The fields that a tag's key is one slip of the hand away from; empty for other fields."""
        return likely_fields(self.key or "") if self.name == "tag" else []

    @property
    def holds(self) -> Holds:
        """What its values are."""
        if self.name == "run" and self.key is not None:
            return RUN_FIELDS[self.key]
        if self.of in AGGREGATES:
            return Holds.NUMBER
        return FIELDS.get(self.name, Holds.TYPED)


def find_field(name: str, key: str | None = None, *, of: str | None = None, stream: str | None = None) -> Field:
    """Return a field by its name.

    Parameters
    ----------
    name : str
        Of :data:`FIELDS` or :data:`FAMILIES`.
    key : str, optional
        For a family.
    of : str, optional
        For ``data``: one of :data:`FUNCTIONS`.
    stream : str, optional
        For ``data``: whose events are meant.

    Returns
    -------
    Field
        That field.

    Raises
    ------
    InvalidInputError
        If there is none; names that are near it are told.
    """
    if key is None and name in FAMILIES and name not in FIELDS and name != "value":
        raise InvalidInputError(f"{name} has keys: name one, such as {name}.energy_keV")
    if key is None and name not in FIELDS and name != "value":
        raise InvalidInputError(f"there is no field {name!r:.80}{near(name, [*FIELDS, *FAMILIES])}")
    if key is not None and (name not in FAMILIES or not isinstance(key, str)):
        raise InvalidInputError(f"{name}.{key} is no field: only {', '.join(FAMILIES)} have keys, which are texts")
    if name == "run" and key is not None and key not in RUN_FIELDS:
        raise InvalidInputError(f"a run has no field {key!r:.80}{near(key, list(RUN_FIELDS))}")
    if name == "data":
        if of is not None and of not in FUNCTIONS:
            raise InvalidInputError(f"there is no function {of!r:.80} of data: there are {', '.join(FUNCTIONS)}")
        if stream is not None and not isinstance(stream, str):
            raise InvalidInputError(f"{stream!r:.80} is no name of a stream: that is a text")
    elif of is not None or stream is not None:
        raise InvalidInputError(
            f"only data has functions and streams, as in max(data.motor@primary), and {name} is not data"
        )
    if name == "nexus" and not (key or "").startswith("/"):
        raise InvalidInputError(f"{key!r:.80} is no NeXus name: that begins with a slash, such as /entry/sample/name")
    return Field(name, key, of, stream)


def likely_fields(name: str) -> list[str]:
    """Return the fields that a name is one slip of the hand away from.

    Parameters
    ----------
    name : str
        As it was written.

    Returns
    -------
    list of str
        With one letter more, less or another, or two neighbours in the other order; of a family, with the key. None
        for a field itself.

    Examples
    --------
    >>> likely_fields("stauts"), likely_fields("parm.rate"), likely_fields("sample"), likely_fields("status")
    (['status'], ['param.rate'], [], [])
    """
    head, dot, key = name.partition(".")
    if dot:
        return [f"{family}.{key}" for family in FAMILIES if _one_slip(head, family)]
    return [] if name in FIELDS else [known for known in (*FIELDS, "value") if _one_slip(name, known)]


def _one_slip(name: str, known: str) -> bool:
    same = next((at for at, (a, b) in enumerate(zip(name, known, strict=False)) if a != b), min(len(name), len(known)))
    left, right = name[same:], known[same:]
    if left == right:
        return False
    swapped = left[:2] == right[1::-1] and len(left) > 1 and left[2:] == right[2:]
    return swapped or left[1:] == right[1:] or left[1:] == right or left == right[1:]


def near(name: str, known: list[str]) -> str:
    """Return what to say of names that are like one that is not known.

    Parameters
    ----------
    name : str
        As it was written.
    known : list of str
        What there is.

    Returns
    -------
    str
        ``: near it are ...``, or all there are.
    """
    found = difflib.get_close_matches(name[:100].lower(), known, n=3, cutoff=0.6)
    if found:
        return f": near it {'is' if len(found) == 1 else 'are'} {', '.join(found)}"
    return f": there are {', '.join(sorted(set(known)))}"

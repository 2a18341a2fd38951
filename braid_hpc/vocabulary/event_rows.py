"""How the events of an instrument stand in typed streams: names of streams and columns, and the rest of a row.

The page ``documents`` specifies it. A row has the columns of :data:`HEAD`, one for each data key and one for the time
of each. What does not fit a column exactly stands in ``rest``, so that an event comes back word for word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DOCUMENTS",
    "DOCUMENT_COLUMNS",
    "HEAD",
    "MOST_KEYS",
    "ORPHANS",
    "REST_CHANGED",
    "REST_DATA",
    "REST_KEYS",
    "REST_LACKING",
    "REST_TIMES",
    "REST_WHOLE_DATA",
    "REST_WHOLE_TIMES",
    "column_of",
    "key_of",
    "stream_of",
    "time_column_of",
    "written_keys",
]

#: The stream of all documents that are no rows; rows stand in ``bluesky/<name of their stream>``.
DOCUMENTS = "bluesky"
#: Rows whose descriptor was not there, so that nobody knew the name of their stream.
ORPHANS = "bluesky/"

DOCUMENT_COLUMNS = {
    "document": "text",
    "uid": "text",
    "scan": "text",
    "about": "text",
    "beside": "text",
    "body": "bytes",
}
HEAD = {"seq_num": "int64", "time": "float64", "uid": "text", "descriptor": "text", "rest": "bytes"}

#: Data keys that get columns; what an event has beyond them stands in its rest.
MOST_KEYS = 500

# Keys of a row's rest.
REST_DATA = "data"  # values of data keys that their columns cannot hold
REST_TIMES = "timestamps"  # likewise of their times
REST_WHOLE_DATA = "whole"  # data keys whose value in a column of float64 was an int
REST_WHOLE_TIMES = "whole timestamps"
REST_CHANGED = "document"  # members of the document that no column holds
REST_LACKING = "lacking"  # members that every event has, and this one has not
REST_KEYS = "keys"  # how data keys are written that are not in lower case and that no descriptor tells

_NUMBERED = re.compile(r"__\d+$")
#: Names of columns are compared without regard to case, and one is no longer than this.
_LONGEST = 200


def stream_of(name: Any) -> str:
    """Return the stream for the events of a Bluesky stream.

    Parameters
    ----------
    name : object
        As a descriptor has it.

    Returns
    -------
    str
        ``bluesky/<name>``, or :data:`ORPHANS` if `name` is nothing that a stream can be called.
    """
    if type(name) is str and 0 < len(name) <= _LONGEST and "\0" not in name and _is_utf8(name):
        return f"{ORPHANS}{name}"
    return ORPHANS


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def column_of(key: Any) -> str | None:
    """Return the column of a data key.

    Parameters
    ----------
    key : object
        The key.

    Returns
    -------
    str or None
        The key itself where that can be a column, ``data.<key>`` where it is one of :data:`HEAD` or begins with ``_``
        or ends as columns of another type do; None for a key that a conforming document cannot have.

    Examples
    --------
    >>> column_of("motor"), column_of("time"), column_of("a.b")
    ('motor', 'data.time', None)
    """
    if type(key) is not str or not 0 < len(key) <= _LONGEST or "." in key or "\0" in key or not _is_utf8(key):
        return None
    numbered = _NUMBERED.search(key) is not None
    if numbered or key.startswith("_") or key.lower() in HEAD:
        return f"data.{key}{'.' if numbered else ''}"
    return key


def time_column_of(key: str) -> str:
    """Return the column of the time of a data key.

    Parameters
    ----------
    key : str
        One that has a column.

    Returns
    -------
    str
        ``time.<key>``.
    """
    return f"time.{key}{'.' if _NUMBERED.search(key) else ''}"


def key_of(column: str) -> tuple[bool, str] | None:
    """Return what a column of a table of events holds.

    Parameters
    ----------
    column : str
        Its name in a store, where a later type of one key has ``__2`` and so on behind it.

    Returns
    -------
    is_time : bool
        Whether it holds the times of the key.
    key : str
        The data key, whose letters may be of another case. For columns of no key None is returned instead.

    Examples
    --------
    >>> key_of("motor__2"), key_of("time.motor"), key_of("data.a__2."), key_of("uid")
    ((False, 'motor'), (True, 'motor'), (False, 'a__2'), None)
    """
    base = _NUMBERED.sub("", column)
    if base.startswith("_") or base.lower() in HEAD:
        return None
    prefix, dot, rest = base.partition(".")
    if not dot:
        return False, base
    return (prefix == "time", rest.removesuffix(".")) if prefix in ("time", "data") else None


def written_keys(keys: Iterable[Any]) -> dict[str, str]:
    """Return how data keys are written, by their form in lower case, which is all that a column's name tells.

    Parameters
    ----------
    keys : iterable
        Data keys of a descriptor, or of a rest.

    Returns
    -------
    dict of str to str
        Without those that differ in nothing but case.
    """
    found: dict[str, str] = {}
    twice = set()
    for key in keys:
        if type(key) is str and found.setdefault(key.lower(), key) != key:
            twice.add(key.lower())
    return {lower: key for lower, key in found.items() if lower not in twice}

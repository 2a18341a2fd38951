"""Sets that are what their members are: how they are recorded, and the digest that says which set it is."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

__all__ = ["RECORD", "SETS", "SET_COLUMNS", "set_digest"]

#: The stream with members of sets, a row for each member that is added.
SETS = "braid.sets"

SET_COLUMNS = {"label": "text", "table": "text", "member": "text"}

#: What stands for the table of a member that is a record; the member is its handle then, as a token.
RECORD = ":record"


def set_digest(members: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a set: that of the sorted digests of its members, each once.

    Parameters
    ----------
    members : iterable of (str, str)
        Table and name of each, in any order and any number of times; of a record :data:`RECORD` and its global id.

    Returns
    -------
    str
        ``sha256:<hex>``.

    Examples
    --------
    >>> one = set_digest([("Configuration", "a/1"), ("Configuration", "a/2")])
    >>> one == set_digest([("Configuration", "a/2"), ("Configuration", "a/1"), ("Configuration", "a/2")])
    True
    """
    digests = {sha256(f"{len(table.encode())}:{table}:{member}".encode()).hexdigest() for table, member in members}
    return "sha256:" + sha256("".join(sorted(digests)).encode()).hexdigest()

"""Whose a Bluesky run is, by its start document: the groups that may see it, its proposal, owner, session, project.

Facilities write these fields in different ways, so what is not understood is passed over here; the document itself is
kept word for word.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ACCESS", "groups_of", "owners_of"]

#: Name of the fact, and key of the tags, that say which groups may see a run (``docs/access.md``).
ACCESS = "access"

#: Names that are taken of one document, and characters of each.
MOST_NAMES = 100
LONGEST_NAME = 200

#: Fields, and the kinds of records that they name.
_KINDS = {
    "proposal": "proposal",
    "proposal_id": "proposal",
    "owner": "user",
    "data_session": "session",
    "project": "project",
}
#: In which member a mapping has its name.
_NAMES = ("proposal_id", "id", "name")


def groups_of(document: dict[str, Any]) -> list[str]:
    """Return the groups that may see a Bluesky run.

    Parameters
    ----------
    document : dict
        Its start document.

    Returns
    -------
    list of str
        Of ``data_groups``; without any, the one of ``data_session``, or of the proposal. Sorted, each once.
    """
    said = document.get("data_groups")
    listed = [name for each in said if (name := _name(each))] if isinstance(said, (list, tuple)) else [_name(said)]
    for key in ("data_session", "proposal", "proposal_id"):
        if any(listed):
            break
        listed = [_name(document.get(key))]
    return sorted({name for name in listed[:MOST_NAMES] if name})


def owners_of(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a start document says of whose a Bluesky run is.

    Parameters
    ----------
    document : dict
        The start document.

    Returns
    -------
    list of (str, str)
        Kind and name of each record, each once.
    """
    found = ((kind, _name(document.get(key))) for key, kind in _KINDS.items())
    return list(dict.fromkeys((kind, name) for kind, name in found if name))


def _name(value: Any) -> str:
    """Return a name; an empty one where none is said."""
    if type(value) is dict:
        value = next((value[key] for key in _NAMES if key in value), None)
    if type(value) is int and value.bit_length() <= 64:
        value = str(value)
    return value.strip() if type(value) is str and len(value) <= LONGEST_NAME else ""

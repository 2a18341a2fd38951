"""Ids of records and actions as they travel between steps, and whether they are of this place.

An id is the token of a record handle: the writer's id and the sequence, 48 hexadecimal digits. It is valid everywhere;
only whether there is such a record can be told from its log alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.survey import read_writer
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

__all__ = ["check_known", "find_ids", "remember"]

#: Ids that were found in this place, or made by this process: events do not go away.
_KNOWN: set[tuple[str, Code, Record]] = set()

_LAST = (1 << 63) - 2


def find_ids(what: str, given: Any, field: str) -> list[Record]:
    """Return the ids in what a caller handed on.

    Parameters
    ----------
    what : str
        Name of the argument, for messages.
    given : str, mapping, list of these, or None
        An id; what a step returned; or the state of a flow that holds it in ``details.result[0]``.
    field : str
        Where the ids stand in what a step returned.

    Returns
    -------
    list of Record
        In order, each once.

    Raises
    ------
    InvalidInputError
        If something in it is no id.
    """
    return list(dict.fromkeys(_ids(what, given, field)))


def _ids(what: str, given: Any, field: str) -> Iterable[Record]:
    if given is None:
        return
    if isinstance(given, str):
        try:
            found = Record.from_token(given)
        except InvalidInputError:
            found = Record(bytes(16), 0)
        if not found or len(given) != 48:
            raise InvalidInputError(f"{what}: {given!r} is not an id: that is 48 hexadecimal digits")
        yield found
    elif isinstance(given, (list, tuple)):
        for each in given:
            yield from _ids(what, each, field)
    elif isinstance(given, dict) and "details" in given:
        details = given["details"]
        result = details.get("result") if isinstance(details, dict) else None
        if isinstance(result, (list, tuple)) and result:
            result = result[0]
        if not isinstance(result, (dict, str, list, tuple)) or not result:
            raise InvalidInputError(f"{what}: the state of the flow has no details.result[0]: {given!r}")
        yield from _ids(what, result, field)
    elif isinstance(given, dict) and field in given:
        yield from _ids(what, given[field], field)
    elif isinstance(given, dict) and "record_id" in given and field != "invalidation_action_id":
        # What add_records returns is all that is there of a record: it is a step's input as well as its predecessor.
        yield from _ids(what, given["record_id"], field)
    else:
        raise InvalidInputError(f"{what}: {given!r} is not an id, a list of ids, or what a step returned ({field})")


def check_known(place: Path, ids: Iterable[Record], code: Code) -> None:
    """Refuse ids whose log is in a directory of logs and does not hold them.

    Parameters
    ----------
    place : Path
        The directory of all writers' directories.
    ids : iterable of Record
        Those whose log is elsewhere are accepted: compaction says what it cannot resolve.
    code : Code
        What they must be ids of.

    Raises
    ------
    NotFoundError
        If there is no such record, or action; it names all of them.
    """
    missing = [each.token for each in dict.fromkeys(ids) if not _is_known(place, each, code)]
    if missing:
        kind = "action" if code == Code.ACTION else "record"
        raise NotFoundError(f"there is no {kind} {', '.join(missing)} in {place}")


def remember(place: Path, made: Record, code: Code) -> None:
    """Note what this process has made.

    Parameters
    ----------
    place : Path
        The directory of all writers' directories.
    made : Record
        Its handle.
    code : Code
        What it is.
    """
    _KNOWN.add((str(place), code, made))


def _is_known(place: Path, each: Record, code: Code) -> bool:
    directory = place / each.writer.hex()
    if (str(place), code, each) in _KNOWN or not directory.is_dir():
        return True
    if each.sequence > _LAST:
        # No log is that long, and its columns of 64 bits with a sign cannot be asked for it.
        return False
    within = Ranges.span(each.sequence, each.sequence + 1)
    if not any(len(events) for events in read_writer(directory).each(code, within=within)):
        return False
    remember(place, each, code)
    return True

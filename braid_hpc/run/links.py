"""From what a program names as records (handles, objects, references in text) to links in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.run.activities import describe_value
from braid_hpc.run.handles import Record, record_of
from braid_hpc.run.refusals import Refusing
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import parse_reference

if TYPE_CHECKING:
    from braid_hpc.run.activities import Activity

__all__ = ["Linking", "must_be_record"]


class Linking(Refusing):
    """What writes links (see :mod:`braid_hpc.vocabulary.payloads`) of one rank's log."""

    def _links(self, things: Any) -> list[Any]:
        """Return links (see :mod:`braid_hpc.vocabulary.payloads`) for what a caller named as records."""
        return [link for thing in _flat(things) if (link := self._link_of(thing)) is not None]

    def _good_links(self, what: str, things: Any) -> list[Any]:
        """Return the links of those that are records; the others are kept as refused parts of the call `what`."""
        flat = self._part(what, _flat, things, default=[])
        return [link for thing in flat if (link := self._part(what, self._link_of, thing)) is not None]

    def _link_of(self, thing: Any) -> Any:
        if isinstance(thing, str):
            parse_reference(thing)
            return thing
        record = record_of(thing)
        if record is None:
            raise InvalidInputError(
                f"{describe_value(thing)!r} is not a record: give a handle, or a reference such as 'model:braggnn'"
            )
        if not record:
            # Its declaration was lost or refused, which was said then.
            return None
        link: Any = record.sequence if record.writer == self._log.writer else bytes(record)
        return [link] if record.late else link

    def _foreign(self, activity: Activity) -> int:
        """Return 0 for an activity of this writer, else the number of its writer's id among the interned texts."""
        return 0 if activity.writer == self._log.writer else self._log.intern(activity.writer.hex())

    def _foreign_record(self, record: Record) -> int:
        return 0 if record.writer == self._log.writer else self._log.intern(record.writer.hex())


def _flat(things: Any) -> list[Any]:
    if things is None:
        # Allowed also within a list: the model before the first epoch is None.
        return []
    if not isinstance(things, (list, tuple, set, frozenset)):
        return [things]
    return [found for thing in things for found in _flat(thing)]


def must_be_record(thing: Any) -> Record:
    """Return the handle that a caller gave, or that an object stands for.

    Parameters
    ----------
    thing : object
        What the caller gave.

    Returns
    -------
    Record
        Its handle.

    Raises
    ------
    InvalidInputError
        If it is no record.
    """
    record = record_of(thing)
    if record is None:
        raise InvalidInputError(
            f"{describe_value(thing)!r} is not a record: give the handle that declaring it returned"
        )
    return record

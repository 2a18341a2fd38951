"""Saying on a rank what is to be done when a record turns out not to hold. Nothing of it is done there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.run.guard import passes, shown
from braid_hpc.run.handles import Record
from braid_hpc.run.links import Linking
from braid_hpc.vocabulary.actions import check_action, check_actions
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.payloads import Action, Attachment, Attempt, Result

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run

__all__ = ["ACTION_KIND", "Attaching", "record_attempt", "record_result"]

#: The kind in the handle of an action, which is no record: it has no versions and stands in no graph.
ACTION_KIND = "action"


class Attaching(Linking):
    """What attaches actions to records."""

    #: Sequences of the actions that were written, by writer (a forked child has its own) and payload.
    _actions: dict[tuple[bytes, bytes], int] | None = None

    def action(self, given: Any) -> Record:
        """Describe what may be done when a record turns out not to hold, to attach it later.

        Parameters
        ----------
        given : list of str, str, or mapping
            A command, a Python function or a mapping, see :func:`braid_hpc.vocabulary.actions.check_action`.

        Returns
        -------
        Record
            A handle for :meth:`on_invalid`, in this process or any other; false if it could not be recorded.

        Raises
        ------
        InvalidInputError
            Only with ``BRAID_STRICT=1``: if it is no action.
        """
        if not self._open:
            self._note_late()
            return Record(bytes(16), 0, ACTION_KIND)
        try:
            sequence = self._write_action(check_action(given))
        except Exception as error:
            if passes(error):
                raise
            self._refused("action", error, shown(given))
            sequence = 0
        return Record(self._log.writer, sequence, ACTION_KIND)

    def on_invalid(self, record: Any, action: Any) -> None:
        """Attach an action to a record: what ``braid actions run`` does when the record is invalid.

        Parameters
        ----------
        record : Record or str
            As for :meth:`invalidate`.
        action : Record, list of str, str, mapping, or list of these
            A handle from :meth:`action`, or what that takes.

        Raises
        ------
        InvalidInputError
            Only with ``BRAID_STRICT=1``: if `record` is none, or `action` no action.
        """
        if not self._open:
            self._note_late()
            return
        try:
            target = self._link_of(record)
            if target is not None:
                self._attach(target, action)
        except Exception as error:
            if passes(error):
                raise
            self._refused("on_invalid", error, f"{shown(record)}, {shown(action)}")

    def _attach(self, target: Any, given: Any) -> None:
        if isinstance(given, Record):
            links = [self._link_of(given)]
        else:
            links = [self._write_action(each) for each in check_actions(given)]
        for link in links:
            if link:
                self._log.append(Code.ATTACH, payload=encode(Attachment(target, link)))

    def _write_action(self, action: Action) -> int:
        """Write an action once for each writer; return its sequence, 0 if there is no room."""
        if self._actions is None:
            self._actions = {}
        payload = encode(action)
        known = self._actions.get((self._log.writer, payload))
        if known is None:
            known = self._log.append(Code.ACTION, payload=payload)
            if known:
                self._actions[self._log.writer, payload] = known
        return known


def record_attempt(run: Run, attempt: Attempt) -> int:
    """Record that an action is begun.

    Parameters
    ----------
    run : Run
        Of the process that begins it.
    attempt : Attempt
        Which one, on what, because of which statement.

    Returns
    -------
    int
        Its sequence; 0 if it could not be recorded.
    """
    return run._log.append(Code.ATTEMPT, payload=encode(attempt))


def record_result(run: Run, attempt: int, result: Result) -> int:
    """Record how an action ended.

    Parameters
    ----------
    run : Run
        Of the process that began it.
    attempt : int
        From :func:`record_attempt`.
    result : Result
        How.

    Returns
    -------
    int
        The sequence; 0 if it could not be recorded.
    """
    return run._log.append(Code.RESULT, 0, attempt, payload=encode(result))

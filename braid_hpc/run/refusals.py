"""What is done with a call that cannot be recorded: it is kept as an event, counted, and told once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.log.interrupts import from_handler
from braid_hpc.run.guard import caller, passes, shown, tell
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError
from braid_hpc.vocabulary.payloads import Rejected
from braid_hpc.vocabulary.redaction import redact

if TYPE_CHECKING:
    from braid_hpc.log.writer import RankLog

__all__ = ["Refusing"]


class Refusing:
    """What records into a log, and keeps what it refuses.

    Attributes
    ----------
    name : str
        Name of the job.
    """

    name: str
    _log: RankLog
    #: Whether the run has not ended.
    _open: bool
    #: How many calls, or parts of calls, were refused.
    _rejected: int = 0
    #: Whether one was told of.
    _told: bool = False
    #: Whether a call after the end was told of.
    _late: bool = False

    def _part(self, what: str, check: Any, value: Any, default: Any = None) -> Any:
        """Take one part of a call: if it is refused, the rest of the call is recorded all the same."""
        try:
            return check(value)
        except Exception as error:
            if passes(error):
                raise
            self._refused(what, error, shown(value))
            return default

    def _refused(self, call: str, error: Exception, given: str) -> Any:
        self._rejected += 1
        try:
            where = caller()
            message = f"{error}" or type(error).__name__
            if not isinstance(error, (InvalidInputError, StorageError)):
                message = f"{type(error).__name__}: {error}"
            note = Rejected(redact(call), redact(message), where, redact(given))
            self._log.append(Code.REJECTED, payload=encode(note))
            if not self._told:
                self._told = True
                tell(f"{where}: {call}: {note.message} (kept as a rejected event; further ones are only counted)")
        except Exception as second:
            if from_handler(second):
                raise
            # The last wall before the program; nothing can be kept of a refusal that cannot be described.
            tell(f"a refused call could not be kept ({type(second).__name__})")
        return Record(bytes(16), 0)

    def _note_late(self) -> None:
        """Say once that the run has ended, if it has: there is no log any more that could keep what is recorded."""
        if not self._open and not self._late:
            self._late = True
            tell(f"{caller()}: job {self.name!r} has ended; what is recorded in it from now on is not kept")

"""Saying on a rank that something is not to be relied on, or that it is, or that an edge was stated wrongly."""

from __future__ import annotations

from typing import Any

from braid_hpc.run.doing import Doing
from braid_hpc.run.guard import passes, shown
from braid_hpc.vocabulary.codes import Code, check_retractable
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import key_digest
from braid_hpc.vocabulary.payloads import Invalidation, Retraction, Revalidation

__all__ = ["Judging"]


class Judging(Doing):
    """What states that records hold, or do not."""

    def invalidate(self, record: Any, *, cause: str, cascade: bool = True, all_versions: bool = False) -> str:
        """State that a record or an activity is not to be relied on.

        Everything that came of it, and everything that will, is invalid too; what it came from is not touched.

        Parameters
        ----------
        record : Record or str
            What is wrong. A name without a version means the version that this rank declared or used last, else
            that of its run, else the store's.
        cause : str
            Why, for people.
        cascade : bool
            Whether the statement reaches what came of it.
        all_versions : bool
            Every version of that name up to now.

        Returns
        -------
        str
            Id of the statement, for ``despite=``; empty if it could not be recorded.

        Raises
        ------
        InvalidInputError
            Only with ``BRAID_STRICT=1``: if `record` is none, or `cause` is no text.

        See Also
        --------
        revalidate : take it back.
        """

        def statement(target: Any) -> Invalidation:
            if not isinstance(cause, str) or not cause:
                raise InvalidInputError(f"the cause of an invalidation is a text, not {cause!r}")
            return Invalidation(target, cause, bool(cascade), bool(all_versions))

        return self._judge(Code.INVALIDATE, record, all_versions, statement)

    def revalidate(self, record: Any, *, despite: str | None = None, all_versions: bool = False) -> str:
        """Take back the statements that a record or an activity is not to be relied on.

        Parameters
        ----------
        record : Record or str
            What the statements stand on, as for :meth:`invalidate`.
        despite : str, optional
            Id of one statement: the record holds in spite of it, wherever that stands, and it is not passed on.
        all_versions : bool
            Every version of that name up to now.

        Returns
        -------
        str
            Id of this statement; empty if it could not be recorded.

        Raises
        ------
        InvalidInputError
            Only with ``BRAID_STRICT=1``: if `record` is none, or `despite` is no id.

        See Also
        --------
        invalidate : what is taken back.
        """

        def statement(target: Any) -> Revalidation:
            if despite is not None and (not isinstance(despite, str) or not _is_id(despite)):
                raise InvalidInputError(f"despite= is the id of a statement, which {despite!r} is not")
            return Revalidation(target, despite and despite.removeprefix("id:"), bool(all_versions))

        return self._judge(Code.REVALIDATE, record, all_versions, statement)

    def retract(self, child: Any, parent: Any, *, cause: str, relation: str | None = None) -> str:
        """State that an edge was stated wrongly: that one thing did not come from the other.

        The edge is not followed any more and carries no invalidation, unless it is stated again later. Nothing is
        removed: as of an earlier time it holds.

        Parameters
        ----------
        child, parent : Record or str
            Its ends, as for :meth:`invalidate`.
        cause : str
            Why, for people.
        relation : str, optional
            Only the edge of this relation, such as ``wasDerivedFrom``; without it all between the two.

        Returns
        -------
        str
            Id of the statement; empty if it could not be recorded.

        Raises
        ------
        InvalidInputError
            Only with ``BRAID_STRICT=1``: if `child` or `parent` is no record, `cause` no text, or `relation` none that
            is stated.

        See Also
        --------
        derive : what is taken back.
        """
        if not self._open:
            self._note_late()
            return ""
        try:
            if not isinstance(cause, str) or not cause:
                raise InvalidInputError(f"the cause of a retraction is a text, not {cause!r}")
            ends = [self._link_of(each) for each in (child, parent)]
            if None in ends:
                return ""
            about = Retraction(ends[0], ends[1], cause, None if relation is None else check_retractable(relation))
            sequence = self._log.append(Code.RETRACT, payload=encode(about))
            return key_digest(["judgement", self._log.writer.hex(), sequence]) if sequence else ""
        except Exception as error:
            if passes(error):
                raise
            self._refused("retract", error, shown(child))
            return ""

    def _judge(self, code: Code, record: Any, all_versions: bool, statement: Any) -> str:
        if not self._open:
            self._note_late()
            return ""
        try:
            target = self._link_of(record)
            if all_versions and not isinstance(target, str):
                # Of a handle, the name counts.
                target = f"{record.kind}:{record.name}"
            if target is None:
                return ""
            sequence = self._log.append(code, payload=encode(statement(target)))
            return key_digest(["judgement", self._log.writer.hex(), sequence]) if sequence else ""
        except Exception as error:
            if passes(error):
                raise
            self._refused(code.name.lower(), error, shown(record))
            return ""


def _is_id(text: str) -> bool:
    digits = text.removeprefix("id:")
    return 4 <= len(digits) <= 32 and all(digit in "0123456789abcdef" for digit in digits)

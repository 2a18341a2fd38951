"""How sure an answer is: which of the logs that contribute to it do not hold all that was recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from braid_hpc.lineage.answered import Answered, plain
from braid_hpc.lineage.ground import Ground
from braid_hpc.lineage.missing import UNRESOLVED, Missing

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["Completeness", "complete"]

#: How many messages are told of in words.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Completeness(Answered):
    """Whether all logs that contribute to a version or an activity are whole.

    Attributes
    ----------
    ref : str
        What was asked for.
    runs : list of str
        The runs that what fed it belongs to.
    missing : list of Missing
        Their logs that are torn, lossy, damaged, not closed or not there, and those that name a parent that is not
        known.
    unmatched : list of str
        What the store says of messages and collective calls of these runs that are not matched. They matter where
        `wasInformedBy` is followed, or a record was sent along, and do not make it incomplete.
    """

    COLUMNS: ClassVar[tuple[tuple[str, str], ...]] = (
        *(("run", "text"), ("rank", "int"), ("writer", "text"), ("state", "text")),
        *(("first_lost", "text"), ("last_lost", "text")),
    )

    ref: str
    runs: list[str]
    missing: list[Missing]
    unmatched: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing can hide a part of what fed it."""
        return not self.missing

    def __bool__(self) -> bool:
        """Whether it is complete."""
        return self.complete

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            ``ref``, ``complete``, ``runs``, ``missing``, ``unmatched``.
        """
        told = {"ref": self.ref, "complete": self.complete, "runs": self.runs, "missing": plain(self.missing)}
        return {**told, "unmatched": self.unmatched}

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return a row for each log that is not whole.

        Returns
        -------
        columns : tuple of str
            Names.
        rows : list of dict
            Plain values.
        """
        return Missing.__slots__, plain(self.missing)

    def __str__(self) -> str:
        """Return it as lines of text."""
        runs = "1 run" if len(self.runs) == 1 else f"{len(self.runs):,} runs"
        told = f"complete, by the logs of {runs}" if self.complete else f"incomplete, of the logs of {runs}"
        shown = [*(said(each) for each in self.missing), *self.unmatched[:_SHOWN]]
        if (rest := len(self.unmatched) - _SHOWN) > 0:
            shown.append(f"and {rest} more of messages; see 'problems'")
        return "\n".join([f"{self.ref}: {told}", *(f"  {each}" for each in shown)])


def said(missing: Missing) -> str:
    """Say what is missing, on one line.

    Parameters
    ----------
    missing : Missing
        A log.

    Returns
    -------
    str
        For people.
    """
    rank = "a writer without a rank" if missing.rank is None else f"rank {missing.rank}"
    run = f" of run {missing.run[:8]}" if missing.run else ""
    if missing.state == UNRESOLVED:
        return f"{rank}{run} named a parent that is not known; see 'problems'"
    lost = f", lost {missing.first_lost} to {missing.last_lost}" if missing.first_lost else ""
    return f"{rank}{run}: its log is {missing.state}{lost}"


def complete(store: Store, reference: str, *, at: int | None, as_of: Any) -> Completeness:
    """Look at the logs that contribute to something; see :meth:`braid_hpc.Store.complete`.

    Parameters
    ----------
    store : Store
        Open.
    reference, at, as_of
        As there.

    Returns
    -------
    Completeness
        The answer.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    ground = Ground.of(store, at=at, as_of=as_of)
    root, others = ground.resolve(reference)
    ids = ground.walk(ground.starts(root, others)).nodes.tolist()
    runs = store._connected.execute(
        "select distinct w.run from occurrences o join writers w using (writer) "
        "where o.snapshot <= $at and o.id in (select unnest($ids::bigint[])) "
        "union select run from activity_rows where id in (select unnest($ids::bigint[])) order by 1",
        {"ids": ids, "at": ground.at},
    ).fetchall()
    named = [run for (run,) in runs]
    return Completeness(root.ref, named, ground.missing(ids, root), _unmatched(store, named, ground.at))


def _unmatched(store: Store, runs: list[str], at: int) -> list[str]:
    """Return what the newest snapshot says of messages of some runs, as far as it was so at an earlier one."""
    rows = store._connected.execute(
        "select message from problems where code in ('message', 'collective') and snapshot <= $at "
        "and run in (select unnest($runs::varchar[])) order by all",
        {"runs": runs, "at": at},
    ).fetchall()
    return [message for (message,) in rows]

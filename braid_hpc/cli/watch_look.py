"""One look of ``braid watch``: what is seen of each rank, in values and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass, field

__all__ = ["Look", "Seen", "counted", "numbers", "plural"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of one rank.

    Attributes
    ----------
    part : str
        Attempt or task of a batch job; empty elsewhere.
    run : str
        What the ranks of one run have in common.
    rank, size : int or None
        From the launcher.
    node : str or None
        Where it runs.
    writer : str or None
        Its log; None for a rank of which there is none.
    job : str or None
        Name of the job.
    state : str
        ``open``, ``closed``, ``ended``, ``silent`` (open, and nothing came for a while) or ``absent``.
    events, lost, bytes : int
        As in :class:`braid_hpc.reading.progress.Progress`.
    rate : float or None
        Events per second since the look before; None in the first one.
    last : int or None
        When its last event was written, UTC ns.
    quiet : float or None
        Seconds since then.
    shipped : bool or None
        Whether all of it has arrived; None where nobody says.
    """

    part: str
    run: str
    rank: int | None
    size: int | None
    node: str | None
    writer: str | None
    job: str | None
    state: str
    events: int = 0
    lost: int = 0
    bytes: int = 0
    rate: float | None = None
    last: int | None = None
    quiet: float | None = None
    shipped: bool | None = None


@dataclass(slots=True)
class Look:
    """One look.

    Attributes
    ----------
    time : int
        When, UTC ns.
    seen : list of Seen
        Every rank, in order.
    notes : list of str
        What is not as it should be.
    told : list of str
        What is to be said beside that.
    over : bool
        Whether the job has ended and nothing more will come.
    """

    time: int
    seen: list[Seen]
    notes: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    over: bool = False

    @property
    def rate(self) -> float | None:
        """Events per second of all ranks; None where none is known."""
        known = [each.rate for each in self.seen if each.rate is not None]
        return sum(known) if known else None


def counted(seen: list[Seen]) -> str:
    """Return how many ranks there are in each state.

    Parameters
    ----------
    seen : list of Seen
        The ranks.

    Returns
    -------
    str
        For people.
    """
    states = [each.state for each in seen]
    order = ("open", "silent", "closed", "ended", "absent")
    named = ", ".join(f"{states.count(state)} {state}" for state in order if state in states)
    return f"{len(seen)} rank{plural(seen)}: {named}"


def numbers(values: Iterable[int]) -> str:
    """Return numbers as people write them.

    Parameters
    ----------
    values : iterable of int
        In any order.

    Returns
    -------
    str
        Those that follow each other as a range.

    Examples
    --------
    >>> numbers([0, 1, 2, 5, 7, 8])
    '0 to 2, 5, 7, 8'
    """
    found: list[list[int]] = []
    for value in sorted(set(values)):
        if found and value == found[-1][1] + 1:
            found[-1][1] = value
        else:
            found.append([value, value])
    texts: list[str] = []
    for first, last in found:
        texts += (
            [str(first)] if first == last else [f"{first} to {last}"] if last - first > 1 else [str(first), str(last)]
        )
    return ", ".join(texts)


def plural(things: Sized) -> str:
    """Return the ending of a noun.

    Parameters
    ----------
    things : sized
        What is counted.

    Returns
    -------
    str
        Empty for one of them.
    """
    return "s" if len(things) != 1 else ""

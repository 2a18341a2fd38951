"""What is missing of a Bluesky run: what its documents refer to or count, and nobody holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from braid_hpc.store.event_documents import THEN
from braid_hpc.vocabulary.texts import clean

if TYPE_CHECKING:
    from braid_hpc.store.documents import Documents
    from braid_hpc.store.event_documents import EventTable
    from braid_hpc.store.opened import Opened

__all__ = ["MissingDocument", "Numbers", "missing_of"]

#: Ranges of numbers, and names, that are listed of each kind.
LISTED = 20

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MissingDocument:
    """Something that is not there.

    Attributes
    ----------
    what : str
        ``start``, ``stop``, ``descriptor``, ``event``, ``resource``, ``stream_resource`` or ``datum``.
    name : str
        The uid that is referred to; of events and descriptors the stream.
    detail : str
        One sentence.
    count : int
        How many.
    numbers : tuple of (int, int)
        Of events: first and last of each range of sequence numbers, the first twenty ranges.
    """

    what: str
    name: str
    detail: str
    count: int = 1
    numbers: tuple[Range, ...] = ()


@dataclass(slots=True)
class Numbers:
    """Which sequence numbers each stream has, as ranges in order."""

    streams: dict[str, list[Range]] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        store: Opened,
        tables: list[EventTable],
        loose: list[dict[str, Any]],
        found: Documents,
        then: dict[str, int],
    ) -> Numbers:
        """Find the numbers of the events and stream datums of a run.

        Parameters
        ----------
        store : Opened
            Open.
        tables : list of EventTable
            Of the store.
        loose : list of dict
            Events that do not stand in tables.
        found : Documents
            With descriptors and stream datums.
        then : dict of str to int
            The moment: ``at`` and ``as_of``.

        Returns
        -------
        Numbers
            By name of the stream.
        """
        names = {uid: str(each.get("name", "")) for each in found.descriptors if type(uid := each.get("uid")) is str}
        ranges: dict[str, list[Range]] = {name: [] for name in names.values()}
        descriptors = [uid for uid in names if clean(uid) == uid]
        for table in tables:
            # Islands: a number less its place among the others is the same along a range without gaps.
            rows = store.sql(
                "select descriptor, min(n) as first, max(n) as last from (select descriptor, n, "
                "n - row_number() over (partition by descriptor order by n) as island from (select distinct "
                f"descriptor, seq_num::hugeint as n from {table.place} where descriptor in "
                f"(select unnest($descriptors::varchar[])) and {THEN} and seq_num is not null)) "
                "group by descriptor, island",
                {"descriptors": descriptors, **then},
            )
            for row in rows:
                ranges[names[row["descriptor"]]].append((int(row["first"]), int(row["last"])))
        for event in loose:
            number, name = event.get("seq_num"), names.get(str(event.get("descriptor")))
            if type(number) is int and name is not None:
                ranges[name].append((number, number))
        for datum in found._held.get("stream_datum", ()):
            numbers, name = datum.get("seq_nums"), names.get(str(datum.get("descriptor")))
            if type(numbers) is dict and name is not None:
                first, stop = numbers.get("start"), numbers.get("stop")
                if type(first) is int and type(stop) is int and first < stop:
                    ranges[name].append((first, stop - 1))
        return cls({name: _joined(each) for name, each in ranges.items()})


def _joined(ranges: list[Range]) -> list[Range]:
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _gaps(ranges: list[Range], until: int) -> list[Range]:
    """Return what lies between 1 and `until` and in none of the ranges."""
    gaps, free = [], 1
    for first, last in ranges:
        if first > until:
            break
        if first > free:
            gaps.append((free, first - 1))
        free = max(free, last + 1)
    if free <= until:
        gaps.append((free, until))
    return gaps


def missing_of(held: dict[str, list[dict[str, Any]]], numbers: Numbers, referred: set[str]) -> list[MissingDocument]:
    """Say what is missing.

    Parameters
    ----------
    held : dict of str to list of dict
        Documents by their kind.
    numbers : Numbers
        Of the events.
    referred : set of str
        Datums that stand in events.

    Returns
    -------
    list of MissingDocument
        In the order of a run.
    """
    found: list[MissingDocument] = []
    if not held.get("start"):
        found.append(MissingDocument("start", "", "the start of this run is not there"))
    found += _dangling(held, referred)
    stop = next(iter(held.get("stop", ())), None)
    counts = stop.get("num_events") if stop is not None else None
    counted = {str(name): n for name, n in counts.items() if type(n) is int} if type(counts) is dict else {}
    for name in sorted({*counted, *numbers.streams}):
        ranges = numbers.streams.get(name)
        if ranges is None and counted[name] > 0:
            found.append(MissingDocument("descriptor", name, f"stream {name!r} has events, and no descriptor is there"))
        until = counted.get(name, ranges[-1][1] if ranges else 0)
        if gaps := _gaps(ranges or [], until):
            count = sum(last - first + 1 for first, last in gaps)
            said = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in gaps[:3])
            more = ", ..." if len(gaps) > 3 else ""
            detail = f"{count} of {until} events of stream {name!r} are not there: {said}{more}"
            found.append(MissingDocument("event", name, detail, count, tuple(gaps[:LISTED])))
    if stop is None:
        found.append(MissingDocument("stop", "", "this run never stopped, or its stop is not there"))
    return found


def _dangling(held: dict[str, list[dict[str, Any]]], referred: set[str]) -> list[MissingDocument]:
    """Return what other documents refer to by uid."""
    uids = {name: {str(each.get("uid")) for each in held.get(name, ())} for name in ("resource", "stream_resource")}
    wanted: set[tuple[str, str]] = set()
    for name, member in (("datum", "resource"), ("stream_datum", "stream_resource")):
        wanted |= {(member, uid) for each in held.get(name, ()) if type(uid := each.get(member)) is str}
    found = [
        MissingDocument(what, uid, f"{what} {uid} is referred to, and is not there")
        for what, uid in sorted(wanted)
        if uid not in uids[what]
    ]
    datums = {str(each.get("datum_id")) for each in held.get("datum", ())}
    lost = sorted(referred - datums)
    found += [
        MissingDocument("datum", uid, f"datum {uid} stands in an event, and is not there") for uid in lost[:LISTED]
    ]
    if len(lost) > LISTED:
        more = len(lost) - LISTED
        found.append(MissingDocument("datum", "", f"{more} more datums stand in events, and are not there", more))
    return found

"""A walk from rows of streams to rows of streams: many at a time, and only where some are related."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.lineage.row_links import NOBODY, Key, RowLinks

__all__ = ["RowWalk", "intervals", "walk_rows"]

Numbers = NDArray[np.int64]

#: How many ranges of rows are asked for at most, for one stream and step.
_ASKED = 8


@dataclass(slots=True)
class RowWalk:
    """What a walk found.

    Attributes
    ----------
    rows : list of (Key, int, ndarray of int64)
        Rows that were reached, by whose they are and at which distance; each row once.
    edges : list of (Key, ndarray, Key, ndarray)
        Pairs that were walked along: whose children, these, whose parents, and these.
    unresolved : list of str
        Texts that name parents of rows on the way, or that may name rows on the way as parents, and do not say whose
        rows they mean.
    """

    rows: list[tuple[Key, int, Numbers]] = field(default_factory=list)
    edges: list[tuple[Key, Numbers, Key, Numbers]] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)


def walk_rows(
    connection: Any,
    links: RowLinks,
    start: tuple[Key, int],
    *,
    down: bool,
    depth: int | None,
    at: int,
    as_of: int | None,
) -> RowWalk:
    """Follow row edges from a row.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    links : RowLinks
        Of that moment.
    start : (Key, int)
        Whose row, and its number.
    down : bool
        From parents to children.
    depth : int or None
        How many edges at most.
    at : int
        Snapshot number.
    as_of : int or None
        Nanoseconds since 1970 UTC.

    Returns
    -------
    RowWalk
        The start is in it, at distance 0.
    """
    found = RowWalk()
    frontier: dict[Key, Numbers] = {start[0]: np.array([start[1]], np.int64)}
    seen = dict(frontier)
    distance = 0
    unresolved: set[str] = set()
    ask = _asking(connection, down=down, at=at, as_of=as_of)
    while frontier:
        found.rows.extend((key, distance, rows) for key, rows in frontier.items())
        if depth is not None and distance >= depth:
            break
        distance += 1
        reached: dict[Key, list[Numbers]] = {}
        for key, rows in frontier.items():
            if down:
                unresolved |= links.unresolved.get(key[0], set())
            for other, near, far in _step(ask, links, key, rows, down=down):
                if other[1] == NOBODY:
                    unresolved.add(other[0])
                    continue
                reached.setdefault(other, []).append(far)
                found.edges.append((other, far, key, near) if down else (key, near, other, far))
        frontier = {}
        for key, parts in reached.items():
            rows = np.unique(np.concatenate(parts))
            if len(fresh := np.setdiff1d(rows, seen.get(key, np.empty(0, np.int64)), assume_unique=True)):
                frontier[key] = fresh
                seen[key] = np.union1d(seen[key], fresh) if key in seen else fresh
    found.unresolved = sorted(unresolved)
    return found


#: Gives ranges that may hold some of the rows, with those of the rows that they may hold.
_Ask = Callable[[list[int], Numbers], Iterator[tuple[Numbers, dict[str, NDArray[Any]]]]]


def _asking(connection: Any, *, down: bool, at: int, as_of: int | None) -> _Ask:
    near, far = ("parent", "child") if down else ("child", "parent")
    until = "" if as_of is None else "and epoch_ns(time) <= $as_of "
    moment = {"at": at} if as_of is None else {"at": at, "as_of": as_of}

    def ask(numbers: list[int], rows: Numbers) -> Iterator[tuple[Numbers, dict[str, NDArray[Any]]]]:
        for low, high in intervals(rows):
            # Both conditions are on what the groups of rows of a table are known by, so most of it is not read.
            found = connection.execute(
                f"select link, {near}_first as nf, {near}_last as nl, {far}_first as ff, {far}_last as fl, count "
                f"from row_edge_rows where {near}_first <= $high and {near}_last >= $low "
                f"and link in ({', '.join(map(str, numbers))}) and snapshot <= $at {until}",
                {"low": low, "high": high, **moment},
            ).fetchnumpy()
            mine = rows[np.searchsorted(rows, low) : np.searchsorted(rows, high, "right")]
            yield mine, {name: np.asarray(values) for name, values in found.items()}

    return ask


def _step(ask: _Ask, links: RowLinks, key: Key, rows: Numbers, *, down: bool) -> Iterator[tuple[Key, Numbers, Numbers]]:
    """Yield the pairs of some rows: whose rows are on the other side, these rows, and those, each as often."""
    around = links.around(key, down=down)
    if not around:
        return
    others: dict[Key, list[int]] = {}
    for link, other in around:
        others.setdefault(other, []).append(link.number)
    for asked, found in ask([link.number for link, _ in around], rows):
        for other, numbers in others.items():
            mine = np.isin(found["link"], numbers) if len(others) > 1 else slice(None)
            near, far = _pairs(asked, *(found[name][mine] for name in ("nf", "nl", "ff", "fl", "count")))
            if len(near):
                yield other, near, far


def _pairs(
    rows: Numbers, first: Numbers, last: Numbers, far_first: Numbers, far_last: Numbers, count: Numbers
) -> tuple[Numbers, Numbers]:
    """Return the pairs of some ranges, of which the near one is among the rows, which are in order."""
    steps = np.maximum(count - 1, 1)
    step, far_step = (last - first) // steps, (far_last - far_first) // steps
    begin, end = np.searchsorted(rows, first), np.searchsorted(rows, last, "right")
    place, within = _spread(end - begin)
    near = rows[begin[place] + within]
    # One row on this side is there for all of the pairs of its range, of others each for one or none.
    all_of_it = (step[place] == 0) & (count[place] > 1)
    apart = np.maximum(step[place], 1)
    hit = all_of_it | ((near - first[place]) % apart == 0)
    place, near, all_of_it, apart = place[hit], near[hit], all_of_it[hit], apart[hit]
    number = (near - first[place]) // apart
    again, more = _spread(np.where(all_of_it, count[place], 1))
    number = np.where(all_of_it[again], more, number[again])
    place, near = place[again], near[again]
    return near, far_first[place] + number * far_step[place]


def _spread(counts: Numbers) -> tuple[Numbers, Numbers]:
    """Return 0 as often as the first count says, 1 as often as the second, ...; and the number within each."""
    counts = np.maximum(counts, 0)
    place = np.repeat(np.arange(len(counts)), counts)
    return place, np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)


def intervals(rows: Numbers) -> list[tuple[int, int]]:
    """Return a few ranges in which some rows are, without the widest gaps between them.

    Parameters
    ----------
    rows : ndarray of int64
        In order, at least one.

    Returns
    -------
    list of (int, int)
        First and last row of each.
    """
    gaps = np.diff(rows)
    if len(gaps) >= _ASKED:
        wide = np.sort(np.argpartition(gaps, -(_ASKED - 1))[-(_ASKED - 1) :])
    else:
        wide = np.flatnonzero(gaps > 1)
    begin, end = np.concatenate([[0], wide + 1]), np.concatenate([wide, [len(rows) - 1]])
    return [(int(rows[one]), int(rows[two])) for one, two in zip(begin, end, strict=True)]

"""Receives of any source or tag whose end nobody has seen: settled where only one message can be theirs.

That is known of runs of which all logs are there to their end: what was sent to a rank and has no receive there can
then only be what such receives took. Where they are as many as those messages, each took one of them, and a receive
is settled if no other channel is left for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

__all__ = ["eliminate", "settle_wildcards"]

#: Source and tag; -1 where any will do.
Envelope = tuple[int, int]

# Sides that have open receives, of runs that are whole; none where it is not known whether something was sent, or
# received, or where a posting is missing.
_OPEN = """
create or replace temp table mpi_open as
    with whole as (
        select k.run from ranks k join writers w using (writer) group by k.run
        having bool_and(k.state in ('closed', 'ended'))
            and count(distinct k.rank) filter (where k.parent is null)
                = coalesce(max((w.header ->> '$.size')::integer), 1)),
    able as (
        select side from mpi_stated group by side
        having bool_or(state = 'open') and not bool_or(doubtful and state = 'open') and count(*) = max(number) + 1)
    select s.side, s.world, any_value(r.rank) as rank
    from mpi_sides s join able using (side) join mpi_stated r using (side)
    where s.run in (from whole) and not exists (
        from mpi_halves u where u.world = s.world and u.what = 7 and u.peer = r.rank)
    group by s.side, s.world
"""

_CLASSES = """
    select side, peer, tag, count(*) from mpi_stated where state = 'open' and side in (select side from mpi_open)
    group by all order by all
"""

_LEFT = """
    with sent as (
        select o.side, h.rank as peer, h.tag, count(*) as messages
        from mpi_halves h join mpi_open o on o.world = h.world and o.rank = h.peer where h.what = 1 group by all),
    taken as (
        select side, peer, tag, count(*) as messages from mpi_stated
        where state in ('received', 'posted') and side in (select side from mpi_open) group by all)
    select side, peer, tag, coalesce(s.messages, 0) - coalesce(t.messages, 0)
    from sent s full join taken t using (side, peer, tag)
    where coalesce(s.messages, 0) <> coalesce(t.messages, 0) order by all
"""

_SETTLED = """
    update mpi_stated r set state = 'posted', peer = i.source, tag = i.its_tag
    from braid_incoming i where r.side = i.side and r.state = 'open' and r.peer = i.peer and r.tag = i.tag
"""


def eliminate(receives: dict[Envelope, int], left: dict[Envelope, int]) -> dict[Envelope, Envelope]:
    """Return which channel open receives of one rank have taken their messages from, where that can be told.

    Parameters
    ----------
    receives : dict
        How many open receives there are of each source and tag, one of which at least is -1, which means any.
    left : dict
        How many messages of each channel to this rank have no other receive.

    Returns
    -------
    dict
        Channels of those whose receives, all of them, took theirs from one; empty where the numbers do not agree.

    Examples
    --------
    >>> eliminate({(-1, 5): 2, (-1, 6): 1}, {(3, 5): 2, (4, 6): 1})
    {(-1, 5): (3, 5), (-1, 6): (4, 6)}
    >>> eliminate({(-1, 5): 2}, {(3, 5): 1, (4, 5): 1})
    {}
    """
    receives, left = dict(receives), dict(left)
    if min(left.values(), default=0) < 0 or sum(left.values()) != sum(receives.values()):
        return {}
    settled: dict[Envelope, Envelope] = {}
    while True:
        able = {one: [channel for channel in left if _takes(one, channel)] for one in receives}
        takers: dict[Envelope, list[Envelope]] = defaultdict(list)
        for one, channels in able.items():
            for channel in channels:
                takers[channel].append(one)
        found = next(_forced(receives, left, able, takers), None)
        if found is None:
            return settled
        one, channel = found
        settled[one] = channel
        left[channel] -= receives.pop(one)
        if left[channel] < 0:
            return {}
        if not left[channel]:
            del left[channel]


def _forced(
    receives: dict[Envelope, int],
    left: dict[Envelope, int],
    able: dict[Envelope, list[Envelope]],
    takers: dict[Envelope, list[Envelope]],
) -> Iterator[tuple[Envelope, Envelope]]:
    """Yield receives that have one channel only, and those that are all that a channel has."""
    for one, channels in able.items():
        if len(channels) == 1:
            yield one, channels[0]
    for channel, several in takers.items():
        if len(several) == 1 and receives[several[0]] == left[channel]:
            yield several[0], channel


def _takes(receive: Envelope, channel: Envelope) -> bool:
    return all(wanted in (-1, given) for wanted, given in zip(receive, channel, strict=True))


def settle_wildcards(connection: Any) -> None:
    """Give receives in the temporary table ``mpi_stated`` the channel that they must have received from.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of the commit.
    """
    connection.execute(_OPEN)
    receives: dict[int, dict[Envelope, int]] = defaultdict(dict)
    left: dict[int, dict[Envelope, int]] = defaultdict(dict)
    for query, found in ((_CLASSES, receives), (_LEFT, left)):
        for side, peer, tag, count in connection.execute(query).fetchall():
            found[side][peer, tag] = count
    connection.execute("drop table mpi_open")
    settled = [
        (side, *one, *channel)
        for side, classes in receives.items()
        for one, channel in eliminate(classes, left[side]).items()
    ]
    if settled:
        names = ("side", "peer", "tag", "source", "its_tag")
        # DuckDB finds the table by this name.
        braid_incoming = pa.table(dict(zip(names, map(list, zip(*settled, strict=True)), strict=True)))  # noqa: F841
        connection.execute(_SETTLED)

"""What the ranks measured, by rank, by node, and all together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from braid_hpc.bench.latency import PARTS, percentiles

__all__ = ["COLUMNS", "totals"]

COLUMNS = ("what", "ranks", "file_system", "tail", "events", "events_per_s", "mb_per_s", *PARTS, "lost")


def totals(measured: Sequence[dict[str, Any]], *, ranks: bool = True) -> list[tuple[Any, ...]]:
    """Return a row for each rank, for each node, and for the job.

    Parameters
    ----------
    measured : sequence of dict
        From :func:`braid_hpc.bench.writing.measure_writing`, in the order of ranks.
    ranks : bool
        False: none for ranks.

    Returns
    -------
    list of tuple
        Of :data:`COLUMNS`: events a second and MB a second add up over ranks; times of single calls are
        percentiles of all calls, in microseconds.
    """
    nodes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in measured:
        nodes[each["host"]].append(each)
    rows = [_row(f"rank {rank}", [each]) for rank, each in enumerate(measured)] if ranks else []
    rows += [_row(f"node {host}", those) for host, those in sorted(nodes.items())]
    return [*rows, _row("job", measured)]


def _row(what: str, those: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    classes: Counter[int] = Counter()
    for each in those:
        classes.update({int(number): count for number, count in each["classes"].items()})
    taken = percentiles(classes)
    return (
        what,
        len(those),
        ", ".join(sorted({each["file_system"] for each in those})),
        ", ".join(sorted({each["tail"] for each in those})),
        sum(each["events"] for each in those),
        round(sum(each["events"] / each["seconds"] for each in those)),
        round(sum(each["bytes"] / each["seconds"] for each in those) / 1e6, 1),
        *(round(taken[name], 2) if name in taken else None for name in PARTS),
        sum(each["lost"] for each in those),
    )

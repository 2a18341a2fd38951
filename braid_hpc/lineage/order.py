"""Putting the nodes of a graph in an order in which each comes after what fed it, cycles told."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["in_order"]


def in_order(rank: Mapping[int, Any], edges: Iterable[tuple[int, int]]) -> tuple[list[int], list[list[int]]]:
    """Order nodes so that each comes after those that fed it, and of several that could be next the lowest rank.

    Nodes that feed each other come together, the lowest rank first.

    Parameters
    ----------
    rank : mapping of int to object
        The nodes, each with what sorts it among those that could be next.
    edges : iterable of (int, int)
        Child and parent.

    Returns
    -------
    order : list of int
        Each node once.
    cycles : list of list of int
        Nodes that feed each other, and a node that feeds itself.

    Examples
    --------
    >>> in_order({1: 5, 2: 4, 3: 3}, [(3, 1)])
    ([2, 1, 3], [])
    """
    behind: dict[int, set[int]] = {node: set() for node in rank}
    alone = []
    for child, parent in edges:
        if child == parent and child in behind:
            alone.append([child])
        elif child in behind and parent in behind:
            behind[parent].add(child)
    order = _kahn(rank, behind)
    if len(order) == len(behind):
        return order, alone
    # What feeds each other counts as one from here on, under the name of its lowest rank.
    cycles = _cycles(set(behind), behind)
    parts = {min(part, key=lambda node: (rank[node], node)): part for part in cycles}
    name = {node: first for first, part in parts.items() for node in part}
    joined: dict[int, set[int]] = {node: set() for node in behind if name.get(node, node) == node}
    for parent, children in behind.items():
        here = name.get(parent, parent)
        joined[here].update(there for child in children if (there := name.get(child, child)) != here)
    whole = _kahn({node: rank[node] for node in joined}, joined)
    told = [sorted(parts.get(node, [node]), key=lambda each: (rank[each], each)) for node in whole]
    return [each for part in told for each in part], alone + cycles


def _kahn(rank: Mapping[int, Any], behind: Mapping[int, set[int]]) -> list[int]:
    """Return the nodes that do not wait for each other, in order."""
    waits = dict.fromkeys(behind, 0)
    for children in behind.values():
        for child in children:
            waits[child] += 1
    order: list[int] = []
    ready = [(rank[node], node) for node, count in waits.items() if not count]
    heapq.heapify(ready)
    while ready:
        _, node = heapq.heappop(ready)
        order.append(node)
        for child in behind[node]:
            waits[child] -= 1
            if not waits[child]:
                heapq.heappush(ready, (rank[child], child))
    return order


def _cycles(nodes: set[int], behind: Mapping[int, set[int]]) -> list[list[int]]:
    """Return the sets of nodes that all reach each other (Tarjan's algorithm, without recursion)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    inside: set[int] = set()
    found: list[list[int]] = []
    for start in sorted(nodes):
        if start in number:
            continue
        work = [(start, iter(sorted(behind[start] & nodes)))]
        number[start] = low[start] = len(number)
        stack.append(start)
        inside.add(start)
        while work:
            node, ahead = work[-1]
            there = next(ahead, None)
            if there is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    part = [stack.pop()]
                    while part[-1] != node:
                        part.append(stack.pop())
                    inside.difference_update(part)
                    if len(part) > 1:
                        found.append(sorted(part))
            elif there not in number:
                number[there] = low[there] = len(number)
                stack.append(there)
                inside.add(there)
                work.append((there, iter(sorted(behind[there] & nodes))))
            elif there in inside:
                low[node] = min(low[node], number[there])
    return found

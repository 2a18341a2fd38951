"""Cycles: found by Tarjan's algorithm, and kept out of the graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

__all__ = ["closing", "components"]

_E = TypeVar("_E")


def components(edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Find the nodes that lie on a cycle.

    Parameters
    ----------
    edges : iterable of (str, str)
        Child and parent.

    Returns
    -------
    dict of str to int
        Nodes on a cycle, with a number that nodes of one strongly connected component share.
    """
    parents: dict[str, set[str]] = defaultdict(set)
    for child, parent in edges:
        parents[child].add(parent)
    return _Tarjan(parents).run()


class _Tarjan:
    """Strongly connected components, without recursion: chains of versions are longer than Python's stack."""

    def __init__(self, parents: dict[str, set[str]]) -> None:
        self.parents = parents
        self.index: dict[str, int] = {}
        self.low: dict[str, int] = {}
        self.stack: list[str] = []
        self.on_stack: set[str] = set()
        self.cyclic: dict[str, int] = {}

    def run(self) -> dict[str, int]:
        for root in list(self.parents):
            if root not in self.index:
                self._visit(root)
        return self.cyclic

    def _enter(self, node: str) -> None:
        self.index[node] = self.low[node] = len(self.index)
        self.stack.append(node)
        self.on_stack.add(node)

    def _visit(self, root: str) -> None:
        low, index = self.low, self.index
        self._enter(root)
        work = [(root, iter(self.parents.get(root, ())))]
        while work:
            node, above = work[-1]
            for parent in above:
                if parent not in index:
                    self._enter(parent)
                    work.append((parent, iter(self.parents.get(parent, ()))))
                    break
                if parent in self.on_stack:
                    low[node] = min(low[node], index[parent])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    self._leave(node)

    def _leave(self, node: str) -> None:
        component = []
        while True:
            member = self.stack.pop()
            self.on_stack.discard(member)
            component.append(member)
            if member == node:
                break
        if len(component) > 1 or node in self.parents.get(node, ()):
            self.cyclic.update(dict.fromkeys(component, self.index[node]))


def closing(firm: Iterable[tuple[str, str]], offered: Iterable[tuple[str, str, _E]]) -> list[_E]:
    """Find out which of some offered edges close a cycle.

    Parameters
    ----------
    firm : iterable of (str, str)
        Child and parent of edges that stay.
    offered : iterable of (str, str, object)
        Child and parent of edges that may be left out, and what to call them by; earlier ones go first.

    Returns
    -------
    list
        Those to leave out; with the others there is no cycle but those that the firm edges make.
    """
    firm, offered = list(firm), list(offered)
    cyclic = components([*firm, *((child, parent) for child, parent, _ in offered)])
    if not cyclic:
        return []
    # A cycle lies within one component, so the rest of the graph need not be looked at again.
    above: dict[str, list[str]] = defaultdict(list)
    for child, parent in firm:
        if child in cyclic and cyclic[child] == cyclic.get(parent):
            above[child].append(parent)
    refused = []
    for child, parent, name in offered:
        if child not in cyclic or cyclic[child] != cyclic.get(parent):
            continue
        if _reaches(above, parent, child):
            refused.append(name)
        else:
            above[child].append(parent)
    return refused


def _reaches(above: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, work = {start}, [start]
    while work:
        node = work.pop()
        if node == goal:
            return True
        for parent in above.get(node, ()):
            if parent not in seen:
                seen.add(parent)
                work.append(parent)
    return False

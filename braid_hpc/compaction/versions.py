"""Which occurrences are one version (``docs/identity.md``).

Identity is settled by the declaration alone, within its writer's log: nothing that arrives later, from this
writer or another one, changes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from braid_hpc.compaction.extract import Declared, Facts
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import key_digest
from braid_hpc.vocabulary.references import parse_reference

__all__ = ["activity_uid", "assign_versions", "occurrence_uid", "split_cycles"]


def occurrence_uid(writer: str, sequence: int) -> str:
    """Return the id of a version that is one occurrence's own.

    Parameters
    ----------
    writer : str
        The writer's id.
    sequence : int
        The occurrence's sequence.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return key_digest(["occurrence", writer, sequence])


def activity_uid(writer: str, sequence: int) -> str:
    """Return the id of an activity.

    Parameters
    ----------
    writer : str
        The writer's id.
    sequence : int
        Sequence of its BEGIN row.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return key_digest(["activity", writer, sequence])


def assign_versions(facts: Facts) -> None:
    """Give every occurrence of a writer its step and the id of its version.

    Parameters
    ----------
    facts : Facts
        All of the writer's occurrences in order; `step` and `uid` of each are set.
    """
    last: dict[tuple[str, str], tuple[int, Any]] = {}
    canonical: dict[int, Any] = {}
    latest: dict[str, int] = {}
    for declared in facts.declared:
        about = declared.about
        parents = tuple(_canonical(link, canonical, latest) for link in about.parents)
        state = (about.digest, parents, declared.activity)
        key = (declared.kind, declared.name)
        if key in last:
            step, before = last[key]
            declared.step = step if before == state else step + 1
        last[key] = (declared.step, state)
        declared.uid = _uid(facts, declared, made=bool(about.parents) or declared.activity is not None)
        canonical[declared.sequence] = (*key, declared.step, about.digest)
        latest[declared.name] = latest[f"{declared.kind}:{declared.name}"] = declared.sequence


def _uid(facts: Facts, declared: Declared, *, made: bool) -> str:
    about = declared.about
    if about.digest is not None:
        if not made:
            return key_digest(["source", declared.kind, declared.name, about.digest])
        return key_digest(["made", declared.kind, declared.name, facts.run, declared.step, about.digest])
    if about.shared:
        return key_digest(["shared", declared.kind, declared.name, facts.run, declared.step])
    return occurrence_uid(facts.writer, declared.sequence)


def _canonical(link: Any, canonical: dict[int, Any], latest: dict[str, int]) -> Any:
    """Return what a link means within this writer, so that two links can be compared."""
    if isinstance(link, int):
        return canonical.get(link, link)
    if isinstance(link, str):
        local = latest.get(_plain(link))
        return canonical[local] if local is not None else ("text", link)
    if isinstance(link, (list, tuple)):
        return ("all", _canonical(link[0], canonical, latest)) if link else None
    return link


def _plain(text: str) -> str:
    """Return ``kind:name`` or ``name`` of a reference without a version, else the text itself."""
    try:
        reference = parse_reference(text)
    except InvalidInputError:
        return text
    if reference.version is not None or reference.name is None:
        return text
    return f"{reference.kind}:{reference.name}" if reference.kind else reference.name


def split_cycles(
    occurrences: dict[tuple[str, int], Declared], edges: Iterable[tuple[str, str]]
) -> list[tuple[str, int]]:
    """Keep occurrences apart whose merging would close a cycle.

    Parameters
    ----------
    occurrences : dict
        Every new occurrence by writer and sequence; the `uid` of those kept apart is changed.
    edges : iterable of (str, str)
        Derivations as pairs of version ids, child and parent.

    Returns
    -------
    list of (str, int)
        The occurrences that were kept apart.
    """
    parents: dict[str, set[str]] = defaultdict(set)
    for child, parent in edges:
        parents[child].add(parent)
    cyclic = _in_cycles(parents)
    apart = [place for place, declared in occurrences.items() if declared.uid in cyclic]
    for writer, sequence in apart:
        occurrences[writer, sequence].uid = occurrence_uid(writer, sequence)
    return apart


def _in_cycles(parents: dict[str, set[str]]) -> set[str]:
    """Return the nodes that lie on a cycle: strongly connected components, by Tarjan, without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    cyclic: set[str] = set()
    for root in list(parents):
        if root in index:
            continue
        work = [(root, iter(parents.get(root, ())))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, above = work[-1]
            for parent in above:
                if parent == node:
                    cyclic.add(node)
                if parent not in index:
                    index[parent] = low[parent] = len(index)
                    stack.append(parent)
                    on_stack.add(parent)
                    work.append((parent, iter(parents.get(parent, ()))))
                    break
                if parent in on_stack:
                    low[node] = min(low[node], index[parent])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == node:
                            break
                    if len(component) > 1:
                        cyclic.update(component)
    return cyclic

"""What a commit states between nodes: edges, and links that later commits look at again."""

from __future__ import annotations

from dataclasses import dataclass

from braid_hpc.compaction.extract import Place
from braid_hpc.vocabulary.codes import Relation

__all__ = ["Edge", "Late", "Unresolved"]


@dataclass(frozen=True, slots=True)
class Edge:
    """A statement of an edge, between global ids (uids), made at a `time` in nanoseconds since 1970 UTC."""

    child: str
    parent: str
    relation: Relation
    writer: str
    sequence: int
    time: int
    said: str | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """A late-bound link: an edge to that kind, name and step of every writer of the run.

    `means` is run, kind, name and step; where the record it was made of is not seen yet, `place` names that instead.
    """

    child: str
    relation: Relation
    writer: str
    sequence: int
    time: int
    means: tuple[str, str, str, int] | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A reference in text that named nothing yet: another rank's log may bring what it means."""

    child: str
    run: str
    said: str
    time: int
    relation: Relation
    writer: str
    sequence: int

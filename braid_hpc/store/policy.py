"""Whether what is recorded of proposals, beamtimes and their people is as it should be; nothing is refused.

A proposal, a beamtime, a user are records of these kinds. Who has which role is said by tags of a proposal or a
beamtime: ``PI`` and ``user``, each as often as there are people. A beamtime belongs to the proposals that it was
derived from, and to those that its tags ``proposal`` name.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid_hpc.store.annotations import current_tags
from braid_hpc.store.bound import Bound
from braid_hpc.store.holding import HOLDING, LATER
from braid_hpc.store.listed import Listed
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["Violation", "Violations", "find_violations"]

PROPOSAL, BEAMTIME, USER = "proposal", "beamtime", "user"
#: The keys of tags that give a role.
LEADER, MEMBER = "PI", "user"


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that is not as it should be.

    Attributes
    ----------
    ref : str
        The record, ``kind:name``.
    rule : str
        ``leader`` (a proposal or a beamtime has at least one PI), ``proposal`` (a beamtime has exactly one), ``known``
        (who has a role, and which proposal is named, is on record).
    found : tuple of str
        What there is: proposals, or what is not on record.
    message : str
        A sentence.
    """

    ref: str
    rule: str
    found: tuple[str, ...]
    message: str


class Violations(Listed[Violation]):
    """What is not as it should be: :class:`Violation` by record and rule, and a table for other libraries."""

    COLUMNS = (("ref", "text"), ("rule", "text"), ("found", "texts"), ("message", "text"))


_RECORDS = f"""
    select distinct v.kind, v.name from version_rows v
    where v.kind in ('proposal', 'beamtime', 'user') and v.snapshot <= $at and v.id not in ({LATER})
"""
_TAGS = """
    select distinct v.kind, v.name, lower(t.key) as key, t.text from ({tags}) t join version_rows v using (id)
    where v.kind in ('proposal', 'beamtime') and lower(t.key) in ('pi', 'user', 'proposal')
"""
_BELONGS = f"""
    select distinct c.name, p.name as proposal from {HOLDING} h join version_rows c on c.id = h.child
    join version_rows p on p.id = h.parent
    where c.kind = 'beamtime' and p.kind = 'proposal' and h.relation = 'wasDerivedFrom'
"""


def find_violations(store: Opened, *, then: dict[str, int]) -> Violations:
    """Return where the records of proposals and beamtimes are not as they should be.

    Parameters
    ----------
    store : Opened
        Open.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Returns
    -------
    Violations
        By record and rule.
    """
    records: dict[str, set[str]] = defaultdict(set)
    for row in store._asked(_RECORDS, then):
        records[row["kind"]].add(row["name"])
    roles: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    bound = Bound()
    tags = current_tags(store, bound)
    for row in store._asked(_TAGS.format(tags=tags), {**bound.values, **then}):
        # A role may be given by a reference as well as by a name.
        kind = PROPOSAL if row["key"] == PROPOSAL else USER
        roles[row["kind"], row["name"], row["key"]].add(row["text"].removeprefix(f"{kind}:"))
    for row in store._asked(_BELONGS, then):
        roles[BEAMTIME, row["name"], PROPOSAL].add(row["proposal"])
    found: list[Violation] = []
    for kind in (PROPOSAL, BEAMTIME):
        for name in sorted(records[kind]):
            found.extend(_of(kind, name, roles, records))
    return Violations(found)


def _of(kind: str, name: str, roles: Any, records: dict[str, set[str]]) -> list[Violation]:
    ref = format_reference(kind, name)
    leaders, members = roles[kind, name, LEADER.lower()], roles[kind, name, MEMBER]
    found = []
    if not leaders:
        found.append(Violation(ref, "leader", (), f"{ref} has no PI: tag it with PI and a name"))
    if kind == BEAMTIME:
        proposals = tuple(sorted(roles[kind, name, PROPOSAL]))
        if len(proposals) != 1:
            there = f"{len(proposals)} proposals ({', '.join(proposals)})" if proposals else "no proposal"
            found.append(Violation(ref, "proposal", proposals, f"{ref} belongs to {there}: it should belong to one"))
        found.extend(_unknown(ref, PROPOSAL, set(proposals), records))
    return found + _unknown(ref, USER, leaders | members, records)


def _unknown(ref: str, kind: str, named: set[str], records: dict[str, set[str]]) -> list[Violation]:
    """Return what is named and not on record; of users where any are."""
    missing = tuple(sorted(named - records[kind])) if records[kind] or kind == PROPOSAL else ()
    listed = ", ".join(format_reference(kind, name) for name in missing)
    return [Violation(ref, "known", missing, f"{ref} names {listed}, not on record")] if missing else []

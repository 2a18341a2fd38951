"""The part of a search that asks for scans: which values it needs of documents and events, and their SQL."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from braid_hpc.store.nexus_names import nexus_path, nexus_table, projected
from braid_hpc.store.scan_facts import Facts, documents_place, read_described, read_scan_documents, said_of, values_at
from braid_hpc.store.scan_values import EventValues

if TYPE_CHECKING:
    from braid_hpc.queries.fields import Field
    from braid_hpc.queries.tree import Condition
    from braid_hpc.store.bound import Bound
    from braid_hpc.store.store import Store

__all__ = ["ScanConditions", "known_scans"]

#: Which rows a scan belongs to: its record and its activity, or the jobs that recorded documents of it.
_THINGS = (
    "select id, name as scan from version_rows where kind = 'scan' and snapshot <= $at "
    "union all select id, name[6:] from activity_rows where starts_with(name, 'scan:') and snapshot <= $at"
)


@dataclass(frozen=True, slots=True)
class _Part:
    """A condition on a field of documents or events, and the scans of which it is asked."""

    number: int
    condition: Condition
    only: set[str] | None = None
    without: frozenset[str] = frozenset()

    def covers(self, scan: str) -> bool:
        return scan not in self.without if self.only is None else scan in self.only


@dataclass(slots=True)
class ScanConditions:
    """What a search asks of documents and events.

    Attributes
    ----------
    store : Store
        Open.
    then : dict of str to int
        The moment.
    bound : Bound
        Takes values.
    """

    store: Store
    then: dict[str, int]
    bound: Bound
    _asked: list[Condition] = field(default_factory=list)

    def add(self, asked: Condition) -> int:
        """Take a condition.

        Parameters
        ----------
        asked : Condition
            On a field of scans.

        Returns
        -------
        int
            What the column ``number`` of its rows is.
        """
        self._asked.append(asked)
        return len(self._asked) - 1

    def query(self) -> str:
        """Return SQL of all values that were asked for.

        Returns
        -------
        str
            With the columns ``scan`` and ``number``, and those of tags.

        Raises
        ------
        InvalidInputError
            If something is asked that values are not, such as a sum of texts.
        """
        facts = Facts()
        asked = [part for number, each in enumerate(self._asked) for part in self._meant(number, each, facts)]
        names = {name for each in asked if (name := _document(each.condition)) is not None}
        for name, scan, document in read_scan_documents(self.store, sorted(names), self.then) if names else ():
            for each in asked:
                if _document(each.condition) == name and each.covers(scan):
                    for value in said_of(each.condition.field, name, document):
                        facts.add(scan, each.number, value)
        series = [each for each in asked if each.condition.field.name == "data"]
        parts = []
        if series:
            described = read_described(self.store, self.then)
            for each in series:
                mine = {uid: about for uid, about in described.items() if each.covers(about.scan)}
                values = EventValues(self.store, self.then, mine, self.bound)
                parts += values.parts(each.number, each.condition, facts)
        return " union all ".join([facts.query(self.bound), *parts])

    def _meant(self, number: int, asked: Condition, facts: Facts) -> list[_Part]:
        """Return the fields that a condition is on: of a NeXus name those that scans call so."""
        if asked.field.name != "nexus":
            return [_Part(number, asked)]
        if not (asked.field.key or "").strip("/"):
            return []
        path = nexus_path(asked.field.key)
        said: dict[Field, set[str]] = {}
        itself: set[str] = set()
        for _, scan, start in read_scan_documents(self.store, ("start",), self.then):
            name = projected(start).get(path)
            if name is None:
                continue
            itself.add(scan)
            if name.field is not None:
                said.setdefault(name.field, set()).add(scan)
            else:
                for value in values_at({"": name.value}, ""):
                    facts.add(scan, number, value)
        found = [_Part(number, replace(asked, field=field), scans) for field, scans in said.items()]
        common = nexus_table().get(path)
        if common is not None:
            found.append(_Part(number, replace(asked, field=common), None, frozenset(itself)))
        return found

    def belonging(self, *, runs: bool) -> str:
        """Return SQL of the rows that a search finds, with the scans they belong to.

        Parameters
        ----------
        runs : bool
            Whether these are the runs whose ranks recorded documents of a scan; else its record and its activity.

        Returns
        -------
        str
            With ``scan``, and ``run`` or ``id``.
        """
        if not runs:
            return _THINGS
        place = documents_place(self.store)
        if place is None:
            return "select null::varchar as run, null::varchar as scan where false"
        return f"select distinct _run as run, scan from {place} where scan <> '' and _snapshot <= $at"


def known_scans(store: Store, *, until: bool) -> str:
    """Return SQL of all scans of which there is a document, each with the newest record of its start.

    Parameters
    ----------
    store : Store
        Open.
    until : bool
        Whether what was recorded later than ``$as_of`` is left out.

    Returns
    -------
    str
        With ``scan``, and the columns of ``things``, which it reads.
    """
    place = documents_place(store)
    then = f"_snapshot <= $at{' and epoch_ns(_time) <= $as_of' if until else ''}"
    scans = "select null::varchar as scan where false"
    if place is not None:
        scans = f"select distinct scan from {place} where scan <> '' and {then}"
    return (
        "select s.scan, n.* replace (coalesce(n.name, s.scan) as name, 'scan' as kind) "
        f"from ({scans}) s left join (select * from things where kind = 'scan' "
        "qualify row_number() over (partition by name order by version desc) = 1) n on n.name = s.scan"
    )


def _document(asked: Condition) -> str | None:
    """Return the kind of documents that a condition is on; None for events."""
    name = asked.field.name
    return name if name in ("start", "stop") else None if name == "data" else "descriptor"

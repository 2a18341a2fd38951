"""Tests that were stated about versions, and what newly fails between two of them (``docs/statements.md``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from braid_hpc.run.stating import PASSED, STATEMENT
from braid_hpc.store.holding import HOLDING
from braid_hpc.store.listed import Listed
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["Statement", "TestChange", "TestChanges", "Tests", "compare", "tests_about", "verdict"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A test that was stated about a version.

    Attributes
    ----------
    name : str
        Of the test.
    ref : str
        Of the statement, which is a record too.
    about : str
        The version it is about.
    passed : bool
        What it says.
    value : object
        What was found.
    valid : bool
        Whether it can be relied on: not, where what it is about, or what it came from otherwise, cannot.
    cause : str or None
        Why not.
    run : str or None
        The run it was made in.
    rank : int or None
        The rank.
    time : datetime
        When, UTC.
    """

    name: str
    ref: str
    about: str
    passed: bool
    value: Any
    valid: bool
    cause: str | None
    run: str | None
    rank: int | None
    time: datetime


@dataclass(frozen=True, slots=True)
class TestChange:
    """What a test says of two versions.

    Attributes
    ----------
    name : str
        Of the test.
    before, now : str
        ``passed``, ``failed``, ``invalid`` (it was made, and cannot be relied on) or ``absent`` (it was not made).
    statements : list of Statement
        Those of the newer version that count.
    """

    __test__ = False  # to pytest, which takes the name for a test's

    name: str
    before: str
    now: str
    statements: list[Statement]

    @property
    def newly_failing(self) -> bool:
        """Whether it fails or is invalid now, and neither failed before nor was as it is now."""
        return self.now in ("failed", "invalid") and self.before not in ("failed", self.now)


class Tests(Listed[Statement]):
    """Tests that were stated: :class:`Statement` in their order, and a table for other libraries."""

    __test__ = False  # to pytest

    COLUMNS = (
        *(("name", "text"), ("ref", "text"), ("about", "text"), ("passed", "bool"), ("value", "json")),
        *(("valid", "bool"), ("cause", "text"), ("run", "text"), ("rank", "int"), ("time", "time")),
    )


class TestChanges(Listed[TestChange]):
    """What tests say of two versions: :class:`TestChange` by name, and a table for other libraries."""

    __test__ = False  # to pytest

    COLUMNS = (
        *(("name", "text"), ("before", "text"), ("now", "text"), ("newly_failing", "bool"), ("statements", "texts")),
    )

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return the rows of the table.

        Returns
        -------
        columns : tuple of str
            Names.
        rows : list of dict
            The attributes of each, with statements by their references.
        """
        names, rows = super().rows()
        return names, [{**row, "statements": [each.ref for each in row["statements"]]} for row in rows]


def tests_about(store: Store, reference: str, *, all_versions: bool, at: int | None, as_of: Any) -> Tests:
    """Return the tests about a version; see :meth:`braid_hpc.Store.tests`.

    Parameters
    ----------
    store : Store
        Open.
    reference, all_versions, at, as_of
        As there.

    Returns
    -------
    Tests
        As there.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As :meth:`Store.get`.
    """
    node = store.get(reference, at=at, as_of=as_of)
    rows = store.sql(
        _ABOUT,
        {
            "passed": PASSED,
            "kind": STATEMENT,
            "id": node.id,
            "all": all_versions,
            "about": node.kind,
            "name": node.name,
            **store._then(at, as_of),
        },
    )
    judged = store.judgements(at=at, as_of=as_of)
    return Tests(
        Statement(
            row["name"],
            format_reference(STATEMENT, row["name"], row["version"]),
            format_reference(row["about_kind"], row["about_name"], row["about_version"]),
            row["passed"],
            None if row["value"] is None else json.loads(row["value"]),
            row["id"] not in judged,
            judged[row["id"]].cause if row["id"] in judged else None,
            row["run"],
            row["rank"],
            row["time"],
        )
        for row in rows
    )


#: Statements that are tests, with what they are about: what was known at ``$at`` of what had been said by ``$as_of``.
_ABOUT = f"""
    select s.id, s.name, s.version, a.kind as about_kind, a.name as about_name, a.version as about_version,
        t.passed, o.value, o.run, w.rank, o.time
    from version_rows s
    join (
        select id, bool_and(boolean) as passed from tag_rows
        where key = $passed and type = 'bool' and snapshot <= $at and epoch_ns(time) <= $as_of group by id) t
        on t.id = s.id
    join (
        select id, min(time) as time, arg_min(run, (time, writer, sequence)) as run,
            arg_min(writer, (time, writer, sequence)) as writer,
            arg_min(value, (writer, sequence)) filter (where value is not null) as value
        from occurrences where snapshot <= $at and epoch_ns(time) <= $as_of group by id) o on o.id = s.id
    join (select distinct child, parent from {HOLDING} where relation = 'wasDerivedFrom') e on e.child = s.id
    join nodes a on a.id = e.parent
    left join writers w on w.writer = o.writer
    where s.kind = $kind and (a.id = $id or ($all and a.kind = $about and a.name = $name))
        and a.id not in (select id from filled where snapshot <= $at)
    order by s.name, a.version, o.time, s.id
"""


def compare(store: Store, reference: str, against: str, *, at: int | None = None, as_of: Any = None) -> TestChanges:
    """Return every test of two versions; see :meth:`braid_hpc.Store.compare_tests`.

    Parameters
    ----------
    store : Store
        Open.
    reference, against : str
        Two versions.
    at, as_of
        As there.

    Returns
    -------
    TestChanges
        By name.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As :meth:`Store.get`.
    """
    now, before = (
        _by_name(tests_about(store, each, all_versions=False, at=at, as_of=as_of)) for each in (reference, against)
    )
    return TestChanges(
        TestChange(name, verdict(before.get(name, [])), verdict(now.get(name, [])), now.get(name, []))
        for name in sorted({*now, *before})
    )


def _by_name(statements: Tests) -> dict[str, list[Statement]]:
    """Return what counts of each test: a later run that makes it again stands for the earlier ones."""
    found: dict[str, list[Statement]] = {}
    for statement in statements:
        found.setdefault(statement.name, []).append(statement)
    for name, made in found.items():
        last = max(made, key=lambda each: each.time)
        found[name] = [each for each in made if each.run == last.run]
    return found


def verdict(statements: list[Statement]) -> str:
    """Return what some statements of one test come to.

    Parameters
    ----------
    statements : list of Statement
        That count.

    Returns
    -------
    str
        ``absent``, ``invalid`` if none can be relied on, ``failed`` if one of those that can failed, else ``passed``.
    """
    if not statements:
        return "absent"
    relied_on = [each.passed for each in statements if each.valid]
    if not relied_on:
        return "invalid"
    return "passed" if all(relied_on) else "failed"

"""The macros of a store, asked with DuckDB alone: the nodes that `Store.lineage` and `Store.impact` give."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time_ns
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import braid_hpc as braid
from braid_hpc.snapshots.macros import PARSED
from braid_hpc.snapshots.schema import reference_of
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import format_reference, parse_reference
from braid_hpc.vocabulary.times import shown_time
from tests.demos import golden
from tests.docs.pages import DOCS
from tests.jobs import Job, made, one
from tests.store.searched import searched

NAMES = ["a", "b@c", 'say "x"', "scan#3", "é\n🧵", " spaced ", "back\\slash"]


def record(folder: Path, dice: random.Random) -> Path:
    """Record a random graph in some snapshots: versions, activities, names of nothing, logs that come late."""
    for number in range(3):
        logs = folder / f"logs-{number}"
        with Job(logs, 2, name=f"job-{number}") as job:
            records: list[Any] = []
            for _ in range(dice.randrange(4, 10)):
                run = job[dice.randrange(2)]
                parents = dice.sample(records, min(len(records), dice.randrange(3)))
                if dice.random() < 0.2:
                    parents.append(f"{dice.choice(['data', 'fact'])}:{dice.choice(['a', 'nowhere'])}")
                digest = f"x:{dice.randrange(4)}"
                if dice.random() < 0.4:
                    with run.activity(f"act-{dice.randrange(2)}", used=parents):
                        records.append(run.data(dice.choice(NAMES), digest=digest))
                else:
                    kind = dice.choice([run.data, run.model])
                    records.append(kind(dice.choice(NAMES), digest=digest, derived_from=parents))
        braid.compact(logs, folder / "prov.duckdb")
    return folder / "prov.duckdb"


def compare(path: Path, at: int | None, dice: random.Random, few: int = 1_000_000, *, as_of: int | None = None) -> int:
    """Compare the macros with the store for nodes and names of a snapshot: for all of them, or for a few."""
    expected: dict[tuple[str, str], list[tuple[str, int]] | None] = {}
    with braid.open(path) as store:
        last = store.snapshot if at is None else at
        rows = store.sql("select distinct kind, name, version, uid from nodes where snapshot <= ?", [last]).to_pylist()
        every = [format_reference(row["kind"], row["name"], row["version"]) for row in rows]
        every += [format_reference(row["kind"], row["name"], dice.choice([None, "latest"])) for row in rows]
        every += [f"id:{row['uid']}" for row in rows]
        for ref in dice.sample(sorted(set(every)), min(few, len(set(every)))):
            for macro, down in (("lineage", False), ("impact", True)):
                try:
                    answer = store.lineage(ref, down=down, at=at, as_of=as_of)
                except NotFoundError:
                    expected[macro, ref] = None
                    continue
                expected[macro, ref] = [(node.ref, node.distance) for node in answer.nodes]
    with duckdb.connect(str(path), read_only=True) as alone:
        for (macro, ref), nodes in expected.items():
            query = f"select ref, distance from {macro}($ref, at := $at, as_of := $as_of)"
            moment = {"ref": ref, "at": at, "as_of": as_of}
            if nodes is None:
                with pytest.raises(duckdb.InvalidInputException, match="was not there at"):
                    alone.execute(query, moment).fetchall()
                continue
            assert alone.execute(query, moment).fetchall() == nodes, f"{macro} {ref} at {at}, {as_of}"
    return len(expected)


def test_they_are_what_the_store_answers(tmp_path: Path) -> None:
    """By reference, name and id, at every snapshot, in the same order; `make faults` does it at length."""
    dice = random.Random(5)
    path = record(tmp_path, dice)
    assert sum(compare(path, at, dice, 6) for at in (None, 1, 2)) == 36


def test_they_take_a_time(tmp_path: Path) -> None:
    """Alone and with a snapshot: before and after retractions, for names that mean another version then."""
    dice = random.Random(11)
    path = record(tmp_path, dice)
    with braid.open(path) as store:
        edges = store.sql(
            "select c.uid as child, p.uid as parent from edges e join nodes c on c.id = e.child "
            "join nodes p on p.id = e.parent where relation <> 'same-content' order by all"
        ).to_pylist()
        for edge in dice.sample(edges, 2):
            store.retract(f"id:{edge['child']}", f"id:{edge['parent']}", cause="wrong")
        times = store.sql(
            "select epoch_ns(time) as t from occurrences union select epoch_ns(time) from retraction_rows order by t"
        )["t"]
    few = [(dice.choice(times), at) for at in (None, 1, 3, None)]
    moments = [*few, (times[0], None), (times[-1], None), (times[-2], 5)]
    assert sum(compare(path, at, dice, 4, as_of=time) for time, at in moments) == 8 * len(moments)


def test_a_time_is_given_in_many_ways(store: Store) -> None:
    """As text with a zone or without one, as a time of SQL, as nanoseconds; to the nanosecond."""
    (first,) = store.sql("select epoch_ns(min(time)) as t from occurrences")["t"]
    shown = shown_time(first)
    for time in (f"'{shown}'", f"'{shown[:-1]}'", f"'{shown[:-1]}+00:00'", f"timestamp_ns '{shown[:-1]}'", str(first)):
        assert store.sql(f"from impact('fact:config', as_of := {time})")["ref"] == ["fact:config@1"]
    assert len(store.sql("from impact('fact:config', 1, $now)", {"now": time_ns()})) == 2
    with pytest.raises(InvalidInputError, match="data:config was not there at"):
        store.sql(f"from impact('data:config', as_of := {first})")


def test_they_are_what_the_store_answers_of_a_job(tmp_path: Path) -> None:
    """Siblings of several ranks, activities, a placeholder and an invalidation."""
    path = searched(tmp_path)
    dice = random.Random(1)
    assert compare(path, None, dice, 6) == 12


@pytest.mark.parametrize("driver", [golden.slac, golden.ssx])
def test_they_are_what_the_store_answers_of_the_golden_graphs(
    driver: Callable[[braid.Run], None], tmp_path: Path
) -> None:
    with one(tmp_path / "logs") as job:
        driver(job[0])
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    assert compare(tmp_path / "prov.duckdb", None, random.Random(2), 4) == 8


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("macros")
    with one(folder / "logs") as job:
        config = job[0].fact("config", {"n": 1})
        job[0].data("config", digest="x:0", derived_from=config)
    with made(folder / "logs", folder / "prov.duckdb") as opened:
        yield opened


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("lineage('nothing')", "nothing is not in this store"),
        ("lineage('config')", "config fits several records"),
        ("impact('fact:config@9')", "no version of that number"),
        ("lineage('fact:config@0')", "is not a version"),
        ("lineage('')", "an empty reference"),
        ("lineage(null)", "an empty reference"),
        ("lineage('id:xyz')", "is not an id"),
        ("lineage('\"a')", "quotes in"),
        ("lineage('a#3')", "a row of a stream"),
        ("lineage('fact:config', 9)", "there is no snapshot 9: this store has 1 to 1"),
        ("lineage('fact:config', at := 0)", "there is no snapshot 0"),
        ("lineage('fact:config', as_of := 'yesterday')", "yesterday is not a time"),
        ("lineage('fact:config', as_of := '2020-01-01')", "2020-01-01 is before the first event of this store"),
        ("lineage('fact:config', as_of := '2250-01-01')", "2250-01-01 is still to come"),
    ],
)
def test_what_names_nothing_is_refused(store: Store, call: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        store.sql(f"from {call}")


def test_they_are_joined_with_the_views(store: Store, tmp_path: Path) -> None:
    """From the store's own connection, and from one to which it is attached."""
    # DuckDB opens a file once in a process.
    copied = shutil.copy(store.path, tmp_path)
    query = "select l.ref, v.digest from impact('fact:config') l join versions v using (id) order by l.distance"
    expected = [{"ref": "fact:config@1"}, {"ref": "data:config@1"}]
    assert [{"ref": row["ref"]} for row in store.sql(query)] == expected
    with duckdb.connect() as other:
        other.execute(f"attach '{copied}' as prov (read_only)")
        other.execute("use prov")
        assert [{"ref": ref} for ref, _ in other.execute(query).fetchall()] == expected


CONNECTION = duckdb.connect()
LETTERS = some.text(some.sampled_from('ab:@#19"\\ \n\u3000\x1cé🧵x'), max_size=12)


@settings(deadline=None)
@given(some.sampled_from(["data", "model"]), some.text() | LETTERS, some.integers(1, 10**9))
def test_references_are_written_as_everywhere(kind: str, name: str, version: int) -> None:
    name = name.replace("\0", "")
    row = "(select $kind::varchar as kind, $name::varchar as name, $version as version) t"
    query = f"select {reference_of('t')} from {row}"
    given = {"kind": kind, "name": name, "version": version}
    assert CONNECTION.execute(query, given).fetchone() == (format_reference(kind, name, version),)


@settings(deadline=None)
@given(
    LETTERS
    | some.builds(format_reference, some.sampled_from([None, "data"]), LETTERS, some.sampled_from([None, 3, "latest"]))
    | some.sampled_from(["id:0f3a", "ID:0f3a", "id:0F3A", "id:0", "latest", "a@latest", 'data:"a@b"@2', "a:b@3", "A:b"])
)
def test_references_are_read_as_everywhere(text: str) -> None:
    query = f"with {PARSED} select identity, kind, name, version, said from meant"
    try:
        reference = parse_reference(text)
    except InvalidInputError:
        reference = None
    # A parameter of the macro is a column here.
    query = query.replace("reference::varchar", "$text::varchar")
    if reference is None or reference.row is not None:
        with pytest.raises(duckdb.InvalidInputException):
            CONNECTION.execute(query, {"text": text}).fetchall()
    else:
        expected = (reference.identity, reference.kind, reference.name, reference.version)
        assert CONNECTION.execute(query, {"text": text}).fetchall()[0][:4] == expected


def test_their_columns_are_those_of_the_page(store: Store) -> None:
    """And no store has other macros."""
    page = (DOCS / "store-format.md").read_text()
    section = page.partition("\n## Macros\n")[2].partition("\n## ")[0]
    listed = [tuple(row) for row in re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE)]
    names = store.sql("select distinct function_name as name from duckdb_functions() where not internal order by all")
    assert names["name"] == ["impact", "lineage"]
    for name in names["name"]:
        columns = store.sql(f"describe from {name}('fact:config')")
        assert list(zip(columns["column_name"], columns["column_type"], strict=True)) == listed

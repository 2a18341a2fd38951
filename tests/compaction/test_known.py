"""Look-ups in the snapshot that a commit builds on."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.known import Known
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.references import parse_reference
from tests.jobs import Job, one, rows

NOW = 1 << 62


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two runs: each a source, a chain of three models of it, and in the second one a link to what is not seen."""
    logs = tmp_path / "logs"
    elsewhere = one(tmp_path / "elsewhere")
    unseen = elsewhere[0].data("unseen")
    elsewhere.close()
    for number in range(2):
        with Job(logs, 1) as job:
            run = job[0]
            last = run.data("source", digest=f"x:{number}")
            for step in range(3):
                last = run.model("net", digest=f"w:{step}", derived_from=last)
            if number:
                run.derive(last, unseen)
                run.data("y", derived_from="data:nothing")
                run.data("whole", derived_from=last.on_all_ranks())
    compact(logs, tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


@pytest.fixture
def known(store: Path) -> Known:
    return Known(duckdb.connect(str(store), read_only=True))


def uid(store: Path, name: str, version: int) -> str:
    ((found,),) = rows(store, "select uid from version_rows where name = ? and version = ?", name, version)
    return str(found)


def learned(store: Path, known: Known) -> Known:
    """Let all ids of the store be known."""
    known.past.ids.update(dict(rows(store, "select uid, id from nodes")))
    return known


def test_what_is_above(store: Path, known: Known) -> None:
    """Every edge on the way up, by the relations that were named; unknown ids are passed over."""
    net = [uid(store, "net", version) for version in (1, 2, 3)]
    source = rows(store, "select p.uid from edges e join nodes c on c.id = e.child join nodes p on p.id = e.parent "
                  "where c.uid = ?", net[0])[0][0]  # fmt: skip
    learned(store, known)
    everything = rows(store, "select uid from nodes")
    above = {(net[2], net[1]), (net[1], net[0]), (net[0], source)}
    # What is below the first of the parents is more than what is above it, or the same.
    assert set(known.around([uid for (uid,) in everything], [net[2], "unheard of"])) == above
    assert known.around([net[0]], [net[2]], [Relation.USED]) == []
    assert known.around([], [net[2]]) == known.around(["unheard of"], [net[2]]) == []


def test_what_is_below_where_that_is_less(store: Path, known: Known) -> None:
    """A walk from the newest version down has nowhere to go, however long its chain is."""
    learned(store, known)
    newest, first = uid(store, "net", 6), uid(store, "net", 4)
    below = {(child, parent) for child, parent in known.around([first], [newest])}
    assert (newest, uid(store, "net", 5)) in below
    assert known.around([uid(store, "y", 1)], [newest]) == []


def test_placeholders_and_what_touches_them(known: Known) -> None:
    """What is not seen has an id and a place; the edges to it are given back as they were stated."""
    ((unseen, (writer, sequence)),) = known.unfilled.items()
    assert sequence > 0
    assert len(writer) == 32
    (edge,) = known.touching([unseen])
    assert (edge.parent, edge.relation) == (unseen, Relation.DERIVED)
    assert known.tags([unseen]) == []


def test_open_links(store: Path, known: Known) -> None:
    """Late-bound links and references that named nothing, of the runs that were asked for."""
    ((run,),) = rows(store, "select distinct run from unresolved_links")
    (late,) = known.late([(run, "model", "net", 2), (run, "model", "net", 1)], set())
    assert late.means == (run, "model", "net", 2)
    assert known.late([("another", "model", "net", 2)], set()) == []
    (unresolved,) = known.unresolved([run])
    assert unresolved.said == "data:nothing"
    assert known.unresolved(["another"]) == []


def test_described_and_at_step(store: Path, known: Known) -> None:
    """An occurrence's run, kind, name and step, and the versions at that step."""
    ((writer, sequence, run),) = rows(
        store, "select o.writer, o.sequence, o.run from occurrences o join version_rows v using (id) "
        "where v.name = 'net' and v.version = 2")  # fmt: skip
    assert known.described((writer, sequence)) == (run, "model", "net", 1)
    assert known.described((writer, 10_000)) is None
    assert known.at_step(run, "model", "net", 1) == [uid(store, "net", 2)]
    assert known.at_step(run, "model", "net", 9) == []


def test_named_within_a_run(store: Path, known: Known) -> None:
    ((run,),) = rows(store, "select run from version_rows where name = 'net' and version = 1")
    for kind in ("model", None):
        found = sorted(known.named(run, kind, "net"))
        assert [each for _, each in found] == [uid(store, "net", version) for version in (1, 2, 3)]
        assert all(0 < moment < time.time_ns() for moment, _ in found)
    assert known.named(run, "data", "net") == []


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("model:net", "net", 6),
        ("net", "net", 6),
        ("net@latest", "net", 6),
        ("model:net@2", "net", 2),
        ("data:source", "source", 2),
    ],
)
def test_find(store: Path, known: Known, text: str, name: str, version: int) -> None:
    """With a number that one, else the newest."""
    assert known.find(parse_reference(text), before=NOW) == uid(store, name, version)


def test_find_as_of_a_time(store: Path, known: Known) -> None:
    """What is younger than the run's begin is passed over, unless it was named by its number."""
    ((begin,),) = rows(store, "select epoch_ns(max(begin_time)) from runs")
    assert known.find(parse_reference("model:net"), before=begin) == uid(store, "net", 3)
    assert known.find(parse_reference("model:net"), before=0) is None
    assert known.find(parse_reference("model:net@5"), before=0) == uid(store, "net", 5)


def test_find_by_id(store: Path, known: Known) -> None:
    """The beginning of an id is enough if it is the beginning of one only."""
    found = uid(store, "net", 1)
    assert known.find(parse_reference(f"id:{found[:12]}"), before=0) == found
    assert known.find(parse_reference("id:ffffffffffffffff"), before=0) is None
    assert known.find(parse_reference("model:nothing"), before=NOW) is None

"""Sets are what their members are: who adds them, in which order, and how often, makes no difference."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.compaction.compact import compact
from braid_hpc.run.null import NullRun
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from braid_hpc.vocabulary.sets import RECORD, set_digest
from tests.campaigns.world import Configuration
from tests.jobs import Job, deliver, made, one, rows

ALL = [Configuration("a", number) for number in range(5)]
NAMES = [f"a/{number}" for number in range(5)]


def digest(numbers: range | list[int]) -> str:
    return set_digest(("Configuration", f"a/{number}") for number in numbers)


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3))), st.randoms())
def test_a_digest_is_of_the_set(members: list[tuple[str, str]], random: object) -> None:
    """Order and repetition change nothing, and table and name are not run together."""
    again = [*members, *members[:2]]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert set_digest(again) == set_digest(members)
    assert set_digest([("ab", "c")]) != set_digest([("a", "bc")])


def test_however_it_is_said_it_is_one_set(tmp_path: Path) -> None:
    """In another order, one by one, in bulk, half by one rank and half by another, all by both; a subset is another."""
    with Job(tmp_path / "logs", 2) as job:
        one_, other = job.runs
        one_.collect("at once", ALL)
        one_.collect("backwards", tuple(reversed(ALL)))
        for member in (*ALL, ALL[2]):
            one_.collect("one by one", member)
        other.collect("in bulk", Configuration, names=NAMES)
        one_.collect("halves", ALL[:3])
        other.collect("halves", ALL[2:])
        one_.collect("both", ALL)
        other.collect("both", ALL)
        other.collect("subset", ALL[:4])
        other.collect("superset", Configuration, names=[*NAMES, "a/5"])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = {row["digest"]: row for row in store.sets()}
        whole = found.pop(digest(range(5)))
        same = sorted(["at once", "backwards", "one by one", "in bulk", "halves", "both"])
        assert (whole["members"], sorted(whole["labels"])) == (5, same)
        assert {(key, *row["labels"]) for key, row in found.items()} == {
            (digest(range(4)), "subset"),
            (digest(range(6)), "superset"),
        }
        told = rows(store, "select given, message from problems where code = 'set' order by given")
        first = whole["labels"][0]
        assert [label for label, _ in told] == sorted(set(same) - {first})
        assert all(f"of set {first}, 5 of them" in message for _, message in told)
        assert store.members("halves")["member"] == store.members(digest(range(5)))["member"] == NAMES
        assert {labels[0] for labels in store.sets_with(ALL[4])["labels"]} == {first, "superset"}


def test_labels_of_runs_are_compared_by_content(tmp_path: Path) -> None:
    """Another run's set of that label is the same one if it has the same members; what comes later is a later state."""
    store = tmp_path / "prov.duckdb"
    with Job(tmp_path / "logs", 2) as job, one(tmp_path / "logs") as again, one(tmp_path / "logs") as less:
        job[0].collect("e", ALL[:2])
        job[1].collect("e", ALL[2:])
        again[0].collect("e", ALL)
        less[0].collect("e", ALL[:1])
        seen = []
        for folder in (job.folder(0), job.folder(1), again.folder(0), less.folder(0)):
            deliver(folder, tmp_path / "there")
            compact(tmp_path / "there", store)
            with Store(store) as opened:
                seen.append({row["digest"]: row["runs"] for row in opened.sets()})
    assert seen == [
        {digest(range(2)): 1},
        {digest(range(5)): 1},
        {digest(range(5)): 2},
        {digest(range(5)): 2, digest(range(1)): 1},
    ]
    with Store(store) as opened:
        assert opened.sets(at=1)["digest"] == [digest(range(2))]
        assert opened.members("e", at=1)["member"] == NAMES[:2]
        with pytest.raises(ConflictError, match="e is 2 sets: name one by its digest"):
            opened.members("e")
        with pytest.raises(NotFoundError, match="there is no set 'f'"):
            opened.members("f")
        assert rows(opened, "from problems where code = 'set'") == []


def test_records_are_members_as_versions(tmp_path: Path) -> None:
    """So that all ranks of a run mean the same one; and it may be in a log that comes later."""
    with Job(tmp_path / "logs", 2) as job:
        handles = [[run.data(name, digest=f"x:{name}") for name in ("p", "q")] for run in job.runs]
        job[0].collect("data", handles[0])
        job[1].collect("also", list(itertools.chain(*handles)))
        for rank in (1, 0):
            deliver(job.folder(rank), tmp_path / "there")
            compact(tmp_path / "there", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        (found,) = store.sets()
        assert sorted(found["labels"]) == ["also", "data"]
        uids = [store.get(f"data:{name}").uid for name in ("p", "q")]
        assert found["digest"] == set_digest((RECORD, uid) for uid in uids)
        assert len(store.sets_with("data:p")) == 1


def test_what_is_no_member_is_refused(tmp_path: Path) -> None:
    """Nothing of the call is recorded then."""
    with one(tmp_path / "logs") as job:
        for label, members, names in (
            ("", ALL, None),
            ("e", [ALL[0], 3], None),
            ("e", Configuration, None),
            ("e", Configuration, "a/1"),
            ("e", ALL, ["a/1"]),
            ("e", NullRun().data("x"), None),
        ):
            with pytest.raises(InvalidInputError):
                job[0].collect(label, members, names)
        job[0].collect("empty", [])
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert len(store.sets()) == 0

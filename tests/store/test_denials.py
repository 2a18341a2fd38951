"""Code that is denied: what it has made is invalid with the cause, on every path, before and after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner

import braid_hpc as braid
from braid_hpc.campaigns import Campaign
from braid_hpc.campaigns.plan import make_plan
from braid_hpc.cli.app import braid as program
from braid_hpc.run.recorder import Run
from braid_hpc.run.streams import NO_ROWS, Stream
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from tests.campaigns.tasks import half
from tests.campaigns.world import STAGES, Configuration
from tests.faults.stores import check_rebuilt
from tests.jobs import Job, made, one, rows

BAD, GOOD = "bad0bad0" + "0" * 32, "900d900d" + "0" * 32
SRC = STAGES["src"]


def recorded(logs: Path, commit: str, *, first: int = 0) -> Iterator[Run]:
    """Give a run of code of a commit."""
    with patch("braid_hpc.run.process.git_commit", return_value=commit), one(logs) as job:
        yield job[0]


def say(logs: Path, commit: str, name: str) -> None:
    """Record something of each kind: a source, an activity with what it made, what was made outside, rows and marks."""
    for run in recorded(logs, commit):
        source = run.data("scan", digest="x:scan")
        with run.activity(f"fit {name}", used=source) as activity:
            activity.model(f"net {name}", digest=f"w:{name}", derived_from=source)
        run.data(f"peaks {name}", digest=f"p:{name}", derived_from=source)
        run.declare(Configuration, {"ensemble": name, "number": [0, 1]})
        run.declare(SRC, {"configuration": Configuration(name, 0), "s": [0, 1], "name": [f"{name}/0", f"{name}/1"]})
        run.mark(SRC, "exists", names=[f"{name}/0", f"{name}/1"])


def invalid(store: Store, *, streams: bool = False) -> set[str]:
    """Give what is invalid, as it is shown in a lineage of everything; without streams, or these alone."""
    judged = store.judgements()
    found = rows(store, "select id, name from nodes where (kind = 'stream') = ?", streams)
    return {name for identity, name in found if identity in judged}


MADE = ("fit", "net", "peaks")


def test_what_denied_code_made_is_invalid(tmp_path: Path) -> None:
    """With the cause; the source that it read and what other code made are not; as of before, nothing was."""
    path = tmp_path / "prov.duckdb"
    say(tmp_path / "logs", BAD, "bad")
    say(tmp_path / "logs", GOOD, "good")
    with made(tmp_path / "logs", path) as store:
        assert invalid(store) == set()
        assert len(store.denials()) == 0
        before = store.snapshot
        store.deny(BAD[:8], cause="stopped too early")
        assert invalid(store) == {"fit bad", "net bad", "peaks bad"}
        assert invalid(store, streams=True) == {"Configuration", "src", "braid.marks"}
        (net,) = [node for node in store.lineage("net bad").nodes if node.name == "net bad"]
        assert (net.valid, net.cause) == (False, "made by the denied revision bad0bad0: stopped too early")
        assert all(node.valid for node in store.lineage("net bad", at=before).nodes)
        assert all(node.valid for node in store.lineage("net good").nodes)
        assert [(row["revision"], row["cause"]) for row in store.denials()] == [("bad0bad0", "stopped too early")]
        assert len(store.denials(at=before)) == 0
        assert rows(store, "select count(*), min(given) from problems where code = 'denied'") == [(1, None)]
        told = rows(store, "select distinct cause from invalidations")
        assert told == [("made by the denied revision bad0bad0: stopped too early",)]
        campaign = Campaign(store)
        assert campaign.list("stale", SRC)["name"] == ["bad/0", "bad/1"]
        marks = "select distinct stream, cause from marks where state = 'invalid' order by 1"
        assert [stream for stream, _ in rows(store, marks)] == ["Configuration", "src"]
        assert {cause for _, cause in rows(store, marks)} == {told[0][0]}


def test_what_comes_after_the_denial_is_born_invalid(tmp_path: Path) -> None:
    """In a later merge, and in several; the same answers as if the denial had come last."""
    path, last = tmp_path / "prov.duckdb", tmp_path / "last.duckdb"
    for run in recorded(tmp_path / "first", GOOD):
        run.data("begin", digest="x:0")
    made(tmp_path / "first", path).close()
    with Store(path) as store:
        store.deny(BAD, cause="wrong")
    for name in ("one", "two"):
        say(tmp_path / name, BAD, name)
        made(tmp_path / name, path).close()
    for name in ("first", "one", "two"):
        made(tmp_path / name, last).close()
    with Store(path) as store, Store(last) as other:
        other.deny(BAD, cause="wrong")
        assert invalid(store) == invalid(other) == {f"{what} {n}" for what in MADE for n in ("one", "two")}
        assert Campaign(store).list("stale", SRC)["name"] == Campaign(other).list("stale", SRC)["name"]
        assert rows(store, "select count(*) from problems where code = 'denied'") == [(2,)]


def test_other_code_makes_it_good_again(tmp_path: Path) -> None:
    """A file that was made again holds, whichever of the two the denial comes after; the configuration is said to."""
    path = tmp_path / "prov.duckdb"
    for run in recorded(tmp_path / "logs", GOOD):
        run.declare(Configuration, {"ensemble": "a", "number": [0]})
        run.declare(SRC, {"configuration": Configuration("a", 0), "s": [0, 1, 2], "name": ["0", "1", "2"]})
    for run in recorded(tmp_path / "logs", BAD):
        run.mark(SRC, "exists", names=["0", "1", "2"])
    for run in recorded(tmp_path / "logs", GOOD):
        run.mark(SRC, "exists", names=["1"])
    with made(tmp_path / "logs", path) as store:
        store.deny(BAD, cause="wrong")
        assert Campaign(store).list("stale", SRC)["name"] == ["0", "2"]
        for run in recorded(tmp_path / "logs", GOOD):
            run.mark(SRC, "exists", names=["2"])
        made(tmp_path / "logs", path).close()
        store.refresh()
        assert Campaign(store).list("stale", SRC)["name"] == ["0"]
        assert Campaign(store).list("runnable", SRC)["name"] == ["0"]


@pytest.mark.slow
def test_a_denial_is_taken_back(tmp_path: Path) -> None:
    """That alone: what else was said of the same records stays; and it can be said again."""
    path = tmp_path / "prov.duckdb"
    say(tmp_path / "logs", BAD, "bad")
    with made(tmp_path / "logs", path) as store:
        store.invalidate("peaks bad", cause="by hand")
        store.deny(BAD, cause="wrong")
        store.deny(BAD[:10], cause="wrong, too")
        store.allow(BAD)
        assert invalid(store) == {"fit bad", "net bad", "peaks bad"}, "the other one is denied still"
        store.allow(BAD[:10])
        assert invalid(store) == {"peaks bad"}
        assert len(Campaign(store).list("stale", SRC)) == 0
        assert len(store.denials()) == 0
        say(tmp_path / "logs", BAD, "more")
        made(tmp_path / "logs", path).close()
        store.refresh()
        assert invalid(store) == {"peaks bad"}
        store.deny(BAD, cause="wrong again")
        assert invalid(store) == {f"{what} {n}" for what in MADE for n in ("bad", "more")}
        assert len(Campaign(store).list("stale", SRC)) == 4
    check_rebuilt(path, tmp_path / "again.duckdb")


def test_tasks_of_denied_code_run_again(tmp_path: Path) -> None:
    """By the commit of the program, and by the digest of the function's source."""
    path = tmp_path / "prov.duckdb"
    with patch("braid_hpc.run.process.git_commit", return_value=BAD), braid.job("halves", log_dir=tmp_path / "logs"):
        half(1)
    with braid.job("halves", log_dir=tmp_path / "logs"):
        half(2)
    with made(tmp_path / "logs", path) as store:
        plan = make_plan(half, {"x": [1, 2, 3]}, path)
        assert plan.counts()["done"] == 2
        store.deny(BAD, cause="wrong")
        assert make_plan(half, {"x": [1, 2, 3]}, path).cells("invalid")["x"] == [1]
        code = str(half.identity.code)
        store.deny(code.rpartition(":")[2][:12], cause="a bug")
        assert make_plan(half, {"x": [1, 2, 3]}, path).cells("invalid")["x"] == [1, 2]
        store.allow(BAD)
        store.allow(code.rpartition(":")[2][:12])
        assert make_plan(half, {"x": [1, 2, 3]}, path).counts()["done"] == 2


def test_all_ranks_of_a_run(tmp_path: Path) -> None:
    """Also what the ranks made together, and what each wrote in bulk."""
    with patch("braid_hpc.run.process.git_commit", return_value=BAD), Job(tmp_path / "logs", 3) as job:
        for rank, run in enumerate(job.runs):
            run.model("shared", digest="w:1", derived_from=run.data(f"part {rank}", digest=f"p:{rank}"))
            run.declare(Configuration, {"ensemble": "a", "number": list(range(1000))})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        store.deny(BAD, cause="wrong")
        assert invalid(store) == {"shared"}
        assert rows(store, "select count(*) from marks where state = 'invalid'") == [(1000,)]
        assert rows(store, "select count(distinct writer) from problems where code = 'denied'") == [(3,)]


@pytest.mark.parametrize("revision", ["", "bad0", "no digits", None, 5, "abcdefg1", "x" * 40])
def test_what_is_no_revision_is_refused(tmp_path: Path, revision: Any) -> None:
    with braid.job("begin", log_dir=tmp_path / "logs"):
        pass
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        asked: tuple[Callable[[Any], None], ...] = (partial(store.deny, cause="x"), store.allow)
        for ask in asked:
            with pytest.raises(InvalidInputError, match="is no revision"):
                ask(revision)
        assert store.snapshot == 1


def test_what_cannot_be_denied_or_allowed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with braid.job("begin", log_dir=tmp_path / "logs"):
        pass
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        with pytest.raises(InvalidInputError, match="the cause of a denial is a text"):
            store.deny(BAD, cause="")
        with pytest.raises(NotFoundError, match=r"is not denied in .*; there are: none"):
            store.allow(BAD)
        with monkeypatch.context() as refused:
            refused.delenv("BRAID_STRICT")
            refused.setattr(Stream, "extend", lambda *_: NO_ROWS)
            with pytest.raises(StorageError, match="could not be written"):
                store.deny(BAD, cause="x")
        assert len(store.denials()) == 0


def test_the_command_line_denies(tmp_path: Path) -> None:
    """Lists what is denied, says how much fell, and takes it back."""
    path = tmp_path / "prov.duckdb"
    say(tmp_path / "logs", BAD, "bad")
    made(tmp_path / "logs", path).close()

    def cli(*words: str) -> Any:
        return CliRunner().invoke(program, [*words, "--store", str(path)])

    done = cli("deny", "BAD0BAD0", "--cause", "stopped too early")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "snapshot 2: 6 more records and activities are invalid" in done.stderr
    (row,) = json.loads(cli("denials", "--format", "json").stdout)
    assert (row["revision"], row["cause"]) == ("bad0bad0", "stopped too early")
    assert cli("denials", "--at", "1", "--format", "json").stdout.strip() == "[]"
    assert "stated in snapshot 3" in cli("allow", "bad0bad0").stderr
    assert "no revision is denied" in cli("denials").stderr
    for words, code in ((("allow", "bad0bad0"), 3), (("deny", "x", "--cause", "y"), 2), (("deny", BAD), 2)):
        assert cli(*words).exit_code == code

"""``braid impact``, ``why``, ``how``, ``where``, ``stale``, ``complete``: what they print and how they end."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.times import nanoseconds
from tests.cli.conftest import ODD, Braid
from tests.jobs import Job

#: What each verb is asked about.
ASKED = {
    "lineage": ["model:net"],
    "impact": ["fact:config"],
    "why": ["model:net", "fact:config"],
    "how": ["model:net"],
    "where": ["fact:config"],
    "stale": ["model:net"],
    "complete": ["model:net"],
    "show": ["model:net"],
    "history": ["model:net"],
}


@pytest.mark.parametrize("verb", ["impact", "why", "how", "where", "stale", "complete"])
def test_json_is_the_answer_of_python(cli: Braid, store: Path, verb: str) -> None:
    done = cli(verb, *ASKED[verb], "--store", store, "--format", "json")
    with Store(store) as opened:
        answer = getattr(opened, verb)(*ASKED[verb])
    assert json.loads(done.stdout) == json.loads(json.dumps(answer.to_dict()))
    assert (done.stderr, done.exit_code) == ("", 0)
    text = cli(verb, *ASKED[verb], "--store", store)
    assert text.stdout == f"{answer}\n"


def test_why_gives_more_ways_and_what_lies_between(cli: Braid, store: Path) -> None:
    given = "why", "net", "config", "--store", store
    assert cli(*given).stdout.splitlines()[:3] == ["fact:config@1 fed model:net@1", "over 1 edge:", "  model:net@1"]
    plain = json.loads(cli(*given, "--paths", 9, "--between", "--format", "json").stdout)
    assert plain["whole"]
    assert len(plain["ways"]) > 1
    assert plain["between"]["nodes"][0]["ref"] == "model:net@1"
    none = cli("why", "activity:train@1", "activity:train@2", "--store", store)
    assert none.exit_code == 0
    assert "nothing leads from" in none.stdout


def test_relations_are_named(cli: Braid, store: Path) -> None:
    few = json.loads(cli("impact", "config", "--relation", "used", "--store", store, "--format", "json").stdout)
    assert [node["ref"] for node in few["nodes"]] == ["fact:config@1"]
    done = cli("why", "net", "config", "--relation", "informed", "--store", store)
    assert done.exit_code == 2
    assert "relations are wasDerivedFrom, used" in done.stderr


def test_what_is_stale_ends_with_1(cli: Braid, logs: Path, tmp_path: Path) -> None:
    compact(logs, tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as opened:
        opened.invalidate("fact:config", cause="wrong threshold")
    done = cli("stale", "model:net", "--store", tmp_path / "prov.duckdb")
    assert done.exit_code == 1
    assert "fact:config@1: invalid: wrong threshold" in done.stdout
    assert cli("stale", "model:net", "--store", tmp_path / "prov.duckdb", "--at", 1).exit_code == 0


def test_what_is_not_complete_ends_with_1(cli: Braid, job: Job, tmp_path: Path) -> None:
    shutil.rmtree(job.folder(1))
    compact(job.logs, tmp_path / "prov.duckdb")
    done = cli("complete", "model:net", "--store", tmp_path / "prov.duckdb")
    assert done.exit_code == 1
    assert "rank 1 of run" in done.stdout
    how = cli("how", "model:net", "--store", tmp_path / "prov.duckdb", "--format", "json")
    assert how.stderr == "the answer is incomplete: 1 logs are not whole\n"
    assert not json.loads(how.stdout)["complete"]


@pytest.mark.parametrize("verb", ASKED)
def test_a_moment_that_is_none_is_one_sentence(cli: Braid, store: Path, verb: str) -> None:
    """A snapshot before the first or after the last, a time before all or still to come, a text that is no time."""
    wrong = {
        ("--at", "0"): "there is no snapshot 0: this store has 1 to 1",
        ("--at", "2"): "there is no snapshot 2",
        ("--as-of", "1999-01-01"): "is before the first event of this store",
        ("--as-of", "2199-01-01"): "is still to come",
        ("--as-of", "yesterday"): "is not a time",
    }
    for words, said in wrong.items():
        done = cli(verb, *ASKED[verb], *words, "--store", store)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith("braid: ")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", [verb for verb in ASKED if verb != "why"])
def test_a_moment_of_the_store_is_taken(cli: Braid, store: Path, verb: str) -> None:
    with Store(store) as opened:
        (now,) = opened.sql("select max(committed) as t from snapshots")["t"]
    done = cli(verb, *ASKED[verb], "--at", 1, "--as-of", now.isoformat(), "--store", store)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == cli(verb, *ASKED[verb], "--store", store).stdout


@pytest.mark.parametrize("verb", ["impact", "how", "where", "stale", "complete", "why"])
def test_names_of_any_kind(cli: Braid, store: Path, verb: str) -> None:
    """Quotes, line breaks, commas, emoji; and 64 KiB that is not there, in one sentence."""
    odd = f'data:"{ODD}"@1'.replace('"quoted"', '\\"quoted\\"')
    words = [odd, "model:net"] if verb == "why" else [odd]
    done = cli(verb, *words, "--store", store)
    assert done.exit_code == 0
    assert "🧵" in done.stdout
    done = cli(verb, *(["x" * 65_536] * len(words)), "--store", store)
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1)


def test_what_is_not_one_thing(cli: Braid, store: Path) -> None:
    for verb in ("impact", "how", "where", "stale", "complete"):
        done = cli(verb, "nothing", "--store", store)
        assert (done.exit_code, done.stderr) == (3, "braid: nothing is not in this store\n")
        assert "near it is model:net" in cli(verb, "nte", "--store", store).stderr
    assert cli("impact", "net", "--depth", "-1", "--store", store).exit_code == 2
    assert cli("why", "net", "config", "--paths", "0", "--store", store).exit_code == 2


def test_a_time_that_is_printed_is_taken_back(cli: Braid, store: Path) -> None:
    """To the nanosecond, as a text and as a number, and one nanosecond earlier it was not there."""
    with Store(store) as opened:
        first, second = opened.sql("select name, version, epoch_ns(time) as t from versions order by time limit 2")
    ref = f"{second['name']}@{second['version']}"
    assert first["t"] < second["t"]
    for verb, form in (("show", "table"), ("show", "json"), ("where", "text"), ("where", "json"), ("history", "csv")):
        printed = cli(verb, ref if verb != "history" else second["name"], "--store", store, "--format", form).stdout
        times = re.findall(r"\d{4}-\d\d-\d\d[ T][\d:]*[.]\d{9}Z?", printed)
        assert any(cli("show", ref, "--as-of", each, "--store", store).exit_code == 0 for each in times), (
            verb,
            printed,
        )
        assert nanoseconds(times[0]) == second["t"], (verb, times)
    assert cli("lineage", ref, "--as-of", second["t"], "--store", store).exit_code == 0
    assert cli("lineage", ref, "--as-of", second["t"] - 1, "--store", store).exit_code == 3

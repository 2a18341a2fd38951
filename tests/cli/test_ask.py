"""Commands that ask a store: what they print, in every format, and how they end."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.times import nanoseconds, shown_time
from tests.cli.conftest import ODD
from tests.jobs import Job, one

Braid = Callable[..., Result]
Program = Callable[..., "subprocess.CompletedProcess[str]"]

LISTING = {
    "log": ["log"],
    "find": ["find", "energy_keV=71.7"],
    "sql": [
        "sql",
        "select name, version, time, 0.5 as half, null as nothing, [1, 2] as list from versions order by id",
    ],
    "print": ["print"],
    "status": ["status"],
    "status --ranks": ["status", "--ranks"],
}


def parsed(form: str, text: str) -> list[dict[str, Any]]:
    """Read what a command printed."""
    if form == "json":
        found = json.loads(text)
        assert isinstance(found, list)
        return found
    if form == "ndjson":
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name", LISTING)
def test_listing_verbs_print_the_same_in_every_format(cli: Braid, store: Path, name: str) -> None:
    """The same rows with the same columns as a table, JSON, JSON lines and CSV; nothing else on stdout or stderr."""
    found = {}
    for form in ("json", "ndjson", "csv", "table"):
        done = cli(*LISTING[name], "--store", store, "--format", form)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        found[form] = done.stdout
    rows = parsed("json", found["json"])
    assert rows
    assert parsed("ndjson", found["ndjson"]) == rows
    lines = parsed("csv", found["csv"])
    assert [list(line) for line in lines] == [list(row) for row in rows]
    for line, row in zip(lines, rows, strict=True):
        for key, value in row.items():
            if isinstance(value, str):
                assert line[key] == value
            elif value is None:
                assert line[key] == ""
    for key in rows[0]:
        assert key in found["table"]
    assert cli(*LISTING[name], "--store", store).stdout == found["table"]


def test_tables_are_not_folded_in_a_pipe(cli: Braid, store: Path) -> None:
    """A value stands whole on its line, however long it is."""
    done = cli("sql", "select repeat('x', 500) as long, 1 as one", "--store", store)
    assert "x" * 500 in done.stdout


def test_names_of_any_kind_in_every_format(cli: Braid, store: Path) -> None:
    """Quotes, line breaks, commas and emoji come out as they went in."""
    for form in ("json", "ndjson", "csv"):
        heading = ODD.replace('"', '""')
        query = f"select name, 'x' as \"{heading}\" from versions where kind = 'data'"
        done = cli("sql", query, "--store", store, "--format", form)
        rows = parsed(form, done.stdout)
        assert [row["name"] for row in rows] == [ODD, ODD]
        assert list(rows[0]) == ["name", ODD]


def test_values_that_json_has_no_word_for(cli: Braid, store: Path) -> None:
    """NaN and infinities are text, numbers of any size are numbers, bytes are hexadecimal digits, times are UTC."""
    query = (
        "select 'nan'::double as a, '-inf'::double as b, 170141183460469231731687303715884105727::hugeint as c, "
        "'\\xAA'::blob as d, true as e, timestamp_ns '2026-01-02 03:04:05.123456789' as f, {'k': [1, null]} as g, "
        "12.50::decimal(9,2) as h, date '2026-01-02' as i"
    )
    done = cli("sql", query, "--store", store, "--format", "json")
    assert json.loads(done.stdout) == [
        {
            "a": "nan",
            "b": "-inf",
            "c": 2**127 - 1,
            "d": "aa",
            "e": True,
            "f": "2026-01-02T03:04:05.123456789Z",
            "g": {"k": [1, None]},
            "h": "12.50",
            "i": "2026-01-02",
        }
    ]
    assert cli("sql", query, "--store", store, "--format", "csv").exit_code == 0


def test_columns_of_one_name(cli: Braid, store: Path) -> None:
    """Both are printed."""
    done = cli("sql", "select 1 as x, 2 as x", "--store", store, "--format", "json")
    assert json.loads(done.stdout) == [{"x": 1, "x_1": 2}]


# lineage


def test_lineage_as_json_is_exactly_the_documented_shape(program: Program, store: Path) -> None:
    """Through the installed program, key by key; stdout holds nothing else."""
    done = program("lineage", "model:net", "--store", store, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert set(answer) == {"root", "direction", "nodes", "edges", "complete", "missing"}
    assert (answer["root"], answer["direction"], answer["complete"], answer["missing"]) == (
        "model:net@1",
        "up",
        True,
        [],
    )
    types = {"ref": str, "kind": str, "name": str, "version": int, "distance": int, "valid": bool}
    types["cause"] = type(None)
    for node in answer["nodes"]:
        assert {key: type(value) for key, value in node.items()} == types
    for edge in answer["edges"]:
        assert {key: type(value) for key, value in edge.items()} == {"child": str, "parent": str, "relation": str}
    assert {node["name"] for node in answer["nodes"]} == {"net", "train", ODD, "config"}
    assert not [node for node in answer["nodes"][1:] if node["ref"] == answer["root"]]


def test_lineage_of_an_incomplete_run_says_so(cli: Braid, job: Job, tmp_path: Path) -> None:
    """In the answer, and in one message on stderr where the answer is for a program."""
    shutil.rmtree(job.folder(1))
    compact(job.logs, tmp_path / "prov.duckdb")
    done = cli("lineage", "model:net", "--store", tmp_path / "prov.duckdb", "--format", "json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["complete"]) == (0, False)
    ((missing),) = answer["missing"]
    assert (missing["rank"], missing["writer"], missing["state"]) == (1, None, "absent")
    assert len(missing["run"]) == 32
    assert done.stderr == "the answer is incomplete: 1 logs are not whole\n"
    tree = cli("lineage", "model:net", "--store", tmp_path / "prov.duckdb")
    assert f"rank 1 of run {missing['run'][:8]}: its log is absent" in tree.stdout
    assert tree.stderr == ""


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["model:net", "--depth", "0"], {"net"}),
        (["model:net", "--depth", "1"], {"net", "train", ODD, "config"}),
        (["model:net", "--depth", "all"], {"net", "train", ODD, "config"}),
        (["fact:config", "--down"], {"config", ODD, "net", "train"}),
        (["activity:train@1", "--down"], {"train", "net"}),
        (["model:net", "--at", "1", "--depth", "0"], {"net"}),
    ],
)
def test_lineage_options(cli: Braid, store: Path, options: list[str], names: set[str]) -> None:
    done = cli("lineage", *options, "--store", store, "--format", "json")
    assert {node["name"] for node in json.loads(done.stdout)["nodes"]} == names


def test_lineage_drawn(cli: Braid, store: Path) -> None:
    """A tree, Mermaid and Graphviz; each begins as its readers expect."""
    for form, begin in (("tree", "model:net@1\n"), ("mermaid", "flowchart LR\n"), ("dot", "digraph lineage {\n")):
        done = cli("lineage", "model:net", "--store", store, "--format", form)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.startswith(begin)


# show


def test_show(cli: Braid, store: Path) -> None:
    """All that is known of one version, as a table and as JSON."""
    done = cli("show", f'data:"{ODD.replace(chr(34), chr(92) + chr(34))}"@1', "--store", store, "--format", "json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["kind"] == "data"
    assert facts["tags"] == {ODD: ODD}
    assert facts["uris"] == [f"s3://bucket/{ODD}"]
    assert facts["parents"] == ["fact:config@1 (wasDerivedFrom)"]
    assert len(facts["children"]) == 2
    assert re.fullmatch(r"rank [01] of run [0-9a-f]{8}", facts["declared by"][0])
    config = json.loads(cli("show", "config", "--store", store, "--format", "json").stdout)
    assert config["value"] == {"threshold": 40}
    assert config["tags"] == {"energy_keV": 71.7, "n": 3, "moving": True, "s": "3", "a=b": [3, "c=d"]}
    assert len(config["declared by"]) == 2
    shown = cli("show", "config", "--store", store)
    assert shown.exit_code == 0
    assert "energy_keV = 71.7" in shown.stdout
    activity = json.loads(cli("show", "activity:train@2", "--store", store, "--format", "json").stdout)
    assert activity["params"] == {"rank": 1}
    assert activity["status"] == "ok"


# exit codes


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["lineage", "model:nowhere"], 3, "braid: model:nowhere is not in this store\n"),
        (["lineage", "model:nte"], 3, "braid: model:nte is not in this store; near it is model:net\n"),
        (["lineage", "model:net@9"], 3, "braid: model:net has no version 9: it has 1 to 1"),
        (["lineage", "model:net@x"], 2, "braid: 'x' in 'model:net@x' is not a version"),
        (["lineage", "model:net", "--depth", "-1"], 2, "Usage: "),
        (["lineage", "model:net", "--depth", "x"], 2, "Usage: "),
        (["lineage", "model:net", "--at", "9"], 2, "braid: there is no snapshot 9: this store has 1 to 1"),
        (["lineage", "model:net", "--format", "xml"], 2, "Usage: "),
        (["lineage"], 2, "Usage: "),
        (["show", "id:0000ffff0000ffff"], 3, "braid: id:0000ffff0000ffff is not in this store"),
        (["find"], 2, "braid: nothing is asked for: give a search such as"),
        (["find", "no-equals"], 2, "braid: a comparison was expected after no-equals"),
        (["sql", "selct 1"], 2, "braid: DuckDB refuses the query"),
        (["sql", "drop table meta"], 4, "braid: a store is only read"),
        (["sql", "copy (select 1) to 'x.csv'"], 4, "braid: a store is only read"),
        (["nothing"], 2, "Usage: "),
    ],
)
def test_wrong_calls(cli: Braid, store: Path, words: list[str], code: int, message: str) -> None:
    """The exit code tells what sort of thing is wrong, stderr says it, and stdout stays empty."""
    done = cli(*words, *(["--store", store] if words != ["nothing"] else []))
    assert done.exit_code == code, done.output
    assert done.stderr.startswith(message), done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_an_ambiguous_reference_is_a_conflict(cli: Braid, tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 1) as job:
        job[0].data("both", digest="x:0")
        job[0].model("both", digest="x:0")
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    done = cli("lineage", "both", "--store", tmp_path / "prov.duckdb")
    assert done.exit_code == 5
    assert done.stderr == "braid: both fits several records: say which of data:both, model:both\n"


def test_no_store(cli: Braid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    """Named, by variable, or lying here; otherwise one sentence."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for words in (*LISTING.values(), ["show", "x"], ["lineage", "x"]):
        done = cli(*words)
        assert (done.exit_code, done.stdout) == (3, "")
        assert done.stderr == "braid: no store is named and there is no prov.duckdb here: say which with --store DB\n"
    done = cli("status", "--store", "nowhere.duckdb")
    assert done.exit_code == 3
    assert "there is no store" in done.stderr
    monkeypatch.chdir(store.parent)
    assert cli("status").exit_code == 0
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("BRAID_STORE", str(store))
    assert cli("status").exit_code == 0


def test_a_file_that_is_no_store(cli: Braid, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database\n" * 1000)
    done = cli("status", "--store", tmp_path / "text")
    assert done.exit_code == 4
    assert "is not a DuckDB file" in done.stderr


# the rest


def test_status(cli: Braid, store: Path) -> None:
    (row,) = json.loads(cli("status", "--store", store, "--format", "json").stdout)
    assert (row["job"], row["size"], row["ranks"], row["status"]) == ("fit", 2, 2, "ok")
    ranks = json.loads(cli("status", "--ranks", "--store", store, "--format", "json").stdout)
    assert [(row["rank"], row["state"], row["outcome"]) for row in ranks] == [(0, "closed", "ok"), (1, "closed", "ok")]


def test_print_shows_every_version(cli: Braid, store: Path) -> None:
    """With its parents, uris and tags, and whether it is valid."""
    rows = json.loads(cli("print", "--store", store, "--format", "json").stdout)
    with Store(store) as opened:
        assert len(rows) == opened.sql("select count(*) as n from versions")["n"][0]
    (net,) = [row for row in rows if row["ref"] == "model:net@1"]
    assert "fact:config@1" in net["parents"]
    assert {"activity:train@1", "activity:train@2"} <= set(net["parents"])
    assert net["valid"] is True
    for row in rows:
        assert cli("show", row["ref"], "--store", store).exit_code == 0


def test_log_lists_snapshots(cli: Braid, store: Path) -> None:
    (row,) = json.loads(cli("log", "--store", store, "--format", "json").stdout)
    assert (row["snapshot"], row["writers"]) == (1, 2)


def test_log_parse_prints_a_log_file(cli: Braid, job: Job) -> None:
    """As JSON lines, also where the file is cut off."""
    (tail,) = job.folder(0).glob("tail-*")
    done = cli("log", "parse", tail)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.exit_code, done.stderr) == (0, "")
    assert "DECLARE" in {line.get("code") for line in lines}
    header = cli("log", "parse", job.folder(0) / "header.json")
    assert json.loads(header.stdout)["header"]["job"] == "fit"
    wrong = cli("log", "parse", __file__)
    assert wrong.exit_code == 2
    assert "is not a file of a rank log" in wrong.stderr
    assert cli("log", "parse", "nowhere").exit_code == 3


def test_help_of_every_command(cli: Braid) -> None:
    """Each says what it does in a sentence."""
    overview = cli("--help")
    assert overview.exit_code == 0
    commands = re.findall(r"^  ([a-z]+)  ", overview.stdout, re.MULTILINE)
    assert {
        "compact",
        "check",
        "log",
        "show",
        "lineage",
        "find",
        "sql",
        "print",
        "status",
        "demo",
        "doctor",
        "run",
    } <= set(commands)
    for command in commands:
        done = cli(command, "--help")
        assert done.exit_code == 0, done.output
        assert len(done.stdout) > 100


def test_the_installed_program(program: Program, store: Path) -> None:
    """Version, results on stdout, messages on stderr, exit codes."""
    assert program("--version").stdout.startswith("braid, version ")
    done = program("sql", "select 1 as x", "--store", store, "--format", "csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "x\n1\n", "")
    done = program("lineage", "model:nowhere", "--store", store)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert program().returncode == 2


def test_a_reader_that_goes_away(store: Path) -> None:
    """`braid sql ... | head` ends without a traceback."""
    import sysconfig

    braid = Path(sysconfig.get_path("scripts")) / "braid"
    command = f"{braid} sql 'from range(200000)' --format ndjson --store {store} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == '{"range": 0}\n'
    assert "Traceback" not in done.stderr


def test_listings_of_an_earlier_moment(cli: Braid, job: Job, tmp_path: Path) -> None:
    """Runs, ranks and records as they were known at a snapshot, and as of a time."""
    store = tmp_path / "prov.duckdb"
    with one(tmp_path / "first", "first") as first:
        first[0].data("scan", digest="d:1", tags={"n": 1}, uri="s3://scan")
        compact(tmp_path / "first", store)
        first[0].data("more", derived_from="scan")
    compact(tmp_path / "first", store)
    with one(tmp_path / "second", "second") as second:
        second[0].data("scan", digest="d:1", tags={"n": 2})
        second[0].data("late")
    compact(tmp_path / "second", store)

    def rows(*words: str) -> list[dict[str, Any]]:
        found = json.loads(cli(*words, "--store", store, "--format", "json").stdout)
        assert isinstance(found, list)
        return found

    assert [(row["job"], row["status"]) for row in rows("status", "--at", "1")] == [("first", "incomplete")]
    assert [(row["job"], row["status"]) for row in rows("status", "--at", "2")] == [("first", "ok")]
    assert [row["job"] for row in rows("status")] == ["first", "second"]
    assert [row["state"] for row in rows("status", "--ranks", "--at", "1")] == ["open"]
    assert [row["state"] for row in rows("status", "--ranks")] == ["closed", "closed"]
    begun = (nanoseconds(rows("status")[1]["begin_time"]) or 0) - 1
    assert [row["job"] for row in rows("status", "--as-of", str(begun))] == ["first"]
    later = str(int(begun) + 1)
    assert [row["status"] for row in rows("status", "--as-of", later)] == ["ok", "incomplete"]
    assert [row["state"] for row in rows("status", "--ranks", "--as-of", later)] == ["closed", "open"]
    assert rows("print", "--at", "1") == [
        {**rows("print")[0], "tags": {"n": 1}, "uris": ["s3://scan"], "parents": []},
    ]
    assert rows("print")[0]["tags"] == {"n": [1, 2]}
    assert [row["ref"] for row in rows("print", "--at", "2")] == ["data:scan@1", "data:more@1"]
    assert [row["ref"] for row in rows("print", "--as-of", str(begun))] == ["data:scan@1", "data:more@1"]
    assert rows("print", "--as-of", str(begun))[1]["parents"] == ["data:scan@1"]
    with Store(store) as opened:
        seen = opened.sql("select epoch_ns(time) as t from tag_rows order by t")["t"]
    assert rows("print", "--as-of", shown_time(seen[0])) == rows("print", "--at", "1")


def test_listings_of_nothing_say_so_in_one_line(cli: Braid, store: Path, tmp_path: Path) -> None:
    """On stderr, without a header, and no error."""
    empty = tmp_path / "empty.duckdb"
    assert cli("create", "--store", empty).exit_code == 0
    for words, of, says in (
        (["status"], empty, "there is no run in this store"),
        (["status", "status = failed"], store, "no run fits status = failed"),
        (["status", "--ranks", "run.lost > 5"], store, "no run fits run.lost > 5"),
        (["print"], empty, "there is no record in this store"),
        (["actions", "list"], empty, "no action is attached to a record"),
        (["sql", "select 1 as one, 2 as two where false"], store, "no rows; the columns are one, two"),
    ):
        done = cli(*words, "--store", of)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"{says}\n")


EVIL = "a\x1b]0;title\x07\x9b2J\x00b"


def test_what_stands_in_a_store_does_nothing_to_a_terminal(cli: Braid, tmp_path: Path) -> None:
    """Control characters are shown as escapes where people read, and are what they are in data."""
    with one(tmp_path / "logs") as job:
        evil = job[0].data(EVIL, digest="x:1", tags={EVIL: EVIL})
        job[0].data("later", digest="x:2", derived_from=evil)
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    shown = EVIL.replace("\x1b", "\\x1b").replace("\x07", "\\x07").replace("\x9b", "\\x9b").replace("\x00", "\\x00")
    for words in (
        *(["find", "kind = data"], ["print"], ["show", EVIL], ["lineage", "later"], ["how", "later"], ["graph"]),
        *(["where", EVIL], ["history", EVIL], ["show", EVIL + "?"], ["sql", 'select key as "a\x1bb" from tags']),
        *(["lineage", "later", "--format", "dot"], ["lineage", "later", "--format", "mermaid"]),
    ):
        done = cli(*words, "--store", tmp_path / "prov.duckdb")
        printed = done.stdout + done.stderr
        assert done.exception is None or isinstance(done.exception, SystemExit), words
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", printed), (words, printed)
    assert shown in cli("find", "kind = data", "--store", tmp_path / "prov.duckdb").stdout
    data = cli("sql", "select name from versions order by name", "--format", "csv", "--store", tmp_path / "prov.duckdb")
    assert EVIL in data.stdout
    (row, _) = json.loads(cli("find", "kind = data", "--format", "json", "--store", tmp_path / "prov.duckdb").stdout)
    assert row["ref"] == f"data:{EVIL}@1"


def test_several_stores_are_asked_together(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store given twice is two stores; the variable names one, whatever is in its name."""
    for name in ("a b", "c"):
        with one(tmp_path / name, name) as job:
            job[0].data(f"of-{name[0]}", digest=name)
        compact(tmp_path / name, tmp_path / f"{name}.duckdb")
    paths = [str(tmp_path / "a b.duckdb"), str(tmp_path / "c.duckdb")]
    query = "select job, origin from runs order by job"
    ran = cli("sql", query, "--format", "json", "--store", paths[0], "--store", paths[1])
    assert json.loads(ran.stdout) == [{"job": "a b", "origin": ["a b"]}, {"job": "c", "origin": ["c"]}]
    monkeypatch.setenv("BRAID_STORE", paths[0])
    ran = cli("print", "--format", "csv")
    assert "of-a" in ran.stdout
    ran = cli("show", "data:of-a", "--at", "1", "--store", paths[0], "--store", paths[1])
    assert (ran.exit_code, "say as_of= a time" in ran.stderr) == (2, True)

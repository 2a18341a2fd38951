"""``braid scan``: a run of an instrument on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from braid_hpc.cli.app import braid
from tests.collectors.documents.instrument import scan, stored


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    documents = scan(4, streams=("primary", "dark"))
    stored(folder, [each for each in documents if each[1].get("seq_num") != 2]).close()
    return folder / "prov.duckdb"


def run(path: Path, *given: str) -> Result:
    return CliRunner().invoke(braid, ["scan", *given, "--store", str(path)])


@pytest.mark.parametrize("which", ["-1", "4", "scan-"])
def test_it_shows_what_a_scan_was(path: Path, which: str) -> None:
    done = run(path, which)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[1:3] == ["scan_id     4", "plan_name   scan"]
    assert "status      success" in lines
    assert " primary        3" in lines
    assert '    "mass": 1.5' in lines
    assert "1 of 4 events of stream 'dark' are not there: 2" in done.stderr


def test_it_gives_all_of_it_as_json(path: Path) -> None:
    found = json.loads(run(path, "-1", "--format", "json").stdout)
    assert found["streams"] == {"primary": 3, "dark": 3}
    assert found["start"]["sample"] == {"name": "Ni", "mass": 1.5}
    assert found["stop"]["num_events"] == {"primary": 4, "dark": 4}
    assert len(found["missing"]) == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--columns", "n"], "n\n1\n3\n4\n"),
        (["--columns", "n, seq_num", "--where", "n > 1"], "n,seq_num\n3,3\n4,4\n"),
        (["--columns", "n", "--rows", "1:"], "n\n3\n4\n"),
        (["--columns", "n", "--rows", "-1"], "n\n4\n"),
        (["--columns", "n", "--rows", "::2"], "n\n1\n4\n"),
    ],
)
def test_it_prints_the_events_of_a_stream(path: Path, options: list[str], expected: str) -> None:
    done = run(path, "-1", "--table", "primary", "--format", "csv", *options)
    assert (done.exit_code, done.stdout) == (0, expected)


def test_times_of_values_are_columns_where_they_are_asked_for(path: Path) -> None:
    done = run(path, "-1", "--table", "primary", "--timestamps", "--format", "ndjson")
    first = json.loads(done.stdout.splitlines()[0])
    assert list(first) == ["seq_num", "time", "det", "n", "time.det", "time.n"]


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (["nothing"], 3, "there is no scan 'nothing'"),
        (["-2"], 3, "there is no scan -2"),
        (["-1", "--table", "dork"], 3, "has no stream 'dork': near it is dark"),
        (["-1", "--columns", "n"], 2, "say --table STREAM too"),
        (["-1", "--table", "dark", "--rows", "a"], 2, "'a' names no rows"),
        (["-1", "--table", "dark", "--where", "m > 1"], 2, "there is no column 'm'"),
        (["--tabel"], 2, "No such option"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_sentence(path: Path, given: list[str], code: int, message: str) -> None:
    done = run(path, *given)
    assert done.exit_code == code, done.output
    assert message in done.output

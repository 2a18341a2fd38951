"""``braid graph``, ``braid create`` and ``braid print``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import ODD, Braid


@pytest.mark.parametrize(("form", "begin"), [("mermaid", "flowchart LR\n"), ("dot", "digraph "), ("json", "{\n")])
@pytest.mark.parametrize("words", [["model:net"], []])
def test_graph(cli: Braid, store: Path, words: list[str], form: str, begin: str) -> None:
    """Of a component and of the whole store; nothing else is said where nothing is left out."""
    done = cli("graph", *words, "--store", store, "--format", form)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(begin)
    assert "net" in done.stdout


def test_a_limit_is_told(cli: Braid, store: Path) -> None:
    done = cli("graph", "model:net", "--store", store, "--limit", "2")
    assert done.exit_code == 0
    assert done.stderr == "4 more are not drawn: give a higher --limit, or --all\n"
    assert 'note["4 more are not drawn"]' in done.stdout
    assert cli("graph", "model:net", "--store", store, "--limit", "2", "--all").stderr == ""
    assert cli("graph", "model:nowhere", "--store", store).exit_code == 3
    assert cli("graph", "--limit", "0", "--store", store).exit_code == 2


def test_create(cli: Braid, tmp_path: Path) -> None:
    """Once; the second time is a conflict, and says that nothing was touched."""
    path = tmp_path / "new.duckdb"
    done = cli("create", "--store", path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"{path} is made, with nothing in it\n"
    assert json.loads(cli("print", "--store", path, "--format", "json").stdout) == []
    again = cli("create", "--store", path)
    assert (again.exit_code, again.stderr) == (5, f"braid: {path} is there already: it stays as it is\n")


def test_print(cli: Braid, store: Path) -> None:
    """Every version, with typed tags in JSON and as conditions elsewhere, parents as references."""
    rows = {row["ref"]: row for row in json.loads(cli("print", "--store", store, "--format", "json").stdout)}
    config = rows["fact:config@1"]
    assert config["tags"] == {"energy_keV": 71.7, "n": 3, "moving": True, "s": "3", "a=b": [3, "c=d"]}
    assert (config["parents"], config["valid"], config["cause"]) == ([], True, None)
    quoted = 'data:"' + ODD.replace('"', '\\"') + '"@'
    assert rows["model:net@1"]["parents"] == [
        "activity:train@1",
        "activity:train@2",
        f"{quoted}1",
        f"{quoted}2",
        "fact:config@1",
    ]
    assert rows[f"{quoted}1"]["uris"] == [f"s3://bucket/{ODD}"]
    lines = cli("print", "--store", store, "--format", "csv").stdout
    assert '""a=b""=3' in lines
    assert '""a=b""=c=d' in lines
    assert 's=""3""' in lines

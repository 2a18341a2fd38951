"""``braid tag``, ``braid note`` and ``braid annotations``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Braid
from tests.jobs import made, one


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    with one(tmp_path / "logs") as job:
        job[0].data("scan", tags={"quality": "unknown"})
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    return tmp_path / "prov.duckdb"


def test_tagging_changing_removing_and_noting(cli: Braid, tagged: Path) -> None:
    where = ("--store", tagged)
    assert "in snapshot 2" in cli("tag", "data:scan", "quality=good", "n=3", *where).stderr
    assert "data:scan" in cli("find", "quality=good", "n=3.0", *where).stdout
    assert cli("tag", "data:scan", "n=3", "--text", "--remove", "quality", *where).exit_code == 0
    assert cli("find", "quality=good", *where).exit_code == 3
    assert "data:scan" in cli("find", "n=3", "--text", *where).stdout
    assert cli("note", "data:scan", "the shutter stuck", *where).exit_code == 0
    rows = json.loads(cli("annotations", "data:scan", *where, "--format", "json").stdout)
    assert [(row["what"], row["key"], row["value"]) for row in rows] == [
        ("tag", "quality", "good"),
        ("tag", "n", 3),
        ("untag", "quality", None),
        ("tag", "n", "3"),
        ("note", None, "the shutter stuck"),
    ]
    assert len(json.loads(cli("annotations", "data:scan", *where, "--at", "2", "--format", "json").stdout)) == 2
    assert "the shutter stuck" in cli("show", "data:scan", *where).stdout


def test_private_ones(cli: Braid, tagged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, own = ("--store", tagged), ("--private-store", tmp_path / "own.duckdb")
    done = cli("tag", "data:scan", "mine=true", "--private", *own, *where)
    assert "own.duckdb" in "".join(done.stderr.split())
    assert cli("find", "mine=true", *where).exit_code == 3
    assert "data:scan" in cli("find", "mine=true", *own, *where).stdout
    refused = cli("tag", "data:scan", "mine=true", "--private", *where)
    assert refused.exit_code == 2
    assert "no private store is named" in refused.stderr
    monkeypatch.setenv("BRAID_PRIVATE_STORE", str(tmp_path / "own.duckdb"))
    assert "data:scan" in cli("find", "mine=true", *where).stdout


def test_mistakes(cli: Braid, tagged: Path) -> None:
    for words, code, message in (
        (("tag", "data:scan"), 2, "no tag is given"),
        (("tag", "data:scan", "a=1", "--remove", "a"), 2, "a is to be given and removed"),
        (("tag", "data:scan", "--remove", "b"), 3, "has no tag 'b'"),
        (("note", "data:scan", ""), 2, "a note is a text"),
        (("annotations", "data:scan"), 3, "nobody has annotated data:scan"),
    ):
        done = cli(*words, "--store", tagged)
        assert (done.exit_code, message in " ".join(done.stderr.split())) == (code, True), done.stderr

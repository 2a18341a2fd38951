"""``braid stage``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.assets.files import images, with_datums, write_npys
from tests.collectors.documents.instrument import stored

Braid = Callable[..., Result]


@pytest.fixture
def scan(tmp_path: Path) -> str:
    """A scan with two files, in the store prov.duckdb."""
    (tmp_path / "data").mkdir()
    path = write_npys(tmp_path / "data" / "stem", images(2))
    documents = with_datums("NPY_SEQ", path, {}, [{"index": 0}, {"index": 1}], (3, 4))
    stored(tmp_path, documents).close()
    return str(documents[0][1]["uid"])


def test_it_copies_and_goes_on(scan: str, tmp_path: Path, cli: Braid) -> None:
    words = ("stage", scan, "--to", tmp_path / "out", "--store", tmp_path / "prov.duckdb", "--format", "json")
    first = cli(*words)
    assert first.exit_code == 0, first.output
    rows = json.loads(first.stdout)
    assert [Path(row["path"]).name for row in rows] == ["stem_0.npy", "stem_1.npy"]
    assert all(Path(row["path"]).read_bytes() == Path(row["source"]).read_bytes() for row in rows)
    assert [(row["refs"], row["size"], row["already"]) for row in rows] == [(f"scan:{scan}", 152, False)] * 2
    assert "2 files copied (304 bytes), 0 were there" in first.stderr
    again = cli(*words)
    assert [row["already"] for row in json.loads(again.stdout)] == [True, True]
    assert "0 files copied (0 bytes), 2 were there" in again.stderr


def test_root_maps_are_pairs_or_files(scan: str, tmp_path: Path, cli: Braid) -> None:
    """That of a staging directory serves as it is."""
    words = ("stage", scan, "--store", tmp_path / "prov.duckdb")
    assert cli(*words, "--to", tmp_path / "one").exit_code == 0
    (tmp_path / "data").rename(tmp_path / "new")
    gone = cli(*words, "--to", tmp_path / "two")
    assert gone.exit_code == 3
    assert "2 of 2 files are not there, nothing was copied" in gone.stderr
    for name, roots in (("three", f"{tmp_path / 'data'}={tmp_path / 'new'}"), ("four", tmp_path / "one/root-map.json")):
        done = cli(*words, "--to", tmp_path / name, "--root-map", roots)
        assert done.exit_code == 0, done.stderr
        assert "2 files copied" in done.stderr
    (tmp_path / "list").write_text("[]")
    for wrong, sentence in (("nothing", "is neither OLD=NEW nor a file"), (tmp_path / "list", "holds no root map")):
        refused = cli(*words, "--to", tmp_path / "five", "--root-map", wrong)
        assert refused.exit_code == 2
        assert sentence in refused.stderr

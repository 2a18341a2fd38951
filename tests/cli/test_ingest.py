"""``braid ingest bluesky``: files of documents become a store, once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from suitcase import jsonl

from braid_hpc.cli import ingesting
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.store.store import Store
from tests.cli.conftest import Braid
from tests.collectors.documents.instrument import Pair, check, folded, scan
from tests.jobs import count, digests


def written(folder: Path, documents: list[Pair]) -> Path:
    """Write the documents of a run as suitcase does."""
    with jsonl.Serializer(folder, file_prefix="{start[uid]}") as serializer:
        for name, document in documents:
            serializer(name, document)
    (path,) = serializer.artifacts["all"]
    return Path(path)


def test_what_suitcase_wrote_comes_back_and_a_second_time_changes_nothing(cli: Braid, tmp_path: Path) -> None:
    """Files in one command, then one of them again under another name: no new snapshot; the store can be rebuilt."""
    runs_of = [scan(3), scan(2, streams=("primary", "dark"))]
    paths = [written(tmp_path, documents) for documents in runs_of]
    store = tmp_path / "prov.duckdb"
    done = cli("ingest", "bluesky", *paths, "--store", store)
    assert done.exit_code == 0, done.output
    assert "snapshot 1" in done.output
    assert "14 documents of 2 files" in done.output
    with Store(store) as opened:
        for documents in runs_of:
            check(opened.documents(documents[0][1]["uid"]), folded(documents, documents[0][1]["uid"]))
    before = digests(store)
    shutil.copy(paths[0], tmp_path / "copy.jsonl")
    again = cli("ingest", "bluesky", paths[1], tmp_path / "copy.jsonl", "--store", store)
    assert again.exit_code == 0
    assert "2 of 2 files are known" in again.output
    assert digests(store) == before
    assert count(store, "snapshots") == 1
    store.unlink()
    rebuild(store)
    assert digests(store) == before


def test_files_that_overlap_and_bad_lines(cli: Braid, tmp_path: Path) -> None:
    """A file that has grown is taken again, and each document is there once; what is no document is counted."""
    documents = scan(4)
    path = tmp_path / "grows.jsonl"
    lines = [json.dumps(pair) for pair in documents]
    store = tmp_path / "prov.duckdb"
    path.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])
    first = cli("ingest", "bluesky", path, "--store", store)
    assert "1 no document" in first.output
    odd = ["", "{", "[1, 2]", '["start"]', json.dumps({"name": "stop", "doc": documents[-1][1]}), "[" * 100_000]
    path.write_text("\n".join([*lines[:-1], *odd]) + "\n")
    second = cli("ingest", "bluesky", path, "--store", store)
    assert second.exit_code == 0, second.output
    assert "4 no document" in second.output
    with Store(store) as opened:
        found = opened.documents(documents[0][1]["uid"])
        check(found, folded(documents, documents[0][1]["uid"]))
        assert found.whole
        lost = opened.sql(
            "select unit, first, last, count from stream.collector_losses where _snapshot = 2 order by first"
        )
        assert [tuple(row.values())[:3] for row in lost] == [("line", 8, 10), ("line", 12, 12)]


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Braid) -> None:
    """It is not held in memory as a whole, and the next one is read."""
    monkeypatch.setattr(ingesting, "LONGEST_LINE", 1000)
    documents = scan(1)
    path = tmp_path / "long.jsonl"
    path.write_text("x" * 5500 + "\n" + "".join(json.dumps(pair) + "\n" for pair in documents))
    done = cli("ingest", "bluesky", path, "--store", tmp_path / "s.duckdb")
    assert "1 no document" in done.output
    with Store(tmp_path / "s.duckdb") as opened:
        assert opened.documents(documents[0][1]["uid"]).whole


def test_a_file_that_is_not_there_takes_nothing(cli: Braid, tmp_path: Path) -> None:
    path = written(tmp_path, scan(1))
    done = cli("ingest", "bluesky", path, tmp_path / "none.jsonl", "--store", tmp_path / "s.duckdb")
    assert done.exit_code == 3
    assert not (tmp_path / "s.duckdb").exists()
    assert cli("ingest", "bluesky", tmp_path, "--store", tmp_path / "s.duckdb").exit_code == 2

"""A run that uses content an earlier run made is linked to it, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from tests.jobs import Job, count, deliver, has_cycle, made


def make(log_dir: Path, path: Path) -> None:
    """Be a run that makes a file from a configuration."""
    with braid.job("make", log_dir=log_dir) as run:
        config = run.fact("config", {"threshold": 40})
        path.write_text("peaks found under threshold 40")
        run.data("peaks", path=path, derived_from=config)


def use(log_dir: Path, path: Path) -> None:
    """Be a run that knows the file only by its path."""
    with braid.job("use", log_dir=log_dir) as run:
        found = run.data("training/input", path=path)
        run.model("net", digest="x:1", derived_from=found)


def test_lineage_goes_on_into_the_run_that_made_the_file(tmp_path: Path) -> None:
    """The ancestors of the model include the first run's configuration, also when its log comes second."""
    make(tmp_path / "one", tmp_path / "peaks.txt")
    use(tmp_path / "two", tmp_path / "peaks.txt")
    for number, order in enumerate([("one", "two"), ("two", "one")]):
        store = tmp_path / f"{number}.duckdb"
        for logs in order:
            braid.compact(tmp_path / logs, store)
        with braid.open(store) as opened:
            answer = opened.lineage("model:net")
            assert {node.name for node in answer.nodes} == {"net", "training/input", "peaks", "config"}
            assert "same-content" in {edge.relation for edge in answer.edges}
            assert opened.same_content("data:peaks")["name"] == ["peaks", "training/input"]
            assert {node.name for node in opened.impact("fact:config").nodes} >= {"net"}


def test_equal_by_chance_is_not_linked(tmp_path: Path) -> None:
    """Empty files, declared values, and sources that were there before what was made of them stay apart."""
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    with braid.job("one", log_dir=tmp_path / "logs") as run:
        source = run.data("source", array=b"bytes")
        run.data("copy", array=b"bytes", derived_from=source)
        run.data("nothing", path=empty, derived_from=source)
        run.data("three", value=3, derived_from=source)
    with braid.job("two", log_dir=tmp_path / "logs") as run:
        run.data("also nothing", path=empty)
        run.fact("another three", 3)
        run.fact("none")
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert store.sql("select * from edges where relation = 'same-content'").to_pylist() == []


def test_what_one_run_holds_twice_is_not_linked(tmp_path: Path) -> None:
    """Within a run its own declarations say what comes from what."""
    with Job(tmp_path / "logs", 2) as job:
        job[0].data("made", array=b"bytes", derived_from=job[0].data("seed", digest="s:0"))
        job[1].data("source", array=b"bytes")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert count(store, "edges", "relation = 'same-content'") == 0


def test_a_link_by_content_closes_no_cycle(tmp_path: Path) -> None:
    """A later run has the content as a source, and a straggler of the earlier run made it of that source."""
    logs = tmp_path / "logs"
    with Job(logs, 2) as earlier:
        earlier[0].data("made", array=b"bytes", derived_from=earlier[0].data("seed", digest="s:0"))
        with Job(logs, 1) as later:
            source = later[0].data("source", array=b"bytes")
        earlier[1].data("made", array=b"bytes", derived_from=source)
    with made(logs, tmp_path / "prov.duckdb") as store:
        assert not has_cycle(store)
    # Bit by bit, the link is there before the straggler: then that one stays apart.
    some, bits = tmp_path / "some", tmp_path / "bits.duckdb"
    for folder in (earlier.folder(0), later.folder(0), earlier.folder(1)):
        deliver(folder, some)
        compact(some, bits)
    with made(some, bits) as store:
        assert not has_cycle(store)
        assert count(store, "edges", "relation = 'same-content'") == 1
        assert {node.name for node in store.lineage("data:source").nodes} == {"source", "made", "seed"}

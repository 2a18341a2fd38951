"""Digests that were left to the merge: taken once, of files that are what they were; of others it is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.compaction import inspecting
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.vocabulary.errors import BraidError
from braid_hpc.vocabulary.identity import content_of_bytes, content_of_file
from tests.jobs import count, digests


def states(store: Path) -> dict[str, tuple[str, str | None]]:
    """Give state and digest of each file by its name."""
    with braid.open(store) as opened:
        rows = opened.sql("select name, state, digest from inspections").to_pylist()
        return {Path(row["name"]).name: (row["state"], row["digest"]) for row in rows}


def of(data: bytes) -> str:
    return content_of_bytes(data).digest


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that left three files to the merge, one of which another activity read again, and digested a fourth."""
    monkeypatch.chdir(tmp_path)
    for name in ("same", "changed", "gone"):
        Path(name).write_bytes(name.encode())
    Path("digested").write_bytes(b"same")
    with braid.job("defer", log_dir="logs") as run:
        with run.activity("make"):
            handles = [run.output(name, digest="deferred") for name in ("same", "changed", "gone")]
        with run.activity("read"):
            assert run.input("same", digest="deferred") == handles[0]
            run.input("digested")
    return tmp_path / "logs"


def test_each_is_read_once_and_the_rest_is_said(logs: Path, tmp_path: Path) -> None:
    """The version keeps its identity; a later merge looks for the others again, and says only what is news."""
    store = tmp_path / "s.duckdb"
    Path("changed").write_bytes(b"written over")
    Path("gone").rename("elsewhere")
    done = compact(logs, store)
    assert (done.snapshot, done.new, done.inspected) == (2, True, {"verified": 1, "changed": 1, "missing": 1})
    assert states(store) == {
        "same": ("verified", of(b"same")),
        "changed": ("changed", None),
        "gone": ("missing", None),
    }
    with braid.open(store) as opened:
        (row,) = opened.sql("select digest, weak, run from versions where name = 'same'").to_pylist()
        assert row["digest"].startswith("stat:4-")
        assert row["weak"]
        told = opened.sql("select given, message from problems where code = 'content' order by given").to_pylist()
        assert [row["given"] for row in told] == ["data:changed@1", "data:gone@1"]
        assert "12 bytes instead of 7" in told[0]["message"]
        assert f"missing: file://{tmp_path}/gone" in told[1]["message"]
    before = digests(store)
    again = compact(logs, store)
    assert (again.new, again.inspected, digests(store)) == (False, {}, before)
    # It has come back, as it was: by its size and time.
    Path("elsewhere").rename("gone")
    assert compact(logs, store).inspected == {"verified": 1}
    assert states(store)["gone"] == ("verified", of(b"gone"))
    with braid.open(store) as opened:
        assert opened.sql("select given from problems where code = 'content'")["given"] == ["data:changed@1"]
        assert opened.get("data:gone").version == 1
    assert not compact(logs, store).new


def test_a_rebuild_repeats_what_was_found_without_the_files(logs: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    Path("gone").unlink()
    compact(logs, store)
    before, found = digests(store), states(store)
    for name in ("same", "changed"):
        Path(name).unlink()
    store.unlink()
    rebuild(store)
    assert (digests(store), states(store)) == (before, found)


def test_what_was_found_counts_where_content_is_asked_for(logs: Path, tmp_path: Path) -> None:
    """Equal content is found, and a checkout verifies bytes; before the snapshot that brought it, neither."""
    store = tmp_path / "s.duckdb"
    compact(logs, store)
    with braid.open(store) as opened:
        assert opened.same_content("data:digested")["name"] == ["same", "digested"]
        assert opened.same_content("data:same")["name"] == ["same", "digested"]
        assert opened.same_content("data:same", at=1)["name"] == []
        assert opened.where("data:digested").same_content == ["data:same@1"]
        assert opened.where("data:same").digest == of(b"same")
        (file,) = opened.checkout("data:same", into=tmp_path / "out").files
        assert (file.content, file.weak) == (of(b"same"), False)
        # What it is by its name has other bytes of the same size and time now.
        stat = os.stat("same")
        Path("same").write_bytes(b"else")
        os.utime("same", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(BraidError, match="has other bytes now"):
            opened.checkout("data:same", into=tmp_path / "later")


def test_a_later_run_that_takes_up_the_file_comes_from_the_one_that_made_it(logs: Path, tmp_path: Path) -> None:
    """Also where neither of them has read it."""
    with braid.job("later", log_dir=logs) as run, run.activity("use"):
        run.input("changed", name="taken up", digest="deferred")
        run.data("result")
    compact(logs, tmp_path / "s.duckdb")
    with braid.open(tmp_path / "s.duckdb") as opened:
        fed = {node.ref for node in opened.lineage("data:result").nodes}
        assert {"data:taken up@1", "data:changed@1", "activity:make@1"} <= fed


def test_a_merge_may_leave_them_to_the_next_one(logs: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    assert compact(logs, store, digests=False).inspected == {}
    assert set(states(store).values()) == {("waiting", None)}
    assert count(store, "problems") == 0
    assert compact(logs, store).inspected == {"verified": 3}
    assert not compact(logs, store).new


def test_what_was_stated_and_not_merged_is_taken_by_the_next_merge(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody ends it between reading the files and merging what was found: nothing is read twice, or doubled."""
    store = tmp_path / "s.duckdb"
    monkeypatch.setattr("braid_hpc.compaction.compact._inspected", lambda result, files, _: _read_only(result, files))
    compact(logs, store)
    monkeypatch.undo()
    os.chdir(tmp_path)
    done = compact(logs, store)
    assert (done.new, done.inspected) == (True, {})
    assert {state for state, _ in states(store).values()} == {"verified"}
    with braid.open(store) as opened:
        assert opened.sql("select count(*) as n from inspection_rows")["n"] == [3]


def _read_only(result: Any, files: Any) -> Any:
    inspecting.inspect_files(result._waiting, files, lambda *_: None)
    return result


def test_a_file_that_is_written_while_it_is_read_has_changed(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(file: Any) -> Any:
        content = content_of_file(file)
        with open(os.readlink(f"/proc/self/fd/{file.fileno()}"), "ab") as other:
            other.write(b"more")
        return content

    monkeypatch.setattr("braid_hpc.compaction.inspecting.content_of_file", slowly)
    assert compact(logs, tmp_path / "s.duckdb").inspected == {"changed": 3}


def test_a_file_that_became_a_fifo_is_not_waited_for(logs: Path, tmp_path: Path) -> None:
    os.remove("same")
    os.mkfifo("same")
    compact(logs, tmp_path / "s.duckdb")
    assert states(tmp_path / "s.duckdb")["same"] == ("unreadable", None)

"""The store as people ask it."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.snapshots import files
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.store import Store, open_store
from braid_hpc.vocabulary.errors import BraidWarning, InvalidInputError, NotFoundError, ReadOnlyError
from tests.jobs import Job, digests, one


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    with Job(folder / "logs", 2) as job:
        for rank, run in enumerate(job.runs):
            part = run.data(f"part/{rank}", digest=f"x:{rank}")
            run.model("net", digest="w:0", derived_from=part)
            run.stream("s", {"x": "int32"}).append(rank)
    compact(folder / "logs", folder / "prov.duckdb")
    return folder / "prov.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


def test_it_is_opened_by_name_or_variable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="no store is named: give its path, or set BRAID_STORE"):
        open_store()
    monkeypatch.setenv("BRAID_STORE", str(path))
    with open_store() as by_variable, braid.open(path) as by_name, open_store(str(path)) as by_text:
        assert by_variable.snapshot == by_name.snapshot == by_text.snapshot == 1
        assert repr(by_name) == "<Store prov.duckdb, snapshot 1>"


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no store .*nowhere.duckdb: make one with 'braid compact"):
        Store(tmp_path / "nowhere.duckdb")


def test_sql_with_parameters(store: Store) -> None:
    assert store.sql("select name from versions where kind = ? order by 1", ["data"])["name"] == ["part/0", "part/1"]
    assert store.sql("select $n + 1 as n", {"n": 1})["n"] == [2]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from meta",
        "insert into meta values ('a', 'b')",
        "create table t as select 1",
        "drop view versions",
        "attach 'other.duckdb'",
        "copy meta to 'meta.csv'",
        "select * from read_csv('/etc/passwd')",
        "install httpfs",
        "load 'x.duckdb_extension'",
        "set threads = 1",
    ],
)
def test_a_store_is_only_read(store: Store, statement: str) -> None:
    """Whatever would change something, or reach out of it."""
    with pytest.raises(ReadOnlyError, match="a store is only read"):
        store.sql(statement)
    assert store.sql("select count(*) as n from versions")["n"] == [5 - 1]


@pytest.mark.parametrize("statement", ["", "  -- nothing", "selct 1", "select * from nowhere", "select 1 +"])
def test_a_wrong_query_is_a_wrong_call(store: Store, statement: str) -> None:
    with pytest.raises(InvalidInputError):
        store.sql(statement)


@pytest.mark.parametrize(
    "statement",
    ["begin", "create temp view versions as select 1 as n", "create temp table edges (x int)", "use stream"],
)
def test_a_query_leaves_nothing_behind(store: Store, statement: str) -> None:
    """What it begins or creates for the time being changes no later answer."""
    with pytest.raises(ReadOnlyError, match="is no statement that reads"):
        store.sql(statement)
    with pytest.raises(InvalidInputError):
        store.sql("select nothing")
    assert len(store.lineage("model:net").nodes) == 3
    assert store.sql("select count(*) as n from versions")["n"] == [4]


def test_tables_of_streams(store: Store) -> None:
    assert store.table("s")["x"] == [0, 1]
    with pytest.raises(NotFoundError, match=r"there is no stream 'S' in prov.duckdb; there are: s"):
        store.table("S")


def test_answers_are_the_same_without_the_index_of_edges(path: Path, tmp_path: Path) -> None:
    """Where it is missing or damaged it is made again, with one warning; where nothing can be written, in memory."""
    shutil.copytree(path.parent, tmp_path / "copy")
    store, index = tmp_path / "copy" / path.name, tmp_path / "copy" / f"{path.name}.d" / "1.adjacency"
    with Store(store) as opened:
        assert opened.adjacency is not None
        begin, *_ = opened.adjacency.segments[0]._table["up_far"]
        expected = opened.lineage("net").to_dict()
    whole = index.read_bytes()
    index.write_bytes(whole[:begin] + bytes([whole[begin] ^ 1]) + whole[begin + 1 :])
    with Store(store) as opened:
        with pytest.warns(BraidWarning, match="does not carry .*: it was made again") as said:
            assert opened.lineage("net").to_dict() == expected
        assert len(said) == 1
        assert opened.impact("data:part/0", as_of=time.time_ns()).nodes
    assert index.read_bytes() == whole
    index.unlink()
    with Store(store) as opened, pytest.warns(BraidWarning, match="there is no adjacency index"):
        assert opened.lineage("net").to_dict() == expected
    assert index.read_bytes() == whole
    index.unlink()

    def refuse(path: Path) -> int:
        raise PermissionError(13, "Permission denied")

    with Store(store) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "new_lock", refuse)
        with pytest.warns(BraidWarning, match="is kept in memory"):
            assert opened.lineage("net").to_dict() == expected
    assert not index.exists()


def test_snapshots(store: Store) -> None:
    table = store.snapshots()
    assert table["snapshot"] == [1]
    assert "archive" not in table.columns


def test_impact_is_lineage_downwards(store: Store) -> None:
    assert store.impact("data:part/0") == store.lineage("data:part/0", down=True)
    assert [node.ref for node in store.impact("data:part/0").nodes] == ["data:part/0@1", "model:net@1"]


def test_a_closed_store_stays_closed(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(Exception, match=r"."):
        store.sql("select 1")


def test_a_store_that_was_forgotten_says_so(path: Path) -> None:
    """As a file does."""
    store = Store(path)
    assert store.snapshot == 1
    stores = [store]
    del store
    with pytest.warns(ResourceWarning, match="was not closed"):
        stores.clear()
    gc.collect()


def test_a_store_that_is_open_at_the_end_says_nothing(path: Path) -> None:
    """Nor does the interpreter, which has no modules any more to warn with."""
    program = "import sys, braid_hpc as braid; store = braid.open(sys.argv[1]); store.row_lineage; store.lineage('net')"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_two_stores_of_one_file_at_once(path: Path) -> None:
    with Store(path) as first, Store(path) as second:
        assert first.digests() == second.digests()


def test_a_store_and_ones_own_connection(path: Path) -> None:
    """Somebody may look at the file with DuckDB itself meanwhile."""
    import duckdb

    with Store(path) as store, duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select count(*) from versions").fetchall() == [(4,)]
        assert store.sql("select count(*) as n from versions")["n"] == [4]


def test_asking_imports_no_recorder(path: Path) -> None:
    """And the package's names are there without it."""
    import subprocess

    code = "import sys; from braid_hpc import open\nwith open(sys.argv[1]) as s: s.lineage('model:net')\n"
    code += "print('braid_hpc.log.writer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_stores_of_many_versions_of_one_run(tmp_path: Path) -> None:
    """Invalid ones among some ids: none where nothing was stated."""
    with one(tmp_path / "logs") as job:
        job[0].data("d", digest="x:0")
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as opened:
        assert opened.invalid([1]) == set()


def test_several_statements_are_refused(store: Store) -> None:
    """They would all run, and only the rows of the last one would be seen."""
    with pytest.raises(InvalidInputError, match="these are 2 statements, and each has an answer: ask one at a time"):
        store.sql("select 1 as a; select 2 as b")
    assert store.sql("select 1 as a;  -- a; b")["a"] == [1]
    assert store.sql("select ';' as a")["a"] == [";"]


@pytest.mark.parametrize("query", [3, None, b"select 1", "select '\udcff'"])
def test_what_is_no_query_is_refused(store: Store, query: Any) -> None:
    with pytest.raises(InvalidInputError, match="is no query"):
        store.sql(query)


def test_a_closed_store_says_so(path: Path) -> None:
    """In one sentence, whatever is asked."""
    with Store(path) as opened:
        pass
    for ask in (
        lambda: opened.sql("select 1"),
        lambda: opened.table("s"),
        lambda: opened.get("model:net"),
        lambda: opened.array("model:net"),
        lambda: opened.lineage("model:net"),
        lambda: opened.impact("model:net"),
        lambda: opened.same_content("model:net"),
        lambda: opened.invalid([1]),
        opened.snapshots,
        opened.digests,
    ):
        with pytest.raises(InvalidInputError, match=r"store .*prov.duckdb is closed: open it again to ask it"):
            ask()


@pytest.mark.parametrize("wrong", [5, None, b"model:net", ["model:net"]])
def test_a_reference_is_a_text(store: Store, wrong: Any) -> None:
    """Anything else is a wrong call, and not an error of ours."""
    for ask in (store.get, store.lineage, store.impact, store.array, store.same_content):
        with pytest.raises(InvalidInputError, match="is not a reference: that is a text"):
            ask(wrong)


# the name and the directory beside it


def two_stores(tmp_path: Path) -> tuple[Path, Path]:
    """Give an older store of two snapshots and a newer one of one."""
    for name, turns in (("old", 2), ("new", 1)):
        for turn in range(turns):
            with one(tmp_path / f"{name}-logs") as job:
                job[0].data(f"{name}-{turn}")
            compact(tmp_path / f"{name}-logs", tmp_path / f"{name}.duckdb")
    return tmp_path / "old.duckdb", tmp_path / "new.duckdb"


@pytest.mark.parametrize("how", ["replaced", "written into", "no store"])
def test_a_store_copied_over_an_older_name_is_told(tmp_path: Path, how: str) -> None:
    """Nobody gets answers of the older store by the name of the newer one, and nothing is merged into either."""
    old, new = two_stores(tmp_path)
    if how == "replaced":
        shutil.copy(new, tmp_path / "copy")
        os.replace(tmp_path / "copy", old)
        told = f"{old} is another store than the snapshots in {old}.d: move that directory away"
    elif how == "written into":
        os.chmod(old, 0o644)
        old.write_bytes(new.read_bytes())
        told = f"{old} is another store than the snapshots in {old}.d: move that directory away"
    else:
        old.unlink()
        old.write_bytes(b"something else" * 1000)
        told = f"{old} is not a DuckDB file"
    before = sorted(path.name for path in StoreFiles(old).directory.iterdir())
    with pytest.raises(InvalidInputError, match=re.escape(told)) as raised:
        Store(old)
    assert raised.value.exit_code == 4
    with one(tmp_path / "more") as job:
        job[0].data("more")
    with pytest.raises(InvalidInputError, match=re.escape(told)):
        compact(tmp_path / "more", old)
    assert sorted(path.name for path in StoreFiles(old).directory.iterdir()) == before
    shutil.move(StoreFiles(old).directory, tmp_path / "away")
    if how != "no store":
        assert digests(old) == digests(new)


def test_a_store_copied_with_its_directory_is_one_store(tmp_path: Path) -> None:
    """Also where the copy knows no hard links, and merges go on in it."""
    old, _ = two_stores(tmp_path)
    there = tmp_path / "there"
    shutil.copytree(StoreFiles(old).directory, there / "old.duckdb.d")
    shutil.copy(old, there)
    assert not StoreFiles(there / "old.duckdb").is_one()
    assert digests(there / "old.duckdb") == digests(old)
    with one(tmp_path / "more") as job:
        job[0].data("more")
    assert compact(tmp_path / "more", there / "old.duckdb").snapshot == 3
    assert StoreFiles(there / "old.duckdb").is_one()


def test_a_name_left_behind_is_no_other_store(tmp_path: Path) -> None:
    """A compaction that was killed before it renamed: the name stands for a snapshot whose number may be gone."""
    old, _ = two_stores(tmp_path)
    StoreFiles(old).snapshot(1).unlink()
    kept = tmp_path / "kept"
    os.link(old, kept)
    with one(tmp_path / "old-logs") as job:
        job[0].data("more")
    compact(tmp_path / "old-logs", old)
    os.replace(kept, old)
    StoreFiles(old).snapshot(2).unlink()
    with Store(old) as opened:
        assert opened.snapshot == 3

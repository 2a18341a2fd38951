"""Stores that somebody else made, and statements that do something else than read."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import BraidError, BraidWarning, InvalidInputError, ReadOnlyError, StorageError
from tests.jobs import made, one


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("guarded")
    with one(folder / "logs") as job:
        job[0].data("a", digest="x:0", tags={"k": 1})
    with made(folder / "logs", folder / "prov.duckdb") as opened:
        yield opened


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_csv('{secret}')",
        "select * from read_text('{secret}')",
        "select * from read_blob('{secret}')",
        "select * from read_json('{secret}')",
        "select * from sniff_csv('{secret}')",
        "select * from glob('{folder}/*')",
        "from '{secret}'",
        "attach '{folder}/other.duckdb'",
        "attach ':memory:' as m",
        "copy versions to '{folder}/out.csv'",
        "copy (select 1) to '{folder}/out.csv'",
        "copy versions from '{secret}'",
        "export database '{folder}/out'",
        "import database '{folder}'",
        "install httpfs",
        "load httpfs",
        "set threads = 1",
        "set variable x = 1",
        "reset threads",
        "pragma threads = 1",
        "pragma enable_profiling",
        "create table t as select 1",
        "create temp table t as select 1",
        "create temp macro lower(x) as 1",
        "create secret (type s3)",
        "insert into meta values ('a', 'b')",
        "update meta set value = 'x'",
        "delete from meta",
        "truncate meta",
        "drop view versions",
        "alter table meta add column x int",
        "comment on table meta is 'x'",
        "begin",
        "prepare x as select 1",
        "use memory",
        "vacuum",
        "checkpoint",
        "force checkpoint",
        "call force_checkpoint()",
        "select 1; drop table meta",
        "select * from query('drop table meta')",
        "select getenv('HOME')",
    ],
)
def test_what_does_not_read_the_store_is_refused(store: Store, tmp_path: Path, statement: str) -> None:
    """In one line; nothing is read from another file, nothing is written, and the store answers as before."""
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n1\n")
    with pytest.raises((ReadOnlyError, InvalidInputError)) as raised:
        store.sql(statement.format(secret=secret, folder=tmp_path))
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == [secret]
    assert store.sql("select lower('A') as a, count(*) as n from versions").to_pylist() == [{"a": "a", "n": 1}]


@pytest.mark.parametrize(
    "statement",
    [
        *(
            "describe versions",
            "show tables",
            "summarize versions",
            "explain select 1",
            "pragma table_info('versions')",
        ),
        *(
            "values (1)",
            "from range(3)",
            "with a as (select 1) from a",
            "unpivot (select 1 as a) on a",
            "table versions",
        ),
        "pivot tags on key using first(text) group by id",
    ],
)
def test_what_reads_is_answered(store: Store, statement: str) -> None:
    assert len(store.sql(statement)) >= 1


@pytest.mark.parametrize(
    "hostile",
    [
        "create or replace view versions as select content as name from read_text('{secret}')",
        "create or replace view nodes as select * from read_csv('{secret}')",
        "create or replace view filled as select 1 as id, 1 as snapshot from glob('{folder}/*')",
        "create or replace view nodes as select 1 as id",
        "drop view nodes",
        "create macro lower(x) as (select content from read_text('{secret}'))",
        "create or replace macro lineage(a, b := null) as table select * from read_text('{secret}')",
        "drop table tag_rows; create table tag_rows as select 1 as id",
        "create or replace view nodes as select error('no') as id, 'u' as uid, 'data' as kind, 'a' as name, "
        "1 as version, 'r' as run, 1 as snapshot",
    ],
)
def test_a_store_of_a_stranger_cannot_reach_a_file(store: Store, tmp_path: Path, hostile: str) -> None:
    """Its views and macros may be wrong. What they break is said in one line of this package's errors."""
    secret = tmp_path / "secret.csv"
    secret.write_text("do not tell\n1\n")
    path = Path(shutil.copy(store.path, tmp_path))
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute(hostile.format(secret=secret, folder=tmp_path))
    refused = []
    with braid.open(path) as opened:
        for ask in (
            lambda: opened.sql("from versions"),
            lambda: opened.sql("from lineage('a')"),
            lambda: opened.sql("select lower('A')"),
            lambda: opened.find("k = 1 or uri = x or valid"),
            lambda: opened.find_runs(),
            lambda: opened.get("a"),
            lambda: opened.lineage("a"),
            lambda: opened.describe("a"),
        ):
            try:
                assert "do not tell" not in repr(ask())
            except BraidError as error:
                refused.append(error)
    assert refused
    for found in refused:
        assert type(found) in (StorageError, ReadOnlyError, InvalidInputError)
        assert "\n" not in str(found)
        assert "do not tell" not in str(found)


def changed(store: Store, path: Path, *statements: str) -> Path:
    """Copy a store and change the copy."""
    shutil.copy(store.path.resolve(), path)
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


@pytest.mark.parametrize(
    "statement",
    [
        "update meta set value = 'x' where key = 'major'",
        "delete from meta where key = 'major'",
        "drop table snapshots",
        "alter table snapshots rename to s; "
        "create view snapshots as select * replace (1000000000000000000 as snapshot) from s",
        "drop table meta; create view meta as select 'format' as key, error('boom') as value",
    ],
)
def test_what_opens_as_no_store_does_is_one_error(store: Store, tmp_path: Path, statement: str) -> None:
    path = changed(store, tmp_path / "other.duckdb", statement)
    with pytest.raises(StorageError, match="does not answer as a store does: ") as raised:
        braid.open(path)
    assert "\n" not in str(raised.value)


def other(table: str, column: str, value: str) -> str:
    """Give a statement that puts a value into each row of a column, whatever it was bound to."""
    return f"create or replace table {table} as select * replace ({value} as {column}) from {table}"


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        (other("version_rows", "name", "null"), "graph"),
        (other("writer_states", "state", "'weird'"), "lineage"),
        (other("occurrences", "time", "null"), "as of"),
        (other("version_rows", "placeholder", "'zz'"), "lineage"),
        (other("writers", "header", "'{not json'"), "find_runs"),
        ("create macro epoch_ns(x) as 'soon'", "as of"),
        ("create or replace view versions as select 'x' as id, 'y' as uid", "same_content"),
        ("create or replace view versions as select 'x' as id, 'y' as uid", "snapshots"),
    ],
)
def test_whatever_a_stranger_put_into_a_store_is_one_error(
    store: Store, tmp_path: Path, statement: str, question: str
) -> None:
    """Values that no store has, views that lack columns: neither a traceback, nor a fault of who asks."""
    path = changed(store, tmp_path / "other.duckdb", statement)
    asks: dict[str, Callable[[Store], object]] = {
        "graph": lambda opened: opened.graph(),
        "lineage": lambda opened: opened.lineage("data:a"),
        "as of": lambda opened: opened.get("data:a", as_of=time.time_ns()),
        "find_runs": lambda opened: opened.find_runs("host exists"),
        "same_content": lambda opened: opened.same_content("data:a"),
        "snapshots": lambda opened: opened.snapshots(),
    }
    with warnings.catch_warnings(), braid.open(path) as opened:
        warnings.simplefilter("ignore", BraidWarning)
        if question == "snapshots":
            assert len(opened.snapshots()) == 1
            return
        with pytest.raises(StorageError, match="does not answer as a store does: ") as raised:
            asks[question](opened)
        assert "\n" not in str(raised.value)


def test_a_call_that_is_wrong_is_the_fault_of_who_asks(store: Store) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        store.find("k = 1", whatever=1)  # type: ignore[call-arg]
    with pytest.raises(InvalidInputError, match="DuckDB refuses the query"):
        store.sql("select nothing from nowhere")
    with pytest.raises(BraidError) as raised:
        store.find({"k": "x"}, kind=object())  # type: ignore[arg-type]
    assert not isinstance(raised.value, StorageError)


def test_threads_with_one_handle_wait_for_each_other(store: Store) -> None:
    """Each gets its own answer: the connection has one at a time."""
    expected = [len(store.lineage("data:a").nodes), store.find("k = 1")["name"], len(store.find_runs())]

    def ask(_: int) -> list[object]:
        return [len(store.lineage("data:a").nodes), store.find("k = 1")["name"], len(store.find_runs())]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(12))) == [expected] * 12


@pytest.mark.parametrize("at", ["1", True, 1.0, "x", np.float64(1)])
def test_what_is_no_number_is_no_snapshot(store: Store, at: object) -> None:
    with pytest.raises(InvalidInputError, match="is no snapshot: that is a number, from 1 to 1 in this store"):
        store.get("data:a", at=at)  # type: ignore[arg-type]


def test_a_number_of_numpy_is_a_snapshot(store: Store) -> None:
    assert store.get("data:a", at=np.int64(1)) == store.get("data:a", at=1)  # type: ignore[arg-type]
    assert store.find("k = 1", at=np.int32(1))["name"] == ["a"]  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="there is no snapshot 2: this store has 1 to 1"):
        store.get("data:a", at=np.int64(2))  # type: ignore[arg-type]

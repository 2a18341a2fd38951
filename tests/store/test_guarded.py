"""Stores that somebody else made, and statements that do something else than read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import braid_hpc as braid
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, ReadOnlyError, StorageError
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

"""Where ranks can record the same events: into a log of their own, or into what they share.

Each recorder takes events of seven fields, one of them a text of 40 characters, by its ``record``. What it promises
when a call returns is in :data:`VARIANTS`; each is set up as somebody would who wants it fast and does not fear for
what a power cut takes: SQLite without a sync for each transaction, PostgreSQL without waiting for its log.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT = "x" * 40
COLUMNS = "number bigint, a double precision, b double precision, c integer, d bigint, e real, t text"
#: Events of one transaction, in the variants that gather some.
BATCH = 100
#: Events that the writer rank puts into DuckDB at once.
ROWS_AT_ONCE = 10_000
#: How long SQLite waits for the lock of another rank (s): what Python's module does without being told.
LOCK_SECONDS = 5.0
#: How long the case that is not kept waits for a rank's log to seal its first tail; logs of frames never do (s).
WARM_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Variant:
    """What is written of a variant."""

    title: str
    #: What outlives a rank that is killed, once its call has returned.
    keeps: str
    #: Whether rank 0 serves the others and records nothing itself.
    served: bool = False


VARIANTS = {
    "off": Variant("recording off", "nothing is recorded"),
    "rank-logs": Variant("rank logs", "everything"),
    "sqlite": Variant("one SQLite file (WAL), a transaction an event", "everything"),
    "sqlite-batch": Variant(
        f"one SQLite file (WAL), {BATCH} events a transaction", f"all but up to {BATCH - 1} events"
    ),
    "postgresql": Variant("one PostgreSQL server, a transaction an event", "everything, unless the server dies too"),
    "postgresql-batch": Variant(
        f"one PostgreSQL server, COPY of {BATCH} events",
        f"all but up to {BATCH - 1} events, unless the server dies too",
    ),
    "duckdb-writer": Variant("one DuckDB file behind a writer rank", "what the writer has taken", served=True),
    "queue": Variant("a queue on rank 0, each event acknowledged", "everything, unless rank 0 dies too", served=True),
}


class Recorder:
    """One rank's side of a variant; this one records nothing."""

    #: Whether every rank counts what arrived of its own events; else rank 0 counts those of all.
    counts_alone = False

    def __init__(self, place: Path, case: str, comm: Any) -> None:
        self.place, self.case, self.comm = place, case, comm
        self.rank = comm.Get_rank()

    def prepare(self) -> None:
        """Make what is shared; on rank 0, before any rank opens it."""

    def open(self) -> Callable[..., Any]:
        """Begin, and return what is called with the fields of each event."""
        return _nothing

    def warm(self, record: Callable[..., Any]) -> None:
        """Have done, in the case that is not kept, what a process does once and not in the calls themselves."""

    def close(self) -> None:
        """End: what was gathered is written."""

    def arrived(self) -> int | None:
        """Return how many events can be read back; None where nothing is recorded."""
        return None

    def remove(self) -> None:
        """Remove what was written."""


def _nothing(number: int, a: float, b: float, c: int, d: int, e: float, text: str) -> None:
    return None


class RankLogs(Recorder):
    """A log for each rank."""

    counts_alone = True

    def open(self) -> Callable[..., Any]:
        import braid_hpc as braid

        self.run = braid.start("scaling", log_dir=self.place / self.case)
        kinds = {"i": "int64", "a": "float64", "b": "float64", "c": "int32", "d": "int64", "e": "float32", "t": "text"}
        put: Callable[..., Any] = self.run.stream("event", kinds).append
        return put

    def warm(self, record: Callable[..., Any]) -> None:
        # Where there are many more ranks than cores a short case ends before the thread beside it has sealed anything,
        # and what that imports for it would be paid in the first case that is kept, by every rank.
        end = time.monotonic() + WARM_SECONDS
        while time.monotonic() < end and not any(self._directory.glob("events*.sums")):
            for number in range(100):
                record(number, 1.5, 2.5, self.rank, number, 5.5, TEXT)
            time.sleep(0.01)

    def close(self) -> None:
        self.run.close()

    def arrived(self) -> int | None:
        from braid_hpc.reading.survey import read_writer
        from braid_hpc.vocabulary.codes import Code

        log = read_writer(self._directory)
        return sum(len(rows) for rows in log.each(Code.ROW))

    def remove(self) -> None:
        import shutil

        shutil.rmtree(self._directory)

    @property
    def _directory(self) -> Path:
        directory: Path = self.run.log_dir / self.run.writer.hex()
        return directory


class Sqlite(Recorder):
    """One file that all ranks write to."""

    at_once = 1

    def prepare(self) -> None:
        with sqlite3.connect(self._path) as database:
            database.execute("pragma journal_mode = wal")
            database.execute(f"create table event ({COLUMNS})")
        database.close()

    def open(self) -> Callable[..., Any]:
        self._database = sqlite3.connect(self._path, timeout=LOCK_SECONDS, isolation_level=None)
        self._database.execute("pragma synchronous = normal")
        execute = self._database.execute

        def record(*event: Any) -> None:
            execute("insert into event values (?, ?, ?, ?, ?, ?, ?)", event)

        self._gathered = Gathered(self.at_once, self._write)
        return record if self.at_once == 1 else self._gathered.add

    def _write(self, events: list[tuple[Any, ...]]) -> None:
        execute = self._database.execute
        execute("begin immediate")
        try:
            self._database.executemany("insert into event values (?, ?, ?, ?, ?, ?, ?)", events)
        except sqlite3.Error:
            execute("rollback")
            raise
        execute("commit")

    def close(self) -> None:
        try:
            self._gathered.flush()
        finally:
            self._database.close()

    def arrived(self) -> int | None:
        database = sqlite3.connect(self._path)
        ((count,),) = database.execute("select count(*) from event")
        database.close()
        return int(count)

    def remove(self) -> None:
        for path in self.place.glob(f"{self.case}.sqlite*"):
            path.unlink()

    @property
    def _path(self) -> Path:
        return self.place / f"{self.case}.sqlite"


class SqliteBatch(Sqlite):
    """The same, with some events in each transaction."""

    at_once = BATCH


class Gathered:
    """Events that wait until there are enough of them."""

    def __init__(self, at_once: int, write: Callable[[list[tuple[Any, ...]]], None]) -> None:
        self._at_once, self._write = at_once, write
        self._events: list[tuple[Any, ...]] = []

    def add(self, *event: Any) -> None:
        """Take one."""
        self._events.append(event)
        if len(self._events) >= self._at_once:
            self.flush()

    def flush(self) -> None:
        """Write those that wait; they are gone when that fails."""
        events, self._events = self._events, []
        if events:
            self._write(events)


class Postgresql(Recorder):
    """One server, whose address is in the environment."""

    at_once = 1

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(os.environ["SCALING_POSTGRESQL"], autocommit=True)

    def prepare(self) -> None:
        with self._connect() as connection:
            connection.execute(f"create table {self._table} ({COLUMNS})")

    def open(self) -> Callable[..., Any]:
        self._connection = self._connect()
        self._connection.execute("set synchronous_commit = off")
        self._cursor = self._connection.cursor()
        execute, statement = self._cursor.execute, f"insert into {self._table} values (%s, %s, %s, %s, %s, %s, %s)"

        def record(*event: Any) -> None:
            execute(statement, event, prepare=True)

        self._gathered = Gathered(self.at_once, self._write)
        return record if self.at_once == 1 else self._gathered.add

    def _write(self, events: list[tuple[Any, ...]]) -> None:
        with self._cursor.copy(f"copy {self._table} from stdin") as copy:
            for event in events:
                copy.write_row(event)

    def close(self) -> None:
        try:
            self._gathered.flush()
        finally:
            self._connection.close()

    def arrived(self) -> int | None:
        with self._connect() as connection:
            return int(connection.execute(f"select count(*) from {self._table}").fetchone()[0])

    def remove(self) -> None:
        with self._connect() as connection:
            connection.execute(f"drop table {self._table}")

    @property
    def _table(self) -> str:
        return self.case.replace("-", "_")


class PostgresqlBatch(Postgresql):
    """The same, with some events in each COPY."""

    at_once = BATCH


class Served(Recorder):
    """Rank 0 takes what the others send it, until each has said that it is done."""

    acknowledges = False

    def open(self) -> Callable[..., Any]:
        if self.rank == 0:
            self.begin_serving()
            return _nothing
        send, receive, comm, acknowledges = self.comm.send, self.comm.recv, self.comm, self.acknowledges

        def record(*event: Any) -> None:
            send(event, 0)
            if acknowledges:
                # A rank that spins in MPI would take the core from the one that it waits for.
                while not comm.iprobe(source=0):
                    os.sched_yield()
                receive(source=0)

        return record

    def serve(self) -> None:
        """Take events until all is taken; on rank 0."""
        from mpi4py import MPI

        status, comm = MPI.Status(), self.comm
        working = comm.Get_size() - 1
        while working:
            while not comm.iprobe(status=status):
                os.sched_yield()
            event = comm.recv(source=status.Get_source())
            if event is None:
                working -= 1
                continue
            self.take(event)
            if self.acknowledges:
                comm.send(None, status.Get_source())
        self.end_serving()

    def begin_serving(self) -> None:
        """Open what the events go to."""

    def take(self, event: tuple[Any, ...]) -> None:
        """Take an event."""

    def end_serving(self) -> None:
        """Write what is left."""

    def close(self) -> None:
        if self.rank:
            self.comm.send(None, 0)


class DuckdbWriter(Served):
    """What is sent goes into DuckDB, many rows at a time."""

    def begin_serving(self) -> None:
        import duckdb
        import pyarrow as pa

        kinds = (pa.int64(), pa.float64(), pa.float64(), pa.int32(), pa.int64(), pa.float32(), pa.string())
        schema = pa.schema(list(zip("nabcdet", kinds, strict=True)))
        self._database = duckdb.connect(str(self._path))
        self._database.execute(f"create table event ({COLUMNS})")

        def write(events: list[tuple[Any, ...]]) -> None:
            braid_events = pa.table([list(column) for column in zip(*events, strict=True)], schema=schema)
            self._database.register("incoming", braid_events)
            self._database.execute("insert into event select * from incoming")

        self._gathered = Gathered(ROWS_AT_ONCE, write)
        self._add = self._gathered.add

    def take(self, event: tuple[Any, ...]) -> None:
        self._add(*event)

    def end_serving(self) -> None:
        self._gathered.flush()
        self._database.close()

    def arrived(self) -> int | None:
        import duckdb

        with duckdb.connect(str(self._path), read_only=True) as database:
            return int(database.execute("select count(*) from event").fetchall()[0][0])

    def remove(self) -> None:
        for path in self.place.glob(f"{self.case}.duckdb*"):
            path.unlink()

    @property
    def _path(self) -> Path:
        return self.place / f"{self.case}.duckdb"


class Queue(Served):
    """What is sent stands in a queue and in a file, and is acknowledged."""

    acknowledges = True

    def begin_serving(self) -> None:
        self._file = self._path.open("w")
        self._waiting: deque[tuple[Any, ...]] = deque()

    def take(self, event: tuple[Any, ...]) -> None:
        self._waiting.append(event)
        self._file.write(json.dumps(event) + "\n")

    def end_serving(self) -> None:
        self._file.close()

    def arrived(self) -> int | None:
        with self._path.open() as file:
            return sum(1 for _ in file)

    def remove(self) -> None:
        self._path.unlink()

    @property
    def _path(self) -> Path:
        return self.place / f"{self.case}.jsonl"


RECORDERS: dict[str, type[Recorder]] = {
    "off": Recorder,
    "rank-logs": RankLogs,
    "sqlite": Sqlite,
    "sqlite-batch": SqliteBatch,
    "postgresql": Postgresql,
    "postgresql-batch": PostgresqlBatch,
    "duckdb-writer": DuckdbWriter,
    "queue": Queue,
}


def wait_for_all(comm: Any) -> None:
    """Wait for all ranks, asleep: who spins takes the core from those that are waited for."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(0.0005)

"""Recorders that a program needs no tracer for: files and databases that it writes itself."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import Any

from peers import FIELDS, TEXT, Recorder

COLUMNS = "time bigint, i bigint, a double precision, b double precision, c integer, d bigint, e real, t text"
INSERT = "insert into event values (?, ?, ?, ?, ?, ?, ?, ?)"


class Logging(Recorder):
    """A line of text for each event, by the module of that name."""

    def open(self) -> None:
        """Make a logger that writes to a file and nowhere else."""
        import logging

        self._logger = logging.getLogger("events")
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._handler = logging.FileHandler(self.place / "events.log")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._logger.addHandler(self._handler)

    def record(self, first: int, count: int) -> None:
        """Record events."""
        info, text = self._logger.info, TEXT
        for number in range(first, first + count):
            info("event %d %r %r %d %d %r %s", number, 1.5, 2.5, 3, 4, 5.5, text)

    def close(self) -> None:
        """Close the file."""
        self._handler.close()

    def read(self) -> list[int]:
        """Return the numbers of whole lines."""
        lines = (self.place / "events.log").read_text().splitlines()
        return [int(line.split(" event ")[1].split()[0]) for line in lines if line.endswith(TEXT)]


class Lines(Recorder):
    """A line of JSON for each event."""

    buffering = -1

    def open(self) -> None:
        """Open a file."""
        import orjson

        self._dumps, self._option = orjson.dumps, orjson.OPT_APPEND_NEWLINE
        self._file = (self.place / "events.jsonl").open("ab", buffering=self.buffering)

    def record(self, first: int, count: int) -> None:
        """Record events."""
        write, dumps, option, now, text = self._file.write, self._dumps, self._option, time.time_ns, TEXT
        for number in range(first, first + count):
            event = {"time": now(), "i": number, "a": 1.5, "b": 2.5, "c": 3, "d": 4, "e": 5.5, "t": text}
            write(dumps(event, option=option))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> list[int]:
        """Return the numbers of whole lines."""
        lines = (self.place / "events.jsonl").read_bytes().split(b"\n")[:-1]
        return [json.loads(line)["i"] for line in lines]


class LinesThrough(Lines):
    """The same without a buffer: each line is the kernel's when the call returns."""

    buffering = 0


class Sqlite(Recorder):
    """A row for each event, in a transaction of its own; its log is not synced at each."""

    at_once = 1
    settings = ("pragma journal_mode = wal", "pragma synchronous = normal")

    def open(self) -> None:
        """Make a table."""
        self._database = sqlite3.connect(self.place / "events.sqlite", isolation_level=None)
        for setting in self.settings:
            self._database.execute(setting)
        self._database.execute(f"create table event ({COLUMNS})")
        self._in_transaction = 0

    def record(self, first: int, count: int) -> None:
        """Record events."""
        execute, now, text, insert = self._database.execute, time.time_ns, TEXT, INSERT
        if self.at_once == 1:
            for number in range(first, first + count):
                execute(insert, (now(), number, 1.5, 2.5, 3, 4, 5.5, text))
            return
        pending, at_once = self._in_transaction, self.at_once
        for number in range(first, first + count):
            if not pending:
                execute("begin")
            execute(insert, (now(), number, 1.5, 2.5, 3, 4, 5.5, text))
            pending += 1
            if pending == at_once:
                execute("commit")
                pending = 0
        self._in_transaction = pending

    def close(self) -> None:
        """Commit what is open, and close."""
        if self._in_transaction:
            self._database.execute("commit")
        self._database.close()

    def read(self) -> list[int]:
        """Return the numbers of committed rows."""
        with contextlib.closing(sqlite3.connect(self.place / "events.sqlite")) as database:
            return [number for (number,) in database.execute("select i from event")]


class SqliteBatch(Sqlite):
    """The same with 100 events in each transaction."""

    at_once = 100


class SqliteFull(Sqlite):
    """As SQLite comes: a journal for rolling back, synced at each transaction."""

    settings = ()


class Duckdb(Recorder):
    """A row for each event, each committed."""

    def open(self) -> None:
        """Make a table."""
        import duckdb

        self._database = duckdb.connect(str(self.place / "events.duckdb"))
        self._database.execute(f"create table event ({COLUMNS})")

    def record(self, first: int, count: int) -> None:
        """Record events."""
        execute, now, text, insert = self._database.execute, time.time_ns, TEXT, INSERT
        for number in range(first, first + count):
            execute(insert, (now(), number, 1.5, 2.5, 3, 4, 5.5, text))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def read(self) -> list[int]:
        """Return the numbers of committed rows."""
        import duckdb

        with duckdb.connect(str(self.place / "events.duckdb")) as database:
            return [number for (number,) in database.execute("select i from event").fetchall()]


class Hdf5(Recorder):
    """A data set that grows by a row for each event."""

    flushed = False

    def open(self) -> None:
        """Make a data set of rows."""
        import h5py
        import numpy as np

        kinds = ("i8", "f8", "f8", "i4", "i8", "f4", "S40")
        self._dtype = np.dtype([("time", "i8"), *zip(FIELDS, kinds, strict=True)])
        self._file = h5py.File(self.place / "events.h5", "w")
        self._rows = self._file.create_dataset("event", (0,), maxshape=(None,), chunks=(1024,), dtype=self._dtype)

    def record(self, first: int, count: int) -> None:
        """Record events."""
        import numpy as np

        rows, now, text, dtype, flush = self._rows, time.time_ns, TEXT, self._dtype, self._file.flush
        for number in range(first, first + count):
            rows.resize((number + 1,))
            rows[number] = np.array((now(), number, 1.5, 2.5, 3, 4, 5.5, text), dtype=dtype)
            if self.flushed:
                flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> list[int]:
        """Return the numbers of rows that are not empty."""
        import h5py

        with h5py.File(self.place / "events.h5", "r") as file:
            found: Any = file["event"][:]
        return [int(row["i"]) for row in found if row["t"] == TEXT.encode()]


class Hdf5Flush(Hdf5):
    """The same, flushed after each row."""

    flushed = True

"""This package's recorders, each with a floor: the least that something of its kind could cost.

- An event, compiled: one call that stores a ready row of 84 bytes and its check into a mapping; nothing is made,
  sealed or synced. In Python: ``struct.pack_into`` a mapping, without text and without a check.
- A decorated function: two clocks and a ``list.append`` around the call; with recording off, the call alone.
- A row of a batch: its bytes written to a file.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable
from typing import Any

from peers import FIELDS, TEXT, Recorder

KINDS = dict(zip(FIELDS, ("int64", "float64", "float64", "int32", "int64", "float32", "text"), strict=True))
ROWS = 500_000


class Own(Recorder):
    """A run of its own."""

    most = 1_000_000
    #: For how many units one count of :meth:`record` stands.
    unit = 1
    #: Does the least that something of the kind could be, so many times; None where none is known.
    floor: Callable[[int], None] | None = None

    def open(self) -> None:
        """Start a run."""
        import braid_hpc as braid

        self._run = braid.start("bench", log_dir=self.place / "logs")
        self.prepare()

    def prepare(self) -> None:
        """Make what is called."""

    def close(self) -> None:
        """Close the run: its log is sealed and synced."""
        self._run.close()

    def tail(self) -> str:
        """Return which half records, compiled or Python."""
        return type(self._run._log.tail).__name__


class Event(Own):
    """A row of a stream."""

    def prepare(self) -> None:
        """Make the stream."""
        self._stream = self._run.stream("event", KINDS)

    def record(self, first: int, count: int) -> None:
        """Append rows."""
        put, text = self._stream.append, TEXT
        for number in range(first, first + count):
            put(number, 1.5, 2.5, 3, 4, 5.5, text)

    def floor(self, count: int) -> None:
        """Store events into a mapping and do nothing else, by the compiled half if that runs."""
        from braid_hpc.log.choice import compiled_module

        rows = 16_384
        if (compiled := compiled_module()) is None:
            mapped, form = mmap.mmap(-1, rows * 64), struct.Struct("<qqddiqf")
            pack, now = form.pack_into, time.time_ns
            for number in range(count):
                pack(mapped, number % rows * 64, now(), number, 1.5, 2.5, 3, 4, 5.5)
            return
        payload, heap = bytes(84), 4096 + rows * 64
        mapped = mmap.mmap(-1, heap + rows * 84)
        while count > 0:
            put = compiled.Table(mapped, bytes(16), 1, rows, heap, rows * 84).append
            for number in range(min(count, rows)):
                put(31, 0, number, 1, 1, 0, payload)
            count -= rows

    def read(self) -> list[int]:
        """Compact the log, and return the numbers of the rows in the store."""
        import braid_hpc as braid

        braid.compact(self.place / "logs", self.place / "prov.duckdb")
        with braid.open(self.place / "prov.duckdb") as store:
            return [row["i"] for row in store.sql("select i from stream.event order by _row")]


class Tags(Own):
    """A record with three attributes."""

    def record(self, first: int, count: int) -> None:
        """Record data with tags."""
        data = self._run.data
        for _ in range(count):
            data("thing", tags={"energy_keV": 71.7, "scan": 7, "sample": "Nickel"})


class Batch(Own):
    """Rows that are given as columns of numbers."""

    most = 8
    unit = ROWS

    def prepare(self) -> None:
        """Make the stream and its columns."""
        import numpy as np

        kinds = {name: kind for name, kind in KINDS.items() if kind != "text"}
        self._stream = self._run.stream("batch", kinds)
        self._values: dict[str, Any] = {name: np.arange(ROWS).astype(kind) for name, kind in kinds.items()}

    def record(self, first: int, count: int) -> None:
        """Extend the stream."""
        for _ in range(count):
            self._stream.extend(self._values)

    def floor(self, count: int) -> None:
        """Write the columns to a file."""
        with (self.place / "floor").open("wb", buffering=0) as file:
            for _ in range(count):
                for column in self._values.values():
                    file.write(column)
        (self.place / "floor").unlink()


class Call(Own):
    """A call of a decorated function that does nothing."""

    def open(self) -> None:
        """Start a run, unless recording is off, and decorate the function."""
        import braid_hpc as braid

        def nothing() -> None:
            return None

        self._off = os.environ.get("BRAID_DISABLE") == "1"
        self._run = None if self._off else braid.start("bench", log_dir=self.place / "logs")
        self._plain, self._function = nothing, braid.activity(nothing)

    def record(self, first: int, count: int) -> None:
        """Call it."""
        function = self._function
        for _ in range(count):
            function()

    def floor(self, count: int) -> None:
        """Call the function between two clocks and remember them; with recording off, only call it."""
        function, kept, now = self._plain, [], time.monotonic_ns
        if self._off:
            for _ in range(count):
                function()
            return
        append = kept.append
        for _ in range(count):
            begin = now()
            function()
            append((begin, now()))

    def close(self) -> None:
        """Close the run, if there is one."""
        if self._run is not None:
            self._run.close()

    def tail(self) -> str:
        """Return which half records."""
        return "off" if self._run is None else super().tail()

"""One writer's rows, as the store takes them: tables of its streams, pairs of rows, and what the archive keeps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Protocol

import pyarrow as pa
import xxhash

from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.row_edges import EdgeReader, Stated
from braid_hpc.compaction.stream_rows import StreamReader
from braid_hpc.reading.events import Events

__all__ = ["Conversion", "RowKeeper"]


class RowKeeper(Protocol):
    """Is told what is taken of the logs, writer by writer."""

    def add_writer(self, facts: Speaker) -> None:
        """Begin with a writer."""

    def add_events(self, facts: Speaker, events: Events) -> None:
        """Take rows of it."""

    def add_batch(self, facts: Speaker, number: int, first: int, ipc: bytearray) -> None:
        """Take a large batch of one of its streams."""

    def end_writer(self, facts: Speaker, digest: str, faults: list[str]) -> list[str]:
        """Take the digest of its rows and what of its streams cannot be read; return what is to be said of them."""


class Conversion:
    """Converts what is taken of one writer, part by part.

    Parameters
    ----------
    facts : Speaker
        The writer; it knows the streams that the rows are of.
    keeper : RowKeeper
        Is told of all rows.

    Attributes
    ----------
    digest : str
        XXH3-128 of the check words of the rows that are taken; when all are.
    faults : list of str
        What cannot be read; when all are.
    """

    def __init__(self, facts: Speaker, keeper: RowKeeper) -> None:
        self._facts = facts
        self._keeper = keeper
        self.digest = ""
        self.faults: list[str] = []

    def rows(self) -> Iterator[tuple[int, pa.Table] | Stated]:
        """Yield what goes into the tables.

        Yields
        ------
        (int, pyarrow.Table) or Stated
            The writer's number of a stream, and rows of it; or pairs of rows.
        """
        facts = self._facts
        faults: list[str] = []
        columns = {number: schema.columns for number, (_, schema) in facts.streams.items()}
        self._keeper.add_writer(facts)
        keep = partial(self._keeper.add_batch, facts)
        reader = StreamReader(facts.log, columns, faults, keep)
        pairs = EdgeReader(facts.log, lambda: facts.names, faults, keep)
        digest = xxhash.xxh3_128()
        for events in facts.log.each(within=facts.taken):
            digest.update(events["word"].tobytes())
            self._keeper.add_events(facts, events)
            yield from reader.tables(events, facts.log.utc)
            yield from pairs.stated(events, facts.log.utc)
        self.digest = digest.hexdigest()
        self.faults = self._keeper.end_writer(facts, self.digest, faults)

"""What is to be said of the messages and collective calls in logs that no store has yet."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from braid_hpc.compaction.collective_calls import CALL_STREAM
from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.ledger import Ledger, write_writers
from braid_hpc.compaction.messages import STREAM, match_messages
from braid_hpc.compaction.rows import BIGINT, INTEGER, TEXT
from braid_hpc.compaction.stream_rows import StreamReader
from braid_hpc.compaction.stream_store import StreamTables
from braid_hpc.compaction.write import Writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.snapshots.connect import connect_building
from braid_hpc.snapshots.empty import write_empty
from braid_hpc.vocabulary.codes import Code

__all__ = ["tell_messages"]

_CANCELLED = """
    select printf('cancelled: %d %s from %s to rank %d with %s on communicator %s', sum(messages)::bigint, any_value(
        if(side = 'sent', 'sends', 'receives')), if(source < 0, 'any rank', printf('rank %d', source)), dest,
        if(tag < 0, 'any tag', printf('tag %d', tag)), format('{:x}', comm)), false
    from unmatched where state = 'cancelled' group by run, comm, source, dest, tag, side
"""


def tell_messages(logs: dict[str, WriterLog], runs: dict[str, str]) -> list[tuple[str, bool]]:
    """Say which messages and collective calls are not matched, as a merge of these logs would find it.

    They are put together in a temporary file, so that memory is bounded as in a merge.

    Parameters
    ----------
    logs : dict of str to WriterLog
        By writer.
    runs : dict of str to str
        Run by writer.

    Returns
    -------
    list of (str, bool)
        Sentences, and whether each tells of something wrong; what a program cancelled is not.
    """
    speakers = [Speaker(logs[writer], runs[writer], logs[writer].ranges) for writer in sorted(logs)]
    schemas = {each.writer: _streams(each) for each in speakers}
    if not any(schemas.values()):
        return []
    with tempfile.TemporaryDirectory(prefix="braid-check-") as folder:
        file = Path(folder) / "messages.duckdb"
        write_empty(file)
        connection = connect_building(file)
        try:
            out = Writer(connection, 1)
            _write_rows(out, speakers, schemas)
            write_writers(out, speakers, Ledger.read(connection), dict.fromkeys(logs, ""))
            match_messages(out, sorted(set(runs.values())))
            found = connection.execute(
                f"select code || ': ' || message, true from problems union all {_CANCELLED} order by all"
            ).fetchall()
        finally:
            connection.close()
    return [(str(text), bool(wrong)) for text, wrong in found]


def _streams(speaker: Speaker) -> dict[int, tuple[str, Any]]:
    """Return the streams of a writer that tell of messages, by their numbers."""
    if not speaker.log.count(Code.STREAM):
        return {}
    found = {number: (name, schema) for number, name, schema, _ in speaker.facts().streams}
    return {number: each for number, each in found.items() if each[0] in (STREAM, CALL_STREAM)}


def _write_rows(out: Writer, speakers: list[Speaker], schemas: dict[str, dict[int, tuple[str, Any]]]) -> None:
    tables = StreamTables(out)
    declared = []
    for speaker in speakers:
        streams = schemas[speaker.writer]
        columns = {number: schema.columns for number, (_, schema) in streams.items()}
        for number, (name, schema) in streams.items():
            about = (json.dumps(schema.columns), json.dumps(schema.units))
            declared.append((name, tables.place(name), 0, speaker.run, speaker.writer, number, *about))
        if not streams:
            continue
        reader = StreamReader(speaker.log, columns, [])
        add = partial(_add, tables, streams, (speaker.run, speaker.log.header.get("rank"), speaker.writer))
        for events in speaker.log.each(Code.ROW, Code.BATCH):
            for number, table in reader.tables(events, speaker.log.utc):
                add(number, table)
    tables.flush()
    kinds = (("stream", TEXT), ("place", TEXT), ("id", BIGINT), ("run", TEXT), ("writer", TEXT), ("number", INTEGER))
    out.rows("stream_rows", (*kinds, ("columns", TEXT), ("units", TEXT)), declared)


def _add(tables: StreamTables, streams: dict[int, tuple[str, Any]], about: Any, number: int, table: Any) -> None:
    name, schema = streams[number]
    tables.add(name, schema.columns, table, about)

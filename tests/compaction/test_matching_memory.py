"""Memory of matching is bounded: halves of messages are columns in a file, and no objects of Python's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from braid_hpc.snapshots.connect import MEMORY

#: What a merge may need beyond what DuckDB is given: the interpreter, its packages, and what DuckDB does not count.
BEYOND = 400 << 20

#: A store as it is when the rows of a run were written: a ring of ranks whose messages all have both halves, and calls.
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from braid_hpc.compaction.collective_calls import CALL_COLUMNS, CALL_STREAM
from braid_hpc.compaction.messages import COLUMNS, STREAM, match_messages
from braid_hpc.compaction.write import Writer
from braid_hpc.snapshots.connect import connect_building
from braid_hpc.snapshots.empty import create_tables

folder, ranks, each, calls, per = Path(sys.argv[1]), *map(int, sys.argv[2:])
connection = connect_building(folder / "large.duckdb")
create_tables(connection)
connection.execute("begin transaction")
about = {"ranks": ranks, "each": each, "calls": calls, "per": per}
header = json.dumps({"size": ranks})
connection.execute(
    f"insert into writers select printf('%032d', r), 'run', r, null, '{header}', 1 from range({ranks}) t(r)")
connection.execute(
    "insert into writer_states by name select writer, 'closed' as state, 'ok' as outcome, 0 as events, 0 as rejected, "
    "0 as lost, []::varchar[] as faults, 1 as snapshot from writers")
connection.execute(
    f"insert into activity_rows by name select row_number() over (order by r, a) as id, printf('%d-%d', r, a) as uid, "
    f"'step' as name, row_number() over (order by r, a) as version, 'run' as run, printf('%032d', r) as writer, "
    f"a as sequence, make_timestamp_ns(a) as begin_time, 1 as snapshot "
    f"from range({ranks}) t(r), range({each} // {per} + 1) u(a)")
for stream, columns in ((STREAM, COLUMNS), (CALL_STREAM, CALL_COLUMNS)):
    connection.execute(
        "insert into stream_rows by name select ? as stream, ? as place, 0 as id, 'run' as run, writer, 0 as number, "
        "? as columns, '{}' as units, 1 as snapshot from writers", [stream, stream, json.dumps(columns)])
half = ("'run' as _run, printf('%032d', {rank}) as _writer, 7::uint64 as comm, {rank}::int32 as rank, {what}::uint8 as "
    "what, {peer}::int32 as peer, (n % 4)::int32 as tag, {number} as number, 800::int64 as bytes, 'd' as type, "
    "1::uint32 as thread, n // {per} as activity, '' as record")
sent = half.format(rank="r", what=1, peer=f"((r + 1) % {ranks})", number="n // 4", per=per)
taken = half.format(rank="r", what=3, peer=f"((r - 1 + {ranks}) % {ranks})", number="n", per=per)
connection.execute(
    f"create table stream.mpi_messages as select {sent} from range({ranks}) t(r), range({each}) u(n) "
    f"union all select {taken} from range({ranks}) t(r), range({each}) u(n)")
connection.execute(
    f"create table stream.mpi_collectives as select 'run' as _run, printf('%032d', r) as _writer, 7::uint64 as comm, "
    f"r::int32 as rank, {ranks}::int32 as size, 0::int32 as first, n as number, -1::int64 as repeat, "
    f"'allreduce' as call, -1::int32 as root, 8::int64 as bytes, 1::uint32 as thread, "
    f"n * {each} // {per} // {calls} as activity "
    f"from range({ranks}) t(r), range({calls}) u(n)")
before, began = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
match_messages(Writer(connection, 1), ["run"])
seconds, after = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF)
(rows,) = connection.execute("select count(*) from stream.mpi_messages").fetchall()[0]
told = {
    "rows": rows, "peak": after.ru_maxrss << 10, "before": before.ru_maxrss << 10, "seconds": seconds,
    "states": connection.execute("select distinct state from channels").fetchall(),
    "messages": connection.execute(
        "select sum(messages)::bigint from messages m where m.child not in (select id from collective_rows) "
        "and m.parent not in (select id from collective_rows)").fetchall()[0][0],
    "collectives": connection.execute("select count(*), sum(calls)::bigint from collectives").fetchall(),
    "matched": connection.execute("select matched, state from communicators").fetchall(),
}
print(json.dumps(told))
"""


def matched(folder: Path, *sizes: int) -> dict[str, object]:
    folder.mkdir(exist_ok=True)
    # From a file: DuckDB takes a program without one for a person, and shows how far it is.
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(folder / "program.py"), str(folder), *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_ring_of_ranks_is_matched_as_it_was_made(tmp_path: Path) -> None:
    """What is measured below is right: every message, every call."""
    found = matched(tmp_path / "small", 4, 200, 40, 20)
    assert found["states"] == [["matched"]]
    assert (found["rows"], found["messages"]) == (4 * 200 * 2, 4 * 200)
    assert found["collectives"] == [[10, 40]]
    assert found["matched"] == [[40, "matched"]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_million_halves_of_64_ranks_are_matched_in_bounded_memory(tmp_path: Path) -> None:
    found = matched(tmp_path / "large", 64, 15_625, 5_000, 125)
    assert found["rows"] == 2_000_000
    assert found["messages"] == 1_000_000
    assert found["states"] == [["matched"]]
    assert found["matched"] == [[5_000, "matched"]]
    assert isinstance(found["peak"], int)
    assert found["peak"] < MEMORY + BEYOND

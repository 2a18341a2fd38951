"""A run and its process: what the log says of it, forks, threads at once, and a kill."""

from __future__ import annotations

import itertools
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.vocabulary.codes import Code, WriterState
from tests.rank_logs import log_of, read_logs, read_only_log, said, small_tails
from tests.ranks import RunRanks, wait_for

pytestmark = pytest.mark.usefixtures("tail")


# --------------------------------------------------------------------------------------------- of the process


def test_the_header_describes_the_process(run: braid.Run) -> None:
    """And the store that compaction takes by default."""
    header = log_of(run).header
    assert (header["job"], header["pid"], header["python"]) == ("recorder", os.getpid(), sys.version.split()[0])
    assert (header["argv"], header["cwd"]) == (sys.orig_argv, os.getcwd())
    assert header["store"] is None


def test_packages_imported_later_are_said_at_the_end(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Those of the beginning are not repeated; and nothing heavy is imported by recording."""
    script = """
    import braid_hpc as braid
    import sys
    with braid.job("fit") as run:
        run.data("x")
        import hypothesis
    print(sorted({"pyarrow", "duckdb", "numba", "numpy", "h5py"} & set(sys.modules)))
    """
    assert run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")}).stdout == "[]\n"
    packages: dict[str, str] = {}
    for row in said(read_only_log(tmp_path / "logs"), Code.INFO):
        if row.name == "packages":
            assert not packages.keys() & row.value.keys()
            packages |= row.value
    assert {"braid_hpc", "msgspec", "hypothesis"} <= set(packages)


# --------------------------------------------------------------------------------------------- forks


def in_child(work: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_says_whose_records_it_means(run: braid.Run) -> None:
    """Its very first call names a record of its parent as the parent's, not as its own of the same number."""
    record = run.data("parent")
    before = {path: path.read_bytes() for path in run._log.directory.iterdir()}
    in_child(lambda: run.data("child", derived_from=[record, record.on_all_ranks()]))
    assert {path: path.read_bytes() for path in run._log.directory.iterdir()} == before
    _, child = read_logs(run.log_dir)
    (row,) = said(child, Code.DECLARE)
    assert row.value["parents"] == [bytes(record), [bytes(record)]]


def test_a_child_within_an_activity(run: braid.Run) -> None:
    """What it generates, begins, uses and ends is said with the writer of that activity."""
    with run.activity("outer") as outer:

        def work() -> None:
            run.data("child")
            with run.activity("inner"):
                pass
            outer.use("data:x")

        in_child(work)
    _, child = read_logs(run.log_dir)
    names = child.names()
    for row in said(child, Code.DECLARE, Code.BEGIN, Code.USE):
        assert (row.subject, names[row.object]) == (outer.sequence, run.writer.hex())
    assert [row.object for row in said(child, Code.END)] == [0]


def test_a_child_goes_on_with_a_stream(run: braid.Run) -> None:
    """Declared again in its own log; a large batch as its very first call stands in a file of its own."""
    stream = run.stream("s", {"x": "float64"})
    stream.extend({"x": np.zeros(5_000)})
    before = {path: path.read_bytes() for path in run._log.directory.iterdir()}
    parent = run.writer

    def work() -> None:
        assert stream.extend({"x": np.ones(5_000)}).writer != parent
        stream.append(2.0)

    in_child(work)
    assert {path: path.read_bytes() for path in run._log.directory.iterdir()} == before
    stream.append(3.0)
    mine, child = read_logs(run.log_dir)
    (schema,) = said(child, Code.STREAM)
    assert (schema.name, schema.value) == ("s", {"columns": [["x", "float64"]]})
    assert (child.directory / "stream-0001.arrows").exists()
    assert [len(said(log, Code.ROW)) for log in (mine, child)] == [1, 1]
    assert child.faults == []


def test_a_child_that_leaves_the_block(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Both processes run to the end of the script: each closes its own log, once."""
    script = """
    import os
    import braid_hpc as braid
    with braid.job("fork") as run:
        run.data("before")
        child = os.fork()
        run.data("child" if child == 0 else "parent")
    if child:
        os.waitpid(child, 0)
    else:
        # This one recorded nothing, and leaves no log.
        with braid.job("silent") as run:
            if os.fork() == 0:
                raise SystemExit
            os.wait()
    """
    run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")})
    logs = read_logs(tmp_path / "logs")
    assert [[row.name for row in said(log, Code.DECLARE)] for log in logs] == [["before", "parent"], ["child"], []]
    assert {log.state for log in logs} == {WriterState.CLOSED}
    assert [log.header["job"] for log in logs] == ["fork", "fork", "silent"]


def test_programs_started_by_subprocess_are_not_forks(run: braid.Run) -> None:
    """They neither touch the log nor leave one."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    subprocess.run(["true"], check=True, preexec_fn=lambda: None)
    run.data("after")
    (log,) = read_logs(run.log_dir)
    assert [row.name for row in said(log, Code.DECLARE)] == ["after"]


# --------------------------------------------------------------------------------------------- at once, and killed


def test_threads_and_handlers_record_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sort of call from several threads, a signal handler in the midst of them: all of it is in the log."""
    small_tails(monkeypatch, rows=100, heap=1 << 14)
    handled = itertools.count()
    with braid.job("threads", log_dir=tmp_path / "logs") as run:
        streams: list[Any] = []

        def work(me: int) -> None:
            # Declared by all at once: one stream, or one for each.
            own = run.stream(f"own-{me}", {"n": "int32", "t": "text"})
            shared = run.stream("shared", {"me": "int32", "n": "int32"})
            streams.append(own)
            for n in range(150):
                record = run.data(f"{me}/{n}", tags={"n": n})
                with run.activity(f"act-{me}", used=record, params={"n": n}):
                    run.model(f"m-{me}", derived_from=record)
                own.append(n, f"{me}-{n}")
                shared.append(me, n)

        def handle(number: int, frame: object) -> None:
            n = next(handled)
            run.fact(f"handled-{n}", n)
            signal.setitimer(signal.ITIMER_REAL, 0.001)

        old = signal.signal(signal.SIGALRM, handle)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            threads = [threading.Thread(target=work, args=(me,)) for me in range(1, 4)]
            for thread in threads:
                thread.start()
            work(0)
            for thread in threads:
                thread.join()
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            sys.setswitchinterval(interval)
    log = read_only_log(tmp_path / "logs")
    assert (log.state, log.faults) == (WriterState.CLOSED, [])
    records = [row.name for row in said(log, Code.DECLARE)]
    assert sorted(name for name in records if "/" in name) == sorted(f"{me}/{n}" for me in range(4) for n in range(150))
    facts = [name for name in records if name.startswith("handled")]
    assert facts
    assert sorted(facts) == sorted(f"handled-{n}" for n in range(len(facts)))
    begins, ends = said(log, Code.BEGIN), said(log, Code.END)
    assert len(begins) == len(ends) == len({row.subject for row in ends}) == 600
    owners = {row.sequence: row for row in begins}
    for row in said(log, Code.DECLARE):
        if row.name.startswith("m-"):
            begin = owners[row.subject]
            assert begin.name == f"act-{row.name[2:]}"
            assert begin.value["used"] == row.value["parents"]
    numbers = {row.other: row.name for row in said(log, Code.STREAM)}
    assert len(numbers) == len(said(log, Code.STREAM))
    rows: dict[str, list[bytes]] = {}
    for row in said(log, Code.ROW):
        rows.setdefault(numbers[row.other], []).append(row.payload)
    for me in range(4):
        assert rows[f"own-{me}"] == [struct.pack("<iI", n, len(f"{me}-{n}")) + b"%d-%d" % (me, n) for n in range(150)]
    assert sorted(rows["shared"]) == sorted(struct.pack("<ii", me, n) for me in range(4) for n in range(150))


KILLED = """
import mmap, os, sys
import braid_hpc as braid
# Stored as one word: struct.pack_into writes zeros first, and SIGKILL may come in between.
counted = memoryview(mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 8)).cast("Q")
with braid.job("killed") as run:
    stream = run.stream("s", {"n": "int64"})
    model = None
    n = 0
    while True:
        model = run.model("m", digest=f"x:{n:x}", derived_from=[model])
        with run.activity("act", used=model, params={"n": n}):
            stream.append(n)
        n += 1
        counted[0] = n
"""


def test_a_killed_program_has_lost_nothing(tmp_path: Path) -> None:
    """A program of its own, killed at a random moment: whatever calls had returned, their events are there."""
    dice = random.Random(17)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    for trial in range(5):
        logs, counter = tmp_path / f"logs-{trial}", tmp_path / f"count-{trial}"
        counter.write_bytes(bytes(8))
        with subprocess.Popen(
            [sys.executable, script, counter], env=os.environ | {"BRAID_LOG_DIR": str(logs)}
        ) as process:

            def count(counter: Path = counter) -> int:
                return int(struct.unpack("<Q", counter.read_bytes())[0])

            wait_for(count, "the first events")
            time.sleep(dice.random() * 0.1)
            process.kill()
        log = read_only_log(logs)
        rows = [struct.unpack("<q", row.payload)[0] for row in said(log, Code.ROW)]
        assert (log.state, log.faults) == (WriterState.OPEN, [])
        assert rows == list(range(len(rows)))
        assert count() <= len(rows) <= count() + 1
        models = said(log, Code.DECLARE)
        assert [row.value["digest"] for row in models] == [f"x:{n:x}" for n in range(len(models))]
        assert [row.value.get("parents") for row in models[1:]] == [[row.sequence] for row in models[:-1]]
        assert count() <= len(said(log, Code.END)) <= len(models)

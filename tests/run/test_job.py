"""The ways in, and how a run ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, Outcome, WriterState
from braid_hpc.vocabulary.errors import StorageError
from tests.rank_logs import read_logs, read_only_log, said
from tests.ranks import RunRanks

BEGIN = """
import os, signal, sys
import braid_hpc as braid
"""


def left(run_ranks: RunRanks, tmp_path: Path, body: str, *, code: int, lenient: bool = False) -> WriterLog:
    """Run a script that ends in its own way, and give the log that it leaves."""
    env = {"BRAID_LOG_DIR": str(tmp_path / "logs"), "BRAID_STRICT": None if lenient else "1"}
    done = run_ranks(0, BEGIN + body, env=env, check=False)
    assert done.returncode == code, done.describe()
    return read_only_log(tmp_path / "logs")


def names(log: WriterLog) -> list[str]:
    return [row.name for row in said(log, Code.DECLARE)]


# --------------------------------------------------------------------------------------------- ways in


def test_a_block(tmp_path: Path) -> None:
    """The run is the present one within it; its log says when it began and that it is over."""
    with braid.job("fit", log_dir=tmp_path / "logs", store="prov.duckdb") as run:
        assert run
        assert braid.current_run() is run
        run.fact("a", 1)
    assert not braid.current_run()
    log = read_only_log(tmp_path / "logs")
    assert (log.state, log.outcome) == (WriterState.CLOSED, Outcome.OK)
    assert (log.header["job"], log.header["rank"], log.header["size"]) == ("fit", None, None)
    assert log.header["store"] == str(Path("prov.duckdb").absolute())
    (opened,) = said(log, Code.OPEN)
    assert opened.name == "fit"
    assert names(log) == ["a"]


def test_a_decorated_main(tmp_path: Path) -> None:
    """With a name or by its own; called again, it is another run; arguments and results are the function's."""

    @braid.job("fit", log_dir=tmp_path / "one")
    def main(steps: int, *, more: int = 0) -> int:
        """Fit."""
        braid.current_run().fact("steps", steps)
        return steps + more

    @braid.job
    def plain() -> str:
        return str(braid.current_run().log_dir)

    assert (main(3), main(3, more=4), main.__name__, main.__doc__) == (3, 7, "main", "Fit.")
    logs = read_logs(tmp_path / "one")
    assert [log.header["ordinal"] for log in logs][1] == logs[0].header["ordinal"] + 1
    # The second declares the same steps, so that the two facts are one version, of two runs.
    assert [names(log) for log in logs] == [["steps"], ["steps"]]
    assert plain() == os.environ["BRAID_LOG_DIR"]
    assert read_only_log(tmp_path / "logs").header["job"] == "plain"


def test_runs_within_runs(tmp_path: Path) -> None:
    """The inner one is the present one; each has a log."""
    with braid.job("outer", log_dir=tmp_path / "logs") as outer:
        with braid.job("inner", log_dir=tmp_path / "logs") as inner:
            assert braid.current_run() is inner
            inner.data("a")
        assert braid.current_run() is outer
        outer.data("b")
    assert [(log.header["job"], names(log)) for log in read_logs(tmp_path / "logs")] == [
        ("outer", ["b"]),
        ("inner", ["a"]),
    ]


def test_a_flat_script(run_ranks: RunRanks, tmp_path: Path) -> None:
    """One line begins the run, the end of the script ends it."""
    log = left(run_ranks, tmp_path, "run = braid.start('flat')\nrun.fact('a', 1)\n", code=0)
    assert (log.state, log.outcome, names(log)) == (WriterState.CLOSED, Outcome.OK, ["a"])


def test_a_run_that_is_closed_by_hand_is_over(tmp_path: Path) -> None:
    """It is not the present one any more, whatever way it was begun."""
    run = braid.start("flat", log_dir=tmp_path / "logs")
    assert braid.current_run() is run
    run.close()
    run.close()
    assert not braid.current_run()
    with braid.job("fit", log_dir=tmp_path / "logs") as run:
        run.close(outcome=Outcome.EXITED)
        assert braid.current_run() is not run
    assert [log.outcome for log in read_logs(tmp_path / "logs")] == [Outcome.OK, Outcome.EXITED]


def test_job_takes_a_function_and_nothing_else() -> None:
    """A misuse of the decorator is told at once."""
    with pytest.raises(TypeError, match="decorates a function"):
        braid.job("fit")(5)


def test_a_generator_is_a_job(tmp_path: Path) -> None:
    """Its run begins with its first step and ends with its last one; what is sent reaches it."""

    @braid.job("steps", log_dir=tmp_path / "logs")
    def steps() -> Generator[int, str, str]:
        heard = yield 1
        braid.current_run().data(heard)
        return "done"

    made = steps()
    assert not braid.current_run()
    assert next(made) == 1
    assert braid.current_run().name == "steps"
    with pytest.raises(StopIteration, match="done"):
        made.send("heard")
    assert not braid.current_run()
    log = read_only_log(tmp_path / "logs")
    assert (log.outcome, names(log)) == (Outcome.OK, ["heard"])


@pytest.mark.parametrize(
    ("how", "outcome"), [("end", Outcome.OK), ("throw", Outcome.FAILED), ("close", Outcome.EXITED)]
)
def test_an_asynchronous_generator_is_a_job(tmp_path: Path, how: str, outcome: Outcome) -> None:
    """From its first step to its end, whichever it is; what is sent and thrown reaches it."""
    told: list[str] = []

    @braid.job("steps", log_dir=tmp_path / "logs")
    async def steps() -> AsyncGenerator[int, str]:
        try:
            heard = yield 1
            braid.current_run().data(heard)
            yield 2
        finally:
            told.append("finally")

    async def main() -> None:
        made = steps()
        assert not braid.current_run()
        assert await anext(made) == 1
        assert await made.asend("heard") == 2
        assert braid.current_run().name == "steps"
        if how == "end":
            with pytest.raises(StopAsyncIteration):
                await anext(made)
        elif how == "throw":
            with pytest.raises(KeyError):
                await made.athrow(KeyError("x"))
        else:
            await made.aclose()

    asyncio.run(main())
    assert told == ["finally"]
    assert not braid.current_run()
    log = read_only_log(tmp_path / "logs")
    assert (log.outcome, names(log)) == (outcome, ["heard"])


# --------------------------------------------------------------------------------------------- ends


FAIL = "    raise ValueError('wrong é \\ud800')\n"


@pytest.mark.parametrize(
    ("body", "code", "outcome", "error"),
    [
        ("    pass\n", 0, Outcome.OK, None),
        (FAIL, 1, Outcome.FAILED, "ValueError: wrong"),
        ("    sys.exit()\n", 0, Outcome.OK, None),
        ("    sys.exit(0)\n", 0, Outcome.OK, None),
        ("    sys.exit(3)\n", 3, Outcome.EXITED, "SystemExit: 3"),
        ("    sys.exit('told')\n", 1, Outcome.EXITED, "SystemExit: told"),
        ("    signal.raise_signal(signal.SIGINT)\n", -signal.SIGINT, Outcome.EXITED, "KeyboardInterrupt: "),
    ],
)
@pytest.mark.parametrize("way", ["block", "decorator"])
def test_ends(
    run_ranks: RunRanks, tmp_path: Path, way: str, body: str, code: int, outcome: Outcome, error: str | None
) -> None:
    """Every way out of a block or a main is recorded, with the exit code that the program would have anyway."""
    head = "with braid.job('fit') as run:\n" if way == "block" else "@braid.job('fit')\ndef main():\n"
    body = head + "    braid.current_run().fact('a', 1)\n" + body + ("main()\n" if way == "decorator" else "")
    log = left(run_ranks, tmp_path, body, code=code)
    assert (log.state, log.outcome, names(log)) == (WriterState.CLOSED, outcome, ["a"])
    assert log.close is not None
    assert (log.close.error or "").startswith(error or "")
    assert (log.close.error is None) == (error is None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("os._exit(4)\n", 4),
        ("signal.raise_signal(signal.SIGKILL)\n", -signal.SIGKILL),
        ("signal.raise_signal(signal.SIGTERM)\n", -signal.SIGTERM),
        ("import ctypes\nctypes.string_at(0)\n", -signal.SIGSEGV),
        ("os.abort()\n", -signal.SIGABRT),
        ("os.execv('/bin/true', ['true'])\n", 0),
    ],
)
def test_ends_that_nobody_sees(run_ranks: RunRanks, tmp_path: Path, body: str, code: int) -> None:
    """Everything recorded before them is there, and the log is open: it does not claim an end."""
    body = "run = braid.start('flat')\nfor n in range(500):\n    run.data(f'd{n}')\n" + body
    log = left(run_ranks, tmp_path, body, code=code)
    assert (log.state, log.faults) == (WriterState.OPEN, [])
    assert names(log) == [f"d{n}" for n in range(500)]


def test_exec_into_another_recording_program(run_ranks: RunRanks, tmp_path: Path) -> None:
    """The new program has a log of its own, and the first one's is as it was."""
    script = (
        BEGIN
        + """
run = braid.start('flat')
run.data('one' if len(sys.argv) == 1 else 'two')
if len(sys.argv) == 1:
    os.execv(sys.executable, [sys.executable, __file__, 'again'])
"""
    )
    run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")})
    one, two = read_logs(tmp_path / "logs")
    assert (names(one), one.state) == (["one"], WriterState.OPEN)
    assert (names(two), two.state) == (["two"], WriterState.CLOSED)
    assert one.header["pid"] == two.header["pid"]
    assert one.writer != two.writer


def test_the_users_own_handler_runs(run_ranks: RunRanks, tmp_path: Path) -> None:
    """SIGTERM is not ours: the program's handler ends it as it likes."""
    body = """
def handle(number, frame):
    run.fact("handled", number)
    sys.exit(9)
signal.signal(signal.SIGTERM, handle)
with braid.job("fit") as run:
    signal.raise_signal(signal.SIGTERM)
"""
    log = left(run_ranks, tmp_path, body, code=9)
    assert (names(log), log.state, log.outcome) == (["handled"], WriterState.CLOSED, Outcome.EXITED)


def test_what_is_recorded_after_the_end_is_told_once(run_ranks: RunRanks, tmp_path: Path) -> None:
    """No log is open any more that could keep it."""
    script = (
        BEGIN
        + """
with braid.job("fit") as run:
    stream = run.stream("s", {"a": "int32"})
for n in range(3):
    assert not run.data("late")
    assert stream.append(1).count == 0
    with run.activity("late") as activity:
        activity.data("later")
assert not run
"""
    )
    done = run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs"), "BRAID_STRICT": None})
    assert done.stderr.count("braid:") == 1
    assert "job 'fit' has ended" in done.stderr
    assert read_only_log(tmp_path / "logs").state == WriterState.CLOSED


# --------------------------------------------------------------------------------------------- no log


@pytest.mark.parametrize("place", ["below a file", "/proc/braid", "a\0b"])
def test_where_no_log_can_be_written_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """With a null run and one sentence on the error output; nothing is raised, not even for root."""
    monkeypatch.delenv("BRAID_STRICT")
    (tmp_path / "file").touch()
    log_dir = tmp_path / "file" / "logs" if place == "below a file" else place
    with braid.job("fit", log_dir=log_dir) as run:
        assert not run
        assert not run.fact("a", 1)
        assert braid.current_run() is run
    assert not braid.start("flat", log_dir=log_dir)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert all("is not recorded on this rank" in line for line in told)


def test_strict_raises_where_no_log_can_be_written(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="BRAID_LOG_DIR"), braid.job("fit", log_dir=tmp_path / "file" / "logs"):
        pass


# --------------------------------------------------------------------------------------------- ranks and workers


@pytest.mark.mpi_matrix
def test_each_rank_has_its_log(run_ranks: RunRanks, tmp_path: Path) -> None:
    """With its rank and size, without any call on the communicator."""
    script = (
        BEGIN
        + """
with braid.job("fit", comm="not even looked at") as run:
    run.data(f"rank-{run.rank}")
"""
    )
    run_ranks(4, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")})
    logs = sorted(read_logs(tmp_path / "logs"), key=lambda log: log.header["rank"])
    assert [(log.header["rank"], log.header["size"], names(log)) for log in logs] == [
        (n, 4, [f"rank-{n}"]) for n in range(4)
    ]
    assert {log.state for log in logs} == {WriterState.CLOSED}
    # Versions of packages are said once for the run.
    assert [bool([row for row in said(log, Code.INFO) if row.name == "packages"]) for log in logs] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_close_their_logs(run_ranks: RunRanks, tmp_path: Path, method: str) -> None:
    """Although such processes end by os._exit; a spawned one has no run, and records nothing."""
    script = """
import multiprocessing, os
import braid_hpc as braid

def work(n):
    run = braid.current_run()
    run.data(f"worker-{n}")
    return bool(run)

if __name__ == "__main__":
    context = multiprocessing.get_context("METHOD")
    with braid.job("pool") as run:
        run.data("parent")
        with context.Pool(2) as pool:
            print(pool.map(work, range(6), chunksize=1))
            pool.close()
            pool.join()
""".replace("METHOD", method)
    done = run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")})
    assert done.stdout == f"{[method == 'fork'] * 6}\n"
    parent, *workers = read_logs(tmp_path / "logs")
    assert names(parent) == ["parent"]
    assert sorted(name for log in workers for name in names(log)) == [
        f"worker-{n}" for n in range(6 if method == "fork" else 0)
    ]
    assert {log.state for log in (parent, *workers)} == {WriterState.CLOSED}
    assert {log.header["parent"] for log in workers} <= {parent.writer}


def test_a_coroutine_is_recorded_until_it_is_awaited(tmp_path: Path) -> None:
    """The run of a decorated ``async def main`` is open in its body, and closed behind it."""
    import asyncio

    @braid.job("awaited", log_dir=tmp_path)
    async def main() -> bool:
        await asyncio.sleep(0)
        return bool(braid.current_run())

    assert asyncio.run(main())
    assert not braid.current_run()

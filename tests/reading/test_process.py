"""Whether a process has certainly ended: real processes, among process ids of their own too."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import braid_hpc as braid
from braid_hpc.cli.app import braid as command
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.log.header import boot_id, pid_namespace, process_start
from braid_hpc.reading import process as room
from braid_hpc.reading.directories import find_writers, read_header
from braid_hpc.reading.process import FIRST_NAMESPACE, ProcessEnd, find_end
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import Ending, WriterState
from tests.rank_logs import elsewhere

APART = ("unshare", "--pid", "--fork", "--kill-child")

#: Records within a task, says so, and goes on until it is killed or its input ends.
RECORDS = """
import os, pathlib, sys, time
import braid_hpc as braid

@braid.task(version="1", name="wait")
def wait(x: int) -> int:
    print("recorded", os.getpid(), flush=True)
    sys.stdin.read()
    return x

with braid.job("job"):
    for n in range(int(os.environ.get("MANY", "0"))):
        braid.current_run().data(f"d{n}", digest=f"x:{n}")
    while "MANY" in os.environ and not list(pathlib.Path(os.environ["BRAID_LOG_DIR"]).glob("*/events.sums")):
        time.sleep(0.01)
    wait(1)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the program above, as it is or in namespaces of its own, and wait until it is within its task."""
    started = []

    def start(*before: str, logs: Path = tmp_path / "logs", **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*before, sys.executable, "-c", RECORDS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "BRAID_LOG_DIR": str(logs), **env},
        )
        started.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said.startswith("recorded"):
            process.kill()
            pytest.fail(process.communicate()[1])
        return process

    yield start
    for process in started:
        process.kill()
        with process:
            pass


@pytest.fixture
def apart() -> None:
    """Skip where nobody may make a namespace of process ids."""
    tried = subprocess.run([*APART, "--mount-proc", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no namespace of process ids can be made here: {tried.stderr.strip()}")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def archived(folder: Path) -> dict[str, Any]:
    """What the archive of the first commit says of the only log."""
    (path,) = folder.glob("prov.duckdb.d/logs/1-*/writers.jsonl")
    (line,) = path.read_text().splitlines()
    return dict(json.loads(line))


def header_of(logs: Path) -> dict[str, Any]:
    (directory,) = find_writers(logs)
    return read_header(directory)[0]


def within(*command: str) -> Any:
    """Ask in namespaces of their own, with the machine's processes seen from there."""
    done = subprocess.run([*APART, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def look(logs: Path) -> tuple[str, ...]:
    """A command that prints how the process of the only log is said to have ended."""
    code = (
        "import json; from pathlib import Path; from braid_hpc.reading.directories import find_writers; "
        "from braid_hpc.reading.survey import read_writer; "
        f"(directory,) = find_writers(Path({str(logs)!r})); end = read_writer(directory).process; "
        "print(json.dumps(end and str(end.how)))"
    )
    return sys.executable, "-c", code


def test_a_process_is_gone_when_it_was_killed_and_not_before(start: Start, tmp_path: Path) -> None:
    process = start()
    header = header_of(tmp_path / "logs")
    assert (header["pid"], header["pid_namespace"]) == (process.pid, os.stat("/proc/self/ns/pid").st_ino)
    assert find_end(header) is None
    before = time.time_ns()
    kill(process)
    end = find_end(header)
    assert end is not None
    assert (end.how, end.code) == (Ending.GONE, None)
    assert before <= end.utc_ns <= time.time_ns()


def test_one_that_nobody_has_waited_for_has_ended(start: Start, tmp_path: Path) -> None:
    """It keeps its pid until its parent asks for its end, and does nothing any more."""
    process = start()
    header = header_of(tmp_path / "logs")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}").exists()
    assert find_end(header) is not None


def test_a_process_whose_first_thread_has_ended_may_be_at_work() -> None:
    """The kernel shows it as one that nobody has waited for."""
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=lambda: (print('up', flush=True), time.sleep(60)), daemon=True).start()\n"
        "time.sleep(0.2)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            start = process_start(process.pid)
            header = described(pid=process.pid, process_start=start)
            deadline = time.monotonic() + 30
            while ") Z " not in Path(f"/proc/{process.pid}/stat").read_text():
                assert time.monotonic() < deadline, Path(f"/proc/{process.pid}/stat").read_text()
                time.sleep(0.01)
            assert find_end(header) is None
        finally:
            process.kill()
        process.wait()
        assert find_end(header) is not None


def described(**members: Any) -> dict[str, Any]:
    """The header of this process, with other members."""
    return {
        "host": os.uname().nodename,
        "boot_id": boot_id(),
        "pid": os.getpid(),
        "pid_namespace": pid_namespace(),
        "process_start": process_start(os.getpid()),
        "clock": {"monotonic_ns": 1, "utc_ns": 1},
        **members,
    }


def test_a_pid_that_another_process_has_by_now_is_of_one_that_has_ended() -> None:
    assert find_end(described()) is None
    assert find_end(described(process_start=process_start(os.getpid()) - 1)) is not None


@pytest.mark.parametrize(
    "members",
    [
        {"pid_namespace": pid_namespace() + 1},
        {"pid_namespace": 0},
        {"pid_namespace": None},
        {"host": "another"},
        {"host": None},
        {"boot_id": ""},
        {"boot_id": None},
        {"boot_id": "of another boot", "clock": {}},
        {"pid": None},
        {"pid": "7"},
        {"pid": 0},
        {"pid": -1},
        {"pid": 1 << 80},
    ],
)
def test_where_nobody_can_tell_it_may_be_at_work(members: dict[str, Any]) -> None:
    """There is no process of that start; but whether one is among those that are seen here is not known."""
    assert find_end({**described(process_start=1), **members}) is None


def test_a_process_of_somebody_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc hides it, a signal to it is refused."""

    def refuse(pid: int, number: int) -> None:
        assert number == 0
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(room, "open", lambda *a, **k: (_ for _ in ()).throw(FileNotFoundError()), raising=False)
    assert find_end(described(pid=1 << 21)) is None


@pytest.mark.parametrize(
    ("members", "ended"),
    [
        ({}, True),
        ({"clock": {}}, False),
        ({"clock": {"utc_ns": 1 << 62}}, False),
        ({"pid_namespace": FIRST_NAMESPACE + 1}, False),
        ({"host": "another"}, False),
    ],
)
def test_a_machine_that_was_started_again(
    members: dict[str, Any], ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host name is the machine's only outside of containers; a process of an earlier boot began before this one."""
    monkeypatch.setattr(room, "pid_namespace", lambda: FIRST_NAMESPACE)
    monkeypatch.setattr("socket.gethostname", lambda: "node-7")
    header = {**described(boot_id="before", host="node-7", pid_namespace=FIRST_NAMESPACE), **members}
    found = find_end(header)
    assert (found is not None) == ended
    assert found is None or (found.how is Ending.REBOOTED and 0 < found.utc_ns < time.time_ns())
    monkeypatch.setattr("socket.gethostname", lambda: "localhost.localdomain")
    assert find_end({**header, "host": "localhost.localdomain"}) is None


def test_rows_that_are_younger_than_an_end_take_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with braid.job("job", log_dir=tmp_path):
        (directory,) = find_writers(tmp_path)
        monkeypatch.setattr("braid_hpc.reading.survey.find_end", lambda header: ProcessEnd(Ending.REBOOTED, None, 5))
        assert read_writer(directory).process is None
        future = ProcessEnd(Ending.REBOOTED, None, 1 << 62)
        monkeypatch.setattr("braid_hpc.reading.survey.find_end", lambda header: future)
        assert read_writer(directory).process == future
    # Of a log that was closed nothing is to be found out.
    assert read_writer(directory).process is None


# ------------------------------------------------------------------ namespaces


@pytest.mark.usefixtures("apart")
def test_a_process_of_another_container_may_be_at_work(start: Start, tmp_path: Path) -> None:
    """Its pid is free here, or another process has it; its boot id is the same."""
    process = start(*APART, "--mount-proc")
    header = header_of(tmp_path / "logs")
    assert header["boot_id"] == boot_id()
    assert header["pid"] < 10
    assert header["pid_namespace"] not in (0, pid_namespace())
    assert find_end(header) is None
    assert within("--mount-proc", *look(tmp_path / "logs")) is None
    kill(process)
    # All of its namespace has ended, and nobody can tell from here.
    assert find_end(header) is None


@pytest.mark.usefixtures("apart")
def test_a_look_from_within_a_container_does_not_see_what_is_outside(start: Start, tmp_path: Path) -> None:
    process = start()
    assert within("--mount-proc", *look(tmp_path / "logs")) is None
    kill(process)
    assert within("--mount-proc", *look(tmp_path / "logs")) is None
    assert find_end(header_of(tmp_path / "logs")) is not None


@pytest.mark.usefixtures("apart")
def test_within_one_container_both_are_seen(start: Start, tmp_path: Path) -> None:
    """One records there, is looked for, is killed, and is looked for again."""
    logs = tmp_path / "logs"
    code = f"""
import json, os, signal, subprocess, sys
def look():
    return json.loads(subprocess.run({list(look(logs))!r}, capture_output=True, text=True, check=True).stdout)
with subprocess.Popen([sys.executable, "-c", {RECORDS!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={{**os.environ, "BRAID_LOG_DIR": {str(logs)!r}}}) as process:
    process.stdout.readline()
    before = look()
    process.kill()
    process.wait()
print(json.dumps([before, look()]))
"""
    assert within("--mount-proc", sys.executable, "-c", code) == [None, "gone"]
    # And with /proc of the processes outside, which says nothing of when it started.
    for path in logs.iterdir():
        path.rename(tmp_path / path.name)
    assert within(sys.executable, "-c", code) == [None, "gone"]


@pytest.mark.usefixtures("apart")
def test_a_pid_of_proc_that_is_of_others_is_not_compared(start: Start, tmp_path: Path) -> None:
    """Process 1 in there is alive; what /proc says of 1 is of another one, that started at another time."""
    logs = tmp_path / "logs"
    code = f"""
import json, sys
import braid_hpc as braid
from pathlib import Path
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.survey import read_writer
import os
with braid.job("job", log_dir={str(logs)!r}):
    (directory,) = find_writers(Path({str(logs)!r}))
    log = read_writer(directory)
    print(json.dumps([os.getpid(), log.header["pid"], log.process]))
"""
    assert within(sys.executable, "-c", code) == [1, 1, None]


@pytest.mark.usefixtures("apart")
def test_the_log_of_a_process_of_another_container_is_copied_and_not_called_final(start: Start, tmp_path: Path) -> None:
    """It goes on after the merge; what it writes then comes with the next one, and the store can be made again."""
    process = start(*APART, "--mount-proc", MANY="3000")
    store = tmp_path / "prov.duckdb"
    braid.compact(tmp_path / "logs", store)
    line = archived(tmp_path)
    assert read_writer(find_writers(tmp_path / "logs")[0]).sealed
    assert (line["state"], line["linked"], line["process"]) == ("open", False, None)
    with braid.open(store) as opened:
        assert [row["status"] for row in opened.tasks()] == ["running"]
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == 0
    braid.compact(tmp_path / "logs", store)
    with braid.open(store) as opened:
        assert [row["status"] for row in opened.tasks()] == ["done"]
        digests = opened.digests()
    rebuild(store)
    with braid.open(store) as opened:
        assert opened.digests() == digests


# ------------------------------------------------------------------ in the store


def ranks(store: Path) -> list[dict[str, Any]]:
    with braid.open(store) as opened:
        return opened.sql("select state, process, exit_code, ended_time from ranks order by begin_time").to_pylist()


def test_a_task_of_a_killed_process_is_interrupted_and_stays_so(start: Start, tmp_path: Path) -> None:
    """Who merges it on another machine later does not take it back, and the archive has it."""
    store = tmp_path / "prov.duckdb"
    process = start(MANY="3000")
    braid.compact(tmp_path / "logs", store)
    (rank,) = ranks(store)
    assert (rank["state"], rank["process"], rank["ended_time"]) == ("open", None, None)
    kill(process)
    before = time.time_ns()
    merged = braid.compact(tmp_path / "logs", store)
    assert (merged.new, merged.snapshot, merged.events) == (True, 2, 0)
    with braid.open(store) as opened:
        assert [row["status"] for row in opened.tasks()] == ["interrupted"]
        assert [row["status"] for row in opened.tasks(at=1)] == ["running"]
        assert [row["status"] for row in opened.tasks(as_of=before)] == ["running"]
        (seen,) = opened.sql("select epoch_ns(ended_time) as ns from ranks").to_pylist()
        assert before <= seen["ns"] <= time.time_ns()
    assert not braid.compact(tmp_path / "logs", store).new
    elsewhere(tmp_path / "logs")
    assert not braid.compact(tmp_path / "logs", store).new
    (rank,) = told = ranks(store)
    assert (rank["state"], rank["process"], rank["exit_code"]) == ("open", "gone", None)
    rebuild(store)
    assert ranks(store) == told


def test_the_log_of_a_killed_process_is_linked(start: Start, tmp_path: Path) -> None:
    kill(start(MANY="3000"))
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    line = archived(tmp_path)
    assert (line["state"], line["linked"], line["process"][:2]) == ("open", True, ["gone", None])


@pytest.mark.parametrize("bundle", [False, True])
def test_who_ships_from_the_node_says_that_a_process_is_gone(
    bundle: bool, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who merges on another machine could not tell."""
    logs, target, store = tmp_path / "logs", tmp_path / "shared", tmp_path / "prov.duckdb"
    arguments = ["ship", str(logs), "--to", str(target), *(["--bundle"] if bundle else [])]
    process = start()
    assert CliRunner().invoke(command, arguments).exit_code == 0
    monkeypatch.setattr("braid_hpc.reading.survey.find_end", lambda header: None)
    braid.compact(target, store)
    assert [rank["process"] for rank in ranks(store)] == [None]
    kill(process)
    braid.compact(logs, store)
    assert [rank["process"] for rank in ranks(store)] == [None]
    for _ in range(2):
        assert CliRunner().invoke(command, arguments).exit_code == 0
    braid.compact(target, store)
    assert [(rank["state"], rank["process"]) for rank in ranks(store)] == [("open", "gone")]
    with braid.open(store) as opened:
        assert [row["status"] for row in opened.tasks()] == ["interrupted"]
        (seen,) = opened.sql("select ended_time > last_time as after from ranks").to_pylist()
        assert seen["after"]
    assert not list(tmp_path.rglob("*.new"))


def test_how_a_forked_process_exited_reaches_the_store(tmp_path: Path) -> None:
    """Its parent has seen it, and when."""
    before = time.time_ns()
    with braid.job("job", log_dir=tmp_path / "logs") as run:
        run.data("parent", digest="x:1")
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                braid.current_run().data("child", digest="x:2")
            os._exit(7)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("logs/*/ended.json")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.waitpid(child, 0)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    parent, told = ranks(tmp_path / "prov.duckdb")
    assert (parent["state"], parent["process"]) == ("closed", None)
    assert (told["state"], told["process"], told["exit_code"]) == (WriterState.ENDED, "exited", 7)
    with braid.open(tmp_path / "prov.duckdb") as store:
        ns = store.sql("select epoch_ns(ended_time) as ns from ranks where process = 'exited'").to_pylist()[0]["ns"]
    assert before < ns < time.time_ns()
    rebuild(tmp_path / "prov.duckdb")
    assert ranks(tmp_path / "prov.duckdb") == [parent, told]

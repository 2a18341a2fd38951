"""braid ship: as one file for a node, again and again beside the ranks, with a status file, and removed at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.cli.shipping import Shipper
from braid_hpc.reading.batches import check_batches
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.node_status import read_status
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.errors import CorruptLogError
from tests.cli.conftest import Braid
from tests.jobs import Job, digests
from tests.newer_formats import newer_major
from tests.rank_logs import tmpfs

PROGRAM = Path(sysconfig.get_path("scripts")) / "braid"


def until(holds: Callable[[], Any]) -> None:
    """Wait for something that comes; the limit is for what does not."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)


@contextmanager
def shipping(logs: Path, target: Path, *options: str, every: float = 0.1) -> Iterator[subprocess.Popen[str]]:
    """Run a shipper that stays, and have the logs of a test's other processes out of its way."""
    command = [str(PROGRAM), "ship", str(logs), "--to", str(target), "--every", str(every), *options, "--node", "n1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """Stop it; returns its exit code and what it said."""
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def arrived(target: Path) -> int:
    """Count the events that can be read where they were shipped to."""
    try:
        with opened_logs(target) as found:
            return sum(len(read_writer(each).events) for each in found)
    except (OSError, braid.BraidError):
        return 0


def working(target: Path, process: subprocess.Popen[str]) -> bool:
    """Whether a shipper has told of its first round."""
    try:
        return read_status(target / "n1.status.json").pid == process.pid
    except CorruptLogError:
        return False


def test_a_bundle_holds_all_logs_of_a_node_and_is_merged_as_they_are(cli: Braid, tmp_path: Path) -> None:
    """One file; the store made of it has the digests of one that was made of the directories."""
    with Job(tmp_path / "logs", 3, name="fit") as job:
        for run in job.runs:
            run.fact("config", 1)
    done = cli("ship", tmp_path / "logs", "--to", tmp_path / "shared", "--bundle", "--node", "n1", "--format", "json")
    assert done.exit_code == 0, done.output
    assert {row["fault"] for row in json.loads(done.stdout)} == {None}
    assert len(list((tmp_path / "shared").iterdir())) == 1
    braid.compact(tmp_path / "shared", tmp_path / "one.duckdb")
    braid.compact(tmp_path / "logs", tmp_path / "two.duckdb")
    assert digests(tmp_path / "one.duckdb") == digests(tmp_path / "two.duckdb")
    assert cli("check", tmp_path / "shared").exit_code == 0
    again = cli("ship", tmp_path / "logs", "--to", tmp_path / "shared", "--bundle", "--node", "n1", "--format", "json")
    assert {row["bytes"] for row in json.loads(again.stdout)} == {0}


def test_bundles_are_shipped_on_as_directories(cli: Braid, tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2, name="fit"):
        pass
    cli("ship", tmp_path / "logs", "--to", tmp_path / "shared", "--bundle")
    done = cli("ship", tmp_path / "shared", "--to", tmp_path / "further")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "further").iterdir()} == {
        path.name for path in (tmp_path / "logs").iterdir()
    }


@pytest.mark.parametrize("bundle", [["--bundle"], []])
def test_what_has_ended_and_arrived_is_removed_and_what_has_not_stays(
    cli: Braid, tmp_path: Path, bundle: list[str]
) -> None:
    """The log of a rank that still runs, or was killed, is left where it is."""
    ended, open_one = (braid.start("job", log_dir=tmp_path / "node") for _ in range(2))
    ended.close()
    options = [*bundle, "--remove", "--status", "--node", "n1"]
    done = cli("ship", tmp_path / "node", "--to", tmp_path / "shared", *options)
    assert done.exit_code == 0, done.output
    assert "1 of 2 logs were removed" in done.stderr
    assert [path.name for path in (tmp_path / "node").iterdir()] == [open_one.writer.hex()]
    with opened_logs(tmp_path / "shared") as found:
        states = {each.name: read_writer(each).state for each in found}
    assert states == {ended.writer.hex(): WriterState.CLOSED, open_one.writer.hex(): WriterState.OPEN}
    told = {rank.progress.writer: rank.shipped for rank in read_status(tmp_path / "shared" / "n1.status.json").writers}
    assert told == {ended.writer.hex(): True, open_one.writer.hex(): False}
    open_one.close()
    assert cli("ship", tmp_path / "node", "--to", tmp_path / "shared", *options).exit_code == 0
    # Nothing is left, so the directory goes too.
    assert not (tmp_path / "node").exists()
    assert braid.compact(tmp_path / "shared", tmp_path / "prov.duckdb").writers == 2


@pytest.mark.parametrize("bundle", [True, False])
@pytest.mark.parametrize("name", ["notes.txt", "checkpoint"])
def test_what_is_no_part_of_a_log_is_not_removed_with_it(tmp_path: Path, bundle: bool, name: str) -> None:
    """It was not shipped: a file that somebody put beside a log is nowhere else."""
    run = braid.start("job", log_dir=tmp_path / "node")
    run.close()
    other = tmp_path / "node" / run.writer.hex() / name
    if name == "checkpoint":
        other.mkdir()
        (other / "weights").write_text("x")
    else:
        other.write_text("x")
    shipper = Shipper(tmp_path / "node", tmp_path / "shared", node="n1", bundle=bundle, remove=True)
    assert [(each.removed, each.fault) for each in shipper.round().sent] == [(False, None)]
    assert other.exists()


def test_what_arrived_otherwise_than_it_is_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is looked at once more before it goes; one that changed meanwhile stays."""
    run = braid.start("job", log_dir=tmp_path / "node")
    run.close()
    source = tmp_path / "node" / run.writer.hex()
    shipper = Shipper(tmp_path / "node", tmp_path / "shared", node="n1", bundle=True, remove=True)
    settle = Shipper._settle

    def changed_meanwhile(self: Shipper, *given: Any) -> None:
        (source / "ended.json").write_bytes(b"{}")
        settle(self, *given)

    monkeypatch.setattr(Shipper, "_settle", changed_meanwhile)
    assert [each.removed for each in shipper.round().sent] == [False]
    assert source.is_dir()


def test_a_shipper_stays_until_it_is_told_to_go_and_ships_a_last_time(tmp_path: Path) -> None:
    """It waits for logs that do not exist yet, ships at once at SIGUSR1, and all of it at SIGTERM."""
    status = tmp_path / "shared" / "n1.status.json"
    with shipping(tmp_path / "node", tmp_path / "shared", "--bundle", "--status", every=3600) as process:
        until(status.exists)
        assert read_status(status).writers == []
        run = braid.start("job", log_dir=tmp_path / "node")
        stream = run.stream("n", {"n": "int64"})
        process.send_signal(signal.SIGUSR1)
        until(lambda: arrived(tmp_path / "shared"))
        for number in range(5_000):
            stream.append(number)
        told = read_status(status)
        assert (told.state, told.every, told.node) == ("watching", 3600.0, "n1")
        run.close()
        code, said = stop(process)
    assert (code, said) == (0, "")
    told = read_status(status)
    (rank,) = told.writers
    assert told.state == "final"
    assert rank.shipped
    assert (rank.progress.state, rank.progress.job) == ("closed", "job")
    assert rank.progress.events == arrived(tmp_path / "shared") >= 5_000
    with opened_logs(tmp_path / "shared") as (found,):
        assert read_writer(found).state is WriterState.CLOSED


def test_ctrl_c_is_a_last_round_too(tmp_path: Path) -> None:
    run = braid.start("job", log_dir=tmp_path / "node")
    with shipping(tmp_path / "node", tmp_path / "shared", "--bundle", every=3600) as process:
        until(lambda: arrived(tmp_path / "shared"))
        run.fact("config", 1)
        code, _ = stop(process, signal.SIGINT)
    assert code == 0
    assert arrived(tmp_path / "shared") == len(read_writer(tmp_path / "node" / run.writer.hex()).events)
    run.close()


SLOW_TO_GO = """
import signal, sys, time
import braid_hpc as braid
signal.signal(signal.SIGTERM, signal.SIG_IGN)
run = braid.start("job", log_dir=sys.argv[1])
stream = run.stream("n", {"n": "int64"})
print("begun", flush=True)
sys.stdin.readline()
for number in range(3_000):
    stream.append(number)
print("written", flush=True)
sys.stdin.readline()
"""


def test_what_a_rank_writes_after_the_signal_arrives_too(tmp_path: Path) -> None:
    """Slurm signals all processes of a job, and kills them half a minute later: a rank may have gone on until then."""
    command = [sys.executable, "-c", SLOW_TO_GO, str(tmp_path / "node")]
    status = tmp_path / "shared" / "n1.status.json"
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as rank,
        shipping(tmp_path / "node", tmp_path / "shared", "--bundle", "--status", every=3600) as process,
    ):
        assert rank.stdin is not None
        assert rank.stdout is not None
        assert rank.stdout.readline() == "begun\n"
        until(lambda: working(tmp_path / "shared", process))
        before = read_status(status).time
        process.send_signal(signal.SIGTERM)
        until(lambda: read_status(status).time > before)
        assert read_status(status).state == "watching"
        rank.stdin.write("\n")
        rank.stdin.flush()
        assert rank.stdout.readline() == "written\n"
        # Not waited for yet: it is dead all the same.
        rank.kill()
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
    assert read_status(status).state == "final"
    (directory,) = (tmp_path / "node").iterdir()
    assert arrived(tmp_path / "shared") == len(read_writer(directory).events) > 3_000


def test_a_shipper_that_was_killed_is_followed_by_the_next_one(tmp_path: Path) -> None:
    """Wherever it was in an append: nothing is lost, and nothing is there twice in the store."""
    run = braid.start("job", log_dir=tmp_path / "node")
    stream = run.stream("n", {"n": "int64"})
    for number in range(3):
        with shipping(tmp_path / "node", tmp_path / "shared", "--bundle", "--status") as process:
            until(lambda: working(tmp_path / "shared", process))
            for _ in range(3_000):
                stream.append(number)
            process.kill()
    for bundle in (tmp_path / "shared").glob("*.tar"):
        os.truncate(bundle, bundle.stat().st_size - 300)
    run.close()
    with shipping(tmp_path / "node", tmp_path / "shared", "--bundle", "--status") as process:
        until(lambda: working(tmp_path / "shared", process))
        assert stop(process)[0] == 0
    braid.compact(tmp_path / "shared", tmp_path / "one.duckdb")
    braid.compact(tmp_path / "node", tmp_path / "two.duckdb")
    assert digests(tmp_path / "one.duckdb") == digests(tmp_path / "two.duckdb")


def test_a_target_that_is_away_for_a_while_is_tried_again(tmp_path: Path) -> None:
    """It says so once, goes on, and has lost nothing when the target is back."""
    run = braid.start("job", log_dir=tmp_path / "node")
    (tmp_path / "shared").write_text("in the way")
    with shipping(tmp_path / "node", tmp_path / "shared", "--bundle", "--status") as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "it is tried again" in first
        (tmp_path / "shared").unlink()
        until(lambda: arrived(tmp_path / "shared"))
        assert "arrives again" in process.stderr.readline()
        # All of it is taken away behind its back.
        shutil.rmtree(tmp_path / "shared")
        until(lambda: arrived(tmp_path / "shared"))
        run.close()
        assert stop(process)[0] == 0
    with opened_logs(tmp_path / "shared") as (found,):
        assert read_writer(found).state is WriterState.CLOSED


def test_a_target_that_is_full_takes_the_rest_when_there_is_room(tmp_path: Path) -> None:
    """What was there stays readable, nothing is believed to have arrived that has not, and the same file goes on."""
    run = braid.start("job", log_dir=tmp_path / "node")
    stream = run.stream("n", {"n": "int64"})
    with tmpfs(tmp_path / "small", "512k") as small:
        target = small / "shared"
        shipper = Shipper(tmp_path / "node", target, node="n1", bundle=True, remove=True)
        assert shipper.round().faults == []
        before = arrived(target)
        (small / "other").write_bytes(bytes(400_000))
        stream.extend({"n": np.arange(30_000)})
        for _ in range(3):
            (fault,) = shipper.round().faults
            assert "No space left on device" in fault
            assert arrived(target) >= before
        (small / "other").unlink()
        run.close()
        assert shipper.round().faults == []
        assert not (tmp_path / "node" / run.writer.hex()).exists()
        assert len(list(target.iterdir())) == 1
        with opened_logs(target) as (found,):
            log = read_writer(found)
            assert log.state is WriterState.CLOSED
            check_batches(log)
            assert log.faults == []


def test_a_fork_and_what_it_leaves_are_logs_like_others(tmp_path: Path) -> None:
    """Writers appear and go between rounds; the parent tells of the child's end when it has seen it."""
    shipper = Shipper(tmp_path / "node", tmp_path / "shared", node="n1", bundle=True, remove=True)
    run = braid.start("job", log_dir=tmp_path / "node")
    shipper.round()
    pid = os.fork()
    if not pid:
        run.fact("of the child", 1)
        os._exit(0)
    os.waitpid(pid, 0)
    assert [each.removed for each in shipper.round().sent] == [False, False]
    run.close()
    shipper.round()
    with opened_logs(tmp_path / "shared") as found:
        logs = [read_writer(each) for each in found]
        assert sorted(str(log.state) for log in logs) in (["closed", "ended"], ["closed", "open"])
        assert sum(log.count(Code.DECLARE) for log in logs) == 1


def test_what_cannot_be_shipped_at_the_end_is_exit_code_one(tmp_path: Path) -> None:
    run = braid.start("job", log_dir=tmp_path / "node")
    run.close()
    (tmp_path / "shared").write_text("in the way")
    with shipping(tmp_path / "node", tmp_path / "shared", "--bundle") as process:
        assert process.stderr is not None
        process.stderr.readline()
        assert stop(process)[0] == 1
    assert (tmp_path / "node" / run.writer.hex()).is_dir()


def test_without_a_bundle_a_shipper_that_stays_copies_directories(tmp_path: Path) -> None:
    run = braid.start("job", log_dir=tmp_path / "node")
    with shipping(tmp_path / "node", tmp_path / "shared", every=3600) as process:
        until(lambda: arrived(tmp_path / "shared"))
        run.close()
        assert stop(process)[0] == 0
    assert read_writer(tmp_path / "shared" / run.writer.hex()).state is WriterState.CLOSED


def test_one_log_that_cannot_be_read_does_not_keep_the_others_back(cli: Braid, tmp_path: Path) -> None:
    """A log of a newer format stays where it is, and is named."""
    first, second = (braid.start("job", log_dir=tmp_path / "node") for _ in range(2))
    first.close()
    second.close()
    newer_major(tmp_path / "node" / first.writer.hex(), "header")
    done = cli("ship", tmp_path / "node", "--to", tmp_path / "shared", "--bundle", "--remove", "--format", "json")
    assert done.exit_code == 1
    faults = {row["writer"]: row["fault"] for row in json.loads(done.stdout)}
    assert "update braid_hpc" in faults[first.writer.hex()]
    assert faults[second.writer.hex()] is None
    assert [path.name for path in (tmp_path / "node").iterdir()] == [first.writer.hex()]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "braid status"}', '{"format": "braid status", "major": "x"}']
)
def test_a_status_file_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "n1.status.json").write_text(text)
    with pytest.raises(CorruptLogError) as found:
        read_status(tmp_path / "n1.status.json")
    assert "\n" not in str(found.value)


def test_a_name_of_a_node_is_one_of_a_file(cli: Braid, tmp_path: Path) -> None:
    done = cli("ship", tmp_path, "--to", tmp_path / "shared", "--bundle", "--node", "../n1")
    assert done.exit_code == 2
    assert "no name of a node" in done.stderr


@pytest.mark.parametrize(("number", "later"), [(signal.SIGTERM, 0.0), (signal.SIGINT, 0.05), (signal.SIGTERM, 0.15)])
def test_a_merge_that_is_cancelled_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, later: float) -> None:
    """Wherever it is: what stood in bundles lies in a temporary directory meanwhile, gigabytes on somebody's next node,
    and DuckDB makes other exceptions of one that a handler raises."""
    with Job(tmp_path / "node", 4) as job:
        for rank in range(4):
            append = job[rank].stream("n", {"n": "int64"}).append
            for row in range(20_000):
                append(row)
    Shipper(tmp_path / "node", tmp_path / "shared", node="n1", bundle=True, remove=False).round()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [str(PROGRAM), "compact", str(tmp_path / "shared"), "--store", str(tmp_path / "prov.duckdb")]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.DEVNULL) as merge:
        until(lambda: list(temporary.glob("braid-logs-*/*/*")))
        time.sleep(later)
        merge.send_signal(number)
    assert merge.returncode == 128 + number
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "prov.duckdb").exists()
    assert [path for path in tmp_path.glob("prov.duckdb.d/**/*") if path.is_file()] == []

"""braid watch: how far the ranks are, which are silent or missing, and nothing of a log is touched by looking."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import braid_hpc as braid
from braid_hpc.cli.shipping import Shipper
from braid_hpc.cli.watch_look import Look, Seen, numbers
from braid_hpc.cli.watch_screen import screen
from braid_hpc.cli.watching import Watcher
from braid_hpc.log import writer as writing
from braid_hpc.log.layout import TailKind
from braid_hpc.log.places import FileSystem
from braid_hpc.reading.node_status import NodeStatus, RankStatus, read_status, write_status
from braid_hpc.reading.progress import Progress, WriterProgress
from braid_hpc.reading.survey import read_writer
from tests.cli.conftest import Braid
from tests.jobs import Job
from tests.newer_formats import states
from tests.rank_logs import small_tails

SECOND = 1_000_000_000


def row(rank: int, **given: Any) -> RankStatus:
    told = Progress(
        writer=f"{rank:032x}", host="h", run="slurm-7-attempt-0", job="fit", rank=rank, size=4, state="open",
        events=100, lost=0, last=time.time_ns(), bytes=1000,
    )  # fmt: skip
    return RankStatus(replace(told, **given), False)


def status(part: Path, node: str, ranks: list[RankStatus], **given: Any) -> NodeStatus:
    """Write a status file."""
    part.mkdir(parents=True, exist_ok=True)
    told = NodeStatus(
        node=node, host=node, scheduler="slurm", job="7", part=part.name, directory="/tmp/x", pid=1,
        began=time.time_ns(), time=time.time_ns(), state="watching", every=60.0, writers=ranks,
    )  # fmt: skip
    told = replace(told, **given)
    write_status(part, told)
    return told


# ---------------------------------------------------------------------- one writer


@pytest.mark.parametrize("kind", [TailKind.MAPPED, TailKind.FRAMES])
def test_events_are_counted_as_those_who_read_the_log_count_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    """Through sealed tails, in looks that only read what is new, of both kinds of tails."""
    small_tails(monkeypatch)
    if kind == TailKind.FRAMES:
        monkeypatch.setattr(writing, "file_system_of", lambda path: FileSystem("nfs", "/"))
    run = braid.start("job", log_dir=tmp_path)
    directory = tmp_path / run.writer.hex()
    watched = WriterProgress(directory)
    stream = run.stream("n", {"n": "int64"})
    for count in (1, 3, 200, 0, 70, 500):
        for _ in range(count):
            stream.append(1)
        if count == 200:
            run._log.seal()
        # A background thread writes rows of its own.
        before, told, fresh = read_writer(directory), watched.look(), WriterProgress(directory).look()
        after = read_writer(directory)
        assert told is not None
        assert fresh is not None
        assert before.count() <= told.events <= fresh.events <= after.count()
        assert told.last is not None
        assert before.span()[1] - SECOND <= told.last <= after.span()[1] + SECOND  # type: ignore[index]
        assert told.state == "open"
    run.close()
    told = watched.look()
    assert told is not None
    assert (told.state, told.events, told.job) == ("closed", read_writer(directory).count(), "job")


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """No file is written, made or touched, and none has to be writable."""
    with Job(tmp_path / "logs", 2, name="fit") as job:
        copied = tmp_path / "copied"
        shutil.copytree(tmp_path / "logs", copied)
        del job
    before = states(copied)
    watcher = Watcher(copied, silent=60)
    assert [len(watcher.look().seen) for _ in range(2)] == [2, 2]
    assert states(copied) == before


def test_a_damaged_log_is_watched_all_the_same(tmp_path: Path) -> None:
    """`braid check` says what is wrong with it; here it does not stop the view of the others."""
    with Job(tmp_path, 3, name="fit") as job:
        writers = [run.writer.hex() for run in job.runs]
    (tmp_path / writers[0] / "header.json").write_text("{")
    (tmp_path / writers[1] / "tail-000001").write_bytes(os.urandom(5_000))
    look = Watcher(tmp_path, silent=60).look()
    assert {each.writer for each in look.seen} >= set(writers)


# ---------------------------------------------------------------------- logs


def test_ranks_of_a_run_with_their_rates(tmp_path: Path) -> None:
    with Job(tmp_path, 3, name="fit") as job:
        watcher = Watcher(tmp_path, silent=60)
        first = watcher.look()
        assert [(each.rank, each.size, each.state, each.rate) for each in first.seen] == [
            (rank, 3, "open", None) for rank in range(3)
        ]
        stream = job.runs[1].stream("n", {"n": "int64"})
        for _ in range(1_000):
            stream.append(1)
        second = watcher.look()
        seconds = (second.time - first.time) / SECOND
        events = second.seen[1].events - first.seen[1].events
        assert events >= 1_000
        assert second.seen[1].rate == pytest.approx(events / seconds)
        assert second.seen[0].rate == 0
        assert second.notes == []
    assert {each.state for each in watcher.look().seen} == {"closed"}


def test_a_rank_without_a_log_is_named(tmp_path: Path) -> None:
    """Its size is known from the others."""
    with Job(tmp_path / "all", 4, name="fit") as job:
        gone = [job.runs[rank].writer.hex() for rank in (1, 2)]
    for name in gone:
        (tmp_path / "all" / name).rename(tmp_path / name)
    look = Watcher(tmp_path / "all", silent=60).look()
    assert look.notes == ["no log of ranks 1, 2 of 4 is here yet"]
    assert [(each.rank, each.state) for each in look.seen if each.state == "absent"] == [(1, "absent"), (2, "absent")]


def test_an_open_rank_of_which_nothing_comes_is_silent(tmp_path: Path) -> None:
    """Only then, and not one that has ended."""
    with Job(tmp_path, 2, name="fit") as job:
        job.runs[0].close()
        assert Watcher(tmp_path, silent=3600).look().notes == []
        look = Watcher(tmp_path, silent=0).look()
        assert [each.state for each in look.seen] == ["closed", "silent"]
        assert look.notes == ["no event of rank 1 for more than 0 s"]


def test_logs_that_are_not_there_yet_are_waited_for(cli: Braid, tmp_path: Path) -> None:
    """An empty directory is a job that has not begun; a name that is none is a mistake."""
    look = Watcher(tmp_path, silent=60).look()
    assert look.seen == []
    assert "yet" in look.told[0]
    (tmp_path / "n1-00000000.braid.tar").touch()
    assert "no status files" in Watcher(tmp_path, silent=60).look().told[0]
    done = cli("watch", tmp_path / "nowhere")
    assert done.exit_code == 3
    assert "is not a directory" in done.stderr


def test_once_is_for_scripts(cli: Braid, tmp_path: Path) -> None:
    """Rows in four formats; exit code 1 if something is to be looked at."""
    with Job(tmp_path / "logs", 2, name="fit") as job:
        done = cli("watch", tmp_path / "logs", "--once", "--format", "json")
        assert done.exit_code == 0, done.output
        rows = json.loads(done.stdout)
        assert [(each["rank"], each["state"], each["job"]) for each in rows] == [(0, "open", "fit"), (1, "open", "fit")]
        writer = job.runs[1].writer.hex()
    table = cli("watch", tmp_path / "logs", "--once")
    assert "2 ranks: 2 closed" in table.stdout
    (tmp_path / "logs" / writer).rename(tmp_path / "away")
    done = cli("watch", tmp_path / "logs", "--once", "--format", "csv")
    assert done.exit_code == 1
    assert "no log of rank 1 of 2" in done.stderr
    assert done.stdout.count("\n") == 3


# ---------------------------------------------------------------------- status files of a job


def test_a_job_is_watched_by_the_status_files_of_its_newest_attempt(tmp_path: Path) -> None:
    """Attempt 10 is newer than attempt 9; the earlier ones are told in a line."""
    logs = tmp_path / "logs"
    (tmp_path / "job.json").write_text("{}")
    status(logs / "attempt-9", "n1", [row(rank) for rank in range(4)])
    status(logs / "attempt-10", "n1", [row(0), row(1, events=7)])
    status(logs / "attempt-10", "n2", [row(2), row(3)])
    look = Watcher(tmp_path, silent=60).look()
    assert [(each.rank, each.node, each.part) for each in look.seen] == [
        (0, "n1", "attempt-10"),
        (1, "n1", "attempt-10"),
        (2, "n2", "attempt-10"),
        (3, "n2", "attempt-10"),
    ]
    assert look.seen[1].events == 7
    assert look.told == ["attempt-9, an earlier attempt: 4 ranks: 4 open"]
    assert (look.notes, look.over) == ([], False)
    # The directory of logs, and that of one attempt, are the same to look at.
    assert len(Watcher(logs, silent=60).look().seen) == len(Watcher(logs / "attempt-10", silent=60).look().seen) == 4


def test_rates_are_those_between_two_files_and_not_between_two_looks(tmp_path: Path) -> None:
    """A status file that was not renewed tells nothing new."""
    now = time.time_ns()
    watcher = Watcher(tmp_path, silent=60)
    status(tmp_path / "attempt-0", "n1", [row(0, size=1)], time=now)
    assert [each.rate for each in (*watcher.look().seen, *watcher.look().seen)] == [None, None]
    status(tmp_path / "attempt-0", "n1", [row(0, size=1, events=700)], time=now + 60 * SECOND)
    assert [each.rate for each in (*watcher.look().seen, *watcher.look().seen)] == [10.0, 10.0]


def test_a_node_that_tells_nothing_any_more_is_named(tmp_path: Path) -> None:
    """After twice its time and half a minute; one whose shipper has ended has nothing more to tell."""
    now = time.time_ns()
    status(tmp_path / "attempt-0", "n1", [row(0, size=2)], time=now - 140 * SECOND)
    status(tmp_path / "attempt-0", "n2", [row(1, size=2)], time=now - 160 * SECOND)
    status(tmp_path / "attempt-0", "n3", [], time=now - 9000 * SECOND, state="final")
    notes = Watcher(tmp_path, silent=1000).look().notes
    assert len(notes) == 1
    assert notes[0].startswith("node n2 has told nothing for 16")


def test_a_damaged_status_file_is_named_and_the_others_tell(tmp_path: Path) -> None:
    status(tmp_path / "attempt-0", "n1", [row(rank) for rank in range(4)])
    (tmp_path / "attempt-0" / "n2.status.json").write_text('{"format": "braid status", "major"')
    look = Watcher(tmp_path, silent=60).look()
    assert len(look.seen) == 4
    assert ["n2.status.json cannot be read" in note for note in look.notes] == [True]


def test_what_went_wrong_in_a_job_is_told_and_so_is_its_end(tmp_path: Path) -> None:
    """Faults of shippers, the sentences of the job script, logs that went to the shared directory, lost events."""
    part = tmp_path / "logs" / "attempt-0"
    (tmp_path / "job.json").write_text("{}")
    assert Watcher(tmp_path, silent=60).look().seen == []
    status(part, "n1", [row(0, size=2, lost=5)], faults=["cannot ship to there (No space left on device)"])
    (part / "trouble.txt").write_text("node n2 has no /local: its ranks log to the shared directory\n")
    with Job(part / "direct", 1, name="fit"):
        pass
    look = Watcher(tmp_path, silent=60).look()
    assert [each.state for each in look.seen].count("closed") == 1
    assert {"node n1: cannot ship to there (No space left on device)", "5 events could not be written"} <= {
        note.removeprefix("attempt-0: ") for note in look.notes
    }
    assert "node n2 has no /local: its ranks log to the shared directory" in look.notes
    assert not look.over
    (part / "ended.json").write_text('{"exit_code": 3, "time": 1}')
    look = Watcher(tmp_path, silent=60).look()
    assert look.over
    assert "the job has ended with exit code 3" in look.told


def test_a_watch_of_a_job_ends_with_it(cli: Braid, tmp_path: Path) -> None:
    """In lines, one for each look, and what was said is said once."""
    status(tmp_path / "attempt-0", "n1", [row(0, size=1, state="closed")], state="final")
    (tmp_path / "attempt-0" / "ended.json").write_text('{"exit_code": 0}')
    done = cli("watch", tmp_path)
    assert done.exit_code == 0
    first, second = done.stdout.splitlines()
    assert "1 rank: 1 closed, 100 events" in first
    assert second == "  the job has ended with exit code 0"


def test_what_a_shipper_writes_is_what_is_watched(tmp_path: Path) -> None:
    """From the logs on a node to the view of them elsewhere."""
    with Job(tmp_path / "node", 2, name="fit") as job:
        job.runs[0].fact("config", 1)
        shipper = Shipper(tmp_path / "node", tmp_path / "attempt-0", node="n1", bundle=True, remove=False)
        done = shipper.round()
        write_status(tmp_path / "attempt-0", shipper.status(done, every=60, final=False))
        told = read_status(tmp_path / "attempt-0" / "n1.status.json")
        seen = Watcher(tmp_path, silent=60).look().seen
        direct = Watcher(tmp_path / "node", silent=60).look().seen
    assert told.node == "n1"
    assert [(each.rank, each.events, each.state) for each in seen] == [
        (each.rank, each.events, each.state) for each in direct
    ]


# ---------------------------------------------------------------------- the screen


def shown(look: Look, height: int = 24, width: int = 100) -> list[str]:
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(screen(look, Path("logs"), height=height, width=width))
    return console.export_text().rstrip("\n").split("\n")


def many(count: int, *, silent: int = 0) -> Look:
    seen = [
        Seen("", "r", rank, count, "n1", f"{rank:032x}", "fit", "silent" if rank < silent else "open",
             events=12_345, bytes=3_300_000, rate=1_234.5, last=1, quiet=3.2)
        for rank in range(count)
    ]  # fmt: skip
    return Look(time.time_ns(), seen, notes=[f"note {number}" for number in range(silent)])


def test_a_screen_says_all_of_a_rank_in_a_line() -> None:
    lines = shown(many(2))
    assert lines[1].startswith("2 ranks: 2 open, 24,690 events, 2,469/s, 6.6 MB")
    assert lines[-1].split() == ["1", "n1", "open", "12,345", "1,234/s", "3.3", "MB", "3", "s", "ago"]


@pytest.mark.parametrize("height", [5, 10, 24, 60])
@pytest.mark.parametrize("count", [0, 1, 30, 2_000])
@pytest.mark.parametrize("silent", [0, 1, 30])
def test_a_screen_is_never_higher_than_the_terminal(height: int, count: int, silent: int) -> None:
    """What does not fit is counted, and those that somebody should look at are shown first."""
    look = many(count, silent=silent)
    lines = shown(look, height=max(height, 9))
    assert len(lines) <= max(height, 9)
    if silent and count and height >= 10:
        assert any("silent" in line and "n1" in line for line in lines)
    if count > height:
        assert "more ranks" in lines[-1]


def test_control_characters_never_reach_the_terminal() -> None:
    look = many(1)
    look.seen = [replace(look.seen[0], node="\x1b[31mn1")]
    look.notes = ["\x1b]0;title\x07"]
    assert "\x1b" not in "".join(shown(look))


def test_numbers_are_written_as_ranges() -> None:
    assert numbers([]) == ""
    assert numbers([4, 1, 2, 3, 9, 11, 12]) == "1 to 4, 9, 11, 12"

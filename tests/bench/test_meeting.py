"""Ranks that meet in a directory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from braid_hpc.bench.meeting import Meeting, name_of
from braid_hpc.run.launcher import find_launch
from braid_hpc.vocabulary.errors import ConflictError


def test_all_hear_what_each_says(tmp_path: Path) -> None:
    def take_part(rank: int) -> None:
        meeting = Meeting(tmp_path, "m", rank=rank, size=3, patience=60)
        meeting.say("done", {"rank": rank})
        heard[rank] = meeting.hear("done")

    heard: dict[int, object] = {}
    threads = [threading.Thread(target=take_part, args=[rank]) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {rank: [{"rank": 0}, {"rank": 1}, {"rank": 2}] for rank in range(3)}


def test_who_does_not_come_is_named(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, "m", rank=0, size=3, patience=0.2)
    meeting.say("ready", {})
    with pytest.raises(ConflictError, match=r"2 of 3 ranks said nothing .* rank 1"):
        meeting.hear("ready")


def test_what_an_earlier_launch_has_said_is_not_heard(tmp_path: Path) -> None:
    """Neither where it came to its end, nor in one that did not: what a rank said then goes when it begins."""
    for number in (1, 2):
        meeting = Meeting(tmp_path, "m", rank=0, size=1, patience=0.2)
        with pytest.raises(ConflictError):
            meeting.hear("done")
        meeting.say("done", {"number": number})
        assert meeting.hear("done") == [{"number": number}]
        assert (meeting.end() / "done-0.json").exists()
        assert not meeting.directory.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["braid-bench-m-1", "braid-bench-m-2"]
    for rank in (1, 11):
        Meeting(tmp_path, "m", rank=rank, size=12, patience=0.2).say("done", {"rank": rank})
    Meeting(tmp_path, "m", rank=1, size=12, patience=0.2)
    assert [path.name for path in (tmp_path / "braid-bench-m").iterdir()] == ["done-11.json"]


def test_two_launches_do_not_meet() -> None:
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    other_rank, other_step = {**step, "SLURM_PROCID": "1"}, {**step, "SLURM_STEP_ID": "1"}
    names = [name_of(find_launch(environ)) for environ in (step, other_rank, other_step)]
    assert names[0] == names[1] != names[2]

"""Submitting, on this machine as the scheduler: what is written, what is refused before, and what runs."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.batch.listing import cancel, find_job, jobs
from braid_hpc.batch.local import SCHEDULER
from braid_hpc.batch.submission import Submission, submit
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError, StorageError

SBATCH = """#!/bin/bash
echo "$PWD $*" >>{calls}
case $* in *afterany*) {second} ;; *) {first} ;; esac
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stand-ins for Slurm's commands, which write down how they were called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def made(first: str = "echo 77", second: str = "echo 78", partitions: str = "", states: str = "PENDING") -> Path:
        calls = tmp_path / "calls"
        scripts = {
            "sbatch": SBATCH.format(calls=calls, first=first, second=second),
            "squeue": f"#!/bin/bash\necho {states}\n",
            "scancel": f'#!/bin/bash\necho "scancel $*" >>{calls}\n',
            "scontrol": f"#!/bin/bash\nprintf '{partitions}'\n",
        }
        for name, text in scripts.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        return calls

    return made


def job(tmp_path: Path, **values: Any) -> dict[str, Any]:
    return {"name": "fit", "command": "true", "time": 5, "directory": str(tmp_path / "runs"), **values}


def test_a_dry_run_writes_nothing(tmp_path: Path, slurm: Any) -> None:
    calls = slurm()
    done = submit(job(tmp_path), scheduler="slurm", dry_run=True)
    assert (done.job, done.compaction, list(tmp_path.glob("runs*")), calls.exists()) == (None, None, [], False)
    assert done.commands[0] == f"sbatch --parsable {done.directory}/job.sh"
    assert done.commands[1] == f"sbatch --parsable --dependency=afterany:JOB {done.directory}/compact.sh"
    assert set(done.scripts) == {"job", "compact"}


def test_both_jobs_are_submitted(tmp_path: Path, slurm: Any) -> None:
    """The second one depends on the first one, and the job's directory says what was done."""
    calls = slurm()
    done = submit(job(tmp_path), scheduler="slurm")
    assert (done.job, done.compaction, done.warnings) == ("77", "78", ())
    assert calls.read_text().splitlines() == [
        f"{done.directory} --parsable {done.directory}/job.sh",
        f"{done.directory} --parsable --dependency=afterany:77 {done.directory}/compact.sh",
    ]
    about = json.loads((done.directory / "job.json").read_bytes())
    assert (about["format"], about["scheduler"], about["job"], about["compaction"]) == (
        "braid job",
        "slurm",
        "77",
        "78",
    )
    assert about["specification"]["command"] == "true"
    for part in ("job", "compact"):
        script = done.directory / f"{part}.sh"
        assert script.read_text() == done.scripts[part]
        assert stat.S_IMODE(script.stat().st_mode) & 0o500 == 0o500
    assert (done.directory / "logs").is_dir()


def test_a_refused_job_leaves_nothing(tmp_path: Path, slurm: Any) -> None:
    slurm(first='echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1')
    with pytest.raises(StorageError, match=r"Slurm did not take job.sh: sbatch: error: .* Invalid account"):
        submit(job(tmp_path), scheduler="slurm")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_refused_merge_leaves_the_job(tmp_path: Path, slurm: Any) -> None:
    slurm(second='echo "sbatch: error: no more jobs" >&2; exit 1')
    done = submit(job(tmp_path), scheduler="slurm")
    assert (done.job, done.compaction) == ("77", None)
    (warning,) = done.warnings
    assert "job 77 was submitted, and the one that merges its logs was not" in warning
    assert f"run bash {done.directory}/compact.sh" in warning
    assert json.loads((done.directory / "job.json").read_bytes())["compaction"] is None


PARTITIONS = (
    "PartitionName=debug Default=YES MaxTime=00:30:00 State=UP\\nPartitionName=long MaxTime=UNLIMITED State=UP\\n"
)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"queue": "nowhere"}, "the specification: Slurm has no partition 'nowhere': there are debug, long"),
        ({"queue": "debug", "time": 60}, "time is 01:00:00, and partition debug allows 00:30:00"),
        ({"command": "echo 'x"}, "the shell cannot read command"),
        ({"setup": ["if"]}, "the shell cannot read setup"),
    ],
)
def test_what_can_be_known_is_said_before(tmp_path: Path, slurm: Any, values: dict[str, Any], said: str) -> None:
    calls = slurm(partitions=PARTITIONS)
    with pytest.raises(InvalidInputError) as caught:
        submit(job(tmp_path, **values), scheduler="slurm")
    assert said in str(caught.value)
    assert not calls.exists()
    assert not (tmp_path / "runs").exists()


def test_a_long_job_goes_where_there_is_no_limit(tmp_path: Path, slurm: Any) -> None:
    slurm(partitions=PARTITIONS)
    assert submit(job(tmp_path, queue="long", time="3-00:00:00"), scheduler="slurm").job == "77"


def test_a_command_that_is_not_here_is_only_a_warning(tmp_path: Path, slurm: Any) -> None:
    slurm()
    done = submit(job(tmp_path, command="no_such_program --x"), scheduler="slurm")
    assert done.job == "77"
    assert done.warnings == ("the specification: command begins with 'no_such_program', which is no command here",)


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path, slurm: Any) -> None:
    slurm()
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match=r"directory is '.*/file/runs', and .*/file cannot be written"):
        submit(job(tmp_path, directory=str(tmp_path / "file" / "runs")), scheduler="slurm")
    with pytest.raises(InvalidInputError, match=r"directory is '.*', and .* cannot be written"):
        submit(job(tmp_path, directory=str(tmp_path / "file" / ("x" * 300))), scheduler="local", dry_run=True)
    long = job(tmp_path, directory=str(tmp_path / ("x" * 300)))
    with pytest.raises(StorageError, match=r"cannot be written .File name too long"):
        submit(long, scheduler="local")


def test_a_module_that_does_not_exist_is_refused(tmp_path: Path, slurm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a command to ask, as a login shell of the site defines it."""
    slurm()
    home = tmp_path / "home"
    home.mkdir()
    answers = "module() { [[ $* == *gcc* ]] && echo gcc/12 >&2; return 0; }\n"
    (home / ".bash_profile").write_text(answers)
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(InvalidInputError, match="modules names 'nothing', and 'module avail' does not know it"):
        submit(job(tmp_path, modules=["gcc", "nothing"]), scheduler="slurm")
    assert submit(job(tmp_path, modules=["gcc"]), scheduler="slurm").job == "77"


def test_a_scheduler_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError, match="slurm is not here: there is no command sbatch, squeue, scancel"):
        submit(job(tmp_path), scheduler="slurm")


def test_local_has_no_arrays(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="local has no array jobs"):
        submit(job(tmp_path, array="0-3"), scheduler="local")


def test_jobs_are_listed(tmp_path: Path, slurm: Any) -> None:
    """With what the scheduler says, and the exit code of the newest attempt."""
    calls = slurm(states="RUNNING")
    done = submit(job(tmp_path), scheduler="slurm")
    for attempt, code in ((0, 9), (1, 0)):
        place = done.directory / "logs" / f"attempt-{attempt}"
        place.mkdir()
        (place / "ended.json").write_text(f'{{"exit_code": {code}, "time": 1}}')
    (done.directory / "summary.json").write_text('{"counts": {"complete": 3, "expected": 4}}')
    (found,) = jobs(tmp_path / "runs")
    assert (found.job, found.compaction, found.state, found.merge) == ("77", "78", "running", "running")
    assert (found.exit_code, found.complete, found.expected) == (0, 3, 4)
    assert find_job("77", tmp_path / "runs") == found == find_job(str(done.directory))
    assert cancel("77", tmp_path / "runs") == found
    assert calls.read_text().splitlines()[-1] == "scancel 77"
    with pytest.raises(NotFoundError, match="there is no job 5 in"):
        find_job("5", tmp_path / "runs")


def over(done: Submission, seconds: float = 60) -> None:
    """Wait until both jobs are over."""
    end = time.monotonic() + seconds
    for each in (done.job, done.compaction):
        while SCHEDULER.states([str(each)])[str(each)] != "ended":
            assert time.monotonic() < end, (done.directory / "job.out").read_text()
            time.sleep(0.05)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Any]:
    """Submit to this machine; whatever is left at the end is ended."""
    begun: list[Submission] = []

    def go(**values: Any) -> Submission:
        begun.append(submit(job(tmp_path, node_local=str(tmp_path / "node"), **values), scheduler="local"))
        return begun[-1]

    yield go
    for done in begun:
        for each in (done.job, done.compaction):
            if each is not None and SCHEDULER.states([each])[each] == "running":
                SCHEDULER.cancel(each)
        over(done)


def test_a_cancelled_job_is_over_and_cannot_be_cancelled_again(local: Any, tmp_path: Path) -> None:
    """Its merge runs all the same, and says that there is no log."""
    done = local(command="sleep 600", launcher="none")
    (found,) = jobs(tmp_path / "runs")
    assert (found.state, found.merge) == ("running", "running")
    cancel(str(done.job), tmp_path / "runs")
    over(done)
    with pytest.raises(ConflictError, match="is over"):
        cancel(str(done.job), tmp_path / "runs")
    assert (done.directory / "summary.txt").read_text().startswith(f"fit, local job {done.job}: 0 of 1 ranks' logs are")


def test_a_damaged_file_of_a_job_hides_no_job(tmp_path: Path, slurm: Any) -> None:
    """What it should have said is not known, and all jobs are listed."""
    slurm()
    whole, damaged = (submit(job(tmp_path, name=name), scheduler="slurm").directory for name in ("a", "b"))
    about = json.loads((damaged / "job.json").read_text())
    (damaged / "job.json").write_text(json.dumps(about | {"submitted": "soon"}))
    (damaged / "summary.json").write_text('{"counts": [1]}')
    for task, code in (("task-0-", '"x"'), ("task-1-", "3")):
        (damaged / f"logs/{task}attempt-0").mkdir()
        (damaged / f"logs/{task}attempt-0/ended.json").write_text(f'{{"exit_code": {code}}}')
    found = jobs(tmp_path / "runs")
    assert [each.directory for each in found] == [damaged, whole]
    assert (found[0].submitted, found[0].exit_code, found[0].complete) == (0, None, None)

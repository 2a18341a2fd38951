"""What every scheduler does: its commands are called as its manual says, and what they answer is understood.

PBS, LSF and Flux are stand-ins that refuse what their manuals do not list (stand_ins.py); Slurm is tested on a real one
in tests/cluster, and this machine is itself.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.batch.listing import cancel, jobs
from braid_hpc.batch.scheduler import Asked, find_scheduler, scheduler
from braid_hpc.batch.specification import SCHEDULERS
from braid_hpc.batch.submission import submit
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from tests.batch import stand_ins
from tests.docs.pages import environment
from tests.ranks import mpirun

FULL = Asked(
    name="fit",
    nodes=2,
    ranks_per_node=4,
    cpus_per_rank=2,
    gpus_per_node=1,
    time=5430,
    queue="debug",
    account="project",
    constraint="fast",
    node="n7",
    output="/shared/job.out",
)

PROGRAM = """
import braid_hpc as braid

with braid.job("fit") as run:
    run.data("result", same_on_all_ranks=True)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-ins keep what they are told; only they are on the PATH beside the system's."""
    place = tmp_path / "told"
    place.mkdir()
    stand_ins.install(tmp_path / "bin")
    monkeypatch.setenv("STAND_INS", str(place))
    monkeypatch.setenv("STAND_INS_MPIRUN", str(mpirun()))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return place


class SchedulerContract:
    """What holds for each of them; the classes below say which one, and what its directives are."""

    name: str
    ids: tuple[str, str, str]
    directives: tuple[str, ...]
    gone: str

    def job(self, tmp_path: Path, **values: Any) -> dict[str, Any]:
        return {"name": "fit", "command": "true", "time": 5, "directory": str(tmp_path / "runs"), **values}

    def test_directives(self) -> None:
        assert tuple(scheduler(self.name).directives(FULL)) == self.directives

    def test_both_jobs_are_submitted(self, tmp_path: Path, place: Path) -> None:
        """The second one after the first one, in the job's directory; every option is one that the command has."""
        done = submit(self.job(tmp_path, nodes=2, ranks_per_node=2, queue="normal"), scheduler=self.name)
        assert (done.job, done.compaction, done.warnings) == (*self.ids[:2], ())
        first, second = (json.loads((place / f"{number}.json").read_bytes()) for number in (77, 78))
        assert first["told"] == {}
        assert self.ids[0] in next(iter(second["told"].values()))[0]
        assert {first["cwd"], second["cwd"]} == {str(done.directory)}
        assert (place / "77.sh").read_text() == done.scripts["job"]

    def test_blanks_in_the_directory(self, tmp_path: Path, place: Path) -> None:
        """The output goes there, or it is said before submission that it cannot."""
        values = self.job(tmp_path / "my runs")
        if self.name in ("pbs", "lsf"):
            with pytest.raises(InvalidInputError, match=r"takes no blanks and quotes in a path, .*my runs"):
                submit(values, scheduler=self.name)
            assert list(place.glob("*.sh")) == []
            assert not (tmp_path / "my runs").exists()
        else:
            done = submit(values, scheduler=self.name)
            assert any(f"{done.directory}/job.out" in word for word in shlex.split(done.scripts["job"], comments=False))

    def test_a_refusal_is_told(self, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STAND_INS_REFUSE", "job")
        with pytest.raises(StorageError, match=r"did not take job.sh: .*Job not submitted. Bad account."):
            submit(self.job(tmp_path), scheduler=self.name)
        monkeypatch.setenv("STAND_INS_REFUSE", "after")
        done = submit(self.job(tmp_path), scheduler=self.name)
        assert (done.job, done.compaction) == (self.ids[0], None)
        assert "Bad account" in done.warnings[0]

    def test_states(self, place: Path) -> None:
        states = scheduler(self.name).states([*self.ids, self.gone])
        assert states[self.ids[0]] == "running"
        assert states[self.ids[1]] in ("pending", "held")
        assert (states[self.ids[2]], states[self.gone]) == ("ended", "unknown")

    def test_a_queue_and_its_limit(self, tmp_path: Path, place: Path) -> None:
        with pytest.raises(InvalidInputError, match="has no queue 'nowhere': there are debug, normal"):
            submit(self.job(tmp_path, queue="nowhere"), scheduler=self.name)
        with pytest.raises(InvalidInputError, match="time is 01:00:00, and queue debug allows 00:30:00"):
            submit(self.job(tmp_path, queue="debug", time=60, compact_time=5), scheduler=self.name)
        submit(self.job(tmp_path, queue="normal", time=60), scheduler=self.name)

    def test_a_job_is_listed_and_cancelled(self, tmp_path: Path, place: Path) -> None:
        submit(self.job(tmp_path), scheduler=self.name)
        (found,) = jobs(tmp_path / "runs")
        assert (found.state, found.job) == ("running", self.ids[0])
        cancel(self.ids[0], tmp_path / "runs")
        assert re.search(rf"(kill|del|cancel) .?{re.escape(self.ids[0])}", (place / "calls").read_text())

    @pytest.mark.slow
    def test_the_scripts_run(self, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two ranks record on their node, their logs come home, are merged, and the summary says so."""
        for name, value in environment(tmp_path).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        (tmp_path / "fit.py").write_text(PROGRAM)
        values = self.job(tmp_path, command=["python", str(tmp_path / "fit.py")], ranks_per_node=2)
        done = submit(values | {"node_local": str(tmp_path / "node")}, scheduler=self.name)
        ended = stand_ins.run(self.name, "77", place)
        assert ended.returncode == 0, ended.stderr
        merged = stand_ins.run(self.name, "78", place)
        assert merged.returncode == 0, merged.stderr
        told = (done.directory / "summary.txt").read_text()
        assert told.startswith(f"fit, {self.name} job {self.ids[0]}: 2 of 2 ranks' logs are complete\n"), told
        assert "attempt 0: ended with exit code 0" in told
        assert not (done.directory / "logs" / "attempt-0" / "trouble.txt").exists(), told
        # Started again by the scheduler: another attempt.
        assert stand_ins.run(self.name, "77", place).returncode == 0
        assert stand_ins.run(self.name, "78", place).returncode == 0
        found = json.loads((done.directory / "summary.json").read_bytes())
        assert [(part["attempt"], part["exit_code"]) for part in found["parts"]] == [(0, 0), (1, 0)]
        assert found["counts"]["complete"] == 4


class TestPBS(SchedulerContract):
    name = "pbs"
    ids = ("77.server", "78.server", "90.server")
    gone = "1.server"
    directives = (
        *("#PBS -N fit", "#PBS -l select=2:fast:host=n7:ncpus=8:mpiprocs=4:ngpus=1", "#PBS -l place=scatter"),
        *("#PBS -l walltime=01:30:30", "#PBS -q debug", "#PBS -A project", "#PBS -r y", "#PBS -j oe"),
        "#PBS -o /shared/job.out",
    )


class TestLSF(SchedulerContract):
    name = "lsf"
    ids = ("77", "78", "90")
    gone = "1"
    directives = (
        *("#BSUB -J fit", "#BSUB -n 8", '#BSUB -R "span[ptile=4]"', '#BSUB -R "affinity[core(2)]"', "#BSUB -W 01:31"),
        *('#BSUB -gpu "num=1"', "#BSUB -q debug", "#BSUB -P project", '#BSUB -R "fast"', "#BSUB -m n7", "#BSUB -r"),
        "#BSUB -o /shared/job.out",
    )

    def test_an_array(self) -> None:
        array = Asked(name="fit", time=60, array="1-20%4")
        assert '#BSUB -J "fit[1-20]%4"' in scheduler("lsf").directives(array)

    def test_jsrun_gets_whole_nodes(self) -> None:
        asked = Asked(name="fit", time=60, nodes=2, ranks_per_node=4, launcher="jsrun")
        assert "#BSUB -nnodes 2" in scheduler("lsf").directives(asked)


class TestFlux(SchedulerContract):
    name = "flux"
    ids = ("\u019277", "\u019278", "\u019290")
    gone = "\u01921"
    directives = (
        *("# flux: --job-name=fit", "# flux: --nodes=2", "# flux: --nslots=2", "# flux: --cores-per-slot=8"),
        *("# flux: --gpus-per-slot=1", "# flux: --time-limit=5430s", "# flux: --queue=debug", "# flux: --bank=project"),
        *("# flux: --requires='fast host:n7'", "# flux: --output=/shared/job.out"),
    )


def test_the_output_may_lie_anywhere() -> None:
    """As sbatch reads a quoted option; unquoted, it takes a space for the end of it and # for a comment."""
    lines = {
        name: next(
            line
            for line in scheduler(name).directives(Asked(name="fit", time=60, output="/a b/it's #\"%j\\/x.out"))
            if "--output" in line
        )
        for name in ("slurm", "flux")
    }
    assert lines["slurm"] == '#SBATCH --output="/a b/it\'s #\\"%%j\\\\/x.out"'
    assert shlex.split(lines["flux"].removeprefix("# flux: ")) == ["--output=/a b/it's #\"%j\\/x.out"]


def test_every_scheduler_is_named() -> None:
    assert {scheduler(name).name for name in SCHEDULERS} == set(SCHEDULERS)
    with pytest.raises(InvalidInputError, match="there is no scheduler 'sge': it is one of slurm"):
        scheduler("sge")


def test_the_first_one_that_is_here_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its commands have to be on the PATH, and without any of them this machine is the scheduler."""
    folder = tmp_path / "only"
    folder.mkdir()
    for name in ("bash", "setsid", "tail"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    assert find_scheduler().name == "local"
    for name in ("qsub", "qstat"):
        (folder / name).symlink_to("/bin/true")
    assert find_scheduler().name == "local"
    (folder / "qdel").symlink_to("/bin/true")
    assert find_scheduler().name == "pbs"
    with pytest.raises(NotFoundError, match="lsf is not here: there is no command bsub, bjobs, bkill on the PATH"):
        find_scheduler(named="lsf")

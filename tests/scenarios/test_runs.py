"""Real launchers: which ranks are one run, with each MPI of the test matrix."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tests.jobs import Job, count, made, rows
from tests.ranks import OPENMPI_ENVIRONMENT, RunRanks, mpi_of_this_environment, mpirun

pytestmark = pytest.mark.mpi_matrix

SPMD = """
import braid_hpc as braid
from mpi4py import MPI
world = MPI.COMM_WORLD
with braid.job("fit") as run:
    config = run.fact("config", {"threshold": 40})
    peaks = run.data(f"peaks/{world.rank}", digest=f"x:{world.rank}", derived_from=config)
    model = run.model("net", digest="w:0", derived_from=config)
    for step in range(3):
        world.barrier()
        model = run.model("net", digest=f"w:{step % 2}", derived_from=[model, peaks])
"""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


@pytest.mark.parametrize("size", [0, 1, 2, 8])
def test_ranks_of_one_launch_are_one_run(run_ranks: RunRanks, logs: Path, store: Path, size: int) -> None:
    """With 1, 2 and 8 ranks, and without mpirun: one run, each version once with an occurrence from every rank."""
    run_ranks(size, SPMD)
    ranks = max(size, 1)
    with made(logs, store) as opened:
        assert rows(opened, "select ranks, status from runs") == [(ranks, "ok")]
        query = "select kind, name, version, occurrences from versions where name in ('config', 'net') order by all"
        assert rows(opened, query) == [
            ("fact", "config", 1, ranks),
            *(("model", "net", version, ranks) for version in (1, 2, 3, 4)),
        ]
        answer = opened.lineage("model:net")
        assert answer.complete
        assert {node.name for node in answer.nodes} == {"net", "config", *(f"peaks/{rank}" for rank in range(ranks))}


def test_two_launches_of_one_script_at_once_are_two_runs(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """In one log directory: two runs of four, and no rank of either is missed."""
    both = [run_ranks.start(4, SPMD) for _ in range(2)]
    for process in both:
        process.wait(60)
    with made(logs, store) as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(4, 4, "ok")] * 2
        assert count(opened, "problems") == 0
        assert rows(opened, "select version, occurrences from versions where name = 'config'") == [(1, 8)]
        assert count(opened, "versions", "name = 'net'") == 8
        assert opened.lineage("model:net").complete


def test_two_jobs_in_one_process_are_two_runs(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """One after the other, of one name and of another one, on all ranks; and one that only rank 0 ran before."""
    script = """
    import braid_hpc as braid
    from mpi4py import MPI
    if MPI.COMM_WORLD.rank == 0:
        with braid.job("prepare") as run:
            run.data("prepared")
    for name in ("fit", "fit", "predict"):
        with braid.job(name) as run:
            run.model(name, digest="w:0", derived_from=run.data("d", digest="x:0"))
    """
    run_ranks(3, script)
    with made(logs, store) as opened:
        assert rows(opened, "select job, ranks from runs order by job, begin_time") == [
            ("fit", 3),
            ("fit", 3),
            ("predict", 3),
            ("prepare", 1),
        ]
        assert rows(opened, "select name, occurrences from versions where kind = 'model' order by all") == [
            ("fit", 3),
            ("fit", 3),
            ("predict", 3),
        ]
        for name in ("fit", "predict"):
            assert opened.lineage(f"model:{name}").complete


@pytest.mark.parametrize("names", [("fit", "fit"), ("simulate", "analyse")])
def test_several_programs_of_one_launch_are_one_run(
    run_ranks: RunRanks,
    logs: Path,
    store: Path,
    tmp_path: Path,
    names: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MPMD, `mpirun -n 2 ... : -n 2 ...`: four ranks of one world, whether or not their jobs have one name."""
    import subprocess

    programs = []
    for number, name in enumerate(names):
        path = tmp_path / f"program-{number}.py"
        path.write_text(SPMD.replace('"fit"', repr(name)))
        programs.append(path)
    if mpi_of_this_environment() == "openmpi":
        for variable, value in OPENMPI_ENVIRONMENT.items():
            monkeypatch.setenv(variable, value)
    python = Path(sysconfig.get_path("scripts")) / "python"
    command = [str(word) for word in (mpirun(), "-n", 2, python, programs[0], ":", "-n", 2, python, programs[1])]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL, capture_output=True)
    with made(logs, store) as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(4, 4, "ok")]
        assert rows(opened, "select version, occurrences from versions where name = 'net'") == [
            (version, 4) for version in (1, 2, 3, 4)
        ]
        assert opened.lineage("model:net").complete


def test_forks_of_ranks_belong_to_their_run(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """Workers of multiprocessing on each rank: writers of their own within the run, with what they were given."""
    script = """
    import multiprocessing
    import braid_hpc as braid

    def work(handle):
        run = braid.current_run()
        return run.data("part", tags={"worker": multiprocessing.current_process().name}, derived_from=handle)

    if __name__ == "__main__":
        with braid.job("fit") as run:
            source = run.data("source", digest=f"x:{run.rank}")
            with multiprocessing.get_context("fork").Pool(2) as pool:
                parts = pool.map(work, [source] * 4, chunksize=1)
                pool.close()
                pool.join()
            run.data("whole", derived_from=parts)
    """
    # Without MPI_Init: a fork is no business of the MPI library then.
    run_ranks(2, script)
    with made(logs, store) as opened:
        assert rows(opened, "select size, ranks, status from runs")[0][:2] == (2, 2)
        assert count(opened, "runs") == 1
        assert count(opened, "ranks", "parent is not null") >= 2
        for version in (1, 2):
            answer = opened.lineage(f"data:whole@{version}")
            assert answer.counts == {"data": 6}, answer.tree()


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.parametrize("ranks", [0, 2])
def test_workers_that_begin_anew_belong_to_their_run(
    run_ranks: RunRanks, logs: Path, store: Path, method: str, ranks: int
) -> None:
    """They open a run, which is a part of the one that started them, in its directory, and ends with them."""
    script = f"""
    import multiprocessing
    import braid_hpc as braid

    def begin():
        braid.start("worker")

    def work(handle):
        return braid.current_run().data("part", derived_from=handle)

    if __name__ == "__main__":
        with braid.job("fit", log_dir={str(logs)!r}) as run:
            source = run.data("source", digest=f"x:{{run.rank}}")
            with multiprocessing.get_context({method!r}).Pool(2, begin) as pool:
                parts = pool.map(work, [source] * 4, chunksize=1)
                pool.close()
                pool.join()
            run.data("whole", derived_from=parts)
        with braid.job("next", log_dir={str(logs)!r}) as run:
            run.data("alone")
    """
    run_ranks(ranks, script)
    with made(logs, store) as opened:
        jobs = rows(opened, "select job, size, ranks, status from runs order by job")
        assert jobs == [(job, ranks or None, max(ranks, 1), "ok") for job in ("fit", "next")]
        assert count(opened, "ranks", "parent is not null and state in ('closed', 'ended')") == 2 * max(ranks, 1)
        answer = opened.lineage("data:whole@1")
        assert (answer.complete, answer.counts) == (True, {"data": 6}), answer.tree()


def test_a_worker_that_fails_says_so(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """Its part of the run ends as its function did; a program that is no worker has a run of its own."""
    script = """
    import multiprocessing, subprocess, sys
    import braid_hpc as braid

    def work():
        braid.start("worker").data("part")
        raise ValueError("on purpose")

    if __name__ == "__main__":
        with braid.job("fit"):
            worker = multiprocessing.get_context("spawn").Process(target=work)
            worker.start()
            worker.join()
            alone = "import braid_hpc as braid; braid.start('alone').data('part')"
            subprocess.run([sys.executable, "-c", alone], check=True)
    """
    run_ranks(0, script)
    with made(logs, store) as opened:
        assert rows(opened, "select job, ranks from runs order by job") == [("alone", 1), ("fit", 1)]
        ended = rows(opened, "select outcome, error from ranks where parent is not null")
        assert ended == [("failed", "ValueError: on purpose")]


def test_a_launch_with_a_run_id(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """What `braid run -- mpirun ...` and our job scripts set counts before all else."""
    run_ranks(2, SPMD, env={"BRAID_RUN_ID": "7" * 32})
    with made(logs, store) as opened:
        assert rows(opened, "select size, ranks from runs") == [(2, 2)]


@pytest.mark.parametrize("first", ["MPI", "the run"])
def test_a_world_that_is_not_what_was_launched(run_ranks: RunRanks, logs: Path, store: Path, first: str) -> None:
    """Slurm says two ranks, MPI is alone: rank 0 says so at once, and the store has it, whichever began first."""
    begin = ["from mpi4py import MPI", "run = braid.start('fit')"]
    script = "\n".join(["import braid_hpc as braid", *(begin if first == "MPI" else reversed(begin)), "run.data('d')"])
    said = [
        run_ranks(0, script, env={"SLURM_PROCID": rank, "SLURM_STEP_NUM_TASKS": "2", "BRAID_RUN_ID": "r"}).stderr
        for rank in ("0", "1")
    ]
    sentence = "the launcher has started 2 ranks, and MPI's world has 1"
    assert [text.count(sentence) for text in said] == [1, 0]
    with made(logs, store) as opened:
        assert rows(opened, "select size, ranks from runs") == [(2, 2)]
        assert rows(opened, "select code, count(*) from problems group by all") == [("world", 2)]


def test_ranks_and_a_client_in_one_directory(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """A run without a launcher beside a launch: each is its own, and neither misses a rank."""
    with Job(logs, 1, launcher=False) as job:
        job[0].data("d", digest="x:0")
        run_ranks(2, SPMD)
    with made(logs, store) as opened:
        assert sorted(rows(opened, "select size, ranks, status from runs"), key=str) == [(2, 2, "ok"), (None, 1, "ok")]

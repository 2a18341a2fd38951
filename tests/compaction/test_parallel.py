"""A merge that ranks share is the merge of one process: the same rows with the same numbers, once, or nothing."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from tests.faults.stores import check_leftovers, check_rebuilt, flip, say, say_much, tables_of
from tests.jobs import Job, count, digests, one
from tests.newer_formats import newer_major, states
from tests.rank_logs import small_tails
from tests.ranks import RunRanks
from tests.reading.test_bundles import bundle

pytestmark = pytest.mark.mpi_matrix

BRAID = Path(sysconfig.get_path("scripts")) / "braid"
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "log-1.0"

#: Merges one place after the other with all ranks; each rank writes down what became of it.
SHARED = """
import json, sys
from pathlib import Path
from mpi4py import MPI
import braid_hpc as braid

comm = MPI.COMM_WORLD
told = []
for place in sys.argv[2:]:
    steps = []
    try:
        progress = lambda *step: steps.append(step)
        done = braid.compact(f"{place}/logs", f"{place}/shared.duckdb", comm=comm, progress=progress)
        told.append([done.new, done.snapshot, done.events, sorted(map(str, done.states.items())), done.absent])
    except braid.BraidError as error:
        told.append([type(error).__name__, str(error)])
    told[-1].append(len(steps) > 0)
Path(f"{sys.argv[1]}/told-{comm.rank}.json").write_text(json.dumps(told))
"""

#: Tables that say when and where a commit was made.
OF_THIS_COMMIT = {"main.snapshots", "main.array_rows"}


def share(run_ranks: RunRanks, ranks: int, folder: Path, *places: Path) -> list[list[Any]]:
    """Merge with real ranks; what they say is the same, but for progress, which rank 0 alone is told."""
    run_ranks(ranks, SHARED, folder, *places, timeout=300)
    told = [json.loads((folder / f"told-{rank}.json").read_text()) for rank in range(ranks)]
    spoke = [[each.pop() for each in mine] for mine in told]
    assert all(mine == told[0] for mine in told[1:])
    assert not any(any(mine) for mine in spoke[1:])
    found: list[list[Any]] = told[0]
    return found


def check_same(place: Path) -> None:
    """Every row of every table is that of a merge by this process: dense ids, numbers and all."""
    if not (place / "alone.duckdb").exists():
        compact(place / "logs", place / "alone.duckdb")
    alone, shared = place / "alone.duckdb", place / "shared.duckdb"
    assert digests(shared) == digests(alone)
    left, right = tables_of(shared), tables_of(alone)
    assert {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)} <= OF_THIS_COMMIT
    assert left["main.array_rows"][0] == right["main.array_rows"][0]
    check_leftovers(shared)


def place(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for what is unpacked, which has to be empty afterwards."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    return place


def many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven ranks with a little of everything, some of it sealed, and a process without a launcher."""
    with monkeypatch.context() as patched, Job(folder / "logs", 7) as job:
        small_tails(patched)
        say_much(job, 0)
    with one(folder / "logs", name="client") as job:
        say(job, 1)
    return folder


def damaged(folder: Path) -> Path:
    """A log whose tail is cut, one with a flipped bit, one without header, one of whose arrays nothing is left."""
    with Job(folder / "logs", 4) as job:
        say(job, 0)
        folders = [job.folder(rank) for rank in range(4)]
    tails = [sorted(each.glob("tail-*"))[0] for each in folders]
    os.truncate(tails[0], 9_000)
    flip(tails[1], 4096 + 70)
    (folders[2] / "header.json").unlink()
    for path in folders[3].glob("arrays-*"):
        os.truncate(path, 2_000)
    return folder


def copied(folder: Path) -> Path:
    """Logs and copies of them, one under another name and one of which a half is gone."""
    with Job(folder / "logs" / "node-1", 3) as job:
        say(job, 0)
        folders = [job.folder(rank) for rank in range(3)]
    shutil.copytree(folders[0], folder / "logs" / "node-2" / folders[0].name)
    shutil.copytree(folders[1], folder / "logs" / "node-2" / "a copy")
    torn = Path(shutil.copytree(folders[2], folder / "logs" / "node-2" / folders[2].name))
    os.truncate(sorted(torn.glob("tail-*"))[0], 9_000)
    return folder


def bundled(folder: Path) -> Path:
    """Logs of two nodes in bundles, one of them in a directory too, and another log beside them."""
    for node in ("n1", "n2"):
        with Job(folder / node, 3, name=node) as job:
            say(job, 0)
        bundle(folder / node, folder / "logs" / node, node)
    first = sorted((folder / "n1").iterdir())[0]
    shutil.copytree(first, folder / "logs" / "direct" / first.name)
    with one(folder / "logs" / "direct", name="client") as job:
        say(job, 1)
    return folder


def test_it_is_the_merge_of_one_process(
    run_ranks: RunRanks, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of logs of which some are sealed, of node bundles, and again of logs that hold nothing new; a rebuild too."""
    everything, bundles = many(place(tmp_path, "many"), monkeypatch), bundled(place(tmp_path, "bundled"))
    told = share(run_ranks, 3, tmp_path, everything, bundles, everything)
    assert [each[:2] for each in told] == [[True, 1], [True, 1], [False, 1]]
    assert count(everything / "shared.duckdb", "row_edges") > 0
    for each in (everything, bundles):
        check_same(each)
        assert not list(temporary.iterdir())
    check_rebuilt(everything / "shared.duckdb", tmp_path / "rebuilt.duckdb")


@pytest.mark.slow
def test_it_is_the_merge_of_one_process_for_odd_logs(run_ranks: RunRanks, tmp_path: Path, temporary: Path) -> None:
    """Damaged ones, copies, of an earlier format, one log for many ranks, and logs that are being written."""
    damage, copies = damaged(place(tmp_path, "damaged")), copied(place(tmp_path, "copied"))
    bundles, old, single = bundled(place(tmp_path, "b")), place(tmp_path, "old"), place(tmp_path, "single")
    shutil.copytree(GOLDEN, old / "logs")
    with one(single / "logs") as job:
        say(job, 0)
    growing = place(tmp_path, "growing")
    with Job(growing / "logs", 3) as job:
        say(job, 0)
        for name in ("shared", "alone"):
            compact(growing / "logs", growing / f"{name}.duckdb")
        say(job, 1)
        compact(growing / "logs", growing / "alone.duckdb")
        everywhere = (damage, copies, bundles, old, single, growing)
        told = share(run_ranks, 4, tmp_path, *everywhere)
    assert [each[:2] for each in told] == [[True, 1]] * 5 + [[True, 2]]
    for each in everywhere:
        check_same(each)
    check_rebuilt(bundles / "shared.duckdb", tmp_path / "rebuilt.duckdb")
    assert not list(temporary.iterdir())


def test_what_is_refused_is_refused_on_all_ranks(run_ranks: RunRanks, tmp_path: Path) -> None:
    """A newer log among others, no logs, no directory: nothing is written anywhere, and every rank raises the same."""
    newer, empty, none = (place(tmp_path, name) for name in ("newer", "empty", "none"))
    with Job(newer / "logs", 5) as job:
        say(job, 0)
        folder = job.folder(3)
    newer_major(folder, "header")
    (empty / "logs").mkdir()
    before = [states(each) for each in (newer, empty, none)]
    told = share(run_ranks, 3, tmp_path, newer, empty, none)
    assert [each[0] for each in told] == ["FormatTooNewError", "NotFoundError", "NotFoundError"]
    assert [states(each) for each in (newer, empty, none)] == before
    for each, (_, message) in zip((newer, empty, none), told, strict=True):
        with pytest.raises(braid.BraidError) as raised:
            compact(each / "logs", each / "alone.duckdb")
        assert str(raised.value) == message


def test_files_are_looked_at_by_all(run_ranks: RunRanks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests that were left to the merge: what is still there is verified once, and of the others it is said."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        Path(f"file-{number}").write_bytes(b"%d" % number * 9)
    with braid.job("defer", log_dir="logs") as run, run.activity("make"):
        for number in range(6):
            run.output(f"file-{number}", digest="deferred")
    Path("file-1").unlink()
    Path("file-2").write_bytes(b"written over")
    assert share(run_ranks, 3, tmp_path, tmp_path)[0][:2] == [True, 2]
    braid.compact("logs", "alone.duckdb")
    found = []
    for name in ("shared", "alone"):
        with braid.open(f"{name}.duckdb") as store:
            found.append(store.sql("select name, state, digest, detail from inspections order by name").to_pylist())
    assert found[0] == found[1]
    assert sorted(row["state"] for row in found[0]) == ["changed", "missing", *["verified"] * 4]
    check_leftovers(tmp_path / "shared.duckdb")


@pytest.mark.slow
def test_the_command_speaks_once_and_ends_as_one(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Under mpirun: one sentence for all ranks, the code of all of them, and nothing else printed."""
    with Job(tmp_path / "logs", 3) as job:
        say(job, 0)
    store = tmp_path / "prov.duckdb"
    done = run_ranks(3, BRAID, "compact", tmp_path / "logs", "--store", store)
    assert (done.stdout, done.stderr.count("snapshot 1,"), done.stderr.count("\n")) == ("", 1, 1)
    done = run_ranks(2, BRAID, "compact", tmp_path / "nothing", "--store", store, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("is not a directory") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("why", ["worlds", "mpi4py"])
def test_ranks_that_mpi_does_not_join_do_not_race(why: str, run_ranks: RunRanks, tmp_path: Path) -> None:
    """A launcher counts four, and MPI one, or nobody can ask MPI: rank 0 works and says so, the others end."""
    with Job(tmp_path / "logs", 2) as job:
        say(job, 0)
    store = tmp_path / "prov.duckdb"
    env: dict[str, str | None] = {"SLURM_STEP_NUM_TASKS": "4"}
    if why == "mpi4py":
        (tmp_path / "without" / "mpi4py").mkdir(parents=True)
        (tmp_path / "without" / "mpi4py" / "__init__.py").write_text("raise ImportError('there is none')\n")
        env["PYTHONPATH"] = str(tmp_path / "without")
    command = ("compact", tmp_path / "logs", "--store", store)
    for rank in (3, 0, 1):
        done = run_ranks(0, BRAID, *command, env={**env, "SLURM_PROCID": str(rank)})
        if rank:
            assert done.stdout + done.stderr == ""
        else:
            assert "4 ranks were started, but " in done.stderr
            assert "snapshot 1," in done.stderr
        assert store.exists() == (rank != 3)
    assert "nothing new" in run_ranks(0, BRAID, *command, "--alone", env={**env, "SLURM_PROCID": "2"}).stderr


@pytest.mark.slow
def test_two_jobs_at_once_double_nothing(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Started at the same time by mistake: one wins, the other one finds nothing new."""
    with Job(tmp_path / "logs", 6) as job:
        say(job, 0)
    command = (BRAID, "compact", tmp_path / "logs", "--store", tmp_path / "shared.duckdb")
    jobs = [run_ranks.start(2, *command) for _ in range(2)]
    said = [job.wait(120).stderr for job in jobs]
    assert sorted("nothing new" in each for each in said) == [False, True]
    check_same(tmp_path)


@pytest.mark.slow
def test_mpi_is_not_asked_without_a_launcher(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Neither a merge by one process nor what ranks import for sharing it imports mpi4py."""
    with one(tmp_path / "logs") as job:
        say(job, 0)
    program = "import sys; import braid_hpc.compaction.crew; from braid_hpc.cli import main\n" + (
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\nassert 'mpi4py' not in sys.modules\n"
    )
    run_ranks(0, program, "compact", tmp_path / "logs", "--store", tmp_path / "prov.duckdb")

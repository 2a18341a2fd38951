"""Clocks that are wrong and logs that are not where they were written: order is kept, nothing is taken for another."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from braid_hpc.compaction.compact import compact
from braid_hpc.log.header import pack_header, unpack_header
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.survey import read_writer
from braid_hpc.store.store import Store
from tests.faults.campaign import many
from tests.faults.stores import say
from tests.jobs import Job, count, digests, edges_of, rows
from tests.ranks import LAUNCHER_VARIABLES

ROOT = Path(__file__).parents[2]
HOUR = 3600

PROGRAM = """
import os, struct, sys, time
import braid_hpc as braid

steps = [float(word) for word in sys.argv[1:]]
clock = os.open(os.environ["INTERRUPT_CLOCK"], os.O_WRONLY)

with braid.job("clocks") as run:
    rank = run.rank or 0
    model = run.model("net", digest=f"w:{rank}:start", derived_from=run.data(f"peaks/{rank}", digest=f"x:{rank}"))
    for number, seconds in enumerate(steps):
        with run.activity("train", used=model):
            # In the middle of an activity, which must not last an hour for that.
            os.pwrite(clock, struct.pack("<q", int(seconds * 1e9)), 0)
            model = run.model("net", digest=f"w:{rank}:{number}", derived_from=model)
        stream = run.stream("losses", {"step": "int32"})
        stream.append(number)
        # Sealing pairs the two clocks again.
        for extra in range(2500):
            stream.append(1000 + extra)
        while run._log.seal():
            pass
"""


def run_with_clock(
    folder: Path, library: Path, shift: float, *steps: float, rank: int | None = None, size: int = 2
) -> subprocess.Popen[bytes]:
    """Start the program with a wall clock that is `shift` seconds off, and then as much as each step says."""
    folder.mkdir(exist_ok=True)
    clock = folder / f"clock-{rank}"
    clock.write_bytes(struct.pack("<q", int(shift * 1e9)).ljust(4096, b"\0"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHER_VARIABLES)}
    about = {"LD_PRELOAD": str(library), "INTERRUPT_CLOCK": str(clock), "PYTHONPATH": str(ROOT)}
    about["BRAID_LOG_DIR"] = str(folder / "logs")
    if rank is not None:
        about |= {"PMI_RANK": str(rank), "PMI_SIZE": str(size), "BRAID_RUN_ID": "7" * 32}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *map(str, steps)], env=kept | about)


def braid_check(logs: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "braid_hpc", "check", str(logs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)


def test_a_clock_that_is_set_forth_and_back_during_a_run(interrupt: Path, tmp_path: Path) -> None:
    """Versions, edges and rows in the order of recording, durations by the other clock, and check says so."""
    steps = [HOUR, -2 * HOUR, 30 * 24 * HOUR, 0.0]
    assert run_with_clock(tmp_path / "a", interrupt, 0, *steps).wait(60) == 0
    assert run_with_clock(tmp_path / "b", interrupt, 0, 0.0, 0.0, 0.0, 0.0).wait(60) == 0
    for name in "ab":
        compact(tmp_path / name / "logs", tmp_path / f"{name}.duckdb")
    with Store(tmp_path / "a.duckdb") as stepped, Store(tmp_path / "b.duckdb") as steady:
        names = "select version, digest from versions where name = 'net' order by version"
        assert rows(stepped, names) == rows(steady, names)
        assert edges_of(stepped) == edges_of(steady)
        assert [digest for _, digest in rows(stepped, names)] == ["w:0:start", *(f"w:0:{n}" for n in range(4))]
        losses = "select step from stream.losses where step < 1000 order by _writer, _row"
        assert rows(stepped, losses) == rows(steady, losses) == [(0,), (1,), (2,), (3,)]
        assert rows(stepped, "select count(*) from activities where duration_ns not between 0 and 60e9") == [(0,)]
        assert stepped.lineage("model:net").counts == steady.lineage("model:net").counts
    (directory,) = find_writers(tmp_path / "a" / "logs")
    times = read_writer(directory).events["time"].tolist()
    assert all(before <= after for before, after in pairwise(times))
    said = braid_check(tmp_path / "a" / "logs")
    assert said.returncode == 1
    assert "the wall clock was set" in said.stderr
    assert "the wall clock was set" not in braid_check(tmp_path / "b" / "logs").stderr


def test_ranks_whose_clocks_differ_by_a_day(interrupt: Path, tmp_path: Path) -> None:
    """One run; each rank's own order, whatever the other one's clock says."""
    started = [run_with_clock(tmp_path, interrupt, shift, 0.0, rank=rank) for rank, shift in ((0, 0), (1, 24 * HOUR))]
    assert [process.wait(60) for process in started] == [0, 0]
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(2, 2, "ok")]
        assert count(opened, "problems") == 0
        expected = {f"w:{rank}:{step}" for rank in (0, 1) for step in ("start", 0)}
        found = rows(opened, "select step, digest from versions where name = 'net'")
        assert {digest for _, digest in found} == expected
        assert {step for step, digest in found if digest.endswith("start")} == {0}
        for child, parent in edges_of(opened):
            assert "net" not in parent or int(child[-1]) > int(parent[-1])


def test_two_writers_that_say_they_are_one_rank(tmp_path: Path) -> None:
    """Each is a run of its own, nothing of either is lost or joined, and check says why."""
    logs = tmp_path / "logs"
    for _ in range(2):
        with Job(logs, 2, env={"BRAID_RUN_ID": "5" * 32}) as job:
            say(job, 0)
    compact(logs, tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as opened:
        assert count(opened, "runs") == count(opened, "ranks") == 4
        assert rows(opened, "select count(distinct _run), count(*) from stream.hits") == [(4, 4 * 301)]
        assert "appears twice" in rows(opened, "select message from problems where code = 'run'")[0][0]
    said = braid_check(logs)
    assert said.returncode == 1
    assert said.stderr.count("appears twice among writers that nothing tells apart") == 4


def test_a_job_that_was_requeued(tmp_path: Path) -> None:
    """The same job id, step and ranks once more: two runs of two, and the second one knows the first one's versions."""
    logs = tmp_path / "logs"
    for restart in (None, "1"):
        slurm = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}
        if restart:
            slurm["SLURM_RESTART_COUNT"] = restart
        with Job(logs, 2, env={**slurm, "BRAID_RUN_ID": ""}) as job:
            say(job, 0)
    compact(logs, tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(2, 2, "ok")] * 2
        assert count(opened, "problems", "code = 'run'") == 0


def copies(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """Give the logs of two ranks, the directory of the first, and the digests of their store."""
    logs = tmp_path / "logs"
    with Job(logs, 2) as job:
        say(job, 0, many=3000)
    compact(logs, tmp_path / "whole.duckdb")
    return logs, job.folder(0), digests(tmp_path / "whole.duckdb")


def some_of(folder: Path) -> list[str]:
    """Give the names of the files of a log, or of a few of them."""
    files = sorted(path.name for path in folder.iterdir())
    assert {"arrays-1.h5", "header.json", "tail-000001", "stream-0001.arrows"} <= set(files)
    return random.sample(files, many(len(files), 2))


def test_a_half_copied_log_beside_the_whole_one(tmp_path: Path) -> None:
    """Each file of the copy cut in the middle, or missing: nothing is lost, doubled, or called incomplete."""
    logs, folder, whole = copies(tmp_path)
    for number, name in enumerate(some_of(folder)):
        for how in ("cut", "missing") if many(2, 1) == 2 else ("cut", "missing")[number % 2 :][:1]:
            copy = Path(shutil.copytree(folder, logs / "copied" / folder.name))
            if how == "cut":
                os.truncate(copy / name, (copy / name).stat().st_size // 2)
            else:
                (copy / name).unlink()
            store = tmp_path / f"{number}-{how}.duckdb"
            compact(logs, store)
            assert digests(store) == whole, (name, how)
            shutil.rmtree(copy)


def test_a_half_copied_log_and_then_the_whole_one(tmp_path: Path) -> None:
    """What lacked is told, and taken when it comes: events, arrays and batches; then it is the store of whole logs."""
    logs, folder, whole = copies(tmp_path)
    for number, name in enumerate(some_of(folder)):
        part = tmp_path / f"part-{number}"
        shutil.copytree(logs, part)
        os.truncate(part / folder.name / name, (part / folder.name / name).stat().st_size // 2)
        store = tmp_path / f"{number}.duckdb"
        first = compact(part, store)
        told = not first.states[folder.name].complete
        assert told or digests(store) == whole, name
        shutil.rmtree(part)
        compact(logs, store)
        later, expected = (digests(of, numbers=False) for of in (store, tmp_path / "whole.duckdb"))
        differ = {table for table in expected if later[table] != expected[table]}
        # That something lacked once stays said.
        allowed = {"problems"}
        if name == "header.json":
            # A run of its own, which it stays: of which run it is, nobody could say when it was taken.
            allowed = set(expected)
        elif name.startswith("stream"):
            # Rows of a batch that could not be read when its event was taken are not looked for again; that is said.
            allowed |= {"ranks", "runs", "row_edges", "stream.hits"}
        assert differ <= allowed, (name, differ)
        assert told or not differ


def test_a_log_that_was_moved_to_another_host_under_another_name(tmp_path: Path) -> None:
    """It is the same writer's, of the same run, whatever machine reads it."""
    logs, folder, whole = copies(tmp_path)
    for directory in find_writers(logs):
        header = unpack_header((directory / "header.json").read_bytes())
        header |= {"boot_id": "of another machine", "host": "elsewhere"}
        header.pop("check", None)
        (directory / "header.json").write_bytes(pack_header(header))
    folder.rename(logs / "moved")
    again = compact(logs, tmp_path / "whole.duckdb")
    assert not again.new
    compact(logs, tmp_path / "moved.duckdb")
    moved = digests(tmp_path / "moved.duckdb")
    assert {table for table in whole if moved[table] != whole[table]} <= {"runs", "ranks"}
    with Store(tmp_path / "moved.duckdb") as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(2, 2, "ok")]


def test_a_renamed_log_without_its_header(tmp_path: Path) -> None:
    """Its tails say whose it is: not passed over, and not taken for another writer beside the whole one."""
    logs, folder, whole = copies(tmp_path)
    for name in ("moved aside", "0" * 32):
        copy = Path(shutil.copytree(folder, logs / name))
        (copy / "header.json").unlink()
        assert len(find_writers(logs)) == 3
        assert read_writer(copy).writer == folder.name
        compact(logs, tmp_path / f"{name}.duckdb")
        assert digests(tmp_path / f"{name}.duckdb") == whole
        shutil.rmtree(copy)


def test_a_file_of_another_log(tmp_path: Path) -> None:
    """A tail that was copied into another writer's directory is nobody's there, and that is said."""
    logs, folder, _ = copies(tmp_path)
    (other,) = set(logs.iterdir()) - {folder}
    before = read_writer(folder).events["sequence"].tolist()
    shutil.copy(max(other.glob("tail-*")), folder / "tail-000099")
    log = read_writer(folder)
    assert log.events["sequence"].tolist() == before
    assert not log.state.complete
    assert log.faults == [f"tail-000099: it belongs to the log of writer {other.name}"]

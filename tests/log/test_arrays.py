"""Arrays in the log: whatever the program does, an array whose call has returned comes back bit for bit."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.log import arrays as logging_arrays
from braid_hpc.log.array_pools import CHUNK, INDEX, INDEX_ROWS, LARGE, LARGE_CHUNK, POOLS, Pool
from braid_hpc.log.arrays import ATTEMPTS
from braid_hpc.reading.arrays import check_arrays, logged_arrays
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.run.arrays import INLINE_BYTES
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.faults.campaign import many
from tests.rank_logs import read_logs, read_only_log, said, tmpfs
from tests.recorded_arrays import arrays_of_every_sort, read_arrays, same

LARGE_SORTS, SMALL_SORTS = arrays_of_every_sort(), arrays_of_every_sort(80)


def checked(log: WriterLog) -> WriterLog:
    """Give a log whose arrays were all compared with their digests."""
    with ArrayReader() as reader:
        check_arrays(log, reader)
    return log


def run_python(script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env={**os.environ, "BRAID_STRICT": "0"})


# ------------------------------------------------------------------ what comes back


@pytest.mark.parametrize("sorts", [LARGE_SORTS, SMALL_SORTS], ids=["in-files", "in-the-tail"])
def test_arrays_of_every_sort_come_back(tmp_path: Path, sorts: dict[str, Any]) -> None:
    with braid.job("arrays", log_dir=tmp_path) as run:
        for name, array in sorts.items():
            assert run.array(name, array)
    log = checked(read_only_log(tmp_path))
    assert (log.state, log.faults) == (WriterState.CLOSED, [])
    back = read_arrays(log)
    assert [name for name, array in sorts.items() if not same(back[name], array)] == []


def test_small_arrays_stand_among_the_events_and_large_ones_in_the_file(tmp_path: Path) -> None:
    with braid.job("arrays", log_dir=tmp_path) as run:
        run.array("small", np.zeros(INLINE_BYTES, "u1"))
        run.array("large", np.zeros(INLINE_BYTES + 1, "u1"))
    small, large = logged_arrays(read_only_log(tmp_path))
    assert (small.entry.file, len(small.entry.data), small.names) == (0, INLINE_BYTES, ["data:small"])
    assert (large.entry.file, large.entry.pool, large.entry.data) == (1, "uint8", None)


def test_the_record_is_declared_with_digest_dtype_shape_and_unit(tmp_path: Path) -> None:
    values = np.arange(30_000, dtype="f4").reshape(-1, 3)
    with braid.job("arrays", log_dir=tmp_path) as run:
        scan = run.data("scan")
        run.array("frames", values, unit="counts", derived_from=scan, tags={"cold": True}, kind="frame")
        run.data("described", array=values)
    stored, described = (row.value for row in said(read_only_log(tmp_path), Code.DECLARE)[1:])
    assert stored | {"parents": 0, "tags": 0} == {
        **described,
        "unit": "counts",
        "parents": 0,
        "tags": 0,
    }
    assert (stored["dtype"], stored["shape"], stored["tags"]) == ("<f4", [10_000, 3], {"cold": True})


def test_an_array_of_an_activity_is_generated_by_it(tmp_path: Path) -> None:
    with braid.job("arrays", log_dir=tmp_path) as run:
        act = run.activity("reduce")
        act.array("frames", np.arange(3), unit="s")
        act.end()
    log = read_only_log(tmp_path)
    (begun,), (declared,) = said(log, Code.BEGIN), said(log, Code.DECLARE)
    assert declared.subject == begun.sequence


def test_an_array_can_be_named_as_a_parent_afterwards(tmp_path: Path) -> None:
    values = np.arange(10)
    with braid.job("arrays", log_dir=tmp_path) as run:
        record = run.array("frames", values)
        run.data("peaks", derived_from=values)
    assert said(read_only_log(tmp_path), Code.DECLARE)[1].value["parents"] == [record.sequence]


@pytest.mark.parametrize("length", [10, 50_000])
def test_equal_content_is_stored_once(tmp_path: Path, length: int) -> None:
    with braid.job("arrays", log_dir=tmp_path) as run:
        for name in ("one", "two", "one"):
            assert run.array(name, np.arange(length))
    log = read_only_log(tmp_path)
    assert (len(said(log, Code.ARRAY)), len(said(log, Code.DECLARE))) == (1, 3)
    assert [array.names for array in logged_arrays(log)] == [["data:one", "data:two"]]


def test_an_array_that_is_changed_is_another_content(tmp_path: Path) -> None:
    values = np.zeros(20_000)
    with braid.job("arrays", log_dir=tmp_path) as run:
        for step in range(3):
            values[5] = step
            run.array("state", values)
    arrays = logged_arrays(checked(read_only_log(tmp_path)))
    assert [array.entry.offset % (CHUNK // 8) for array in arrays] == [0, 0, 0]
    assert len(arrays) == 3


def test_a_closed_file_is_read_with_h5py_alone(tmp_path: Path) -> None:
    """The index says where each array lies; this test uses nothing of the package to read it."""
    kept = {f"a{i}": np.full((LARGE if i % 9 == 0 else 3_000, 2), i, "f8") for i in range(INDEX_ROWS + 6)}
    with braid.job("arrays", log_dir=tmp_path) as run:
        for name, array in kept.items():
            run.array(name, array)
    (path,) = tmp_path.glob("*/arrays-1.h5")
    with h5py.File(path, "r") as file:
        rows = file["index"][:]
        assert all(file[name].fletcher32 for name in file)
        for row, array in zip(rows, kept.values(), strict=True):
            first, length = int(row["offset"]), int(row["length"])
            shape = tuple(row["shape"][: row["dimensions"]])
            assert row["dtype"] == b"<f8"
            assert same(file[row["pool"].decode()][first : first + length].reshape(shape), array)


# ------------------------------------------------------------------ what is not asked for


def test_recording_scalars_and_streams_never_imports_numpy_or_h5py(tmp_path: Path) -> None:
    done = run_python(
        """
        import sys
        import braid_hpc as braid
        with braid.job("scalars", log_dir=sys.argv[1]) as run:
            run.fact("energy", 7.1)
            stream = run.stream("losses", {"step": int, "loss": float})
            for step in range(5000):
                stream.append(step, 0.5)
            run.array("buffer", bytes(100))
        print([name for name in ("numpy", "h5py") if name in sys.modules])
        """,
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_without_h5py_the_program_goes_on_and_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    done = run_python(
        """
        import sys
        sys.modules["h5py"] = None
        import numpy as np, braid_hpc as braid
        with braid.job("arrays", log_dir=sys.argv[1]) as run:
            print(bool(run.array("large", np.zeros(10_000))), bool(run.array("again", np.ones(10_000))))
            run.array("small", np.zeros(10))
        """,
        tmp_path,
    )
    assert done.stdout == "True True\n"
    assert done.stderr.count("\n") == 1
    assert "pip install 'braid_hpc[arrays]'" in done.stderr
    log = read_only_log(tmp_path)
    assert log.state is WriterState.LOSSY
    assert [count for count, _, _ in log.lost] == [1, 1]
    assert all("was not stored: arrays need h5py" in fault for fault in log.faults)
    assert [array.names for array in logged_arrays(log)] == [["data:small"]]


def test_objects_are_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    things = np.array([object()])
    with braid.job("arrays", log_dir=tmp_path) as run:
        with pytest.raises(InvalidInputError, match="holds Python objects"):
            run.array("things", things)
        monkeypatch.setenv("BRAID_STRICT", "0")
        assert run.array("things", things)
        assert not run.array("", np.zeros(3))
        assert not run.array("frames", np.zeros(3), kind="No Kind")
    log = read_only_log(tmp_path)
    assert said(log, Code.REJECTED)[0].value["message"].startswith("array= holds Python objects")
    assert said(log, Code.ARRAY) == []


def test_a_run_that_records_nothing_takes_arrays_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BRAID_DISABLE", "1")
    with braid.job("arrays", log_dir=tmp_path) as run:
        assert not run.array("frames", np.zeros(100_000), unit="m", derived_from=None, tags={"a": 1})
        assert not run.activity("reduce").array("frames", np.zeros(3))
    assert list(tmp_path.iterdir()) == []


def test_arrays_after_the_end_are_not_kept(tmp_path: Path) -> None:
    with braid.job("arrays", log_dir=tmp_path) as run:
        run.array("large", np.zeros(10_000))
    assert not run.array("late", np.ones(10_000))
    assert len(logged_arrays(read_only_log(tmp_path))) == 1


# ------------------------------------------------------------------ killed


def _record_until_killed(log_dir: Path, seed: int, told: int) -> None:
    draw = np.random.default_rng(seed)
    dtypes = ("u1", "i2", "i4", "f4", "f8", "c16", ">f8", "M8[s]", "?")
    with braid.job("arrays", log_dir=log_dir) as run:
        for number in range(100_000):
            size = int(draw.choice([100, 5_000, 20_000, 40_000, 150_000, 700_000]))
            dtype = np.dtype(str(draw.choice(dtypes)))
            array = draw.integers(0, 2, size // dtype.itemsize, np.uint8).astype("u8").astype(dtype)
            array = np.roll(array, number)
            run.array(f"a{number}", array)
            digest = f"{dtype.str} {array.tobytes().__hash__()}"
            os.write(told, json.dumps([f"a{number}", digest]).encode() + b"\n")


def _kill_while_recording(log_dir: Path, seed: int) -> dict[str, str]:
    """Fork, let the child record arrays, kill it; return what its calls had returned for."""
    reading, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _record_until_killed(log_dir, seed, told)
        finally:
            os._exit(1)
    os.close(told)
    with os.fdopen(reading, "rb") as pipe:
        first = pipe.readline()
        time.sleep(random.Random(seed).uniform(0, 0.08))
        os.kill(child, signal.SIGKILL)
        lines = [first, *pipe.readlines()]
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return dict(json.loads(line) for line in lines if line.endswith(b"\n"))


def test_no_array_whose_call_had_returned_is_lost_in_any_kill(tmp_path: Path) -> None:
    """The oracle is the parent, which was told of each array through a pipe after its call had returned."""
    total = 0
    with ArrayReader() as reader:
        for seed in range(kills := many(100, 40)):
            told = _kill_while_recording(tmp_path / str(seed), seed)
            log = read_only_log(tmp_path / str(seed))
            check_arrays(log, reader)
            assert (seed, log.state, log.faults) == (seed, WriterState.OPEN, [])
            back = read_arrays_with(reader, log)
            assert {name: back.get(name) for name in told} == told, f"seed {seed}"
            total += len(told)
    assert total > 5 * kills


def test_the_trial_goes_red_when_arrays_are_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Pool.__init__

    def without_flush(self: Pool, dataset: Any) -> None:
        made(self, dataset)
        self.flush = lambda: None

    monkeypatch.setattr(Pool, "__init__", without_flush)
    faults = []
    with ArrayReader() as reader:
        for seed in range(5):
            _kill_while_recording(tmp_path / str(seed), seed)
            log = read_only_log(tmp_path / str(seed))
            check_arrays(log, reader)
            faults.extend(log.faults)
    assert faults


def read_arrays_with(reader: ArrayReader, log: WriterLog) -> dict[str, str]:
    """Give dtype and hash of each array by all its names."""
    found = {}
    for array in logged_arrays(log):
        data = array.read(reader, log.directory, 0, array.entry.size)
        for name in array.names:
            found[name.partition(":")[2]] = f"{array.entry.dtype} {data.__hash__()}"
    return found


# ------------------------------------------------------------------ threads, signals, forks


def test_threads_and_a_signal_handler_record_at_the_same_time(tmp_path: Path) -> None:
    """The handler runs on the main thread, which is recording an array itself at almost every moment."""
    kept: dict[str, Any] = {}

    def record(run: Any, who: str, count: int) -> None:
        for number in range(count):
            size = (3_000, 5_000, 40_000)[number % 3]
            name = f"{who}-{number}"
            kept[name] = np.full(size, hash(name) % 10_007, ("f8", "i4", ">f4")[number % 3])
            run.array(name, kept[name])

    signals = iter(range(1_000_000))

    def handler(*_: Any) -> None:
        record(run, f"signal{next(signals)}", 1)
        # Armed again only now: on a slow machine handlers would otherwise nest without end.
        signal.setitimer(signal.ITIMER_REAL, 0.003)

    with braid.job("arrays", log_dir=tmp_path) as run:
        before = signal.signal(signal.SIGALRM, handler)
        threads = [threading.Thread(target=record, args=(run, f"thread{i}", 40)) for i in range(4)]
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        try:
            for thread in threads:
                thread.start()
            record(run, "main", 150)
            for thread in threads:
                thread.join()
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    log = checked(read_only_log(tmp_path))
    assert (log.state, log.faults) == (WriterState.CLOSED, [])
    back = read_arrays(log)
    assert next(signals) > 5
    assert [name for name, array in kept.items() if not same(back[name], array)] == []


FORKING = """
    import os, sys, threading
    import numpy as np, braid_hpc as braid

    with braid.job("arrays", log_dir=sys.argv[1]) as run:
        for number in range(5):
            run.array(f"parent{number}", np.full(20_000, number, "f8"))
        busy = threading.Event()
        def record():
            for number in range(200):
                run.array(f"thread{number}", np.full(9_000, number, "f8"))
                busy.set()
        thread = threading.Thread(target=record)
        thread.start()
        busy.wait()
        children = []
        for child in range(3):
            pid = os.fork()
            if pid == 0:
                if child:
                    run.array(f"child{child}", np.full(30_000, child, "f8"))
                # Through the whole end of the interpreter, HDF5's included.
                sys.exit(0)
            children.append(pid)
        for number in range(5, 10):
            run.array(f"parent{number}", np.full(20_000, number, "f8"))
        ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        for number in range(10, 15):
            run.array(f"parent{number}", np.full(20_000, number, "f8"))
        thread.join()
    print(ended)
"""


def test_a_forked_child_has_files_of_its_own_and_leaves_the_parents_alone(tmp_path: Path) -> None:
    done = run_python(FORKING, tmp_path)
    assert (done.stdout, done.stderr) == ("[0, 0, 0]\n", "")
    parent, *children = [checked(log) for log in read_logs(tmp_path)]
    assert [(log.state, log.faults) for log in (parent, *children)] == [(WriterState.CLOSED, [])] * 3
    back = read_arrays(parent)
    assert all(same(back[f"parent{n}"], np.full(20_000, n, "f8")) for n in range(15))
    assert all(same(back[f"thread{n}"], np.full(9_000, n, "f8")) for n in range(200))
    assert sorted(name for log in children for name in read_arrays(log)) == ["child1", "child2"]


def test_descriptors_of_arrays_files_are_not_inherited_by_programs(tmp_path: Path) -> None:
    with braid.job("arrays", log_dir=tmp_path) as run:
        run.array("large", np.zeros(10_000))
        listed = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False)
    assert "arrays-1.h5" not in listed.stdout


# ------------------------------------------------------------------ file systems that refuse


def test_on_a_full_disk_arrays_are_lost_and_counted_and_recording_resumes(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "12m") as room:
        with braid.job("arrays", log_dir=room) as run:
            for number in range(12):
                run.array(f"a{number}", np.full(150_000, number, "f8"))
            (full,) = room.glob("*/arrays-1.h5")
            stored = full.stat().st_size
            run.fact("after", 1)
            subprocess.run(["mount", "-o", "remount,size=40m", room], check=True)
            run.array("later", np.full(150_000, 99, "f8"))
        log = checked(read_only_log(room))
        back = read_arrays(log)
        declared = [row.name for row in said(log, Code.DECLARE)]
    assert stored < 12 << 20
    assert log.state is WriterState.LOSSY
    lost = {fault.split()[1].partition(":")[2] for fault in log.faults}
    assert len(lost) == len(log.lost) > 0
    assert lost | back.keys() == {f"a{n}" for n in range(12)} | {"later"}
    assert lost & back.keys() == set()
    assert all(same(back[name], np.full(150_000, int(name[1:]), "f8")) for name in back if name != "later")
    assert declared[-2:] == ["after", "later"]
    assert all("no space is left" in fault for fault in log.faults)


LIMITED = """
    import resource, sys, time
    import numpy as np, braid_hpc as braid

    with braid.job("arrays", log_dir=sys.argv[1]) as run:
        run.array("first", np.full(20_000, 1, "f8"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 4 << 20))
        for number in range(8):
            run.array(f"a{number}", np.full(60_000, number, "f8"))
        time.sleep(1.1)
        run.array("later", np.full(60_000, 9, "f8"))
"""


def test_a_write_that_fails_within_hdf5_costs_that_array_and_the_next_file_goes_on(tmp_path: Path) -> None:
    """A limit on the length of files stands for whatever the file system may answer in the middle of a write."""
    done = run_python(LIMITED, tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "is not stored: an array could not be written" in done.stderr
    log = checked(read_only_log(tmp_path))
    assert log.state is WriterState.LOSSY
    back = read_arrays(log)
    lost = {fault.split()[1].partition(":")[2] for fault in log.faults}
    assert lost | back.keys() == {"first", "later", *(f"a{n}" for n in range(8))}
    assert lost & back.keys() == set()
    assert {"first", "a0", "a1", "later"} <= back.keys()
    assert same(back["later"], np.full(60_000, 9, "f8"))
    assert {array.entry.file for array in logged_arrays(log)} == {1, 2}


def test_an_unwritable_directory_costs_arrays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    with braid.job("arrays", log_dir=tmp_path) as run:
        monkeypatch.setattr(logging_arrays, "PoolFile", refuse)
        for number in range(3):
            assert run.array("large", np.full(10_000, number))
    log = read_only_log(tmp_path)
    assert (log.state, len(log.lost)) == (WriterState.LOSSY, 3)
    assert capsys.readouterr().err.count("\n") == 1


def test_the_background_thread_syncs_arrays_before_the_events_that_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fdatasync

    def note(descriptor: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    with braid.job("arrays", log_dir=tmp_path) as run:
        run.array("large", np.zeros(10_000))
        monkeypatch.setattr(os, "fdatasync", note)
        run.array("large", np.ones(10_000))
        run._log.sync()
        run._log.sync()
        monkeypatch.undo()
    assert synced[:2] == ["arrays-1.h5", "tail-000001"]
    assert synced.count("arrays-1.h5") == 1


def refusing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the kernel bring no file of these names to the disk."""
    real = os.fdatasync

    def refuse(descriptor: int) -> None:
        if os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")) in names:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", refuse)


def test_after_a_failed_sync_arrays_are_written_into_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`synced` stays behind meanwhile and catches up then; the first file is not needed any more."""
    monkeypatch.setattr("braid_hpc.log.keeper.INTERVAL", 1000.0)
    with braid.job("arrays", log_dir=tmp_path) as run:
        log = run._log
        log.sync()
        before = log.synced
        run.array("first", np.zeros(10_000))
        refusing(monkeypatch, "arrays-1.h5")
        with pytest.raises(OSError, match="Input/output"):
            log.sync()
        run.array("second", np.ones(10_000))
        assert log.synced == before
        held = log.held
        log.sync()
        assert log.synced >= held
        directory = log.directory
    arrays = logged_arrays(checked(read_only_log(tmp_path)))
    assert [[place.file for place in (array.entry, *array.others)] for array in arrays] == [[1, 2], [2]]
    (directory / "arrays-1.h5").unlink()
    log_again = checked(read_only_log(tmp_path))
    assert (log_again.faults, log_again.state) == ([], WriterState.CLOSED)


def test_arrays_that_no_file_takes_are_named_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some attempts the log says which array is not on the disk, and `synced` goes on without it."""
    monkeypatch.setattr("braid_hpc.log.keeper.INTERVAL", 1000.0)
    monkeypatch.setattr("braid_hpc.log.arrays.RETRY_NS", 1)
    with braid.job("arrays", log_dir=tmp_path) as run:
        log = run._log
        run.array("first", np.zeros(10_000))
        held = log.held
        refusing(monkeypatch, *(f"arrays-{number}.h5" for number in range(1, 20)))
        for _ in range(2 * ATTEMPTS + 5):
            if log.synced >= held:
                break
            with contextlib.suppress(OSError):
                log.sync()
        assert log.synced >= held
        assert len(list(log.directory.glob("arrays-*"))) <= ATTEMPTS + 1
    found = checked(read_only_log(tmp_path))
    assert "could not be brought to the disk" in " ".join(found.troubles)
    assert (found.faults, found.state) == ([], WriterState.CLOSED)


# ------------------------------------------------------------------ the page


def test_the_page_names_pools_sizes_and_fields() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "array-format.md").read_text()
    assert " ".join(POOLS) in page
    assert f"({CHUNK >> 10} KiB, and {LARGE_CHUNK >> 10} KiB the large ones)" in page
    assert f"for arrays of at least {LARGE >> 10} KiB" in page
    assert f"written {INDEX_ROWS} rows at a time" in page
    assert f"arrays of up to {INLINE_BYTES >> 10} KiB there" in page
    for name, *_ in INDEX:
        assert f"`{name}`" in page
    assert f"`ARRAY` row (code {Code.ARRAY:d})" in page

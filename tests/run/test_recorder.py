"""What a program records: declarations, links, refusals, and forks."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.log.choice import why_python
from braid_hpc.reading.writer_log import WriterLog, read_writer
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.encoding import encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_value
from tests.rank_logs import Said, read_logs, read_only_log, said, small_tails
from tests.ranks import RunRanks, wait_for


@pytest.fixture(autouse=True, params=["python", "compiled"])
def tail(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test with both tails."""
    if request.param == "python":
        monkeypatch.setenv("BRAID_TAIL", "python")
    elif (reason := why_python()) is not None:
        pytest.skip(f"the compiled tail does not run here: {reason}")
    return str(request.param)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[braid.Run]:
    with braid.job("recorder", log_dir=tmp_path / "logs") as run:
        yield run


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAID_STRICT")


def log_of(run: braid.Run) -> WriterLog:
    return read_writer(run._log.directory)


def declared(run: braid.Run) -> dict[str, Said]:
    return {row.name: row for row in said(log_of(run), Code.DECLARE)}


# --------------------------------------------------------------------------------------------- declarations


def test_a_declaration_keeps_what_was_given(run: braid.Run, tmp_path: Path) -> None:
    """Kind, name, parents, uris, tags, dtype, shape, unit; the handle is its occurrence."""
    one = run.data("one")
    record = run.record(
        "dataset",
        "frames/scan-7",
        uri=["s3://bucket/key"],
        digest="sha256:ab",
        size=5,
        dtype=np.dtype("u2"),
        shape=(2, 3),
        unit="counts",
        derived_from=[one, "model:other@2", None],
        tags={"beam": {"energy_keV": 71.7}},
        same_on_all_ranks=True,
    )
    row = declared(run)["frames/scan-7"]
    assert record == Record(run.writer, row.sequence, "dataset", "frames/scan-7")
    assert log_of(run).names()[row.other] == "dataset"
    assert row.value == {
        "parents": [one.sequence, "model:other@2"],
        "digest": "sha256:ab",
        "size": 5,
        "uris": ["s3://bucket/key"],
        "tags": {"beam.energy_keV": 71.7},
        "dtype": "<u2",
        "shape": [2, 3],
        "unit": "counts",
        "shared": True,
    }


def test_a_fact_without_bytes_has_its_value_as_content(run: braid.Run) -> None:
    """So that equal facts of all ranks and runs are one, whatever the order of their keys."""
    run.fact("config", {"b": 1, "a": [1 << 70, float("nan")]})
    run.fact("nothing")
    rows = declared(run)
    value = rows["config"].value
    assert value["digest"] == content_of_value(encode_canonical({"a": [1 << 70, float("nan")], "b": 1})).digest
    assert value["value"]["a"][0] == 1 << 70
    assert rows["nothing"].value == {"digest": content_of_value(encode_canonical(None)).digest}


def test_a_file_and_an_array_are_contents(run: braid.Run, tmp_path: Path) -> None:
    """Of which nothing is stored but digest, size, dtype and shape; the array is known from then on."""
    (tmp_path / "scan.toml").write_bytes(b"a = 1\n")
    frames = np.zeros((2, 3))
    record = run.data("frames", array=frames, path=tmp_path / "scan.toml")
    value = declared(run)["frames"].value
    assert (value["dtype"], value["shape"], value["size"]) == ("<f8", [2, 3], 48)
    assert value["uris"] == [(tmp_path / "scan.toml").as_uri()]
    assert braid.record_of(frames) is record
    run.data("other", derived_from=frames[0])
    assert declared(run)["other"].value["parents"] == [record.sequence]


def test_parents_in_all_their_forms(run: braid.Run) -> None:
    """Nested lists, handles of other writers, late ones, texts; None is passed over, as before the first epoch."""
    here, there = run.data("here"), Record(bytes(range(16)), 77, "data", "there")
    model = None
    model = run.model("braggnn", derived_from=[model, here])
    run.model("next", derived_from=(here, [there, (model.on_all_ranks(), there.on_all_ranks())], {'data:"a@b"'}, None))
    rows = declared(run)
    assert rows["braggnn"].value["parents"] == [here.sequence]
    assert rows["next"].value["parents"] == [
        here.sequence,
        bytes(there),
        [model.sequence],
        [bytes(there)],
        'data:"a@b"',
    ]


def test_a_handle_from_another_process_is_a_parent(run: braid.Run) -> None:
    """Through pickle, as mpi4py sends it, or through its token."""
    record = pickle.loads(pickle.dumps(Record(bytes(range(16)), 5, "data", "x")))
    run.data("a", derived_from=[record, Record.from_token(record.token), pickle.loads(pickle.dumps(run.data("own")))])
    rows = declared(run)
    assert rows["a"].value["parents"] == [bytes(record), bytes(record), rows["own"].sequence]


def test_later_parents_and_tags(run: braid.Run) -> None:
    """Statements of their own about an earlier occurrence, also about another writer's."""
    one, two, far = run.data("one"), run.data("two"), Record(bytes(range(16)), 9, "data", "far")
    run.derive(two, [one, "fact:x"])
    run.derive(far, one)
    run.tag(two, "passed", True)
    run.tag(far, "note", "é")
    log = log_of(run)
    near, other = said(log, Code.DERIVE)
    assert (near.subject, near.object, near.value) == (two.sequence, 0, {"links": [one.sequence, "fact:x"]})
    assert (other.subject, log.names()[other.object]) == (9, far.writer.hex())
    tags = said(log, Code.TAG)
    assert [(row.subject, row.value) for row in tags] == [(two.sequence, {"passed": True}), (9, {"note": "é"})]


# --------------------------------------------------------------------------------------------- refusals


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda run: run.record("Bad Kind", "x"), "cannot be a kind"),
    (lambda run: run.data(""), "name is a text"),
    (lambda run: run.data(5), "name is a text"),
    (lambda run: run.data("x", derived_from=5), "5 is not a record"),
    (lambda run: run.data("x", derived_from=[object()]), "is not a record"),
    (lambda run: run.data("x", derived_from="a@b"), "not a version"),
    (lambda run: run.fact("x", derived_from="data:y"), "no parents inside the workflow"),
    (lambda run: run.data("x", colour="red"), "colour= is not something a record has"),
    (lambda run: run.data("x", uri=5), "uri= is a text"),
    (lambda run: run.data("x", tags=5), "tags are a mapping"),
    (lambda run: run.data("x", array="text"), "array="),
    (lambda run: run.fact("x", object()), "cannot be kept"),
    (lambda run: run.data("x", shape="abc"), "invalid literal"),
    (lambda run: run.derive(5, "data:x"), "5 is not a record"),
    (lambda run: run.derive(run.data("x"), 5), "5 is not a record"),
    (lambda run: run.tag("data:x", "a", 1), "is not a record"),
    (lambda run: run.tag(run.data("x"), 5, 1), "not text"),
    (lambda run: run.activity("x", used=5), "5 is not a record"),
    (lambda run: run.activity("x", params=5), "params is a mapping"),
    (lambda run: run.stream("x", {}), "at least one column"),
    (lambda run: run.stream("x", {"a": "int128"}), "not a column type"),
    (lambda run: run.stream(["x"], {"a": "int32"}), "a stream's name is a text"),
    (lambda run: run.stream("x", {"a": "int32"}, units=5), "units is a mapping"),
    (lambda run: run.stream("x", {"a": "int32"}, derived_from=5), "5 is not a record"),
]


@pytest.mark.parametrize(("call", "reason"), REFUSED)
def test_wrong_input_is_raised_when_strict(run: braid.Run, call: Callable[[braid.Run], Any], reason: str) -> None:
    """As the one error that says what is wrong, or the builtin one that it is."""
    with pytest.raises(ValueError, match=reason):
        call(run)


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize(("call", "reason"), REFUSED)
def test_wrong_input_is_kept_and_not_raised(
    run: braid.Run, capsys: pytest.CaptureFixture[str], call: Callable[[braid.Run], Any], reason: str
) -> None:
    """Message and line stand in the log, the first is told, and what the call returns can be used."""
    result = call(run)
    refused = said(log_of(run), Code.REJECTED)
    assert len(refused) == 1
    assert reason in refused[0].value["message"]
    assert refused[0].value["where"].startswith(__file__)
    assert capsys.readouterr().err.count("braid:") == 1
    if isinstance(result, Record):
        run.data("child", derived_from=result)
        result.on_all_ranks()
    elif hasattr(result, "extend"):
        assert result.append(1).count == (1 if result.columns else 0)
        result.extend({"a": [1]})
    elif result is not None:
        with result:
            run.data("inside")


@pytest.mark.usefixtures("lenient")
def test_the_rest_of_a_call_is_recorded(run: braid.Run) -> None:
    """One wrong part takes no other part along: not the other parents, not the tags, not the record."""
    good = run.data("good")
    record = run.data("x", derived_from=[good, 5, "fact:y"], tags={"a": 1}, uri=7, unit="px", colour="red")
    assert record
    assert declared(run)["x"].value == {"parents": [good.sequence, "fact:y"], "tags": {"a": 1}, "unit": "px"}
    assert len(said(log_of(run), Code.REJECTED)) == 3
    with run.activity("act", used=[5, good], params={"p": 1}) as activity:
        activity.use(good, 6)
    (begin,) = said(log_of(run), Code.BEGIN)
    assert begin.value == {"used": [good.sequence], "params": {"p": 1}}
    assert [row.value for row in said(log_of(run), Code.USE)] == [{"links": [good.sequence]}]


@pytest.mark.usefixtures("lenient")
def test_refusals_are_told_once_and_counted(run: braid.Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The log's end says how many there were."""
    for _ in range(5):
        run.data("x", derived_from=5)
    assert capsys.readouterr().err.count("\n") == 1
    run.close()
    log = log_of(run)
    assert log.close is not None
    assert (log.close.rejected, len(said(log, Code.REJECTED))) == (5, 5)


class Odd:
    """What raises whenever it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")


@pytest.mark.usefixtures("lenient")
def test_nothing_is_raised_whatever_is_given(run: braid.Run) -> None:
    """An object that raises at every touch, in every place of every call."""
    odd: Any = Odd()
    record = run.data("good")
    run.record(odd, odd)
    run.data(odd)
    run.fact("fact", odd)
    for key in ("uri", "path", "array", "digest", "size", "dtype", "shape", "unit", "value", "derived_from", "tags"):
        run.data(f"x-{key}", **{key: odd})
        run.data(f"y-{key}", **{key: [odd]})
        run.data(f"z-{key}", **{key: {"a": odd}})
    run.derive(odd, odd)
    run.derive(record, [odd])
    run.tag(odd, odd, odd)
    run.tag(record, "key", odd)
    run.stream(odd, odd, units=odd, derived_from=odd, tags=odd)
    stream = run.stream("s", {"a": "int32", "t": "text", "b": "bool"})
    stream.append(odd, odd, odd)
    stream.append(a=odd)
    stream.extend(odd)
    stream.extend({"a": odd, "t": odd, "b": odd})
    stream.extend({"a": [odd], "t": [odd], "b": [odd]})
    with run.activity(odd, used=odd, params=odd) as activity:
        activity.use(odd)
        activity.data(odd, derived_from=odd)
        activity.end(result=odd, generated=odd)
    with run.activity("good", params={"a": odd}):
        pass

    @braid.activity("look")
    def look(*things: Any, **named: Any) -> Any:
        return things[0]

    assert look(odd, [odd], key=odd) is odd
    run.close()
    log = log_of(run)
    assert (log.state, log.faults) == (WriterState.CLOSED, [])
    assert len(said(log, Code.REJECTED)) > 40
    assert {"good", "look"} <= {row.name for row in said(log, Code.BEGIN)}
    assert len(said(log, Code.END)) == 3


# --------------------------------------------------------------------------------------------- of the process


def test_the_header_describes_the_process(run: braid.Run) -> None:
    """And the store that compaction takes by default."""
    header = log_of(run).header
    assert (header["job"], header["pid"], header["python"]) == ("recorder", os.getpid(), sys.version.split()[0])
    assert (header["argv"], header["cwd"]) == (sys.orig_argv, os.getcwd())
    assert header["store"] is None


def test_packages_imported_later_are_said_at_the_end(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Those of the beginning are not repeated; and nothing heavy is imported by recording."""
    script = """
    import braid_hpc as braid
    import sys
    with braid.job("fit") as run:
        run.data("x")
        import hypothesis
    print(sorted({"pyarrow", "duckdb", "numba", "numpy", "h5py"} & set(sys.modules)))
    """
    assert run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")}).stdout == "[]\n"
    packages: dict[str, str] = {}
    for row in said(read_only_log(tmp_path / "logs"), Code.INFO):
        if row.name == "packages":
            assert not packages.keys() & row.value.keys()
            packages |= row.value
    assert {"braid_hpc", "msgspec", "hypothesis"} <= set(packages)


# --------------------------------------------------------------------------------------------- forks


def in_child(work: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_says_whose_records_it_means(run: braid.Run) -> None:
    """Its very first call names a record of its parent as the parent's, not as its own of the same number."""
    record = run.data("parent")
    before = {path: path.read_bytes() for path in run._log.directory.iterdir()}
    in_child(lambda: run.data("child", derived_from=[record, record.on_all_ranks()]))
    assert {path: path.read_bytes() for path in run._log.directory.iterdir()} == before
    _, child = read_logs(run.log_dir)
    (row,) = said(child, Code.DECLARE)
    assert row.value["parents"] == [bytes(record), [bytes(record)]]


def test_a_child_within_an_activity(run: braid.Run) -> None:
    """What it generates, begins, uses and ends is said with the writer of that activity."""
    with run.activity("outer") as outer:

        def work() -> None:
            run.data("child")
            with run.activity("inner"):
                pass
            outer.use("data:x")

        in_child(work)
    _, child = read_logs(run.log_dir)
    names = child.names()
    for row in said(child, Code.DECLARE, Code.BEGIN, Code.USE):
        assert (row.subject, names[row.object]) == (outer.sequence, run.writer.hex())
    assert [row.object for row in said(child, Code.END)] == [0]


def test_a_child_goes_on_with_a_stream(run: braid.Run) -> None:
    """Declared again in its own log; a large batch as its very first call stands in a file of its own."""
    stream = run.stream("s", {"x": "float64"})
    stream.extend({"x": np.zeros(5_000)})
    before = {path: path.read_bytes() for path in run._log.directory.iterdir()}
    parent = run.writer

    def work() -> None:
        assert stream.extend({"x": np.ones(5_000)}).writer != parent
        stream.append(2.0)

    in_child(work)
    assert {path: path.read_bytes() for path in run._log.directory.iterdir()} == before
    stream.append(3.0)
    mine, child = read_logs(run.log_dir)
    (schema,) = said(child, Code.STREAM)
    assert (schema.name, schema.value) == ("s", {"columns": [["x", "float64"]]})
    assert (child.directory / "stream-0001.arrows").exists()
    assert [len(said(log, Code.ROW)) for log in (mine, child)] == [1, 1]
    assert child.faults == []


def test_a_child_that_leaves_the_block(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Both processes run to the end of the script: each closes its own log, once."""
    script = """
    import os
    import braid_hpc as braid
    with braid.job("fork") as run:
        run.data("before")
        child = os.fork()
        run.data("child" if child == 0 else "parent")
    if child:
        os.waitpid(child, 0)
    else:
        # This one recorded nothing, and leaves no log.
        with braid.job("silent") as run:
            if os.fork() == 0:
                raise SystemExit
            os.wait()
    """
    run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")})
    logs = read_logs(tmp_path / "logs")
    assert [[row.name for row in said(log, Code.DECLARE)] for log in logs] == [["before", "parent"], ["child"], []]
    assert {log.state for log in logs} == {WriterState.CLOSED}
    assert [log.header["job"] for log in logs] == ["fork", "fork", "silent"]


def test_programs_started_by_subprocess_are_not_forks(run: braid.Run) -> None:
    """They neither touch the log nor leave one."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    subprocess.run(["true"], check=True, preexec_fn=lambda: None)
    run.data("after")
    (log,) = read_logs(run.log_dir)
    assert [row.name for row in said(log, Code.DECLARE)] == ["after"]


# --------------------------------------------------------------------------------------------- at once, and killed


def test_threads_and_handlers_record_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sort of call from several threads, a signal handler in the midst of them: all of it is in the log."""
    small_tails(monkeypatch, rows=100, heap=1 << 14)
    handled = itertools.count()
    with braid.job("threads", log_dir=tmp_path / "logs") as run:
        streams: list[Any] = []

        def work(me: int) -> None:
            # Declared by all at once: one stream, or one for each.
            own = run.stream(f"own-{me}", {"n": "int32", "t": "text"})
            shared = run.stream("shared", {"me": "int32", "n": "int32"})
            streams.append(own)
            for n in range(150):
                record = run.data(f"{me}/{n}", tags={"n": n})
                with run.activity(f"act-{me}", used=record, params={"n": n}):
                    run.model(f"m-{me}", derived_from=record)
                own.append(n, f"{me}-{n}")
                shared.append(me, n)

        def handle(number: int, frame: object) -> None:
            n = next(handled)
            run.fact(f"handled-{n}", n)
            signal.setitimer(signal.ITIMER_REAL, 0.001)

        old = signal.signal(signal.SIGALRM, handle)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            threads = [threading.Thread(target=work, args=(me,)) for me in range(1, 4)]
            for thread in threads:
                thread.start()
            work(0)
            for thread in threads:
                thread.join()
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            sys.setswitchinterval(interval)
    log = read_only_log(tmp_path / "logs")
    assert (log.state, log.faults) == (WriterState.CLOSED, [])
    records = [row.name for row in said(log, Code.DECLARE)]
    assert sorted(name for name in records if "/" in name) == sorted(f"{me}/{n}" for me in range(4) for n in range(150))
    facts = [name for name in records if name.startswith("handled")]
    assert facts
    assert sorted(facts) == sorted(f"handled-{n}" for n in range(len(facts)))
    begins, ends = said(log, Code.BEGIN), said(log, Code.END)
    assert len(begins) == len(ends) == len({row.subject for row in ends}) == 600
    owners = {row.sequence: row for row in begins}
    for row in said(log, Code.DECLARE):
        if row.name.startswith("m-"):
            begin = owners[row.subject]
            assert begin.name == f"act-{row.name[2:]}"
            assert begin.value["used"] == row.value["parents"]
    numbers = {row.other: row.name for row in said(log, Code.STREAM)}
    assert len(numbers) == len(said(log, Code.STREAM))
    rows: dict[str, list[bytes]] = {}
    for row in said(log, Code.ROW):
        rows.setdefault(numbers[row.other], []).append(row.payload)
    for me in range(4):
        assert rows[f"own-{me}"] == [struct.pack("<iI", n, len(f"{me}-{n}")) + b"%d-%d" % (me, n) for n in range(150)]
    assert sorted(rows["shared"]) == sorted(struct.pack("<ii", me, n) for me in range(4) for n in range(150))


KILLED = """
import mmap, os, struct, sys
import braid_hpc as braid
counted = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 8)
with braid.job("killed") as run:
    stream = run.stream("s", {"n": "int64"})
    model = None
    n = 0
    while True:
        model = run.model("m", digest=f"x:{n:x}", derived_from=[model])
        with run.activity("act", used=model, params={"n": n}):
            stream.append(n)
        n += 1
        struct.pack_into("<Q", counted, 0, n)
"""


def test_a_killed_program_has_lost_nothing(tmp_path: Path) -> None:
    """A program of its own, killed at a random moment: whatever calls had returned, their events are there."""
    dice = random.Random(17)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    for trial in range(5):
        logs, counter = tmp_path / f"logs-{trial}", tmp_path / f"count-{trial}"
        counter.write_bytes(bytes(8))
        with subprocess.Popen(
            [sys.executable, script, counter], env=os.environ | {"BRAID_LOG_DIR": str(logs)}
        ) as process:

            def count(counter: Path = counter) -> int:
                return int(struct.unpack("<Q", counter.read_bytes())[0])

            wait_for(count, "the first events")
            time.sleep(dice.random() * 0.1)
            process.kill()
        log = read_only_log(logs)
        rows = [struct.unpack("<q", row.payload)[0] for row in said(log, Code.ROW)]
        assert (log.state, log.faults) == (WriterState.OPEN, [])
        assert rows == list(range(len(rows)))
        assert count() <= len(rows) <= count() + 1
        models = said(log, Code.DECLARE)
        assert [row.value["digest"] for row in models] == [f"x:{n:x}" for n in range(len(models))]
        assert [row.value.get("parents") for row in models[1:]] == [[row.sequence] for row in models[:-1]]
        assert count() <= len(said(log, Code.END)) <= len(models)


def test_a_strict_error_is_an_error_of_ours(run: braid.Run) -> None:
    """Which a handler can tell from those of the program."""
    with pytest.raises(InvalidInputError):
        run.data("x", derived_from=5)

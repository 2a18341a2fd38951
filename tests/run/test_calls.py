"""Calls of decorated functions: one row where nothing else was recorded in them and they were short."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.compaction.extract import extract
from braid_hpc.log.choice import compiled_module
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.run import activities
from braid_hpc.run.activities import current_activity
from braid_hpc.run.calls import pending_calls
from braid_hpc.vocabulary.codes import Code, Outcome
from tests.rank_logs import Said, said, small_tails

KINDS = (Code.BEGIN, Code.END, Code.CALL, Code.DECLARE)


@braid.activity("top")
def on_top() -> None:
    """Do nothing."""


@pytest.fixture(params=["python", "compiled"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two records calls, in a log whose tail is of the same kind."""
    if request.param == "python":
        monkeypatch.setenv("BRAID_TAIL", "python")
    elif compiled_module() is None:
        pytest.skip("the tail is not compiled here")
    return str(request.param)


@pytest.fixture
def run(tmp_path: Path, twin: str) -> Iterator[braid.Run]:
    with braid.job("calls", log_dir=tmp_path / "logs") as run:
        yield run


def rows(run: braid.Run) -> list[tuple[str, str]]:
    """Give code and name of what was recorded of activities and records."""
    log = read_writer(run._log.directory)
    return [(code.name, row.name) for code in KINDS for row in said(log, code)]


def the(run: braid.Run, code: Code) -> Said:
    (row,) = said(read_writer(run._log.directory), code)
    return row


def test_a_call_is_one_row(run: braid.Run) -> None:
    """With how long it took, the function, its arguments and its result."""

    @braid.activity("plain")
    def plain() -> None:
        time.sleep(0.01)

    @braid.activity("scalar")
    def scalar(n: int, *, label: str = "") -> float:
        return n / 2

    plain()
    scalar(3, label="x")
    assert rows(run) == [("CALL", "plain"), ("CALL", "scalar")]
    one, two = said(read_writer(run._log.directory), Code.CALL)
    assert 10e6 <= one.object < 10e9
    assert one.value == {"function": f"{__name__}.test_a_call_is_one_row.<locals>.plain"}
    assert (one.subject, one.other, one.flags) == (0, 0, Outcome.OK)
    assert two.value["params"] == {"n": 3, "label": "x"}
    assert two.value["result"] == 1.5
    assert current_activity() is None
    assert pending_calls() == []


def test_an_exception_is_one_row_too(run: braid.Run) -> None:
    """It passes unchanged, with the frames of the program, and the row says what it was."""

    @braid.activity("fail")
    def fail() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong") as caught:
        fail()
    assert caught.traceback[-1].name == "fail"
    assert caught.value.__cause__ is caught.value.__context__ is None
    row = the(run, Code.CALL)
    assert (row.flags, row.value["error"]) == (Outcome.FAILED, "ValueError: wrong")
    assert current_activity() is None


def test_what_is_recorded_inside_makes_the_beginning_a_row(run: braid.Run) -> None:
    """Before it, with the time at which the call began; the end is a row of its own."""

    @braid.activity("make")
    def make() -> None:
        time.sleep(0.01)
        run.data("inside")

    before = time.monotonic_ns()
    make()
    assert rows(run) == [("BEGIN", "make"), ("END", ""), ("DECLARE", "inside")]
    begin, end, declared = (the(run, code) for code in (Code.BEGIN, Code.END, Code.DECLARE))
    assert begin.sequence < declared.sequence < end.sequence
    assert declared.subject == end.subject == begin.sequence
    assert before <= begin.value["since"] < before + 10e9
    log = read_writer(run._log.directory)
    facts = extract(log, "run", log.ranges)
    assert facts.speaker.began(begin.sequence) == begin.value["since"]
    assert facts.declared[-1].time - facts.begun[0].time >= 9e6


def test_a_call_within_a_call(run: braid.Run) -> None:
    """Names the one around it, whose beginning is a row then; the inner ones are one row each."""

    @braid.activity("inner")
    def inner() -> None:
        return None

    @braid.activity("outer")
    def outer() -> None:
        inner()
        inner()

    outer()
    with run.activity("block"):
        inner()
    log = read_writer(run._log.directory)
    begins = {row.name: row.sequence for row in said(log, Code.BEGIN)}
    assert list(begins) == ["outer", "block"]
    assert [row.subject for row in said(log, Code.CALL)] == [begins["outer"]] * 2 + [begins["block"]]
    assert len(said(log, Code.END)) == 2


def test_a_record_that_another_thread_declared_is_generated(run: braid.Run) -> None:
    """By the call that returns it, if it was declared after the call began; else it passed through."""
    given = run.data("given")

    @braid.activity("in-thread")
    def in_thread(known: bool) -> Any:
        made: list[Any] = [given]
        thread = threading.Thread(target=lambda: made.append(run.data("made")))
        thread.start()
        thread.join()
        return made[0] if known else made[1]

    in_thread(True)
    made = in_thread(False)
    ends = said(read_writer(run._log.directory), Code.END)
    assert [(end.value or {}).get("generated", []) for end in ends] == [[], [made.sequence]]


def test_a_call_carried_into_a_thread(run: braid.Run) -> None:
    """Its beginning is recorded once, whichever thread is first to record something in it."""

    def declare() -> None:
        run.data("x")

    @braid.activity("spread")
    def spread() -> None:
        threads = [threading.Thread(target=braid.carry(declare)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    spread()
    log = read_writer(run._log.directory)
    begin = the(run, Code.BEGIN)
    assert {row.subject for row in said(log, Code.DECLARE)} == {begin.sequence}
    assert [row.subject for row in said(log, Code.END)] == [begin.sequence]


def test_a_context_that_is_copied_to_a_thread_has_calls_of_its_own(run: braid.Run) -> None:
    """What it records belongs to the call that it was copied in, what it calls stands in that, and both end alone."""
    plain = braid.activity("plain")(lambda: None)
    inside, proceed = threading.Event(), threading.Event()

    @braid.activity("inner")
    def inner() -> None:
        run.data("in inner")
        inside.set()
        assert proceed.wait(30)

    @braid.activity("outer")
    def outer() -> None:
        def work() -> None:
            run.data("in work")
            inner()

        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        assert inside.wait(30)
        plain()
        run.data("in outer")
        proceed.set()
        thread.join()
        run.data("after")

    outer()
    log = read_writer(run._log.directory)
    begins = {row.name: row for row in said(log, Code.BEGIN)}
    of = {row.name: row.subject for row in said(log, Code.DECLARE)}
    assert list(begins) == ["outer", "inner"]
    assert of == {
        "in work": begins["outer"].sequence,
        "in inner": begins["inner"].sequence,
        "in outer": begins["outer"].sequence,
        "after": begins["outer"].sequence,
    }
    assert begins["inner"].subject == the(run, Code.CALL).subject == begins["outer"].sequence
    assert current_activity() is None


def test_calls_of_interleaved_tasks(run: braid.Run) -> None:
    """Each belongs to the block that its own task is in."""
    plain = braid.activity("plain")(lambda: None)

    async def task(name: str) -> None:
        with run.activity(name):
            for _ in range(3):
                plain()
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(task("a"), task("b"))

    braid.activity("loop")(lambda: asyncio.run(both()))()
    log = read_writer(run._log.directory)
    begins = {row.sequence: row.name for row in said(log, Code.BEGIN)}
    assert sorted(begins.values()) == ["a", "b", "loop"]
    assert [begins[row.subject] for row in said(log, Code.CALL)] == ["a", "b"] * 3
    assert {row.name: begins.get(row.subject) for row in said(log, Code.BEGIN)} == {
        "loop": None,
        "a": "loop",
        "b": "loop",
    }


def test_a_block_that_is_not_left_within_a_call(run: braid.Run) -> None:
    """Stays the innermost one when the call returns; once it is left, the next calls are plain again."""
    plain = braid.activity("plain")(lambda: None)
    kept: list[braid.Activity] = []

    @braid.activity("opens")
    def opens() -> None:
        kept.append(run.activity("block").__enter__())

    opens()
    plain()
    run.data("x")
    kept[0].__exit__(None, None, None)
    plain()
    block = next(row for row in said(read_writer(run._log.directory), Code.BEGIN) if row.name == "block")
    assert [row.subject for row in said(read_writer(run._log.directory), Code.CALL)] == [block.sequence, 0]
    assert the(run, Code.DECLARE).subject == block.sequence
    assert current_activity() is None
    assert activities._CURRENT.get() is None


def test_a_call_that_recorded_something_leaves_nothing_behind(run: braid.Run) -> None:
    """Neither an activity that the next call would be looked up in, nor itself."""
    plain = braid.activity("plain")(lambda: None)

    @braid.activity("busy")
    def busy() -> None:
        with run.activity("block"):
            pass
        plain()

    for _ in range(3):
        busy()
        assert activities.innermost() is None
        assert activities._CURRENT.get() is None
    assert pending_calls() == []


def test_a_long_call_begins_in_the_log_while_it_runs(run: braid.Run) -> None:
    """Written by the background thread; the end is an ordinary one."""

    @braid.activity("long")
    def long() -> list[tuple[str, str]]:
        deadline = time.monotonic() + 10
        while ("BEGIN", "long") not in (found := rows(run)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    assert ("BEGIN", "long") in long()
    assert rows(run) == [("BEGIN", "long"), ("END", "")]


def test_a_call_that_outlasts_its_run(tmp_path: Path, twin: str) -> None:
    """Its beginning is recorded when the run is closed, and nothing after that."""
    run = braid.start("short", log_dir=tmp_path / "logs")

    @braid.activity("closing")
    def closing() -> int:
        run.close()
        return 5

    assert closing() == 5
    assert rows(run) == [("BEGIN", "closing")]
    assert closing() == 5


def test_a_fork_within_a_call(run: braid.Run) -> None:
    """Parent and child are both within it: its beginning is the parent's row."""

    @braid.activity("in-both")
    def in_both() -> None:
        return None

    @braid.activity("forking")
    def forking() -> int:
        child = os.fork()
        if child == 0:
            try:
                in_both()
                run.data("in-child")
                run.close()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        return 5

    forking()
    assert [kind for kind, _ in rows(run)] == ["BEGIN", "END"]
    begin = the(run, Code.BEGIN)
    (other,) = [path for path in find_writers(run.log_dir) if path != run._log.directory]
    log = read_writer(other)
    (declared,), names = said(log, Code.DECLARE), log.names()
    assert (declared.subject, names[declared.object]) == (begin.sequence, run.writer.hex())
    (call,) = said(log, Code.CALL)
    assert (call.name, call.subject, names[call.other]) == ("in-both", begin.sequence, run.writer.hex())


def test_calls_from_tail_to_tail(tmp_path: Path, twin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is lost where a tail is full, with several threads at it."""
    small_tails(monkeypatch)

    @braid.activity("each")
    def each() -> None:
        return None

    with braid.job("many", log_dir=tmp_path / "logs") as run:
        threads = [threading.Thread(target=lambda: [each() for _ in range(500)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    log = read_writer(run._log.directory)
    assert len(said(log, Code.CALL)) == 2000
    assert {row.subject for row in said(log, Code.CALL)} == {0}
    assert sorted(set(log.events["sequence"].tolist())) == list(range(1, len(log.events) + 1))


def test_readers_take_a_call_as_an_activity(run: braid.Run) -> None:
    """From its end less what it took, to its end."""

    @braid.activity("one")
    def one(n: int) -> int:
        time.sleep(0.01)
        return n

    with run.activity("around"):
        one(4)
    log: WriterLog = read_writer(run._log.directory)
    facts = extract(log, "run", log.ranges)
    call, around = the(run, Code.CALL), the(run, Code.BEGIN)
    (begun,) = [begun for begun in facts.begun if begun.name == "one"]
    (ended,) = [ended for ended in facts.ended if ended.activity[1] == call.sequence]
    assert (begun.sequence, begun.outer, begun.about.params) == (call.sequence, (log.writer, around.sequence), {"n": 4})
    assert ended.about.result == 4
    assert ended.monotonic - (facts.speaker.began(call.sequence) or 0) == call.object
    assert ended.time - begun.time == call.object >= 10e6


KILLED = """
import os, sys, time
import braid_hpc as braid
run = braid.start("killed", log_dir=sys.argv[1])
@braid.activity("quick")
def quick():
    return None
@braid.activity("long")
def long():
    print(run.writer.hex(), flush=True)
    time.sleep(60)
for _ in range(5000):
    quick()
long()
"""


def test_a_kill_loses_no_call_that_returned(tmp_path: Path, twin: str) -> None:
    """And one that had run for more than a second or so is in the log as begun."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    writer = process.stdout.readline().strip()
    time.sleep(2.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    log = read_writer(tmp_path / writer)
    assert len(said(log, Code.CALL)) == 5000
    (begin,) = said(log, Code.BEGIN)
    assert begin.name == "long"
    assert not said(log, Code.END)


# ----------------------------------------------------------------------------------- what is decorated is a function


def test_it_is_like_the_function(twin: str) -> None:
    """Name, text, module, annotations, signature; as method, static and class method."""

    def add(a: int, b: int = 2, *, c: int = 0) -> int:
        """Add."""
        return a + b + c

    made: Any = braid.activity(add)
    assert made.__wrapped__ is add
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
        assert getattr(made, name) == getattr(add, name)
    assert inspect.signature(made) == inspect.signature(add)
    made.attribute = 5
    assert made.attribute == 5
    assert made(1, c=4) == 7
    with pytest.raises(TypeError, match=r"add\(\) missing 1 required positional argument"):
        made()

    plain: Any = braid.activity

    class Model:
        fit = plain(lambda self, steps: (self, steps))
        create: Any = classmethod(plain(lambda cls: cls))
        load = staticmethod(plain(lambda path: path))

    model = Model()
    assert (model.fit(3), Model.fit(model, 4), Model.create(), model.load("p")) == ((model, 3), (model, 4), Model, "p")
    assert model.fit.__self__ is model
    assert list(inspect.signature(model.fit).parameters) == ["steps"]


def test_it_is_pickled_by_its_name() -> None:
    """As the function would be; a copy is the thing itself."""
    assert pickle.loads(pickle.dumps(on_top)) is on_top
    assert copy.deepcopy(on_top) is on_top

"""Running actions: what is due, once, in order, whatever they do; and only when asked to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.due import ActionState
from braid_hpc.store.runner_lock import hold
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from tests.jobs import one

PY = sys.executable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A chain of three, declared in no alphabetical order, of which each appends its name to a file."""
    with one(tmp_path / "logs") as job:
        run, parent = job[0], None
        for name in ("scan", "peaks", "net"):
            parent = run.data(name, digest=name, derived_from=parent, uri=f"/data/{name}", tags={"n": len(name)})
            run.on_invalid(parent, [PY, "-c", _SAY, str(tmp_path / "said"), "{name} {tag.n} {uri}"])
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return tmp_path / "prov.duckdb"


_SAY = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n')"


def said(path: Path) -> list[str]:
    file = path.parent / "said"
    return file.read_text().splitlines() if file.exists() else []


def states(store: Store) -> list[tuple[str, str]]:
    return [(state.state, state.ref) for state in store.actions()]


def attached(tmp_path: Path, *actions: Any) -> Store:
    """A store with one invalid record and its actions."""
    with one(tmp_path / "logs") as job:
        scan = job[0].data("scan", digest="x:1", tags={"wide": 2**70, "nan": float("nan"), "on": True})
        for action in actions:
            job[0].on_invalid(scan, action)
        job[0].invalidate(scan, cause="beam off")
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    return braid.open(tmp_path / "prov.duckdb")


def test_nothing_is_run_but_when_asked_to(path: Path) -> None:
    """Not by stating, merging, opening, listing or looking at what would be run."""
    with Store(path) as store:
        store.invalidate("data:scan", cause="x")
        assert states(store) == [("due", "data:scan@1"), ("due", "data:peaks@1"), ("due", "data:net@1")]
        assert store.run_actions(dry_run=True)[0].would_run[-1] == "scan 4 /data/scan"
        assert store.snapshot == 2
    assert said(path) == []


def test_each_is_run_once_for_each_statement_parents_first(path: Path) -> None:
    with Store(path) as store:
        assert store.run_actions() == []
        store.invalidate("data:peaks", cause="first")
        assert [state.ref for state in store.run_actions()] == ["data:peaks@1", "data:net@1"]
        assert states(store) == [("ok", "data:peaks@1"), ("ok", "data:net@1"), ("idle", "data:scan@1")]
        assert store.run_actions() == [] == store.run_actions(retry=True)
        store.revalidate("data:peaks")
        assert {state for state, _ in states(store)} == {"idle"}
        store.invalidate("data:scan", cause="second")
        assert len(store.run_actions()) == 3
        # The first statement stays the cause; a later one that reaches the same is none.
        store.invalidate("data:peaks", cause="third")
        assert store.run_actions() == []
    assert [line.partition(" ")[0] for line in said(path)] == ["peaks", "net", "scan", "peaks", "net"]


def test_what_was_run_is_in_the_store(path: Path) -> None:
    """Through a log beside it, which is archived and gone from there."""
    with Store(path) as store:
        store.invalidate("data:net", cause="x")
        (done,) = store.run_actions()
        assert StoreFiles(path).statement_logs() == []
        digests = store.digests()
        assert digests["attempts"].startswith("1:")
        assert digests["results"].startswith("1:")
        row = store.sql("select *, end_time >= begin_time as later from action_attempts").to_pylist()[0]
        assert (row["state"], row["code"], row["later"], row["name"]) == ("ok", 0, True, "net")
        assert (done.code, done.attempts, done.statement) == (0, 1, row["statement"])


@pytest.mark.parametrize(
    ("action", "error", "code", "number"),
    [
        (["/no/such/program"], "it cannot be begun: ", None, None),
        (["echo", "{tag.none}"], "it cannot be begun: data:scan@1 has no tag 'none'", None, None),
        ([PY, "-c", "raise SystemExit(3)"], "it ended with exit code 3", 3, None),
        ([PY, "-c", "import os; os.kill(os.getpid(), 15)"], "it was ended by SIGTERM", None, 15),
        (
            {"command": [PY, "-c", "input = open('/dev/zero').read()"], "timeout": 0.2},
            "it was ended after 0.2 s",
            None,
            9,
        ),
        ("no_such_module_anywhere:f", "it ended with exit code 1", 1, None),
        ("os:no_such_function", "it ended with exit code 1", 1, None),
    ],
)
def test_a_failure_is_kept_and_stops_nothing(
    action: Any, error: str, code: int | None, number: int | None, tmp_path: Path
) -> None:
    with attached(tmp_path, action, ["echo", "after"]) as store:
        found = {state.state: state for state in store.run_actions()}
        assert set(found) == {"failed", "ok"}
        assert found["ok"].output == "after\n"
        failed = found["failed"]
        assert (failed.error or "").startswith(error)
        assert (failed.code, failed.signal) == (code, number)
        assert store.run_actions() == []
        assert [state.attempts for state in store.run_actions(retry=True)] == [2]


def test_a_function_is_told_of_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its tags as they are; and what it prints is kept."""
    program = (
        "def show(r):\n    t = r.tags\n    print(r.ref, r.cause, t['wide'] == 2**70, t['nan'] != t['nan'], t['on'])\n"
    )
    (tmp_path / "told.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with attached(tmp_path, "told:show") as store:
        (state,) = store.run_actions()
        assert (state.state, state.output) == ("ok", "data:scan@1 beam off True True True\n"), state


def test_no_shell_ever_sees_an_argument(tmp_path: Path) -> None:
    with attached(tmp_path, ["echo", "$(touch x); {cause} `id` > y", "*"]) as store:
        (state,) = store.run_actions()
        assert state.output == "$(touch x); beam off `id` > y *\n"


def test_output_is_bounded_and_says_what_was_left_out(tmp_path: Path) -> None:
    """Standard output and error together; bytes that are no text are shown as such."""
    program = "import sys; sys.stdout.write('a' * 100_000); sys.stdout.flush(); sys.stderr.buffer.write(b'\\xff\\0end')"
    with attached(tmp_path, [PY, "-c", program]) as store:
        (state,) = store.run_actions()
        assert state.cut == 100_005 - 16_384
        assert f"\n[{state.cut} bytes are left out here]\n" in state.output
        assert state.output.endswith("a\N{REPLACEMENT CHARACTER}\N{SYMBOL FOR NULL}end")
        assert state.output.startswith("a" * 8192)


def test_what_an_action_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    """It holds the output open, and would for a minute."""
    program = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid)"
    with attached(tmp_path, [PY, "-c", program]) as store:
        (state,) = store.run_actions()
        assert state.state == "ok"
        os.kill(int(state.output), signal.SIGKILL)


_KILLED = """
import os, signal, sys, braid_hpc as braid
with braid.open(sys.argv[1]) as store:
    store.run_actions(told=lambda state: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_an_interrupted_action_is_told_and_not_run_again_by_itself(path: Path) -> None:
    """Killed between what says that it is begun and its result."""
    with Store(path) as store:
        store.invalidate("data:net", cause="x")
    killed = subprocess.run([PY, "-c", _KILLED, str(path)], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with Store(path) as store:
        # Before any compaction has taken it, and after.
        assert states(store)[0] == ("interrupted", "data:net@1")
        assert store.run_actions() == []
        assert states(store)[0] == ("interrupted", "data:net@1")
        assert store.sql("select state from action_attempts")["state"] == ["interrupted"]
        assert [(state.state, state.attempts) for state in store.run_actions(retry=True)] == [("ok", 2)]
    assert len(said(path)) == 1


def run_slowly(path: str, begun: Any, go: Any) -> None:
    def told(state: ActionState) -> None:
        if state.state == "running":
            begun.set()
            go.wait(60)

    with braid.open(path) as store:
        store.run_actions(told=told)


def test_of_two_at_once_one_runs_them(path: Path) -> None:
    """The other is told; a list says meanwhile that they are running."""
    with Store(path) as store:
        store.invalidate("data:scan", cause="x")
    context = multiprocessing.get_context("spawn")
    begun, go = context.Event(), context.Event()
    other = context.Process(target=run_slowly, args=(str(path), begun, go))
    other.start()
    try:
        assert begun.wait(60)
        with Store(path) as store:
            with pytest.raises(ConflictError, match="another process runs actions"):
                store.run_actions()
            assert states(store)[0] == ("running", "data:scan@1")
    finally:
        go.set()
        other.join(60)
    assert other.exitcode == 0
    with Store(path) as store:
        assert store.run_actions() == []
    assert len(said(path)) == 3


def test_the_lock_is_free_when_its_block_ends(path: Path) -> None:
    files = StoreFiles(path)
    with hold(files), pytest.raises(ConflictError), hold(files):
        raise AssertionError("unreachable")
    with hold(files):
        pass


def test_actions_are_attached_to_records_of_a_store(path: Path) -> None:
    with Store(path) as store:
        store.on_invalid(["data:scan", "data:net"], {"command": ["echo", "late"], "name": "a late one"})
        store.invalidate("data:scan", cause="x")
        assert [state.output for state in store.run_actions() if state.name == "a late one"] == ["late\n"] * 2


def test_what_is_wrong_is_said_before_anything_is_attached_or_run(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(InvalidInputError, match="nmae"):
            store.on_invalid("data:scan", ["echo", "{nmae}"])
        with pytest.raises(NotFoundError, match="scam"):
            store.on_invalid(["data:scan", "data:scam"], ["echo"])
        with pytest.raises(InvalidInputError, match="no record is named"):
            store.on_invalid([], ["echo"])
        with pytest.raises(InvalidInputError, match="number of seconds"):
            store.run_actions(timeout=0)
        assert store.snapshot == 1
    assert StoreFiles(path).statement_logs() == []


def test_a_cycle_in_foreign_data_has_an_order_too(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        run = job[0]
        first = run.data("b", on_invalid=["echo", "b"])
        second = run.data("a", derived_from=first, on_invalid=["echo", "a"])
        run.derive(first, second)
        run.data("0", derived_from=second, on_invalid=["echo", "0"])
        run.invalidate(first, cause="x")
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert [state.output for state in store.run_actions()][-1] == "0\n"

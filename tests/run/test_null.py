"""Outside of a run, and with recording off, every call of a run exists and does nothing."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.run.activities import Activity
from braid_hpc.run.handles import NO_ROWS, Record
from braid_hpc.run.null import NullActivity, NullRun, NullStream
from braid_hpc.run.recorder import Run
from braid_hpc.run.streams import Stream
from tests.ranks import RunRanks


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("null", "real"), [(NullRun, Run), (NullActivity, Activity), (NullStream, Stream)])
def test_nothing_is_missing(null: type, real: type) -> None:
    """A program that records does not fail where nothing is recorded."""
    made = NullActivity(NullRun(), "x") if null is NullActivity else null()
    assert set(public(real)) - set(public(null)) - set(vars(made)) == set()


@pytest.mark.parametrize(("null", "real"), [(NullRun, Run), (NullActivity, Activity), (NullStream, Stream)])
def test_whatever_may_be_given_may_be_given(null: type, real: type) -> None:
    """By the same names, in the same order."""
    for name, method in public(real).items():
        if not inspect.isfunction(method):
            continue
        mine = inspect.signature(getattr(null, name)).parameters
        takes_any = any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in mine.values())
        for parameter in inspect.signature(method).parameters.values():
            assert parameter.name in mine or takes_any, f"{null.__name__}.{name}({parameter.name}=)"
            if parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD:
                assert mine[parameter.name].kind == parameter.kind


def test_every_call_does_nothing(tmp_path: Path) -> None:
    """Also with input that a run would refuse; handles are false, and exceptions pass."""
    # Another test of this process may have left one open.
    braid.current_run().close()
    run = braid.current_run()
    assert not run
    assert (run.rank, run.size, run.name) == (None, None, "")
    for record in (
        run.fact("a", object()),
        run.data("b", derived_from=5, nonsense=1),
        run.model("c"),
        run.record("Wrong Kind", "d"),
        run.array("e", object()),
    ):
        assert isinstance(record, Record)
        assert not record
        assert not record.on_all_ranks()
        run.derive(record, 5)
        run.tag(record, "key", object())
    with run.activity("find", used=object(), params=5) as activity:
        activity.use(1, 2)
        assert not activity.data("x", wrong=True)
        assert not activity.model("x")
        assert not activity.record("data", "x")
        activity.end(result=object())
    with pytest.raises(KeyError), run.activity("find"):
        raise KeyError("mine")
    stream = run.stream("s", "not columns", units=5)
    assert stream.name == "s"
    assert stream.append(1, 2, three=3) == stream.extend(5) == NO_ROWS
    assert stream.append(1).count == 0
    run.close()
    assert run.flush() is False
    assert run.log_dir
    assert list(tmp_path.iterdir()) == []


def test_disabled_costs_nothing_and_leaves_nothing(run_ranks: RunRanks) -> None:
    """Decorators return the function itself, a job is a null run, and neither a file nor any encoder appears."""
    script = """
    import os, sys
    before = set(sys.modules)
    import braid_hpc as braid

    def work(x):
        return x + 1

    def main():
        return 7

    async def later():
        return 1

    def steps():
        yield 1

    assert braid.activity(work) is work
    assert braid.activity("named")(work) is work
    assert braid.activity(later) is later and braid.activity(steps) is steps
    assert braid.job("fit")(main) is main
    with braid.job("fit") as run:
        assert not run
        assert braid.current_run() is run
        run.data("x", uri="file:a")
        run.stream("s", {"a": "int32"}).append(1)
    assert not braid.start("flat")
    foreign = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
    print(sorted(foreign - {"braid_hpc", "xxhash"}), os.path.exists("logs"))
    """
    done = run_ranks(0, script, env={"BRAID_DISABLE": "1", "BRAID_STRICT": None, "BRAID_LOG_DIR": "logs"})
    assert done.stdout == "[] False\n"
    assert done.stderr == ""

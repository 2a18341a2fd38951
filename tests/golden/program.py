"""What is recorded in the golden logs; the tests that read them know it from here."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable
from unittest.mock import patch

import numpy as np

import braid_hpc as braid
from braid_hpc.log import arrays as array_files
from braid_hpc.run import row_edges
from braid_hpc.run.attaching import record_attempt, record_result
from braid_hpc.run.filing import record_inspection
from braid_hpc.run.recorder import Run
from braid_hpc.tasks.recording import Execution, record_missing, record_skipped
from braid_hpc.tasks.states import Reason
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.payloads import Attempt, Inspection, Links, Result
from braid_hpc.vocabulary.task_payloads import Done

__all__ = ["CASES", "LARGE_ROWS"]

#: Rows of the batch that has a file of its own.
LARGE_ROWS = 100


def record_every_kind(run: Run) -> None:
    """Record rows of all kinds but those of an end, a clock and a loss; some hundred."""
    config = run.fact("config", {"threshold": 40, "wide": 2**70, "none": None, "nan": float("nan")}, tags={"keV": 71.7})
    with run.activity("reduce", used=config, params={"step": 1}) as activity:
        frames = activity.data("frames", digest="blake3:00", size=5, uri="s3://bucket/frames", derived_from=config)
        activity.use(frames)
        # No call of this version makes such a row; readers take it.
        late = run.data("late", digest="x:1")
        run._log.append(Code.GENERATE, 0, activity.sequence, 0, 0, 0, encode(Links([late.sequence])))
    run.tag(frames, "µ", "é")
    run.invalidate(frames, cause="the shutter was closed")
    run.invalidate("data:frames", cause="é", cascade=False)
    run.retract(frames, "fact:config", cause="of the run before", relation="wasDerivedFrom")
    run.revalidate(frames)
    run.on_invalid(frames, ["mv", "{uri}", "/quarantine"])
    begun = record_attempt(run, Attempt("a" * 32, "b" * 32, "c" * 32))
    record_result(run, begun, Result(ok=False, code=1, error="it ended with exit code 1", output="é", cut=7))
    record_inspection(run, frames, Inspection("missing", "file:///data/frames", detail="é"))
    run.derive(frames, ["fact:config", braid.Record(bytes(range(16)), 7, "data", "elsewhere")])
    run.model("net", digest="x:2", derived_from=frames.on_all_ranks())
    add(1, 2)
    with contextlib.suppress(ValueError):
        fail("text")
    run.data("bad", derived_from=3)
    record_tasks(run)
    every = {kind: kind for kind in ("bool", "int8", "uint64", "float32", "timestamp", "text", "bytes")}
    stream = run.stream("every", every, units={"float32": "px"}, derived_from=config)
    for number in range(20):
        stream.append(
            number % 2 == 0, -number, 2**63 + number, number / 4, 10**18 + number, "é" * number, bytes(number)
        )
    stream.append(None, None, None, None, None, None, None)
    numbers = run.stream("numbers", {"n": "int64", "t": "text"})
    numbers.extend({"n": [1, 2], "t": ["a", "b"]})
    rows = numbers.extend({"n": list(range(LARGE_ROWS)), "t": [f"text {number} " * 50 for number in range(LARGE_ROWS)]})
    run.derive_rows(rows, "every#3")
    run.derive_rows(numbers, stream, child_index=[7, 5, 5], parent_index=[1, 2, 3])
    with patch.object(row_edges, "INLINE_BYTES", 100):
        run.derive_rows(rows, "frames@2", parent_index=np.arange(LARGE_ROWS) ** 2)
    run.array("small", np.arange(10.0))
    for number in range(30):
        run.data(f"d{number}", digest=f"x:{number}")


def record_tasks(run: Run) -> None:
    """Record an execution of a task, one that was skipped, and one whose file is not there."""
    bound = weigh.identity.bind((3,), {"label": "é"}, stands_for=lambda _: None, digest_of=run.digest_of)
    execution = Execution(run, weigh.identity, bound)
    act = execution.begin(Reason.NEW, "", weigh.options, 7)
    with act:
        execution.end(act, {"grams": 3.5}, None)
    done = Done(weigh.name, "1.2", bytes(range(24)), bytes(24), None, 0, "", b"\x03", None)
    record_skipped(run, weigh.identity, bound.key, done, "é")
    record_missing(run, weigh.identity, "path= is the file none")


@braid.task(version="1.2", name="weigh", significant="major", columns={"grams": "float32"}, ignore="label")
def weigh(count: int, label: str = "") -> dict[str, float]:
    """Give an execution of a task."""
    return {"grams": count / 2}


@braid.activity
def add(left: int, right: int) -> int:
    """Give one row CALL."""
    return left + right


@braid.activity
def fail(text: str) -> None:
    """Give one that failed."""
    raise ValueError(text)


def record_closed(run: Run) -> None:
    """Record all kinds of rows, in tails that were not sealed when the run ended."""
    record_every_kind(run)
    run.close()


def record_sealed(run: Run) -> None:
    """Record all kinds of rows and an array in a file, all but the last tail sealed."""
    run.array("floats", np.linspace(0, 1, 5000), unit="1")
    record_every_kind(run)
    run._log.seal()
    run.close()


def record_killed(run: Run) -> None:
    """Record until SIGKILL: some tails sealed, then a loss, others in use, and a spare one."""
    record_every_kind(run)
    run._log.seal()
    run._log._lose(OSError(errno.ENOSPC, "No space left on device"))
    run._log._retry_at = 0
    run._log.trouble("ship", "StorageError: cannot ship to /shared (No space left on device)")
    stream = run.stream("rows", {"n": "int64"})
    for number in range(60):
        stream.append(number)
    run._log.tell_troubles()
    run._log._successor(run._log.tail)
    os.kill(os.getpid(), signal.SIGKILL)


def record_arrays(run: Run) -> None:
    """Record arrays in the payload, in a file, of several dtypes, and one that could not be stored."""
    run.array("inline", np.arange(12, dtype=">i4").reshape(3, 4), unit="counts", tags={"n": 1})
    run.array("floats", np.linspace(0, 1, 5000), kind="model", unit="1")
    run.array("again", np.linspace(0, 1, 5000))
    run.array("fields", np.zeros(3000, [("a", "<i4"), ("b", ">f8")]))
    run.array("times", np.arange(4000).astype("M8[ms]"))
    with patch.object(array_files, "_check_room", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        run.array("lost", np.ones(9000))
    run.close()


def record_states(run: Run) -> None:
    """Record model states: arrays in the payload and in a file, one of them in two versions, bytes, and none at all."""
    layers = {
        "conv": {"weight": np.linspace(0, 1, 5000), "bias": np.zeros(3, "<f4")},
        "head": np.arange(6, dtype="<i8"),
    }
    first = run.model("net", state=layers)
    run.model("net", state={**layers, "head": np.arange(1, 7, dtype="<i8")}, derived_from=first)
    run.model("bytes", state=b"weights")
    run.model("more bytes", state=b"weights", keep=False)
    run.model("none", state={})
    run.close()


#: What records each log; frames are for file systems that cannot be mapped.
CASES: dict[str, Callable[[Run], None]] = {
    "closed": record_closed,
    "killed": record_killed,
    "sealed": record_sealed,
    "arrays": record_arrays,
    "states": record_states,
    "frames": record_closed,
}

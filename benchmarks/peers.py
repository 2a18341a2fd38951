"""What a program would otherwise record an event with, and what is said of each.

Each recorder takes the same event: a whole number, two of double precision, two more whole ones, one of single
precision, a text of 40 characters; and each keeps the time with it. It is used as its documentation says, by the
leanest call that keeps the seven fields together. The loop is the recorder's own, so that no call is in it that a
program would not make.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT = "x" * 40
FIELDS = ("i", "a", "b", "c", "d", "e", "t")


class Recorder:
    """One way to record; `place` is a folder of its own."""

    #: Most events of one process: some keep so many and no more, or all of them in memory.
    most = 100_000

    def __init__(self, place: Path) -> None:
        self.place = place

    def open(self) -> None:
        """Begin; what is paid once is paid here."""

    def record(self, first: int, count: int) -> None:
        """Record so many events, whose first field counts on from `first`."""
        raise NotImplementedError

    def close(self) -> None:
        """End as the documentation says: what was kept back is written."""

    def read(self) -> list[int]:
        """Return the first field of all events that can be read back; called in another process."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to record, by what is written of it."""

    title: str
    #: Where its recorder is: module:class.
    where: str
    #: What the call has promised when it returns, at most.
    promise: str
    #: What it keeps besides the fields and a time.
    besides: str = "-"
    #: What has to be installed.
    package: str = ""
    #: Whether it takes events ("event"), or calls of a decorated function that does nothing ("call").
    mode: str = "event"
    #: What its process finds in its environment.
    environment: tuple[tuple[str, str], ...] = ()

    def make(self, place: Path) -> Any:
        """Return its recorder."""
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(module), name)(place)


_DFTRACER = (("DFTRACER_ENABLE", "1"), ("DFTRACER_INC_METADATA", "1"))
#: It sends nothing to anybody, and looks for no git.
_MLFLOW = (("MLFLOW_DISABLE_TELEMETRY", "true"), ("DO_NOT_TRACK", "true"), ("GIT_PYTHON_REFRESH", "quiet"))
_PYTHON = (("BRAID_TAIL", "python"),)
_HELD = "held by the kernel; on disk within a second"
_MEMORY = "in memory"
_OURS = "process, rank, order, a check sum of each row"

PEERS = {
    "braid": Peer("braid_hpc, `stream.append`, compiled", "own_recorders:Event", _HELD, _OURS),
    "braid-python": Peer(
        "braid_hpc, `stream.append`, in Python", "own_recorders:Event", _HELD, _OURS, environment=_PYTHON
    ),
    "logging": Peer("`logging`, a line in a file", "peer_files:Logging", "held by the kernel", "level"),
    "orjson": Peer("orjson, a line in a buffered file", "peer_files:Lines", _MEMORY, package="orjson"),
    "orjson-through": Peer(
        "orjson, a line written at once", "peer_files:LinesThrough", "held by the kernel", package="orjson"
    ),
    "sqlite": Peer(
        "sqlite3 (WAL, synchronous normal), a transaction an event",
        "peer_files:Sqlite",
        "held by the kernel, committed",
    ),
    "sqlite-batch": Peer("sqlite3 (WAL), 100 events a transaction", "peer_files:SqliteBatch", "in memory, up to 100"),
    "sqlite-full": Peer("sqlite3 as it comes, a transaction an event", "peer_files:SqliteFull", "on disk, committed"),
    "duckdb": Peer("DuckDB, row by row", "peer_files:Duckdb", "on disk, committed", package="duckdb"),
    "hdf5": Peer("h5py, a row at a time", "peer_files:Hdf5", _MEMORY, package="h5py"),
    "hdf5-flush": Peer("h5py, a row at a time, flushed", "peer_files:Hdf5Flush", "held by the kernel", package="h5py"),
    "viztracer": Peer(
        "VizTracer, `log_instant`", "peer_tracers:VizTracerEvent", _MEMORY, "process, thread", package="viztracer"
    ),
    "flowcept-decorator": Peer(
        "Flowcept offline, a decorated function with the fields as arguments",
        "peer_provenance:FlowceptDecorator",
        _MEMORY,
        "begin and end, status, host, workflow",
        package="flowcept",
    ),
    "flowcept-task": Peer(
        "Flowcept offline, a task object",
        "peer_provenance:FlowceptTaskObject",
        _MEMORY,
        "begin and end, status, host, workflow",
        package="flowcept",
    ),
    "dftracer": Peer(
        "DFTracer, `dft_fn` with arguments",
        "peer_tracers:DFTracerEvent",
        _MEMORY,
        "begin and duration, process, thread, level",
        package="dftracer",
        environment=_DFTRACER,
    ),
    "opentelemetry": Peer(
        "OpenTelemetry span, simple processor, console exporter to a file",
        "peer_tracers:OpenTelemetry",
        "held by the kernel",
        "begin and end, trace, parent, status, resource",
        package="opentelemetry-sdk",
    ),
    "opentelemetry-batch": Peer(
        "OpenTelemetry span, batch processor, console exporter to a file",
        "peer_tracers:OpenTelemetryBatch",
        "in a queue of 2,048, dropped when that is full",
        "begin and end, trace, parent, status, resource",
        package="opentelemetry-sdk",
    ),
    "otf2": Peer("OTF2, a metric event with an attribute", "peer_tracers:Otf2", _MEMORY, "location", package="otf2"),
    "prov": Peer("prov, an entity of a document", "peer_provenance:Prov", _MEMORY, package="prov"),
    "mlflow": Peer(
        "MLflow, `log_batch` to SQLite",
        "peer_mlflow:MLflow",
        "on disk, committed",
        "run, step",
        package="mlflow",
        environment=_MLFLOW,
    ),
    "mlflow-trace": Peer(
        "MLflow, a span of its tracing, to SQLite",
        "peer_mlflow:MLflowTrace",
        "in a queue of 1,000, dropped when that is full",
        "begin and end, trace, status",
        package="mlflow",
        environment=_MLFLOW,
    ),
    "tags": Peer("a record with three tags, compiled", "own_recorders:Tags", _HELD, _OURS, mode="own"),
    "batch": Peer("a row of a batch of six numeric columns, compiled", "own_recorders:Batch", _HELD, _OURS, mode="own"),
    "call-braid": Peer("braid_hpc, compiled", "own_recorders:Call", _HELD, _OURS, mode="call"),
    "call-braid-python": Peer(
        "braid_hpc, in Python", "own_recorders:Call", _HELD, _OURS, mode="call", environment=_PYTHON
    ),
    "call-off": Peer("braid_hpc, off", "own_recorders:Call", "-", mode="call", environment=(("BRAID_DISABLE", "1"),)),
    "call-flowcept": Peer(
        "Flowcept offline, `flowcept_task`",
        "peer_provenance:FlowceptCall",
        _MEMORY,
        "arguments, status, host, workflow",
        package="flowcept",
        mode="call",
    ),
    "call-dftracer": Peer(
        "DFTracer, `dft_fn.log`",
        "peer_tracers:DFTracerCall",
        _MEMORY,
        "process, thread, level",
        package="dftracer",
        mode="call",
        environment=_DFTRACER,
    ),
    "call-dftracer-off": Peer(
        "DFTracer, off",
        "peer_tracers:DFTracerCall",
        "-",
        package="dftracer",
        mode="call",
        environment=(("DFTRACER_ENABLE", "0"),),
    ),
    "call-viztracer": Peer(
        "VizTracer, started, a function as it is",
        "peer_tracers:VizTracerCall",
        _MEMORY,
        "file and line, process, thread; every other call too",
        package="viztracer",
        mode="call",
    ),
    "call-opentelemetry": Peer(
        "OpenTelemetry, `start_as_current_span`, simple processor",
        "peer_tracers:OpenTelemetryCall",
        "held by the kernel",
        "trace, parent, status, resource",
        package="opentelemetry-sdk",
        mode="call",
    ),
}

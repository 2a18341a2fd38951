"""What tracing a communicator costs for each call, in CPU time, beside the plain communicator.

    python benchmarks/mpi.py [--quick] [--out DIR]

One process sends messages to itself, in turns through ``MPI.COMM_WORLD`` and through a traced one, inside of an
activity and of none. What a call costs more is the difference, divided by the calls that were recorded. Every figure is
the median of the rounds, with the least beside it: on a machine that does other things meanwhile the least is nearer to
the truth. REF (one clock, a tuple of eight, an append) is measured in the same rounds. Written are ``mpi.json`` and
``mpi.md``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import braid_hpc as braid
from braid_hpc.collectors.mpi import traced
from braid_hpc.log.choice import compiled_module

BUFFER, ROOM = np.zeros(100), np.zeros(100)


def buffers(comm: Any) -> None:
    request = comm.Isend(BUFFER, 0)
    comm.Recv(ROOM, 0)
    request.Wait()


def posted(comm: Any) -> None:
    request = comm.Irecv(ROOM, 0)
    comm.Send(BUFFER, 0)
    request.Wait()


def objects(comm: Any) -> None:
    request = comm.isend((1, "two"), 0)
    comm.recv(source=MPI.ANY_SOURCE)
    request.wait()


def exchange(comm: Any) -> None:
    comm.Sendrecv(BUFFER, 0, recvbuf=ROOM, source=0)


def collective(comm: Any) -> None:
    comm.Allreduce(BUFFER, ROOM)


#: Name, what is done, and how many calls of it are traced.
KINDS: list[tuple[str, Callable[[Any], None], int]] = [
    ("Isend, Recv, Wait", buffers, 3),
    ("Irecv, Send, Wait", posted, 3),
    ("isend, recv, wait", objects, 3),
    ("Sendrecv", exchange, 1),
    ("Allreduce", collective, 1),
]


def cost(work: Callable[[Any], None], comm: Any, times: int) -> float:
    """Return microseconds of CPU time of this process, for each call of `work`."""
    begin = time.process_time()
    for _ in range(times):
        work(comm)
    return (time.process_time() - begin) / times * 1e6


def reference(times: int) -> float:
    """Return REF in microseconds."""
    kept: list[Any] = []
    begin = time.process_time()
    for number in range(times):
        kept.append((time.time_ns(), number, 1, 2, 3, 4, 5, "x"))
    return (time.process_time() - begin) / times * 1e6


def measure(rounds: int, times: int) -> dict[str, Any]:
    plain = MPI.COMM_WORLD
    figures: dict[str, list[float]] = {}
    refs: list[float] = []
    with tempfile.TemporaryDirectory() as folder, braid.job("benchmark", log_dir=folder) as run:
        comm = traced(plain)
        for _ in range(rounds):
            refs.append(reference(times))
            for name, work, calls in KINDS:
                base = cost(work, plain, times)
                figures.setdefault(f"{name}: plain", []).append(base / calls)
                figures.setdefault(f"{name}: more", []).append((cost(work, comm, times) - base) / calls)
                with run.activity("inside"):
                    more = (cost(work, comm, times) - base) / calls
                figures.setdefault(f"{name}: more in an activity", []).append(more)
    return {
        "ref_us": {"median": statistics.median(refs), "least": min(refs)},
        "us_per_call": {
            name: {"median": statistics.median(each), "least": min(each)} for name, each in figures.items()
        },
        "tail": "compiled" if compiled_module() is not None else "python",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "mpi": MPI.Get_library_version().partition(",")[0],
    }


def table(found: dict[str, Any]) -> str:
    ref = found["ref_us"]
    lines = [
        f"REF is {ref['median']:.2f} us (least {ref['least']:.2f}); the tail is {found['tail']}.",
        "",
        "| CPU time for each call | median, us | least, us |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {each['median']:.2f} | {each['least']:.2f} |" for name, each in found["us_per_call"].items()]
    return "\n".join(lines) + "\n"


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few calls, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path(), help="where the results are written")
    chosen = parser.parse_args(words)
    found = measure(*((1, 50) if chosen.quick else (9, 20_000)))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "mpi.json").write_text(json.dumps(found, indent=2) + "\n")
    (chosen.out / "mpi.md").write_text(table(found))
    sys.stdout.write(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

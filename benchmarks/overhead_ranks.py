"""The ranks of ``overhead.py``: whole programs in miniature, in turn with recording on and without it.

    mpirun -n N python overhead_ranks.py PLACE PLAN

Each program is a loop of steps. A segment is so many steps, the same for every variant; segments without recording
and with so many events a second follow each other in one process, in another order each round. Rank 0 writes a line
for each segment into PLACE/segments.jsonl.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from recorders import TEXT
from rounds import in_turn

Step = Callable[[int], None]
#: What rank 0 writes as it is measured, so that it is there when the job is interrupted.
SEGMENTS = "segments.jsonl"


def heat(comm: Any, place: Path) -> Step:
    """Jacobi steps of heat on a grid that is cut into strips: each step exchanges its halo with both neighbours."""
    import numpy as np
    from mpi4py import MPI

    rank, size = comm.Get_rank(), comm.Get_size()
    up, down = (rank - 1 if rank else MPI.PROC_NULL), (rank + 1 if rank < size - 1 else MPI.PROC_NULL)
    old = np.zeros((386, 512))
    old[:, 0] = 1.0
    new = old.copy()
    grids = [old, new]

    def step(number: int) -> None:
        old, new = grids[number % 2], grids[1 - number % 2]
        comm.Sendrecv(old[1], dest=up, recvbuf=old[-1], source=down)
        comm.Sendrecv(old[-2], dest=down, recvbuf=old[0], source=up)
        inner = new[1:-1, 1:-1]
        np.add(old[:-2, 1:-1], old[2:, 1:-1], out=inner)
        inner += old[1:-1, :-2]
        inner += old[1:-1, 2:]
        inner *= 0.25

    return step


def kmeans(comm: Any, place: Path) -> Step:
    """Steps of k-means on points that are spread over the ranks: each step sums up with Allreduce."""
    import numpy as np

    generator = np.random.default_rng(comm.Get_rank())
    points = generator.normal(size=(8_000, 8))
    centres = np.random.default_rng(0).normal(size=(16, 8))

    def step(number: int) -> None:
        nearest = np.argmin(-2.0 * points @ centres.T + (centres**2).sum(axis=1), axis=1)
        sums = np.zeros((16, 9))
        np.add.at(sums, nearest, np.column_stack([points, np.ones(len(points))]))
        total = np.empty_like(sums)
        comm.Allreduce(sums, total)
        filled = total[:, 8] > 0
        centres[filled] = total[filled, :8] / total[filled, 8:]

    return step


def reader(comm: Any, place: Path) -> Step:
    """Reading blocks of a HDF5 file that the kernel has been told to forget."""
    import h5py
    import numpy as np

    path, blocks = place / f"frames-{comm.Get_rank()}.h5", 96
    with h5py.File(path, "w") as file:
        frames = file.create_dataset("frames", (blocks, 512, 512), dtype="f4", chunks=(1, 512, 512))
        for number in range(blocks):
            frames[number] = np.random.default_rng(number).random((512, 512), dtype="f4")
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    frames = h5py.File(path, "r", rdcc_nbytes=0)["frames"]
    taken = np.empty((512, 512), dtype="f4")

    def step(number: int) -> None:
        if number % blocks == 0:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        frames.read_direct(taken, np.s_[number % blocks])
        taken.max()

    return step


PROGRAMS = {"heat": heat, "k-means": kmeans, "reader": reader}


def segment(comm: Any, step: Step, steps: int, *, rate: int, record: Callable[..., Any]) -> dict[str, float]:
    """Run a segment with so many events a second, spread over it as steps end; none of it is there without events."""
    from mpi4py import MPI

    now, text, rank = time.perf_counter, TEXT, comm.Get_rank()
    comm.Barrier()
    recorded, cpu, begin = 0, time.process_time(), now()
    if rate:
        for number in range(steps):
            step(number)
            due = int((now() - begin) * rate)
            for event in range(recorded, due):
                record(event, 1.5, 2.5, rank, number, 5.5, text)
            recorded = due
    else:
        for number in range(steps):
            step(number)
    comm.Barrier()
    wall, cpu = now() - begin, time.process_time() - cpu
    return {
        "wall": comm.allreduce(wall, op=MPI.MAX),
        "cpu": comm.allreduce(cpu),
        "events": comm.allreduce(recorded),
    }


def main() -> None:
    """Go through the plan."""
    from mpi4py import MPI

    import braid_hpc as braid

    place, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    # A rank that waits for one that is gone would wait for ever.
    faulthandler.dump_traceback_later(plan["limit_s"], exit=True)
    comm = MPI.COMM_WORLD
    step = PROGRAMS[plan["program"]](comm, place)
    fields = {"i": "int64", "a": "float64", "b": "float64", "c": "int32", "d": "int64", "e": "float32", "t": "text"}
    run = braid.start("overhead", log_dir=place / "logs")
    try:
        record = run.stream("event", fields).append
        # How many steps a segment has is found out once, and is the same for all.
        steps = 8
        while segment(comm, step, steps, rate=10_000, record=record)["wall"] < plan["seconds"] / 4:
            steps *= 2
        # By the fastest of some: one that others have held up would make all segments too short.
        took = min(segment(comm, step, steps, rate=10_000, record=record)["wall"] for _ in range(3))
        steps = comm.bcast(max(1, round(steps * plan["seconds"] / took)))
        for turn in range(plan["rounds"]):
            for rate in in_turn(plan["rates"], turn):
                found = segment(comm, step, steps, rate=rate, record=record)
                # What the background thread has left to do is not the next segment's.
                begin, used = time.perf_counter(), time.process_time()
                run.flush("synced")
                later, used = time.perf_counter() - begin, time.process_time() - used
                found |= {"later": comm.allreduce(later, op=MPI.MAX), "later cpu": comm.allreduce(used)}
                if comm.Get_rank() == 0:
                    with (place / SEGMENTS).open("a") as file:
                        file.write(json.dumps({"rate": rate, "round": turn, "steps": steps, **found}) + "\n")
    finally:
        run.close()


if __name__ == "__main__":
    main()

"""The ranks of ``scaling.py``: started by it under mpirun, they record into each variant in turn.

    mpirun -n N python scaling_ranks.py PLACE PLAN

The plan is a JSON text. Each rank leaves a file for each case in PLACE: when it began and ended, the CPU time of its
process, how long each call took, errors, and what was read back afterwards.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from recorders import RECORDERS, TEXT, VARIANTS, Recorder, wait_for_all

#: Events of a rank in the case that is not kept, and how long it may take (s), before :meth:`Recorder.warm`.
WARM, WARM_SECONDS = 20_000, 0.2


def record_events(
    record: Callable[..., Any], taken: Any, *, count: int, seconds: float, rank: int
) -> tuple[int, Counter[str]]:
    """Record up to `count` events for up to some seconds; return how many were tried, and the errors."""
    now, errors = time.perf_counter_ns, Counter[str]()
    end, text = now() + int(seconds * 1e9), TEXT
    for number in range(count):
        begin = now()
        try:
            record(number, 1.5, 2.5, rank, number, 5.5, text)
        except Exception as error:  # whatever the peer raises is one event that is not recorded
            errors[f"{type(error).__name__}: {error}".splitlines()[0][:120]] += 1
        after = now()
        taken[number] = after - begin
        if after > end:
            return number + 1, errors
    return count, errors


def run_case(recorder: Recorder, served: bool, *, count: int, seconds: float, warm: bool) -> dict[str, Any]:
    """Run one case on this rank."""
    import numpy as np

    comm, rank = recorder.comm, recorder.rank
    serves = served and rank == 0
    taken = np.zeros(0 if serves else count, dtype="int64")
    found: dict[str, Any] = {"rank": rank, "serves": serves, "tried": 0, "errors": {}}
    clock = time.monotonic()
    try:
        record = recorder.open()
        found["open_s"] = time.monotonic() - clock
        opened = True
    except Exception as error:
        found["errors"], opened = {f"{type(error).__name__}: {error}".splitlines()[0][:120]: 0}, False
    wait_for_all(comm)
    errors: Counter[str] = Counter()
    found["begin"], cpu, own = time.monotonic(), time.process_time(), time.thread_time()
    if serves:
        recorder.serve()
    elif opened:
        found["tried"], errors = record_events(record, taken.data, count=count, seconds=seconds, rank=rank)
        if warm:
            recorder.warm(record)
        try:
            recorder.close()
        except Exception as error:
            errors[f"at the end, {type(error).__name__}: {error}".splitlines()[0][:120]] += 1
    elif served:
        recorder.close()
    found["end"], found["cpu_s"] = time.monotonic(), time.process_time() - cpu
    found["own_cpu_s"] = time.thread_time() - own
    wait_for_all(comm)
    if opened and (recorder.counts_alone or rank == 0):
        found["arrived"] = recorder.arrived()
        recorder.remove()
    found["errors"] |= errors
    return found | {"taken": taken[: found["tried"]]}


def main() -> None:
    """Go through the plan."""
    import numpy as np
    from mpi4py import MPI

    place, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    # A rank that waits for one that is gone would wait for ever.
    faulthandler.dump_traceback_later(plan["limit_s"], exit=True)
    comm = MPI.COMM_WORLD
    size, rank = comm.Get_size(), comm.Get_rank()
    # What a process pays once, such as for imports, is paid before: in a short case of each variant, which is not kept.
    warm = [("warm", variant) for variant in dict.fromkeys(variant for _, variant in plan["cases"])]
    for mode, variant in [*warm, *plan["cases"]]:
        case = f"{mode}-{variant}"
        recorder = RECORDERS[variant](place, case, comm)
        served = VARIANTS[variant].served
        count = plan["events"].get(mode, WARM)
        if mode == "strong":
            count //= size - 1 if served else size
        if rank == 0:
            recorder.prepare()
        wait_for_all(comm)
        seconds = WARM_SECONDS if mode == "warm" else plan["seconds"]
        found = run_case(recorder, served, count=count, seconds=seconds, warm=mode == "warm")
        np.save(place / f"{case}.{rank}.npy", found.pop("taken"))
        (place / f"{case}.{rank}.json").write_text(json.dumps(found))
        wait_for_all(comm)
        if rank == 0:
            (place / f"{case}.done").touch()


if __name__ == "__main__":
    main()

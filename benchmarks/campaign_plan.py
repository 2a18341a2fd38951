"""What a plan of many cells costs: time and memory, beside a plan of a tenth of them.

    python benchmarks/campaign_plan.py [--quick] [--cells N] [--folder DIR] [--out DIR]

Nine of ten cells are done. For N and for a tenth of N cells, each in a process of its own, the seconds (wall) of: the
states of all cells, looked up in the done index; what is left, as one Arrow table, in parts, as calls, and as the files
of an array job of 1,000 cells a task; the share of one of eight ranks. Memory is what the process has beyond what it
began with: anonymous, at most, sampled every 10 ms; pages of the index, which is mapped, are the kernel's to take back,
and are in the resident peak. Indexes are made first, in ``--folder``, where they are taken from the next time. Written
are ``campaign_plan.json`` and ``campaign_plan.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from braid_hpc.campaigns.plan import make_plan

sys.path.insert(0, str(Path(__file__).parent))

from tasks import measure, write_index


def _anonymous() -> int:
    """Return bytes of memory that are in no file."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


class Peak:
    """The most anonymous memory while something is done."""

    def __init__(self) -> None:
        self.before = self.most = _anonymous()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, _anonymous())

    def __enter__(self) -> Peak:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()


def one_plan(folder: Path, cells: int) -> dict[str, Any]:
    """Measure a plan in this process."""
    plan = make_plan(measure, {"configuration": range(cells // 8), "source": range(8)}, store_of(folder, cells))
    files = Path(tempfile.mkdtemp(dir=folder))
    asked: dict[str, Callable[[], int]] = {
        "states of all cells": lambda: plan.counts()["done"],
        "left, as one table": lambda: len(plan.missing()),
        "left, in parts": lambda: sum(len(part) for part in plan.batches()),
        "left, as calls": lambda: sum(1 for _ in plan.calls()),
        "left, as an array job": lambda: len(
            plan.array_job("fit {cells}", into=files, scheduler="slurm", per_task=1000)["array"]
        ),
        "share of one of eight": lambda: len(plan.share(3, 8)),
    }
    found: dict[str, Any] = {"cells": len(plan), "seconds": {}, "bytes": {}, "answers": {}}
    for name, ask in asked.items():
        with Peak() as peak:
            began = time.perf_counter()
            found["answers"][name] = ask()
            found["seconds"][name] = time.perf_counter() - began
        found["bytes"][name] = peak.most - peak.before
    found["resident bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found


def store_of(folder: Path, cells: int) -> Path:
    """Return the name of a store that has an index of so many cells, nine of ten of which are done."""
    return folder / f"plan-{cells}.duckdb"


def prepare(folder: Path, cells: int) -> None:
    """Write the index, unless it is there."""
    directory = store_of(folder, cells).with_suffix(".duckdb.d")
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "1.done").exists():
        write_index(directory / "1.done", cells)


def as_markdown(found: dict[str, Any]) -> str:
    """Return the figures as a table."""
    plans = found["plans"]
    head = " | ".join(f"{each['cells']:,} cells | memory" for each in plans)
    lines = [
        f"{found['processors']} processors, load {found['load']:.1f}",
        "",
        f"| seconds, MiB | {head} |",
        "|---|" + "---|---|" * len(plans),
    ]
    for name in plans[0]["seconds"]:
        values = " | ".join(f"{each['seconds'][name]:.2f} | {each['bytes'][name] / 2**20:.0f}" for each in plans)
        lines.append(f"| {name} | {values} |")
    peaks = ", ".join(f"{each['resident bytes'] / 2**20:.0f}" for each in plans)
    lines += ["", f"resident at most, with pages of the mapped index: {peaks} MiB"]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 cells, to see that it runs")
    parser.add_argument("--cells", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where indexes are kept; nowhere without it")
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one is not None:
        print(json.dumps(one_plan(given.folder, given.one)))
        return
    cells = 20_000 if given.quick else given.cells
    with tempfile.TemporaryDirectory() as folder:
        place = given.folder or Path(folder)
        plans = []
        for each in (cells // 10, cells):
            each -= each % 80
            prepare(place, each)
            command = [sys.executable, __file__, "--one", str(each), "--folder", str(place)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            plans.append(json.loads(done.stdout))
    found = {"plans": plans, "processors": os.cpu_count(), "load": os.getloadavg()[0]}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "campaign_plan.json").write_text(json.dumps(found, indent=1) + "\n")
    text = as_markdown(found)
    (given.out / "campaign_plan.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

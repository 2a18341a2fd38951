"""How much longer whole programs take when they record, with 1,000 and 10,000 events a second on each rank.

    python benchmarks/overhead.py [--quick] [--out DIR] [--ranks N] [--rounds N] [--programs heat,k-means]

Real ranks, started with mpirun: a heat stencil that exchanges halos, k-means that sums up with Allreduce, a reader of
HDF5 files that the kernel was told to forget. Segments of the same steps, without recording and with so many events a
second, follow each other in one process in turn. The demonstration of BraggNN is run as a whole in turn with
recording on, at its own rate, and with BRAID_DISABLE=1. Given is by how much the wall time, and the CPU time of all
ranks, is more than without recording in the same round: the median, and a confidence interval of 95 % for it from
10,000 samples with replacement. Written are ``overhead.parquet``, ``overhead.md`` and ``overhead.svg``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from launching import run_ranks
from overhead_ranks import PROGRAMS, SEGMENTS
from rounds import Rounds, described, in_turn, machine, not_run_list, progress, publish, read_rounds, table

RATES = (0, 1_000, 10_000)
#: Of a segment: longer than the second after which the recorder brings to the disk what was recorded, so that this is
#: in each segment and not in some.
SECONDS = 2.0
TITLES = {
    "heat": "heat stencil, halo exchange",
    "k-means": "k-means, Allreduce",
    "reader": "reader of HDF5 blocks, uncached",
    "braggnn": "BraggNN demonstration, whole",
}


def name_of(rate: int) -> str:
    """Return the name of a variant."""
    return f"{rate} events/s" if rate else "off"


def measure(measured: Rounds, options: argparse.Namespace, place: Path) -> None:
    """Measure all programs."""
    measured.planned = {(program, "off"): TITLES[program] for program in options.programs}
    with progress(len(options.programs), "overhead") as step:
        for program in options.programs:
            step(TITLES[program])
            (folder := place / program).mkdir()
            if program == "braggnn":
                measure_demo(measured, options, folder)
            else:
                measure_segments(measured, options, folder, program)
            shutil.rmtree(folder)
            measured.save()
            step("", done=1)


def measure_segments(measured: Rounds, options: argparse.Namespace, folder: Path, program: str) -> None:
    """Measure a program whose segments follow each other in one job."""
    limit = 60 + 3 * options.rounds * len(RATES) * options.seconds
    about = {"seconds": options.seconds, "rounds": options.rounds, "rates": RATES, "limit_s": limit}
    plan = json.dumps(about | {"program": program})
    why = "interrupted"
    try:
        _, why = run_ranks("overhead_ranks.py", [str(folder), plan], ranks=options.ranks, limit=limit + 10)
    finally:
        keep_segments(measured, options, folder / SEGMENTS, program)
        if why:
            about = {"mode": program, "variant": "rounds that are missing", "ranks": options.ranks, "round": 0}
            measured.skip(about, why)


def keep_segments(measured: Rounds, options: argparse.Namespace, path: Path, program: str) -> None:
    """Keep the segments that were measured, also of a job that was interrupted."""
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found = json.loads(line)
        except ValueError:
            # The line that was being written when the job was ended, or the disk was full.
            break
        of = {"mode": program, "variant": name_of(found["rate"]), "ranks": options.ranks, "round": found["round"]}
        rate = found["events"] / found["wall"] / options.ranks
        measured.add(
            of,
            {
                "wall": (found["wall"], "s"),
                "cpu": (found["cpu"], "s"),
                "later": (found["later"], "s"),
                "later cpu": (found["later cpu"], "s"),
                "rate": (rate, "events/s/rank"),
                "steps": (found["steps"], "steps"),
            },
        )


def measure_demo(measured: Rounds, options: argparse.Namespace, folder: Path) -> None:
    """Measure the whole demonstration, with the beginning and the end of its processes."""
    for turn in range(options.demo_rounds):
        for name in in_turn(["off", "its own events"], turn):
            of = {"mode": "braggnn", "variant": name, "ranks": options.ranks, "round": turn}
            before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            variables = {"BRAID_DISABLE": "1"} if name == "off" else {}
            arguments = ["-m", "braid_hpc.demos.braggnn", "--dir", str(folder / f"{turn}-{len(variables)}")]
            _, why = run_ranks("", arguments, ranks=options.ranks, limit=300, variables=variables)
            wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
            if why:
                measured.skip(of, why)
                continue
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            measured.add(of, {"wall": (wall, "s"), "cpu": (cpu, "s")})


def interval(values: Sequence[float], *, samples: int = 10_000) -> tuple[float, float, float]:
    """Return the median, and the ends of its confidence interval of 95 %, by samples with replacement."""
    generator = random.Random(1)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(samples))
    return statistics.median(values), medians[int(samples * 0.025)], medians[int(samples * 0.975) - 1]


def more(measured: Rounds, program: str, variant: str, measure: str) -> list[float]:
    """Return by how much a measure is more than with recording off, by round, as a part of that."""
    own, off = (taken(measured, program, name, measure) for name in (variant, "off"))
    return [own[turn] / off[turn] - 1 for turn in sorted(own.keys() & off.keys()) if off[turn]]


def taken(measured: Rounds, program: str, variant: str, measure: str) -> dict[int, float]:
    """Return a measure by round; CPU time with that of what a segment has left to be brought to the disk."""
    found = measured.values(mode=program, variant=variant, measure=measure)
    later = measured.values(mode=program, variant=variant, measure="later cpu") if measure == "cpu" else {}
    return {turn: value + later.get(turn, 0.0) for turn, value in found.items()}


def variants_of(program: str) -> list[str]:
    """Return the variants of a program that record."""
    return ["its own events"] if program == "braggnn" else [name_of(rate) for rate in RATES if rate]


def write_table(measured: Rounds) -> str:
    """Return the figures as Markdown."""
    rows = []
    for program, title in TITLES.items():
        for variant in variants_of(program):
            walls, cpus = (more(measured, program, variant, which) for which in ("wall", "cpu"))
            if not walls:
                continue
            rates = measured.values(mode=program, variant=variant, measure="rate").values()
            off = statistics.median(measured.values(mode=program, variant="off", measure="wall").values())
            cells = [_percent(interval(values)) for values in (walls, cpus)]
            got = f"{statistics.median(rates):,.0f}" if rates else "-"
            later = measured.values(mode=program, variant=variant, measure="later").values()
            left = f"{1e3 * statistics.median(later):.1f}" if later else "-"
            rows.append([title, variant, got, *cells, left, f"{off:.2f}", str(len(walls))])
    header = [
        "program",
        "recording",
        "events/s/rank reached",
        "wall time more (95 %)",
        "CPU time more (95 %)",
        "then to the disk, ms",
        "s without",
        "rounds",
    ]
    parts = [described(measured.about), table(header, rows), not_run_list(measured)]
    return "\n".join(part for part in parts if part)


def judged(measured: Rounds) -> str:
    """Return for each program and rate whether the target is met, as far as the interval says."""
    lines = []
    for program, title in TITLES.items():
        for variant in variants_of(program):
            if not (values := more(measured, program, variant, "wall")):
                continue
            middle, low, high = interval(values)
            if variant == name_of(1_000):
                said = "not distinguishable from zero" if low <= 0 <= high else "**not zero**"
                said += f", within {max(abs(low), abs(high)):.2%} of it" if low <= 0 <= high else ""
            elif high <= 0.01:
                said = "at most 1 %"
            else:
                said = "**more than 1 %**" if low > 0.01 else "undecided: the interval reaches beyond 1 %"
            lines.append(
                f"- {title}, {variant}: {said} ({_percent((middle, low, high))}).{_cpu(measured, program, variant)}"
            )
    return "\n".join(lines) + "\n"


def _cpu(measured: Rounds, program: str, variant: str) -> str:
    """Return that CPU time is more, where its interval says so: an idle core may have hidden it from wall time."""
    values = more(measured, program, variant, "cpu")
    found = interval(values) if values else (0.0, 0.0, 0.0)
    return f" CPU time is **more than without**: {_percent(found)}." if found[1] > 0 else ""


def in_one_sentence(measured: Rounds) -> str:
    """Return what programs take longer at the highest rate, as an item of a list."""
    said = []
    for program in PROGRAMS:
        if values := more(measured, program, name_of(max(RATES)), "wall"):
            said.append(f"{TITLES[program]} {_percent(interval(values))}")
    where = "docs/benchmarks.md#whole-programs-with-recording-and-without"
    what = f"More wall time with up to {max(RATES):,} events a second on each rank, and its 95 % interval"
    return f"- {what}: {'; '.join(said)} ([details]({where}))."


def _percent(found: tuple[float, float, float]) -> str:
    middle, low, high = found
    return f"{middle:+.2%} ({low:+.2%} to {high:+.2%})"


def main() -> None:
    """Measure, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="some seconds, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--ranks", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="of a segment")
    parser.add_argument("--programs", default="", help=f"some of {','.join(TITLES)}")
    parser.add_argument("--draw", action="store_true", help="measure nothing: table and picture of what --out holds")
    options = parser.parse_args()
    measured = read_rounds(options.out / "overhead.parquet") if options.draw else measure_all(options)
    from plots import overhead_plot

    publish(measured, write_table(measured), overhead_plot)


def measure_all(options: argparse.Namespace) -> Rounds:
    """Measure what the options ask for."""
    options.programs = [name for name in options.programs.split(",") if name] or list(TITLES)
    options.demo_rounds = options.rounds or (1 if options.quick else 12)
    options.rounds = options.rounds or (3 if options.quick else 40)
    options.seconds = options.seconds or (0.1 if options.quick else SECONDS)
    if unknown := {*options.programs} - {*TITLES}:
        sys.exit(f"overhead: there is no {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="braid-bench-") as folder:
        about: dict[str, Any] = machine(Path(folder)) | {"seconds": options.seconds}
        with Rounds("overhead", options.out, about) as measured:
            measure(measured, options, Path(folder))
    return measured


assert {*PROGRAMS} < {*TITLES}

if __name__ == "__main__":
    main()

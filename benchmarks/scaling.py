"""What it costs to record the same events on 1 to 64 ranks: into a log for each rank, or into what all share.

    python benchmarks/scaling.py [--quick] [--out DIR] [--ranks 1,2,4] [--rounds N] [--variants rank-logs,sqlite]

Real ranks, started with mpirun, record events of seven fields, each call timed: weak, so many on each rank; strong, so
many in all. A rank that is slow stops after some seconds, with fewer events. Every round goes through all variants in
one job, each time in another order, and through the same loop with recording off: with more ranks than cores all of it
gets slower, and the difference to recording off is what recording costs. Afterwards the events that arrived are read
back and counted. Given are medians and quartiles of the rounds:

- events a second that arrived, from the beginning of the first rank to the end of the last, closing included;
- core time an event: that time, times the cores that the ranks have, for each event. It does not change with the
  number of ranks where ranks do not wait for each other;
- CPU time an event, of all ranks, and of that what the threads that record took: the rest is what others did beside
  them, such as sealing what is full, as far as it was done when the case ended; of servers outside of the job none is
  seen;
- percentiles of single calls (the longest of all rounds), errors, and events that are not there, refused or not.

Written are ``scaling.parquet``, ``scaling.md`` and ``scaling.svg``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from launching import run_ranks
from postgresql import NoServerError, server
from recorders import VARIANTS
from rounds import Rounds, described, in_turn, machine, not_run_list, progress, publish, read_rounds, summary, table

RANKS = (1, 2, 4, 8, 16, 32, 64)
MODES = ("weak", "strong")
#: Events of each rank, and of all ranks.
EVENTS = {"weak": 100_000, "strong": 4_000_000}
QUICK = {"weak": 1_000, "strong": 2_000}
PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.99": 99.99, "max": 100.0}


def what_is_missing(wanted: list[str], postgresql: str) -> dict[str, str]:
    """Return the variants that cannot be measured here, each with its reason."""
    from importlib.util import find_spec

    missing = {name: postgresql for name in wanted if name.startswith("postgresql") and postgresql}
    if "duckdb-writer" in wanted and not (find_spec("duckdb") and find_spec("pyarrow")):
        missing["duckdb-writer"] = "duckdb or pyarrow is not installed"
    return missing


@contextlib.contextmanager
def database(place: Path | None, wanted: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the address of a PostgreSQL server, whose files are where those of the others are, or why there is none."""
    with contextlib.ExitStack() as stack:
        found = "", ""
        if any(name.startswith("postgresql") for name in wanted):
            try:
                found = stack.enter_context(server(place, connections=200)), ""
            except NoServerError as error:
                found = "", str(error)
        yield found


def run_job(ranks: int, cases: list[list[str]], place: Path, options: argparse.Namespace, address: str) -> str:
    """Run the ranks of one round; return why not all of its cases were done, or nothing."""
    limit = 60 + ranks * 2 + len(cases) * (options.seconds + 20)
    plan = json.dumps({"cases": cases, "events": options.events, "seconds": options.seconds, "limit_s": limit})
    variables = {"SCALING_POSTGRESQL": address}
    _, why = run_ranks("scaling_ranks.py", [str(place), plan], ranks=ranks, limit=limit + 10, variables=variables)
    return why


def values_of(place: Path, case: str, ranks: int) -> tuple[dict[str, tuple[float, str]], dict[str, int]]:
    """Return what a case comes to, and its errors."""
    import numpy as np

    each = [json.loads((place / f"{case}.{rank}.json").read_text()) for rank in range(ranks)]
    taken = np.concatenate([np.load(place / f"{case}.{rank}.npy") for rank in range(ranks)])
    errors: Counter[str] = Counter()
    for one in each:
        errors.update(one["errors"])
    counted = [one["arrived"] for one in each if one.get("arrived") is not None]
    tried, refused = sum(one["tried"] for one in each), sum(errors.values())
    arrived = sum(counted) if counted else tried
    wall = max(one["end"] for one in each) - min(one["begin"] for one in each)
    cores = min(len(os.sched_getaffinity(0)), ranks)
    values = {
        "tried": (tried, "events"),
        "arrived": (arrived, "events"),
        "refused": (refused, "calls"),
        "lost": (tried - arrived, "events"),
        "wall": (wall, "s"),
        "open": (max(one.get("open_s", 0.0) for one in each), "s"),
    }
    if arrived:
        values["rate"] = arrived / wall, "events/s"
        values["core time"] = wall * cores / arrived * 1e6, "us/event"
        values["CPU time"] = sum(one["cpu_s"] for one in each) / arrived * 1e6, "us/event"
        values["own CPU time"] = sum(one["own_cpu_s"] for one in each) / arrived * 1e6, "us/event"
    if len(taken):
        found = np.percentile(taken, list(PERCENTILES.values())) / 1e3
        values |= {name: (float(value), "us") for name, value in zip(PERCENTILES, found, strict=True)}
    return values, dict(errors)


def measure(measured: Rounds, options: argparse.Namespace, place: Path) -> None:
    """Measure all rounds."""
    with (
        # Not below `place`, which only its owner may enter: as root the server has another one.
        database(options.dir, options.variants) as (address, why),
        progress(options.rounds * len(options.ranks), "scaling") as step,
    ):
        missing = what_is_missing(options.variants, why)
        for name, reason in missing.items():
            measured.skip({"mode": "", "variant": name, "ranks": 0, "round": 0}, reason)
        wanted = [name for name in options.variants if name not in missing]
        measured.planned = {(mode, name): name for mode in options.modes for name in wanted}
        # Round by round, so that an interruption leaves whole rounds of all numbers of ranks.
        for turn in range(options.rounds):
            for ranks in options.ranks:
                step(f"round {turn + 1} of {options.rounds}, {ranks} ranks")
                one_round(measured, options, place, wanted=wanted, turn=turn, ranks=ranks, address=address)
                measured.save()
                step("", done=1)


def one_round(
    measured: Rounds,
    options: argparse.Namespace,
    place: Path,
    *,
    wanted: list[str],
    turn: int,
    ranks: int,
    address: str,
) -> None:
    """Measure one round of one number of ranks."""
    cases = []
    for variant in in_turn(wanted, turn):
        for mode in options.modes:
            if VARIANTS[variant].served and ranks == 1:
                measured.skip(
                    {"mode": mode, "variant": variant, "ranks": 1, "round": 0}, "one rank has none to serve it"
                )
            else:
                cases.append([mode, variant])
    folder, why = place / "round", "interrupted"
    folder.mkdir()
    try:
        why = run_job(ranks, cases, folder, options, address)
    finally:
        # Also of a job that was interrupted: what it has done is measured.
        keep_cases(measured, cases, folder, turn=turn, ranks=ranks, why=why)
        shutil.rmtree(folder)


def keep_cases(measured: Rounds, cases: list[list[str]], folder: Path, *, turn: int, ranks: int, why: str) -> None:
    """Keep the cases of a job that were done, and why the others were not."""
    for mode, variant in cases:
        of = {"mode": mode, "variant": variant, "ranks": ranks, "round": turn}
        if not (folder / f"{mode}-{variant}.done").exists():
            measured.skip(of, why or "the ranks did not come to it")
            continue
        values, errors = values_of(folder, f"{mode}-{variant}", ranks)
        measured.add(of, values)
        if errors:
            measured.about.setdefault("errors", []).append([mode, variant, ranks, turn, errors])
        if not values["arrived"][0]:
            measured.skip(of, "no event arrived: " + "; ".join(errors))


# ------------------------------------------------------------------------------------------------- what is written


def write_table(measured: Rounds) -> str:
    """Return the figures as Markdown."""
    parts = [described(measured.about)]
    ranks = sorted({row.ranks for row in measured.rows})
    for mode in MODES:
        variants = [
            name
            for name in VARIANTS
            if any(row.mode == mode and row.variant == name and row.measure == "rate" for row in measured.rows)
        ]
        if not variants:
            continue
        count = measured.about["events"][mode]
        each = "on each rank" if mode == "weak" else "in all, split between the ranks"
        parts.append(
            f"### {mode.capitalize()} scaling: up to {count:,} events {each}, at most {measured.about['seconds']} s\n"
        )
        for title, measure, form in (
            ("Events a second that arrived", "rate", ",.0f"),
            ("Core time an event, µs (wall time x cores in use / events)", "core time", ",.2f"),
            ("CPU time an event in the ranks, µs", "CPU time", ",.2f"),
            ("Of that in the threads that record, µs", "own CPU time", ",.2f"),
        ):
            if not any(row.measure == measure for row in measured.rows):
                continue
            rows = [
                [
                    VARIANTS[name].title,
                    *(_cell(measured, form, mode=mode, variant=name, ranks=n, measure=measure) for n in ranks),
                ]
                for name in variants
            ]
            parts.append(f"{title}:\n\n" + table(["ranks", *map(str, ranks)], rows))
        growth = _growth(measured, mode, variants, ranks)
        parts.append(f"Core time above that of the same round with recording off:\n\n{growth}")
        parts.append(f"Single calls, and what became of the events:\n\n{_calls(measured, mode, variants, ranks)}")
    promises = table(
        ["variant", "what is there after a rank was killed"],
        [[each.title, each.keeps] for name, each in VARIANTS.items() if name != "off"],
    )
    parts += [promises.replace("--:", "---"), not_run_list(measured), _errors(measured)]
    return "\n".join(part for part in parts if part)


def _cell(measured: Rounds, form: str, **wanted: Any) -> str:
    found = summary(measured.values(**wanted).values())
    return "not run" if found is None else found.text(form)


def above_off(measured: Rounds, mode: str, variant: str, ranks: int, *, measure: str = "core time") -> dict[int, float]:
    """Return by round the time of an event above that of the same loop with recording off, in microseconds."""
    own = measured.values(mode=mode, variant=variant, ranks=ranks, measure=measure)
    off = measured.values(mode=mode, variant="off", ranks=ranks, measure=measure)
    return {turn: own[turn] - off[turn] for turn in own.keys() & off.keys()}


def _growth(measured: Rounds, mode: str, variants: list[str], ranks: list[int]) -> str:
    rows = []
    for name in variants:
        if name == "off":
            continue
        have = [n for n in ranks if above_off(measured, mode, name, n)]
        if not have:
            continue
        first, last = (above_off(measured, mode, name, n) for n in (have[0], have[-1]))
        logs = above_off(measured, mode, "rank-logs", have[-1])
        least, most = summary(first.values()), summary(last.values())
        growth = summary(last[turn] / first[turn] for turn in first.keys() & last.keys() if first[turn] > 0)
        beside = summary(last[turn] / logs[turn] for turn in logs.keys() & last.keys() if logs[turn] > 0)
        rows.append(
            [
                VARIANTS[name].title,
                f"{have[0]}: {least.text()}" if least else "-",
                f"{have[-1]}: {most.text()}" if most else "-",
                growth.text() if growth else "-",
                beside.text(",.1f") if beside else "-",
            ]
        )
    return table(["variant", "fewest ranks, µs", "most ranks, µs", "growth", "x rank logs"], rows)


def _calls(measured: Rounds, mode: str, variants: list[str], ranks: list[int]) -> str:
    rows = []
    for name in variants:
        for n in sorted({ranks[0], 8 if 8 in ranks else ranks[len(ranks) // 2], ranks[-1]}):
            wanted = {"mode": mode, "variant": name, "ranks": n}
            if not measured.values(**wanted, measure="tried"):
                continue
            cells = [
                _median(measured, ",.1f", **wanted, measure=measure) for measure in PERCENTILES if measure != "max"
            ]
            longest = measured.values(**wanted, measure="max").values()
            cells.append(f"{max(longest):,.1f}" if longest else "-")
            counts = [
                f"{sum(measured.values(**wanted, measure=measure).values()):,.0f}"
                for measure in ("tried", "refused", "lost")
            ]
            if name == "off":
                counts[1:] = ["-", "-"]
            rows.append([VARIANTS[name].title, str(n), *cells, *counts])
    header = ["variant", "ranks", *(f"{name}, µs" for name in PERCENTILES), "tried", "refused", "not there"]
    return table(header, rows)


def _median(measured: Rounds, form: str, **wanted: Any) -> str:
    found = summary(measured.values(**wanted).values())
    return "-" if found is None else f"{found.median:{form}}"


def _errors(measured: Rounds) -> str:
    counted: Counter[tuple[str, str]] = Counter()
    for _, variant, _, _, errors in measured.about.get("errors", []):
        for text, count in errors.items():
            counted[variant, text] += count
    return (
        "\n".join(f"- {VARIANTS[name].title}: {count:,} x {text}" for (name, text), count in counted.items()) + "\n"
        if counted
        else ""
    )


def draw(measured: Rounds, path: Path) -> str:
    """Draw aggregate rate and core time against ranks; return why there is no picture, or nothing."""
    from plots import scaling_plot

    return scaling_plot(measured, path)


def main() -> None:
    """Measure, write the files and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="some seconds on 1 and 2 ranks, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--dir", type=Path, default=None, help="where logs and databases are written while measuring")
    parser.add_argument("--ranks", default="", help="numbers of ranks, with commas")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="after which a rank stops, in each case")
    parser.add_argument("--variants", default="", help=f"some of {','.join(VARIANTS)}")
    parser.add_argument("--modes", default="", help="weak, strong, or both with a comma")
    parser.add_argument("--draw", action="store_true", help="measure nothing: tables and picture of what --out holds")
    options = parser.parse_args()
    path = options.out / "scaling.parquet"
    measured = read_rounds(path) if options.draw else measure_all(options)
    publish(measured, write_table(measured), draw)


def measure_all(options: argparse.Namespace) -> Rounds:
    """Measure what the options ask for."""
    options.ranks = [int(each) for each in options.ranks.split(",") if each] or (
        [1, 2] if options.quick else list(RANKS)
    )
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.3 if options.quick else 2.0)
    options.variants = [name for name in options.variants.split(",") if name] or list(VARIANTS)
    options.modes = [mode for mode in options.modes.split(",") if mode] or list(MODES)
    if unknown := {*options.variants} - {*VARIANTS} | {*options.modes} - {*MODES}:
        sys.exit(f"scaling: there is no {', '.join(sorted(unknown))}")
    options.events = QUICK if options.quick else EVENTS
    with tempfile.TemporaryDirectory(prefix="braid-bench-", dir=options.dir) as folder:
        about = machine(Path(folder)) | {"events": options.events, "seconds": options.seconds}
        measured = Rounds("scaling", options.out, about)
        with measured:
            measure(measured, options, Path(folder))
    return measured


if __name__ == "__main__":
    main()

"""What recording costs a rank, beside what else one could take: ratios to a reference, and what outlives SIGKILL.

    python benchmarks/recording.py [--quick] [--out DIR] [--rounds N] [--variants braid,orjson] [--python mlflow=PATH]

REF is one ``time.time_ns()``, an 8-field tuple and a ``list.append``: the least that a Python program can do to
remember an event. Every way to record is measured in a process of its own, once in each round, each time in another
order, against REF in the same process. Measured is the call; beside it the CPU time of all threads of the process with
the closing of the recorder, because some keep all work for the end. What is paid once, for imports, opening and
closing after a single event, is not in it. Python's collector of garbage waits while calls are timed.

Then each records in a process that is killed in the middle of it, and what can be read back is counted, and in one
that ends as it should. This package's own figures are those of its budgets, each with its floor (``own_recorders``).
What cannot be measured here is listed with the reason. Written are ``recording.parquet``, ``.md`` and ``.svg``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import survival
from peers import PEERS
from processes import Runner
from recording_tables import write_table
from rounds import Rounds, machine, progress, publish, read_rounds

PASS, IMPORT = "pass", "import braid_hpc"
#: How often one that fails is tried again in later rounds.
TRIES = 2


def import_ratio() -> dict[str, tuple[float, str]]:
    """Return what processes that import the package take, over as many that do nothing, in both orders."""
    wall, cpu = {PASS: 0.0, IMPORT: 0.0}, {PASS: 0.0, IMPORT: 0.0}
    for code in (PASS, IMPORT, IMPORT, PASS):
        used, begin = children_seconds(), time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        wall[code] += time.perf_counter() - begin
        cpu[code] += children_seconds() - used
    return {"wall": (wall[IMPORT] / wall[PASS], "ratio"), "CPU": (cpu[IMPORT] / cpu[PASS], "ratio")}


def children_seconds() -> float:
    """Return the CPU time of processes that have ended; os.times() counts hundredths, and two are a process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def time_one(measured: Rounds, runner: Runner, name: str, *, turn: int, seconds: float) -> str:
    """Measure one way to record; return why it was not measured, or nothing."""
    of = {"mode": PEERS[name].mode, "variant": name, "ranks": 1, "round": turn}
    with runner.folder() as folder:
        found = runner.run("time", name, folder, seconds)
    if why := found.get("why", ""):
        measured.skip(of, why)
        return str(why)
    measured.add(of, {measure: (value, unit) for measure, (value, unit) in found["values"].items()})
    if "version" in found:
        measured.about["packages"][PEERS[name].package] = found["version"]
    if found["tail"]:
        measured.about.setdefault("tails", {})[name] = found["tail"]
    return ""


def measure(measured: Rounds, options: argparse.Namespace, place: Path) -> None:
    """Measure all rounds, and in the first of them what is paid once and what outlives a kill."""
    runner, failed = Runner(place, options.python), Counter[str]()
    names = list(options.variants)
    measured.planned = {(PEERS[name].mode, name): name for name in names}
    steps = (options.rounds + options.kills) * len(names)
    with progress(steps, "recording") as step:
        for turn in range(options.rounds):
            at = turn * 5 % len(names)
            for name in names[at:] + names[:at]:
                step(f"round {turn + 1} of {options.rounds}, {name}")
                if failed[name] < TRIES and (
                    why := time_one(measured, runner, name, turn=turn, seconds=options.seconds)
                ):
                    failed[name] += TRIES if "is not installed" in why else 1
                measured.save()
                step("", done=1)
            measured.add({"mode": "import", "variant": "import", "ranks": 1, "round": turn}, import_ratio())
            for name in names if turn < options.kills else ():
                step(f"round {turn + 1} of {options.rounds}, {name}, once and killed")
                if not failed[name]:
                    once_and_killed(measured, runner, name, turn=turn, events=options.events)
                measured.save()
                step("", done=1)


def once_and_killed(measured: Rounds, runner: Runner, name: str, *, turn: int, events: int) -> None:
    """Measure what is paid once, and where events are recorded, what outlives a kill."""
    of = {"mode": "empty", "variant": name, "ranks": 1, "round": turn}
    with runner.folder() as folder:
        found = runner.run("empty", name, folder, 0)
    if why := found.get("why"):
        measured.skip(of, why)
    else:
        measured.add(of, {measure: (value, unit) for measure, (value, unit) in found["values"].items()})
    if PEERS[name].mode == "event":
        survival.measure(measured, runner, name, turn=turn, events=events)


def other_pythons(given: list[str]) -> dict[str, str]:
    """Return which Python is named for which way to record, or package."""
    known = {*PEERS, *(peer.package for peer in PEERS.values())} - {""}
    found = {}
    for text in given:
        name, _, path = text.partition("=")
        if name not in known or not path:
            sys.exit(f"recording: --python {text}: it is NAME=PATH, with a name of {', '.join(sorted(known))}")
        found[name] = path
    return found


def measure_all(options: argparse.Namespace) -> Rounds:
    """Measure what the options ask for."""
    options.rounds = options.rounds or (1 if options.quick else 9)
    options.seconds = options.seconds or (0.02 if options.quick else 0.4)
    options.kills, options.events = (1, 350) if options.quick else (3, 3_050)
    options.kills = min(options.kills, options.rounds)
    options.python = other_pythons(options.python)
    options.variants = [name for name in options.variants.split(",") if name] or list(PEERS)
    if unknown := {*options.variants} - {*PEERS}:
        sys.exit(f"recording: there is no {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="braid-bench-", dir=options.dir) as folder:
        about = machine(Path(folder)) | {"seconds": options.seconds, "events": options.events, "kills": options.kills}
        measured = Rounds("recording", options.out, about)
        with measured:
            measure(measured, options, Path(folder))
    return measured


def main() -> None:
    """Measure, write the files and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--dir", type=Path, default=None, help="where is written while measuring")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long each is timed in a round")
    parser.add_argument("--variants", default="", help=f"some of {','.join(PEERS)}")
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH", help="another Python for a variant or a package"
    )
    parser.add_argument("--draw", action="store_true", help="measure nothing: tables and picture of what --out holds")
    options = parser.parse_args()
    path = options.out / "recording.parquet"
    measured = read_rounds(path) if options.draw else measure_all(options)
    publish(measured, write_table(measured), draw)


def draw(measured: Rounds, path: Path) -> str:
    """Draw what each costs; return why there is no picture, or nothing."""
    from recording_plot import recording_plot

    return recording_plot(measured, path)


if __name__ == "__main__":
    main()

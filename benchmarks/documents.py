"""What the documents of an instrument cost, from recorded documents to the log: events a second, by CPU and wall time.

    python benchmarks/documents.py [--quick] [--out DIR]

Documents are made before the clock runs. Each variant runs in a process of its own, which kills itself (SIGKILL) when
the last call has returned: what the log then holds is counted, and has to be all of it.

- events: ten columns of float64, one call for each;
- integers: ten columns, among them integers, a boolean and a text;
- arrays: one column of 100 numbers in a list;
- mixed: integers stand among floats, and in a third of the events a value is missing;
- unknown: events whose descriptor has not come;
- pages: the same events, 1,000 a page;
- scans: start, descriptor, one event, stop.

Beside them, for the same events: suitcase-jsonl, buffered as it is by default (nothing of it is held), with a flush
after each document (held), and ``json.dumps`` with one ``os.write``. CPU time is that of all threads of the process,
syncing and sealing included. Figures are medians over rounds. Written are ``documents.json`` and ``documents.md``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

Pair = tuple[str, dict[str, Any]]
KEYS = [f"det{number}" for number in range(10)]

#: Names, what they are, and the tail they are measured with.
OURS = {
    "events": "an event of ten float64 columns",
    "integers": "an event of integers, floats, a boolean and a text",
    "arrays": "an event of one list of 100 numbers",
    "mixed": "an event with integers among floats, and a missing value",
    "unknown": "an event whose descriptor has not come",
    "pages": "an event in a page of 1,000",
    "scans": "a document of scans of one event",
}
PEERS = {
    "suitcase": "suitcase-jsonl, buffered (lost on kill)",
    "suitcase flushed": "suitcase-jsonl, a flush after each",
    "write": "json.dumps and one os.write",
}


def start() -> Pair:
    """Make a start document."""
    about = {"plan_name": "scan", "scan_id": 1, "sample": {"name": "Ni", "mass": 1.5}, "motors": ["det0"]}
    return "start", {"uid": str(uuid.uuid4()), "time": time.time(), **about}


def descriptor(of: Pair, dtypes: dict[str, str]) -> Pair:
    """Make a descriptor."""
    keys = {key: {"source": "SIM", "dtype": dtype, "shape": []} for key, dtype in dtypes.items()}
    about = {"time": time.time(), "name": "primary", "configuration": {}, "hints": {}, "object_keys": {}}
    return "descriptor", {"uid": str(uuid.uuid4()), "run_start": of[1]["uid"], "data_keys": keys, **about}


def value(kind: str, number: int, key: int) -> Any:
    """Make a value for a kind of events."""
    if kind == "arrays":
        return [random.random() for _ in range(100)]
    if kind == "integers":
        return (number + key, random.random(), bool(number % 2), f"point {number}")[key % 4 if key < 4 else key % 2]
    if kind == "mixed" and (number + key) % 3 == 0:
        return None if key == 1 else number
    return random.random()


def documents(kind: str, count: int) -> list[Pair]:
    """Make recorded documents: the first ones, then `count` events in some form."""
    first = start()
    if kind == "scans":
        made: list[Pair] = []
        for _ in range(max(1, count // 4)):
            first = start()
            of = descriptor(first, dict.fromkeys(KEYS, "number"))
            stop = {
                "uid": str(uuid.uuid4()),
                "time": time.time(),
                "run_start": first[1]["uid"],
                "exit_status": "success",
            }
            made += [first, of, *events("events", of, 1), ("stop", {**stop, "num_events": {"primary": 1}})]
        return made
    of = descriptor(first, {"det0": "array"} if kind == "arrays" else dict.fromkeys(KEYS, "number"))
    made = events(kind, of, count)
    if kind == "pages":
        made = [page(made[at : at + 1000]) for at in range(0, count, 1000)]
    return made if kind == "unknown" else [first, of, *made]


def events(kind: str, of: Pair, count: int) -> list[Pair]:
    """Make events of a descriptor."""
    made = []
    keys = KEYS[:1] if kind == "arrays" else KEYS
    for number in range(1, count + 1):
        data = {key: value(kind, number, index) for index, key in enumerate(keys)}
        stamps = {key: time.time() for key in keys}
        about = {"uid": str(uuid.uuid4()), "time": time.time(), "seq_num": number, "filled": {}}
        made.append(("event", {**about, "data": data, "timestamps": stamps, "descriptor": of[1]["uid"]}))
    return made


def page(packed: list[Pair]) -> Pair:
    """Pack events of one descriptor."""
    lists = {name: [each[name] for _, each in packed] for name in ("seq_num", "time", "uid")}
    inner = {
        name: {key: [each[name][key] for _, each in packed] for key in packed[0][1][name]}
        for name in ("data", "timestamps", "filled")
    }
    return "event_page", {**lists, "descriptor": packed[0][1]["descriptor"], **inner}


def consumer(name: str, folder: Path) -> Callable[[str, dict[str, Any]], Any]:
    """Make what takes the documents."""
    if name in OURS:
        import braid_hpc as braid
        from braid_hpc.collectors.documents import DocumentCollector

        return DocumentCollector(braid.start("documents", log_dir=folder))
    if name == "write":
        file = os.open(folder / "documents.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return lambda name, document: os.write(file, (json.dumps((name, document)) + "\n").encode())
    from suitcase import jsonl

    return jsonl.Serializer(folder, flush=name == "suitcase flushed")  # type: ignore[no-any-return]


def measure(name: str, folder: Path, count: int) -> None:
    """Give documents to a consumer, print what each of them cost, and be killed."""
    made = documents(name if name in OURS else "events", count)
    take = consumer(name, folder)
    # What is made for the first documents is no part of what each costs.
    head = min(len(made) // 10 + 2, len(made) - 1)
    for each in made[:head]:
        take(*each)
    rest = made[head:]
    gc.collect()
    gc.disable()
    wall, cpu = time.perf_counter(), time.process_time()
    for document_name, document in rest:
        take(document_name, document)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    units = sum(len(document.get("seq_num", ())) if kind == "event_page" else 1 for kind, document in rest)
    calls = []
    if name == "events":
        of = ("descriptor", {"uid": rest[0][1]["descriptor"]})
        more = events("events", of, min(count, 20_000))
        for document_name, document in more:
            begin = time.perf_counter_ns()
            take(document_name, document)
            calls.append(time.perf_counter_ns() - begin)
        made += more
    given = sum(len(document.get("seq_num", ())) if kind == "event_page" else 1 for kind, document in made)
    print(json.dumps({"wall": wall / units, "cpu": cpu / units, "given": given, "calls": sorted(calls)}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def held(name: str, folder: Path) -> int:
    """Count the documents that a killed process has left."""
    if name not in OURS:
        path = next(folder.glob("*.jsonl"), None)
        return path.read_bytes().count(b"\n") if path is not None else 0
    from braid_hpc.reading.directories import find_writers
    from braid_hpc.reading.survey import read_writer
    from braid_hpc.vocabulary.codes import Code

    found = 0
    for directory in find_writers(folder):
        for part in read_writer(directory).each(Code.ROW, Code.BATCH):
            found += int(part["object"].sum())
    return found


def run(name: str, count: int, tail: str) -> dict[str, Any]:
    """Measure one variant once."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--inside", name, "--dir", folder, "--count", str(count)]
        environment = {**os.environ, "BRAID_TAIL": "python" if tail == "python" else "", "BRAID_STRICT": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != -signal.SIGKILL:
            raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        found["held"] = held(name, Path(folder))
        if name in OURS and found["held"] != found["given"]:
            raise SystemExit(f"{name}: {found['held']} of {found['given']} documents are held")
    return found


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Put rounds together."""
    calls = sorted(call for each in rounds for call in each["calls"])
    result = {
        "cpu_us": 1e6 * statistics.median(each["cpu"] for each in rounds),
        "wall_us": 1e6 * statistics.median(each["wall"] for each in rounds),
        "given": rounds[-1]["given"],
        "lost": max(each["given"] - each["held"] for each in rounds),
        "rounds": len(rounds),
    }
    if calls:
        at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
        result["call_us"] = {name: calls[int(len(calls) * part)] / 1e3 for name, part in at.items()}
    return result


def table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| what | tail | a second of CPU | a second | CPU (us) | lost when killed |", "|---" * 6 + "|"]
    for tail in ("compiled", "python", "peers"):
        for name, found in results[tail].items():
            title = {**OURS, **PEERS}[name]
            rates = f"{1e6 / found['cpu_us']:,.0f} | {1e6 / found['wall_us']:,.0f} | {found['cpu_us']:.1f}"
            lines.append(
                f"| {title} | {tail if tail != 'peers' else '-'} | {rates} | {found['lost']:,} of {found['given']:,} |"
            )
    lines += [
        "",
        "One call with an event, microseconds:",
        "",
        "| tail | p50 | p99 | p99.9 | p99.99 |",
        "|---" * 5 + "|",
    ]
    for tail in ("compiled", "python"):
        calls = results[tail]["events"]["call_us"]
        lines.append(f"| {tail} | " + " | ".join(f"{calls[name]:.1f}" for name in calls) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all variants, write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests: noisy")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--dir", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        measure(options.inside, options.dir, options.count)
        return
    count, repeat = (2_000, 1) if options.quick else (50_000, 3)
    rounds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for turn in range(repeat):
        for tail, names in (("compiled", OURS), ("python", OURS), ("peers", PEERS)):
            for name in names:
                sys.stderr.write(f"round {turn + 1}: {name}, {tail}\n")
                size = count // 10 if name in ("arrays", "scans") else count
                rounds.setdefault((tail, name), []).append(run(name, size, tail))
    results: dict[str, Any] = {"compiled": {}, "python": {}, "peers": {}}
    for (tail, name), found in rounds.items():
        results[tail][name] = summary(found)
    from benchmarks.rounds import machine

    options.out.mkdir(parents=True, exist_ok=True)
    results["machine"] = machine(options.out)
    (options.out / "documents.json").write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    (options.out / "documents.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

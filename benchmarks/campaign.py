"""What a campaign costs: to declare its files and edges, to merge them, and to ask what is to be made; beside SQLite.

    python benchmarks/campaign.py [--quick] [--ensembles N] [--configurations N] [--out DIR]

Each ensemble is the pipeline of nucleon form factors: with 1,000 configurations 594,010 files in ten stages and
1,266,000 edges, and 8,000 more to the configurations. 70 % of the files of each stage exist, at random, and some were
consumed. Measured are seconds (wall) to declare, to merge what was declared, to say what exists and to merge that, of
the first and of the last ensemble; then the answers of a store that was just opened, and later ones: what is runnable
of all stages; which averages are missing; the state of each stage by ensemble; what is stale after one configuration
is invalidated. SQLite has the same files and edges in two tables with the indexes that these questions need, written
by executemany, and answers the same questions in SQL; its counts have to be the same. Written are ``campaign.json``
and ``campaign.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import braid_hpc as braid
from braid_hpc.campaigns import Campaign

SOURCES, SEPARATIONS, SPINS = 8, 10, 4
SHARE = 0.7
Array = np.ndarray[Any, Any]


@braid.table(key=("ensemble", "number"), checks=["number >= 0"])
class Configuration:
    ensemble: str
    number: int


def _stage(name: str, *fields: str) -> type:
    about: dict[str, Any] = {"ensemble": str, **dict.fromkeys(fields, int), "name": str}
    if name == "src":
        about["configuration"] = Configuration
        del about["ensemble"], about["c"]
    made: type = braid.table(
        name=name, key="name", file="name", checks=[f"{each} >= 0" for each in fields if each in about]
    )(type(name, (), {"__annotations__": about}))
    return made


#: The stages, and the numbers that tell the files of one from each other: configuration, source, separation, spin.
STAGES = {
    "src": "cs",
    "prop": "cs",
    "spec": "cs",
    "seqsink": "cstf",
    "coherent": "ctf",
    "seqprop": "ctf",
    "ff4d": "cst",
    "tslice": "cst",
    "average": "ct",
    "concat": "t",
}
TABLES = {name: _stage(name, *fields) for name, fields in STAGES.items()}


@dataclass
class Ensemble:
    """The files of one ensemble, by stage, and the edges between them as row numbers."""

    name: str
    configurations: int
    sizes: dict[str, int] = field(init=False)
    files: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        """Name all files."""
        self.sizes = {"c": self.configurations, "s": SOURCES, "t": SEPARATIONS, "f": SPINS}
        self.files = {}
        for stage, fields in STAGES.items():
            form = f"{self.name}/{stage}/" + "_".join(["%d"] * len(fields)) + ".h5"
            grid = product(*(range(self.sizes[each]) for each in fields))
            self.files[stage] = [form % numbers for numbers in grid]

    def numbers(self, stage: str) -> dict[str, Array]:
        """Return the numbers of each file of a stage, each an array of one dimension."""
        fields = STAGES[stage]
        found = np.indices([self.sizes[each] for each in fields]).reshape(len(fields), -1)
        return dict(zip(fields, found, strict=True))

    def edges(self) -> Iterator[tuple[str, str, Array, Array]]:
        """Yield child and parent stage, and the rows of each pair."""
        at = {stage: np.arange(len(files)) for stage, files in self.files.items()}
        yield "prop", "src", at["prop"], at["src"]
        yield "spec", "prop", at["spec"], at["prop"]
        yield "seqsink", "prop", at["seqsink"], np.repeat(at["prop"], SEPARATIONS * SPINS)
        n = self.numbers("seqsink")
        order = np.argsort((n["c"] * SEPARATIONS + n["t"]) * SPINS + n["f"], kind="stable")
        yield "coherent", "seqsink", np.repeat(at["coherent"], SOURCES), order
        yield "seqprop", "coherent", at["seqprop"], at["coherent"]
        n = self.numbers("ff4d")
        yield "ff4d", "prop", at["ff4d"], n["c"] * SOURCES + n["s"]
        spins = ((n["c"] * SEPARATIONS + n["t"])[:, None] * SPINS + np.arange(SPINS)).ravel()
        yield "ff4d", "seqprop", np.repeat(at["ff4d"], SPINS), spins
        yield "tslice", "ff4d", at["tslice"], at["ff4d"]
        order = np.argsort(n["c"] * SEPARATIONS + n["t"], kind="stable")
        yield "average", "tslice", np.repeat(at["average"], SOURCES), order
        order = np.argsort(self.numbers("average")["t"], kind="stable")
        yield "concat", "average", np.repeat(at["concat"], self.configurations), order

    def states(self, seed: int) -> dict[str, tuple[list[str], list[str]]]:
        """Return the files of each stage that exist, and those that were consumed."""
        random = np.random.default_rng(seed)
        found = {}
        for stage, files in self.files.items():
            there = random.random(len(files)) < SHARE
            consumed = there & (random.random(len(files)) < 0.5) & (stage in ("prop", "seqsink", "coherent"))
            exists = there & ~consumed
            found[stage] = (
                [files[at] for at in np.flatnonzero(exists)],
                [files[at] for at in np.flatnonzero(consumed)],
            )
        return found


def declare(ensemble: Ensemble, logs: Path) -> None:
    """Record files and edges of an ensemble."""
    with braid.job("declare", log_dir=logs) as run:
        run.declare(Configuration, {"ensemble": ensemble.name, "number": np.arange(ensemble.configurations)})
        rows = {}
        for stage, files in ensemble.files.items():
            columns: dict[str, Any] = {**ensemble.numbers(stage), "name": files}
            if stage == "src":
                columns["configuration__number"] = columns.pop("c")
                columns["configuration__ensemble"] = ensemble.name
            else:
                columns["ensemble"] = ensemble.name
            rows[stage] = run.declare(TABLES[stage], columns)
        for child, parent, below, above in ensemble.edges():
            run.derive_rows(rows[child], rows[parent], child_index=below, parent_index=above)


def mark(states: dict[str, tuple[list[str], list[str]]], logs: Path) -> None:
    """Record what became of them."""
    with braid.job("produce", log_dir=logs) as run:
        for stage, (exists, consumed) in states.items():
            run.mark(TABLES[stage], "exists", names=exists, size=4096)
            if consumed:
                run.mark(TABLES[stage], "consumed", names=consumed)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds, and what came of it."""
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def ask(store: Path, rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Ask the store; return seconds, and the answers."""
    questions: dict[str, Callable[[Any], Any]] = {
        "runnable": lambda opened: dict(
            zip(*(Campaign(opened).summary()[name] for name in ("table", "runnable")), strict=True)
        ),
        "missing averages": lambda opened: len(Campaign(opened).missing("average")),
        "by ensemble": lambda opened: {
            stage: [(row[column], row["missing"]) for row in Campaign(opened).counts(stage, column)]
            for stage in STAGES
            for column in ["configuration__ensemble" if stage == "src" else "ensemble"]
        },
    }
    seconds: dict[str, float] = {}
    answers = {}
    for name, question in questions.items():
        with braid.open(store) as opened:
            seconds[f"{name}, first"], answers[name] = timed(lambda opened=opened, question=question: question(opened))  # type: ignore[misc]
            seconds[name] = statistics.median(timed(lambda: question(opened))[0] for _ in range(rounds))  # noqa: B023
    return seconds, answers


class SQLite:
    """The same campaign in SQLite: files, edges, and the indexes that the questions need."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.executescript(
            "pragma journal_mode = wal; pragma synchronous = normal;"
            "create table file (id integer primary key, stage text, ensemble text, name text, state integer default 0);"
            "create table edge (child integer, parent integer);"
        )
        self._next = 0

    def declare(self, ensemble: Ensemble) -> None:
        """Write files and edges of an ensemble."""
        first = {}
        for stage, files in ensemble.files.items():
            first[stage] = self._next
            rows = ((self._next + at, stage, ensemble.name, name) for at, name in enumerate(files))
            self.connection.executemany("insert into file (id, stage, ensemble, name) values (?, ?, ?, ?)", rows)
            self._next += len(files)
        for child, parent, below, above in ensemble.edges():
            rows = zip((below + first[child]).tolist(), (above + first[parent]).tolist(), strict=True)
            self.connection.executemany("insert into edge values (?, ?)", rows)
        self.connection.commit()

    def index(self) -> None:
        """Make the indexes."""
        self.connection.executescript(
            "create unique index by_name on file (name); create index by_stage on file (stage, ensemble, state);"
            "create index by_child on edge (child); create index by_parent on edge (parent); analyze;"
        )

    def mark(self, states: dict[str, tuple[list[str], list[str]]]) -> None:
        """Write what became of the files."""
        for exists, consumed in states.values():
            for state, names in ((1, exists), (2, consumed)):
                self.connection.executemany(
                    "update file set state = ? where name = ?", ((state, name) for name in names)
                )
        self.connection.commit()

    def ask(self, rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
        """Ask the same questions; return seconds, and the answers."""
        questions = {
            "runnable": (
                "select stage, sum(state = 0 and not exists (select 1 from edge e join file p on p.id = e.parent "
                "where e.child = f.id and p.state = 0)) from file f group by stage"
            ),
            "missing averages": "select count(name) from file where stage = 'average' and state = 0",
            "by ensemble": "select stage, ensemble, sum(state = 0) from file group by stage, ensemble order by 1, 2",
        }
        seconds: dict[str, float] = {}
        answers: dict[str, Any] = {}
        for name, query in questions.items():
            found = [timed(lambda query=query: self.connection.execute(query).fetchall()) for _ in range(rounds)]  # type: ignore[misc]
            seconds[name], answers[name] = statistics.median(each for each, _ in found), found[0][1]
        by: dict[str, list[tuple[str, int]]] = {}
        for stage, ensemble, count in answers["by ensemble"]:
            by.setdefault(stage, []).append((ensemble, count))
        return seconds, {
            "runnable": dict(answers["runnable"]),
            "missing averages": answers["missing averages"][0][0],
            "by ensemble": by,
        }


def measure(folder: Path, ensembles: int, configurations: int, rounds: int) -> dict[str, Any]:
    """Run all of it."""
    store, peer = folder / "prov.duckdb", SQLite(folder / "peer.sqlite")
    steps: dict[str, list[float]] = {}
    others: dict[str, list[float]] = {}
    files = edges = 0
    for number in range(ensembles):
        ensemble = Ensemble(f"a12m{310 + number}", configurations)
        states = ensemble.states(number)
        files += sum(map(len, ensemble.files.values()))
        edges += sum(len(below) for _, _, below, _ in ensemble.edges())
        logs = [folder / f"{word}-{number}" for word in ("declared", "marked")]
        for name, work in (
            ("declare", lambda: declare(ensemble, logs[0])),  # noqa: B023
            ("merge declared", lambda: braid.compact(logs[0], store)),  # noqa: B023
            ("say what exists", lambda: mark(states, logs[1])),  # noqa: B023
            ("merge what exists", lambda: braid.compact(logs[1], store)),  # noqa: B023
        ):
            steps.setdefault(name, []).append(timed(work)[0])
        others.setdefault("declare", []).append(timed(lambda: peer.declare(ensemble))[0])  # noqa: B023
        if not number:
            others["index"] = [timed(peer.index)[0]]
        others.setdefault("say what exists", []).append(timed(lambda: peer.mark(states))[0])  # noqa: B023
        print(f"{number + 1}/{ensembles}", {name: round(each[-1], 2) for name, each in steps.items()}, file=sys.stderr)
    seconds, answers = ask(store, rounds)
    same, expected = peer.ask(rounds)
    for name, answer in expected.items():
        got = answers[name]
        assert (got if name != "by ensemble" else {k: [tuple(x) for x in v] for k, v in got.items()}) == answer, name
    with braid.job("doubt", log_dir=folder / "doubt") as run:
        run.mark(Configuration("a12m310", 0), "invalid", cause="measured")
    braid.compact(folder / "doubt", store)
    with braid.open(store) as opened:
        seconds["stale"], stale = timed(lambda: sum(Campaign(opened).summary()["stale"]))
    return {
        "ensembles": ensembles,
        "configurations": configurations,
        "files": files,
        "edges": edges,
        "stale": stale,
        "store": {name: {"first": each[0], "last": each[-1]} for name, each in steps.items()},
        "sqlite": {name: {"first": each[0], "last": each[-1]} for name, each in others.items()},
        "answers": seconds,
        "sqlite answers": same,
        "store bytes": store.stat().st_size,
        "sqlite bytes": (folder / "peer.sqlite").stat().st_size,
        "peak bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def as_markdown(found: dict[str, Any]) -> str:
    """Return the figures as tables."""
    lines = [
        f"{found['ensembles']} ensembles of {found['configurations']} configurations: {found['files']:,} files, "
        f"{found['edges']:,} edges; {found['processors']} processors, load {found['load']:.1f}",
        "",
        "| seconds | first ensemble | last one | SQLite, first | last |",
        "|---|---|---|---|---|",
    ]
    for name, each in found["store"].items():
        other = found["sqlite"].get(name, {})
        cells = [each["first"], each["last"], other.get("first"), other.get("last")]
        lines.append(f"| {name} | " + " | ".join("" if cell is None else f"{cell:.2f}" for cell in cells) + " |")
    lines.append(f"| make indexes | | | {found['sqlite']['index']['first']:.2f} | |")
    lines += ["", "| seconds | first answer | later ones | SQLite |", "|---|---|---|---|"]
    for name in ("runnable", "missing averages", "by ensemble"):
        first, later, other = found["answers"][f"{name}, first"], found["answers"][name], found["sqlite answers"][name]
        lines.append(f"| {name} | {first:.2f} | {later:.2f} | {other:.2f} |")
    lines.append(f"| stale after one configuration, {found['stale']} files | {found['answers']['stale']:.2f} | | |")
    sizes = {name: found[f"{name} bytes"] / 2**20 for name in ("store", "sqlite", "peak")}
    lines += ["", "{store:.0f} MiB of store, {sqlite:.0f} of SQLite; {peak:.0f} MiB of memory at most".format(**sizes)]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 configurations, to see that it runs")
    parser.add_argument("--ensembles", type=int, default=1)
    parser.add_argument("--configurations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path())
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        configurations = 20 if given.quick else given.configurations
        found = measure(Path(folder), given.ensembles, configurations, given.rounds)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "campaign.json").write_text(json.dumps(found, indent=1) + "\n")
    text = as_markdown(found)
    (given.out / "campaign.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

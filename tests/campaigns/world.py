"""A small production with an oracle in plain Python: a few configurations of the pipeline of form factors."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

import braid_hpc as braid
from braid_hpc.run.recorder import Run

SOURCES, SEPARATIONS, FLAVOURS = 4, 2, 2


@braid.table(key=("ensemble", "number"))
class Configuration:
    ensemble: str
    number: int


def stage(name: str, *fields: str) -> type:
    """Declare a table of files."""
    about = {"configuration": Configuration, **dict.fromkeys(fields, int), "name": str}
    made: type = braid.table(name=name, key="name", file="name")(type(name, (), {"__annotations__": about}))
    return made


@braid.table(key="name", file="name")
class concat:
    separation: int
    name: str


STAGES = {
    "src": stage("src", "s"),
    "prop": stage("prop", "s"),
    "seqsink": stage("seqsink", "s", "t", "f"),
    "coherent": stage("coherent", "t", "f"),
    "ff4d": stage("ff4d", "s", "t"),
    "average": stage("average", "t"),
    "concat": concat,
}


@dataclass
class World:
    """Files by stage and name, what each is made of, and what was said of each.

    Attributes
    ----------
    parents : dict of str to set of str
        Of each file, and of configurations as ``a/0``.
    state : dict of str to str
        Of each file.
    """

    configurations: int
    files: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    parents: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    state: dict[str, str] = field(default_factory=dict)
    invalid: set[str] = field(default_factory=set)

    def grid(self, name: str) -> Iterator[tuple[int, ...]]:
        """Give the numbers of each file of a stage, in order."""
        sizes = {"s": SOURCES, "t": SEPARATIONS, "f": FLAVOURS}
        fields = STAGES[name].__dataclass_fields__  # type: ignore[attr-defined]
        return itertools.product(range(self.configurations), *(range(sizes[each]) for each in fields if each in sizes))

    def declare(self, run: Run) -> None:
        """Record all of it, as columns; tell the oracle the same file by file."""
        run.declare(Configuration, {"ensemble": "a", "number": np.arange(self.configurations)})
        rows = {}
        for name in STAGES:
            if name == "concat":
                self.files[name] = [f"concat/{t}.h5" for t in range(SEPARATIONS)]
                rows[name] = run.declare(concat, {"separation": np.arange(SEPARATIONS), "name": self.files[name]})
                continue
            numbers = list(self.grid(name))
            self.files[name] = [f"{name}/{'_'.join(map(str, each))}.h5" for each in numbers]
            fields = [each for each in STAGES[name].__dataclass_fields__ if len(each) == 1]  # type: ignore[attr-defined]
            columns = np.array(numbers).T
            rows[name] = run.declare(
                STAGES[name],
                {"configuration__ensemble": "a", "configuration__number": columns[0], "name": self.files[name]}
                | {each: columns[at + 1] for at, each in enumerate(fields)},
            )
            for file, each in zip(self.files[name], numbers, strict=True):
                self.parents[file].add(f"a/{each[0]}")
        for child, parent, pairs in self._pairs():
            children = [self.files[child].index(one) for one, _ in pairs]
            parents = [self.files[parent].index(other) for _, other in pairs]
            run.derive_rows(rows[child], rows[parent], child_index=children, parent_index=parents)
            for one, other in pairs:
                self.parents[one].add(other)

    def _pairs(self) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
        def of(child: str, parent: str, names: Iterable[tuple[str, str]]) -> tuple[str, str, list[tuple[str, str]]]:
            return child, parent, list(names)

        def name(stage: str, *numbers: int) -> str:
            return f"{stage}/{'_'.join(map(str, numbers))}.h5"

        yield of("prop", "src", ((name("prop", *each), name("src", *each)) for each in self.grid("prop")))
        yield of(
            "seqsink", "prop", ((name("seqsink", *each), name("prop", *each[:2])) for each in self.grid("seqsink"))
        )
        sinks = self.grid("seqsink")
        yield of(
            "coherent", "seqsink", ((name("coherent", c, t, f), name("seqsink", c, s, t, f)) for c, s, t, f in sinks)
        )
        yield of("ff4d", "prop", ((name("ff4d", *each), name("prop", *each[:2])) for each in self.grid("ff4d")))
        both = itertools.product(self.grid("ff4d"), range(FLAVOURS))
        yield of("ff4d", "coherent", ((name("ff4d", c, s, t), name("coherent", c, t, f)) for (c, s, t), f in both))
        yield of("average", "ff4d", ((name("average", c, t), name("ff4d", c, s, t)) for c, s, t in self.grid("ff4d")))
        yield of("concat", "average", ((name("concat", t), name("average", c, t)) for c, t in self.grid("average")))

    def mark(self, run: Run, name: str, state: str, files: Iterable[str]) -> None:
        """Record what became of some files."""
        given = list(files)
        run.mark(STAGES[name], state, names=given)
        self.state.update(dict.fromkeys(given, state))

    def simulate(self, runs: list[Run], seed: int) -> None:
        """Let files come and go at random, as ranks would say it."""
        chosen = random.Random(seed)
        for name, files in self.files.items():
            for state, share in (("exists", 0.75), ("missing", 0.1), ("corrupt", 0.05), ("consumed", 0.2)):
                picked = [file for file in files if chosen.random() < share]
                self.mark(chosen.choice(runs), name, state, picked)

    # ------------------------------------------------------------------ the oracle

    def ancestors(self, file: str) -> set[str]:
        """Give all that a file comes from."""
        found: set[str] = set()
        front = [file]
        while front:
            front = [each for one in front for each in self.parents.get(one, ()) if each not in found]
            found.update(front)
        return found

    def is_done(self, file: str) -> bool:
        return self.state.get(file) in ("exists", "consumed", "archived")

    def is_stale(self, file: str) -> bool:
        return self.is_done(file) and bool((self.ancestors(file) | {file}) & self.invalid)

    def is_ready(self, item: str) -> bool:
        if "/" in item and item.startswith("a/"):
            return item not in self.invalid
        return self.is_done(item) and not self.is_stale(item)

    def expected(self, name: str) -> dict[str, list[str]]:
        """Give the files of a stage by what is to be said of them."""
        files = self.files[name]
        to_do = [file for file in files if not self.is_done(file) or self.is_stale(file)]
        found = {
            "total": files,
            "missing": [file for file in files if not self.is_done(file)],
            "stale": [file for file in files if self.is_stale(file)],
            "to_do": to_do,
            "runnable": [file for file in to_do if all(map(self.is_ready, self.parents[file]))],
            "blocked": [file for file in to_do if not all(map(self.is_ready, self.parents[file]))],
        }
        for state in ("exists", "consumed", "archived", "corrupt"):
            found[state] = [file for file in files if self.state.get(file) == state]
        return found

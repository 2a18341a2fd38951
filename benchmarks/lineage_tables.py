"""The tables and the picture of the benchmark of lineage, and what its rounds say of what was promised."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from growth import Line, draw_growth, slope
from plots import matplotlib_or_why, save
from rounds import Rounds, described, not_run_list, table

OWN = "braid_hpc, compiled"
#: Engines that a picture shows, with their looks.
LOOKS = {
    OWN: ("#0072B2", "o", "-"),
    "braid_hpc, NumPy": ("#56B4E9", "s", "-"),
    "igraph": ("#009E73", "^", "-"),
    "rustworkx": ("#E69F00", "v", "-"),
    "SQLite": ("#D55E00", "D", "-"),
    "DuckDB": ("#000000", "x", "-"),
}
#: What the design allows: ms of a closure, s of a cold command, growth from 1e6 to 1e7 edges, bytes an edge of the
#: index, and s that it takes for 1e7 edges.
CLOSURE, COLD, GROWTH, EACH_EDGE, BUILT = 1.0, 0.6, 1.3, 16.0, 2.0
UNITS = {"_s": "s", "_mib": "MiB", "_per_edge": "bytes"}


def keep(measured: Rounds, edges: int, what: str, found: dict[str, Any]) -> None:
    """Keep what one engine found among so many edges: each round, and what there is only one of."""
    of = {"mode": str(edges), "variant": what, "ranks": 1}
    for question, value in found.items():
        if isinstance(value, dict):
            measured.add(of | {"round": 0}, {f"{question}: answer": (value["nodes"], "nodes or bytes")})
            for turn, (wall, cpu) in enumerate(value["rounds"]):
                measured.add(of | {"round": turn}, {f"{question}: wall": (wall, "ms"), f"{question}: CPU": (cpu, "ms")})
        else:
            unit = next((unit for end, unit in UNITS.items() if question.endswith(end)), "")
            measured.add(of | {"round": 0}, {question: (value, unit)})


def sizes_of(measured: Rounds) -> list[int]:
    """Return the sizes of the stores that were measured, in edges asked for."""
    return sorted({int(row.mode) for row in measured.rows})


def one(measured: Rounds, edges: int, what: str, measure: str) -> float | None:
    """Return what there is one value of."""
    return measured.values(mode=str(edges), variant=what, measure=measure).get(0)


def times(measured: Rounds, what: str, question: str, clock: str = "wall") -> dict[int, list[float]]:
    """Return the milliseconds that a question took, round by round, by the size of the store."""
    found = {
        edges: list(measured.values(mode=str(edges), variant=what, measure=f"{question}: {clock}").values())
        for edges in sizes_of(measured)
    }
    return {edges: values for edges, values in found.items() if values}


def write_table(measured: Rounds) -> str:
    """Return the figures as Markdown."""
    parts = [described(measured.about)]
    for edges in sizes_of(measured):
        made = {name: one(measured, edges, "generate", name) for name in ("edges", "nodes", "build_s", "build_cpu_s")}
        parts.append(f"### {made['edges'] or edges:,.0f} edges, {made['nodes'] or 0:,.0f} nodes\n")
        parts += [_index(measured, edges), _questions(measured, edges)]
    parts += [_grown(measured), not_run_list(measured)]
    return "\n".join(part for part in parts if part)


def _index(measured: Rounds, edges: int) -> str:
    found = [
        one(measured, edges, what, name)
        for what, name in (
            ("generate", "build_s"),
            ("generate", "build_cpu_s"),
            ("generate", "bytes_per_edge"),
            ("increment", "increment_s"),
            ("increment", "increment_cpu_s"),
        )
    ]
    if any(value is None for value in found):
        return ""
    built, cpu, each, later, later_cpu = (value or 0.0 for value in found)
    return (
        f"Index: built in {built:.2f} s ({cpu:.2f} s of CPU time), {each:.2f} bytes an edge; the next one, with "
        f"{min(100_000, edges // 10):,} edges more, in {1000 * later:.0f} ms ({1000 * later_cpu:.0f} ms of CPU time).\n"
    )


def _questions(measured: Rounds, edges: int) -> str:
    rows = []
    for what, question in questions(measured, edges):
        walls, cpus = (times(measured, what, question, clock)[edges] for clock in ("wall", "CPU"))
        answer, peak = one(measured, edges, what, f"{question}: answer"), one(measured, edges, what, "peak_mib")
        clocks = [f"{value:,.2f}" for value in (min(walls), statistics.median(walls), min(cpus))]
        size, rounds = f"{peak:,.0f}" if peak else "-", str(len(walls))
        rows.append([f"{what}: {question}", f"{answer or 0:,.0f}", *clocks, size, rounds])
    header = ["engine: question", "nodes", "best, ms", "median, ms", "CPU at best, ms", "peak, MiB", "rounds"]
    return table(header, rows)


def questions(measured: Rounds, edges: int) -> list[tuple[str, str]]:
    """Return engines and questions of a size, in the order in which they were measured."""
    found = ((row.variant, row.measure) for row in measured.rows if row.mode == str(edges))
    return list(dict.fromkeys((what, name.removesuffix(": wall")) for what, name in found if name.endswith(": wall")))


def _grown(measured: Rounds) -> str:
    """Return how the time of questions that all engines answer grows with the size of the store."""
    rows = []
    for question in ("closure", "impact of the hub"):
        for what in LOOKS:
            known = times(measured, what, question)
            if (found := slope(known)) is not None:
                small, large = min(known), max(known)
                ratio = min(known[large]) / min(known[small])
                rows.append([f"{what}: {question}", found.text(), f"{ratio:,.1f}"])
    header = ["engine: question", "slope (95 %)", "largest / smallest, best"]
    return (
        "### How the answers grow with the store\n\nThe slope of the logarithm of the median over that of the edges "
        "(0: the size of the store does not matter; 1: linear). The closure has the same number of nodes in each "
        "store; the impact of the hub has more in a larger one.\n\n" + table(header, rows)
        if rows
        else ""
    )


# ------------------------------------------------------------------------------------------------------ the page


def found_by_lineage(measured: Rounds) -> str:
    """Return what the rounds say of what the design promises, for it and against it."""
    lines = []
    closures = times(measured, OWN, "closure")
    if not closures:
        return ""
    most = max(closures)
    median = statistics.median(closures[most])
    nodes = one(measured, most, OWN, "closure: answer") or 0
    lines.append(
        f"- The closure of {nodes:,.0f} nodes among {most:,} edges takes {median:.2f} ms ({min(closures[most]):.2f} at "
        f"best). The design allows {CLOSURE:.0f} ms: {_kept(median, CLOSURE)}."
    )
    if 10**6 in closures and 10**7 in closures:
        ratio = statistics.median(closures[10**7]) / statistics.median(closures[10**6])
        lines.append(
            f"- From 1e6 to 1e7 edges it takes {ratio:.2f} times as long; allowed are {GROWTH}: {_kept(ratio, GROWTH)}."
        )
    cold = times(measured, "cold", "braid lineage").get(most)
    if cold:
        seconds = statistics.median(cold) / 1e3
        least = times(measured, "cold", "import duckdb, numpy").get(most)
        beside = f", of which importing DuckDB and NumPy takes {statistics.median(least) / 1e3:.2f} s" if least else ""
        lines.append(
            f"- The first answer of a command, its process included, takes {seconds:.2f} s{beside}; allowed are {COLD} "
            f"s: {_kept(seconds, COLD)}."
        )
    each, built = (one(measured, most, "generate", name) for name in ("bytes_per_edge", "build_s"))
    edges = one(measured, most, "generate", "edges")
    if each and built and edges:
        scaled = built * 1e7 / edges
        lines.append(
            f"- The index has {each:.1f} bytes an edge (allowed: {EACH_EDGE:.0f}, {_kept(each, EACH_EDGE)}) and takes "
            f"{scaled:.2f} s for 1e7 edges, by what it took for {edges:,.0f} (allowed: {BUILT:.0f}, "
            f"{_kept(scaled, BUILT)})."
        )
    others = {name: found[most] for name in LOOKS if name != OWN and (found := times(measured, name, "closure"))}
    others = {name: values for name, values in others.items() if not name.startswith("braid_hpc")}
    if others:
        said = "; ".join(f"{name} {statistics.median(values):,.1f} ms" for name, values in others.items())
        lines.append(f"- The same closure by others, in memory and without time or retractions: {said}.")
    return "\n".join(lines) + "\n"


def _kept(value: float, allowed: float) -> str:
    return "kept" if value <= allowed else "**not kept here**"


def where_others_answer_better(measured: Rounds) -> list[str]:
    """Return what peers do better: every figure that speaks for one, as items of a list."""
    lines = []
    for name in LOOKS:
        if name.startswith("braid_hpc"):
            continue
        better = []
        for edges in sizes_of(measured):
            for question in ("closure", "impact of the hub"):
                theirs, ours = (times(measured, what, question).get(edges) for what in (name, OWN))
                if theirs and ours and statistics.median(theirs) < statistics.median(ours):
                    figures = f"{statistics.median(theirs):,.2f} ms against {statistics.median(ours):,.2f}"
                    better.append(f"{edges:,} edges, {question}: {figures}")
            build, own = one(measured, edges, name, "build_s"), one(measured, edges, "generate", "build_s")
            if build and own and build < own:
                better.append(f"{edges:,} edges, ready after {build:.2f} s against {own:.2f}")
            peak, own_peak = (one(measured, edges, what, "peak_mib") for what in (name, OWN))
            if peak and own_peak and peak < own_peak:
                better.append(f"{edges:,} edges, memory {peak:,.0f} MiB against {own_peak:,.0f}")
        if better:
            lines.append(f"- {name}: {'; '.join(better)}.")
    return lines


def draw(measured: Rounds, path: Path) -> str:
    """Draw the time of the closure and of the impact, and what building takes; return why not, or nothing."""
    pyplot, why = matplotlib_or_why()
    if why:
        return why
    sizes = sizes_of(measured)
    if len(sizes) < 2:
        return "fewer than two sizes were measured"
    figure, axes = pyplot.subplots(1, 3, figsize=(14, 4.4), squeeze=False)
    panels = (
        (axes[0][0], "Closure of the same size", _lines(measured, "closure"), ("ideal: no growth (left), linear", 0)),
        (axes[0][1], "Impact of a hub, in ever more nodes", _lines(measured, "impact of the hub"), ("linear", 1)),
        (axes[0][2], "Until it can be asked", _built(measured), ("linear", 1)),
    )
    for axis, title, lines, ideal in panels:
        draw_growth(axis, lines, ideal=ideal)
        axis.set(title=title, xlabel="edges", ylabel="s" if axis is axes[0][2] else "ms")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False)
    about = measured.about
    figure.suptitle(
        f"{about['cpu']}, {about['cores']} cores, load {about['load_before'][0]:.1f}: "
        f"median and quartiles of up to {measured.turns} rounds, one engine after the other",
        fontsize=10,
    )
    figure.tight_layout()
    save(figure, path)
    pyplot.close(figure)
    return ""


def _lines(measured: Rounds, question: str) -> list[Line]:
    known = ((name, times(measured, name, question), looks) for name, looks in LOOKS.items())
    return [Line(name, values, *looks) for name, values, looks in known if values]


def _built(measured: Rounds) -> Sequence[Line]:
    lines = []
    for name, looks in LOOKS.items():
        what = "generate" if name == OWN else name
        found = {edges: one(measured, edges, what, "build_s") for edges in sizes_of(measured)}
        values = {edges: [value] for edges, value in found.items() if value}
        if values:
            lines.append(Line(name, values, *looks))
    return lines

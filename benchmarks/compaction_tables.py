"""The tables and the picture of the benchmark of compaction, and what its rounds say of what was promised."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from compaction_cases import Case, case_of, growing_in_events, growing_in_logs
from growth import Line, Sizes, draw_growth, each_costs, slope
from plots import matplotlib_or_why, save
from rounds import Rounds, Summary, described, not_run_list, summary, table

#: Below this many events what a merge costs anyhow is not small beside what the events cost.
LARGE = 1_000_000
#: What the design allows: events a second of one thread, and memory (MiB).
RATE, MEMORY = 1.5e6, 1024

Way = tuple[str, int]

LOOKS = {
    "one-thread": ("#0072B2", "o", "-"),
    "alone": ("#56B4E9", "s", "-"),
    "shared": ("#D55E00", "^", "-"),
    "floor": ("#777777", "x", "--"),
}


def title_of(way: Way) -> str:
    """Return what a way of merging is called."""
    name, ranks = way
    return {
        "one-thread": "one process, one thread of DuckDB",
        "alone": "one process",
        "shared": f"{ranks} ranks",
        "floor": "DuckDB alone, from Arrow, one thread",
    }[name]


def cases_of(measured: Rounds) -> list[Case]:
    """Return the cases of which something was measured."""
    return [case_of(name) for name in dict.fromkeys(row.mode for row in measured.rows)]


def ways_of(measured: Rounds) -> list[Way]:
    """Return the ways of merging that were measured, the floor last."""
    found = {(row.variant, row.ranks) for row in measured.rows if row.variant in LOOKS}
    return sorted(found, key=lambda way: (list(LOOKS).index(way[0]), way[1]))


def values_of(measured: Rounds, case: Case, way: Way, measure: str) -> list[float]:
    """Return a measure of all rounds of a case."""
    return list(measured.values(mode=case.name, variant=way[0], ranks=way[1], measure=measure).values())


def by_size(
    measured: Rounds, cases: Sequence[Case], size: Callable[[Case], int], way: Way, measure: str
) -> dict[int, list[float]]:
    """Return a measure of several cases, by what they differ in."""
    found = {size(case): values_of(measured, case, way, measure) for case in cases}
    return {at: values for at, values in found.items() if values}


def rate(measured: Rounds, case: Case, way: Way, clock: str) -> Summary | None:
    """Return the events a second of a clock."""
    return summary(case.events / value for value in values_of(measured, case, way, clock))


def above_floor(measured: Rounds, case: Case, way: Way, clock: str) -> list[float]:
    """Return how many times as long as the floor a merge took, round by round."""
    own = {"mode": case.name, "variant": way[0], "ranks": way[1], "measure": clock}
    return measured.ratios(own, own | {"variant": "floor", "ranks": 1})


def events_in(case: Case) -> int:
    """Return what cases differ in where their events grow."""
    return case.events


def logs_in(case: Case) -> int:
    """Return what cases differ in where their logs grow."""
    return case.logs


# ---------------------------------------------------------------------------------------------------- the tables


def write_table(measured: Rounds) -> str:
    """Return the figures as Markdown."""
    cases = cases_of(measured)
    by_events, by_logs = growing_in_events(cases), growing_in_logs(cases)
    parts = [described(measured.about)]
    if by_events:
        parts += [f"### By events: rows in {by_events[0].logs} logs\n"]
        parts += [_figures(measured, by_events, [f"{case.events:,}" for case in by_events], "events")]
        parts += [_growth(measured, by_events)]
    if by_logs:
        parts += [f"### By logs: {by_logs[0].events:,} rows in all\n"]
        parts += [_figures(measured, by_logs, [f"{case.logs:,}" for case in by_logs], "logs")]
        parts += [_each_log(measured, by_logs)]
    shown = {*by_events, *by_logs}
    if others := [case for case in cases if case not in shown]:
        parts += ["### By sorts of events\n", _sorts(measured, others)]
    parts += [_further(measured, cases), _checked(measured, cases), not_run_list(measured)]
    return "\n".join(part for part in parts if part)


def _figures(measured: Rounds, cases: Sequence[Case], header: Sequence[str], what: str) -> str:
    ways = ways_of(measured)
    merges = [way for way in ways if way[0] != "floor"]
    parts = []
    for title, clock in (("Events a second", "wall"), ("Events a second of CPU time, of all ranks together", "cpu")):
        rows = [[title_of(way), *(_text(rate(measured, case, way, clock), ",.0f") for case in cases)] for way in ways]
        parts.append(f"{title}:\n\n" + table([what, *header], rows))
    rows = [
        [f"{title_of(way)}, {clock}", *(_text(summary(above_floor(measured, case, way, key))) for case in cases)]
        for way in merges
        for clock, key in (("wall", "wall"), ("CPU", "cpu"))
    ]
    parts.append("Times as long as DuckDB takes for the same table:\n\n" + table([what, *header], rows))
    rows = [[title_of(way), *(_most(measured, case, way, "peak") for case in cases)] for way in ways]
    rows += [
        [f"{title_of(way)}: rank 0", *(_most(measured, case, way, "peak of rank 0") for case in cases)]
        for way in ways
        if way[0] == "shared"
    ]
    parts.append("Peak of the memory, of all ranks together, MiB:\n\n" + table([what, *header], rows))
    rows = [["the logs", *(_logs(measured, case, "bytes") for case in cases)]]
    for name, measure in (("read", "read"), ("written", "written"), ("most on disk", "on disk"), ("store", "store")):
        rows += [
            [f"{title_of(way)}: {name}", *(_middle(measured, case, way, measure) for case in cases)]
            for way in ways
            if measure != "store" or way[0] in ("one-thread", "floor")
        ]
    return "\n".join([*parts, "Bytes of and from the disk, MB:\n\n" + table([what, *header], rows)])


def _text(found: Summary | None, form: str = ".2f") -> str:
    return "not run" if found is None else found.text(form)


def _most(measured: Rounds, case: Case, way: Way, measure: str) -> str:
    values = values_of(measured, case, way, measure)
    return f"{max(values):,.0f}" if values else "not run"


def _middle(measured: Rounds, case: Case, way: Way, measure: str) -> str:
    values = values_of(measured, case, way, measure)
    return f"{statistics.median(values):,.1f}" if values else "not run"


def _logs(measured: Rounds, case: Case, measure: str) -> str:
    return _middle(measured, case, ("logs", case.logs), measure)


def _growth(measured: Rounds, cases: Sequence[Case]) -> str:
    """Return how time and memory grow with the events."""
    rows = []
    for way in ways_of(measured):
        for clock, key in (("wall", "wall"), ("CPU", "cpu")):
            times = by_size(measured, cases, events_in, way, key)
            if (whole := slope(times)) is None:
                continue
            large = {size: values for size, values in times.items() if size >= LARGE}
            part = slope(large)
            ends = [(min(each), max(each)) for each in (times, large) if len(each) > 1]
            ratios = [each_costs(times, low, high) for low, high in ends]
            cells = [f"{ratio:.2f}" if ratio is not None else "-" for ratio in [*ratios, None][:2]]
            rows.append([f"{title_of(way)}, {clock}", whole.text(), part.text() if part else "-", *cells])
    header = [
        "time",
        "slope (95 %)",
        f"from {LARGE:,} on",
        "an event, largest / smallest",
        f"largest / {LARGE:,}",
    ]
    return (
        "How time grows with the events: the slope of its logarithm over that of their number (1: linear; below: what "
        "a merge costs anyhow counts among few events), and what an event costs:\n\n" + table(header, rows)
        if rows
        else ""
    )


def each_log(measured: Rounds, cases: Sequence[Case], way: Way, measure: str) -> float | None:
    """Return what a further log costs at the same number of events: between the fewest and the most logs."""
    known = by_size(measured, cases, logs_in, way, measure)
    if len(known) < 2:
        return None
    few, many = min(known), max(known)
    return (statistics.median(known[many]) - statistics.median(known[few])) / (many - few)


def _each_log(measured: Rounds, cases: Sequence[Case]) -> str:
    rows = []
    for way in ways_of(measured):
        found = [each_log(measured, cases, way, measure) for measure in ("wall", "cpu", "peak")]
        if way[0] != "floor" and all(value is not None for value in found):
            wall, cpu, peak = (value or 0.0 for value in found)
            rows.append([title_of(way), f"{1e3 * wall:.2f}", f"{1e3 * cpu:.2f}", f"{1024 * peak:.1f}"])
    header = ["a further log costs", "wall, ms", "CPU, ms", "memory, KiB"]
    return "Between the fewest logs and the most:\n\n" + table(header, rows) if rows else ""


def _sorts(measured: Rounds, cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        for way in ways_of(measured):
            if not values_of(measured, case, way, "wall"):
                continue
            rates = [_text(rate(measured, case, way, clock), ",.0f") for clock in ("wall", "cpu")]
            ratio = summary(above_floor(measured, case, way, "wall")) if way[0] != "floor" else None
            memory, store = _most(measured, case, way, "peak"), _middle(measured, case, way, "store")
            logs = _logs(measured, case, "bytes")
            rows.append([case.title, title_of(way), *rates, ratio.text() if ratio else "-", memory, logs, store])
    header = ["logs", "merged by", "events/s", "events/CPU s", "x DuckDB", "memory, MiB", "logs, MB", "store, MB"]
    return table(header, rows)


def _further(measured: Rounds, cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        given = {"mode": case.name, "variant": "further"}
        found = {name: summary(measured.values(**given, measure=name).values()) for name in ("wall", "copy", "peak")}
        events = list(measured.values(**given, measure="events").values())
        if events and all(found.values()):
            cells = [found[name].text(form) for name, form in (("wall", ".2f"), ("copy", ".2f"), ("peak", ",.0f"))]  # type: ignore[union-attr]
            rows.append([f"{events[0]:,.0f} into {case.events:,}", *cells])
    header = ["further rows, into a store of", "s", "s that a copy of its file takes", "memory, MiB"]
    return "### Into a store that is there\n\n" + table(header, rows) if rows else ""


def _checked(measured: Rounds, cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        taken = measured.values(mode=case.name, variant="check", measure="cpu").get(0)
        size = measured.values(mode=case.name, variant="logs", measure="bytes").get(0)
        if taken and size:
            rows.append([case.title, f"{size:,.1f}", f"{size / taken:,.0f}"])
    return "### Checking every sum\n\n" + table(["logs", "MB", "MB a CPU second"], rows) if rows else ""


# ------------------------------------------------------------------------------------------------------ the page


def found_by_compaction(measured: Rounds) -> str:
    """Return what the rounds say of what the design promises, for it and against it."""
    cases = growing_in_events(cases_of(measured))
    way = ("one-thread", 1)
    known = [case for case in cases if values_of(measured, case, way, "wall")]
    if not known:
        return ""
    most = known[-1]
    lines = []
    walls, cpus = rate(measured, most, way, "wall"), rate(measured, most, way, "cpu")
    ratio = summary(above_floor(measured, most, way, "cpu"))
    assert walls is not None
    assert cpus is not None
    said = "kept" if cpus.median >= RATE else "**not kept here**"
    beside = f", {ratio.median:.2f} times the CPU time that DuckDB takes for the same table" if ratio else ""
    lines.append(
        f"- {most.title}, one thread: {walls.median:,.0f} events a second, {cpus.median:,.0f} a second of CPU "
        f"time{beside}. The design wants {RATE:,.0f} a thread: {said}."
    )
    peaks = {case: max(values_of(measured, case, way, "peak")) for case in known}
    # Of larger ones nothing is known.
    said = f"kept up to {most.events:,}" if max(peaks.values()) <= MEMORY else "**not kept here**"
    ends = f"{min(peaks.values()):,.0f} to {max(peaks.values()):,.0f} MiB"
    lines.append(
        f"- Memory, from {known[0].events:,} to {most.events:,} events: {ends}. At most {MEMORY:,} MiB, whatever the "
        f"size: {said}."
    )
    times = by_size(measured, cases, events_in, way, "cpu")
    grown, every = slope({size: values for size, values in times.items() if size >= LARGE}), slope(times)
    if grown is not None:
        said = "linear within a tenth"
        if abs(grown.value - 1) > 0.1:
            said = "**more than linear**" if grown.value > 1 else "less than linear, as a merge costs something anyhow"
        lines.append(f"- CPU time grows with the power {grown.text()} of the events: {said}.")
    elif every is not None:
        lines.append(
            f"- CPU time grows with the power {every.text()} of the events, from {min(times):,} to {max(times):,}, "
            f"among which what a merge costs anyhow counts. Whether it is linear is **not decided here**: that takes "
            f"two sizes of at least {LARGE:,}."
        )
    logs = growing_in_logs(cases_of(measured))
    further, memory = (each_log(measured, logs, way, measure) for measure in ("cpu", "peak"))
    if further is not None and memory is not None:
        cost = further * cpus.median
        lines.append(
            f"- A further log costs {1e3 * further:.2f} ms of CPU time, as much as {cost:,.0f} events do, and "
            f"{1024 * memory:.1f} KiB of memory: both grow with the number of logs, whatever is in them."
        )
    for shared in (each for each in ways_of(measured) if each[0] == "shared"):
        if faster := measured.ratios(
            {"mode": most.name, "variant": "alone", "measure": "wall"},
            {"mode": most.name, "variant": "shared", "ranks": shared[1], "measure": "wall"},
        ):
            lines.append(
                f"- {most.title}, {shared[1]} ranks: {statistics.median(faster):.2f} times as fast as one process with "
                f"as many threads as DuckDB takes, on {measured.about['cores']} cores. Rank 0 commits alone."
            )
    return "\n".join(lines) + "\n"


def where_others_merge_better(measured: Rounds) -> list[str]:
    """Return what the floor does better, as items of a list."""
    lines = []
    for case in cases_of(measured):
        wall, cpu = (summary(above_floor(measured, case, ("one-thread", 1), clock)) for clock in ("wall", "cpu"))
        if wall is not None and cpu is not None and max(wall.median, cpu.median) > 1:
            lines.append(f"{case.title}: {wall.median:.2f} times (CPU time: {cpu.median:.2f})")
    return (
        [f"- DuckDB alone, given the rows as Arrow tables, is faster than a merge: {'; '.join(lines)}."]
        if lines
        else []
    )


def draw(measured: Rounds, path: Path) -> str:
    """Draw time and memory against events and against logs; return why there is no picture, or nothing."""
    pyplot, why = matplotlib_or_why()
    if why:
        return why
    cases = cases_of(measured)
    axes_of: list[tuple[str, list[Case], Callable[[Case], int]]] = [
        ("events", growing_in_events(cases), events_in),
        ("logs", growing_in_logs(cases), logs_in),
    ]
    axes_of = [each for each in axes_of if len(each[1]) > 1]
    if not axes_of:
        return "fewer than two sizes were measured"
    figure, axes = pyplot.subplots(len(axes_of), 2, figsize=(11, 4.4 * len(axes_of)), squeeze=False)
    for (left, right), (what, chosen, size) in zip(axes, axes_of, strict=True):
        aside = f"in {chosen[0].logs} logs" if what == "events" else f"of {chosen[0].events:,} rows"
        ideal = ("ideal: linear in events, the same for any number of logs", 1 if what == "events" else 0)
        draw_growth(left, _lines(measured, chosen, size, "wall"), ideal=ideal)
        draw_growth(right, _lines(measured, chosen, size, "peak"))
        right.axhline(MEMORY, color="#999999", lw=0.8, ls="--")
        right.text(0.02, MEMORY * 1.04, "1 GiB", transform=right.get_yaxis_transform(), fontsize=8, color="#555555")
        left.set(title=f"Time of a merge, {aside}", xlabel=what, ylabel="s")
        right.set(title=f"Peak of memory, {aside}", xlabel=what, ylabel="MiB, all ranks")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False)
    about = measured.about
    figure.suptitle(
        f"{about['cpu']}, {about['cores']} cores, load {about['load_before'][0]:.1f}: "
        f"median and quartiles of up to {measured.turns} interleaved rounds",
        fontsize=10,
    )
    figure.tight_layout()
    save(figure, path)
    pyplot.close(figure)
    return ""


def _lines(measured: Rounds, cases: Sequence[Case], size: Callable[[Case], int], measure: str) -> list[Line]:
    lines = []
    for way in ways_of(measured):
        values: Sizes = by_size(measured, cases, size, way, measure)
        colour, mark, dash = LOOKS[way[0]]
        if values:
            lines.append(Line(title_of(way), values, colour, mark, dash))
    return lines

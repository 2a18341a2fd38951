"""What the rounds of recording come to, as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from peers import PEERS
from rounds import Rounds, Summary, described, not_run_list, summary, table
from survival import closed, worst

#: The budgets of the design, in units of REF, by mode and variant.
BUDGETS: dict[tuple[str, str], tuple[str, float | None]] = {
    ("event", "braid"): ("one structured event, compiled", 0.9),
    ("event", "braid-python"): ("one structured event, in Python", 5.5),
    ("own", "tags"): ("a record with three tags, compiled", None),
    ("own", "batch"): ("a row of a batch of six numeric columns, compiled", 0.35),
    ("call", "call-braid"): ("a decorated function that does nothing, compiled", 2.0),
    ("call", "call-braid-python"): ("a decorated function that does nothing, in Python", 6.0),
    ("call", "call-off"): ("a decorated function that does nothing, recording off", 0.7),
    ("import", "import"): ("`import braid_hpc` / `python -c pass`", 1.5),
}

NOTES = """\
How to read it:

- *x REF* is the call alone, without closing: what stops the program. *CPU with closing* is what all threads of the process use for an event, with an even part of what ending the recorder takes; where a recorder keeps its work for later, it is there.
- What a process pays once is in none of it; *once* is how long opening (with what is imported by it), one event and closing take. *Bytes on disk* are those of an event more; none are given where the file has not grown by its next piece.
- *After SIGKILL*: the process recorded one event after the other, and acknowledged each call that returned; the worst of {kills} counts. *After closing*: so many were there of a burst of events after which the recorder was closed. An interval of flushing decides how much a buffer loses: here the kill comes after about {events:,} events, as fast as they can be recorded.
- SIGKILL is the end of a process, not of a machine: what the kernel holds outlives the one and not the other. Only what is *on disk* when its call returns outlives a power cut too, and that is what these pay for.
- They do not keep the same. A span has a begin, an end and a parent; a line in a file has neither types nor names that somebody checks; a row in a database can be asked for at once, while a log has to be compacted first. A rank, an order that hangs on no clock, and a check sum of each row are this package's; what the others keep besides stands in the last column.
- Each peer is used by the leanest call that keeps the seven fields together, as its documentation shows it, with its own defaults unless its title says otherwise. Python's collector of garbage waits while calls are timed, which favours those that keep objects in memory.
- A queue that is full drops events, and says so in its log at most. The figures of such a recorder have the dropped ones in them, and look better than they are: see *after closing*.
- All fields but the first and the time are the same in each event: what compresses its file looks smaller than it would be.
"""


def of_mode(measured: Rounds, mode: str) -> list[str]:
    """Return what was measured of a mode, the cheapest call first."""
    found = {row.variant for row in measured.rows if row.mode == mode and row.measure == "wall"}
    known = {name: _of(measured, mode, name, "wall") for name in found}
    return sorted(found, key=lambda name: each.median if (each := known[name]) else 0.0)


def whole_cpu(measured: Rounds, mode: str, name: str) -> dict[int, float]:
    """Return by round the CPU time of an event in REF, with its part of the closing."""
    calls, reference = (
        measured.values(mode=mode, variant=name, measure=measure) for measure in ("CPU", "reference CPU")
    )
    closing = above_one(measured, mode, name, "closing CPU")
    return {turn: calls[turn] + each / (reference[turn] * 1e-9) for turn, each in closing.items()}


def above_one(measured: Rounds, mode: str, name: str, measure: str) -> dict[int, float]:
    """Return by round what an event adds to what is there after a single one: that is paid once.

    No sizes where most rounds end with as much as a single event: files that grow by large pieces say nothing then.
    """
    once = summary(measured.values(mode="empty", variant=name, measure=measure).values())
    events = measured.values(mode=mode, variant=name, measure="events")
    found = measured.values(mode=mode, variant=name, measure=measure)
    if once is None or (measure == "size" and found and statistics.median(found.values()) <= once.median):
        return {}
    return {turn: max(0.0, value - once.median) / events[turn] for turn, value in found.items()}


def _of(measured: Rounds, mode: str, name: str, measure: str) -> Summary | None:
    if measure == "CPU with closing":
        return summary(whole_cpu(measured, mode, name).values())
    if measure == "once":
        parts = [_of(measured, "empty", name, each) for each in ("open", "closing")]
        whole = sum(part.median for part in parts if part)
        return Summary(whole, whole, whole, 1) if any(parts) else None
    if measure == "bytes":
        return summary(above_one(measured, mode, name, "size").values())
    return summary(measured.values(mode=mode, variant=name, measure=measure).values())


def _text(measured: Rounds, mode: str, name: str, measure: str, form: str) -> str:
    found = _of(measured, mode, name, measure)
    return "-" if found is None else f"{found.median:{form}}"


def number(value: float) -> str:
    """Return a figure with as many digits as it is good for."""
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def with_quartiles(found: Summary | None) -> str:
    """Return a median with its quartiles."""
    if found is None:
        return "-"
    spread = f" ({number(found.low)} to {number(found.high)})" if found.rounds > 1 else ""
    return number(found.median) + spread


def own_table(measured: Rounds) -> str:
    """Return this package's figures beside their budgets."""
    rows = []
    for (mode, name), (title, budget) in BUDGETS.items():
        found = _of(measured, mode, name, "wall")
        if found is None:
            continue
        tail = measured.about.get("tails", {}).get(name)
        if "compiled" in title and tail == "MappedTail":
            title += " (not built here: this is the Python half)"
        rows.append(
            [
                title,
                "-" if budget is None else f"{budget}",
                found.text(),
                "-" if budget is None else "yes" if found.median <= budget else "**not here**",
                _text(measured, mode, name, "CPU", ".2f"),
                _text(measured, mode, name, "floor", ".2f"),
                _text(measured, mode, name, "time", ".0f"),
            ]
        )
    return table(["what", "budget, x REF", "wall, x REF", "kept", "CPU, x REF", "CPU of the floor, x REF", "ns"], rows)


def latency_table(measured: Rounds) -> str:
    """Return how long single calls take."""
    names = ("p50", "p99", "p99.9", "p99.99")
    rows = [
        [
            PEERS[name].title,
            *(_text(measured, "event", name, each, ",.1f") for each in names),
            f"{max(measured.values(mode='event', variant=name, measure='max').values()):,.1f}",
        ]
        for name in ("braid", "braid-python")
        if _of(measured, "event", name, "max")
    ]
    return table(["one call, µs", *names, "max of all rounds"], rows)


def peers_table(measured: Rounds, mode: str) -> str:
    """Return what each way to record costs, the cheapest call first."""
    rows = []
    for name in of_mode(measured, mode):
        kill = worst(measured, name)
        cells = [
            PEERS[name].title,
            with_quartiles(_of(measured, mode, name, "wall")),
            *(number(each.median) if (each := _of(measured, mode, name, "CPU with closing")) else "-",),
            *(number(each.median / 1e3) if (each := _of(measured, mode, name, "time")) else "-",),
            _text(measured, mode, name, "p99", ",.1f"),
            _text(measured, mode, name, "once", ",.2f"),
        ]
        if mode == "event":
            cells += [_text(measured, mode, name, "bytes", ",.0f"), kill.text() if kill else "not run"]
            cells += [closed(measured, name), PEERS[name].promise]
        rows.append([*cells, PEERS[name].besides])
    header = ["", "x REF", "CPU with closing, x REF", "µs", "p99 of a call, µs", "once, s"]
    if mode == "event":
        header += ["bytes on disk", "after SIGKILL", "after closing", "where it is when the call returns"]
    return table([*header, "kept besides"], rows)


def write_table(measured: Rounds) -> str:
    """Return the figures as Markdown."""
    parts = [described(measured.about), reference(measured)]
    parts += ["### This package beside its budgets\n", own_table(measured), latency_table(measured)]
    parts += ["The budget for p99.99 is 10,000 µs.\n"]
    parts += ["### The same event, by what else one could take\n", peers_table(measured, "event")]
    parts += [unreadable(measured)]
    parts += ["### A decorated function that does nothing\n", peers_table(measured, "call")]
    parts += [NOTES.format(kills=measured.about["kills"], events=measured.about["events"]), not_run_list(measured)]
    return "\n".join(part for part in parts if part)


def reference(measured: Rounds) -> str:
    """Return what REF is, and what it came to: all other figures hang on it."""
    found = summary(row.value for row in measured.rows if row.measure == "reference")
    if found is None:
        return ""
    return (
        "REF is one `time.time_ns()`, a tuple of eight fields and a `list.append`, 200,000 times over in the process that "
        f"is measured, before it opens its recorder and after it has closed it: {found.text(',.0f')} ns in "
        f"{found.rounds:,} processes.\n"
    )


def unreadable(measured: Rounds) -> str:
    """Return what the readers said of files that a kill has left."""
    found = measured.about.get("unreadable", {})
    lines = [f"- {PEERS[name].title}: `{why}`" for name, why in found.items()]
    return "What the readers say of what a kill has left:\n\n" + "\n".join(lines) + "\n" if lines else ""


MEASURES = (
    ("wall", "a call", "x REF"),
    ("CPU with closing", "CPU with closing", "x REF"),
    ("p99", "p99 of a call", "µs"),
    ("bytes", "on disk", "bytes an event"),
    ("once", "paid once", "s"),
)


def where_peers_are_better(measured: Rounds) -> list[str]:
    """Return every figure of a peer that is better than that of this package, as items of a Markdown list."""
    lines = []
    for mode, own in (("event", "braid"), ("call", "call-braid")):
        for name in of_mode(measured, mode):
            if PEERS[name].where.startswith("own_recorders") or name.endswith("-off"):
                continue
            better = [said for each in MEASURES if (said := _better(measured, mode, name, own, each))]
            if not better:
                continue
            what = "An event" if mode == "event" else "A decorated function"
            kill = worst(measured, name) if mode == "event" else None
            after = f" After SIGKILL there is {kill.text()}." if kill else ""
            lines.append(f"- {what}, {PEERS[name].title}: {'; '.join(better)}.{after}")
    on_disk = [PEERS[name].title for name in of_mode(measured, "event") if PEERS[name].promise.startswith("on disk")]
    if on_disk:
        lines.append(f"- An event is on disk when the call returns: {'; '.join(on_disk)}. Here it is within a second.")
    return lines


def _better(measured: Rounds, mode: str, name: str, own: str, measure: tuple[str, str, str]) -> str:
    key, title, unit = measure
    theirs, ours = _of(measured, mode, name, key), _of(measured, mode, own, key)
    if theirs is None or ours is None or theirs.median >= ours.median:
        return ""
    return f"{title} {number(theirs.median)} {unit} against {number(ours.median)}"


def found_by_recording(measured: Rounds) -> str:
    names = of_mode(measured, "event")
    own = _of(measured, "event", "braid", "wall")
    kills: dict[str, Any] = {name: kill for name in names if (kill := worst(measured, name))}
    whole = [name for name in names if name in kills and kills[name].kind == "all" and not name.startswith("braid")]
    if own is None or not whole:
        return ""
    best = _of(measured, "event", whole[0], "wall")
    assert best is not None
    return (
        f"An event takes {number(own.median)} x REF here. Of {len(names)} ways to record it, {len(whole)} besides this "
        f"package lose nothing to a kill; the cheapest of them, {PEERS[whole[0]].title}, takes "
        f"{number(best.median)} x REF.\n"
    )

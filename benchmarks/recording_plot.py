"""A picture of what recording an event costs, told apart by what outlives a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers import PEERS
from plots import matplotlib_or_why, save
from recording_tables import number, of_mode
from rounds import Rounds, summary
from survival import worst

#: Colour and hatching by what outlives SIGKILL, and what the legend says of it.
LOOKS = {
    "all": ("#0072B2", "", "all events whose call returned"),
    "part": ("#E69F00", "//", "a part of them"),
    "none": ("#D55E00", "xx", "none"),
    "": ("#999999", "..", "not killed"),
}


def recording_plot(measured: Rounds, path: Path) -> str:
    """Draw bars for events and for calls of a decorated function; return why not, or nothing."""
    pyplot, why = matplotlib_or_why()
    if why:
        return why
    names = {mode: found for mode in ("event", "call") if (found := of_mode(measured, mode))}
    if not names:
        return "nothing was measured"
    heights = [len(found) + 2 for found in names.values()]
    figure, axes = pyplot.subplots(
        len(names), 1, figsize=(10, max(0.32 * sum(heights), 3.0)), squeeze=False, height_ratios=heights, sharex=True
    )
    titles = {"event": "one event of seven fields", "call": "a decorated function that does nothing"}
    for (axis,), (mode, found) in zip(axes, names.items(), strict=True):
        bars(axis, measured, mode, found)
        axis.set_title(titles[mode], loc="left", fontsize=10)
    rounds = f"median and quartiles of up to {measured.turns} rounds, a logarithmic axis"
    axes[-1][0].set_xlabel(f"cost of a call, x REF (a clock, a tuple and an append): {rounds}")
    legend(figure, pyplot, measured, names.get("event", []))
    figure.suptitle(
        f"{measured.about['cpu']}, {measured.about['cores']} cores, load {measured.about['load_before'][0]:.1f}",
        fontsize=10,
    )
    figure.tight_layout()
    save(figure, path)
    pyplot.close(figure)
    return ""


def kept(measured: Rounds, name: str) -> str:
    """Return what outlives a kill: a key of :data:`LOOKS`."""
    kill = worst(measured, name)
    return kill.kind if kill else ""


def bars(axis: Any, measured: Rounds, mode: str, names: list[str]) -> None:
    """Draw a bar for each way to record, the cheapest first."""
    for at, name in enumerate(names):
        found = summary(measured.values(mode=mode, variant=name, measure="wall").values())
        assert found is not None
        colour, hatch, _ = LOOKS[kept(measured, name)]
        own = PEERS[name].where.startswith("own_recorders")
        axis.barh(at, found.median, height=0.66, color=colour, hatch=hatch, edgecolor="white", lw=0)
        axis.errorbar(
            [found.median],
            [at],
            xerr=[[found.median - found.low], [found.high - found.median]],
            fmt="none",
            ecolor="#222222",
            capsize=2.5,
            lw=1,
        )
        axis.text(found.high * 1.12, at, number(found.median), va="center", fontsize=8, weight="bold" if own else None)
    axis.set_xscale("log")
    axis.set_yticks(range(len(names)), labels=[PEERS[name].title.replace("`", "") for name in names], fontsize=8)
    for label, name in zip(axis.get_yticklabels(), names, strict=True):
        label.set_weight("bold" if PEERS[name].where.startswith("own_recorders") else "normal")
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.axvline(1, color="#555555", lw=0.8, ls=":")
    axis.grid(True, axis="x", color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
    _, high = axis.get_xlim()
    axis.set_xlim(0.05, high * 3)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def legend(figure: Any, pyplot: Any, measured: Rounds, names: list[str]) -> None:
    """Say what the colours mean, below the picture."""
    seen = [key for key in LOOKS if any(kept(measured, name) == key for name in names) or key == ""]
    handles = [
        pyplot.Rectangle((0, 0), 1, 1, facecolor=colour, hatch=hatch, edgecolor="white", lw=0, label=title)
        for colour, hatch, title in map(LOOKS.get, seen)
    ]
    figure.legend(
        handles=handles,
        title="read back after SIGKILL",
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        title_fontsize=8,
    )

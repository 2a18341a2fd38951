"""Pictures of what was measured: lines with a band between the quartiles, told apart by colour, mark and dash."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recorders import VARIANTS
from rounds import Rounds, summary

#: Colours of Okabe and Ito, which people of every kind of sight tell apart.
LOOKS = {
    "off": ("#777777", "x", ":"),
    "rank-logs": ("#0072B2", "o", "-"),
    "sqlite": ("#D55E00", "s", "-"),
    "sqlite-batch": ("#E69F00", "s", "--"),
    "postgresql": ("#009E73", "^", "-"),
    "postgresql-batch": ("#56B4E9", "^", "--"),
    "duckdb-writer": ("#CC79A7", "D", "-"),
    "queue": ("#000000", "v", "-"),
}


def matplotlib_or_why() -> tuple[Any, str]:
    """Return matplotlib's pyplot, drawing to files, or why there is none."""
    try:
        import matplotlib
    except ImportError:
        return None, "matplotlib is not installed: pip install 'braid_hpc[bench]'"
    matplotlib.use("svg")
    # Without a date and random ids, so that the same figures give the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "braid_hpc", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot

    return pyplot, ""


def save(figure: Any, path: Path) -> None:
    """Write an SVG file in place of the last one."""
    aside = path.with_suffix(".new")
    try:
        figure.savefig(aside, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def scaling_plot(measured: Rounds, path: Path) -> str:
    """Draw the rate of all ranks, and the time of one core for each event; return why not, or nothing."""
    pyplot, why = matplotlib_or_why()
    if why:
        return why
    modes = [mode for mode in ("weak", "strong") if any(row.mode == mode for row in measured.rows)]
    if not modes:
        return "nothing was measured"
    cores = measured.about["cores"]
    figure, axes = pyplot.subplots(len(modes), 2, figsize=(11, 4.4 * len(modes)), squeeze=False)
    for (left, right), mode in zip(axes, modes, strict=True):
        lines(left, measured, "rate", mode=mode)
        ideal(left, measured, mode, cores)
        lines(right, measured, "core time", mode=mode)
        left.set(title=f"{mode} scaling: all ranks together", ylabel="events a second that arrived")
        right.set(title=f"{mode} scaling: one event", ylabel="core time an event (µs)")
        for axis in (left, right):
            dress(axis, measured, cores)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, frameon=False)
    figure.suptitle(
        f"{measured.about['cpu']}, {cores} cores, load {measured.about['load_before'][0]:.1f}: "
        f"median and quartiles of up to {measured.turns} interleaved rounds",
        fontsize=10,
    )
    figure.tight_layout()
    save(figure, path)
    pyplot.close(figure)
    return ""


def rate_plot(measured: Rounds, path: Path) -> str:
    """Draw the rate of all ranks alone; return why not, or nothing."""
    pyplot, why = matplotlib_or_why()
    if why:
        return why
    cores = measured.about["cores"]
    figure, axis = pyplot.subplots(figsize=(7.5, 4.2))
    lines(axis, measured, "rate", mode="weak")
    ideal(axis, measured, "weak", cores)
    axis.set_ylabel("events a second that arrived, all ranks")
    dress(axis, measured, cores)
    axis.set_title(f"weak scaling, median and quartiles of up to {measured.turns} rounds", loc="left", fontsize=9)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    save(figure, path)
    pyplot.close(figure)
    return ""


def lines(axis: Any, measured: Rounds, measure: str, *, mode: str) -> None:
    """Draw a line with its band for each variant."""
    draw_lines(
        axis,
        VARIANTS,
        lambda name, n: measured.values(mode=mode, variant=name, ranks=n, measure=measure),
        ranks_of(measured),
    )


def ranks_of(measured: Rounds) -> list[int]:
    """Return the numbers of ranks that were measured."""
    return sorted({row.ranks for row in measured.rows})


def draw_lines(
    axis: Any, variants: dict[str, Any], values: Callable[[str, int], dict[int, float]], ranks: list[int]
) -> None:
    """Draw a line with its band for each variant that has values."""
    for name, variant in variants.items():
        known = [(n, found) for n in ranks if (found := summary(values(name, n).values()))]
        if not known:
            continue
        colour, mark, dash = LOOKS[name]
        at = [n for n, _ in known]
        axis.plot(
            at, [each.median for _, each in known], dash, color=colour, marker=mark, markersize=5, label=variant.title
        )
        axis.fill_between(
            at, [each.low for _, each in known], [each.high for _, each in known], color=colour, alpha=0.18, lw=0
        )


def ideal(axis: Any, measured: Rounds, mode: str, cores: int) -> None:
    """Draw what rank logs on the fewest ranks would come to if each core added as much."""
    ranks = ranks_of(measured)
    first = summary(measured.values(mode=mode, variant="rank-logs", ranks=ranks[0], measure="rate").values())
    if first is None:
        return
    rates = [first.median * min(n, cores) / min(ranks[0], cores) for n in ranks]
    axis.plot(
        ranks,
        rates,
        color="#0072B2",
        lw=1,
        ls=(0, (1, 1)),
        label=f"ideal on {cores} cores: rank logs, as fast on each core",
    )


def dress(axis: Any, measured: Rounds, cores: int) -> None:
    """Give logarithmic axes, a grid, and a line where there are more ranks than cores."""
    ranks = ranks_of(measured)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(ranks, labels=[str(n) for n in ranks])
    axis.minorticks_off()
    axis.set_xlabel("ranks")
    axis.grid(True, which="major", color="#dddddd", lw=0.6)
    if ranks[-1] > cores:
        axis.axvline(cores, color="#999999", lw=0.8, ls="--")
        axis.text(
            cores * 1.05,
            0.02,
            "more ranks than cores",
            transform=axis.get_xaxis_transform(),
            fontsize=8,
            color="#555555",
        )
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def overhead_plot(measured: Rounds, path: Path) -> str:
    """Draw by how much programs take longer, each round as a dot, with the interval; return why not, or nothing."""
    from overhead import TITLES, interval, more, variants_of

    pyplot, why = matplotlib_or_why()
    if why:
        return why
    rows = [
        (f"{title}\n{variant}", values, colour)
        for program, title in TITLES.items()
        for variant, colour in zip(variants_of(program), ("#0072B2", "#D55E00"), strict=False)
        if (values := more(measured, program, variant, "wall"))
    ]
    if not rows:
        return "nothing was measured"
    figure, axis = pyplot.subplots(figsize=(8, 0.8 + 0.62 * len(rows)))
    for at, (_, values, colour) in enumerate(rows):
        middle, low, high = (100 * value for value in interval(values))
        axis.plot([100 * value for value in values], [at] * len(values), "|", color=colour, alpha=0.35, markersize=9)
        axis.errorbar([middle], [at], xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=4, lw=2)
    widest = max(abs(100 * value) for _, values, _ in rows for value in interval(values))
    edge = max(1.5 * widest, 3)
    axis.set_xlim(-edge, edge)
    outside = sum(abs(100 * value) > edge for _, values, _ in rows for value in values)
    beyond = f"; rounds beyond the edges: {outside}" if outside else ""
    axis.set_yticks(range(len(rows)), labels=[title for title, _, _ in rows], fontsize=8)
    axis.invert_yaxis()
    axis.axvline(0, color="#555555", lw=0.8)
    axis.axvline(1, color="#555555", lw=0.8, ls=":")
    axis.set_xlabel(
        "wall time more than without recording (%): rounds, median and its interval of 95 %; dotted line: 1 %" + beyond
    )
    axis.grid(True, axis="x", color="#dddddd", lw=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.suptitle(
        f"{measured.about['cpu']}, {measured.about['cores']} cores, load {measured.about['load_before'][0]:.1f}",
        fontsize=10,
    )
    figure.tight_layout()
    save(figure, path)
    pyplot.close(figure)
    return ""

"""The page of figures, ``docs/benchmarks.md``, and those of the README: made of the files of measured rounds alone.

    python -m benchmarks.page [--check]

Reads ``docs/benchmarks/*.parquet`` and writes their tables and pictures anew, then the page, the figures of the README,
and the tables of ``docs/scaling.md``. With ``--check`` nothing is written; the exit code says whether they are what the
files say.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import compaction_tables
import lineage_tables
import nodes
import overhead
import recording_tables
import scaling
from recorders import BATCH, VARIANTS
from rounds import Rounds, read_rounds, summary

from braid_hpc.log.writer import FIRST_TAIL, LATER_TAILS

ROOT = Path(__file__).resolve().parent.parent
FILES = ROOT / "docs" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
SHARED = [name for name in VARIANTS if name not in ("off", "rank-logs")]

INTRODUCTION = """\
# Benchmarks

Each figure on this page was measured by a program of the repository, and stands in a file with all its rounds; the page is made of those files by `python -m benchmarks.page`, and nothing on it is written by hand but the words.
With each table stand the machine, its load, and the command.

**The machine is a small virtual one.**
It has two cores, had little else to do, and its load before and after is with each table; who else used the processor below it cannot be seen.
Ratios within a round are what to look at; absolute times differ from machine to machine, and on the same one from day to day.
Measured is one node: no network, no parallel file system.
"""

REPEAT = """\
## How to repeat it

```console
$ pip install 'braid_hpc[bench]' mpich mpi4py   # or the MPI of your site
$ braid bench scaling --quick                   # a minute: does it run here?
$ braid bench scaling --out results             # with PostgreSQL where it is installed (apt-get install postgresql)
$ braid bench overhead --out results
$ pip install 'braid_hpc[peers]' && braid bench recording --out results   # peers that are not there are not run
$ braid bench compaction --quick                # less than a minute
$ braid bench compaction --out results          # some 20 minutes and 25 GB of disk: up to 1e8 events
$ braid bench compaction --out results -- --most 1e7 --dir /scratch --ranks 2,4
$ braid bench lineage --out results
$ braid bench all --out results
```

Each writes `<name>.md`, `<name>.svg` and `<name>.parquet`: a row for each value of each round, with the machine, the load, versions, and what was not run and why in the file's metadata. `lineage --quick` has one size, and no picture.
A case of `compaction` for which the disk has no room is not begun, and says how much it takes; `--dir` names another disk.
Ctrl-C keeps the rounds that were measured.
In an allocation of your own, `srun -n 256 braid bench write --shared $PWD` measures what the file system of a node takes.
With pyarrow it is `pq.read_table("results/scaling.parquet").schema.metadata[b"braid.machine"]`.
"""

READING = """\
How to read it:

- There are more ranks than cores from {more} ranks on. The same loop with recording off shows what that does; it is in each round, and each table has it as its first row.
- On a busy machine many ranks together get a larger part of the cores than one rank does. That is why the loop with recording off seems to get faster with more ranks, and why lines can lie above the ideal; CPU time is free of it.
- *Core time an event* is wall time times the cores that the ranks have, divided by the events that arrived. If ranks do not get in each other's way it stays the same from one rank to many, however few cores there are. One rank is counted with one core; a server, or the thread that seals, may have had another one beside it.
- The peers are set up to be fast: SQLite does not sync for each transaction, PostgreSQL does not wait for its log, the writer rank puts 10,000 rows into DuckDB at once, and ranks that wait for a server give their core away. A rank sends the writer rank and the queue each event as a message of its own. What each promises when a call has returned is in the last table.
- What a process pays once, such as for its imports, is not in the figures: each job begins with a short case of each variant that is not kept; that of rank logs lasts until each rank has sealed something, as what the thread beside it imports for that is paid once, too.
- A rank stops after {seconds} s in each case, so slow variants have fewer events, and so have all where many ranks share a core: weak is not the same work for each rank then. *Tried* says how many in all rounds, and *not there* how many of them could not be read back afterwards.
- A log seals {tail:,} rows at a time (the first time {first:,}), beside the calls, and brings them to the disk each second. What is left when it is closed stays in its tail, is the kernel's to write, and is sealed when it is merged: the fewer events a rank has, the less of that is in its figures.
"""


PROGRAMS = """\
Segments of the same steps, without recording and with so many events a second on each rank, follow each other in one process, in another order each round; the demonstration is run as a whole.
Each percentage is the median over rounds of what a segment takes more than the one without recording of the same round, with the confidence interval of 95 % for that median.
An interval that reaches from below zero to beyond the target decides nothing: what else the machine did hides it.
CPU time is that of all ranks, and has in it what they spin for each other in MPI.
The log is open in all segments, and what opening and closing it take is in none; the recorder's thread brings to the disk each second what was recorded, and what a segment leaves for it is brought there before the next one begins: that time is in no segment and has a column of its own, its CPU time is counted with the segment's.
"""


def median(measured: Rounds, **wanted: Any) -> float | None:
    """Return the median of the rounds of one measure, if there are any."""
    found = summary(measured.values(**wanted).values())
    return found.median if found else None


def ranks_of(measured: Rounds, mode: str, variant: str) -> list[int]:
    """Return on how many ranks a variant was measured."""
    return sorted(
        {row.ranks for row in measured.rows if (row.mode, row.variant, row.measure) == (mode, variant, "rate")}
    )


def found_by_scaling(measured: Rounds) -> str:
    """Return what the rounds of scaling say of the claim, for it and against it."""
    lines = []
    for mode in scaling.MODES:
        ranks = ranks_of(measured, mode, "rank-logs")
        if not ranks:
            continue
        least = {name: _core(measured, mode, name, ranks) for name in ("off", "rank-logs")}
        said = "; ".join(f"{n}: {value:,.2f}" for n, value in least["rank-logs"].items())
        off = "; ".join(f"{n}: {value:,.2f}" for n, value in least["off"].items())
        growth = summary(_growth(measured, mode, "rank-logs"))
        by_cpu = summary(_growth(measured, mode, "rank-logs", "CPU time"))
        if growth is None or by_cpu is None:
            continue
        lines.append(
            f"- {mode.capitalize()}: rank logs take {said} µs of a core for an event, by ranks, of which the loop with "
            f"recording off takes {off}. From {ranks[0]} to {ranks[-1]} ranks recording alone changes by the factor "
            f"{growth.text()}, and by the factor {by_cpu.text()} in CPU time, which other programs change less. The "
            f"design allows 1.2: by core time that is {_kept(growth.median)}, by CPU time {_kept(by_cpu.median)}. "
            f"{_events(measured, mode, ranks)}"
        )
        most = ranks[-1]
        own = median(measured, mode=mode, variant="rank-logs", ranks=most, measure="rate") or 0.0
        others = {
            name: rate
            for name in SHARED
            if (rate := median(measured, mode=mode, variant=name, ranks=most, measure="rate"))
        }
        if others:
            best = max(others, key=lambda name: others[name])
            lines.append(
                f"- {mode.capitalize()}, {most} ranks: {own:,.0f} events a second arrive in rank logs; the best of what "
                f"ranks share is {VARIANTS[best].title} with {others[best]:,.0f}, the last {min(others.values()):,.0f}."
            )
        late = median(measured, mode=mode, variant="rank-logs", ranks=most, measure="p99.99")
        idle = median(measured, mode=mode, variant="off", ranks=most, measure="p99.99")
        if late is not None and idle is not None:
            lines.append(
                f"- {mode.capitalize()}, {most} ranks: one call in ten thousand takes longer than {late / 1e3:,.1f} ms; "
                f"with recording off, {idle / 1e3:,.2f} ms. The budget, which `braid bench recording` measures on one rank, is 10 ms."
            )
    return "\n".join(lines) + "\n"


def _events(measured: Rounds, mode: str, ranks: list[int]) -> str:
    """Return how many events a rank had, which decides how much of the sealing is in the figures."""
    few, many = (
        (median(measured, mode=mode, variant="rank-logs", ranks=n, measure="tried") or 0.0) / n
        for n in (ranks[0], ranks[-1])
    )
    said = f"A rank has {few:,.0f} events on {ranks[0]} and {many:,.0f} on {ranks[-1]}"
    return said + (", less than it seals at a time." if many < LATER_TAILS[0] else ".")


def _kept(growth: float) -> str:
    return "kept" if growth <= 1.2 else "**not kept here**"


def _core(measured: Rounds, mode: str, variant: str, ranks: list[int]) -> dict[int, float]:
    return {
        n: value
        for n in ranks
        if (value := median(measured, mode=mode, variant=variant, ranks=n, measure="core time")) is not None
    }


def _growth(measured: Rounds, mode: str, variant: str, measure: str = "core time") -> list[float]:
    ranks = ranks_of(measured, mode, variant)
    if len(ranks) < 2:
        return []
    first, last = (scaling.above_off(measured, mode, variant, n, measure=measure) for n in (ranks[0], ranks[-1]))
    return [last[turn] / first[turn] for turn in sorted(first.keys() & last.keys()) if first[turn] > 0]


MERGING = """\
How to read it:

- The logs were recorded by the recorder, as the ranks of one run, and were not in the page cache when they were merged. *Rows* are events of seven fields appended one by one, *batches* the same events given as columns; *calls*, *records* and *activities* make nodes and edges of the graph.
- DuckDB alone puts a table with the same columns into a file, from Arrow tables in memory: it reads no logs, checks no sums, keeps no archive and makes no graph.
- CPU time, memory and bytes are those of all ranks together. With two ranks, one reads and the other commits.
- The text of the rows is the same in each, so stores are smaller than those of a program whose texts differ.
"""


def section(
    folder: Path, name: str, *, title: str, picture: str, parts: Sequence[Callable[[Rounds], str]]
) -> list[str]:
    """Return the section of a benchmark: its picture, and what is made of its rounds; or that it was not run."""
    if not (folder / f"{name}.parquet").exists():
        return [f"## {title}\n", f"Not run: `braid bench {name}`.\n"]
    measured = read_rounds(folder / f"{name}.parquet")
    return [f"## {title}\n", f"![{picture}](benchmarks/{name}.svg)\n", *(part(measured) for part in parts)]


def recording_section(folder: Path) -> list[str]:
    """Return what an event costs, and what outlives a kill."""
    return section(
        folder,
        "recording",
        title="One event: what recording costs, and what outlives a kill",
        picture=(
            "What recording one event costs, for this package and for what else one could take; "
            "hatched where a kill loses events."
        ),
        parts=(recording_tables.found_by_recording, recording_tables.write_table),
    )


def compaction_section(folder: Path) -> list[str]:
    """Return what merges cost."""
    return section(
        folder,
        "compaction",
        title="Compaction: from logs to a store",
        picture="Time and memory of a merge against events and against logs.",
        parts=(
            lambda measured: MERGING,
            lambda measured: f"What it shows here:\n\n{compaction_tables.found_by_compaction(measured)}",
            lambda measured: "What that means for ten thousand nodes: [](scaling.md).\n",
            compaction_tables.write_table,
        ),
    )


def lineage_section(folder: Path) -> list[str]:
    """Return what questions cost."""
    return section(
        folder,
        "lineage",
        title="Lineage: what a question costs",
        picture="Milliseconds of a closure and of an impact, and seconds until they can be asked, against edges.",
        parts=(
            lambda measured: (
                "Stores are generated: a closure has about as many nodes in each, whatever its size. Each engine "
                "answers over the same edges in a process of its own.\n"
            ),
            lambda measured: f"What it shows here:\n\n{lineage_tables.found_by_lineage(measured)}",
            lineage_tables.write_table,
        ),
    )


def measured_peers(folder: Path) -> list[str]:
    """Return what the rounds of merges and of questions show to speak for a peer."""
    lines = []
    for name, better in (
        ("recording", recording_tables.where_peers_are_better),
        ("compaction", compaction_tables.where_others_merge_better),
        ("lineage", lineage_tables.where_others_answer_better),
    ):
        if (folder / f"{name}.parquet").exists():
            lines += better(read_rounds(folder / f"{name}.parquet"))
    return lines


#: By which figures of scaling peers are compared: what each is called, its form, factor and unit. The rate is the core
#: time over again.
COMPARED = (
    ("core time", "an event", ",.2f", 1.0, "µs of a core"),
    ("CPU time", "an event", ",.2f", 1.0, "µs of CPU in the ranks"),
    ("p50", "p50 of a call", ",.3f", 1.0, "µs"),
    ("p99", "p99 of a call", ",.2f", 1.0, "µs"),
    ("p99.99", "p99.99 of a call", ",.1f", 1e-3, "ms"),
)


def where_others_are_better(measured: Rounds | None, further: Sequence[str] = ()) -> str:
    """Return what peers do better: what the rounds show, `further` ones among it, and what follows from what they are."""
    lines = []
    for mode in scaling.MODES if measured else ():
        assert measured is not None
        own = summary(_growth(measured, mode, "rank-logs"))
        for name in SHARED:
            of = {"mode": mode, "variant": name}
            better = []
            for n in ranks_of(measured, mode, name):
                for measure, what, form, factor, unit in COMPARED:
                    theirs = median(measured, **of, ranks=n, measure=measure)
                    ours = median(measured, mode=mode, variant="rank-logs", ranks=n, measure=measure)
                    if theirs is not None and ours is not None and theirs < ours:
                        better.append(
                            f"{n} ranks, {what}: {theirs * factor:{form}} {unit} against {ours * factor:{form}}"
                        )
            grown = summary(_growth(measured, mode, name))
            if own and grown and grown.median < own.median:
                better.append(f"its cost grows by the factor {grown.median:.2f}, that of rank logs by {own.median:.2f}")
            if better:
                lines.append(f"- {mode.capitalize()}, {VARIANTS[name].title}: {'; '.join(better)}.")
    lines += further
    return "\n".join(
        [
            "## Where others are better\n",
            *(["Of the figures above, all that speak for a peer:\n", *lines, ""] if lines else []),
            "And by what they are:\n",
            "- A database answers questions while the job runs. Logs have to be merged first; what that costs stands under [compaction](#compaction-from-logs-to-a-store), and in none of the figures of recording.",
            "- What is in a database on another node outlives the node. A log on the node's own disk does when it has been shipped (`braid ship`).",
            "- With a few events a second it does not matter which of these one takes.",
            "",
        ]
    )


def page(folder: Path) -> str:
    """Return the page."""
    parts = [INTRODUCTION, *recording_section(folder)]
    measured = read_rounds(folder / "scaling.parquet") if (folder / "scaling.parquet").exists() else None
    if measured is not None:
        cores = measured.about["cores"]
        reading = READING.format(
            more=2 * cores, seconds=measured.about["seconds"], first=FIRST_TAIL[0], tail=LATER_TAILS[0]
        )
        picture = "![Events a second and core time an event against ranks, for rank logs and what ranks share.](benchmarks/scaling.svg)\n"
        parts += ["## Many ranks: logs of their own, or what all share\n", picture, reading]
        parts += ["What it shows here:\n", found_by_scaling(measured), scaling.write_table(measured)]
    else:
        parts += ["## Many ranks\n", "Not run: `braid bench scaling`.\n"]
    if (folder / "overhead.parquet").exists():
        programs = read_rounds(folder / "overhead.parquet")
        picture = "![By how much programs take longer, with intervals.](benchmarks/overhead.svg)\n"
        parts += ["## Whole programs, with recording and without\n", picture, PROGRAMS]
        parts += [overhead.write_table(programs)]
        parts += [
            "The target: not distinguishable from zero with 1,000 events a second on each rank, at most 1 % with 10,000.\n",
            overhead.judged(programs),
        ]
    else:
        parts += ["## Whole programs\n", "Not run: `braid bench overhead`.\n"]
    parts += [*compaction_section(folder), *lineage_section(folder)]
    parts += [where_others_are_better(measured, measured_peers(folder)), REPEAT]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def readme_part(folder: Path) -> str:
    """Return what stands between the marks of the README: a picture and three figures."""
    if not (folder / "scaling.parquet").exists():
        return "Not run: `braid bench scaling`.\n"
    measured = read_rounds(folder / "scaling.parquet")
    mode, n = "weak", max(ranks_of(measured, "weak", "rank-logs"))

    def each(names: Sequence[str], measure: str, form: str, factor: float = 1.0) -> list[str]:
        found = [median(measured, mode=mode, variant=name, ranks=n, measure=measure) for name in names]
        return ["(not run)" if value is None else f"{value * factor:{form}}" for value in found]

    kept, gathered = ("rank-logs", "sqlite", "postgresql"), ("sqlite-batch", "postgresql-batch")
    (logs, sqlite, server), (sqlite_batch, server_batch) = each(kept, "rate", ",.0f"), each(gathered, "rate", ",.0f")
    half, late = each(kept, "p50", ",.1f"), each(kept, "p99.99", ",.3g", 1e-3)
    lines = [
        "![Events a second of all ranks together, against ranks: rank logs, and what ranks share.](docs/benchmarks/rate.svg)",
        "",
        f"- On {n} ranks of a machine with {measured.about['cores']} cores, {logs} events a second arrive in rank "
        f"logs, {sqlite} in one SQLite file, {server} in one PostgreSQL server, each event kept when its call returns. "
        f"Where {BATCH} events wait for each other, and up to {BATCH - 1} of them are lost with their rank: "
        f"{sqlite_batch} in SQLite, {server_batch} in PostgreSQL "
        "([all ranks and peers](docs/benchmarks.md#many-ranks-logs-of-their-own-or-what-all-share)).",
        f"- Half of the calls take no longer than {half[0]} µs, {half[1]} µs and {half[2]} µs, and one in ten thousand "
        f"takes longer than {late[0]} ms, {late[1]} ms and {late[2]} ms; "
        "[where others are better](docs/benchmarks.md#where-others-are-better).",
    ]
    if (folder / "overhead.parquet").exists():
        lines.append(overhead.in_one_sentence(read_rounds(folder / "overhead.parquet")))
    return "\n".join(lines) + "\n"


def with_part(text: str, part: str) -> str:
    """Return the README with what stands between its marks replaced."""
    begin, end = "<!-- figures: python -m benchmarks.page -->\n", "<!-- end of figures -->\n"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    return f"{before}{begin}\n{part}\n{end}{after}" if found else text


def main() -> None:
    """Write all, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the page is not what the files say"
    )
    options = parser.parse_args()
    made = {
        PAGE: page(FILES),
        README: with_part(README.read_text(), readme_part(FILES)),
        nodes.PAGE: nodes.page(FILES, nodes.PAGE.read_text()),
    }
    if options.check:
        stale = [path.name for path, should in made.items() if path.read_text() != should]
        sys.exit(f"not what the files say: {', '.join(stale)}; run python -m benchmarks.page" if stale else 0)
    for path, text in made.items():
        path.write_text(text)
    from plots import overhead_plot, rate_plot, scaling_plot
    from recording_plot import recording_plot

    drawings: Sequence[tuple[str, str, Callable[[Rounds, Path], str]]] = (
        ("recording", "recording", recording_plot),
        ("scaling", "scaling", scaling_plot),
        ("scaling", "rate", rate_plot),
        ("overhead", "overhead", overhead_plot),
        ("compaction", "compaction", compaction_tables.draw),
        ("lineage", "lineage", lineage_tables.draw),
    )
    for source, name, draw in drawings:
        if (FILES / f"{source}.parquet").exists() and (
            why := draw(read_rounds(FILES / f"{source}.parquet"), FILES / f"{name}.svg")
        ):
            sys.stderr.write(f"no picture {name}: {why}\n")


if __name__ == "__main__":
    main()

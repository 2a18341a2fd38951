"""What the measured rates mean for a job on very many nodes: bytes, files, operations and time.

    python benchmarks/nodes.py [--nodes 10000] [--ranks-per-node 128] [--events-per-second 1] [--hours 12] ...
    python -m benchmarks.nodes --write

The rates are read from ``compaction.parquet`` and ``scaling.parquet`` (``--figures DIR``: of your own machine, as
``braid bench`` writes them); what your site has can be given option by option, and without it is an assumption that
the table names. ``--write`` puts the tables of the defaults into ``docs/scaling.md``, as ``python -m benchmarks.page``
does. Nothing is measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from compaction_cases import Case, growing_in_events, growing_in_logs
from compaction_tables import cases_of, each_log, values_of
from nodes_model import SOURCES, Answer, Cost, Job, Rates, Site, answer, behind, most_events_a_second, sensitivity
from nodes_model import straight as on_the_parallel_file_system
from recorders import VARIANTS
from rounds import Rounds, read_rounds, summary, table

ROOT = Path(__file__).resolve().parent.parent
FILES = ROOT / "docs" / "benchmarks"
PAGE = ROOT / "docs" / "scaling.md"
BEGIN, END = "<!-- tables: python -m benchmarks.page -->\n", "<!-- end of tables -->\n"
#: Events a second of a rank that the page compares: one in a hundred seconds, one, a hundred, a thousand.
COMPARED = (0.01, 1.0, 100.0, 1_000.0)


class MissingFiguresError(Exception):
    """A file of figures is not there, or does not say what is needed."""


# ------------------------------------------------------------------------------------------------ what was measured


def rates_of(folder: Path) -> Rates:
    """Return the rates that the files of figures in a folder say."""
    merges, records = (_read(folder, name) for name in ("compaction", "scaling"))
    cases = [case for case in cases_of(merges) if case.kind == "rows"]
    ranks = sorted({row.ranks for row in merges.rows if row.variant == "shared"})
    if not ranks:
        raise MissingFiguresError(f"no merge by ranks was measured in {folder / 'compaction.parquet'}")
    shared = "shared", ranks[-1]

    def cost(measure: str, way: tuple[str, int], *, scale: float = 1.0, anyhow: bool = True) -> Cost:
        known = {
            case: scale * statistics.median(values)
            for case in cases
            if (values := values_of(merges, case, (way[0], way[1] or case.logs), measure))
        }
        return fitted(known, anyhow=anyhow)

    logs = cost("bytes", ("logs", 0), scale=1e6, anyhow=False)
    by_events, by_logs = growing_in_events(cases), growing_in_logs(cases)
    peaks = [value for case in by_events for value in values_of(merges, case, shared, "peak of rank 0")]
    further = each_log(merges, by_logs, shared, "peak of rank 0")
    if not peaks or further is None:
        raise MissingFiguresError("no merges of rows in several numbers of logs were measured")
    files = [value / case.logs for case in cases for value in values_of(merges, case, ("logs", case.logs), "files")]
    few, many = _recording(records)
    return Rates(
        log_bytes=logs,
        files=max(files),
        first=cost("cpu of rank 0", shared),
        all=cost("cpu", shared),
        # It is bounded however many events there are (the benchmark shows that it is), but not however many logs.
        memory=Cost(anyhow=max(peaks), log=max(0.0, further)),
        store_bytes=cost("store", ("one-thread", 1), scale=1e6),
        # Here they are gone before they come to the disk, elsewhere they may not be: at most what they are in the logs.
        parts_bytes=Cost(event=logs.event),
        record=(few, many),
        shared=_shared(records),
        fitted=_largest(merges, cases, shared),
    )


def _largest(merges: Rounds, cases: Sequence[Case], way: tuple[str, int]) -> tuple[int, int]:
    known = [case for case in cases if values_of(merges, case, way, "cpu of rank 0")]
    return max(case.events for case in known), max(case.logs for case in known)


def _read(folder: Path, name: str) -> Rounds:
    path = folder / f"{name}.parquet"
    if not path.exists():
        raise MissingFiguresError(f"{path} is not there: braid bench {name} writes it")
    return read_rounds(path)


def fitted(known: dict[Case, float], *, anyhow: bool = True) -> Cost:
    """Return what something costs anyhow, for an event and for a log: of what it cost in some cases.

    By the least squares of the relative errors, none of the three below zero.
    """
    import numpy as np

    if not known:
        raise MissingFiguresError("the merges of rows that the model is made of were not measured")
    columns = ["anyhow", "event", "log"] if anyhow else ["event", "log"]
    of = {"anyhow": lambda case: 1.0, "event": lambda case: case.events, "log": lambda case: case.logs}
    cost = np.array(list(known.values()))
    while True:
        wanted = np.array([[of[name](case) for name in columns] for case in known]) / cost[:, None]
        # Of numbers that are near to one: events are millions, and what one costs is a millionth.
        size = np.abs(wanted).max(axis=0)
        found = np.linalg.lstsq(wanted / size, np.ones(len(known)), rcond=None)[0] / size
        if not (below := [name for name, value in zip(columns, found, strict=True) if value < 0]):
            return Cost(**{name: float(value) for name, value in zip(columns, found, strict=True)})
        columns = [name for name in columns if name not in below]


def _recording(records: Rounds) -> tuple[float, float]:
    """Return the microseconds of CPU time that an event costs a rank above the same loop, on few ranks and on many."""
    found = {}
    for ranks in sorted({row.ranks for row in records.rows}):
        own, off = (
            records.values(mode="weak", variant=name, ranks=ranks, measure="CPU time") for name in ("rank-logs", "off")
        )
        if both := [own[turn] - off[turn] for turn in own.keys() & off.keys()]:
            found[ranks] = statistics.median(both)
    if not found:
        raise MissingFiguresError("no rank logs were measured in scaling.parquet")
    return found[min(found)], max(found.values())


def _shared(records: Rounds) -> dict[str, float]:
    """Return the best rate of each thing that all ranks share, over all numbers of ranks."""
    best: dict[str, float] = {}
    for row in records.rows:
        if row.measure == "rate" and row.variant not in ("off", "rank-logs"):
            of = {"mode": row.mode, "variant": row.variant, "ranks": row.ranks, "measure": "rate"}
            found = summary(records.values(**of).values())
            assert found is not None
            best[row.variant] = max(best.get(row.variant, 0.0), found.median)
    return {VARIANTS[name].title: rate for name, rate in best.items()}


# ------------------------------------------------------------------------------------------------------ the tables


def size(value: float) -> str:
    """Return bytes as people read them."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:,.1f} {unit}"
    return f"{value:,.0f} bytes"


def long(seconds: float) -> str:
    """Return a time as people read it."""
    for unit, factor in (("years", 365 * 86_400), ("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def count(value: float) -> str:
    """Return a number as people read it."""
    for unit, factor in (("e12", 1e12), ("e9", 1e9)):
        if value >= factor:
            return f"{value / factor:,.1f}{unit}"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.4g}"


def option_of(name: str) -> str:
    """Return the option that an input is given with, as code."""
    return f"`--{name.replace('_', '-')}`"


Line = tuple[str, Callable[[Job, Answer], str]]

LINES: Sequence[Line] = (
    ("events of all ranks", lambda job, found: count(job.events)),
    ("**on a node**: cores that recording takes", lambda job, found: f"{found.node_cores:.4f}"),
    ("logs on its disk", lambda job, found: size(found.node_bytes)),
    ("files there", lambda job, found: count(found.node_files)),
    ("**shipped**: bytes of all bundles", lambda job, found: size(found.shipped_bytes)),
    ("files that the parallel file system gets", lambda job, found: count(found.shipped_files)),
    ("after the end, until all is shipped", lambda job, found: long(found.ship_seconds)),
    ("**merged**: bundles read and unpacked", lambda job, found: long(found.read_seconds)),
    ("what all ranks but the first do", lambda job, found: long(found.convert_seconds)),
    ("what the first does alone: the commit", lambda job, found: long(found.commit_seconds)),
    ("what it reads of the others and writes", lambda job, found: long(found.move_seconds)),
    ("the whole merge", lambda job, found: long(found.merge_seconds)),
    ("the whole merge, as a part of the job's time", lambda job, found: f"{found.merge_seconds / job.seconds:.2f}"),
    ("memory of the rank that commits", lambda job, found: size(found.memory * 2**20)),
    ("the store, or all of them", lambda job, found: size(found.store_bytes)),
)


def tables(job: Job, site: Site, rates: Rates, *, compared: Sequence[float] = COMPARED) -> str:
    """Return all tables."""
    jobs = [replace(job, events_per_second=each) for each in sorted({*compared, job.events_per_second})]
    return "\n".join(
        [
            _inputs(job, site, rates),
            _whole(jobs, site, rates),
            _limits(job, site, rates),
            _others(jobs, site, rates),
            _several(job, site, rates),
            _shipping(job, site, rates),
            _decisive(job, site, rates),
        ]
    )


def _inputs(job: Job, site: Site, rates: Rates) -> str:
    rows = [
        [option_of(name), f"{getattr(site, name):,g}", SOURCES[name]] for name in (each.name for each in fields(Site))
    ]
    first, every = rates.first, rates.all
    rows += [
        ["an event in a log", f"{rates.log_bytes.event:,.0f} bytes", "measured: compaction"],
        ["a log beside its events: mostly its tail", size(rates.log_bytes.log), "measured: compaction"],
        ["files of a log", f"{rates.files:.1f}", "measured: compaction, the case with most"],
        [
            "an event, recorded",
            f"{rates.record[0]:.2f} to {rates.record[1]:.2f} µs of CPU",
            "measured: scaling, weak, on few ranks and the most of any number of them",
        ],
        ["an event, committed by the first rank", f"{1e6 * first.event:.3f} µs of CPU", "measured: compaction"],
        ["a log, committed by the first rank", f"{1e3 * first.log:.3f} ms of CPU", "measured: compaction"],
        ["an event, by all other ranks", f"{1e6 * (every.event - first.event):.3f} µs of CPU", "measured: compaction"],
        ["a log, by all other ranks", f"{1e3 * (every.log - first.log):.3f} ms of CPU", "measured: compaction"],
        ["a log in the memory of the first rank", size(rates.memory.log * 2**20), "measured: compaction"],
        [
            "an event in the store",
            f"{rates.store_bytes.event:,.0f} bytes",
            "measured: compaction; its rows are alike and compress well",
        ],
        ["an event between the ranks of a merge", f"{rates.parts_bytes.event:,.0f} bytes", "as in a log, at most"],
    ]
    events, logs = rates.fitted
    least = (
        f"Costs of a merge are fitted to merges of up to {events:,} events and of up to {logs:,} logs. One of all logs "
        f"of this job has {count(job.events / events)} times as many events and {count(job.ranks / logs)} times as "
        "many logs.\n\n"
        if events and logs
        else ""
    )
    header = least + (
        f"{job.nodes:,} nodes of {job.ranks_per_node} ranks, {job.ranks:,} ranks in all, for {job.hours:g} hours. "
        "What goes in:\n\n"
    )
    return header + table(["input", "value", "from"], rows).replace("--:", "---")


def _whole(jobs: Sequence[Job], site: Site, rates: Rates) -> str:
    found = [answer(job, site, rates) for job in jobs]
    rows = [[title, *(of(job, each) for job, each in zip(jobs, found, strict=True))] for title, of in LINES]
    header = ["events a second of a rank", *(f"{job.events_per_second:g}" for job in jobs)]
    stores = f"into {site.stores} stores" if site.stores > 1 else "into one store"
    shipped = (
        f"shipped every {jobs[0].ship_every:g} s" if jobs[0].ship_every else "shipped once, when the job has ended"
    )
    return f"What comes out, {shipped}, merged by {site.merging_ranks} ranks {stores}:\n\n" + table(header, rows)


def _limits(job: Job, site: Site, rates: Rates) -> str:
    """Return at what rate merges fall behind, for some numbers of stores, and what a day of events takes."""
    rows = []
    for stores in sorted({site.stores, 1, 10, 100, 1_000}):
        with_them = replace(site, stores=stores)
        most = most_events_a_second(job, with_them, rates)
        day = answer(replace(job, hours=24.0), with_them, rates)
        rows.append([f"{stores:,}", f"{most:,.3g}", long(day.merge_seconds), size(day.memory * 2**20)])
    header = [
        "stores",
        "events a second of a rank that can be kept up with",
        f"merge of a day with {job.events_per_second:g} a second",
        "memory of each that commits",
    ]
    said = (
        "One rank commits, so a store takes what one core takes. Logs that come faster than this are merged later than "
        "they were written, and ever later:\n\n"
    )
    return said + table(header, rows)


def _others(jobs: Sequence[Job], site: Site, rates: Rates) -> str:
    rows = []
    plain = [on_the_parallel_file_system(job, site, rates) for job in jobs]
    rows.append(["the same logs straight on the parallel file system: files", *(count(each.files) for each in plain)])
    rows.append(["operations of metadata", *(count(each.operations) for each in plain)])
    rows.append(["seconds of all its metadata servers", *(long(each.begin_seconds) for each in plain)])
    rows.append(["small writes, times what it takes", *(f"{each.writes:,.3g}" for each in plain)])
    bundles = ["node bundles: operations of metadata", *(count(job.nodes) for job in jobs)]
    rows.append(bundles)
    for name, rate in sorted(rates.shared.items(), key=lambda item: -item[1]):
        offered = [behind(job, rate) for job in jobs]
        rows.append(
            [f"{name} ({rate:,.0f} events a second): times what it takes", *(f"{each:,.3g}" for each, _ in offered)]
        )
        rows.append(["until it has taken all", *(long(seconds) for _, seconds in offered)])
    header = ["events a second of a rank", *(f"{job.events_per_second:g}" for job in jobs)]
    said = (
        "Other designs, by the same assumptions and by the best rate that one shared database reached at any number of "
        "ranks (its node had two cores and no network; a larger one takes more):\n\n"
    )
    return said + table(header, rows)


def _several(job: Job, site: Site, rates: Rates) -> str:
    rows = []
    for stores in (1, 10, 100, 1_000, job.nodes):
        found = answer(job, replace(site, stores=stores), rates)
        rows.append(
            [
                f"{stores:,}",
                count(job.ranks / stores),
                long(found.merge_seconds),
                size(found.memory * 2**20),
                size(found.store_bytes / stores),
            ]
        )
    header = ["stores", "logs in each", "merge, all at once", "memory of each", "each store"]
    return f"Several stores, each of some nodes, with {job.events_per_second:g} events a second of a rank:\n\n" + table(
        header, rows
    )


def _shipping(job: Job, site: Site, rates: Rates) -> str:
    rows = []
    for every in (0.0, 3600.0, 600.0, 60.0):
        found = answer(replace(job, ship_every=every), site, rates)
        lost = long(every) if every else "all of the job, on a node that dies"
        rows.append(
            [f"{every:g} s" if every else "once, at the end", size(found.shipped_bytes), long(found.ship_seconds), lost]
        )
    header = ["shipped every", "bytes of all bundles", "after the end", "a dead node takes with it, of each rank"]
    return (
        f"How often logs are shipped, with {job.events_per_second:g} events a second of a rank. A round brings anew "
        "the pieces of a tail that changed, and an event first in its tail and later in its batch:\n\n"
        + table(header, rows)
    )


def _decisive(job: Job, site: Site, rates: Rates) -> str:
    found = sensitivity(job, site, rates)
    rows = [
        [option_of(name) if name.isidentifier() else name, f"{half:.2f}", f"{twice:.2f}"]
        for name, (half, twice) in sorted(found.items(), key=lambda item: -max(abs(each - 1) for each in item[1]))
    ]
    header = ["input", "half of it", "twice of it"]
    return (
        f"Which input decides: by what factor the time from the end of the job until the store can be asked changes, "
        f"with {job.events_per_second:g} events a second of a rank:\n\n" + table(header, rows)
    )


def with_tables(text: str, made: str) -> str:
    """Return the page with what stands between its marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise MissingFiguresError(f"{PAGE} has no marks for its tables")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def page(folder: Path, text: str) -> str:
    """Return docs/scaling.md as the files in a folder say it; where one is missing it says which."""
    try:
        made = tables(Job(), Site(), rates_of(folder))
    except MissingFiguresError as error:
        made = f"Not worked out: {str(error).replace(f'{folder}/', '')}.\n"
    return with_tables(text, made)


# ------------------------------------------------------------------------------------------------- from the outside


def main() -> None:
    """Print the tables, or write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, default=FILES, help="where compaction.parquet and scaling.parquet are")
    parser.add_argument("--write", action="store_true", help="put the tables of the defaults into docs/scaling.md")
    for kind in (Job, Site):
        for each in fields(kind):
            option = f"--{each.name.replace('_', '-')}"
            default: Any = each.default
            parser.add_argument(option, type=type(default), default=default, help=SOURCES.get(each.name))
    options = parser.parse_args()
    given: list[Any] = [
        kind(**{each.name: getattr(options, each.name) for each in fields(kind)}) for kind in (Job, Site)
    ]
    if options.write:
        PAGE.write_text(page(options.figures, PAGE.read_text()))
        return
    try:
        print(tables(*given, rates_of(options.figures)))
    except MissingFiguresError as error:
        sys.exit(f"nodes: {error}")


if __name__ == "__main__":
    main()

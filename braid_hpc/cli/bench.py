"""``braid bench``: what recording costs here."""

from __future__ import annotations

from pathlib import Path

import click

from braid_hpc.bench.meeting import Meeting, name_of
from braid_hpc.bench.programs import PROGRAMS, run_program
from braid_hpc.bench.totals import COLUMNS, totals
from braid_hpc.bench.writing import measure_writing
from braid_hpc.cli.output import Command, Group, emit, format_option, messages
from braid_hpc.log.places import default_log_dir
from braid_hpc.run.launcher import find_launch

__all__ = ["bench"]


@click.group(cls=Group, examples=["braid bench write", "braid bench scaling --quick"])
def bench() -> None:
    """Measure what recording costs."""


@bench.command(
    cls=Command,
    examples=[
        "braid bench write",
        "srun -n 256 braid bench write --log-dir /tmp --shared $PWD",
        "mpirun -n 4 braid bench write --seconds 20 --format json",
    ],
)
@click.option(
    "--log-dir",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Where the logs are written; without it where those of a job would be.",
)
@click.option(
    "--shared",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="A directory that all nodes see: the ranks begin together, and rank 0 prints for all of them.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="How long.")
@click.option("--ranks/--no-ranks", default=None, help="Whether there is a row for each rank; up to 16 there is.")
@click.option(
    "--patience", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds to wait for others."
)
@format_option
def write(
    log_dir: Path | None, shared: Path | None, seconds: float, ranks: bool | None, patience: float, form: str
) -> None:
    """Record events of seven fields on each rank as fast as it goes, and say how fast that was.

    Under any launcher, in an allocation of one's own; nothing but the ranks' own logs is written, and they are removed.
    For half of the time only the rate is measured, for the other half each call. Times are microseconds, MB are 10^6
    bytes of the files of the logs. Without --shared each rank prints its own row.
    """
    launch = find_launch()
    rank, size = launch.rank or 0, launch.size or 1
    meeting = None
    if shared is not None:
        meeting = Meeting(shared, name_of(launch), rank=rank, size=size, patience=patience)

    def ready() -> None:
        if meeting is not None:
            meeting.say("ready", {})
            meeting.hear("ready")

    measured = measure_writing(log_dir or default_log_dir(), seconds=seconds, ready=ready)
    if meeting is None:
        rows = totals([measured])
        emit(COLUMNS, [(f"rank {rank}", *rows[0][1:])], form)
        return
    meeting.say("done", measured)
    if rank:
        return
    every = meeting.hear("done")
    emit(COLUMNS, totals(every, ranks=size <= 16 if ranks is None else ranks), form)
    messages.print_as_is(f"what each rank measured: {meeting.end()}")


def _add(name: str, what: str) -> None:
    """Add the command that runs a program, or all of them."""

    @click.option("--quick", is_flag=True, help="Some seconds or a minute: noisy.")
    @click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("benchmarks/results"),
        show_default=True,
        help="Where the figures are written.",
    )
    @click.argument("further", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def run(context: click.Context, quick: bool, out: Path, further: tuple[str, ...]) -> None:
        arguments = [*(["--quick"] if quick else []), "--out", str(out), *further]
        names = list(PROGRAMS) if name == "all" else [name]
        codes: dict[str, int] = {}
        for each in names:
            try:
                codes[each] = run_program(each, arguments)
            except KeyboardInterrupt:
                codes[each] = 130
                break
        for each in names[len(codes) :]:
            messages.print_as_is(f"braid: {each} was not run: interrupted")
        for each, code in codes.items():
            if code:
                messages.print_as_is(f"braid: {each} ended with code {code}; what it had measured is in {out}")
        context.exit(max(codes.values()))

    examples = [f"braid bench {name} --quick", f"braid bench {name} --out results"]
    if name != "all":
        examples.append(f"braid bench {name} -- --help")
    run.__doc__ = f"{what}\n\nWhat stands after -- is for the program itself."
    bench.command(name, cls=Command, examples=examples)(run)


for _name, _what in PROGRAMS.items():
    _add(_name, f"Measure {_what}.")
_add("all", "Run all programs, one after another; one that fails does not stop the others.")

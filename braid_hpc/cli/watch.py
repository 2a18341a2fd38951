"""``braid watch``: how far the ranks of a job are while it runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from braid_hpc.cli.output import Command, emit, format_option, messages
from braid_hpc.cli.watch_look import Look, Seen
from braid_hpc.cli.watch_screen import cell, clock, columns_of, screen, summary
from braid_hpc.cli.watching import Watcher
from braid_hpc.vocabulary.texts import visible
from braid_hpc.vocabulary.times import shown_time

__all__ = ["watch"]

_COLUMNS = (
    *("time", "part", "run", "rank", "size", "node", "writer", "job", "state", "events", "rate", "bytes", "last"),
    *("quiet", "lost", "shipped"),
)

#: Seconds between two looks.
_EVERY = 2.0


@click.command(
    cls=Command,
    examples=["braid watch /tmp/logs", "braid watch jobs/fit-20261122-101500-1a2b", "braid watch logs --once"],
)
@click.argument("logs", type=click.Path(path_type=Path), metavar="LOGS|JOBDIR")
@click.option("--once", is_flag=True, help="Look once; exit code 1 if something is not as it should be.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1, max=86_400),
    default=_EVERY,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two looks.",
)
@click.option(
    "--silent",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="An open rank of which nothing came for so long is silent.",
)
@format_option
@click.pass_context
def watch(context: click.Context, logs: Path, once: bool, every: float, silent: float, form: str) -> None:
    """Show how far the ranks are while a job runs: events, their rate, bytes, the last event.

    LOGS is a log directory whose files can be seen from here. JOBDIR is the directory of a batch job, or one that nodes
    ship to: the status files there tell, which `braid ship --status` writes. Ranks that are silent, ranks of which
    there is no log, and nodes that tell nothing any more are named.

    Nothing is written or locked, and no rank waits. Without a terminal each look is a line. Ctrl-C ends it, and so
    does the end of a batch job.
    """
    watcher = Watcher(logs, silent=silent)
    if once or form in ("json", "csv"):
        look = watcher.look()
        _print(look, form)
        context.exit(1 if look.notes else 0)
    try:
        if form == "table" and sys.stdout.isatty():
            _watch_screen(watcher, every)
        else:
            _watch_lines(watcher, every, form)
    except KeyboardInterrupt:
        return


def _print(look: Look, form: str) -> None:
    """Print one look: its ranks to the standard output, and what is to be said of it to the error output."""
    if form == "table":
        _lines(look, None)
        rows = [[cell(each, name) for name in columns_of(look.seen)] for each in look.seen]
        emit(columns_of(look.seen), rows, form, nothing="")
        return
    emit(_COLUMNS, [_row(look, each) for each in look.seen], form)
    for text in (*look.told, *look.notes):
        messages.print_as_is(text)


def _row(look: Look, each: Seen) -> list[object]:
    given: dict[str, Any] = {name: getattr(each, name, None) for name in _COLUMNS}
    given |= {name: None if given[name] is None else round(given[name], 3) for name in ("rate", "quiet")}
    given |= {"time": shown_time(look.time), "last": None if each.last is None else shown_time(each.last)}
    return list(given.values())


# ---------------------------------------------------------------------- lines


def _watch_lines(watcher: Watcher, every: float, form: str) -> None:
    said: list[str] | None = None
    while True:
        began = time.monotonic()
        look = watcher.look()
        if form == "ndjson":
            _print(look, form)
        else:
            said = _lines(look, said)
        sys.stdout.flush()
        if look.over:
            return
        time.sleep(max(0.0, began + every - time.monotonic()))


def _lines(look: Look, said: list[str] | None) -> list[str]:
    """Print a look as a line, and a line more for whatever was not said in the one before."""
    click.echo(f"{clock(look.time)}  {summary(look)}")
    texts = [*look.told, *look.notes]
    for text in texts:
        if said is None or text not in said:
            click.echo(f"  {visible(text)}")
    return texts


# ---------------------------------------------------------------------- one screen


def _watch_screen(watcher: Watcher, every: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            began = time.monotonic()
            look = watcher.look()
            live.update(screen(look, watcher.place, height=console.height, width=console.width), refresh=True)
            if look.over:
                return
            time.sleep(max(0.0, began + every - time.monotonic()))

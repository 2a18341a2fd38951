"""``braid campaign status --watch``: the files of a campaign by state, again for each snapshot of the store."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from braid_hpc.campaigns.campaign import STATES
from braid_hpc.cli.output import emit
from braid_hpc.vocabulary.texts import visible
from braid_hpc.vocabulary.times import shown_time

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from braid_hpc.store.store import Store

__all__ = ["EVERY", "TABLE", "Counted", "bar", "percent", "screen", "watch_status"]

#: Seconds between two looks whether there is a new snapshot.
EVERY = 2.0

#: What the table of a group is called among its columns, of which none begins so.
TABLE = "_table"

#: Characters of a bar.
_WIDE = 20

_STYLES = {"missing": "yellow", "corrupt": "bold red", "growing": "cyan", "stale": "magenta", "blocked": "dim"}


@dataclass(frozen=True, slots=True)
class Counted:
    """The groups of files at a snapshot.

    Attributes
    ----------
    title : str
        Of which store and snapshot.
    names : list of str
        What groups have in common: :data:`TABLE`, the name of the table, and columns.
    rows : list of dict
        Of each group what it has in common, a count for each of :data:`~braid_hpc.campaigns.campaign.STATES`, and
        ``done``, the share that is not to be done.
    """

    title: str
    names: list[str]
    rows: list[dict[str, Any]]

    @property
    def headings(self) -> list[str]:
        """What people call the names."""
        return ["table", *self.names[1:]]

    @property
    def total(self) -> tuple[int, int]:
        """How many files there are, and how many of them are not to be done."""
        files = sum(row["total"] for row in self.rows)
        return files, files - sum(row["to_do"] for row in self.rows)


def percent(share: float) -> str:
    """Return a share as people read it.

    Parameters
    ----------
    share : float
        From 0 to 1.

    Returns
    -------
    str
        Whoever reads 100 % may rely on it.
    """
    return "100 %" if share == 1 else f"{min(99.9, 100 * share):.1f} %"


def bar(share: float, width: int) -> tuple[str, str]:
    """Return both parts of a bar.

    Parameters
    ----------
    share : float
        From 0 to 1.
    width : int
        Characters.

    Returns
    -------
    tuple of (str, str)
        What is full is so for as many characters as are full altogether.
    """
    filled = int(share * width)
    return "█" * filled, "░" * (width - filled)


def watch_status(store: Store, count: Callable[[], Counted], *, every: float, form: str) -> None:
    """Show the groups, and again whenever the store has a new snapshot, until somebody ends it.

    Parameters
    ----------
    store : Store
        Moves on to newer snapshots.
    count : callable
        Asks it for the groups.
    every : float
        Seconds between two looks.
    form : str
        ``table``, ``json``, ``ndjson`` or ``csv``.
    """
    if form == "table" and sys.stdout.isatty():
        _watch_screen(store, count, every)
    else:
        _watch_lines(store, count, every, form)


def _wait(store: Store, every: float) -> None:
    """Return when there is a new snapshot; nothing is opened, and no file but the store's own is asked for."""
    while True:
        time.sleep(every)
        if store._files.snapshots()[-1:] not in ([], [store.snapshot]):
            store.refresh()
            return


def _watch_lines(store: Store, count: Callable[[], Counted], every: float, form: str) -> None:
    while True:
        counted = count()
        if form == "table":
            total, done = counted.total
            states = ", ".join(f"{state} {number}" for state in STATES[1:] if (number := _sum(counted, state)))
            shown = percent(done / total if total else 1)
            click.echo(f"{shown_time(time.time_ns())[:19]}Z  {counted.title}: {shown} of {total} files; {states}")
        else:
            names = [*counted.names, *STATES, "done"]
            emit(
                counted.headings + names[len(counted.names) :],
                [list(map(row.get, names)) for row in counted.rows],
                form,
            )
        sys.stdout.flush()
        _wait(store, every)


def _sum(counted: Counted, state: str) -> int:
    return sum(row[state] for row in counted.rows)


def _watch_screen(store: Store, count: Callable[[], Counted], every: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            counted = count()
            live.update(screen(counted, height=console.height, width=console.width), refresh=True)
            _wait(store, every)


def screen(counted: Counted, *, height: int, width: int) -> RenderableType:
    """Return the groups as one screen.

    Parameters
    ----------
    counted : Counted
        The groups.
    height, width : int
        Of the terminal, in characters.

    Returns
    -------
    rich.console.RenderableType
        At most so many lines. Where not all groups have room, those are left out of which most is done.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    total, done = counted.total
    share = done / total if total else 1.0
    # Below them an empty line and the head of the table; Live leaves the cursor on a line of its own.
    room = max(1, height - 5)
    chosen = counted.rows
    if len(chosen) > room:
        worst = sorted(range(len(chosen)), key=lambda at: chosen[at]["done"])[: max(1, room - 1)]
        chosen = [chosen[at] for at in sorted(worst)]
    states = [state for state in STATES if state == "total" or _sum(counted, state)]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in counted.headings:
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for state in states:
        table.add_column(state.replace("_", " "), justify="right", no_wrap=True)
    table.add_column("done", no_wrap=True)
    for row in chosen:
        texts = [Text("" if row.get(name) is None else visible(str(row[name]))) for name in counted.names]
        for state in states:
            style = _STYLES.get(state, "") if row[state] else "dim"
            texts.append(Text(f"{row[state]:,}", style=style))
        table.add_row(*texts, _shown(row["done"], _WIDE))
    parts: list[RenderableType] = [
        Text(visible(counted.title), style="bold", no_wrap=True, overflow="ellipsis"),
        Text.assemble(
            _shown(share, max(10, min(50, width - 40))), f" of {total:,} files", no_wrap=True, overflow="ellipsis"
        ),
        Text(""),
        table,
    ]
    if rest := len(counted.rows) - len(chosen):
        parts.append(Text(f"and {rest:,} more groups, of which more is done", style="dim"))
    return Group(*parts)


def _shown(share: float, width: int) -> Text:
    from rich.text import Text

    full, empty = bar(share, width)
    return Text.assemble((full, "green"), (empty, "red"), f" {percent(share)}")

"""What ``braid watch`` shows of a look: a summary, a screen, the cells of a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from braid_hpc.cli.watch_look import Look, Seen, counted
from braid_hpc.vocabulary.texts import visible
from braid_hpc.vocabulary.times import shown_time

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["cell", "clock", "columns_of", "screen", "summary"]

_STYLES = {"open": "green", "silent": "bold yellow", "absent": "bold red", "closed": "dim", "ended": "dim"}

#: Those that somebody should look at stand first where not all can be shown.
_URGENT = ("absent", "silent", "open", "ended", "closed")

#: Columns of numbers.
_NUMBERS = ("rank", "events", "rate", "bytes", "last event", "lost")


def screen(look: Look, place: Path, *, height: int, width: int) -> RenderableType:
    """Return a look as one screen.

    Parameters
    ----------
    look : Look
        What was seen.
    place : Path
        Where.
    height, width : int
        Of the terminal, in characters.

    Returns
    -------
    rich.console.RenderableType
        At most so many lines.
    """
    from rich.console import Group
    from rich.text import Text

    notes = _notes(look, max(1, height // 3))
    parts: list[RenderableType] = [
        Text.assemble((visible(str(place)), "bold"), f"  {clock(look.time)}", no_wrap=True, overflow="ellipsis"),
        Text(summary(look), no_wrap=True, overflow="ellipsis"),
        *notes,
    ]
    # Below them an empty line and the head of the table; Live leaves the cursor on a line of its own.
    room = max(1, height - len(parts) - 3)
    if look.seen:
        chosen = look.seen if len(look.seen) <= room else _urgent(look.seen, max(1, room - 1))
        parts += [Text(""), _table(columns_of(look.seen), chosen)]
        if rest := len(look.seen) - len(chosen):
            parts.append(Text(f"and {rest:,} more ranks", style="dim"))
    return Group(*parts)


def _notes(look: Look, most: int) -> list[Text]:
    """Return what is to be said, in so many lines."""
    from rich.text import Text

    texts = [(text, "yellow") for text in look.notes] + [(text, "dim") for text in look.told]
    if len(texts) > most:
        texts[most - 1 :] = [(f"and {len(texts) - most + 1} more to be said: --once", "yellow")]
    return [Text(visible(text), style=style, no_wrap=True, overflow="ellipsis") for text, style in texts]


def _urgent(seen: list[Seen], room: int) -> list[Seen]:
    """Return those that somebody should look at first, in their order."""
    order = sorted(range(len(seen)), key=lambda index: _URGENT.index(seen[index].state))[:room]
    return [seen[index] for index in sorted(order)]


def _table(names: list[str], seen: list[Seen]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True, overflow="ellipsis")
    for each in seen:
        style = _STYLES.get(each.state, "")
        whole = "" if each.state == "open" else style
        table.add_row(*(Text(cell(each, name), style=style if name == "state" else whole) for name in names))
    return table


def summary(look: Look) -> str:
    """Return all ranks in one line.

    Parameters
    ----------
    look : Look
        What was seen.

    Returns
    -------
    str
        For people.
    """
    if not look.seen:
        return "no ranks yet"
    parts = [counted(look.seen), f"{sum(each.events for each in look.seen):,} events"]
    if look.rate is not None:
        parts.append(f"{look.rate:,.0f}/s")
    parts.append(_size(sum(each.bytes for each in look.seen)))
    if any(each.shipped is not None for each in look.seen):
        parts.append(f"{sum(bool(each.shipped) for each in look.seen)} arrived")
    return ", ".join(parts)


def columns_of(seen: list[Seen]) -> list[str]:
    """Return the columns that tell something.

    Parameters
    ----------
    seen : list of Seen
        The ranks.

    Returns
    -------
    list of str
        Names for :func:`cell`.
    """
    names = ["rank", "node", "state", "events", "rate", "bytes", "last event"]
    if len({each.part for each in seen}) > 1:
        names.insert(0, "part")
    if len({(each.part, each.run) for each in seen}) > len({each.part for each in seen}):
        names.insert(0, "run")
    if len({each.job for each in seen}) > 1:
        names.insert(0, "job")
    if any(each.rank is None for each in seen) or len({(each.part, each.run, each.rank) for each in seen}) < len(seen):
        names.insert(names.index("rank") + 1, "writer")
    if any(each.lost for each in seen):
        names.append("lost")
    if any(each.shipped is not None for each in seen):
        names.append("arrived")
    return names


def cell(each: Seen, name: str) -> str:
    """Return a value as people read it.

    Parameters
    ----------
    each : Seen
        A rank.
    name : str
        From :func:`columns_of`.

    Returns
    -------
    str
        Without control characters.
    """
    if each.state == "absent" and name not in ("rank", "state", "part", "run", "job"):
        return ""
    match name:
        case "rank":
            return "" if each.rank is None else str(each.rank)
        case "events":
            return f"{each.events:,}"
        case "rate":
            return "" if each.rate is None else f"{each.rate:,.0f}/s"
        case "bytes":
            return _size(each.bytes)
        case "last event":
            return "" if each.quiet is None else _ago(each.quiet)
        case "lost":
            return f"{each.lost:,}" if each.lost else ""
        case "arrived":
            return "yes" if each.shipped else ""
        case "writer" | "run":
            return visible(str(getattr(each, name) or ""))[:12]
        case _:
            return visible(str(getattr(each, name) or ""))


def clock(moment: int) -> str:
    """Return a time to the second.

    Parameters
    ----------
    moment : int
        UTC ns.

    Returns
    -------
    str
        For people.
    """
    return shown_time(moment)[:19].replace("T", " ") + "Z"


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def _ago(seconds: float) -> str:
    if seconds < 1:
        return "now"
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago"

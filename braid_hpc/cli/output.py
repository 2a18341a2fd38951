"""What the commands print: results to stdout in one of four formats, everything else to stderr."""

from __future__ import annotations

import csv
import datetime
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from braid_hpc.vocabulary.encoding import to_jsonable
from braid_hpc.vocabulary.errors import BraidError, StorageError

__all__ = ["Command", "emit", "format_option", "messages", "store_option"]

messages = Console(stderr=True, highlight=False)

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "ndjson", "csv"]),
    default="table",
    show_default=True,
    help="How the rows are printed.",
)

store_option = click.option(
    "--store",
    envvar="BRAID_STORE",
    default=None,
    metavar="DB",
    help="The store; without it BRAID_STORE, or prov.duckdb in this directory.",
)


class Command(click.Command):
    """A command whose errors are one sentence and an exit code, with further diagnosis as notes below.

    Parameters
    ----------
    examples : sequence of str
        Command lines, shown as they are at the end of the help.
    *arguments, **options
        As for :class:`click.Command`.
    """

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = tuple(examples)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each on a line of its own.

        Parameters
        ----------
        context : click.Context
            Of this call.
        formatter : click.HelpFormatter
            Takes them.
        """
        super().format_epilog(context, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")

    def invoke(self, context: click.Context) -> Any:
        """Run the command.

        Parameters
        ----------
        context : click.Context
            Of this call.

        Returns
        -------
        object
            What the command returns.
        """
        try:
            return super().invoke(context)
        except BraidError as error:
            messages.print(Text(f"braid: {error}"), soft_wrap=True)
            for note in getattr(error, "__notes__", ()):
                messages.print(Text(f"  {note}"), soft_wrap=True)
            context.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:
                # Who read the results has seen enough; click ends quietly.
                raise
            place = f"{os.fspath(error.filename)}: " if error.filename else ""
            messages.print(Text(f"braid: {place}{error.strerror or error}"), soft_wrap=True)
            context.exit(StorageError.exit_code)


def emit(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: str, *, title: str | None = None) -> int:
    """Print rows.

    Parameters
    ----------
    columns : sequence of str
        Their names.
    rows : iterable of sequence
        Values in that order.
    form : str
        ``table``, ``json``, ``ndjson`` or ``csv``.
    title : str, optional
        Above a table.

    Returns
    -------
    int
        How many rows were printed.
    """
    if form == "table":
        return _emit_table(columns, rows, title)
    count = 0
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(["" if value is None else _text(value) for value in row])
            count += 1
        return count
    items = []
    for row in rows:
        count += 1
        item = {name: _plain(value) for name, value in zip(columns, row, strict=True)}
        if form == "ndjson":
            sys.stdout.write(json.dumps(item, ensure_ascii=False) + "\n")
        else:
            items.append(item)
    if form == "json":
        sys.stdout.write(json.dumps(items, ensure_ascii=False, indent=2) + "\n")
    return count


def _emit_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None) -> int:
    numeric = [True] * len(columns)
    cells = []
    values = list(rows)
    for row in values:
        cells.append([Text("" if value is None else _text(value)) for value in row])
        for index, value in enumerate(row):
            numeric[index] = numeric[index] and (value is None or isinstance(value, (int, float)))
    # A pipe has no width: nothing is folded there.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if cells and width is not None and _least_width(columns, cells) > width:
        return _emit_blocks(columns, values, title)
    shown = RichTable(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name, right in zip(columns, numeric, strict=True):
        shown.add_column(Text(name), justify="right" if right and cells else "left", overflow="fold")
    for line in cells:
        shown.add_row(*line)
    console = Console(highlight=False, width=width or 10_000)
    with console.capture() as captured:
        console.print(shown, soft_wrap=width is None)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    sys.stdout.write("\n".join(line for line in lines if line) + "\n")
    return len(cells)


#: Cells of a table are folded to no less than this; a table that needs more is shown row by row.
_LEAST_CELL = 20


def _least_width(columns: Sequence[str], cells: Sequence[Sequence[Text]]) -> int:
    widths = [max([cell_len(name), *(row[at].cell_len for row in cells)]) for at, name in enumerate(columns)]
    return sum(min(width, _LEAST_CELL) + 3 for width in widths) - 1


def _emit_blocks(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None) -> int:
    """Print each row as lines of name and value, and the elements of a list on lines of their own."""
    lines = [] if title is None else [title]
    label = max(cell_len(name) for name in columns) + 2
    for row in rows:
        for name, value in zip(columns, row, strict=True):
            parts = list(value) if isinstance(value, (list, tuple)) else [value]
            texts = ["" if part is None else _text(part) for part in parts] or [""]
            first = name + " " * (label - cell_len(name))
            lines.extend(((first if at == 0 else " " * label) + text).rstrip() for at, text in enumerate(texts))
        lines.append("")
    sys.stdout.write("\n".join(lines[:-1]) + "\n")
    return len(rows)


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date)):
        return _text(value)
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        # What DuckDB counts and adds up is wider than 64 bits, and a whole number all the same.
        return int(value)
    return to_jsonable(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    return str(value)


def stepper() -> Callable[[str, int, int], None]:
    """Return a progress callback for a compaction: a bar on a terminal, nothing otherwise.

    Returns
    -------
    callable
        Takes a step's name, what is done, and the total.
    """
    if not messages.is_terminal:
        return lambda step, done, total: None

    def show(step: str, done: int, total: int) -> None:
        messages.print(f"{step} {done}/{total}".ljust(40), end="\r")

    return show

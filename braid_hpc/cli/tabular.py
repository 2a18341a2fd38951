"""Rows as a table for people."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from braid_hpc.cli.output import as_text
from braid_hpc.vocabulary.texts import visible

__all__ = ["emit_table"]


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None) -> int:
    """Print rows as a table; on a terminal that is too narrow for it, each row as a block.

    Parameters
    ----------
    columns : sequence of str
        Their names.
    rows : sequence of sequence
        Values in that order; one at least.
    title : str or None
        Above it.

    Returns
    -------
    int
        How many rows were printed.
    """
    names = [visible(name) for name in columns]
    title = None if title is None else visible(title)
    numeric = [True] * len(columns)
    cells = []
    for row in rows:
        cells.append([Text("" if value is None else visible(as_text(value))) for value in row])
        for index, value in enumerate(row):
            numeric[index] = numeric[index] and (value is None or isinstance(value, (int, float)))
    # A pipe has no width: nothing is folded there.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if width is not None and _least_width(names, cells) > width:
        return _emit_blocks(names, rows, title)
    shown = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name, right in zip(names, numeric, strict=True):
        shown.add_column(Text(name), justify="right" if right else "left", overflow="fold")
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
            texts = ["" if part is None else visible(as_text(part)) for part in parts] or [""]
            first = name + " " * (label - cell_len(name))
            lines.extend(((first if at == 0 else " " * label) + text).rstrip() for at, text in enumerate(texts))
        lines.append("")
    sys.stdout.write("\n".join(lines[:-1]) + "\n")
    return len(rows)

"""What the commands print: results to stdout in one of four formats, everything else to stderr."""

from __future__ import annotations

import contextlib
import csv
import datetime
import errno
import functools
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from braid_hpc.vocabulary.errors import BraidError, BraidWarning, StorageError
from braid_hpc.vocabulary.texts import visible
from braid_hpc.vocabulary.times import Moment

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Command",
    "Group",
    "Stores",
    "as_json",
    "as_text",
    "emit",
    "format_option",
    "messages",
    "store_option",
    "stores_option",
]


class Messages:
    """What is said to people, on stderr. What prints it is imported with the first message: most commands have none."""

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody is looking."""
        return self._console.is_terminal

    def print(self, text: Any, **given: Any) -> None:
        """Print a message.

        Parameters
        ----------
        text : str or rich.text.Text
            The message.
        **given
            As for ``rich.console.Console.print``.
        """
        self._console.print(text, **given)

    def print_as_is(self, text: str) -> None:
        """Print a message in which nothing is markup.

        Parameters
        ----------
        text : str
            The message.
        """
        self._console.print(visible(text), soft_wrap=True, markup=False, emoji=False)


messages = Messages()

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

#: What was chosen by ``--store``: one store, or several that are asked together.
Stores = str | tuple[str, ...] | None


class _SeveralOption(click.Option):
    """An option that may be given several times, and once by a variable, in whose value a space is a space."""

    def value_from_envvar(self, ctx: click.Context) -> Any:
        """Return the one value of the variable."""
        value = self.resolve_envvar_value(ctx)
        return None if value is None else (value,)


def _one_or_several(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> Stores:
    return given if len(given) > 1 else given[0] if given else None


stores_option = click.option(
    "--store",
    cls=_SeveralOption,
    multiple=True,
    callback=_one_or_several,
    envvar="BRAID_STORE",
    metavar="DB",
    help="The store; without it BRAID_STORE, or prov.duckdb in this directory. Given several times: asked together.",
)


@contextlib.contextmanager
def _warnings_as_messages() -> Iterator[None]:
    """Print warnings of this package as lines of text: for a command, where in our code they arose says nothing.

    Which ones are shown, and how often, stays what the user's filters say.
    """
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **given: Any) -> None:
            if issubclass(category, BraidWarning):
                messages.print_as_is(f"braid: {message}")
            else:
                usual(message, category, *where, **given)

        warnings.showwarning = show
        yield


class Command(click.Command):
    """A command whose errors are one sentence and an exit code, with further diagnosis as notes below.

    Warnings of this package are lines of text likewise.

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
            with _warnings_as_messages():
                return super().invoke(context)
        except BraidError as error:
            messages.print_as_is(f"braid: {error}")
            for note in getattr(error, "__notes__", ()):
                messages.print_as_is(f"  {note}")
            context.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:
                # Who read the results has seen enough; click ends quietly.
                raise
            place = f"{os.fspath(error.filename)}: " if error.filename else ""
            messages.print_as_is(f"braid: {place}{error.strerror or error}")
            context.exit(StorageError.exit_code)


class Group(click.Group, Command):
    """A group whose errors are told as those of its commands."""


def emit(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    form: str,
    *,
    title: str | None = None,
    nothing: str = "no rows",
) -> int:
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
    nothing : str
        What is said on stderr instead of a table without rows; nothing is if it is empty. The other formats have a
        form of their own for that.

    Returns
    -------
    int
        How many rows were printed.
    """
    if form == "table":
        values = list(rows)
        if not values:
            if nothing:
                messages.print_as_is(nothing)
            return 0
        # Here, because drawing a table needs what nothing else does.
        from braid_hpc.cli.tabular import emit_table

        return emit_table(columns, values, title)
    count = 0
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(["" if value is None else as_text(value) for value in row])
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


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date)):
        return as_text(value)
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        # What DuckDB counts and adds up is wider than 64 bits, and a whole number all the same.
        return int(value)
    from braid_hpc.vocabulary.encoding import to_jsonable

    return to_jsonable(value)


def as_json(plain: Any) -> str:
    """Return an answer as JSON over lines: what :func:`json.dumps` gives, in a tenth of its time.

    Parameters
    ----------
    plain : object
        Lists and dictionaries of text that UTF-8 holds, whole numbers of 64 bits, truth values and None: no floating
        point numbers, which the two write differently.

    Returns
    -------
    str
        Indented by two.
    """
    import msgspec

    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()


def as_text(value: Any) -> str:
    """Return a value as it stands in a cell.

    Parameters
    ----------
    value : object
        Not None.

    Returns
    -------
    str
        In csv and in tables.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return _shown(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(as_text(item) for item in value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    return str(value)


def _shown(time: datetime.datetime) -> str:
    text = time.isoformat() if isinstance(time, Moment) else time.isoformat(timespec="microseconds")
    # What has a zone says so itself; all that a store has is UTC.
    return text if time.tzinfo is not None else text + "Z"


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

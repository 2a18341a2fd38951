"""Commands that ask a store."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from braid_hpc.cli.loading import load_store
from braid_hpc.cli.moments import as_of_option, at_option, relation_option
from braid_hpc.cli.of_rows import ROW_OPTIONS, names_row, row_options, show_rows
from braid_hpc.cli.output import Command, Stores, as_json, emit, format_option, messages, stores_option
from braid_hpc.snapshots.schema import RANKS
from braid_hpc.store.sources import source
from braid_hpc.vocabulary.encoding import to_jsonable
from braid_hpc.vocabulary.errors import NotFoundError
from braid_hpc.vocabulary.texts import visible

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["impact", "lineage", "log", "open_chosen", "show", "sql", "status"]

_HERE = "prov.duckdb"


def open_chosen(store: Stores) -> Store:
    """Open the store that a command was given, or several together, or the one that lies here.

    Parameters
    ----------
    store : str, tuple of str, or None
        Of ``--store``.

    Returns
    -------
    Store
        Open.

    Raises
    ------
    NotFoundError
        If none was given and none lies here.
    """
    if store is None:
        if not os.path.exists(_HERE):
            raise NotFoundError(f"no store is named and there is no {_HERE} here: say which with --store DB")
        store = _HERE
    opened = load_store()
    if isinstance(store, tuple):
        from braid_hpc.store.several import Several

        return Several(store)
    return opened(store)


class LogGroup(click.Group, Command):
    """``braid log`` lists snapshots; its subcommands look at log files."""


@click.group(
    cls=LogGroup, invoke_without_command=True, examples=["braid log", "braid log --store scan.duckdb --format json"]
)
@stores_option
@format_option
@click.pass_context
def log(context: click.Context, store: Stores, form: str) -> None:
    """List the snapshots of a store, with what each brought; 'log parse' shows the rows of a log file."""
    if context.invoked_subcommand is not None:
        return
    with open_chosen(store) as opened:
        table = opened.snapshots()
        emit(table.columns, (list(row.values()) for row in table), form)


@log.command(
    "parse",
    cls=Command,
    examples=[
        "braid log parse logs/18edb6b08e4a766d8e04ab82b2061de9/tail-000001",
        "braid log parse logs/18edb6b08e4a766d8e04ab82b2061de9/header.json",
    ],
)
@click.argument("file", type=click.Path(path_type=Path))
def parse(file: Path) -> None:
    """Print a tail, sealed batches, sums or a header as JSON lines, damaged ones too."""
    from braid_hpc.reading.dump import dump

    if not file.exists():
        _no_file(file)
    for line in dump(file):
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


def _no_file(file: Path) -> NoReturn:
    raise NotFoundError(f"there is no file {file}: name one of a rank log")


@click.command(
    cls=Command,
    examples=["braid show model:braggnn", "braid show model:braggnn@3 --format json", "braid show id:0f3a77c1 --at 1"],
)
@click.argument("reference")
@stores_option
@at_option
@as_of_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How it is printed.",
)
def show(reference: str, store: Stores, at: int | None, as_of: str | None, form: str) -> None:
    """Show one version or activity: REFERENCE is [kind:]name[@version] or id:<hex>."""
    with open_chosen(store) as opened:
        facts = opened.describe(reference, at=at, as_of=as_of)
    if form == "json":
        click.echo(json.dumps(to_jsonable(facts), ensure_ascii=False, indent=2, default=str))
        return
    rows = [(key, line) for key, value in facts.items() for line in _lines(value)]
    emit(("what", "value"), rows, "table")


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key} = {item}" for key, item in value.items()]
    if isinstance(value, list):
        return [str(item) for item in value]
    return [] if value is None else [str(value)]


if TYPE_CHECKING:
    _DepthType = click.ParamType[int | str]
else:
    # Not generic before click 8.4, which Globus Compute does not take.
    _DepthType = click.ParamType


class Depth(_DepthType):
    """A number of edges, or ``all``."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int | str:
        """Return an int, or ``all``.

        Parameters
        ----------
        value : object
            What was written.
        param, context
            Of the call.

        Returns
        -------
        int or str
            From 0.
        """
        if isinstance(value, int):
            return value
        if value == "all":
            return "all"
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        return self.fail(f"{value!r} is not a depth: it is a number from 0, or 'all'", param, context)


def _walk_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what ``lineage`` and ``impact`` have in common."""
    for option in (
        click.option(
            "--format",
            "form",
            type=click.Choice(["tree", "json", "mermaid", "dot"]),
            default="tree",
            show_default=True,
            help="How the answer is drawn.",
        ),
        *row_options,
        as_of_option,
        at_option,
        relation_option,
        click.option("--kind", "kinds", multiple=True, help="Show only these kinds; all are walked through."),
        click.option(
            "--depth", type=Depth(), default="all", show_default=True, metavar="N|all", help="How many edges to follow."
        ),
        stores_option,
        click.argument("reference"),
    ):
        command = option(command)
    return command


def _walk(reference: str, *, down: bool, depth: int | str, store: Stores, form: str, **given: Any) -> None:
    words = {name: given.pop(name) or None for name in ("kinds", "relations")}
    of_rows = {name: given.pop(name) for name in ROW_OPTIONS}
    with open_chosen(store) as opened:
        hops = None if depth == "all" else int(depth)
        if names_row(reference, words, of_rows):
            show_rows(opened.row_lineage(reference, down=down, depth=hops, **of_rows, **given), form)
            return
        answer = opened.lineage(reference, down=down, depth=hops, **words, **given)
    if form == "json":
        click.echo(as_json(answer.to_dict()))
    else:
        from braid_hpc.lineage import render

        drawn = {"tree": render.tree, "mermaid": render.mermaid, "dot": render.dot}[form](answer)
        click.echo(visible(drawn))
    if not answer.complete and form != "tree":
        messages.print(f"the answer is incomplete: {len(answer.missing)} logs are not whole", soft_wrap=True)


@click.command(
    cls=Command,
    examples=[
        "braid lineage model:braggnn",
        "braid lineage fact:config/scan-7 --down",
        "braid lineage model:braggnn@3 --depth 2 --at 1 --format json",
        "braid lineage model:braggnn --format dot",
        "braid lineage model:net --kind data --relation wasDerivedFrom",
        "braid lineage 'peaks#17' --rank 0 --values",
    ],
)
@_walk_options
@click.option("--down", is_flag=True, help="What came of it, instead of what fed it.")
def lineage(**given: Any) -> None:
    """Show what fed REFERENCE ([kind:]name[@version], id:<hex>, or a row as stream#k), or what came of it."""
    _walk(**given)


@click.command(
    cls=Command,
    examples=["braid impact fact:config/scan-7", "braid impact data:scan@1 --kind model --depth 3 --format json"],
)
@_walk_options
def impact(**given: Any) -> None:
    """Show what came of REFERENCE: 'braid lineage --down'."""
    _walk(**given, down=True)


@click.command(
    cls=Command, examples=["braid sql 'select kind, name, versions from records'", "braid sql 'from runs' --format csv"]
)
@click.argument("query")
@stores_option
@format_option
def sql(query: str, store: Stores, form: str) -> None:
    """Ask in SQL; the tables and views are documented on the page of the store's format."""
    with open_chosen(store) as opened:
        table = opened.sql(query)
        nothing = f"no rows; the columns are {', '.join(table.columns)}"
        emit(table.columns, (list(row.values()) for row in table), form, nothing=nothing)


@click.command(
    cls=Command,
    examples=[
        "braid status",
        "braid status --ranks --store scan.duckdb",
        "braid status 'status != ok or run.lost > 0'",
    ],
)
@click.argument("search", required=False)
@stores_option
@format_option
@click.option("--ranks", is_flag=True, help="One row for each rank instead of each run.")
@at_option
@click.option("--as-of", default=None, metavar="TIME", help="Runs that had begun by then, and how they had ended.")
def status(search: str | None, store: Stores, form: str, ranks: bool, at: int | None, as_of: str | None) -> None:
    """List the runs in a store and how they ended; of SEARCH only those of which it holds (page 'filter')."""
    with open_chosen(store) as opened:
        table = opened.find_runs(search, at=at, as_of=as_of)
        if ranks:
            states, _ = source("states", until=as_of is not None)
            given = {"runs": table["run"], "at": opened._at(at)}
            given |= {} if as_of is None else {"as_of": opened._as_of(as_of)}
            table = opened._asked(_RANKS.format(states=states), given)
    columns = _OF_RANKS if ranks else _OF_RUNS
    if not ranks and any(table["restart"]):
        # A job that was started again is told apart from itself.
        columns = (*columns, "restart")
    nothing = "there is no run in this store" if search is None else f"no run fits {search}"
    emit(columns, ([_short(name, row[name]) for name in columns] for row in table), form, nothing=nothing)


_OF_RUNS = (
    *("run", "job", "size", "ranks", "status", "begin_time", "end_time", "events", "lost", "git", "scheduler_job"),
)
_OF_RANKS = (
    *("run", "rank", "writer", "host", "pid", "state", "outcome", "error", "begin_time", "end_time", "events"),
    *("lost", "rejected"),
)

_RANKS = f"""
    from ({RANKS.replace("{writer_states}", "({states})")})
    where run in (select unnest($runs::varchar[])) order by begin_time, rank
"""


def _short(name: str, value: Any) -> Any:
    return value[:8] if name in ("run", "writer", "git") and value is not None else value

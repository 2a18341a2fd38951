"""``braid campaign`` and ``braid todo``: files of declared tables, what is there, and what is to be made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.campaign_copies import archive, conditions_of, copies, restore, where_option
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, Group, emit, format_option, messages, store_option
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.campaigns.campaign import Campaign
    from braid_hpc.cli.campaign_watch import Counted
    from braid_hpc.store.store import Store
    from braid_hpc.store.tables import Table

__all__ = ["campaign", "todo"]

_by = click.option("--by", multiple=True, metavar="COLUMN", help="Count by this column; several may be given.")


@click.group(cls=Group, examples=["braid campaign status", "braid campaign list Source --state missing"])
def campaign() -> None:
    """Show what became of the files that were declared. The store is asked, and no file but by 'verify'."""


@campaign.command(
    "status",
    cls=Command,
    examples=[
        "braid campaign status",
        "braid campaign status Source --by configuration__ensemble --worst-first",
        "braid campaign status Source --by s --where s__lt=4 --format csv",
        "braid campaign status --by configuration__ensemble --html status.html",
        "braid campaign status --by configuration__ensemble --watch",
    ],
)
@click.argument("table", required=False)
@_by
@where_option
@click.option("--worst-first", is_flag=True, help="Groups of which least is done come first.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write one page, with filters, here."
)
@click.option("--watch", is_flag=True, help="Show it again whenever the store has a new snapshot; Ctrl-C ends it.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1, max=86_400),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="With --watch: seconds between two looks for a snapshot.",
)
@at_option
@as_of_option
@store_option
@format_option
def status(
    table: str | None,
    by: tuple[str, ...],
    where: tuple[str, ...],
    worst_first: bool,
    html: Path | None,
    watch: bool,
    every: float,
    at: int | None,
    as_of: str | None,
    store: str | None,
    form: str,
) -> None:
    """Count the files of TABLE, or of all, by state.

    Tables that lack a column of --by, or of --where, are counted without it or left out, unless TABLE is named.
    """
    from braid_hpc.campaigns.campaign import STATES, Campaign

    conditions = conditions_of(where)
    if watch and (html is not None or at is not None or as_of is not None):
        raise InvalidInputError("--watch shows what comes: leave --html, --at and --as-of away")

    def count(opened: Store) -> tuple[str, list[tuple[str, Table]]]:
        found = Campaign(opened, at=at, as_of=as_of)
        title = f"{opened.path.name}, snapshot {opened.snapshot if at is None else at}"
        return title, _counts(found, table, by, conditions, worst_first)

    with open_chosen(store) as opened:
        if watch:
            from braid_hpc.cli.campaign_watch import watch_status

            try:
                watch_status(opened, lambda: _counted(*count(opened), by, worst_first), every=every, form=form)
            except KeyboardInterrupt:
                return
        title, counts = count(opened)
    if html is not None:
        _write_page(html, title, counts)
        return
    counted = _counted(title, counts, by, worst_first)
    names = [*counted.names, *STATES]
    rows = [[*(row.get(name) for name in names), _bar(row["done"], form)] for row in counted.rows]
    emit([*counted.headings, *STATES, "done"], rows, form, nothing="no table of files was declared in this store")


def _counted(title: str, counts: list[tuple[str, Table]], by: tuple[str, ...], worst_first: bool) -> Counted:
    from braid_hpc.cli.campaign_watch import TABLE, Counted

    names = [TABLE, *(name for name in by if any(name in each.columns for _, each in counts))]
    rows = [{**row, TABLE: name} for name, each in counts for row in each]
    if worst_first:
        rows.sort(key=lambda row: row["done"])
    return Counted(title, names, rows)


def _counts(
    found: Campaign, table: str | None, by: tuple[str, ...], conditions: dict[str, Any], worst_first: bool
) -> list[tuple[str, Table]]:
    if table is not None:
        return [(table, found.counts(table, *by, worst_first=worst_first, **conditions))]
    counts = []
    for name in found.stages:
        selection = found.select(name)
        if all(selection.knows(each) for each in conditions):
            mine = [each for each in by if selection.knows(each)]
            counts.append((name, found.counts(name, *mine, worst_first=worst_first, **conditions)))
    return counts


def _bar(done: float, form: str) -> Any:
    if form != "table":
        return round(done, 6)
    from braid_hpc.cli.campaign_watch import bar, percent

    return f"{''.join(bar(done, 10))} {percent(done)}"


def _write_page(html: Path, title: str, counts: list[tuple[str, Table]]) -> None:
    from braid_hpc.campaigns.page import MOST_GROUPS, as_page

    groups = sum(len(each) for _, each in counts)
    if groups > MOST_GROUPS:
        raise InvalidInputError(f"a page of {groups} groups would be slow to use: count by less, {MOST_GROUPS} at most")
    html.write_text(as_page(title, counts), encoding="utf-8")
    messages.print_as_is(f"{groups} groups are in {html}")


@campaign.command(
    "list",
    cls=Command,
    examples=[
        "braid campaign list Source --state missing",
        "braid campaign list Source --state stale --where configuration__number=300 --format ndjson",
    ],
)
@click.argument("table")
@click.option("--state", default="total", show_default=True, metavar="STATE", help="missing, runnable, blocked, ...")
@where_option
@at_option
@as_of_option
@store_option
@format_option
def list_(
    table: str, state: str, where: tuple[str, ...], at: int | None, as_of: str | None, store: str | None, form: str
) -> None:
    """List the files of TABLE that are in a state."""
    from braid_hpc.campaigns.campaign import Campaign

    with open_chosen(store) as opened:
        found = Campaign(opened, at=at, as_of=as_of).list(state, table, **conditions_of(where))
    emit(found.columns, (list(row.values()) for row in found), form, nothing=f"no file of {table} is {state}")


@campaign.command(
    "verify",
    cls=Command,
    examples=["braid campaign verify Source --root /lustre/a12m310", "braid campaign verify Source --size 4096"],
)
@click.argument("table")
@click.option("--root", type=click.Path(path_type=Path), default=".", help="What names are below; here without it.")
@click.option("--size", type=int, default=None, help="Bytes that each file should have.")
@click.option(
    "--young", type=float, default=60.0, show_default=True, help="Seconds for which a file counts as growing."
)
@click.option("--place", default="disk", show_default=True, help="Which place that is.")
@where_option
@store_option
@format_option
def verify(
    table: str,
    root: Path,
    size: int | None,
    young: float,
    place: str,
    where: tuple[str, ...],
    store: str | None,
    form: str,
) -> None:
    """Look for the files of TABLE, and say in the store what has changed: exists, missing, corrupt, growing."""
    from braid_hpc.campaigns.checking import check_files

    with open_chosen(store) as opened:
        found = check_files(opened, table, root=root, size=size, young=young, place=place, **conditions_of(where))
    emit(("state", "files"), sorted(found.items()), form, nothing="all is as it was recorded")


@click.command(
    cls=Command,
    examples=[
        "braid todo Source --format ndjson",
        "braid todo Source --claim 100 --minutes 90 --format ndjson > work.ndjson",
        "braid todo --release 3f2a9c01b7d4",
    ],
)
@click.argument("table", required=False)
@where_option
@click.option("--claim", type=int, default=None, metavar="N", help="Take up to N of them, so that nobody else does.")
@click.option("--minutes", type=float, default=1440.0, show_default=True, help="How long the claim holds.")
@click.option("--release", "released", default=None, metavar="ID", help="Give back what a claim has taken.")
@store_option
@format_option
def todo(
    table: str | None,
    where: tuple[str, ...],
    claim: int | None,
    minutes: float,
    released: str | None,
    store: str | None,
    form: str,
) -> None:
    """List the files of TABLE that can be made now, without those that are claimed.

    Claims are for those who submit jobs, one after the other; on a rank nothing is claimed.
    """
    from braid_hpc.campaigns.campaign import Campaign
    from braid_hpc.campaigns.claims import claim as take
    from braid_hpc.campaigns.claims import claimed
    from braid_hpc.campaigns.claims import release as give_back

    if (table is None) == (released is None):
        raise InvalidInputError("name the table whose files are to be made, or a claim with --release")
    with open_chosen(store) as opened:
        if released is not None:
            messages.print_as_is(f"{give_back(opened, released)} files are free again")
            return
        assert table is not None
        if claim is not None:
            number, found = take(opened, table, most=claim, seconds=60 * minutes, **conditions_of(where))
            if number:
                messages.print_as_is(f"claim {number}: {len(found)} files for {minutes:g} minutes")
            rows = [list(row.values()) for row in found]
        else:
            chosen = Campaign(opened)
            found = chosen.runnable(table, **conditions_of(where))
            file = chosen.items.stages[table].table.schema.file or ""
            taken = set(claimed(opened, table)["name"])
            rows = [list(row.values()) for row in found if row[file] not in taken]
    emit(found.columns, rows, form, nothing=f"no file of {table} can be made now that is not claimed")
    sys.stdout.flush()


for _each in (archive, copies, restore):
    campaign.add_command(_each)

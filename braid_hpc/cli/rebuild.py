"""``braid rebuild``: a store made again from its archive."""

from __future__ import annotations

from pathlib import Path

import click

from braid_hpc.cli.output import Command, messages, stepper

__all__ = ["rebuild"]


@click.command(
    cls=Command,
    examples=["braid rebuild prov.duckdb", "braid rebuild prov.duckdb --into again.duckdb --partial"],
)
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--into", default=None, metavar="NEW", type=click.Path(path_type=Path), help="Make another store.")
@click.option("--partial", is_flag=True, help="Of a damaged archive, make what can be made; what is lost is named.")
@click.pass_context
def rebuild(context: click.Context, store: Path, into: Path | None, partial: bool) -> None:
    """Make STORE again from the archive beside it, commit by commit; its tables are not read.

    For a store whose files are damaged or gone, or to see that its archive is whole. Snapshots and versions have the
    numbers that they had. The old files are moved aside when the new one is complete. A damaged archive changes
    nothing (exit code 4); with --partial what is damaged is left out and named, also in 'problems' (exit code 1).
    """
    from braid_hpc.compaction.rebuild import rebuild as make

    made = make(store, into=into, partial=partial, progress=stepper())
    counts = made.counts
    messages.print(
        f"{made.store}: made again to snapshot {made.snapshot}, {counts['events']:,} events, "
        f"{counts['versions']:,} versions, {counts['activities']:,} activities, {counts['edges']:,} edges, "
        f"{counts['stream_rows']:,} rows of streams, {counts['arrays']:,} arrays",
        soft_wrap=True,
    )
    if made.replaced is not None:
        messages.print(f"the old files are in {made.replaced}: remove them when they are not needed", soft_wrap=True)
    for sentence in (*made.notes, *made.damage):
        messages.print_as_is(sentence)
    if made.damage:
        messages.print(f"{len(made.damage)} things are lost", soft_wrap=True)
        context.exit(1)

"""``braid restrict``: a store of what some groups may see of another one."""

from __future__ import annotations

from pathlib import Path

import click

from braid_hpc.cli.output import Command, messages, stepper

__all__ = ["restrict"]


@click.command(
    cls=Command,
    examples=[
        "braid restrict prov.duckdb --groups proposal12345 --into p12345.duckdb",
        "braid restrict prov.duckdb --groups proposal12345 --groups staff --into ours.duckdb",
    ],
)
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--groups", multiple=True, required=True, metavar="GROUP", help="Whose groups; may be given again.")
@click.option("--into", required=True, metavar="NEW", type=click.Path(path_type=Path), help="The store that is made.")
@click.pass_context
def restrict(context: click.Context, store: Path, groups: tuple[str, ...], into: Path) -> None:
    """Make a store that holds what members of some groups may see of STORE, and nothing else, to be given to them.

    A run is shown to who is in one of the groups of each of its facts and tags 'access', and to nobody without any;
    what was stated later, where everything that it is about is shown. The new store is made of the logs of these runs,
    and has an archive and arrays of its own. Of a damaged archive what can be read is taken (exit code 1).
    """
    from braid_hpc.compaction.joined import look_at
    from braid_hpc.compaction.restrict import restrict_store
    from braid_hpc.snapshots.files import StoreFiles
    from braid_hpc.store.restricted import named_groups

    made = restrict_store(look_at("", StoreFiles(store)), named_groups(groups), StoreFiles(into), progress=stepper())
    messages.print(
        f"{made.store}: snapshot {made.snapshot}, {made.runs:,} runs, {made.writers:,} logs, {made.arrays:,} arrays",
        soft_wrap=True,
    )
    for sentence in made.damage:
        messages.print_as_is(sentence)
    if made.damage:
        context.exit(1)

"""``braid create``: an empty store."""

from __future__ import annotations

import click

from braid_hpc.cli.output import Command, messages, store_option

__all__ = ["create"]


@click.command(cls=Command, examples=["braid create", "braid create --store scan.duckdb"])
@store_option
def create(store: str | None) -> None:
    """Make an empty store; what is there already is not overwritten (exit code 5).

    Nobody needs to: 'braid compact' makes the store that it is told to add to.
    """
    from braid_hpc.compaction.create import create as make

    made = make(store if store is not None else "prov.duckdb")
    messages.print(f"{made.store} is made, with nothing in it", soft_wrap=True)

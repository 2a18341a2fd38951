"""``braid graph``: everything that hangs together, as a drawing."""

from __future__ import annotations

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, Stores, as_json, messages, stores_option
from braid_hpc.vocabulary.texts import visible

__all__ = ["graph"]

#: What Mermaid draws unless its ``maxEdges`` and ``maxTextSize`` are configured.
_MERMAID_EDGES, _MERMAID_TEXT = 500, 50_000


@click.command(
    cls=Command,
    examples=[
        "braid graph model:net",
        "braid graph model:net --format dot",
        "braid graph --limit 100 --store scan.duckdb",
    ],
)
@click.argument("reference", required=False)
@stores_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "json"]),
    default="mermaid",
    show_default=True,
    help="How it is drawn.",
)
@click.option("--limit", type=click.IntRange(min=1), default=500, show_default=True, help="Nodes that are drawn.")
@click.option("--all", "everything", is_flag=True, help="Draw all nodes, however many.")
@at_option
@as_of_option
def graph(
    reference: str | None,
    store: Stores,
    form: str,
    limit: int,
    everything: bool,
    at: int | None,
    as_of: str | None,
) -> None:
    """Draw everything that hangs together with REFERENCE, in both directions; without it the whole store.

    Nodes that are not valid are marked. Beyond the limit the nearest nodes are drawn, and the drawing and a message
    say how many are not.
    """
    with open_chosen(store) as opened:
        found = opened.graph(reference, limit=None if everything else limit, at=at, as_of=as_of)
    if form == "json":
        # Not for a terminal, and it has escapes of its own.
        text = as_json(found.to_dict())
    else:
        text = visible(found.mermaid() if form == "mermaid" else found.dot())
    click.echo(text)
    if found.left_out:
        messages.print(f"{found.note}: give a higher --limit, or --all", soft_wrap=True)
    if not found.complete:
        messages.print(f"the graph is incomplete: {len(found.missing)} logs are not whole", soft_wrap=True)
    if form == "mermaid" and (len(found.edges) > _MERMAID_EDGES or len(text) > _MERMAID_TEXT):
        messages.print(
            f"Mermaid draws {_MERMAID_EDGES} edges and {_MERMAID_TEXT:,} letters unless its maxEdges and maxTextSize "
            f"are set; these are {len(found.edges):,} and {len(text):,}",
            soft_wrap=True,
        )

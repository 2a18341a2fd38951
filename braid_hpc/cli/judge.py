"""``braid invalidate``, ``braid revalidate`` and ``braid retract``: what is not to be relied on, said after the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.find import tagged
from braid_hpc.cli.output import Command, emit, format_option, messages, store_option
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["invalidate", "retract", "revalidate"]


@click.command(
    cls=Command,
    examples=[
        "braid invalidate data:scan --cause 'the beam was off' --dry-run",
        "braid invalidate --tag energy_keV=71.7 --cause 'the monochromator had moved'",
    ],
)
@click.argument("references", nargs=-1, metavar="REF...")
@click.option("--cause", required=True, help="Why, for people.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Every version that carries exactly this.")
@click.option("--no-cascade", is_flag=True, help="These alone, and not what came of them.")
@click.option("--all-versions", is_flag=True, help="Every version of these names up to now.")
@click.option("--dry-run", is_flag=True, help="Only list what would become invalid.")
@store_option
@format_option
def invalidate(
    references: tuple[str, ...],
    cause: str,
    tags: tuple[str, ...],
    no_cascade: bool,
    all_versions: bool,
    dry_run: bool,
    store: str | None,
    form: str,
) -> None:
    """State that records or activities are not to be relied on, and list what falls.

    Everything that came of them is invalid too; what they came from is not touched. The statement is one more row
    of the store's history: 'braid revalidate' takes it back, and what was asked for as of an earlier time stays
    what it was.
    """
    with open_chosen(store) as opened:
        chosen = [*references, *(ref for tag in tags for ref in tagged(opened, tag))]
        if not chosen:
            raise InvalidInputError("no record is named: give references, or --tag KEY=VALUE")
        before = opened.judgements().keys()
        reached = _reached(opened, chosen, cascade=not no_cascade, all_versions=all_versions)
        if not dry_run:
            made = opened.invalidate(chosen, cause=cause, cascade=not no_cascade, all_versions=all_versions)
            messages.print(f"stated in snapshot {opened.snapshot}: {', '.join(f'id:{uid}' for uid in made)}")
        rows = [(ref, kind, identity in before) for identity, (ref, kind) in reached.items()]
    emit(
        ("ref", "kind", "before"),
        rows,
        form,
        title="would become invalid" if dry_run else "invalid",
        nothing="nothing becomes invalid",
    )


@click.command(
    cls=Command,
    examples=["braid revalidate data:scan", "braid revalidate model:braggnn@3 --despite 21861fe6"],
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--despite", metavar="ID", help="Hold in spite of this one statement, wherever that stands.")
@click.option("--all-versions", is_flag=True, help="Every version of these names up to now.")
@store_option
def revalidate(references: tuple[str, ...], despite: str | None, all_versions: bool, store: str | None) -> None:
    """Take back statements that records or activities are not to be relied on.

    Without --despite, those that stand on the records themselves. With it, the records hold in spite of one
    statement that reaches them from elsewhere, and do not pass it on.
    """
    with open_chosen(store) as opened:
        made = opened.revalidate(references, despite=despite, all_versions=all_versions)
        messages.print(f"stated in snapshot {opened.snapshot}: {', '.join(f'id:{uid}' for uid in made)}")


@click.command(
    cls=Command,
    examples=[
        "braid retract model:braggnn@3 data:peaks --cause 'trained without them'",
        "braid retract model:braggnn@3 activity:fit --relation wasGeneratedBy --cause 'it was another one'",
    ],
)
@click.argument("child")
@click.argument("parent")
@click.option("--cause", required=True, help="Why, for people.")
@click.option("--relation", metavar="RELATION", help="Only the edge of this relation; all between the two without it.")
@store_option
def retract(child: str, parent: str, cause: str, relation: str | None, store: str | None) -> None:
    """State that CHILD did not come from PARENT, though that was recorded.

    The edge is not followed any more and carries no invalidation. It stays in the store's history: as of an earlier
    time, or at an earlier snapshot, it holds.
    """
    with open_chosen(store) as opened:
        made = opened.retract(child, parent, cause=cause, relation=relation)
        messages.print(f"stated in snapshot {opened.snapshot}: id:{made}")


def _reached(opened: Store, chosen: list[str], *, cascade: bool, all_versions: bool) -> dict[int, tuple[str, str]]:
    """Return what a statement on some records reaches, by dense id."""
    from braid_hpc.lineage.walk import CASCADED, walk
    from braid_hpc.vocabulary.references import format_reference

    nodes = [opened.get(text) for text in chosen]
    starts = [node.id for node in nodes]
    if all_versions:
        named = [(node.kind, node.name) for node in nodes]
        starts = [
            row["id"]
            for kind, name in named
            for row in opened.sql("select id from nodes where kind = ? and name = ?", [kind, name])
        ]
    ids = starts
    if cascade:
        connection = opened._connected
        found = walk(
            connection,
            starts,
            down=True,
            at=opened.snapshot,
            relations=CASCADED,
            index=opened.adjacency,
            edges=False,
        )
        ids = list(found.distance)
    table = opened.sql("select id, kind, name, version from nodes where list_contains(?::bigint[], id)", [ids])
    rows = {row["id"]: (format_reference(row["kind"], row["name"], row["version"]), row["kind"]) for row in table}
    return {identity: rows[identity] for identity in ids if identity in rows}

"""``braid print``: every record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.conditions import format_condition
from braid_hpc.cli.output import Command, emit, format_option, store_option
from braid_hpc.store.finding import tags_of
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["print_records"]


@click.command("print", cls=Command, examples=["braid print", "braid print --format ndjson"])
@store_option
@format_option
def print_records(store: str | None, form: str) -> None:
    """Print every version with its parents, uris and tags, and whether it is valid.

    In a table and as CSV, tags stand as 'braid find' takes them; JSON has their values.
    """
    with open_chosen(store) as opened:
        versions = opened.sql("select id, kind, name, version, time from versions order by id")
        parents = _grouped(
            opened,
            "select distinct e.child as id, n.kind, n.name, n.version from edges e join nodes n on n.id = e.parent "
            "order by all",
        )
        uris = _grouped(opened, "select id, uri from uris order by id, position, uri")
        tags, judged = tags_of(opened, versions["id"]), opened.judgements()
    rows = [
        (
            format_reference(row["kind"], row["name"], row["version"]),
            row["time"],
            [format_reference(each["kind"], each["name"], each["version"]) for each in parents.get(row["id"], [])],
            [each["uri"] for each in uris.get(row["id"], [])],
            _tags(tags.get(row["id"], {}), form),
            row["id"] not in judged,
            judged[row["id"]].cause if row["id"] in judged else None,
        )
        for row in versions
    ]
    emit(("ref", "time", "parents", "uris", "tags", "valid", "cause"), rows, form)


def _grouped(store: Store, query: str) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in store.sql(query):
        found.setdefault(row["id"], []).append(row)
    return found


def _tags(tags: dict[str, Any], form: str) -> Any:
    if form in ("json", "ndjson"):
        return tags
    each = [(key, value) for key, given in tags.items() for value in (given if isinstance(given, list) else [given])]
    return [format_condition(key, value) for key, value in each]

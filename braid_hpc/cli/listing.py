"""``braid print``: every record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.conditions import format_condition
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, Stores, emit, format_option, stores_option
from braid_hpc.store.finding import tags_of
from braid_hpc.store.holding import HOLDING, LATER
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["print_records"]


@click.command("print", cls=Command, examples=["braid print", "braid print --format ndjson", "braid print --at 1"])
@at_option
@as_of_option
@stores_option
@format_option
def print_records(at: int | None, as_of: str | None, store: Stores, form: str) -> None:
    """Print every version with its parents, uris and tags, and whether it is valid.

    In a table and as CSV, tags stand as 'braid find' takes them; JSON has their values.
    """
    with open_chosen(store) as opened:
        then = opened._then(at, as_of)
        versions = opened._asked(_VERSIONS, then)
        parents = _grouped(opened, _PARENTS, then)
        uris = _grouped(opened, _URIS, then)
        tags = tags_of(opened, versions["id"], at=at, as_of=as_of)
        judged = opened.judgements(at=at, as_of=as_of)
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
    emit(
        ("ref", "time", "parents", "uris", "tags", "valid", "cause"),
        rows,
        form,
        nothing="there is no record in this store",
    )


_THERE = "id not in (select id from filled where snapshot <= $at)"

_VERSIONS = f"""
    select v.id, v.kind, v.name, v.version, o.time from version_rows v left join (
        select id, min(time) as time from occurrences
        where snapshot <= $at and epoch_ns(time) <= $as_of group by id) o using (id)
    where v.snapshot <= $at and v.{_THERE} and v.id not in ({LATER}) order by v.id
"""

_PARENTS = f"""
    select distinct e.child as id, n.kind, n.name, n.version from {HOLDING} e join nodes n on n.id = e.parent
    where n.{_THERE} and n.id not in ({LATER}) order by all
"""

_URIS = """
    select distinct id, position, uri from uri_rows where snapshot <= $at and epoch_ns(time) <= $as_of
    order by id, position, uri
"""


def _grouped(store: Store, query: str, then: dict[str, int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in store._asked(query, then):
        found.setdefault(row["id"], []).append(row)
    return found


def _tags(tags: dict[str, Any], form: str) -> Any:
    if form in ("json", "ndjson"):
        return tags
    each = [(key, value) for key, given in tags.items() for value in (given if isinstance(given, list) else [given])]
    return [format_condition(key, value) for key, value in each]

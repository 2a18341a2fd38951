"""``braid export``: a scan, a stream or the whole store as files for other programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, messages, store_option
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.exports.exporting import Exported
    from braid_hpc.store.store import Store

__all__ = ["export"]

_NUMBER = re.compile(r"-?\d{1,9}")


@click.command(
    cls=Command,
    # So that -1 is the newest scan, and no option.
    context_settings={"ignore_unknown_options": True},
    examples=[
        "braid export 5f0e8c1a --to scan.nxs",
        "braid export -1 --to scan.jsonl",
        "braid export 12 --to tables --format parquet",
        "braid export 12 --stream primary --to primary.csv",
        "braid export --stream hits --to hits.parquet",
        "braid export --parquet --to everything",
    ],
)
@click.argument("which", required=False)
@click.option("--to", required=True, type=click.Path(path_type=Path), metavar="FILE|DIR", help="What is made.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["documents", "jsonl", "msgpack", "parquet", "csv", "nexus"]),
    default=None,
    help="Without it what the name of the file says.",
)
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Only this stream; of a store without WHICH.")
@click.option("--parquet", "everything", is_flag=True, help="Every table and stream of the store, as Parquet.")
@click.option("--pages", type=click.IntRange(min=1), default=None, metavar="N", help="Of documents: events of a page.")
@click.option(
    "--images",
    type=click.Choice(["link", "copy", "none"]),
    default="link",
    show_default=True,
    help="Of NeXus: what lies in files of detectors.",
)
@click.option("--overwrite", is_flag=True, help="Take the place of an earlier export.")
@store_option
@at_option
@as_of_option
def export(which: str | None, store: str | None, at: int | None, as_of: str | None, **given: Any) -> None:
    """Write the scan WHICH (a uid or its beginning, a scan_id, or -1 for the newest) for other programs.

    A file or a folder is there whole or not at all, and nothing takes the place of another one unless told. The page
    'exports' says what is in each format.
    """
    asked = (which is not None) + given["everything"] + (which is None and bool(given["streams"]))
    if asked != 1 or (given["everything"] and given["streams"]):
        raise InvalidInputError("one thing is exported: the scan WHICH, --stream NAME of the store, or --parquet")
    with open_chosen(store) as opened:
        done = _export(opened, which, at, as_of, given)
    for name, count in done.counts.items():
        click.echo(f"{count}\t{name}")
    for note in done.notes:
        messages.print_as_is(note)


def _export(opened: Store, which: str | None, at: int | None, as_of: str | None, given: dict[str, Any]) -> Exported:
    from braid_hpc.exports import exporting
    from braid_hpc.exports.store_tables import export_store

    to, overwrite, streams = given["to"], given["overwrite"], given["streams"]
    if given["everything"]:
        if at is not None or as_of is not None or given["form"] not in (None, "parquet"):
            raise InvalidInputError("--parquet writes the whole store as it is: leave --at, --as-of and --format away")
        return export_store(opened, to=to, overwrite=overwrite)
    if which is None:
        if len(streams) > 1:
            raise InvalidInputError("one stream of a store goes into one file: give --stream once")
        return exporting.export_stream(
            opened, streams[0], to=to, format=given["form"], overwrite=overwrite, at=at, as_of=as_of
        )
    return exporting.export(
        opened,
        int(which) if _NUMBER.fullmatch(which) else which,
        to=to,
        format=given["form"],
        streams=streams or None,
        pages=given["pages"],
        images=given["images"],
        overwrite=overwrite,
        at=at,
        as_of=as_of,
    )

"""``braid stage``: copies of the files of scans, runs and versions."""

from __future__ import annotations

import json
from pathlib import Path

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, emit, format_option, messages, store_option
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["stage"]


@click.command(
    cls=Command,
    examples=[
        "braid stage 5f0e8c1a --to /scratch/job",
        "braid stage model:braggnn@2 --up --to /scratch/job",
        "braid stage run:24904f9e --to copies --root-map /data/2026=/archive/2026",
    ],
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The directory; made if it is not there.")
@click.option("--up", is_flag=True, help="Copy what fed them, too.")
@click.option(
    "--root-map",
    "roots",
    multiple=True,
    metavar="OLD=NEW",
    help="Where files lie today that were moved, or a root-map.json; again for more.",
)
@at_option
@as_of_option
@store_option
@format_option
def stage(
    references: tuple[str, ...],
    to: Path,
    up: bool,
    roots: tuple[str, ...],
    at: int | None,
    as_of: str | None,
    store: str | None,
    form: str,
) -> None:
    """Copy the files that scans, runs and versions refer to into a directory, verified by their digests.

    Copies lie in DIR/files under their old paths. DIR/root-map.json says where each directory lies now,
    DIR/documents has the documents of each scan with the places of the copies. Called again, it goes on.
    """
    with open_chosen(store) as opened:
        done = opened.stage(references, to, up=up, root_map=_root_map(roots), at=at, as_of=as_of)
    rows = [
        (", ".join(each.refs), str(each.source), str(each.path), each.size, each.digest, each.verified, each.already)
        for each in done.files
    ]
    emit(("refs", "source", "path", "size", "digest", "verified", "already"), rows, form)
    for sentence in done.left:
        messages.print_as_is(sentence)
    fresh = [each for each in done.files if not each.already]
    size = sum(each.size for each in fresh)
    messages.print_as_is(f"{len(fresh)} files copied ({size:,} bytes), {len(done.files) - len(fresh)} were there")


def _root_map(given: tuple[str, ...]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for each in given:
        old, equals, new = each.partition("=")
        if equals:
            found[old] = new
            continue
        try:
            read = json.loads(Path(each).read_text())
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"--root-map {each!r} is neither OLD=NEW nor a file with a root map") from error
        if not isinstance(read, dict):
            raise InvalidInputError(f"--root-map {each!r} is a file that holds no root map")
        found |= read
    return found or None

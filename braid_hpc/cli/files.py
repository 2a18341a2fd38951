"""``braid files``: small files whose bytes are in the store."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.output import Command, Group, Stores, emit, format_option, messages, store_option, stores_option
from braid_hpc.store.attached import attached_files, read_attached, remove_attached

__all__ = ["files"]


@click.group(cls=Group, examples=["braid files list", "braid files get input.yml > input.yml"])
def files() -> None:
    """List and give back small files that jobs attached to their logs, and remove them from disk."""


@files.command("list", cls=Command, examples=["braid files list", "braid files list --format csv"])
@stores_option
@format_option
def list_(store: Stores, form: str) -> None:
    """List the files that were attached; the bytes of those of the form 'left' stayed where they were."""
    with open_chosen(store) as opened:
        found = attached_files(opened)
    emit(found.columns, (list(row.values()) for row in found), form, nothing="no file was attached")


@files.command(
    "get", cls=Command, examples=["braid files get input.yml > input.yml", "braid files get run.log --into out.log"]
)
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write it here.")
@stores_option
def get(name: str, into: Path | None, store: Stores) -> None:
    """Print the bytes of the file NAME, the newest of that name; or of the file with that digest."""
    with open_chosen(store) as opened:
        data = read_attached(opened, name)
    if into is not None:
        into.write_bytes(data)
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@files.command("remove", cls=Command, examples=["braid files remove --dry-run", "braid files remove input.yml"])
@click.argument("names", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@store_option
def remove(names: tuple[str, ...], dry_run: bool, store: Stores) -> None:
    """Remove attached files from disk, all or those of NAMES, after their bytes in the store were verified."""
    with open_chosen(store) as opened:
        removed = remove_attached(opened, list(names) or None, dry_run=dry_run)
    for path in removed:
        click.echo(path)
    messages.print_as_is(f"{len(removed)} files {'would be' if dry_run else 'were'} removed")

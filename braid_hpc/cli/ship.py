"""``braid ship``: bring rank logs from a node to a shared directory."""

from __future__ import annotations

import os
from pathlib import Path

import click

from braid_hpc.cli.output import Command, emit, format_option, messages
from braid_hpc.log.ship import ship_writer
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.newer import refuse_newer
from braid_hpc.vocabulary.errors import CorruptLogError, StorageError

__all__ = ["ship"]


@click.command(cls=Command, examples=["braid ship /tmp/logs --to shared/logs"])
@click.argument("logs", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="Directory to copy into.")
@format_option
@click.pass_context
def ship(context: click.Context, logs: Path, target: Path, form: str) -> None:
    """Copy the rank logs in directory LOGS to another one, read them again there and compare.

    Logs that are still written may be shipped, and shipped again later: only what is new is copied. Nothing is
    removed at the source. Exit code 1 if a log could not be shipped; the others are.
    """
    rows: list[tuple[str, int, int, str, str | None]] = []
    failed = 0
    directories = find_writers(logs)
    for directory in directories:
        refuse_newer(directory)
    for directory in directories:
        try:
            done = ship_writer(directory, target)
            rows.append((done.writer, done.files, done.bytes, os.fspath(target), None))
        except (StorageError, CorruptLogError) as error:
            failed += 1
            rows.append((directory.name, 0, 0, os.fspath(target), str(error)))
    emit(("writer", "files", "bytes", "to", "fault"), rows, form)
    if failed:
        messages.print(f"{failed} of {len(rows)} logs could not be shipped", soft_wrap=True)
        context.exit(1)

"""``braid collectors``: what can turn something real into events here."""

from __future__ import annotations

import click

from braid_hpc.cli.output import Command, emit, format_option
from braid_hpc.collectors.registry import installed

__all__ = ["collectors"]


@click.command(cls=Command, examples=["braid collectors", "braid collectors --format json"])
@format_option
def collectors(form: str) -> None:
    """List the collectors that are installed, ours and those of other packages, without importing any."""
    emit(
        ("name", "target", "package", "version"),
        [(found.name, found.target, found.package, found.version) for found in installed()],
        form,
    )

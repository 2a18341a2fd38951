"""``braid deny``, ``braid allow`` and ``braid denials``: code whose results are not to be relied on."""

from __future__ import annotations

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, emit, format_option, messages, store_option

__all__ = ["allow", "denials", "deny"]


@click.command(cls=Command, examples=["braid deny 3f2a9c01 --cause 'the solver stopped too early'"])
@click.argument("revision")
@click.option("--cause", required=True, help="Why, for people.")
@store_option
def deny(revision: str, cause: str, store: str | None) -> None:
    """State that what code of REVISION has made, and what it will have made, is not to be relied on.

    REVISION is a commit, the digest of a script, or that of a task's source; or its first digits, seven at least.
    What such code has recorded is invalid with this cause, and what came of it, in logs that are merged later too.
    """
    with open_chosen(store) as opened:
        before = len(opened.judgements())
        opened.deny(revision, cause=cause)
        fallen = len(opened.judgements()) - before
        messages.print(f"stated in snapshot {opened.snapshot}: {fallen} more records and activities are invalid")


@click.command(cls=Command, examples=["braid allow 3f2a9c01"])
@click.argument("revision")
@store_option
def allow(revision: str, store: str | None) -> None:
    """Take back that REVISION is denied. What else was said of what it made stays."""
    with open_chosen(store) as opened:
        opened.allow(revision)
        messages.print(f"stated in snapshot {opened.snapshot}")


@click.command(cls=Command, examples=["braid denials", "braid denials --format json"])
@at_option
@as_of_option
@store_option
@format_option
def denials(at: int | None, as_of: str | None, store: str | None, form: str) -> None:
    """List the revisions of code that are denied."""
    with open_chosen(store) as opened:
        found = opened.denials(at=at, as_of=as_of)
    emit(found.columns, (list(row.values()) for row in found), form, nothing="no revision is denied in this store")

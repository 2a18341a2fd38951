"""``braid tag``, ``braid note`` and ``braid annotations``: what anyone says of a record, at any time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.conditions import parse_condition
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, emit, format_option, messages, store_option
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["list_annotations", "note", "own_option", "tag", "with_own"]

own_option = click.option(
    "--private-store",
    "own",
    metavar="DB",
    help="A store of one's own, with private annotations; without it BRAID_PRIVATE_STORE.",
)
private_option = click.option("--private", is_flag=True, help="Say it in one's own store, and nowhere else.")


def with_own(opened: Store, own: str | None) -> Store:
    """Have an open store know of one's own annotations.

    Parameters
    ----------
    opened : Store
        Open.
    own : str or None
        Of ``--private-store``.

    Returns
    -------
    Store
        The same.
    """
    if own is not None:
        opened.private = Path(own)
    return opened


@click.command(
    cls=Command,
    examples=[
        "braid tag data:scan-7 quality=good checked=true",
        "braid tag data:scan-7 --remove quality",
        "braid tag scan:5f0e8c1a reading='look again' --private --private-store own.duckdb",
    ],
)
@click.argument("reference", metavar="REF")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="A tag that does not hold any more, whoever gave it.")
@click.option("--text", "as_text", is_flag=True, help="Values are text, however they read.")
@private_option
@own_option
@store_option
def tag(
    reference: str,
    tags: tuple[str, ...],
    remove: tuple[str, ...],
    as_text: bool,
    private: bool,
    own: str | None,
    store: str | None,
) -> None:
    """Tag REF: of each key the newest value stands, and 'braid annotations' lists all there were.

    Values are read as 'braid find' reads them. Nothing that a run recorded changes.
    """
    given = dict(parse_condition(text, as_text=as_text) for text in tags)
    if not given and not remove:
        raise InvalidInputError("no tag is given: name one, such as quality=good, or one to --remove")
    if both := sorted(given.keys() & set(remove)):
        raise InvalidInputError(f"{both[0]} is to be given and removed: say one of both")
    with open_chosen(store) as opened:
        with_own(opened, own)
        if remove:
            made = opened.untag(reference, remove, private=private)
        if given:
            made = opened.tag(reference, given, private=private)
        _said(opened, made, private=private)


@click.command(
    cls=Command,
    examples=["braid note data:scan-7 'the shutter stuck'", "braid note scan:5f0e8c1a 'ask Eve' --private"],
)
@click.argument("reference", metavar="REF")
@click.argument("text")
@private_option
@own_option
@store_option
def note(reference: str, text: str, private: bool, own: str | None, store: str | None) -> None:
    """Add a note to REF; 'braid annotations' and 'braid show' show it."""
    with open_chosen(store) as opened:
        _said(opened, with_own(opened, own).note(reference, text, private=private), private=private)


@click.command(
    "annotations",
    cls=Command,
    examples=["braid annotations data:scan-7", "braid annotations scan:5f0e8c1a --format json --at 3"],
)
@click.argument("reference", metavar="REF")
@own_option
@at_option
@as_of_option
@store_option
@format_option
def list_annotations(
    reference: str, own: str | None, at: int | None, as_of: str | None, store: str | None, form: str
) -> None:
    """List all that was said of REF after it was recorded, the oldest first; private annotations too."""
    with open_chosen(store) as opened:
        said = with_own(opened, own).annotations(reference, at=at, as_of=as_of)
    rows = [(each.what, each.key, each.value, each.by, each.time, each.private) for each in said]
    if not emit(("what", "key", "value", "by", "time", "private"), rows, form, nothing=""):
        raise NotFoundError(f"nobody has annotated {reference}")


def _said(opened: Store, made: str, *, private: bool) -> None:
    where = f"in {opened.private}" if private else f"in snapshot {opened.snapshot}"
    messages.print(f"said of {made} {where}")

"""``braid campaign copies``, ``archive`` and ``restore``: files on disk, and their copies on tape."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, emit, format_option, messages, store_option
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["archive", "conditions_of", "copies", "restore", "where_option"]

where_option = click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only files of which it holds: number=300, number__gt=300, name__contains=src; several may be given.",
)
_tape = click.option("--place", default="tape", show_default=True, help="Which place the copies are at.")
_root = click.option(
    "--root", type=click.Path(path_type=Path), default=".", help="What names are below on disk; here without it."
)
_most = click.option("--most", type=int, default=None, metavar="N", help="Not more than N files, the first ones.")


_command = click.option(
    "--command", required=True, help="The site's, without a shell; {name} and {path} in it are the file's."
)


@click.command(
    "copies",
    cls=Command,
    examples=["braid campaign copies Propagator", "braid campaign copies Propagator --decision conflict --format csv"],
)
@click.argument("table")
@click.option("--decision", default=None, metavar="DECISION", help="List the files for which that was decided.")
@_tape
@where_option
@at_option
@as_of_option
@store_option
@format_option
def copies(
    table: str,
    decision: str | None,
    place: str,
    where: tuple[str, ...],
    at: int | None,
    as_of: str | None,
    store: str | None,
    form: str,
) -> None:
    """Compare the files of TABLE with their copies on tape: what to archive, restore, recreate, and what differs.

    The store is asked, and no file.
    """
    from braid_hpc.campaigns.archiving import Decision
    from braid_hpc.campaigns.archiving import copies as compare
    from braid_hpc.campaigns.campaign import Campaign

    if decision is not None and decision not in list(Decision):
        raise InvalidInputError(f"{decision!r} is no decision: there are {', '.join(Decision)}")
    with open_chosen(store) as opened:
        found = compare(Campaign(opened, at=at, as_of=as_of), table, tape=place, **conditions_of(where))
    if decision is None:
        counts = Counter(zip(found["decision"], found["why"], strict=True))
        rows: list[Any] = sorted((word, count, why) for (word, why), count in counts.items())
        emit(("decision", "files", "why"), rows, form, nothing=f"there are no such files of {table}")
        return
    chosen = [list(row.values()) for row in found if row["decision"] == decision]
    emit(found.columns, chosen, form, nothing=f"{decision} was decided for no file of {table}")


@click.command(
    "archive",
    cls=Command,
    examples=["braid campaign archive Propagator --root /lustre/a12m310 --command 'hsi put {path} : /a12m310/{name}'"],
)
@click.argument("table")
@_command
@_root
@_tape
@_most
@where_option
@store_option
@format_option
@click.pass_context
def archive(
    context: click.Context,
    table: str,
    command: str,
    root: Path,
    place: str,
    most: int | None,
    where: tuple[str, ...],
    store: str | None,
    form: str,
) -> None:
    """Copy the files of TABLE to tape that are not there, or are older there, by a command of the site.

    What was copied is said in the store, with size, time and digest. The exit code is 1 if a file was not.
    """
    _move(context, "archive", table, command, root, place, most, where, store, form)


@click.command(
    "restore",
    cls=Command,
    examples=["braid campaign restore Propagator --root /lustre/a12m310 --command 'hsi get {path} : /a12m310/{name}'"],
)
@click.argument("table")
@_command
@_root
@_tape
@_most
@where_option
@store_option
@format_option
@click.pass_context
def restore(
    context: click.Context,
    table: str,
    command: str,
    root: Path,
    place: str,
    most: int | None,
    where: tuple[str, ...],
    store: str | None,
    form: str,
) -> None:
    """Read the files of TABLE back from tape that are not on disk, or are older there, by a command of the site.

    What comes back is digested, and said to be corrupt in the store where it is not what was archived. The exit code is
    1 if a file did not come back.
    """
    _move(context, "restore", table, command, root, place, most, where, store, form)


def _move(
    context: click.Context,
    decision: str,
    table: str,
    command: str,
    root: Path,
    place: str,
    most: int | None,
    where: tuple[str, ...],
    store: str | None,
    form: str,
) -> None:
    from braid_hpc.campaigns.moving import move

    with open_chosen(store) as opened:
        moved = move(
            opened,
            table,
            decision,
            command=command,
            root=root,
            tape=place,
            most=most,
            told=messages.print_as_is,
            **conditions_of(where),
        )
    rows = [[name, f"{decision}d", None] for name in moved.done]
    rows += [[name, "failed", why] for name, why in moved.failed.items()]
    emit(("name", "state", "why"), rows, form, nothing=f"there is nothing to {decision}")
    context.exit(1 if moved.failed else 0)


def conditions_of(where: tuple[str, ...]) -> dict[str, Any]:
    """Return conditions as they are given in Python.

    Parameters
    ----------
    where : tuple of str
        ``column=value``; a value that is no number, list or truth value is a text.

    Returns
    -------
    dict of str to object
        For :meth:`~braid_hpc.store.selection.Selection.filter`.

    Raises
    ------
    InvalidInputError
        If one is no condition, or is there twice.
    """
    found: dict[str, Any] = {}
    for text in where:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidInputError(f"{text!r} is no condition: write column=value, or column__gt=value")
        if name in found:
            raise InvalidInputError(f"{name} is asked for twice")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found

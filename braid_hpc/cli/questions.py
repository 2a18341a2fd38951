"""``braid why``, ``how``, ``where``, ``stale`` and ``complete``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option, relation_option, text_format_option
from braid_hpc.cli.output import Command, Stores, messages, stores_option
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.texts import visible

__all__ = ["complete", "how", "stale", "where", "why"]


def show(answer: Any, form: str) -> None:
    """Print an answer.

    Parameters
    ----------
    answer : object
        With ``to_dict``, and a text for people.
    form : str
        ``text`` or ``json``.
    """
    if form == "json":
        from braid_hpc.vocabulary.encoding import to_jsonable

        click.echo(json.dumps(to_jsonable(answer.to_dict()), ensure_ascii=False, indent=2))
    else:
        click.echo(visible(str(answer)))


def _warn(missing: list[Any], form: str) -> None:
    if missing and form != "text":
        messages.print(f"the answer is incomplete: {len(missing)} logs are not whole", soft_wrap=True)


@click.command(
    cls=Command,
    examples=[
        "braid why model:braggnn fact:config/scan-7",
        "braid why model:net@2 data:scan --paths 5 --between",
        "braid why model:net data:scan --at 1 --format json",
    ],
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@stores_option
@click.option("--paths", type=int, default=1, show_default=True, help="How many ways, the shortest ones.")
@click.option("--between", is_flag=True, help="Also all that came of the one and fed the other.")
@relation_option
@at_option
@as_of_option
@text_format_option
def why(
    first: str,
    second: str,
    store: Stores,
    paths: int,
    between: bool,
    relations: tuple[str, ...],
    at: int | None,
    as_of: str | None,
    form: str,
) -> None:
    """Say why B is among what fed A, or A among what fed B: a shortest way between the two.

    Without any way the answer says so, and which logs may hide one; that is no error.
    """
    with open_chosen(store) as opened:
        answer = opened.why(
            first, second, paths=paths, between=between, relations=relations or None, at=at, as_of=as_of
        )
    show(answer, form)
    _warn(answer.missing, form)


@click.command(
    cls=Command,
    examples=[
        "braid how model:braggnn",
        "braid how data:peaks/3@2 --at 1 --format json",
        "braid how staging/projected/003.png",
    ],
)
@click.argument("reference")
@stores_option
@at_option
@as_of_option
@text_format_option
def how(reference: str, store: Stores, at: int | None, as_of: str | None, form: str) -> None:
    """Say how REFERENCE was made: the steps that led to it, in an order in which they could be done again.

    REFERENCE may be a file on a disk, which is known by its bytes, or the digest of one.
    """
    with open_chosen(store) as opened:
        try:
            answer = opened.how(reference, at=at, as_of=as_of)
        except (NotFoundError, InvalidInputError):
            # What is called so in the store comes first.
            if not os.path.isfile(reference):
                raise
            answer = opened.how(Path(reference), at=at, as_of=as_of)
    show(answer, form)
    _warn(answer.missing, form)


@click.command(cls=Command, examples=["braid where model:braggnn@3", "braid where stream:positions --format json"])
@click.argument("reference")
@stores_option
@at_option
@as_of_option
@text_format_option
def where(reference: str, store: Stores, at: int | None, as_of: str | None, form: str) -> None:
    """Say where REFERENCE was declared or ran, and where its bytes are."""
    with open_chosen(store) as opened:
        answer = opened.where(reference, at=at, as_of=as_of)
    show(answer, form)


@click.command(cls=Command, examples=["braid stale model:braggnn", "braid stale model:net@1 --format json"])
@click.argument("reference")
@stores_option
@at_option
@as_of_option
@text_format_option
@click.pass_context
def stale(context: click.Context, reference: str, store: Stores, at: int | None, as_of: str | None, form: str) -> None:
    """Say whether REFERENCE is still good: 1 if what it came from is invalid, or has a newer version."""
    with open_chosen(store) as opened:
        answer = opened.stale(reference, at=at, as_of=as_of)
    show(answer, form)
    _warn(answer.missing, form)
    context.exit(1 if answer.stale else 0)


@click.command(cls=Command, examples=["braid complete model:braggnn", "braid complete model:net --format json"])
@click.argument("reference")
@stores_option
@at_option
@as_of_option
@text_format_option
@click.pass_context
def complete(
    context: click.Context, reference: str, store: Stores, at: int | None, as_of: str | None, form: str
) -> None:
    """Say whether all logs that contribute to REFERENCE are whole: 1 if some are not."""
    with open_chosen(store) as opened:
        answer = opened.complete(reference, at=at, as_of=as_of)
    show(answer, form)
    context.exit(0 if answer.complete else 1)

"""``braid history``, ``braid diff`` and ``braid checkout``: the versions of a name, and the way back to them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, emit, format_option, store_option
from braid_hpc.vocabulary.encoding import to_jsonable

__all__ = ["checkout", "diff", "history"]


@click.command(cls=Command, examples=["braid history braggnn", "braid history model:braggnn --at 3 --format json"])
@click.argument("reference", metavar="NAME")
@at_option
@as_of_option
@store_option
@format_option
def history(reference: str, at: int | None, as_of: str | None, store: str | None, form: str) -> None:
    """List the versions of NAME ([kind:]name) in order, with what made each."""
    with open_chosen(store) as opened:
        entries = opened.history(reference, at=at, as_of=as_of)
    rows = [
        (
            each.ref,
            each.time,
            (each.run or "")[:8],
            each.job,
            each.step,
            list(each.made_by),
            list(each.revises),
            each.digest,
            each.size,
            each.valid,
        )
        for each in entries
    ]
    emit(("ref", "time", "run", "job", "step", "made by", "revises", "digest", "size", "valid"), rows, form)


@click.command(
    cls=Command,
    examples=["braid diff model:braggnn@1 model:braggnn@2", "braid diff config@1 config@2 --format json"],
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@store_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How the answer is printed.",
)
def diff(first: str, second: str, store: str | None, form: str) -> None:
    """Say how version B differs from version A: which arrays and by how much, and what was declared."""
    with open_chosen(store) as opened:
        found = opened.diff(first, second)
    if form == "json":
        click.echo(json.dumps(to_jsonable(dataclasses.asdict(found)), ensure_ascii=False, indent=2))
    else:
        click.echo(str(found))


@click.command(
    cls=Command,
    examples=["braid checkout model:braggnn@2 --into restored", "braid checkout fact:config data:frames --into here"],
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--into", required=True, type=click.Path(path_type=Path), help="The directory; made if it is not there.")
@at_option
@as_of_option
@store_option
@format_option
def checkout(
    references: tuple[str, ...], into: Path, at: int | None, as_of: str | None, store: str | None, form: str
) -> None:
    """Bring versions back as files: what was recorded of them, verified by its digest.

    A file keeps its name, an array becomes NAME@VERSION.npy, a state of arrays NAME@VERSION.npz.
    """
    rows: list[tuple[object, ...]] = []
    with open_chosen(store) as opened:
        for reference in references:
            done = opened.checkout(reference, into=into, at=at, as_of=as_of)
            rows.extend(
                (done.ref, str(each.path), each.digest, each.size, each.source, each.weak, each.already)
                for each in done.files
            )
    emit(("ref", "path", "digest", "size", "source", "weak", "already"), rows, form)

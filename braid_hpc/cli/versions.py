"""``braid history``, ``braid diff`` and ``braid checkout``: the versions of a name, and the way back to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option, text_format_option
from braid_hpc.cli.output import Command, Stores, emit, format_option, stores_option
from braid_hpc.vocabulary.encoding import to_jsonable
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.texts import visible

__all__ = ["checkout", "diff", "history"]


@click.command(cls=Command, examples=["braid history braggnn", "braid history model:braggnn --at 3 --format json"])
@click.argument("reference", metavar="NAME")
@at_option
@as_of_option
@stores_option
@format_option
def history(reference: str, at: int | None, as_of: str | None, store: Stores, form: str) -> None:
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
    examples=[
        "braid diff model:braggnn@1 model:braggnn@2",
        "braid diff config@1 config@2 --format json",
        "braid diff activity:fit@1 activity:fit@2",
        "braid diff run:24904f9e run:5e0c19aa",
        "braid diff model:net model:net --at 1 --at 1",
        "braid diff --snapshots 1 1",
    ],
)
@click.argument("first", metavar="[A]", required=False)
@click.argument("second", metavar="[B]", required=False)
@stores_option
@click.option("--snapshots", type=int, nargs=2, metavar="A B", help="Compare what the store knew at two snapshots.")
@click.option(
    "--at", type=int, multiple=True, metavar="SNAPSHOT", help="What the store knew then; twice, for A and for B."
)
@click.option("--as-of", "as_of", multiple=True, metavar="TIME", help="What held then; twice, for A and for B.")
@text_format_option
def diff(
    first: str | None,
    second: str | None,
    store: Stores,
    snapshots: tuple[int, int] | None,
    at: tuple[int, ...],
    as_of: tuple[str, ...],
    form: str,
) -> None:
    """Say how B differs from A: two versions, two activities, or two runs (by id, its beginning, or the job's name).

    Of versions, which arrays and by how much, what was declared, and what fed only one of them; of activities and
    runs, parameters, inputs, code, environment, and what came of them.
    """
    if snapshots is not None and (first is not None or at or as_of):
        raise InvalidInputError("--snapshots takes two numbers, and nothing else is compared with it")
    if snapshots is None and (first is None or second is None):
        raise InvalidInputError("two things are compared: name A and B, or give --snapshots A B")
    with open_chosen(store) as opened:
        if snapshots is not None:
            found: Any = opened.diff_snapshots(*snapshots)
        else:
            moments = [each[0] if len(each) == 1 else each or None for each in (at, as_of)]
            found = opened.diff(first or "", second or "", at=moments[0], as_of=moments[1])
    if form == "json":
        click.echo(json.dumps(to_jsonable(found.to_dict()), ensure_ascii=False, indent=2))
    else:
        click.echo(visible(str(found)))


@click.command(
    cls=Command,
    examples=["braid checkout model:braggnn@2 --into restored", "braid checkout fact:config data:frames --into here"],
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--into", required=True, type=click.Path(path_type=Path), help="The directory; made if it is not there.")
@at_option
@as_of_option
@stores_option
@format_option
def checkout(
    references: tuple[str, ...], into: Path, at: int | None, as_of: str | None, store: Stores, form: str
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

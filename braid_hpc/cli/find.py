"""``braid find``: versions by their tags and their uris."""

from __future__ import annotations

from typing import NoReturn

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.conditions import parse_condition
from braid_hpc.cli.output import Command, emit, format_option, store_option
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import format_reference

__all__ = ["find", "tagged"]


@click.command(
    cls=Command,
    examples=[
        "braid find energy_keV=71.7",
        "braid find sample=Nickel moving=true --kind data --format json",
        "braid find --text energy_keV=71.7",
        "braid find --uri doi:10.17038/XSD/1344262",
    ],
)
@click.argument("conditions", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--text", "as_text", is_flag=True, help="Values are text, also where they read as something else.")
@click.option("--uri", "uris", multiple=True, help="A place or an identifier.")
@click.option("--kind", default=None, help="Only records of this kind.")
@store_option
@format_option
def find(
    conditions: tuple[str, ...], as_text: bool, uris: tuple[str, ...], kind: str | None, store: str | None, form: str
) -> None:
    """Find versions that carry all of some tags, or lie at a place.

    energy_keV=71.7 finds the number (an int or a float that is equal), moving=true the truth value, sample=Nickel
    the text. The text 71.7 is another question: 'energy_keV="71.7"', or --text. A key that holds an equals sign
    stands in double quotes: '"a=b"=3'.
    """
    if not conditions and not uris and kind is None:
        raise InvalidInputError("nothing is asked for: give KEY=VALUE, --uri or --kind")
    asked = [parse_condition(text, as_text=as_text) for text in conditions]
    with open_chosen(store) as opened:
        tables = [opened.find({key: value}, uri=uris, kind=kind) for key, value in asked] or [
            opened.find(uri=uris, kind=kind)
        ]
    # One by one, because a key may be asked for twice.
    every = [set(table["id"]) for table in tables]
    rows = [
        (format_reference(row["kind"], row["name"], row["version"]), f"id:{row['uid']}", row["time"], row["digest"])
        for row in tables[0]
        if all(row["id"] in ids for ids in every)
    ]
    if not emit(("ref", "id", "time", "digest"), rows, form):
        _nothing((*conditions, *(f"the uri {uri}" for uri in uris), *([] if kind is None else [f"the kind {kind}"])))


def tagged(opened: Store, condition: str) -> list[str]:
    """Return the versions that carry a tag with exactly one value.

    Parameters
    ----------
    opened : Store
        Where to look.
    condition : str
        ``KEY=VALUE``, as for ``braid find``.

    Returns
    -------
    list of str
        References.

    Raises
    ------
    InvalidInputError
        If it is no condition.
    NotFoundError
        If nothing carries it.
    """
    key, value = parse_condition(condition)
    table = opened.find({key: value})
    if not len(table):
        _nothing((condition,))
    return [f"id:{uid}" for uid in table["uid"]]


def _nothing(conditions: tuple[str, ...]) -> NoReturn:
    raise NotFoundError(f"nothing carries {' and '.join(conditions)}")

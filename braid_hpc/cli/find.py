"""``braid find``: versions by their tags."""

from __future__ import annotations

import re
from typing import Any, NoReturn

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.output import Command, emit, format_option, store_option
from braid_hpc.store.store import Store
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import format_reference

__all__ = ["find", "tagged"]


@click.command(
    cls=Command, examples=["braid find energy_keV=71.7", "braid find sample=Nickel moving=true --format json"]
)
@click.argument("conditions", nargs=-1, required=True, metavar="KEY=VALUE...")
@store_option
@format_option
def find(conditions: tuple[str, ...], store: str | None, form: str) -> None:
    """Find versions that carry all of some tags.

    energy_keV=71.7 finds the number (written as an int or a float), moving=true the truth value,
    sample=Nickel the text; 'energy_keV="71.7"' finds the text 71.7. Any '=' may be the one between key and value.
    """
    with open_chosen(store) as opened:
        table = _carrying(opened, conditions)
    rows = [
        (format_reference(row["kind"], row["name"], row["version"]), f"id:{row['uid']}", row["time"], row["digest"])
        for row in table
    ]
    if not emit(("ref", "id", "time", "digest"), rows, form):
        _nothing(conditions)


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
    table = _carrying(opened, (condition,))
    if not len(table):
        _nothing((condition,))
    return [f"id:{row['uid']}" for row in table]


def _carrying(opened: Store, conditions: tuple[str, ...]) -> Table:
    queries: list[str] = []
    values: list[Any] = []
    for text in conditions:
        readings = _conditions(text)
        queries.append(f"select id from tags where {' or '.join(f'({query})' for query, _ in readings)}")
        values.extend(value for _, found in readings for value in found)
    return opened.sql(
        f"select kind, name, version, uid, time, digest from versions where id in ({' intersect '.join(queries)}) "
        f"order by kind, name, version",
        values,
    )


def _nothing(conditions: tuple[str, ...]) -> NoReturn:
    raise NotFoundError(f"nothing carries {' and '.join(conditions)}")


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)")


def _conditions(text: str) -> list[tuple[str, list[Any]]]:
    """Return every way to read a condition: keys and values may hold equals signs."""
    splits = [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == "=" and at]
    if not splits:
        raise InvalidInputError(f"{text!r} is not a condition: write KEY=VALUE")
    return [_condition(key, value) for key, value in splits]


def _condition(key: str, value: str) -> tuple[str, list[Any]]:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return "key = ? and type = 'str' and text = ?", [key, value[1:-1]]
    if value in ("true", "false"):
        return "key = ? and (boolean = ? or (type = 'str' and text = ?))", [key, value == "true", value]
    if re.fullmatch(r"[+-]?\d+", value):
        # Both ways: a hugeint compares exactly, a float is what was written as one.
        return "key = ? and (integer::varchar = ? or (type = 'float' and real = ?))", [
            key,
            str(int(value)),
            float(value),
        ]
    if _NUMBER.fullmatch(value):
        return "key = ? and type in ('int', 'float') and real = ?", [key, float(value)]
    return "key = ? and type = 'str' and text = ?", [key, value]

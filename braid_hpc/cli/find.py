"""``braid find``: versions by their tags."""

from __future__ import annotations

import re
from typing import Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.output import Command, emit, format_option, store_option
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import format_reference

__all__ = ["find"]


@click.command(cls=Command)
@click.argument("conditions", nargs=-1, required=True, metavar="KEY=VALUE...")
@store_option
@format_option
def find(conditions: tuple[str, ...], store: str | None, form: str) -> None:
    """Find versions that carry all of some tags.

    energy_keV=71.7 finds the number (written as an int or a float), moving=true the truth value,
    sample=Nickel the text; 'energy_keV="71.7"' finds the text 71.7.
    """
    queries, values = [], []
    for condition in conditions:
        query, found = _condition(condition)
        queries.append(f"select id from tags where {query}")
        values.extend(found)
    with open_chosen(store) as opened:
        table = opened.sql(
            f"select kind, name, version, uid, time, digest from versions where id in ({' intersect '.join(queries)}) "
            f"order by kind, name, version",
            values,
        )
    rows = [
        (format_reference(row["kind"], row["name"], row["version"]), f"id:{row['uid']}", row["time"], row["digest"])
        for row in table
    ]
    emit(("ref", "id", "time", "digest"), rows, form)
    if not rows:
        raise NotFoundError(f"nothing carries {' and '.join(conditions)}")


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)")


def _condition(text: str) -> tuple[str, list[Any]]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidInputError(f"{text!r} is not a condition: write KEY=VALUE")
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

"""What ``lineage`` and ``impact`` answer where a row of a stream is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from braid_hpc.cli.output import messages
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.references import parse_reference
from braid_hpc.vocabulary.texts import visible

if TYPE_CHECKING:
    from braid_hpc.lineage.row_answer import RowLineage

__all__ = ["ROW_OPTIONS", "names_row", "row_options", "show_rows"]

#: Options that only a row has.
ROW_OPTIONS = ("rank", "writer", "values")

row_options = (
    click.option("--values", is_flag=True, help="Of a row: the columns of each row too."),
    click.option("--writer", default=None, metavar="ID", help="Of a row: whose it is."),
    click.option("--rank", type=int, default=None, help="Of a row: whose it is, where several ranks have one."),
)


def names_row(reference: str, words: dict[str, Any], of_rows: dict[str, Any]) -> bool:
    """Return whether a row is meant, having seen that the options fit.

    Parameters
    ----------
    reference : str
        What was written.
    words : dict
        Options that only records have.
    of_rows : dict
        Options that only rows have.

    Returns
    -------
    bool
        Whether it ends with ``#k``.

    Raises
    ------
    InvalidInputError
        If it is no reference, or an option is of the other sort.
    """
    row = parse_reference(reference).row is not None
    if row and any(words.values()):
        raise InvalidInputError(f"{reference} is a row: --kind and --relation are for records")
    if not row and any(value is not None and value is not False for value in of_rows.values()):
        raise InvalidInputError(f"{reference} is no row: --rank, --writer and --values are for rows, such as peaks#17")
    return row


def show_rows(answer: RowLineage, form: str) -> None:
    """Print an answer about rows.

    Parameters
    ----------
    answer : RowLineage
        The answer.
    form : str
        ``tree`` or ``json``.

    Raises
    ------
    InvalidInputError
        If it is another one.
    """
    if form == "json":
        click.echo(json.dumps(answer.to_dict(), ensure_ascii=False, indent=2, default=str))
        if not answer.complete:
            messages.print("the answer is incomplete: logs are not whole, or a reference says too little")
    elif form == "tree":
        click.echo(visible(answer.tree()))
    else:
        raise InvalidInputError(f"rows are not drawn as {form}: ask for tree or json")

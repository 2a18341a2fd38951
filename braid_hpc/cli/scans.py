"""``braid scans``: the scans of an instrument of which something holds."""

from __future__ import annotations

import warnings

import click

from braid_hpc.cli.annotate import own_option, with_own
from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, Stores, emit, format_option, messages, stores_option
from braid_hpc.vocabulary.errors import BraidWarning, NotFoundError

__all__ = ["scans"]


@click.command(
    cls=Command,
    examples=[
        "braid scans",
        "braid scans 'start.plan_name = scan and stop.exit_status != success'",
        "braid scans 'device = motor1 and config.det.gain = 20' --format json",
        "braid scans 'all(data.motor) >= 0 and all(data.motor) <= 5' 'max(data.det) > 10' --limit 20",
    ],
)
@click.argument("searches", nargs=-1, metavar="[SEARCH]...")
@click.option("--limit", type=int, default=None, metavar="N", help="How many rows at most.")
@own_option
@at_option
@as_of_option
@stores_option
@format_option
def scans(
    searches: tuple[str, ...],
    limit: int | None,
    own: str | None,
    at: int | None,
    as_of: str | None,
    store: Stores,
    form: str,
) -> None:
    """List the scans of an instrument of which all that is asked holds, by the time of their start.

    The page 'filter' has the language; the events of each stream are counted each once, as far as they are there.
    """
    from braid_hpc.queries.parse import parse_query
    from braid_hpc.queries.tree import And
    from braid_hpc.store.searching import READ_AS_TAG, misspelt

    asked = [parse_query(text) for text in searches]
    query = None if not asked else asked[0] if len(asked) == 1 else And(tuple(asked))
    with open_chosen(store) as opened:
        with_own(opened, own)
        with warnings.catch_warnings():
            # They are said in the words of the command line.
            warnings.filterwarnings("ignore", f".*{READ_AS_TAG}", BraidWarning)
            table = opened.find_scans(query, at=at, as_of=as_of, limit=limit)
        doubts = [] if query is None else misspelt(opened, query)
    rows = [
        (row["uid"], row["scan_id"], row["plan"], row["time"], row["exit_status"], _streams(row, form)) for row in table
    ]
    if not emit(("uid", "scan_id", "plan", "time", "exit_status", "streams"), rows, form, nothing=""):
        asks = f" of which {' and '.join(searches)} holds" if searches else ""
        error = NotFoundError(f"there is no scan{asks}")
        for doubt in doubts:
            error.add_note(doubt)
        raise error
    for doubt in doubts:
        messages.print_as_is(doubt)


def _streams(row: dict[str, object], form: str) -> object:
    streams, counts = row["streams"], row["rows"]
    assert isinstance(streams, list)
    assert isinstance(counts, list)
    if form == "table":
        return ", ".join(f"{name} {count}" for name, count in zip(streams, counts, strict=True))
    return dict(zip(streams, counts, strict=True))

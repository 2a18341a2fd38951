"""``braid scan``: one run of an instrument, and the events of its streams."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, Stores, emit, format_option, messages, stores_option
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from braid_hpc.scans.scan import Scan
    from braid_hpc.store.store import Store

__all__ = ["scan"]

_NUMBER = re.compile(r"-?[0-9]{1,18}")


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True},
    examples=[
        "braid scan -1",
        "braid scan 5f0e8c1a --format json",
        "braid scan 12 --table primary",
        "braid scan 12 --table primary --columns motor,det --where 'motor > 3' --rows 0:100 --format csv",
        "braid scan run:fit --table losses --rows -1",
    ],
)
@click.argument("which", metavar="WHICH")
@click.option("--table", "stream", default=None, metavar="STREAM", help="Print the events of this stream.")
@click.option("--columns", default=None, metavar="NAME,...", help="Only these columns.")
@click.option("--where", default=None, metavar="SEARCH", help="Only events of which this holds: 'motor > 3'.")
@click.option("--rows", default=None, metavar="ROWS", help="Only these, from 0: 5, -1, 2:10 or ::100.")
@click.option("--timestamps", is_flag=True, help="With the time of each value.")
@at_option
@as_of_option
@stores_option
@format_option
def scan(
    which: str,
    stream: str | None,
    columns: str | None,
    where: str | None,
    rows: str | None,
    timestamps: bool,
    at: int | None,
    as_of: str | None,
    store: Stores,
    form: str,
) -> None:
    """Show a run of an instrument: what it was, its streams with how many events each has, its start and its stop.

    WHICH is a uid or the beginning of one, a scan_id, or -1 for the newest. 'run:' and the id of a run, or the name of
    its job, is a run that is no scan: its streams are those of the program.

    --table prints the events of a stream, each once and in the order of their numbers.
    """
    if which.startswith("--"):
        raise click.NoSuchOption(which)
    if stream is None and (columns, where, rows, timestamps) != (None, None, None, False):
        raise InvalidInputError("--columns, --where, --rows and --timestamps choose of a table: say --table STREAM too")
    with open_chosen(store) as opened:
        found = _found(opened, which, at, as_of)
        if stream is None:
            _show(found, form)
            return
        names = None if columns is None else [name.strip() for name in columns.split(",")]
        table = found.table(stream, columns=names, where=where, rows=_rows(rows), timestamps=timestamps)
        shown = table.columns
        emit(shown, ([row[name] for name in shown] for row in table), form, nothing="no events")


def _found(opened: Store, which: str, at: int | None, as_of: str | None) -> Scan:
    if not _NUMBER.fullmatch(which):
        return opened.scan(which, at=at, as_of=as_of)
    try:
        return opened.scan(int(which), at=at, as_of=as_of)
    except NotFoundError:
        # Digits may begin a uid too.
        if which.startswith("-"):
            raise
        return opened.scan(which, at=at, as_of=as_of)


def _rows(text: str | None) -> int | slice | None:
    if text is None:
        return None
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 1 and parts[0] is not None:
        return parts[0]
    if not 2 <= len(parts) <= 3:
        raise InvalidInputError(f"{text!r:.40} names no rows: write 5, -1, 2:10 or ::100")
    return slice(*parts)


def _show(found: Scan, form: str) -> None:
    missing = [each.detail for each in found.missing]
    start, stop = found.start, found.stop
    if form in ("json", "ndjson"):
        about = {"uid": found.uid, "streams": found.streams, "start": start, "stop": stop, "missing": missing}
        sys.stdout.write(json.dumps(_plain(about), ensure_ascii=False, indent=2 if form == "json" else None) + "\n")
        return
    if form == "table":
        for name, text in _head(found):
            sys.stdout.write(f"{name:<12}{text}\n")
        sys.stdout.write("\n")
    emit(("stream", "events"), list(found.streams.items()), form, nothing="no streams")
    if form == "table":
        for name, document in (("start", start), ("stop", stop)):
            text = "not there" if document is None else json.dumps(_plain(document), ensure_ascii=False, indent=2)
            sys.stdout.write(f"\n{name}: {text}\n")
    for sentence in missing:
        messages.print_as_is(sentence)


def _head(found: Scan) -> Iterator[tuple[str, str]]:
    from datetime import UTC, datetime

    start, stop = found.start or {}, found.stop or {}
    yield "scan", found.uid
    for name in ("scan_id", "plan_name", "job"):
        if start.get(name) is not None:
            yield name, str(start[name])
    for name, document in (("begin", start), ("end", stop)):
        time = document.get("time")
        if isinstance(time, (int, float)) and 0 <= time < 1e11:
            yield name, datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    yield "status", str(stop.get("exit_status", "it never stopped, or its stop is not there"))
    config = getattr(found, "config", None)
    if config:
        yield "settings of", ", ".join(config)


def _plain(value: Any) -> Any:
    from braid_hpc.vocabulary.encoding import to_jsonable

    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return to_jsonable(value)

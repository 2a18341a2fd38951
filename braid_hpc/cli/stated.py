"""``braid tests``: what was tested of a version, and what newly fails."""

from __future__ import annotations

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option
from braid_hpc.cli.output import Command, Stores, emit, format_option, messages, stores_option
from braid_hpc.store.stated import TestChanges, Tests
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

__all__ = ["tests"]

#: Exit code of a check that found something.
FOUND = 1

_WORDS = (("does not pass", "do not pass"), ("newly fails", "newly fail"))


@click.command(
    cls=Command,
    examples=[
        "braid tests model:braggnn",
        "braid tests model:braggnn@3 --against model:braggnn@2 --format json",
        "braid tests model:braggnn --at 1",
    ],
)
@click.argument("reference")
@click.option("--against", metavar="OLDER", help="Only what newly fails since this version is found.")
@click.option("--all-versions", is_flag=True, help="The tests of every version of that name.")
@at_option
@as_of_option
@stores_option
@format_option
@click.pass_context
def tests(
    context: click.Context,
    reference: str,
    against: str | None,
    all_versions: bool,
    at: int | None,
    as_of: str | None,
    store: Stores,
    form: str,
) -> None:
    """List the tests that were stated about REFERENCE; exit code 1 if one of them does not pass.

    With --against, every test of both versions is listed with what it said before and says now, and the exit code is
    1 if one newly fails: it failed or is invalid now, and neither failed before nor was as it is now.
    No test at all is exit code 3.
    """
    if against is not None and all_versions:
        raise InvalidInputError("--against compares two versions: leave out --all-versions")
    with open_chosen(store) as opened:
        if against is not None:
            changes = opened.compare_tests(reference, against=against, at=at, as_of=as_of)
            found = _compared(changes, form)
            made = any(change.now != "absent" for change in changes)
        else:
            stated = opened.tests(reference, all_versions=all_versions, at=at, as_of=as_of)
            found, made = _listed(stated, form), bool(stated)
    if not made:
        raise NotFoundError(f"no test was stated about {reference}")
    if found:
        messages.print(f"{found} {'test' if found == 1 else 'tests'} {_WORDS[against is not None][found != 1]}")
        context.exit(FOUND)


def _listed(stated: Tests, form: str) -> int:
    rows = [
        (s.name, s.about, s.passed, s.value, s.valid, s.cause, None if s.run is None else s.run[:8], s.rank, s.time)
        for s in stated
    ]
    emit(("test", "about", "passed", "value", "valid", "cause", "run", "rank", "time"), rows, form, nothing="")
    return sum(not (each.passed and each.valid) for each in stated)


def _compared(changes: TestChanges, form: str) -> int:
    rows = [
        (change.name, change.before, change.now, change.newly_failing, [each.ref for each in change.statements])
        for change in changes
    ]
    emit(("test", "before", "now", "newly_failing", "statements"), rows, form, nothing="")
    return sum(change.newly_failing for change in changes)

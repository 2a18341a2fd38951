"""``braid actions``: what is to be done about records that do not hold, and doing it when asked to."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.output import Command, Group, emit, format_option, messages, store_option
from braid_hpc.store.executing import TIMEOUT

if TYPE_CHECKING:
    from braid_hpc.store.due import ActionState

__all__ = ["actions"]


@click.group(cls=Group, examples=["braid actions list", "braid actions run --dry-run"])
def actions() -> None:
    """List and run what was attached to records for the case that they do not hold.

    Nothing runs an action but 'braid actions run'. They come from the logs of jobs: look at them with --dry-run first.
    """


@actions.command("list", cls=Command, examples=["braid actions list", "braid actions list --all --format json"])
@click.option("--all", "everything", is_flag=True, help="Also those that ended well, and those of valid records.")
@store_option
@format_option
def list_(everything: bool, store: str | None, form: str) -> None:
    """List the actions of invalid records that are due, running, interrupted or failed."""
    with open_chosen(store) as opened:
        found = opened.actions()
        shown = [state for state in found if everything or state.state not in ("idle", "ok")]
    _print(shown, form, "actions", nothing="no action is due" if found else "no action is attached to a record")
    if left := len(found) - len(shown):
        messages.print(f"{left} more ended well or are of valid records: see --all", soft_wrap=True)


@actions.command("run", cls=Command, examples=["braid actions run --dry-run", "braid actions run --retry --timeout 60"])
@click.option("--dry-run", is_flag=True, help="Only list what would be run.")
@click.option("--retry", is_flag=True, help="Also those that failed or were interrupted.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT,
    show_default=True,
    help="Seconds after which an action without a limit of its own is ended.",
)
@store_option
@format_option
@click.pass_context
def run(context: click.Context, dry_run: bool, retry: bool, timeout: float, store: str | None, form: str) -> None:
    """Run the actions that are due, each once for each statement of invalidation, parents before what came of them.

    Commands are never given to a shell. One that fails does not stop the others; the exit code is 1 then.
    """
    with open_chosen(store) as opened:
        done = opened.run_actions(retry=retry, dry_run=dry_run, timeout=timeout, told=_tell)
    _print(done, form, "would be run" if dry_run else "run", nothing="no action is due")
    if any(state.state == "failed" for state in done) and not dry_run:
        context.exit(1)


def _tell(state: ActionState) -> None:
    why = f": {state.error}" if state.error and state.state != "running" else ""
    messages.print_as_is(f"{state.state}: {_what(state)} ({state.ref}){why}")


def _what(state: ActionState) -> str:
    """Return the function, or the command in a form that shows where each of its elements ends."""
    return state.entry or shlex.join(state.would_run or state.command)


def _print(states: list[ActionState], form: str, title: str, *, nothing: str) -> None:
    columns = ["state", "ref", "action", "cause", "attempts", "code", "signal", "error", "statement"]
    if form != "table":
        columns += ["id", "name", "timeout", "output", "cut"]
    rows = [[_what(each) if name == "action" else getattr(each, name) for name in columns] for each in states]
    emit(columns, rows, form, title=title, nothing=nothing)

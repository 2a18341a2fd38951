"""``braid tasks`` and ``braid why-run``: what tasks did, why, and doing one again."""

from __future__ import annotations

import json

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.moments import as_of_option, at_option, text_format_option
from braid_hpc.cli.output import Command, Group, Stores, emit, format_option, messages, store_option, stores_option
from braid_hpc.vocabulary.times import shown_time

__all__ = ["tasks", "why_run"]

_STATUSES = ("done", "failed", "exited", "interrupted", "running")


@click.group(cls=Group, examples=["braid tasks list", "braid tasks show 4f1e", "braid tasks rerun 4f1e --dry-run"])
def tasks() -> None:
    """List tasks, show one, and run one again."""


@tasks.command("list", cls=Command, examples=["braid tasks list --status failed", "braid tasks list rng.draw --at 3"])
@click.argument("name", required=False)
@click.option("--status", type=click.Choice(_STATUSES), help="Only executions that ended so.")
@at_option
@as_of_option
@stores_option
@format_option
def list_(name: str | None, status: str | None, at: int | None, as_of: str | None, store: Stores, form: str) -> None:
    """List the executions of tasks, newest first; with NAME those of one task."""
    with open_chosen(store) as opened:
        found = opened.tasks(name, status=status, at=at, as_of=as_of)
    columns = found.columns
    if form == "table":
        columns = ["task_id", "status", "reason", "created", "duration", "parameters", "error"]
    emit(columns, ([row[each] for each in columns] for row in found), form, nothing="no task is on record")


@tasks.command("show", cls=Command, examples=["braid tasks show 4f1e", "braid tasks show rng.draw --format json"])
@click.argument("reference")
@at_option
@as_of_option
@stores_option
@text_format_option
def show(reference: str, at: int | None, as_of: str | None, store: Stores, form: str) -> None:
    """Show an execution of a task, by the beginning of its key, its task id, an activity, or the task's name."""
    with open_chosen(store) as opened:
        found = opened.task(reference, at=at, as_of=as_of)
    about = {
        "task": found.task,
        "key": found.key,
        "version": found.version,
        "status": found.status,
        "reason": found.reason,
        "detail": found.detail or None,
        "created": shown_time(found.created),
        "duration": found.duration,
        "overhead": found.overhead or None,
        "error": found.error,
        "value": found.value,
        "uri": found.uri,
        "digest": found.digest,
        "function": f"{found.task_module}:{found.function}",
        "executions": found.executions,
        "skips": found.skips,
    }
    parameters = [
        {"name": each.name, "value": each.value, "role": each.role, "given": each.given} for each in found.parameters
    ]
    if form == "json":
        click.echo(json.dumps({**about, "parameters": parameters}))
        return
    for name, value in about.items():
        if value is not None:
            click.echo(f"{name + ':':<12}{value}")
    for each in parameters:
        click.echo(f"  {each['name']} = {each['given'] or each['value']} ({each['role']})")


@tasks.command(
    "rerun",
    cls=Command,
    examples=["braid tasks rerun 4f1e --dry-run", "braid tasks rerun 4f1e", "braid tasks rerun 4f1e --force"],
)
@click.argument("reference")
@click.option("--dry-run", is_flag=True, help="Only make the call again, and print it.")
@click.option("--force", is_flag=True, help="Also if its code, its version or a file is another one now.")
@store_option
def rerun(reference: str, dry_run: bool, force: bool, store: Stores) -> None:
    """Run a task again, of what is on record of it, and merge what it did.

    Its module is imported, or its script is loaded: run only tasks of programs that you trust.
    """
    with open_chosen(store) as opened:
        path, found = opened.path, opened.task(reference)
    call = found.call(force=force)
    if dry_run:
        click.echo(repr(call))
        return
    from braid_hpc.cli.rerunning import run_again

    value, done = run_again(call, path)
    click.echo(repr(value))
    messages.print_as_is(f"{path}: snapshot {done.snapshot}")


@tasks.command(
    "cost",
    cls=Command,
    examples=["braid tasks cost rng.draw", "braid tasks cost dataset:normalized@1 --format json"],
)
@click.argument("reference")
@at_option
@stores_option
@format_option
def cost(reference: str, at: int | None, store: Stores, form: str) -> None:
    """Say how long it took to make what would be made again if a task changed, or one thing.

    A task's name means its calls in the last run that made any, and all that came of these; a version, an activity
    or the beginning of a key means what came of it.
    """
    with open_chosen(store) as opened:
        found = opened.redo(reference, at=at)
    emit(
        ["task", "calls", "seconds"],
        ([each.task, each.calls, round(each.seconds, 6)] for each in found.tasks),
        form,
        nothing="no task came of it",
    )
    if form == "table" and len(found.tasks) > 1:
        messages.print(f"{found.calls:,} calls, {found.seconds:.3g} s one after the other")


@click.command("why-run", cls=Command, examples=["braid why-run 4f1e", "braid why-run rng.draw --format json"])
@click.argument("reference", metavar="TASK")
@at_option
@stores_option
@text_format_option
def why_run(reference: str, at: int | None, store: Stores, form: str) -> None:
    """Say why TASK ran, what differs from the execution that it is nearest to (of 1,000), and whether it would run now.

    TASK is the beginning of a key, a task id, an activity, or a task's name, which means its newest execution.
    """
    with open_chosen(store) as opened:
        found = opened.why_run(reference, at=at)
    if form == "json":
        click.echo(
            json.dumps(
                {
                    "task": found.task.task,
                    "key": found.task.key,
                    "pk": found.task.pk,
                    "reason": found.reason,
                    "sentence": found.sentence,
                    "nearest": found.nearest,
                    "differences": [list(each) for each in found.differences],
                    "now": found.now,
                }
            )
        )
        return
    click.echo(f"{found.task.task} {found.task.key[:12]} ran at {shown_time(found.task.created)}: {found.sentence}")
    click.echo(found.now)

"""Commands on batch jobs: submit, script, jobs, cancel."""

from __future__ import annotations

import time
from pathlib import Path

import click

from braid_hpc.batch.specification import SCHEDULERS
from braid_hpc.cli.output import Command, emit, format_option, messages

__all__ = ["cancel", "fetch_job", "jobs", "script", "submit"]

_scheduler_option = click.option(
    "--scheduler",
    type=click.Choice(SCHEDULERS),
    default=None,
    help="Whom to ask; without it the one in the specification, else the one whose commands are here.",
)
_specification = click.argument("specification", metavar="SPEC", type=click.Path(path_type=Path, dir_okay=False))


@click.command(cls=Command, examples=["braid submit fit.toml", "braid submit fit.toml --scheduler slurm --dry-run"])
@_specification
@_scheduler_option
@click.option("--through", type=click.Choice(["psij"]), default=None, help="Hand the scripts over by PSI/J.")
@click.option("--dry-run", is_flag=True, help="Print the scripts and the commands; write nothing, submit nothing.")
def submit(specification: Path, scheduler: str | None, through: str | None, dry_run: bool) -> None:
    """Submit the job that the TOML file SPEC describes, and another one that merges its logs when it is over.

    The job's id, that of the merging job, and the job's directory are printed. If the second one is refused, the
    first one stays, and it is said what to do.
    """
    from braid_hpc.batch.submission import submit as submit_job

    done = submit_job(specification, scheduler=scheduler, through=through, dry_run=dry_run)
    for warning in done.warnings:
        messages.print_as_is(f"braid: {warning}")
    if dry_run:
        for part, command in zip(done.scripts, done.commands, strict=True):
            click.echo(f"$ {command}")
            click.echo(done.scripts[part])
        return
    click.echo(f"job {done.job}")
    click.echo(f"compaction {done.compaction or 'none'}")
    click.echo(f"directory {done.directory}")


@click.command(
    cls=Command,
    examples=["braid script fit.toml --scheduler slurm > fit.sh", "braid script fit.toml --part compact > merge.sh"],
)
@_specification
@click.option(
    "--part", type=click.Choice(["job", "compact"]), default="job", show_default=True, help="Which of the two scripts."
)
@_scheduler_option
def script(specification: Path, part: str, scheduler: str | None) -> None:
    """Print a script for the job that the TOML file SPEC describes, to be read, edited and submitted by hand."""
    from braid_hpc.batch.rendering import render
    from braid_hpc.batch.scheduler import find_scheduler
    from braid_hpc.batch.scheduler import scheduler as by_name
    from braid_hpc.batch.specification import read_specification

    spec = read_specification(specification)
    named = scheduler or spec.scheduler
    # A script may be written where its scheduler is not.
    chosen = by_name(named) if named else find_scheduler()
    click.echo(render(spec, chosen, part), nl=False)


@click.command(cls=Command, examples=["braid jobs", "braid jobs /shared/runs --format json"])
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@format_option
def jobs(directory: Path, form: str) -> None:
    """List the jobs that were submitted into DIRECTORY, and what became of each."""
    from braid_hpc.batch.listing import jobs as submitted

    columns = ("job", "name", "scheduler", "submitted", "state", "compaction", "merge", "exit", "complete", "directory")
    rows = [
        (
            *(each.job, each.name, each.scheduler, _moment(each.submitted), each.state, each.compaction, each.merge),
            *(each.exit_code, _of(each.complete, each.expected), str(each.directory)),
        )
        for each in submitted(directory)
    ]
    emit(columns, rows, form, nothing=f"no job was submitted into {directory}")


def fetch_job(context: click.Context, job: str, directory: Path, form: str) -> None:
    """Do what ``braid ship --job`` does.

    Parameters
    ----------
    context : click.Context
        Of the call; exit code 1 if a job was refused.
    job : str
        Its id.
    directory : Path
        Where it was submitted into.
    form : str
        How the rows are printed.
    """
    from braid_hpc.batch.fetching import fetch

    found = fetch(job, directory)
    columns = ("node", "part", "directory", "heard", "job", "compaction", "fault")
    rows = [[getattr(each, name) for name in columns] for each in found]
    emit(columns, rows, form, nothing=f"no node has logs of job {job} left: the last status of each is its final one")
    if any(each.fault for each in found):
        context.exit(1)


def _moment(submitted: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(submitted // 10**9))


def _of(complete: int | None, expected: int | None) -> str | None:
    return None if complete is None else f"{complete}/{expected}"


@click.command(cls=Command, examples=["braid cancel 4711", "braid cancel fit-20261122-101500-3fa1"])
@click.argument("job")
@click.option(
    "--directory", default=".", type=click.Path(path_type=Path), help="Where it was submitted into; here without it."
)
def cancel(job: str, directory: Path) -> None:
    """End a job, named by its id or its directory. What its ranks have written is shipped and merged all the same."""
    from braid_hpc.batch.listing import cancel as cancel_job

    found = cancel_job(job, directory)
    messages.print_as_is(f"{found.name}, {found.scheduler} job {found.job}, was {found.state}: it is told to end")

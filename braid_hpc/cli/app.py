"""The commands; each is in the module of its room."""

from __future__ import annotations

import click

from braid_hpc._version import __version__
from braid_hpc.cli import (
    actions,
    ask,
    collectors,
    create,
    demo,
    doctor,
    draw,
    find,
    globus,
    judge,
    listing,
    logs,
    questions,
    rebuild,
    ship,
    stated,
    versions,
)
from braid_hpc.cli.program import USAGE

__all__ = ["braid"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="braid")
def braid() -> None:
    """Provenance of MPI jobs: merge the logs of their ranks, and ask what came from what.

    Results go to stdout, messages to stderr. Exit codes: 0 ok, 1 a check found something, 2 wrong call,
    3 not found, 4 store or format error, 5 conflict.
    """


class Usage(click.Command):
    """A command that is taken before click is imported: its help is its usage."""

    def get_help(self, context: click.Context) -> str:
        """Return the usage.

        Parameters
        ----------
        context : click.Context
            Of the call.

        Returns
        -------
        str
            All of it.
        """
        return USAGE


@click.command("run", cls=Usage)
def run() -> None:
    """Record a program as a job (mpirun -n 4 braid run SCRIPT), or start a launcher (braid run -- mpirun ...)."""
    click.echo(USAGE)


for command in (
    create.create,
    logs.compact,
    logs.check,
    rebuild.rebuild,
    ship.ship,
    ask.log,
    ask.show,
    ask.lineage,
    ask.impact,
    questions.why,
    questions.how,
    questions.where,
    questions.stale,
    questions.complete,
    draw.graph,
    versions.history,
    versions.diff,
    versions.checkout,
    find.find,
    stated.tests,
    judge.invalidate,
    judge.revalidate,
    judge.retract,
    actions.actions,
    globus.globus,
    ask.sql,
    listing.print_records,
    ask.status,
    demo.demo,
    collectors.collectors,
    doctor.doctor,
    run,
):
    braid.add_command(command)

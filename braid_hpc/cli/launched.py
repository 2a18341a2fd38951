"""``braid run`` as it is listed: it is taken before click is imported, see :mod:`braid_hpc.cli`."""

from __future__ import annotations

import click

from braid_hpc.cli.program import USAGE

__all__ = ["Usage", "run"]


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

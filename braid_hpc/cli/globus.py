"""``braid globus``: an endpoint that runs steps, and the functions that it runs."""

from __future__ import annotations

from pathlib import Path

import click

from braid_hpc.cli.output import Command, Group, emit, format_option, messages
from braid_hpc.remote.register import Client, configure, default_file, register
from braid_hpc.vocabulary.errors import MissingExtraError

__all__ = ["globus"]


_file_option = click.option(
    "--file",
    type=click.Path(path_type=Path),
    default=None,
    help="Where settings stand; without it braid/globus.json below ~/.config.",
)


@click.group(cls=Group, examples=["braid globus register"])
def globus() -> None:
    """Have steps of flows recorded by a Globus Compute endpoint. Needs the extra 'globus'."""


@globus.command("configure", cls=Command, examples=["braid globus configure 834dd614-adc1-4ed1-a620-d67c4e90a165"])
@click.argument("endpoint")
@_file_option
def configure_(endpoint: str, file: Path | None) -> None:
    """Remember which endpoint runs the functions, after asking the service whether there is one."""
    chosen = file or default_file()
    settings = configure(_client(), chosen, endpoint=endpoint)
    messages.print(f"endpoint {settings['endpoint']} is written into {chosen}", soft_wrap=True)


@globus.command("register", cls=Command, examples=["braid globus register", "braid globus register --again"])
@click.option("--again", is_flag=True, help="Also functions that have not changed.")
@click.option("--public", is_flag=True, help="Let everybody run them.")
@_file_option
@format_option
def register_(again: bool, public: bool, file: Path | None, form: str) -> None:
    """Register the functions that are new or have changed, and list the ids of all."""
    ids = register(_client(), file or default_file(), again=again, public=public)
    emit(("function", "id"), list(ids.items()), form)


def _client() -> Client:
    try:
        from globus_compute_sdk import Client as RealClient
    except ImportError:
        raise MissingExtraError("this needs Globus Compute: pip install 'braid_hpc[globus]'") from None
    client: Client = RealClient()
    return client

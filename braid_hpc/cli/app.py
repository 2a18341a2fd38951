"""The commands; each is in the module of its room, which is imported when that command is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

import click

from braid_hpc._version import __version__

__all__ = ["braid"]

#: Where each command is: a module of this room, and the name that the command has there.
_HOMES = {
    "create": ("create", "create"),
    "compact": ("logs", "compact"),
    "ingest": ("ingest", "ingest"),
    "check": ("logs", "check"),
    "rebuild": ("rebuild", "rebuild"),
    "restrict": ("restrict", "restrict"),
    "ship": ("ship", "ship"),
    "watch": ("watch", "watch"),
    "log": ("ask", "log"),
    "show": ("ask", "show"),
    "lineage": ("ask", "lineage"),
    "impact": ("ask", "impact"),
    "tasks": ("tasks", "tasks"),
    "why-run": ("tasks", "why_run"),
    "why": ("questions", "why"),
    "how": ("questions", "how"),
    "where": ("questions", "where"),
    "stale": ("questions", "stale"),
    "complete": ("questions", "complete"),
    "graph": ("draw", "graph"),
    "history": ("versions", "history"),
    "diff": ("versions", "diff"),
    "checkout": ("versions", "checkout"),
    "stage": ("stage", "stage"),
    "campaign": ("campaign", "campaign"),
    "todo": ("campaign", "todo"),
    "files": ("files", "files"),
    "dataset": ("datasets", "dataset"),
    "find": ("find", "find"),
    "scans": ("scans", "scans"),
    "tag": ("annotate", "tag"),
    "note": ("annotate", "note"),
    "annotations": ("annotate", "list_annotations"),
    "scan": ("scan", "scan"),
    "tests": ("stated", "tests"),
    "export": ("export", "export"),
    "invalidate": ("judge", "invalidate"),
    "revalidate": ("judge", "revalidate"),
    "retract": ("judge", "retract"),
    "deny": ("deny", "deny"),
    "allow": ("deny", "allow"),
    "denials": ("deny", "denials"),
    "actions": ("actions", "actions"),
    "globus": ("globus", "globus"),
    "sql": ("ask", "sql"),
    "print": ("listing", "print_records"),
    "status": ("ask", "status"),
    "demo": ("demo", "demo"),
    "bench": ("bench", "bench"),
    "collectors": ("collectors", "collectors"),
    "doctor": ("doctor", "doctor"),
    "run": ("launched", "run"),
    "submit": ("batch", "submit"),
    "script": ("batch", "script"),
    "jobs": ("batch", "jobs"),
    "cancel": ("batch", "cancel"),
}


class Commands(Mapping[str, click.Command]):
    """The commands by name. To import the modules of all of them takes longer than most questions."""

    def __getitem__(self, name: str) -> click.Command:
        """Return a command.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        module, attribute = _HOMES[name]
        command: click.Command = getattr(import_module(f"braid_hpc.cli.{module}"), attribute)
        return command

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(_HOMES)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(_HOMES)


@click.group(commands=Commands(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="braid")
def braid() -> None:
    """Provenance of MPI jobs: merge the logs of their ranks, and ask what came from what.

    Results go to stdout, messages to stderr. Exit codes: 0 ok, 1 a check found something, 2 wrong call,
    3 not found, 4 store or format error, 5 conflict.
    """

"""The command ``braid``.

``braid run`` is a way in for programs on ranks: it is taken before anything but the standard library is imported.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ends the process with an exit code.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of :data:`sys.argv` without its first element.

    Raises
    ------
    SystemExit
        Always: 0 if all is well, 1 if a check found something, 2 for a wrong call, 3 if something is not there,
        4 for a store or format that cannot be used, 5 for a conflict.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "run" and arguments[1:2] not in (["--help"], ["-h"]):
        from braid_hpc.cli.program import run_program

        run_program(arguments[1:])
    if find_spec("click") is None or find_spec("rich") is None:
        sys.stderr.write("braid: this command needs click and rich: pip install 'braid_hpc[store]'\n")
        sys.exit(4)
    from braid_hpc.cli.app import braid

    braid.main(args=arguments, prog_name="braid")

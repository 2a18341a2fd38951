"""What this process is: its command line, its script, the commit of its sources, its packages."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any

from braid_hpc.vocabulary.identity import content_of_file
from braid_hpc.vocabulary.redaction import redact_arguments

__all__ = ["describe_process", "git_commit", "imported_packages", "mpi_library", "world_size"]


def describe_process() -> dict[str, Any]:
    """Return what the header of a log says of the process.

    Returns
    -------
    dict
        ``argv``, ``cwd``, ``executable``, ``python``, ``user``, ``script`` with its ``script_digest``, and ``git``
        (the commit of the repository that the script, or else the directory, lies in), each only where it is known.
    """
    facts: dict[str, Any] = {
        "argv": redact_arguments(getattr(sys, "orig_argv", sys.argv)),
        "executable": sys.executable,
        "python": sys.version.split()[0],
    }
    try:
        facts["cwd"] = os.getcwd()
    except OSError:
        facts["cwd"] = ""
    try:
        facts["user"] = getpass.getuser()
    except (KeyError, OSError):
        facts["user"] = str(os.getuid())
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    origin = Path(facts["cwd"] or ".")
    if script:
        path = Path(script).absolute()
        facts["script"] = str(path)
        try:
            with path.open("rb") as file:
                facts["script_digest"] = content_of_file(file).digest
        except OSError:
            pass
        origin = path.parent
    if commit := git_commit(origin):
        facts["git"] = commit
    return facts


def git_commit(origin: Path) -> str | None:
    """Return the commit that is checked out where `origin` lies, without starting ``git``.

    A fork in the middle of an MPI program can end it, so the files are read instead (gitrepository-layout(5)).

    Parameters
    ----------
    origin : Path
        A directory.

    Returns
    -------
    str or None
        40 or 64 hexadecimal digits; None outside a repository.
    """
    for directory in (origin, *origin.parents):
        git = directory / ".git"
        try:
            if git.is_file():
                git = directory / git.read_text().partition("gitdir:")[2].strip()
            head = (git / "HEAD").read_text().strip()
        except (OSError, ValueError):
            continue
        if not head.startswith("ref:"):
            return head or None
        return _resolve(git, head[4:].strip())
    return None


def _resolve(git: Path, name: str) -> str | None:
    places = [git]
    try:
        places.append(git / (git / "commondir").read_text().strip())
    except (OSError, ValueError):
        pass
    for place in places:
        try:
            return (place / name).read_text().strip()
        except (OSError, ValueError):
            pass
        try:
            for line in (place / "packed-refs").read_text().splitlines():
                if line.endswith(" " + name):
                    return line.split(" ")[0]
        except (OSError, ValueError):
            pass
    return None


def imported_packages(*, thorough: bool = True) -> dict[str, str]:
    """Return the versions of the packages that this process has imported.

    Parameters
    ----------
    thorough : bool
        Whether packages without ``__version__`` are looked up among those installed, which takes some 20 ms.

    Returns
    -------
    dict
        Top-level module to version; modules of the standard library and those without a version are left out.
    """
    packages: dict[str, str] = {}
    for name in sorted({module.partition(".")[0] for module in list(sys.modules)}):
        if name in sys.stdlib_module_names or name.startswith("_"):
            continue
        # Its own dictionary, and not getattr: a module may compute attributes, and warn.
        facts = getattr(sys.modules.get(name), "__dict__", {})
        if isinstance(facts.get("__version__"), str):
            packages[name] = facts["__version__"]
        elif thorough and facts.get("__path__") is not None and (installed := _installed_version(name)):
            packages[name] = installed
    return packages


def _installed_version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def world_size() -> tuple[int, int] | None:
    """Return rank and size of ``MPI.COMM_WORLD``, if the program has imported and initialised mpi4py.

    Returns
    -------
    (int, int) or None
        Rank and size; both calls are local.
    """
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or not hasattr(mpi, "COMM_WORLD") or not mpi.Is_initialized() or mpi.Is_finalized():
        return None
    return mpi.COMM_WORLD.Get_rank(), mpi.COMM_WORLD.Get_size()


def mpi_library() -> str | None:
    """Return the MPI library's own description, if the program has imported mpi4py.

    Returns
    -------
    str or None
        The first line of what ``MPI_Get_library_version`` says.
    """
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or not hasattr(mpi, "Get_library_version"):
        return None
    text: str = mpi.Get_library_version()
    return text.strip().partition("\n")[0].strip()

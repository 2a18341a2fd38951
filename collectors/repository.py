"""The state of the sources: the commit that is checked out, and what was changed since, as a patch of limited size."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from braid_hpc.run.process import git_commit
from braid_hpc.vocabulary.redaction import redact

__all__ = ["PATCH_BYTES", "git_state"]

#: How much of a patch is kept.
PATCH_BYTES = 64 << 10
#: How long git may take (seconds).
_PATIENCE = 10.0


def git_state(origin: Path, *, patch_bytes: int = PATCH_BYTES) -> dict[str, Any]:
    """Return the state of the repository that a directory lies in.

    Parameters
    ----------
    origin : Path
        A directory.
    patch_bytes : int
        How much of the patch of uncommitted changes of tracked files is kept; 0 for no patch.

    Returns
    -------
    dict
        ``commit``; and where git was asked ``dirty``, ``untracked`` (how many files), ``patch`` (redacted),
        ``patch_cut`` (whether it is longer). Empty outside of a repository. git is not started where MPI is
        initialised, because a fork can end such a program; then ``asked`` is False.
    """
    commit = git_commit(origin)
    if commit is None:
        return {}
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        return {"commit": commit, "asked": False}
    status, _ = _git(origin, 1 << 20, "status", "--porcelain", "--untracked-files=normal", "--ignore-submodules")
    if status is None:
        return {"commit": commit, "asked": False}
    lines = status.splitlines()
    untracked = sum(line.startswith("??") for line in lines)
    found: dict[str, Any] = {"commit": commit, "asked": True, "dirty": len(lines) > untracked, "untracked": untracked}
    if patch_bytes > 0 and found["dirty"]:
        patch, cut = _git(origin, patch_bytes, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
        if patch is not None:
            found.update(patch=redact(patch), patch_cut=cut)
    return found


def _git(origin: Path, limit: int, *arguments: str) -> tuple[str | None, bool]:
    """Return what git prints, up to whole lines of so many bytes, and whether there is more; None if it fails."""
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(origin), *arguments]
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=variables,
                timeout=_PATIENCE,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None, False
        output.seek(0)
        data = output.read(limit + 1)
    if len(data) <= limit:
        return data.decode("utf-8", "replace"), False
    # A line that is cut could hold a part of a secret that no pattern knows.
    return data[: data.rfind(b"\n", 0, limit) + 1].decode("utf-8", "replace"), True

"""Where a rank log lies: the log directory, and what its file system can promise."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SITE_VARIABLES", "FileSystem", "default_log_dir", "file_system_of"]

#: Variables by which sites and schedulers name a node-local directory that lives as long as the job.
SITE_VARIABLES = ("SLURM_TMPDIR", "LOCAL_SCRATCH", "LSCRATCH", "PBS_JOBFS", "JOBFS", "TMP_LOCAL", "SCRATCH_LOCAL")

_MAPPABLE = frozenset({"ext4", "xfs", "tmpfs", "overlay"})
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "lustre", "gpfs", "beegfs", "ceph", "afs"})


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system below a path.

    Attributes
    ----------
    type : str
        As the kernel names it (``ext4``, ``tmpfs``, ``lustre``), or ``unknown``.
    mount : str
        Its mount point.
    """

    type: str
    mount: str

    @property
    def mappable(self) -> bool:
        """Whether what is stored into a mapping there is known to survive the process."""
        return self.type in _MAPPABLE

    @property
    def volatile(self) -> bool:
        """Whether it lies in memory, so that nothing on it survives the node."""
        return self.type in ("tmpfs", "ramfs")

    @property
    def network(self) -> bool:
        """Whether a write is only buffered on this node until it is synced."""
        return self.type in _NETWORK


def default_log_dir() -> Path:
    """Return the directory for rank logs where none was named.

    Returns
    -------
    Path
        ``BRAID_LOG_DIR``; else ``braid-<user>`` below the first of :data:`SITE_VARIABLES` that names a directory;
        else ``braid-<user>`` below the temporary directory.
    """
    if named := os.environ.get("BRAID_LOG_DIR"):
        return Path(named)
    own = f"braid-{os.getuid()}"
    for variable in SITE_VARIABLES:
        if (site := os.environ.get(variable)) and os.path.isdir(site):
            return Path(site) / own
    return Path(tempfile.gettempdir()) / own


def file_system_of(path: str | os.PathLike[str]) -> FileSystem:
    """Say which file system a path lies on.

    Parameters
    ----------
    path : path-like
        Need not exist; the mount point with the longest common beginning counts.

    Returns
    -------
    FileSystem
        ``unknown`` where ``/proc/self/mountinfo`` cannot be read.
    """
    whole = os.path.realpath(path)
    best = FileSystem("unknown", "/")
    length = -1
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                left, _, right = line.partition(" - ")
                mount = left.split(" ")[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
                inside = mount == "/" or whole == mount or whole.startswith(mount + "/")
                # A later line of equal length is mounted over the earlier one.
                if inside and len(mount) >= length:
                    best, length = FileSystem(right.split(" ")[0], mount), len(mount)
    except OSError:
        pass
    return best

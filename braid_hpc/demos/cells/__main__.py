"""``python -m braid_hpc.demos.cells``, alone or under ``mpirun``."""

from __future__ import annotations

import sys

from braid_hpc.demos.launch import launch

if __name__ == "__main__":
    sys.exit(launch("cells"))

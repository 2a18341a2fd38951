"""``python -m braid_hpc.demos.braggnn``, alone or under ``mpirun``."""

from __future__ import annotations

import os
import sys

# One thread per rank, as a batch script would ask for: the matrices are small, and ranks share the cores.
# It has to be said before NumPy is imported.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

if __name__ == "__main__":
    from braid_hpc.demos.braggnn.workflow import main

    sys.exit(main())

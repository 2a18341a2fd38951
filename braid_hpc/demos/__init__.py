"""Demos: whole workflows with real computation, small enough for a laptop, recorded as a real job would be.

Each demo is a package that ``python -m`` runs, with or without ``mpirun``. It only records, and at its end prints the
command that compacts what it recorded; ``braid demo NAME -n N`` does all of it.
"""

from __future__ import annotations

"""Cells: images of cells, normalised and projected, each once, with two datasets and an analysis at the end.

::

    mpirun -n 4 python -m braid_hpc.demos.cells --dir demo

============================  ===================================================================
module                        what it does
============================  ===================================================================
:mod:`.flow`                  the steps, as tasks, and how they follow on each other
:mod:`.images`                what a microscope would have seen, and what is computed of it
:mod:`.workflow`              the job: one process, or ranks as a pool
:mod:`.summary`               what the demo prints from the store
============================  ===================================================================

The flow is that of the Allen Institute for Cell Science's examples for reproducible steps: select, normalise, collect
as a dataset, project, collect again, analyse. No step opens a file.
"""

from __future__ import annotations

from braid_hpc.demos.cells.summary import report

__all__ = ["FURTHER", "MERGE_FIRST", "report"]

FURTHER = "lineage dataset:projections --kind dataset"
"""What to ask the store next, as the command line takes it."""

MERGE_FIRST = True
"""What an earlier start has left is merged before the job: it says what is done."""

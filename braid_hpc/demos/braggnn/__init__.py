"""BraggNN: sub-pixel positions of diffraction peaks, learned on all ranks, with the provenance of every step.

::

    mpirun -n 4 python -m braid_hpc.demos.braggnn --dir demo

============================  ===================================================================
module                        what it does
============================  ===================================================================
:mod:`.settings`              the scientist's configuration file
:mod:`.simulate`              raw detector frames, with peaks at known positions
:mod:`.peaks`                 peaks and patches from the frames that zero suppression left
:mod:`.network`               what the model sees of a peak, and what it should say
:mod:`.acquisition`           raw frames and their reduction, recorded
:mod:`.training`              the training on all ranks, recorded
:mod:`.workflow`              the job: the steps in their order, and inference
:mod:`.summary`               what the demo prints from the store
============================  ===================================================================

The method is that of BraggNN (Liu et al., IUCrJ 9, 104, 2022: a network that localises Bragg peaks in small patches),
at a size that trains in seconds.
"""

from __future__ import annotations

from braid_hpc.demos.braggnn.summary import report

__all__ = ["FURTHER", "report"]

FURTHER = "lineage model:braggnn"
"""What to ask the store next, as the command line takes it."""

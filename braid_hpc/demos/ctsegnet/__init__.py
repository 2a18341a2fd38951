"""CTSegNet: a tomography segmentation loop, in which an ensemble of models is trained on its own vote.

::

    mpirun -n 4 python -m braid_hpc.demos.ctsegnet --dir demo

============================  ===================================================================
module                        what it does
============================  ===================================================================
:mod:`.settings`              the configuration file
:mod:`.scan`                  a phantom, its scan, and the reconstruction of its slices
:mod:`.ensemble`              the models: what each sees of a pixel, masks, the vote, the overlap
:mod:`.workflow`              the job: three rounds of segmentation, vote and training
:mod:`.summary`               what the demo prints from the store
============================  ===================================================================

The loop is that of CTSegNet (Tekawade et al., Proc. SPIE 11511, 115110D, 2020: segmentation of large tomograms with an
ensemble of convolutional networks), at a size that takes seconds.
"""

from __future__ import annotations

from braid_hpc.demos.ctsegnet.summary import report

__all__ = ["FURTHER", "report"]

FURTHER = "lineage model:segnet-1"
"""What to ask the store next, as the command line takes it."""

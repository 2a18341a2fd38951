"""SSX: serial crystallography, from diffraction stills of two experiments to merged structure factors.

::

    mpirun -n 4 python -m braid_hpc.demos.ssx --dir demo

============================  ===================================================================
module                        what it does
============================  ===================================================================
:mod:`.settings`              ``beamline.json``, ``process.phil`` and ``prime.phil``
:mod:`.crystal`               the crystal: atoms, structure factors, where its spots fall
:mod:`.stills`                simulated stills of crystals in random orientations
:mod:`.integration`           spots predicted and integrated, one file for a series of stills
:mod:`.merge`                 scaling, correction of partiality, merging, figures of merit
:mod:`.workflow`              the job, recorded
:mod:`.summary`               what the demo prints from the store
============================  ===================================================================

The steps are those of stills processing (integration of what was predicted) and of post-refinement programs such as
PRIME (Uervirojnangkoorn et al., eLife 4, e05421, 2015), at a size that takes seconds.
"""

from __future__ import annotations

from braid_hpc.demos.ssx.summary import report

__all__ = ["FURTHER", "report"]

FURTHER = "lineage structure:all"
"""What to ask the store next, as the command line takes it."""

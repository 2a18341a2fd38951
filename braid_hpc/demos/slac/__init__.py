"""SLAC: data reduction at the edge, with firmware that was built from a model, and every dropped event answerable.

::

    mpirun -n 4 python -m braid_hpc.demos.slac --dir demo

============================  ===================================================================
module                        what it does
============================  ===================================================================
:mod:`.settings`              the configuration file
:mod:`.simulate`              shots of a ring of electron detectors, simulated and as measured
:mod:`.firmware`              the model in fixed point: registers, their file, what they decide
:mod:`.workflow`              the job: training on both, two builds, reduction, inference
:mod:`.summary`               what the demo prints from the store
============================  ===================================================================

The instrument is that of angular streaking at an X-ray laser: sixteen time-of-flight detectors stand in a ring around
the beam, and a shot is worth keeping if electrons arrived in the time window. The raw waveforms never reach a disk.
"""

from __future__ import annotations

from braid_hpc.demos.slac.summary import report

__all__ = ["FURTHER", "report"]

FURTHER = "lineage firmware:cookiebox"
"""What to ask the store next, as the command line takes it."""

"""Demos: whole workflows with real computation, small enough for a laptop, recorded as a real job would be.

Each demo is a package that ``python -m`` runs, with or without ``mpirun``. It only records, and at its end prints the
command that compacts what it recorded; ``braid demo NAME -n N`` does all of it.

============================  ===================================================================
demo                          the question at its end
============================  ===================================================================
:mod:`.slac`                  which firmware, thresholds and training data dropped this event?
:mod:`.braggnn`               what trained the model that placed this peak?
:mod:`.ssx`                   which experiments and settings are in this structure?
:mod:`.ctsegnet`              what data was used to train this version of the model?
:mod:`.scattering`            which simulations support this fit?
:mod:`.cells`                 what is left to do, and what came of this cell?
============================  ===================================================================

What they share stands beside them:

============================  ===================================================================
module                        what it does
============================  ===================================================================
:mod:`.launch`                the beginning of ``python -m``
:mod:`.program`               arguments, ranks, configuration, the run, and the end
:mod:`.ranks`                 the collectives of the programs themselves, also where there is no MPI
:mod:`.files`                 configurations and HDF5 files, whole or not there at all
:mod:`.network`               a small network, trained on all ranks
:mod:`.answers`               what the reports share
============================  ===================================================================
"""

from __future__ import annotations

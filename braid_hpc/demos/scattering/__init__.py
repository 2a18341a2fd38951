"""Neutron scattering: the exchange constants of a magnet, read off with an auto-encoder that simulations trained.

::

    mpirun -n 4 python -m braid_hpc.demos.scattering --dir demo

============================  ===================================================================
module                        what it does
============================  ===================================================================
:mod:`.settings`              the configuration file
:mod:`.magnet`                spin waves, the spectra they give, and the measured one
:mod:`.features`              the linear auto-encoder, the reduced space, the fit
:mod:`.workflow`              the job, recorded
:mod:`.summary`               what the demo prints from the store
============================  ===================================================================

The method is that of Samarakoon and others (Nature Communications 11, 892, 2020: an auto-encoder trained on simulated
structure factors finds the Hamiltonian of a spin ice), with a magnet whose spin waves can be written down.
"""

from __future__ import annotations

from braid_hpc.demos.scattering.summary import report

__all__ = ["FURTHER", "report"]

FURTHER = "lineage data:fit"
"""What to ask the store next, as the command line takes it."""

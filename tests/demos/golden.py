"""Two workflows as graphs with fixed names, recorded through the public interface: what a store of them must hold.

Names and places are those that each workflow's own files would have; nothing is computed.
"""

from __future__ import annotations

import braid_hpc as braid

SERIES = 10
"""Integrated files of the serial crystallography graph."""


def slac(run: braid.Run) -> None:
    """Configuration, scan and simulation, and the model that was trained on both."""
    configuration = run.fact("cfg", uri="slac://configuration/cookiebox.toml")
    scan = run.data("scan", uri="slac://experiment/scan-12.h5", derived_from=configuration)
    places = ["slac://simulation/hits.h5", "slac://simulation/dark.h5"]
    simulation = run.data("sim", uri=places, derived_from=configuration)
    run.model("model", uri="slac://model/cookienet.npz", derived_from=[scan, simulation])


def ssx(run: braid.Run) -> None:
    """Two settings files, ten integrated files, the list of what to merge, and the structure."""
    settings = [run.fact(name, uri=f"ssx://settings/{name}") for name in ("beamline.json", "process.phil")]
    integrated = [
        run.data(f"integrated/{number:02}", uri=f"ssx://integrated/{number:02}.h5", derived_from=settings)
        for number in range(SERIES)
    ]
    listed = run.data("prime.phil", uri="ssx://settings/prime.phil", derived_from=settings)
    run.record("structure", "structure", uri="ssx://structure/all.hkl", derived_from=[listed, *integrated])

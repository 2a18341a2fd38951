"""NeXus files by programs of others: punx finds no error, nexusformat draws them (`make test-suitcases`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from braid_hpc.exports.exporting import export
from tests.collectors.documents.instrument import stored
from tests.collectors.documents.test_bluesky import run_plans
from tests.exports.test_emitted import PLANS, split
from tests.exports.test_nexus import grid

nexus = pytest.importorskip("nexusformat.nexus", reason="make test-suitcases has readers of NeXus files")
pytest.importorskip("punx", reason="make test-suitcases has readers of NeXus files")


def errors_of(path: Path) -> list[str]:
    """Ask punx, against the definitions that it comes with."""
    command = [str(Path(sys.executable).with_name("punx")), "validate", "--report", "ERROR,WARN", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert "violates NeXus specification" in done.stdout
    found = [line for line in done.stdout.splitlines() if line.startswith("/")]
    # That an NXcollection holds what NeXus has no names for is what it is there for.
    return [line for line in found if "NXcollection contains non-NeXus content" not in line]


def test_punx_finds_nothing_wrong(tmp_path: Path) -> None:
    seen, store = run_plans(tmp_path, *PLANS)
    with store:
        for number, uid in enumerate(split(seen)):
            export(store, uid, to=tmp_path / f"{number}.nxs")
            assert errors_of(tmp_path / f"{number}.nxs") == []


# It makes its colours in a way that matplotlib wants to change.
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_nexusformat_draws_a_grid_scan_as_a_map(tmp_path: Path) -> None:
    """The picture has the map's values, each where the motors were."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    documents = grid(3, 4, snaking=True)
    with stored(tmp_path / "store", documents) as store:
        export(store, documents[0][1]["uid"], to=tmp_path / "x.nxs")
    found = nexus.nxload(tmp_path / "x.nxs").get_default()
    expected = [[100 * row + column for column in range(4)] for row in range(3)]
    assert found.nxsignal.nxvalue.tolist() == expected
    assert [axis.nxname for axis in found.nxaxes] == ["y", "x"]
    plt.close("all")
    found.plot()
    axes = plt.gcf().axes[0]
    (drawn,) = [each for each in axes.get_children() if hasattr(each, "get_array") and np.size(each.get_array()) == 12]
    assert np.asarray(drawn.get_array()).reshape(3, 4).tolist() == expected
    assert axes.get_xlabel().startswith("x")
    assert axes.get_ylabel().startswith("y")
    plt.savefig(tmp_path / "map.png")
    plt.close("all")

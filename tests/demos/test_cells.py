"""Images of cells: each is made once, by one process or by ranks, and what came of a cell is known.

The oracle is the computation itself, without tasks and files.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.demos.cells import report
from braid_hpc.demos.cells.images import CHANNELS, projection, scaled, volume
from braid_hpc.demos.cells.summary import STEPS, affected_by, steps
from braid_hpc.results import open_dataset
from tests.demos.conftest import Done, Perform
from tests.jobs import edges_of, has_cycle, rows
from tests.ranks import RunRanks

CELLS, RANKS = 12, 3
MADE = {"select": 1, "normalize": CELLS, "normalized": 1, "project": CELLS, "projections": 1, "compare": 1}


@pytest.fixture(scope="module")
def done(perform: Perform) -> Done:
    return perform("cells", RANKS, perform.folder / "cells", "--cells", str(CELLS))


def again(run_ranks: RunRanks, folder: Path, ranks: int) -> dict[str, tuple[int, int]]:
    """Run it once more, and say what was made and what was taken."""
    run_ranks(ranks, "-m", "braid_hpc.demos.cells", "--dir", folder, "--cells", str(CELLS), timeout=110)
    compact(folder / "logs", folder / "prov.duckdb")
    with braid.open(folder / "prov.duckdb") as store:
        return steps(store)


def test_every_step_is_made_once(done: Done) -> None:
    assert steps(done.store) == {step: (MADE[step], 0) for step in STEPS}
    assert not has_cycle(done.store)
    assert "not complete" not in report(done.store)


def test_values_are_those_of_the_computation(done: Done) -> None:
    """Images with names of dimensions and channels, and pictures of them."""
    import tifffile

    images = open_dataset(done.folder / "datasets/normalized")
    pictures = open_dataset(done.folder / "datasets/projections")
    assert images["cell_id"] == pictures["cell_id"] == list(range(CELLS))
    columns = (images["cell_id"], images["structure"], images["image"], pictures["picture"])
    for cell, structure, image, picture in zip(*columns, strict=True):
        expected = scaled(volume(cell, structure, 7))
        with tifffile.TiffFile(done.folder / f"staging/normalized/{cell:03d}.ome.tiff") as file:
            assert file.series[0].axes == "CZYX"
            assert np.array_equal(file.asarray(), expected)
            assert [f'Name="{name}"' in (file.ome_metadata or "") for name in CHANNELS] == [True] * 3
        assert image.uri.endswith(f"staging/normalized/{cell:03d}.ome.tiff")
        assert np.array_equal(picture.load(), projection(expected))
    assert images.problems(verify="digest") == pictures.problems(verify="digest") == []


def test_the_graph_is_that_of_the_flow(done: Done) -> None:
    """Each picture is of one image; each dataset is of all its members; the comparison is of all pictures."""
    edges = edges_of(done.store)
    results = {
        step: {
            row[0]
            for row in rows(
                done.store,
                "select 'result:' || name || '@' || version as ref from versions "
                f"where kind = 'result' and name like '%.{step}/%'",
            )
        }
        for step in STEPS
    }
    assert {step: len(found) for step, found in results.items()} == MADE
    for dataset, members in (("normalized", "normalize"), ("projections", "project")):
        assert {parent for child, parent in edges if child == f"dataset:{dataset}@1"} == results[members]
    made = rows(
        done.store,
        "select t.task, count(*) from tasks t join edges e on e.child = t.pk and e.relation = 'used' "
        "join versions v on v.id = e.parent and v.kind = 'result' group by t.task",
    )
    used = {task.rpartition(".")[2]: count for task, count in made}
    # Of the cells that were chosen only values go on, but for the steps that are given the whole list.
    assert used["project"] == CELLS
    assert (used["normalized"], used["projections"], used["compare"]) == (CELLS + 1, CELLS + 1, CELLS + 1)


def test_what_came_of_a_cell(done: Done) -> None:
    """Its picture, both datasets, the comparison, and no other cell's."""
    found = affected_by(done.store, 4)
    assert found["datasets"] == ["dataset:normalized@1", "dataset:projections@1"]
    steps_of = sorted(ref.partition("/")[0].rpartition(".")[2] for ref in found["results"])
    assert steps_of == ["compare", "normalized", "project", "projections"]
    assert found["missing"] == []
    with pytest.raises(LookupError, match="no image of cell 99"):
        affected_by(done.store, 99)


def test_one_process_takes_what_ranks_have_made(done: Done, run_ranks: RunRanks) -> None:
    """And makes what is not there any more; what is below it is the same, and is taken."""
    images = done.folder / "staging/normalized"
    before = {path.name: path.read_bytes() for path in images.iterdir()}
    (images / "003.ome.tiff").unlink()
    os.truncate(images / "007.ome.tiff", 1000)
    found = again(run_ranks, done.folder, 0)
    assert found == {step: (0, MADE[step]) for step in STEPS} | {"normalize": (2, CELLS - 2)}
    assert {path.name: path.read_bytes() for path in images.iterdir()} == before


KILLED = """
import os, sys
import braid_hpc as braid

def dying(cell_id, structure, seed):
    if cell_id == 5:
        os.kill(os.getpid(), 9)
    return normalize(cell_id, structure, seed)

os.chdir(sys.argv[1])
from braid_hpc.demos.cells.flow import flow, normalize

if __name__ == "__main__":
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    def mapped(task, *columns):
        return pool.map(dying if task is normalize else task, *columns)

    with braid.job("cells", log_dir="logs", store="prov.duckdb"):
        with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
            if pool is not None:
                flow(12, 7, mapped)
"""


@pytest.mark.slow
@pytest.mark.mpi_matrix
def test_a_rank_that_is_killed_half_way_costs_what_was_not_done(
    done: Done, run_ranks: RunRanks, tmp_path: Path
) -> None:
    """The rest is made, and all is what it would have been."""
    run_ranks(RANKS, KILLED, tmp_path, check=False, timeout=60)
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        made, _ = steps(store)["normalize"]
    assert 0 < made < CELLS
    found = again(run_ranks, tmp_path, RANKS)
    assert sum(found["normalize"]) == CELLS
    assert found["normalize"][1] >= made
    for name in ("normalized", "projections"):
        there, oracle = (open_dataset(folder / "datasets" / name) for folder in (tmp_path, done.folder))
        assert there.version == oracle.version
        assert there.problems(verify="digest") == []

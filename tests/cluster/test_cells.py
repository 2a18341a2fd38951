"""One flow of tasks in one process, under mpirun and as a job: the same results, and after a kill only what is missing.

The job's ranks are a pool of ``mpi4py.futures`` on two nodes; results lie where both nodes see them, logs do not.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.demos.cells.summary import STEPS, steps
from braid_hpc.results import open_dataset
from tests.cluster.slurm import Cluster
from tests.cluster.submitting import Submitted, specify
from tests.cluster.submitting import braid as command
from tests.jobs import rows
from tests.ranks import RunRanks, wait_for

# Slurm waits by itself: for nodes that do not answer, and for processes to end.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CELLS = 12
MADE = {"select": 1, "normalize": CELLS, "normalized": 1, "project": CELLS, "projections": 1, "compare": 1}

#: The demo, whose ranks stop in the middle of a write once five images are there, until they are told to go on.
PROGRAM = """
import pathlib, sys, time
from braid_hpc.demos.launch import launch
from braid_hpc.results import OmeTiff

place = pathlib.Path(sys.argv[2])
whole = OmeTiff.write

def write(self, value, file):
    if not (place / "go").exists() and len([*place.glob("staging/normalized/*.ome.tiff")]) >= 5:
        file.write(b"half of it")
        file.flush()
        (place / "stopped").touch()
        time.sleep(600)
    whole(self, value, file)

OmeTiff.write = write
if __name__ == "__main__":
    sys.exit(launch("cells"))
"""


#: What came of what, by names: which number a version or an activity has says who was first.
_GRAPH = """
    select e.relation, c.kind, c.name, p.kind, p.name from edges e join nodes c on c.id = e.child
    join nodes p on p.id = e.parent where e.relation in ('wasDerivedFrom', 'used', 'wasGeneratedBy')
"""


def submit(cluster: Cluster, path: Path) -> Submitted:
    """Submit a specification."""
    said = command(cluster, "submit", path.name, cwd=path.parent).stdout
    found = dict(line.split(maxsplit=1) for line in said.splitlines())
    return Submitted(cluster, found["job"], found["compaction"], Path(found["directory"]), path.parent / "prov.duckdb")


def specified(cluster: Cluster) -> Path:
    """Write the specification of a job of two nodes, in a folder of its own, which is where its results lie, too."""
    path = specify(cluster, {"name": "cells", "launcher_flags": ["--mpi=pmi2"]})
    folder = path.parent
    (folder / "cells.py").write_text(PROGRAM)
    text = path.read_text()
    before = next(line for line in text.splitlines() if line.startswith("command = "))
    words = f"python cells.py --dir {folder} --logs $BRAID_LOG_DIR --cells {CELLS}".replace(
        "cells.py", f"{folder}/cells.py", 1
    )
    path.write_text(text.replace(before, f'command = "{words}"'))
    return path


def here(run_ranks: RunRanks, folder: Path, ranks: int) -> None:
    """Run the same program without Slurm, and merge what it recorded."""
    folder.mkdir()
    (folder / "cells.py").write_text(PROGRAM)
    (folder / "go").touch()
    run_ranks(ranks, folder / "cells.py", "--dir", folder, "--cells", str(CELLS), timeout=110)
    compact(folder / "logs", folder / "prov.duckdb")


def said(folder: Path) -> dict[str, Any]:
    """Say what came out: files, datasets and the graph, whose versions are counted and not numbered."""
    datasets = {name: open_dataset(folder / "datasets" / name) for name in ("normalized", "projections")}
    assert all(len(dataset) == CELLS for dataset in datasets.values())
    assert all(dataset.problems(verify="digest") == [] for dataset in datasets.values())
    with braid.open(folder / "prov.duckdb") as store:
        graph = Counter(rows(store, _GRAPH))
        digests = rows(store, "select name, digest from versions where kind = 'dataset' order by name")
    return {
        "versions": {name: dataset.version for name, dataset in datasets.items()},
        "digests": digests,
        "graph": graph,
        "files": {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in (folder / "staging").rglob("*")
            if path.is_file()
        },
    }


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run it in one process."""
    ranks = RunRanks(tmp_path_factory.mktemp("ranks"))
    folder = tmp_path_factory.mktemp("cells") / "one"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BRAID_LOG_DIR", raising=False)
        here(ranks, folder, 0)
    ranks.end_all()
    found = said(folder)
    assert {relation for relation, *_ in found["graph"]} == {"wasDerivedFrom", "used", "wasGeneratedBy"}
    return found


def test_one_process_ranks_and_a_job_make_the_same(
    cluster: Cluster, run_ranks: RunRanks, tmp_path: Path, oracle: dict[str, Any]
) -> None:
    """Files bit for bit, versions of datasets, and the lineage, whoever made what."""
    here(run_ranks, tmp_path / "four", 4)
    assert said(tmp_path / "four") == oracle
    path = specified(cluster)
    (path.parent / "go").touch()
    job = submit(cluster, path)
    assert job.merged()["counts"]["complete"] == 4
    assert said(path.parent) == oracle
    with braid.open(job.store) as store:
        assert steps(store) == {step: (MADE[step], 0) for step in STEPS}
        assert rows(store, "select host, count(*) from ranks group by all order by all") == [("n1", 2), ("n2", 2)]


def test_a_job_that_was_killed_in_the_middle_of_writes_is_resumed(cluster: Cluster, oracle: dict[str, Any]) -> None:
    """The second one makes what the first one has not, and what came out is that of a job that was not killed."""
    path = specified(cluster)
    job = submit(cluster, path)
    wait_for((path.parent / "stopped").exists, "a rank in the middle of a write", timeout=120)
    cluster.run(["scancel", "--signal=KILL", job.job])
    job.merged()
    images = path.parent / "staging/normalized"
    there = {name.name: name.read_bytes() for name in images.iterdir()}
    with braid.open(job.store) as store:
        made, taken = steps(store)["normalize"]
    assert (made, taken) == (len(there), 0)
    assert 5 <= made < CELLS
    (path.parent / "go").touch()
    again = submit(cluster, path)
    assert again.merged()["parts"][0]["exit_code"] == 0
    with braid.open(again.store) as store:
        assert steps(store) == {step: (MADE[step], 0) for step in STEPS} | {
            "select": (0, 1),
            "normalize": (CELLS - made, made),
        }
    found = said(path.parent)
    assert found["versions"] == oracle["versions"]
    assert found["files"] == oracle["files"]
    assert {
        name: data for name, data in found["files"].items() if Path(name).name in there and "normalized" in name
    } == {f"staging/normalized/{name}": data for name, data in there.items()}

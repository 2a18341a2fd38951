"""Launchers that the MPI library does not understand: each rank is a world of its own, and all exit with 0."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cluster.launching import TWO_BY_TWO, environment, merged, program
from tests.cluster.slurm import Cluster
from tests.jobs import made, rows
from tests.ranks import mpi_of_this_environment

pytestmark = [pytest.mark.cluster, pytest.mark.mpi_matrix, pytest.mark.timeout(600)]

BEFORE = """
from mpi4py import MPI
import braid_hpc as braid
with braid.job("fit") as run:
    run.data(f"peaks/{run.rank}", digest=f"x:{run.rank}")
"""

AFTER = """
import braid_hpc as braid
run = braid.start("fit")
from mpi4py import MPI
run.data(f"peaks/{run.rank}", digest=f"x:{run.rank}")
"""

SENTENCE = "the launcher started 4 ranks, MPI's world has 1"


@pytest.mark.parametrize("text", [BEFORE, AFTER], ids=["MPI before", "MPI after"])
def test_worlds_of_one_rank_are_noticed(cluster: Cluster, tmp_path: Path, text: str) -> None:
    """Slurm counts 4, MPI 1: the job's output, `braid check` and the store say so; the ranks are one run of four."""
    other = "pmi2" if mpi_of_this_environment() == "openmpi" else "none"
    script = f"srun --mpi={other} {sys.executable} {program(cluster, text)}"
    over = cluster.wait(cluster.sbatch(script, *TWO_BY_TWO, env=environment(cluster)), "COMPLETED")
    assert over["ExitCode"] == "0:0"
    assert Path(over["StdOut"]).read_text().count("has started 4 ranks, and MPI's world has 1") == 1
    logs, store = merged(cluster, tmp_path)
    checked = cluster.run([sys.executable, "-m", "braid_hpc", "check", logs, "--format", "json"], check=False)
    assert checked.returncode == 1
    assert len(json.loads(checked.stdout)) == 4
    assert SENTENCE in checked.stderr
    with made(logs, store) as opened:
        assert rows(opened, "select size, ranks from runs") == [(4, 4)]
        told = rows(opened, "select code, message, count(distinct writer) from problems group by all")
        assert [(code, message.partition(":")[0], ranks) for code, message, ranks in told] == [("world", SENTENCE, 4)]

"""The script for PBS, run for real: Slurm's own qsub takes it, submitted by hand as the script says."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.cluster.slurm import Cluster
from tests.cluster.submitting import SAID, braid, specify
from tests.cluster.test_endings import said

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("qsub") is None, reason="needs qsub (Debian: apt-get install slurm-wlm-torque)"),
]


# What the server of PBS sets, and Slurm's qsub does not without a plugin.
_SERVER = """
export PBS_JOBID=$SLURM_JOB_ID.server PBS_O_WORKDIR=$SLURM_SUBMIT_DIR PBS_NODEFILE=$SLURM_SUBMIT_DIR/nodes.$SLURM_JOB_ID
srun --ntasks-per-node=2 hostname >"$PBS_NODEFILE"
"""


def test_the_script_for_pbs(cluster: Cluster) -> None:
    """Two nodes with MPICH's mpiexec: run, shipped, merged by the job that waits for it, nothing lost."""
    path = specify(cluster, {"launcher": "mpirun", "scheduler": "pbs", "ranks_per_node": 2})
    folder = path.parent
    for part in ("job", "compact"):
        script = braid(cluster, "script", path.name, "--part", part, cwd=folder).stdout
        (folder / f"{part}.sh").write_text(script.replace("\n\n", f"\n{_SERVER}\n", 1))
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    # Below PBS it is Slurm, and mpiexec starts its processes by srun: here two at once may share a processor.
    env["SLURM_OVERLAP"] = "1"
    job = cluster.run(["qsub", "-V", "job.sh"], cwd=folder, env=env).stdout.strip()
    directory = folder / f"talk-{job}"
    env["JOB_DIRECTORY"] = str(directory)
    merge = ["qsub", "-V", "-W", f"depend=afterany:{job}", "compact.sh"]
    compaction = cluster.run(merge, cwd=folder, env=env).stdout.strip()
    directory.mkdir(exist_ok=True)
    (directory / "go-0").touch()
    cluster.wait(compaction, "COMPLETED", timeout=180)
    summary = json.loads((directory / "summary.json").read_text())
    (part,) = summary["parts"]
    assert (part["exit_code"], part["trouble"]) == (0, [])
    assert summary["counts"]["complete"] == 4
    assert sorted(node["node"] for node in part["nodes"]) == ["n1", "n2"]
    assert said(folder / "prov.duckdb") == [(0, rank, SAID) for rank in range(4)]

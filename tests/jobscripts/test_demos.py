"""The batch scripts of the workflows: one for each demo, whose commands exist and which end with its question."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from braid_hpc.cli.demo import DEMOS
from tests.docs.commands import fault
from tests.docs.pages import ROOT, environment
from tests.faults.campaign import many
from tests.ranks import mpirun

SCRIPTS = ROOT / "jobscripts"

# Steps of two tasks are ranks of this environment's MPI, steps of one task on each node are one process.
SRUN = """#!/bin/bash
one=
while [[ $1 == --* ]]; do [[ $1 == --ntasks-per-node=1 ]] && one=1; shift; done
[[ -n $one ]] && exec "$@"
exec {mpirun} -n 2 "$@"
"""


def commands(script: Path) -> list[str]:
    """Give the commands of a script that are ours, with its variables filled in."""
    lines = re.findall(r"^(?:srun (?:--\S+ )*)?((?:braid|python) .*?)(?: \|\| code=\$\?)?$", script.read_text(), re.M)
    return [re.sub(r'"?\$\w+(/[\w.]+)?"?', "somewhere", line) for line in lines]


def test_each_demo_has_its_script() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.sbatch")} >= set(DEMOS)


@pytest.mark.parametrize("name", DEMOS)
def test_a_script_is_sound(name: str) -> None:
    """Bash can read it, it runs its demo, ships, merges and asks, and every command and option of these exists."""
    script = SCRIPTS / f"{name}.sbatch"
    subprocess.run(["bash", "-n", script], check=True, timeout=10)
    found = commands(script)
    assert found[0].startswith(f"python -m braid_hpc.demos.{name} --dir ")
    assert [line.split()[1] for line in found[1:4]] == ["ship", "compact", "lineage"]
    assert {line: wrong for line in found if (wrong := fault(line, set()))} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssx", *(name for name in DEMOS if name != "ssx")][: many(len(DEMOS), 1)])
def test_a_script_runs(name: str, tmp_path: Path) -> None:
    """With ranks of this environment in the place of Slurm's: logs are shipped, merged, and the question answered."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(SRUN.format(mpirun=mpirun()))
    srun.chmod(0o755)
    variables = {**os.environ, **environment(tmp_path)}
    variables |= {"SLURM_JOB_ID": "77", "SLURM_JOB_NUM_NODES": "1", "SLURM_SUBMIT_DIR": str(tmp_path)}
    variables |= {"SLURM_TMPDIR": str(tmp_path / "node"), "PATH": f"{srun.parent}{os.pathsep}{variables['PATH']}"}
    command = ["bash", str(SCRIPTS / f"{name}.sbatch")]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    work = tmp_path / f"{name}-77"
    assert {path.name for path in (work / "logs").iterdir()} == {
        path.name for path in (tmp_path / "node" / "braid-77").iterdir()
    }
    assert (work / "prov.duckdb").exists()
    assert re.search(r"^(firmware|model|structure|data):\S+@\d+$", done.stdout, re.M)
    assert "incomplete" not in done.stdout

"""The scripts: read by bash, clean for shellcheck, and with everything that a job's life needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.batch.rendering import PARTS, render
from braid_hpc.batch.scheduler import scheduler
from braid_hpc.batch.sites import SITES
from braid_hpc.batch.specification import SCHEDULERS, Specification

FULL = {
    "name": "fit",
    "command": 'python fit.py --dir "$job/work"',
    "time": "01:00:00",
    "nodes": 2,
    "ranks_per_node": 4,
    "cpus_per_rank": 2,
    "gpus_per_node": 4,
    "queue": "debug",
    "account": "project",
    "constraint": "gpu",
    "directives": ["--comment=x"],
    "modules": ["python/3.11"],
    "environment": {"DATA": "$HOME/a b", "QUOTED": 'say "$(id)" `id` \\'},
    "setup": ["source ~/venv/bin/activate", "ulimit -c 0"],
    "launcher_flags": ["--verbose", "a b"],
    "node_local": "$TMPDIR",
    "compact_ranks": 4,
}


def specification(**values: Any) -> Specification:
    return Specification.of(FULL | values)


def shellcheck(script: Path) -> str:
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_scripts_are_clean(name: str, part: str, tmp_path: Path) -> None:
    """By hand and submitted, with everything and with nothing, as an array where there are arrays."""
    least = Specification.of({"command": ["./fit"], "time": 5, "warning": 0})
    specs = {"full": specification(), "least": least}
    if name not in ("local", "flux"):
        specs["array"] = specification(array="1-19%4")
    for what, spec in specs.items():
        # PBS and LSF refuse what cannot be quoted in their directives.
        submitted = Path("/shared/it-is/here" if name in ("pbs", "lsf") else "/shared/it's here")
        for directory in (None, submitted):
            script = tmp_path / f"{what}-{'hand' if directory is None else 'submitted'}.sh"
            script.write_text(render(spec, scheduler(name), part, directory=directory, path="/a b/bin"))
            assert re.search(r"@[A-Z_]+@", script.read_text()) is None
            subprocess.run(["bash", "-n", script], check=True, timeout=10)
            if shutil.which("shellcheck"):
                assert shellcheck(script) == ""


def test_shellcheck_is_here() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck on this machine (apt-get install shellcheck)")
    assert subprocess.run(["shellcheck", "--version"], capture_output=True, timeout=10).returncode == 0


def test_slurm_directives() -> None:
    lines = render(specification(array="0-19%4"), scheduler("slurm")).splitlines()
    assert [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")] == [
        *("--job-name=fit", "--nodes=2", "--ntasks-per-node=4", "--cpus-per-task=2", "--gpus-per-node=4"),
        *("--time=01:00:00", "--partition=debug", "--account=project", "--constraint=gpu", "--array=0-19%4"),
        *("--signal=B:USR1@120", "--requeue", "--open-mode=append", "--output=%x-%A.%a.out", "--comment=x"),
    ]


def test_a_merge_with_ranks_is_launched() -> None:
    script = render(specification(), scheduler("slurm"), "compact")
    assert "srun --nodes=1 --ntasks=4 --ntasks-per-node=4 --cpus-per-task=1 --verbose 'a b' braid compact" in script
    assert "\nbraid compact" in render(specification(compact_ranks=1), scheduler("slurm"), "compact")


def test_variables_are_filled_in_and_commands_are_not() -> None:
    """The value of a variable may name another one; it cannot run anything."""
    spec = specification(modules=[], setup=[])
    script = render(spec, scheduler("local"))
    lines = [line for line in script.splitlines() if line.startswith(("export DATA", "export QUOTED"))]
    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines, 'printf "%s|%s" "$DATA" "$QUOTED"'])],
        env={"HOME": "/home/me", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert done.stdout == '/home/me/a b|say "$(id)" `id` \\'


@pytest.mark.parametrize("name", SITES)
def test_sites_give_clean_scripts(name: str, tmp_path: Path) -> None:
    spec = Specification.of({"command": "./fit", "time": 30, "site": name, "gpus_per_node": 4, "ranks_per_node": 4})
    script = tmp_path / "site.sh"
    script.write_text(render(spec, scheduler(SITES[name].scheduler)))
    subprocess.run(["bash", "-n", script], check=True, timeout=10)
    if shutil.which("shellcheck"):
        assert shellcheck(script) == ""


@pytest.mark.parametrize(
    ("command", "code"), [("false | cat", 1), ("false; exit 3 # on purpose", 3), ("true && false", 1), ("true", 0)]
)
def test_the_exit_code_is_that_of_the_command(command: str, code: int) -> None:
    """A pipe does not hide that ranks failed, and nothing of a command is lost behind the line that it stands on."""
    script = render(Specification(command=command, time=60, launcher="none"), scheduler("local"))
    launch = script.partition("BRAID_LOG_DIR=$logs\n")[2].partition("code=\n")[0]
    assert subprocess.run(["bash", "-c", f'{launch}\nwait "$program"'], timeout=10).returncode == code


@pytest.mark.parametrize("line", ["false", "false # here", "export A='a#b'; false"])
def test_a_line_of_the_setup_that_fails_ends_the_job(line: str) -> None:
    """Also one that ends in a comment."""
    script = render(Specification(command="./fit", time=60, setup=(line,)), scheduler("slurm"))
    setup = script.partition("# ---- modules and environment\n")[2].partition("command -v braid")[0]
    done = subprocess.run(
        ["bash", "-c", f"give_up() {{ printf '%s' \"$*\"; exit 7; }}\n{setup}"],
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert (done.returncode, done.stdout) == (7, f"this line of the setup failed: {line}")


def test_the_name_of_a_store_runs_nothing() -> None:
    script = render(Specification(command="./fit", time=60, store='$(id) "`a.duckdb'), scheduler("local"), "compact")
    words = next(line for line in script.splitlines() if line.startswith("braid compact"))
    said = subprocess.run(
        ["bash", "-c", f"job=/a/b; printf '%s\\n' {words}"], capture_output=True, text=True, timeout=10
    )
    assert said.stdout.splitlines()[4] == '/a/$(id) "`a.duckdb'


@pytest.mark.parametrize("name", ["slurm", "pbs", "lsf"])
def test_a_script_that_no_scheduler_runs_says_so(name: str, tmp_path: Path) -> None:
    """Nothing is written: without the directory that it was submitted from, that would be in the root directory."""
    text = render(Specification(name="fit", command="true", time=60), scheduler(name))
    before = text.partition("mkdir")[0]
    done = subprocess.run(
        ["bash", "-c", f"{before}\necho $job"],
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert re.search(
        r"(SLURM_SUBMIT_DIR: is set by sbatch|PBS_O_WORKDIR: is set by qsub|LS_SUBCWD: is set by bsub)", done.stderr
    )

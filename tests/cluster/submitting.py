"""Jobs that tests submit with `braid submit`, and what came of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.slurm import Cluster
from tests.ranks import wait_for

#: How many records each rank of TALK makes.
SAID = 100

#: Says what it has to say, then waits until it may end.
TALK = f"""
import os, pathlib, sys, time
import braid_hpc as braid

place, attempt = pathlib.Path(sys.argv[1]), os.environ["BRAID_ATTEMPT"]
run = braid.start("talk")
rank = run.rank or 0
for number in range({SAID}):
    run.data(f"said/{{number}}", digest=f"x:{{attempt}}-{{rank}}-{{number}}")
(place / f"ready-{{attempt}}-{{rank}}").write_text(f"{{os.uname().nodename}} {{os.getpid()}}\\n")
while not (place / f"go-{{attempt}}").exists():
    time.sleep(0.05)
"""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job with its compaction.

    Attributes
    ----------
    job, compaction : str
        Their numbers.
    directory, store : Path
        Where everything comes to.
    """

    cluster: Cluster
    job: str
    compaction: str
    directory: Path
    store: Path

    def ready(self, attempt: int = 0, ranks: int = 4) -> dict[int, tuple[str, int]]:
        """Wait until all ranks of TALK wait, and return node and process of each."""

        def told() -> dict[int, tuple[str, int]]:
            found = {}
            for path in self.directory.glob(f"ready-{attempt}-*"):
                if (text := path.read_text()).endswith("\n"):
                    node, pid = text.split()
                    found[int(path.name.rpartition("-")[2])] = node, int(pid)
            return found if len(found) == ranks else {}

        try:
            return wait_for(told, f"{ranks} ranks of attempt {attempt}", timeout=120)
        except AssertionError as error:
            output = self.directory / "job.out"
            text = output.read_text() if output.exists() else "no output"
            raise AssertionError(f"{error}\n{self.cluster.job(self.job)}\n{text}") from None

    def kill(self, rank: int, attempt: int = 0) -> None:
        """Kill one rank of TALK."""
        node, _ = self.ready(attempt)[rank]
        # Its pid is one of the node's own, as the node sees it.
        self.cluster.on(node, ["kill", f"-{signal.SIGKILL}", self.ready(attempt)[rank][1]])

    def go(self, attempt: int = 0) -> None:
        """Let the ranks of TALK end."""
        (self.directory / f"go-{attempt}").touch()

    def merged(self, state: str = "COMPLETED", timeout: float = 180) -> dict[str, Any]:
        """Wait until the compaction is over, and return the summary."""
        try:
            self.cluster.wait(self.compaction, state, timeout)
        except AssertionError as error:
            if "mpi/pmi2: invalid client request" not in str(error):
                raise
            self.cluster.run(["scancel", self.job])
            pytest.xfail("Slurm 22.05 took a request of MPICH's for two, and lets its rank wait for ever")
        found: dict[str, Any] = json.loads((self.directory / "summary.json").read_text())
        return found

    def told(self) -> str:
        """Return the summary for people."""
        return (self.directory / "summary.txt").read_text()


def braid(
    cluster: Cluster, *words: str | Path, cwd: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run our command where people log in."""
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return cluster.run(["braid", *words], cwd=cwd, check=check, env=env)


def specify(cluster: Cluster, fields: Mapping[str, Any]) -> Path:
    """Write a specification of TALK on 2 nodes x 2 ranks with other `fields`, in a folder of its own, with TALK."""
    folder = Path(tempfile.mkdtemp(prefix="talk-", dir=cluster.shared))
    (folder / "talk.py").write_text(textwrap.dedent(TALK))
    values = {
        "command": f'python {folder}/talk.py "$job"',
        "nodes": 2,
        "ranks_per_node": 2,
        "time": "10 min",
        "node_local": str(cluster.local),
        **fields,
    }
    # JSON's texts, numbers, lists and truths are TOML's too.
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value is not None)
    path = folder / "talk.toml"
    path.write_text(text)
    return path


def submit(cluster: Cluster, **fields: Any) -> Submitted:
    """Submit TALK, with what else its specification should say."""
    path = specify(cluster, fields)
    said = braid(cluster, "submit", path.name, cwd=path.parent).stdout
    found = dict(line.split(maxsplit=1) for line in said.splitlines())
    return Submitted(cluster, found["job"], found["compaction"], Path(found["directory"]), path.parent / "prov.duckdb")

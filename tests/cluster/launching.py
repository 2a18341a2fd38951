"""How tests start ranks on the cluster, with the MPI of the environment that they run in."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.slurm import Cluster
from tests.ranks import OPENMPI_ENVIRONMENT, mpi_of_this_environment

TWO_BY_TWO = ("--nodes=2", "--ntasks-per-node=2")


def environment(cluster: Cluster, **more: str) -> dict[str, str]:
    """Give what every job here runs in: its ranks log to their node's own disk."""
    common = {"BRAID_LOG_DIR": str(cluster.local / "logs"), "BRAID_STRICT": "1"}
    if mpi_of_this_environment() == "openmpi":
        # How many ranks a node takes is Slurm's to say here.
        common |= {name: value for name, value in OPENMPI_ENVIRONMENT.items() if "rmaps" not in name}
    return {**common, **more}


def by_step() -> str:
    """Give the beginning of a command that starts ranks with srun and the MPI of this environment."""
    return f"srun --mpi={'pmix' if mpi_of_this_environment() == 'openmpi' else 'pmi2'}"


def program(cluster: Cluster, text: str, name: str = "fit.py") -> Path:
    """Write a program where all nodes see it."""
    path = cluster.shared / name
    path.write_text(text)
    return path


def merged(cluster: Cluster, tmp_path: Path) -> tuple[Path, Path]:
    """Bring the logs home, and name a store for them."""
    return cluster.bring_home(cluster.local / "logs"), tmp_path / "prov.duckdb"

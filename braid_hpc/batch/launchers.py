"""How ranks are started: the launchers, and the options by which each takes the shape of a job."""

from __future__ import annotations

import shlex

from braid_hpc.batch.specification import Specification

__all__ = ["launch_words"]


def launch_words(spec: Specification, launcher: str) -> list[str]:
    """Return the words of a script that stand before the command of a rank.

    Parameters
    ----------
    spec : Specification
        Its shape counts, and its ``launcher_flags``.
    launcher : str
        One of :data:`braid_hpc.batch.specification.LAUNCHERS`.

    Returns
    -------
    list of str
        Ready for the shell; none for a command that starts its ranks itself.

    Examples
    --------
    >>> spec = Specification(command="./fit", time=60, nodes=2, ranks_per_node=4, launcher_flags=("--cpu-bind=cores",))
    >>> " ".join(launch_words(spec, "mpiexec"))
    'mpiexec -n 8 -ppn 4 --cpu-bind=cores'
    """
    nodes, ranks, each, cpus = spec.nodes, spec.ranks, spec.ranks_per_node, spec.cpus_per_rank
    words = {
        "srun": [
            "srun",
            f"--nodes={nodes}",
            f"--ntasks={ranks}",
            f"--ntasks-per-node={each}",
            f"--cpus-per-task={cpus}",
        ],
        "mpirun": ["mpirun", "-n", str(ranks)],
        "mpiexec": ["mpiexec", "-n", str(ranks), "-ppn", str(each)],
        # It gives the ranks of other nodes only the variables that are named.
        "openmpi": [
            *("mpirun", "-n", str(ranks), "--map-by", f"ppr:{each}:node:PE={cpus}"),
            *("-x", "PATH", "-x", "BRAID_RUN_ID", "-x", "BRAID_LOG_DIR", "-x", "BRAID_ATTEMPT"),
        ],
        "jsrun": ["jsrun", "-n", str(ranks), "-r", str(each), "-a", "1", "-c", str(cpus)],
        "flux": ["flux", "run", "-N", str(nodes), "-n", str(ranks), "-c", str(cpus)],
        "none": [],
    }[launcher]
    return [*words, *(shlex.quote(flag) for flag in spec.launcher_flags)]

"""A Slurm of two nodes on this machine, without systemd and without control groups.

All it writes lies in one folder, and all that runs is in namespaces of its own, the network included: several test
sessions can have one each at the same time, and nothing of it outlives its session.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.cluster.configuration import ADDRESSES, HEAD, write_configuration
from tests.cluster.node import Node
from tests.ranks import LAUNCHER_VARIABLES, wait_for

COMMANDS = (
    *("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "squeue", "scancel"),
    *("unshare", "nsenter", "ip"),
)

#: States in which a job stays.
OVER = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    "TIMEOUT",
)

#: A node's states in which it takes jobs.
_WELL = ("IDLE", "MIXED", "ALLOCATED")


def why_not() -> str:
    """Say why there can be no cluster here, in a sentence; an empty text where there can be one."""
    if os.geteuid() != 0:
        return "the test cluster needs root, for its namespaces and mounts"
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        packages = "slurmctld slurmd slurm-client munge iproute2"
        return f"the test cluster needs the commands {', '.join(missing)} (Debian: apt-get install {packages})"
    return ""


class Cluster:
    """Nodes n1 and n2, with a queue `debug` of both.

    Attributes
    ----------
    folder : Path
        Of the cluster's own files: configuration and what the daemons say.
    shared : Path
        A folder that all nodes see.
    local : Path
        A folder that is another one on each node, and empty here.
    environment : dict of str to str
        For commands of Slurm.
    """

    def __init__(self, cpus: int = 4) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="braid-cluster-"))
        self.folder.chmod(0o755)  # munge takes no socket in a folder that others cannot enter
        self.shared, self.local = self.folder / "shared", self.folder / "local"
        self.shared.mkdir()
        self.local.mkdir()
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((*LAUNCHER_VARIABLES, "SBATCH_", "BRAID_"))
        }
        self.environment["SLURM_CONF"] = str(self.folder / "slurm.conf")
        self.nodes: dict[str, Node] = {}
        self._killed: set[str] = set()
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._left = ExitStack()
        self._cpus = cpus

    def begin(self) -> None:
        """Start the daemons, and wait until both nodes are ready."""
        write_configuration(self.folder, cpus=self._cpus)
        for name, address in ADDRESSES.items():
            node = Node.begin(name, folder=self.folder, local=self.local, hosts=self.folder / "hosts")
            self._left.callback(node.end)
            if name == HEAD:
                self.head = node
                node.become_network(address)
            else:
                self.nodes[name] = node
                node.connect(self.head, address)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.folder}/munge.sock"]
        files = [f"--{name}-file={self.folder}/munged.{name}" for name in ("pid", "log", "seed")]
        self._daemon(self.head, [*munged, *files])
        wait_for((self.folder / "munge.sock").exists, "munged")
        self._daemon(self.head, ["slurmctld", "-D"])
        for node in self.nodes.values():
            self._daemon(node, ["slurmd", "-D"])
        for name in self.nodes:
            self._wait_until_ready(name)

    def end(self) -> None:
        """End every process of the cluster and of its jobs, and remove its files."""
        self._left.close()
        for process in self._daemons:
            process.wait()
        shutil.rmtree(self.folder)

    def tidy(self) -> None:
        """Cancel all jobs, bring killed nodes back, empty the nodes' disks, and wait until nothing is left to do."""
        self.run(["scancel", "--user=root"])
        for name in sorted(self._killed):
            self.restore_node(name)
        wait_for(lambda: not self.run(["squeue", "--noheader"]).stdout, "an empty queue")
        for name in self.nodes:
            self._wait_until_ready(name, ("IDLE",))
            self.on(name, ["find", self.local, "/dev/shm", "-mindepth", 1, "-delete"])

    def describe(self) -> str:
        """Return the end of what each daemon has said."""
        parts = []
        for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.txt")]):
            parts.append(f"---- {path.name} ----\n" + "\n".join(path.read_text(errors="replace").splitlines()[-30:]))
        return "\n".join(parts)

    # ---- commands ---------------------------------------------------------------------------------------------

    def run(
        self,
        command: Sequence[str | Path | int],
        *,
        timeout: float = 60,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user does who has logged in to the cluster; it works in :attr:`shared` or in `cwd`."""
        done = subprocess.run(
            self.head.inside(command, cwd or self.shared),
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def sbatch(self, script: str | Path, *options: str | Path | int, env: Mapping[str, str] | None = None) -> str:
        """Submit a script, by its path or its text, and return the job's number."""
        if isinstance(script, str):
            text = textwrap.dedent(script).lstrip()
            path = self.shared / f"script-{secrets.token_hex(4)}.sh"
            path.write_text(text if text.startswith("#!") else f"#!/bin/bash\n{text}")
        else:
            path = script
        return self.run(["sbatch", "--parsable", *options, path], env=env).stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """Return what Slurm says of a job: ``JobState``, ``Restarts``, ``Reason``, ``ExitCode``, ``NodeList`` ..."""
        said = self.run(["scontrol", "--oneliner", "show", "job", job]).stdout.splitlines()[0]
        return dict(pair.split("=", 1) for pair in said.split() if "=" in pair)

    def wait(self, job: str, states: str | Collection[str] = OVER, timeout: float = 60) -> dict[str, str]:
        """Wait until a job is in one of `states`, and return what Slurm says of it then.

        A job that comes to another state in which it stays raises at once, with the cluster's and the job's output.
        """
        wanted = {states} if isinstance(states, str) else set(states)
        seen: dict[str, str] = {}

        def there() -> bool:
            seen.update(self.job(job))
            if seen["JobState"] in wanted:
                return True
            if seen["JobState"] in OVER:
                raise AssertionError(f"job {job} is {seen['JobState']}, and will not be {sorted(wanted)}")
            return False

        try:
            wait_for(there, f"job {job} to be {' or '.join(sorted(wanted))}", timeout=timeout)
        except AssertionError as error:
            output = Path(seen.get("StdOut", ""))
            text = output.read_text(errors="replace") if output.is_file() else ""
            raise AssertionError(f"{error}\n{seen}\n---- its output ----\n{text}\n{self.describe()}") from None
        return seen

    # ---- nodes ------------------------------------------------------------------------------------------------

    def on(self, node: str, command: Sequence[str | Path | int], timeout: float = 30) -> str:
        """Run a command on a node, past Slurm, and return what it prints."""
        return self.nodes[node].run(command, timeout)

    def kill_node(self, node: str) -> None:
        """Kill everything on a node at once, as where its power fails: nobody is told, and its disk stays as it is."""
        self._killed.add(node)
        self.head.plug(node, connected=False)
        self.nodes[node].kill()

    def restore_node(self, node: str) -> None:
        """Bring a killed node back, with what lies on its disk, and wait until Slurm gives it jobs again."""
        self.head.plug(node, connected=True)
        self._daemon(self.nodes[node], ["slurmd", "-D"])
        self._wait_until_ready(node)
        self._killed.discard(node)

    def bring_home(self, folder: Path) -> Path:
        """Copy a folder of every node that lives, one that lies on its own disk, into a new one that is shared."""
        home = Path(tempfile.mkdtemp(prefix="home-", dir=self.shared))
        for name in self.nodes.keys() - self._killed:
            self.on(name, ["sh", "-c", '[ ! -d "$0" ] || cp -a "$0/." "$1"', folder, home])
        return home

    def node_state(self, node: str) -> str:
        """Return a node's state as Slurm has it, such as ``IDLE`` or ``DOWN*``."""
        said = self.run(["scontrol", "--oneliner", "show", "node", node]).stdout
        return next(word.removeprefix("State=") for word in said.split() if word.startswith("State="))

    def _wait_until_ready(self, node: str, states: Collection[str] = _WELL) -> None:
        try:
            wait_for(lambda: self.node_state(node) in states, f"{node} to be {' or '.join(states)}", timeout=60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def _daemon(self, node: Node, command: Sequence[str]) -> None:
        """Start what runs until the node ends, or is killed."""
        with (self.folder / f"{node.name}.txt").open("ab") as output:
            process = subprocess.Popen(
                node.inside(command, self.folder),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._daemons.append(process)

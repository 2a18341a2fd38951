"""A node of the test cluster: namespaces that hide from its processes what another machine would.

A node has mounts, a host name, process ids, shared memory and a network interface of its own, so that nothing on one
node sees the logs, the processes or the memory of another one. The kernel is this machine's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.ranks import wait_for

_APART = ("--mount", "--uts", "--ipc", "--pid", "--net")

# The first process of the node. The kernel ends all others with it, and it ends with its standard input: so nothing
# of a node outlives the tests, even where those are killed. It leaves no zombies, as SIGCHLD stays ignored in cat.
_FIRST = """
set -e
hostname "$1"
mount -t tmpfs tmpfs "$2"
mount -t tmpfs tmpfs /dev/shm
mount --bind "$3" /etc/hosts
ip link set lo up
echo ready
exec env --ignore-signal=CHLD cat
"""


class NoNamespacesError(Exception):
    """This machine makes no namespaces for us, as in a container without the right to."""


@dataclass(frozen=True, slots=True)
class Node:
    """Namespaces that exist until :meth:`end`, whatever is killed in them."""

    name: str
    _keeper: subprocess.Popen[bytes]
    _first: int

    @classmethod
    def begin(cls, name: str, *, folder: Path, local: Path, hosts: Path) -> Node:
        """Make the namespaces.

        `folder` takes the node's output, `local` becomes an empty file system of its own, `hosts` its /etc/hosts.
        """
        said = folder / f"{name}.txt"
        first = ["sh", "-c", _FIRST, "sh", name, str(local), str(hosts)]
        with said.open("wb") as output:
            keeper = subprocess.Popen(
                ["unshare", *_APART, "--fork", "--kill-child", "--mount-proc", *first],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def ready() -> bool:
            text = said.read_text()
            if keeper.poll() is not None:
                raise NoNamespacesError(f"the test cluster needs namespaces and mounts: {text.strip()}")
            return text == "ready\n"

        try:
            wait_for(ready, f"the namespaces of {name}")
        except BaseException:
            _end(keeper)
            raise
        children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()
        return cls(name, keeper, int(children[0]))

    def become_network(self, address: str) -> None:
        """Become the place where the cables of all nodes end."""
        self._network(f"ip link add cables type bridge; ip addr add {address}/24 dev cables; ip link set cables up")

    def connect(self, network: Node, address: str) -> None:
        """Lay a cable to a node that has become the network."""
        network._network(
            f"ip link add {self.name} type veth peer name eth0 netns {self._first};"
            f"ip link set {self.name} master cables; ip link set {self.name} up"
        )
        self._network(f"ip addr add {address}/24 dev eth0; ip link set eth0 up")

    def plug(self, node: str, *, connected: bool) -> None:
        """Pull out the cable of `node`, at this end of it, or put it in again."""
        self._network(f"ip link set {node} {'up' if connected else 'down'}")

    def inside(self, command: Sequence[str | Path | int], cwd: Path | None = None) -> list[str]:
        """Return the command line that runs `command` on this node, in directory `cwd` of the node."""
        there = ["nsenter", f"--target={self._first}", *_APART]
        if cwd is not None:
            there += ["sh", "-c", 'cd "$0" && exec "$@"', str(cwd)]
        return [*there, *map(str, command)]

    def run(self, command: Sequence[str | Path | int], timeout: float = 30) -> str:
        """Run a command on this node, as somebody would who has logged in there; return what it prints."""
        done = subprocess.run(
            self.inside(command, Path("/")), capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise AssertionError(f"on {self.name}, {command} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def kill(self) -> None:
        """Kill everything that runs on this node; what lies on its disk stays."""
        # Sent from within, -1 is every process of the node but its first one and the sender.
        subprocess.run(self.inside(["sh", "-c", "kill -KILL -1"]), check=False, timeout=30)
        wait_for(lambda: not self._others(), f"the end of all processes of {self.name}")

    def end(self) -> None:
        """Remove the node with everything that runs and lies on it."""
        _end(self._keeper)

    def _network(self, commands: str) -> None:
        # In the network of the node, but with the process ids of this machine, by which another node is named.
        subprocess.run(
            ["nsenter", f"--target={self._first}", "--net", "sh", "-ec", commands],
            check=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )

    def _others(self) -> list[int]:
        """Return the processes of the node but its first one, by their ids on this machine."""
        space = Path(f"/proc/{self._first}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self._first:
                try:
                    if (entry / "ns/pid").readlink() == space:
                        found.append(int(entry.name))
                except OSError:  # it ended meanwhile
                    continue
        return found


def _end(keeper: subprocess.Popen[bytes]) -> None:
    keeper.kill()  # with --kill-child the first process goes with it, and with that one all others
    keeper.communicate()

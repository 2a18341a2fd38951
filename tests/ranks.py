"""Real ranks for tests: started with mpirun, watched, and ended whatever they do.

A test uses the fixture `run_ranks`, which is a :class:`RunRanks`, and :func:`kill_rank` to end one rank of a run.
An MPI launcher puts its ranks into process groups of their own, so the processes of a run are found by a mark in their
environment.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pytest

T = TypeVar("T")

MARK = "RUN_RANKS_MARK"

# How long a launcher that was asked to stop may take to clean up before everything is killed.
GRACE = 2.0

# Open MPI as root, with more ranks than cores, and on machines where UCX finds no network.
OPENMPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_osc": "^ucx",
}

# A test that was itself started by a launcher or a scheduler must not pass its place on to the ranks it starts.
LAUNCHER_VARIABLES = ("HYDI_", "MPI_LOCALNRANKS", "MPI_LOCALRANKID", "OMPI_COMM_", "PMIX_", "PMI_", "PRTE_", "SLURM_")


class RanksFailed(AssertionError):
    """A run ended with a code other than 0; `run` has all of it."""

    def __init__(self, message: str, run: RankRun) -> None:
        super().__init__(f"{message}\n{run.describe()}")
        self.run = run


class RanksTimedOut(RanksFailed):
    """A run did not end in time, and was killed; `run` has what it printed until then."""


@dataclass(frozen=True, slots=True)
class RankRun:
    """A run that is over."""

    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def describe(self) -> str:
        return "\n".join(
            [
                f"command: {' '.join(self.command)}",
                f"ended with {self.returncode} after {self.seconds:.1f} s",
                "---- stdout ----",
                self.stdout,
                "---- stderr ----",
                self.stderr,
            ]
        )


class RankProcess:
    """A run that is under way; leaving its `with` block ends every process of it."""

    def __init__(self, command: list[str], *, env: dict[str, str], cwd: Path, folder: Path) -> None:
        self.command = tuple(command)
        self._mark = f"{MARK}={uuid.uuid4().hex}".encode()
        self._stdout = folder / "stdout.txt"
        self._stderr = folder / "stderr.txt"
        self._begin = time.monotonic()
        name, _, value = self._mark.decode().partition("=")
        # Files, not pipes: a process that outlives the launcher would keep a pipe open, and the reader waiting.
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                env={**env, name: value},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    @property
    def stdout(self) -> str:
        """What was printed so far."""
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What was printed so far."""
        return self._stderr.read_text(errors="replace")

    def pids(self) -> list[int]:
        """The living processes of this run: the launcher, its daemons, the ranks, and what those have started."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:  # it ended meanwhile, or belongs to someone else
                continue
            if self._mark in environment.split(b"\0"):
                found.append(int(entry.name))
        return found

    def wait(self, timeout: float = 60, *, check: bool = True) -> RankRun:
        """Wait for the end of the run; after `timeout` seconds it is killed, and :class:`RanksTimedOut` raised."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise RanksTimedOut(f"killed because it still ran after {timeout:g} s", self._result()) from None
        finally:
            self.end()
        result = self._result()
        if check and result.returncode != 0:
            raise RanksFailed("some rank failed", result)
        return result

    def end(self) -> None:
        """End every process of the run: ask the launcher first, so that it can clean up, then kill what is left."""
        if self._process.poll() is None:
            self._process.terminate()
        deadline = time.monotonic() + GRACE
        while (living := self.pids()) and time.monotonic() < deadline:
            self._process.poll()
            time.sleep(0.02)
        while living:
            for pid in living:
                _send(pid, signal.SIGKILL)
            time.sleep(0.01)
            living = self.pids()
        self._process.wait()

    def _result(self) -> RankRun:
        seconds = time.monotonic() - self._begin
        return RankRun(self.command, self._process.returncode, self.stdout, self.stderr, seconds)


class RunRanks:
    """Runs a script on `n` real ranks, with the mpirun that lies beside the running Python."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[RankProcess] = []

    def __call__(
        self,
        n: int,
        script: str | Path,
        *args: str | Path | int,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 60,
        mpi: str | None = None,
        check: bool = True,
        launcher: bool = True,
        cwd: Path | None = None,
    ) -> RankRun:
        """Run to the end and return what came of it; the arguments are those of :meth:`start`.

        After `timeout` seconds every process is killed, and :class:`RanksTimedOut` says what was printed so far. With
        `check`, an exit code other than 0 raises :class:`RanksFailed`.
        """
        process = self.start(n, script, *args, env=env, mpi=mpi, launcher=launcher, cwd=cwd)
        return process.wait(timeout, check=check)

    def start(
        self,
        n: int,
        script: str | Path,
        *args: str | Path | int,
        env: Mapping[str, str | None] | None = None,
        mpi: str | None = None,
        launcher: bool = True,
        cwd: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> RankProcess:
        """Start a run and return at once, so that the test can do something to it.

        `script` is the path of a script, or its text (anything with a line break in it), or an option of Python such as
        "-m" with the module first among `args`. `n=0` or `launcher=False` means Python without mpirun. `env` is added
        to the environment, and None takes a variable out of it. The ranks work in a folder of their own, or in `cwd`.
        A test that names an `mpi` is skipped in an environment with another one. `options` are mpirun's own.
        """
        here = mpi_of_this_environment() if n > 0 and launcher else None
        if here and mpi not in (None, here):
            pytest.skip(f"needs {mpi}, and this environment has {here}")
        folder = self._folder / f"ranks-{len(self._started)}"
        folder.mkdir(parents=True)
        command = [sys.executable, *_script_arguments(script, folder), *map(str, args)]
        variables: dict[str, str | None] = {
            name: value for name, value in os.environ.items() if not name.startswith(LAUNCHER_VARIABLES)
        }
        variables["PYTHONUNBUFFERED"] = "1"
        if here:
            command = [str(mpirun()), *options, "-n", str(n), *command]
        if here == "openmpi":
            variables.update(OPENMPI_ENVIRONMENT)
        variables.update(env or {})
        wanted = {name: value for name, value in variables.items() if value is not None}
        process = RankProcess(command, env=wanted, cwd=cwd or folder, folder=folder)
        self._started.append(process)
        return process

    def end_all(self) -> None:
        """End whatever a test has left running."""
        for process in self._started:
            process.end()


def mpirun() -> Path:
    """Give the mpirun of the environment that this Python runs in: never another one that happens to be on PATH."""
    return Path(sysconfig.get_path("scripts")) / "mpirun"


@functools.cache
def mpi_of_this_environment() -> str:
    """Give "mpich" or "openmpi", by what its mpirun says of itself."""
    if not mpirun().exists():
        pytest.fail(f"{mpirun()} is missing: ranks are started with the MPI of the environment that runs the tests")
    said = subprocess.run([mpirun(), "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    return "openmpi" if "Open MPI" in said else "mpich"


def wait_for(condition: Callable[[], T], what: str, *, timeout: float = 30) -> T:
    """Ask `condition` until what it returns is true, and return that; `what` is for the message when it never is."""
    deadline = time.monotonic() + timeout
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}, in vain")
        time.sleep(0.02)


def kill_rank(pid_file: Path, *, sig: signal.Signals = signal.SIGKILL, timeout: float = 30) -> int:
    """Wait until a rank has written its pid and a line break into `pid_file`, send it `sig`, and see it end.

    A rank does that with `pathlib.Path(...).write_text(f"{os.getpid()}\\n")`. Returns the pid.
    """

    def written() -> int:
        text = pid_file.read_text() if pid_file.exists() else ""
        return int(text) if text.endswith("\n") else 0

    pid = wait_for(written, f"a pid in {pid_file}", timeout=timeout)
    _send(pid, sig)
    wait_for(lambda: not _lives(pid), f"the end of {pid} after {sig.name}", timeout=timeout)
    return pid


def _script_arguments(script: str | Path, folder: Path) -> list[str]:
    if isinstance(script, str) and "\n" in script:
        path = folder / "script.py"
        path.write_text(textwrap.dedent(script))
        return [str(path)]
    if isinstance(script, str) and script.startswith("-"):
        return [script]
    return [str(Path(script).absolute())]


def _send(pid: int, sig: signal.Signals) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def _lives(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")

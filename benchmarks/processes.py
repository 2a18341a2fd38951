"""A process for each way to record: with its own folder, and its own Python where one is named."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers import PEERS

PROGRAM = Path(__file__).with_name("recording_process.py")
#: A process that takes longer is ended (s).
LIMIT = 180


@dataclass(slots=True)
class Runner:
    """Starts processes below a folder."""

    place: Path
    #: Another Python for a way to record, or for all of a package.
    pythons: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield a folder that is removed afterwards."""
        made = Path(tempfile.mkdtemp(dir=self.place))
        try:
            yield made
        finally:
            shutil.rmtree(made)
            for beside in self.place.glob(f"{made.name}.*"):
                beside.unlink()

    def start(self, what: str, name: str, folder: Path, number: float, *, keep: int = -1) -> subprocess.Popen[bytes]:
        """Start a process, with one more open file if `keep` is one."""
        peer = PEERS[name]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("BRAID_")}
        # Settings in the user's own directory would change what is measured.
        environment |= {"HOME": str(folder), "ACKNOWLEDGED": str(keep)} | dict(peer.environment)
        python = self.pythons.get(name) or self.pythons.get(peer.package) or sys.executable
        command = [python, str(PROGRAM), what, name, str(folder), str(number)]
        kept = (keep,) if keep >= 0 else ()
        with self._output(folder).open("wb") as output:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=kept
            )

    def run(self, what: str, name: str, folder: Path, number: float) -> dict[str, Any]:
        """Run a process to its end; return what it found, or why it found nothing."""
        try:
            process = self.start(what, name, folder, number)
        except (FileNotFoundError, PermissionError) as error:
            return {"why": f"{error.filename} cannot be run: {error.strerror}"}
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            return {"why": f"it took longer than {LIMIT} s"}
        finally:
            process.kill()
            process.wait()
        return self.found(folder) or {"why": f"its process ended with {process.returncode}: {self.said(folder)}"}

    def found(self, folder: Path) -> dict[str, Any]:
        """Return what the last process of a folder has found, if it came to its end."""
        path = folder.with_name(f"{folder.name}.found.json")
        if not path.exists():
            return {}
        found: dict[str, Any] = json.loads(path.read_text())
        path.unlink()
        return found

    def said(self, folder: Path) -> str:
        """Return the last line that the last process of a folder has printed."""
        lines = self._output(folder).read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")

    def _output(self, folder: Path) -> Path:
        return folder.with_name(f"{folder.name}.output")

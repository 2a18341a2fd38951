"""Build hook: compiles the tail of the rank log where that is possible, and says so in one line where it is not.

With the compiled module the wheel is of the stable ABI, for one platform; without it, it is for every platform, and
the twin in Python does the same work more slowly. ``BRAID_NO_COMPILE=1`` asks for the latter. An editable install
has the module built beside its source. A wheel also gets the programs that measure.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "_tail"
FILE = f"{MODULE}.abi3.so"
FOLDER = "braid_hpc/kernels"
#: What measures: programs of the repository, which an installed ``braid bench`` runs from inside of the package.
PROGRAMS = "benchmarks"
FLAGS = ("-O3", "-g0", "-shared", "-fPIC", "-fvisibility=hidden")

#: Loads a module from the path that it is given.
LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(sys.argv[1], sys.argv[2])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


class CannotCompileError(Exception):
    """There will be no compiled module; the message says why."""


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the compiled module and the programs that measure to a wheel."""

    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say in `build_data` what the wheel then is."""
        if self.target_name != "wheel":
            return
        if version != "editable":
            for program in sorted(Path(self.root, PROGRAMS).glob("*.py")):
                build_data["force_include"][str(program)] = f"braid_hpc/{PROGRAMS}/{program.name}"
        source = Path(self.root, FOLDER)
        # Beside the source for an editable install, so that the finished file can be renamed to its place.
        self._folder = tempfile.TemporaryDirectory(dir=source if version == "editable" else None, prefix=".build-")
        built = Path(self._folder.name, FILE)
        try:
            _compile(source, built)
        except CannotCompileError as reason:
            self.app.display_warning(f"braid_hpc: the tail is not compiled, its twin in Python is used ({reason})")
            if version == "editable":
                Path(source, FILE).unlink(missing_ok=True)
            return
        if version == "editable":
            os.replace(built, source / FILE)
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{platform}"
        build_data["force_include"][str(built)] = f"{FOLDER}/{FILE}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if self._folder is not None:
            self._folder.cleanup()

    def clean(self, versions: list[str]) -> None:
        """Remove what was built beside the source."""
        Path(self.root, FOLDER, FILE).unlink(missing_ok=True)


def _compile(source: Path, target: Path) -> None:
    """Compile the module in the folder `source` to the file `target`; raise `CannotCompileError` where it cannot be."""
    if os.environ.get("BRAID_NO_COMPILE", "0") not in ("", "0"):
        raise CannotCompileError("BRAID_NO_COMPILE is set")
    if sys.platform != "linux" or sys.implementation.name != "cpython":
        raise CannotCompileError(f"it is for CPython on Linux, this is {sys.implementation.name} on {sys.platform}")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise CannotCompileError("the stable ABI is not there for a free-threaded interpreter")
    reason = "no compiler was found"
    # What the interpreter was built with is often not there where it runs, the system's compiler may be.
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        if command:
            # Relative names only, so that the same source gives the same bytes wherever it lies.
            line = [
                *shlex.split(command),
                *FLAGS,
                f"-I{sysconfig.get_path('include')}",
                f"{MODULE}.c",
                "-o",
                str(target),
            ]
            reason = _run(line, source)
            if not reason:
                break
    else:
        raise CannotCompileError(reason)
    if reason := _run([sys.executable, "-I", "-c", LOAD, MODULE, str(target)], source):
        raise CannotCompileError(f"what was compiled cannot be imported: {reason}")


def _run(line: list[str], folder: Path) -> str:
    """Run a command; return what went wrong in one line, or nothing."""
    try:
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{line[0]}: {error.strerror}"
    if done.returncode == 0:
        return ""
    said = [text for text in done.stderr.splitlines() if text.strip()]
    telling = [text for text in said if "error" in text.lower()] or said or [f"it ended with {done.returncode}"]
    return f"{Path(line[0]).name}: {telling[0].strip()[:200]}"

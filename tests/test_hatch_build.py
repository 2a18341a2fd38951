"""The build hook: what a wheel is with a compiler, and without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import pytest

from braid_hpc.log.choice import why_python

ROOT = Path(__file__).resolve().parent.parent
COMPILED = "braid_hpc/kernels/_tail.abi3.so"
PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler here")


@dataclass(frozen=True, slots=True)
class Wheel:
    path: Path
    said: str

    @property
    def files(self) -> set[str]:
        return set(zipfile.ZipFile(self.path).namelist())

    @property
    def tag(self) -> tuple[str, str]:
        """Whether it is said to be pure, and for what."""
        with zipfile.ZipFile(self.path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
            said = message_from_bytes(archive.read(name))
        return said["Root-Is-Purelib"], said["Tag"]


def build(folder: Path, environment: dict[str, str]) -> Wheel:
    """Build a wheel in an environment of which `environment` replaces a part."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", "BRAID_NO_COMPILE")}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    (path,) = folder.iterdir()
    return Wheel(path, done.stderr)


@needs_compiler
def test_with_a_compiler_the_wheel_is_of_the_stable_abi(tmp_path: Path) -> None:
    """For CPython from 3.11 on, on this platform, with the module inside; nothing is said."""
    wheel = build(tmp_path, {})
    assert wheel.path.name.endswith(f"-cp311-abi3-{PLATFORM}.whl")
    assert wheel.tag == ("false", f"cp311-abi3-{PLATFORM}")
    assert COMPILED in wheel.files
    assert "not compiled" not in wheel.said


@needs_compiler
def test_a_compiler_that_is_not_there_is_not_the_last_word(tmp_path: Path) -> None:
    """An interpreter may name the one it was built with, on another machine."""
    assert COMPILED in build(tmp_path, {"CC": "/nowhere/icx -w"}).files


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"BRAID_NO_COMPILE": "1"}, "BRAID_NO_COMPILE is set"),
        ({"PATH": "/nowhere", "CC": "/nowhere/cc"}, "No such file"),
        ({"PATH": "{broken}", "CC": "{broken}/cc"}, "Python.h: No such file or directory"),
        ({"PATH": "{idle}", "CC": "{idle}/cc"}, "cannot be imported"),
    ],
    ids=["asked", "no-compiler", "no-headers", "not-loadable"],
)
def test_without_one_the_wheel_is_for_every_platform(tmp_path: Path, environment: dict[str, str], reason: str) -> None:
    """It is built all the same, and why is said in one line."""
    commands = {
        "broken": "#!/bin/sh\necho '_tail.c:25:10: fatal error: Python.h: No such file or directory' >&2\nexit 1\n",
        "idle": "#!/bin/sh\nexit 0\n",
    }
    for name, script in commands.items():
        (tmp_path / name).mkdir()
        for compiler in ("cc", "gcc", "clang"):
            (tmp_path / name / compiler).write_text(script)
            (tmp_path / name / compiler).chmod(0o755)
    folders = {name: str(tmp_path / name) for name in commands}
    wheel = build(tmp_path / "wheel", {name: value.format(**folders) for name, value in environment.items()})
    assert wheel.path.name.endswith("-py3-none-any.whl")
    assert wheel.tag == ("true", "py3-none-any")
    assert COMPILED not in wheel.files
    assert "braid_hpc/kernels/_tail.c" in wheel.files
    (line,) = wheel.said.splitlines()[:1]
    assert "the tail is not compiled" in line
    assert reason in line


@needs_compiler
def test_this_environment_runs_the_compiled_tail() -> None:
    """What is tested here is what is installed; else an editable install is older than the source, or broke."""
    assert why_python() is None

"""Whether a command line that is written in a page could be given: the commands, options and files that it names."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import click

from braid_hpc.cli.app import braid
from braid_hpc.cli.program import _OPTIONS
from tests.docs.pages import ROOT


def fault(command: str, files: set[str]) -> str | None:
    """Say what is wrong with a command line; `files` are the programs that the page gives."""
    return _words(shlex.split(command, comments=True), files)


def _words(words: list[str], files: set[str]) -> str | None:
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    if not words:
        return "there is no command"
    name, rest = words[0], words[1:]
    if name in ("mpirun", "srun"):
        return _words(rest[2:], files) if rest[:1] == ["-n"] and rest[1].isdigit() else f"{name} without -n N"
    if name == "braid":
        return _braid(braid, rest, files)
    if name == "make":
        return next((f"make has no target {word}" for word in rest if word not in targets()), None)
    if name == "pip":
        return None if rest[0] == "install" else f"pip {rest[0]}"
    if name == "python":
        return _python(rest, files)
    return None if name in ("echo", "sed") else f"{name} is not known here"


def _python(rest: list[str], files: set[str]) -> str | None:
    if rest[0] == "-m":
        return None if importlib.util.find_spec(rest[1]) else f"there is no module {rest[1]}"
    of_ours = rest[0].startswith("benchmarks/") and (ROOT / rest[0]).is_file()
    return None if rest[0] in files or of_ours else f"the page has no program {rest[0]}"


def _braid(group: click.Command, rest: list[str], files: set[str]) -> str | None:
    if isinstance(group, click.Group) and rest and rest[0] in group.commands:
        name = rest[0]
        return (
            _run(rest[1:], files) if group is braid and name == "run" else _braid(group.commands[name], rest[1:], files)
        )
    known = {"-h", "--help", *(option for parameter in group.params for option in parameter.opts)}
    if group is braid and rest and not rest[0].startswith("-"):
        return f"braid has no command {rest[0]}"
    if "--" in rest:
        own, rest = rest[rest.index("--") + 1 :], rest[: rest.index("--")]
        if fault := _of_program(f"benchmarks/{group.name}.py", own):
            return fault
    given = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    return next((f"braid {group.name} has no option {word}" for word in given if word not in known), None)


def _option(word: str) -> bool:
    return word.startswith("--") and word != "--help"


def _of_program(path: str, rest: list[str]) -> str | None:
    """Say which option a program that measures does not have."""
    text = (ROOT / path).read_text()
    return next((f"{path} has no option {word}" for word in rest if _option(word) and f'"{word}"' not in text), None)


def _run(rest: list[str], files: set[str]) -> str | None:
    while rest and rest[0].startswith("--") and rest[0] != "--":
        if rest[0] not in _OPTIONS:
            return f"braid run has no option {rest[0]}"
        rest = rest[2:]
    if rest[:1] == ["--"]:
        return _words(rest[1:], files)
    return None if rest and (rest[0] in files or rest[0] == "-m") else f"the page has no program {rest[:1]}"


def targets() -> set[str]:
    """Give the targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def extras() -> set[str]:
    """Give the extras of the package."""
    project = tomllib.loads(Path(ROOT / "pyproject.toml").read_text())["project"]
    return set(project["optional-dependencies"])

"""The blocks of code in a page, and how they are run: in order, in one folder, by one interpreter."""

from __future__ import annotations

import json
import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ranks import OPENMPI_ENVIRONMENT, RankRun, RunRanks, mpi_of_this_environment

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_OPTIONS = re.compile(r"(?:^:\w+:[^\n]*\n)+\n?", re.MULTILINE)
_CAPTION = re.compile(r"^:caption: *(\S+)", re.MULTILINE)

# Takes the steps of a page one by one. What a page defines stays defined, and lines keep their numbers.
_RUNNER = """
import json, subprocess, sys
from pathlib import Path

space = {"__name__": "__main__"}
for step in json.loads(Path(sys.argv[1]).read_text()):
    print(f"---- {step['page']}:{step['line']}", flush=True)
    if step["kind"] == "file":
        Path(step["name"]).write_text(step["text"])
    elif step["kind"] == "shell":
        subprocess.run(["bash", "-euo", "pipefail", "-c", step["text"]], check=True)
    else:
        exec(compile("\\n" * step["line"] + step["text"], step["page"], "exec"), space)
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: `python`, `console`, or `file` where the block has the name of a file."""

    page: Path
    line: int
    kind: str
    text: str
    name: str = ""

    @property
    def commands(self) -> list[str]:
        """The lines of a console block that begin with a prompt."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def pages() -> list[Path]:
    """Give every page of the documentation."""
    found = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    assert found
    return sorted(found)


def blocks(page: Path) -> Iterator[Block]:
    """Give the blocks of Python and of console lines in a page."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        info, body = found["info"].strip(), found["text"]
        if info == "{code-block} python":
            options = _OPTIONS.match(body)
            caption = _CAPTION.search(options[0]) if options else None
            assert options is not None, f"{page.name}:{line} needs a caption: the name of its file"
            assert caption is not None, f"{page.name}:{line} needs a caption: the name of its file"
            yield Block(page, line, "file", body[options.end() :], caption[1])
        elif info in ("python", "console"):
            yield Block(page, line, info, body)


def run_page(page: Path, run_ranks: RunRanks, folder: Path) -> RankRun:
    """Do what a page says, in a folder of its own; its console lines too, with this environment's commands."""
    steps = []
    for block in blocks(page):
        about = {"page": page.name, "line": block.line}
        if block.kind == "console":
            steps += [{**about, "kind": "shell", "text": command} for command in block.commands]
        else:
            steps.append({**about, "kind": block.kind, "text": block.text, "name": block.name})
    folder.mkdir()
    plan = folder.parent / "steps.json"
    plan.write_text(json.dumps(steps))
    return run_ranks(0, _RUNNER, plan, cwd=folder, env=environment(folder), timeout=100)


def environment(folder: Path) -> dict[str, str]:
    """Give the variables for commands of a page."""
    variables = {
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "BRAID_LOG_DIR": str(folder / "default-logs"),
    }
    if mpi_of_this_environment() == "openmpi":
        variables.update(OPENMPI_ENVIRONMENT)
    return variables

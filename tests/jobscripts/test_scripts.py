"""The committed scripts are what is rendered, stand for themselves, and their workflows run."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from braid_hpc.batch.local import SCHEDULER
from braid_hpc.batch.sites import SITES
from braid_hpc.batch.specification import read_specification
from braid_hpc.batch.submission import submit
from braid_hpc.cli.demo import DEMOS
from tests.batch.make_jobscripts import FOLDER, WRITTEN, scripts
from tests.cli.conftest import Braid, cli
from tests.docs.commands import fault
from tests.docs.pages import environment
from tests.faults.campaign import many

__all__ = ["cli"]

WANTED = dict(scripts())

#: What the README says to ask of each workflow.
QUESTIONS = dict(re.findall(r"^\| `(\w+)` \| `(braid [^`]+)`", (FOLDER / "README.md").read_text(), re.MULTILINE))


def test_the_committed_scripts_are_those_that_are_rendered() -> None:
    """``make jobscripts`` writes them anew."""
    assert set(FOLDER.rglob("*.sh")) == set(WANTED)
    assert [path for path, text in WANTED.items() if path.read_text() != text] == []


def test_each_workflow_has_its_scripts() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(DEMOS) == set(QUESTIONS)
    for name in WRITTEN:
        assert {path.stem for path in (FOLDER / name).glob("*.sh")} == {*DEMOS, "compact"}
    assert {path.name for path in (FOLDER / "sites").iterdir()} == set(SITES)


@pytest.mark.parametrize("path", WANTED, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_script_is_sound(path: Path) -> None:
    """Bash can read it, and our commands in it have the options that it gives them."""
    subprocess.run(["bash", "-n", path], check=True, timeout=10)
    ours = r"(?:^|\s)(braid (?:ship|compact) .*?)(?: \|\||;|'| fetches|</dev/null|$)"
    lines = re.findall(ours, path.read_text(), re.MULTILINE)
    assert lines
    assert {line: wrong for line in lines if (wrong := fault(re.sub(r"[\"\\]", "", line), set()))} == {}


@pytest.mark.slow
def test_scripts_are_clean() -> None:
    """Those of one workflow, and of every site: the others differ in names and numbers."""
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck on this machine (apt-get install shellcheck)")
    done = subprocess.run(
        ["shellcheck", *(str(path) for path in WANTED if path.stem in ("braggnn", "compact"))],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssx", *(name for name in DEMOS if name != "ssx")][: many(len(DEMOS), 1)])
def test_a_workflow_runs(name: str, cli: Braid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine: its ranks record, logs come home, are merged, and the README's question has an answer."""
    for key, value in environment(tmp_path).items():
        monkeypatch.setenv(key, value)
    spec = read_specification(FOLDER / f"{name}.toml").changed(
        nodes=1, ranks_per_node=2, directory=str(tmp_path), node_local=str(tmp_path / "node")
    )
    done = submit(spec, scheduler="local")
    for each in (str(done.job), str(done.compaction)):
        end = time.monotonic() + 100
        while SCHEDULER.states([each])[each] != "ended":
            assert time.monotonic() < end, (done.directory / "job.out").read_text()
            time.sleep(0.1)
    told = (done.directory / "summary.txt").read_text()
    assert told.startswith(f"{name}, local job {done.job}: 2 of 2 ranks' logs are complete\n"), told
    answer = cli(*QUESTIONS[name].split()[1:], "--store", done.store)
    assert answer.exit_code == 0, answer.stderr
    assert re.search(r"^(firmware|model|structure|data|dataset):\S+@\d+$", answer.stdout, re.MULTILINE)
    assert "incomplete" not in answer.stdout

"""Every command, given what is not there, not a store, damaged or forbidden: one sentence and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from braid_hpc.cli.app import braid
from braid_hpc.compaction.compact import compact
from tests.cli.conftest import Braid

ASKING = {
    "log": [],
    "show": ["model:net"],
    "lineage": ["model:net"],
    "find": ["n=3"],
    "tests": ["model:net"],
    "graph": [],
    "sql": ["select 1"],
    "print": [],
    "status": [],
}
LONG = "x" * 300


@pytest.fixture
def here(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a store, and with things that are none."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(store, "prov.duckdb")
    Path("folder").mkdir()
    Path("text").write_text("hello")
    Path("empty").touch()
    Path("cut").write_bytes(store.read_bytes()[:5000])
    data = bytearray(store.read_bytes())
    data[8192 : len(data) // 2] = bytes(len(data) // 2 - 8192)
    Path("damaged").write_bytes(data)
    Path("dangling").symlink_to("nowhere")
    return tmp_path


@contextlib.contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """Let nobody read a file or directory, root included: by being another user for a while."""
    path.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o700)


def one_sentence(stderr: str) -> bool:
    return stderr.startswith("braid: ") and stderr.count("\n") == 1 and "Traceback" not in stderr


@pytest.mark.parametrize("command", ASKING)
def test_what_is_no_store(cli: Braid, here: Path, command: str) -> None:
    """Each with its exit code: 2 a wrong call, 3 not there, 4 not to be used."""
    places = {"folder": 2, "nowhere": 3, "dangling": 3, "text/inside": 3, "text": 4, "empty": 4, "cut": 4, "damaged": 4}
    found = {}
    for place in (*places, LONG):
        done = cli(command, *ASKING[command], "--store", place)
        assert one_sentence(done.stderr), (place, done.stderr, done.exception)
        assert done.stdout == ""
        found[place] = done.exit_code
    assert found == places | {LONG: 4}


@pytest.mark.parametrize("command", ASKING)
def test_a_store_that_may_not_be_read(cli: Braid, here: Path, command: str) -> None:
    """The sentence says so, and names it."""
    words = (command, *ASKING[command], "--store", here / "prov.duckdb")
    assert cli(*words).exit_code in (0, 3)
    with forbidden(here / "prov.duckdb"):
        done = cli(*words)
    assert (done.exit_code, done.stdout) == (4, "")
    assert one_sentence(done.stderr), done.stderr
    assert "prov.duckdb" in done.stderr
    assert "ermission denied" in done.stderr


@pytest.mark.parametrize("words", [["check"], ["compact", "--store", "new.duckdb"], ["ship", "--to", "copies"]])
def test_what_are_no_logs(cli: Braid, here: Path, words: list[str]) -> None:
    """Nothing is made of them."""
    for place in ("nowhere", "folder", "text", "empty", "dangling", "text/inside", LONG):
        done = cli(words[0], place, *words[1:])
        assert done.exit_code == (4 if place == LONG else 3), (place, done.output)
        assert one_sentence(done.stderr), (place, done.stderr)
        assert done.stdout == ""
    assert not Path("new.duckdb").exists()
    assert not Path("copies").exists()


@pytest.mark.parametrize("words", [["check"], ["compact", "--store", "new.duckdb"], ["ship", "--to", "copies"]])
def test_logs_that_may_not_be_read(cli: Braid, here: Path, logs: Path, words: list[str]) -> None:
    with forbidden(logs):
        done = cli(words[0], logs, *words[1:])
    assert (done.exit_code, done.stdout) == (4, "")
    assert one_sentence(done.stderr), done.stderr
    assert "ermission denied" in done.stderr


@pytest.mark.parametrize("place", ["folder", "text", "empty", "cut", "text/inside", LONG])
def test_a_store_cannot_be_made_there(cli: Braid, here: Path, logs: Path, place: str) -> None:
    """What lies there stays what it is."""
    before = Path(place).read_bytes() if place in ("text", "empty", "cut") else None
    done = cli("compact", logs, "--store", place)
    assert (done.exit_code, done.stdout) == (4, "")
    assert one_sentence(done.stderr), done.stderr
    assert before is None or Path(place).read_bytes() == before


@pytest.mark.parametrize(
    ("place", "code"), [("nowhere", 3), ("dangling", 3), ("text/inside", 3), ("text", 2), ("folder", 2), (LONG, 4)]
)
def test_what_is_no_file_of_a_log(cli: Braid, here: Path, place: str, code: int) -> None:
    done = cli("log", "parse", place)
    assert (done.exit_code, done.stdout) == (code, "")
    assert one_sentence(done.stderr), done.stderr


def test_a_demo_works_in_a_directory(cli: Braid, here: Path) -> None:
    """Told before ranks are started."""
    done = cli("demo", "braggnn", "--dir", "text")
    assert done.exit_code == 2
    assert "Directory 'text' is a file" in done.stderr


def examples() -> list[str]:
    """Give the examples of commands that ask a store."""
    asking = [braid.commands[name] for name in ASKING]
    return [example for command in asking for example in command.examples]  # type: ignore[attr-defined]


@pytest.mark.parametrize("example", examples())
def test_examples_can_be_given(cli: Braid, here: Path, example: str) -> None:
    """In a store without what they name they find nothing, and that is all that is wrong with them."""
    shutil.copyfile("prov.duckdb", "scan.duckdb")
    done = cli(*shlex.split(example)[1:])
    assert done.exit_code in (0, 3), done.output


@pytest.mark.usefixtures("here")
def test_a_reader_that_has_seen_enough() -> None:
    """A pipe that is closed early is no error worth a word."""
    path = Path(sysconfig.get_path("scripts")) / "braid"
    query = "select range from range(200000)"
    with subprocess.Popen([path, "sql", query, "--format", "csv"], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "range\n"
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_warning_is_a_line_of_text(
    program: Callable[..., subprocess.CompletedProcess[str]], logs: Path, tmp_path: Path
) -> None:
    """What is said of an index that was made again names no file of ours, and the answer comes all the same."""
    store = tmp_path / "prov.duckdb"
    compact(logs, store)
    (index,) = store.with_name("prov.duckdb.d").glob("*.adjacency")
    index.chmod(0o644)
    index.write_bytes(b"x" * 100)
    done = program("lineage", "model:net", "--store", store, "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["root"] == "model:net@1"
    (line,) = done.stderr.splitlines()
    assert line.startswith("braid: ")
    assert str(index) in line
    assert "it was made again from the tables" in line

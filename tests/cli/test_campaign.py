"""``braid campaign`` and ``braid todo``: what they print, count, and write."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from braid_hpc.campaigns.campaign import STATES
from braid_hpc.cli.campaign_watch import TABLE, Counted, bar, percent, screen
from braid_hpc.compaction.compact import compact
from tests.campaigns.world import STAGES, World
from tests.jobs import one

Braid = Callable[..., Result]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    folder = tmp_path_factory.mktemp("campaign")
    world = World(3)
    with one(folder / "logs") as job:
        world.declare(job[0])
        world.simulate(job.runs, seed=5)
    compact(folder / "logs", folder / "prov.duckdb")
    return world, folder / "prov.duckdb"


def done(call: Result) -> Any:
    assert call.exit_code == 0, call.stderr
    return call.stdout


def test_status_counts_each_table(cli: Braid, world: tuple[World, Path]) -> None:
    """As the oracle does; the share that is done is a number for programs, and a bar for people."""
    made, store = world
    found = list(csv.DictReader(io.StringIO(done(cli("campaign", "status", "--store", store, "--format", "csv")))))
    assert [row["table"] for row in found if row["table"] in STAGES] == list(STAGES)
    for row in found:
        for state, files in made.expected(row["table"]).items():
            assert int(row[state]) == len(files)
        assert float(row["done"]) == pytest.approx(1 - int(row["to_do"]) / int(row["total"]), abs=1e-6)
    shown = done(cli("campaign", "status", "prop", "--store", store))
    assert re.search(r"█+░* +\d+\.\d %", shown)


def test_groups_and_conditions(cli: Braid, world: tuple[World, Path]) -> None:
    """Counted by a column, of the row or of what it belongs to, the worst first, and only some of them."""
    made, store = world
    words = ("--by", "configuration__number", "--where", "s__lt=2", "--worst-first", "--format", "json")
    found = json.loads(done(cli("campaign", "status", "prop", *words, "--store", store)))
    assert [row["done"] for row in found] == sorted(row["done"] for row in found)
    missing = set(made.expected("prop")["missing"])
    for row in found:
        names = {f"prop/{row['configuration__number']}_{s}.h5" for s in (0, 1)}
        assert (row["total"], row["missing"]) == (2, len(names & missing))
    every = json.loads(done(cli("campaign", "status", "--where", "f=1", "--store", store, "--format", "json")))
    assert [row["table"] for row in every] == ["seqsink", "coherent"], "those that have the column"


def test_lists_are_the_oracles(cli: Braid, world: tuple[World, Path]) -> None:
    """Of any state, as rows for programs."""
    made, store = world
    for state in ("missing", "runnable", "blocked", "consumed"):
        lines = done(cli("campaign", "list", "ff4d", "--state", state, "--store", store, "--format", "ndjson"))
        assert [json.loads(line)["name"] for line in lines.splitlines()] == made.expected("ff4d")[state]
    call = cli("campaign", "list", "ff4d", "--state", "gone", "--store", store)
    assert (call.exit_code, call.stdout) == (2, "")
    assert "'gone' is no state of files" in call.stderr


def test_a_page_opens_from_disk(cli: Braid, world: tuple[World, Path], tmp_path: Path) -> None:
    """One file that asks nobody; its data is what was counted, and cannot end the element that it stands in."""
    made, store = world
    page = tmp_path / "status.html"
    call = cli("campaign", "status", "--by", "configuration__number", "--html", page, "--store", store)
    assert (call.exit_code, call.stdout) == (0, "")
    text = page.read_text()
    assert "http" not in text
    (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    found = json.loads(data)
    assert found["by"] == ["table", "configuration__number"]
    total = found["by"].__len__() + found["states"].index("total")
    assert sum(row[total] for row in found["rows"]) == sum(map(len, made.files.values()))


def test_todo_leaves_out_what_is_claimed(cli: Braid, tmp_path: Path) -> None:
    """And gives it back."""
    made, store = World(1), tmp_path / "prov.duckdb"
    with one(tmp_path / "logs") as job:
        made.declare(job[0])
    compact(tmp_path / "logs", store)
    call = cli("todo", "src", "--claim", "2", "--minutes", "5", "--format", "ndjson", "--store", store)
    assert [json.loads(line)["name"] for line in done(call).splitlines()] == made.files["src"][:2]
    (number,) = re.findall(r"claim (\w+): 2 files for 5 minutes", call.stderr)
    lines = done(cli("todo", "src", "--format", "ndjson", "--store", store)).splitlines()
    assert [json.loads(line)["name"] for line in lines] == made.files["src"][2:]
    assert "2 files are free again" in cli("todo", "--release", number, "--store", store).stderr
    assert len(done(cli("todo", "src", "--format", "ndjson", "--store", store)).splitlines()) == 4
    assert "no file of prop can be made now" in cli("todo", "prop", "--store", store).stderr
    for words in ((), ("src", "--release", number), ("src", "--where", "s"), ("src", "--claim", "0")):
        assert cli("todo", *words, "--store", store).exit_code == 2


def test_verify_says_what_changed(cli: Braid, tmp_path: Path) -> None:
    """In the store, from where the next status has it."""
    made, store = World(1), tmp_path / "prov.duckdb"
    with one(tmp_path / "logs") as job:
        made.declare(job[0])
        made.mark(job[0], "src", "exists", made.files["src"])
    compact(tmp_path / "logs", store)
    found = json.loads(done(cli("campaign", "verify", "src", "--root", tmp_path, "--store", store, "--format", "json")))
    assert found == [{"state": "missing", "files": 4}]
    (row,) = json.loads(done(cli("campaign", "status", "src", "--store", store, "--format", "json")))
    assert (row["missing"], row["runnable"]) == (4, 4)


# ---------------------------------------------------------------------- bars


def numbers_of(name: str) -> dict[str, int]:
    """Give the columns of a file of the world, from its name."""
    table, _, rest = name.partition("/")
    fields = [each for each in STAGES[table].__dataclass_fields__ if len(each) == 1]  # type: ignore[attr-defined]
    return dict(zip(["configuration__number", *fields], map(int, rest.removesuffix(".h5").split("_")), strict=True))


FILTERS: dict[str, Callable[[int, Any], bool]] = {
    "": lambda value, asked: value == asked,
    "__gt": lambda value, asked: value > asked,
    "__lte": lambda value, asked: value <= asked,
    "__ne": lambda value, asked: value != asked,
    "__in": lambda value, asked: value in asked,
}


@pytest.mark.parametrize("seed", range(20))
def test_a_bar_is_what_is_done_of_what_was_asked_for(cli: Braid, world: tuple[World, Path], seed: int) -> None:
    """Twenty random filters; groups by configuration, the worst first; both as the oracle counts them."""
    made, store = world
    chosen = random.Random(seed)
    table = chosen.choice(["src", "prop", "seqsink", "coherent", "ff4d", "average"])
    columns = list(numbers_of(made.files[table][0]))
    asked = {}
    for column in chosen.sample(columns, chosen.randint(1, len(columns))):
        word = chosen.choice(list(FILTERS))
        asked[column, word] = [0, 2] if word == "__in" else chosen.randint(0, 2)
    where = [word for (column, suffix), value in asked.items() for word in ("--where", f"{column}{suffix}={value}")]

    def holds(file: str) -> bool:
        values = numbers_of(file)
        return all(FILTERS[suffix](values[column], value) for (column, suffix), value in asked.items())

    files, to_do = list(filter(holds, made.files[table])), set(made.expected(table)["to_do"])
    (row,) = json.loads(done(cli("campaign", "status", table, *where, "--store", store, "--format", "json")))
    share = 1 - len(to_do & set(files)) / len(files) if files else 1
    assert (row["total"], row["done"]) == (len(files), pytest.approx(share, abs=1e-6))
    if share:
        assert f"{''.join(bar(share, 10))} {percent(share)}" in done(
            cli("campaign", "status", table, *where, "--store", store)
        )
    by = ("--by", "configuration__number", "--worst-first", "--format", "json")
    groups = json.loads(done(cli("campaign", "status", table, *where, *by, "--store", store)))
    expected = []
    for number in sorted({numbers_of(file)["configuration__number"] for file in files}):
        mine = [file for file in files if numbers_of(file)["configuration__number"] == number]
        expected.append((1 - len(to_do & set(mine)) / len(mine), number, len(mine)))
    assert [(each["done"], each["configuration__number"], each["total"]) for each in groups] == [
        (pytest.approx(share, abs=1e-6), number, count) for share, number, count in sorted(expected)
    ]


@pytest.mark.parametrize(
    ("share", "width", "shown", "said"),
    [
        (0.0, 4, "░░░░", "0.0 %"),
        (0.5, 4, "██░░", "50.0 %"),
        (0.99999, 4, "███░", "99.9 %"),
        (1.0, 4, "████", "100 %"),
    ],
)
def test_a_bar_is_full_when_all_is_done(share: float, width: int, shown: str, said: str) -> None:
    assert ("".join(bar(share, width)), percent(share)) == (shown, said)


# ---------------------------------------------------------------------- looking on


def counted(groups: int) -> Counted:
    rows = []
    for number in range(groups):
        row = dict.fromkeys(STATES, 0) | {"total": 100, "to_do": number, "missing": number}
        rows.append({TABLE: "src", "n": number, **row, "done": 1 - number / 100})
    return Counted("prov.duckdb, snapshot 3", [TABLE, "n"], rows)


@pytest.mark.parametrize("height", [8, 20, 60])
def test_a_screen_has_room_for_the_worst(height: int) -> None:
    """And says how many groups are not shown; no line more than there is room for."""
    console = Console(file=io.StringIO(), width=120, height=height, highlight=False)
    console.print(screen(counted(40), height=height, width=120))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) < height
    assert lines[0] == "prov.duckdb, snapshot 3"
    assert "80.5 % of 4,000 files" in lines[1]
    shown = [int(line.split()[1]) for line in lines[4:] if line.startswith("src")]
    assert shown == list(range(40 - len(shown), 40))
    if len(shown) < 40:
        assert lines[-1] == f"and {40 - len(shown)} more groups, of which more is done"
    assert "blocked" not in lines[3], "of which there are none"


@contextmanager
def watching(
    store: Path, *words: str, terminal: bool
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str]]]:
    """Start the installed program; give it, and what waits until it has written something."""
    ours, its = pty.openpty() if terminal else os.pipe()
    path = Path(sysconfig.get_path("scripts")) / "braid"
    command = [path, "campaign", "status", "--watch", "--every", "0.1", "--store", store, *words]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "150", "LINES": "40"}
    process = subprocess.Popen(list(map(str, command)), stdout=its, stderr=subprocess.PIPE, env=environment)
    os.close(its)
    written = b""

    def until(text: str) -> str:
        nonlocal written
        deadline = time.monotonic() + 60
        while text.encode() not in written:
            assert time.monotonic() < deadline, written
            if select.select([ours], [], [], 0.2)[0]:
                written += os.read(ours, 1 << 16)
        return written.decode()

    try:
        yield process, until
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        os.close(ours)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_watch_shows_new_snapshots_until_it_is_ended(
    world: tuple[World, Path], tmp_path: Path, terminal: bool
) -> None:
    """On a terminal as one screen with bars, elsewhere a line each; Ctrl-C ends it as it should end."""
    _, store = world
    shutil.copy(store, tmp_path / "prov.duckdb")
    shutil.copytree(store.with_name("prov.duckdb.d"), tmp_path / "prov.duckdb.d")
    with watching(tmp_path / "prov.duckdb", "src", terminal=terminal) as (process, until):
        shown = until("snapshot 1")
        assert ("░" in until("files") and "\x1b[" in shown) is terminal
        with one(tmp_path / "logs") as job:
            job[0].mark(STAGES["src"], "exists", names=[f"src/{c}_{s}.h5" for c in range(3) for s in range(4)])
        compact(tmp_path / "logs", tmp_path / "prov.duckdb")
        assert "100 %" in until("snapshot 2" if not terminal else "100 %")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_a_watch_is_of_what_comes(cli: Braid, world: tuple[World, Path], tmp_path: Path) -> None:
    """Not of an earlier moment, and not a page."""
    for words in (("--at", "1"), ("--as-of", "2026-01-01"), ("--html", tmp_path / "page.html")):
        call = cli("campaign", "status", "--watch", *words, "--store", world[1])
        assert (call.exit_code, call.stdout) == (2, "")
        assert "--watch shows what comes" in call.stderr


# ---------------------------------------------------------------------- the file system


def test_status_asks_for_no_file_of_the_campaign(world: tuple[World, Path], tmp_path: Path) -> None:
    """Seen by the kernel: of the thousands of calls none names a file that was declared; of verify some do."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed; Debian has it in the package strace")
    made, store = world
    data = tmp_path / "data"
    for file in made.files["src"]:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).write_bytes(b"x")
    shutil.copy(store, tmp_path / "prov.duckdb")
    shutil.copytree(store.with_name("prov.duckdb.d"), tmp_path / "prov.duckdb.d")
    path = Path(sysconfig.get_path("scripts")) / "braid"
    asked = {
        "status": ("status", "src", "--by", "configuration__number"),
        "list": ("list", "src", "--state", "missing"),
        "verify": ("verify", "src", "--root", str(data), "--young", "0"),
    }
    seen = {}
    for name, words in asked.items():
        calls = tmp_path / f"{name}.calls"
        command = ["strace", "-f", "-qq", "-e", "trace=%file,getdents64", "-o", calls, path, "campaign", *words]
        done = subprocess.run(
            [*map(str, command), "--store", str(tmp_path / "prov.duckdb")],
            cwd=data,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if "ptrace" in done.stderr.lower():
            pytest.skip(f"strace cannot trace a process here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        lines = calls.read_text().splitlines()
        assert len(lines) > 100
        seen[name] = [line for line in lines if re.search(r"\bsrc/|/src\b|\d+_\d+\.h5", line)]
    assert seen["status"] == seen["list"] == []
    listed = [line for line in seen["verify"] if "openat" in line]
    assert len(listed) == 1, "one listing for the one directory"

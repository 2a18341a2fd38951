"""Commands on files of a newer format: a newer major one is refused without touching a byte, a minor one is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from braid_hpc.compaction.compact import compact
from braid_hpc.log.header import unpack_header, write_header
from tests.cli.conftest import record
from tests.jobs import Job
from tests.newer_formats import newer_major, states, store_version

Braid = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give a folder with two logs, one with arrays, the store that was made of them, and a later log."""
    job = record(tmp_path / "logs")
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Job(tmp_path / "logs", 1, name="later", launcher=False) as later:
        later[0].array("a", np.arange(10_000.0))
    (tmp_path / "folders.json").write_text(json.dumps([str(job.folder(0)), str(later.folder(0))]))
    return tmp_path


@pytest.mark.parametrize("part", ["header", "tail", "arrays", "store"])
def test_a_newer_major_version_is_refused_untouched(cli: Braid, place: Path, part: str) -> None:
    """Exit code 4, one sentence, and nothing in the folder is another one, times of directories included."""
    first, later = (Path(text) for text in json.loads((place / "folders.json").read_text()))
    logs, store = place / "logs", place / "prov.duckdb"
    newer_major({"arrays": later, "store": store}.get(part, first), part)
    commands: list[tuple[object, ...]] = []
    if part == "store":
        commands += [
            ("compact", logs, "--store", store),
            ("status", "--store", store),
            ("sql", "from runs", "--store", store),
        ]
    else:
        commands += [("check", logs), ("compact", logs, "--store", place / "other.duckdb")]
    if part in ("header", "tail"):
        commands += [("compact", logs, "--store", store), ("ship", logs, "--to", place / "to")]
        commands += [("log", "parse", first / "header.json" if part == "header" else next(first.glob("tail-*")))]
    if part == "arrays":
        commands += [("log", "parse", later / "arrays-1.h5")]
    before = states(place)
    for words in commands:
        done = cli(*words)
        assert (done.exit_code, done.stdout) == (4, ""), words
        assert "format 9" in done.stderr, words
        assert "this braid_hpc reads up to 1: update braid_hpc" in done.stderr, words
        after = states(place)
        if part == "arrays":
            # A directory was made to build the store in, and is empty again; the log is untouched.
            after = {name: state for name, state in after.items() if "other.duckdb" not in name and name != str(place)}
            assert after == {name: state for name, state in before.items() if name != str(place)}
        else:
            assert after == before, words


def test_a_newer_minor_log_is_checked_and_named(cli: Braid, place: Path) -> None:
    """What it has that is not known is told, and its events are merged."""
    first, _ = (Path(text) for text in json.loads((place / "folders.json").read_text()))
    header = unpack_header((first / "header.json").read_bytes())
    write_header(first, header | {"minor": 3, "colour": "red"})
    done = cli("check", place / "logs")
    assert done.exit_code == 1
    assert f"{first.name[:8]}: the log is of format 1.3 and this braid_hpc knows 1.0" in done.stderr
    assert f"{first.name[:8]}: members of header.json that are not known: colour" in done.stderr
    assert cli("compact", place / "logs", "--store", place / "other.duckdb").exit_code == 0


def test_a_newer_minor_store_is_asked_and_not_added_to(cli: Braid, place: Path) -> None:
    """Nothing here can fill columns that it does not know of."""
    store = place / "prov.duckdb"
    store_version(store, "minor", 3)
    before = states(place)
    assert cli("status", "--store", store).exit_code == 0
    done = cli("compact", place / "logs", "--store", store)
    assert done.exit_code == 4
    assert "is of store format 1.3, this braid_hpc adds to 1.0" in done.stderr
    assert states(place) == before

"""The golden logs: what was written by an earlier version is read to the same lines, and merged to the same store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.log.layout import MAJOR, MINOR
from braid_hpc.reading.directories import find_writers
from braid_hpc.vocabulary.codes import Code
from tests.golden.make import digests_of, lines_of, make, versions
from tests.golden.program import CASES
from tests.newer_formats import states

PRESENT = f"log-{MAJOR}.{MINOR}"
LOGS = [case for version in versions() for case in sorted(version.iterdir()) if case.is_dir()]


def name_of(case: Path) -> str:
    return f"{case.parent.name}-{case.name}"


def expected_lines(case: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in case.with_suffix(".jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", LOGS, ids=name_of)
def test_a_golden_log_is_read_to_the_same_lines(case: Path) -> None:
    """Every file of it, and what is said of the whole; nothing of it is changed by reading."""
    (directory,) = find_writers(case)
    before = states(case)
    lines = json.loads(json.dumps(lines_of(directory)))
    assert lines == expected_lines(case)
    assert states(case) == before


@pytest.mark.parametrize("case", LOGS, ids=name_of)
def test_a_golden_log_makes_the_same_store(case: Path, tmp_path: Path) -> None:
    """Table for table. Where a table was meant to change: python -m tests.golden.make expected."""
    (directory,) = find_writers(case)
    expected = json.loads(case.with_suffix(".digests.json").read_text())
    assert digests_of(directory, tmp_path / "prov.duckdb") == expected


def test_the_present_version_has_golden_logs_of_every_kind_of_row() -> None:
    """A change of the version needs logs of its own: python -m tests.golden.make."""
    present = [case for case in LOGS if case.parent.name == PRESENT]
    assert {case.name for case in present} == set(CASES)
    codes = {line["code"] for case in present for line in expected_lines(case) if "code" in line}
    assert codes == {code.name for code in Code}
    ends = {case.name: expected_lines(case)[-1] for case in present}
    assert {name: end["state"] for name, end in ends.items()} == {
        "arrays": "lossy",
        "closed": "closed",
        "frames": "closed",
        "killed": "lossy",
        "states": "closed",
        "sealed": "closed",
    }
    assert ends["killed"]["sealed"]
    assert ends["killed"]["tails"] > 2
    assert ends["sealed"]["sealed"] > 1


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_today_is_of_that_form(case: str, tmp_path: Path) -> None:
    """The same files, segments and rows but for times, ids and check sums: else the format has changed.

    Then its version changes too, or, while it is not released, the golden logs are made again.
    """
    (golden,) = [log for log in LOGS if log.parent.name == PRESENT and log.name == case]
    made = make(case, tmp_path / "made")
    assert forms(json.loads(json.dumps(lines_of(made)))) == forms(expected_lines(golden))


def forms(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what is another one in each log."""
    found = []
    for line in lines[:-1]:
        kept: dict[str, Any] = {}
        for name, value in line.items():
            if name in ("sequence", "name", "other", "flags", "file", "code", "pools", "array", "row", "values"):
                kept[name] = value
            elif name in ("header", "tail", "segment", "loss"):
                kept[name] = sorted(value)
        if "payload" in line:
            # Loss names its times, an error the place of the log.
            text = json.dumps(line["payload"])
            text = re.sub(r'/[^"]*golden-\w+/[0-9a-f]{32}|"(first|last|digest)": ("[0-9a-f]{32}"|\d+)', "", text)
            kept["payload"] = text
        if "code" in line and line["code"] not in ("OPEN", "CLOSE", "CLOCK", "CALL"):
            kept["subject"], kept["object"] = line["subject"], line["object"]
        found.append(kept)
    return [*found, {name: lines[-1][name] for name in ("state", "events", "sealed", "tails", "unread")}]

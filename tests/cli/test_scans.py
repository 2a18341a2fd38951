"""``braid scans``: a list of scans, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Braid
from tests.collectors.documents.instrument import scan, stored


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    documents = [pair for count in (2, 3) for pair in scan(count, streams=("primary", "dark"), stopped=count == 2)]
    stored(tmp_path, documents).close()
    return tmp_path / "prov.duckdb"


def test_scans_are_listed_with_their_streams(cli: Braid, scanned: Path) -> None:
    rows = json.loads(cli("scans", "--store", scanned, "--format", "json").stdout)
    assert sorted((row["scan_id"], row["exit_status"], row["streams"]["dark"]) for row in rows) == [
        (2, "success", 2),
        (3, None, 3),
    ]
    (row,) = json.loads(cli("scans", "max(data.n) = 3", "--store", scanned, "--format", "json").stdout)
    assert row["scan_id"] == 3
    shown = cli("scans", "stop.exit_status = success", "start.scan_id < 3", "--store", scanned)
    assert "dark 2, primary 2" in " ".join(shown.stdout.split())


def test_what_is_not_found_is_said(cli: Braid, scanned: Path) -> None:
    nothing = cli("scans", "stauts = ok", "--store", scanned)
    assert nothing.exit_code == 3
    assert "status is a field" in nothing.stderr
    wrong = cli("scans", "max(motor) > 3", "--store", scanned)
    assert wrong.exit_code == 2
    assert "a data key was expected after max(, as in max(data.motor), and not motor" in wrong.stderr

"""The pages on the formats are enough to read a log: a program that follows them and has nothing of this package."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.reading.directories import find_writers
from tests.golden.make import make, versions
from tests.golden.program import LARGE_ROWS


@pytest.fixture(scope="module", params=["golden", "made now"])
def answer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give what the program finds in a sealed log with streams and arrays, of the present version."""
    if request.param == "golden":
        (directory,) = find_writers(versions()[-1] / "sealed")
    else:
        directory = make("sealed", tmp_path_factory.mktemp("alone") / "made")
    assert {path.name for path in directory.iterdir()} == {
        *("header.json", "events.arrows", "events.sums", "stream-0002.arrows", "stream-0002.sums", "arrays-1.h5"),
        *("stream-0000.arrows", "stream-0000.sums"),
        *(path.name for path in directory.glob("tail-*")),
    }
    program = Path(__file__).with_name("read_alone.py")
    # In a directory of its own, and without the paths and variables of this process.
    done = subprocess.run(
        [sys.executable, "-I", program, directory],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_nothing_of_the_package_was_there(answer: dict[str, Any]) -> None:
    """The one entry is the mark that makes an import an error."""
    assert answer["modules"] == ["braid_hpc"]


def test_events_are_all_there(answer: dict[str, Any]) -> None:
    """From sealed batches and the last tail, each sequence once, and what was declared."""
    assert answer["job"] == "golden"
    assert answer["sequences"] == list(range(1, len(answer["sequences"]) + 1))
    declared = answer["declared"]
    value = declared["fact:config"]["value"]
    assert (value["threshold"], value["wide"], value["none"], math.isnan(value["nan"])) == (40, 2**70, None, True)
    assert declared["data:frames"]["uris"] == ["s3://bucket/frames"]
    assert declared["data:d29"]["digest"] == "x:29"
    (config,) = declared["data:frames"]["parents"]
    assert config in answer["sequences"]


def test_streams_are_all_there(answer: dict[str, Any]) -> None:
    """Rows, a row with nulls, a small batch, and a batch in a file of its own."""
    every = answer["streams"]["every"]
    assert every[:20] == [[n % 2 == 0, -n, 2**63 + n, n / 4, 10**18 + n, "é" * n, bytes(n).hex()] for n in range(20)]
    assert every[20:] == [[None] * 7]
    numbers = answer["streams"]["numbers"]
    assert numbers[:2] == [[1, "a"], [2, "b"]]
    assert numbers[2:] == [[n, f"text {n} " * 50] for n in range(LARGE_ROWS)]


def test_row_edges_are_all_there(answer: dict[str, Any]) -> None:
    """A rule, a list in the tail, and one in a file."""
    assert answer["row_edges"] == [
        ["numbers", "every", "every", [[2 + k, 3] for k in range(LARGE_ROWS)]],
        ["numbers", "every", None, [[7, 1], [5, 2], [5, 3]]],
        ["numbers", "frames", "frames@2", [[2 + k, k**2] for k in range(LARGE_ROWS)]],
    ]


def test_arrays_are_all_there(answer: dict[str, Any]) -> None:
    """One of the payload, one of the arrays file."""
    assert answer["arrays"] == {
        "floats": ["<f8", [5000], np.linspace(0, 1, 5000).tolist()],
        "small": ["<f8", [10], list(map(float, range(10)))],
    }

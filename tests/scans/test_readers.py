"""What comes back is what the field's own readers give, of the same documents (``make readers`` writes it anew)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.collectors.documents import DocumentCollector
from tests.jobs import made, one

READERS = Path(__file__).parent / "readers"
CASES = sorted(path.stem for path in READERS.glob("*.jsonl"))

#: Arrays in events that Tiled gives back as texts.
TEXTS_IN_TILED = {"spec_spectrum", "spec_counts"}
#: Images in files are looked at where files are.
IN_FILES = {"camera"}


def expected(case: str) -> dict[str, Any]:
    found = json.loads((READERS / f"{case}.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("case", CASES)
def test_datasets_have_the_dimensions_types_and_values_that_other_readers_give(case: str, tmp_path: Path) -> None:
    documents = [json.loads(line) for line in (READERS / f"{case}.jsonl").read_text().splitlines()]
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        for name, document in documents:
            collect(name, document)
    compared = 0
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        scan = store.scan(-1)
        assert set(scan.streams) == set(expected(case))
        for stream, about in expected(case).items():
            dataset = scan.table(stream).to_xarray()
            assert dataset.sizes["time"] == about["dims"]["time"]
            # seq_num and what says which descriptor an event has are ours.
            assert set(about["variables"]) <= set(dataset.data_vars)
            for name, each in [*about["variables"].items(), *about["coords"].items()]:
                if name in TEXTS_IN_TILED | IN_FILES:
                    continue
                values = dataset[name].values
                assert list(dataset[name].dims) == each["dims"], name
                if each["dtype"].startswith("<U"):
                    assert values.tolist() == each["values"]
                else:
                    assert str(values.dtype) == each["dtype"], name
                    np.testing.assert_array_equal(values, np.array(each["values"]))
                compared += 1
    assert compared

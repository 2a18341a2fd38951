"""Streams as datasets: the same as what the field's own readers give for the same documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.collectors.documents.instrument import Pair, descriptor, event, key, start, stored

READERS = Path(__file__).parent / "readers"


def documents_of(case: str) -> list[Pair]:
    return [tuple(json.loads(line)) for line in (READERS / f"{case}.jsonl").read_text().splitlines()]


CASES = sorted(path.stem for path in READERS.glob("*.jsonl") if path.stem not in ("frames", "spectra"))


@pytest.mark.parametrize("case", CASES)
def test_a_dataset_is_that_of_tiled(case: str, tmp_path: Path) -> None:
    """Dimensions, coordinates, values and types of each stream; arrays in events as databroker gives them."""
    expected = json.loads((READERS / f"{case}.json").read_text())
    with stored(tmp_path, documents_of(case)) as store:
        scan = store.scan(-1)
        # A stream without events is none to them.
        assert {name for name, count in scan.streams.items() if count} == set(expected)
        for stream, wanted in expected.items():
            found = scan.table(stream).to_xarray()
            assert dict(found.sizes) == wanted["dims"]
            assert set(found.coords) == set(wanted["coords"])
            assert set(found.data_vars) == set(wanted["variables"])
            for name, about in (wanted["coords"] | wanted["variables"]).items():
                assert (list(found[name].dims), str(found[name].dtype)) == (about["dims"], about["dtype"]), name
                assert np.array_equal(found[name].values, np.asarray(about["values"], about["dtype"])), name


def test_arrays_in_events_are_arrays(tmp_path: Path) -> None:
    """Of which Tiled makes texts."""
    with stored(tmp_path, documents_of("spectra")) as store:
        found = store.scan(-1).table().to_xarray()
        assert found["spec_spectrum"].values.tolist() == [np.linspace(0, 1, 5).tolist()] * 3
        assert found["spec_counts"].values.tolist() == [[0, 1, 2, 3]] * 3
        assert {found[name].dims for name in ("spec_counts", "spec_spectrum")} == {("time", "dim_0"), ("time", "dim_1")}


def test_dimensions_units_and_types_are_those_that_are_declared(tmp_path: Path) -> None:
    first = start()
    keys = {
        "image": key("array", [2, 3], dims=["y", "x"], dtype_numpy="<f4", units="counts"),
        "narrow": key("integer", dtype_numpy="<i2"),
        "lossy": key("number", dtype_numpy="<f4"),
        "single": key("number", dtype_str="<f4"),
        "gone": key("integer"),
        "ragged": key("array", [2]),
    }
    of = descriptor(first, keys)
    events = [
        event(
            of,
            n,
            {
                "image": [[0.5 * n] * 3] * 2,
                "narrow": n,
                "lossy": 0.1 * n,
                "single": 0.5 * n,
                "ragged": [1.0] * n,
                **({"gone": n} if n > 1 else {}),
            },
        )
        for n in (1, 2, 3)
    ]
    with stored(tmp_path, [first, of, *events]) as store:
        found = store.scan(-1).table().to_xarray()
        assert found["image"].dims == ("time", "y", "x")
        assert found["image"].attrs == {"units": "counts"}
        kinds = {name: str(found[name].dtype) for name in keys}
        assert kinds == {
            "image": "float32",
            "narrow": "int16",
            "lossy": "float64",
            "single": "float32",
            "gone": "float64",
            "ragged": "object",
        }
        assert np.array_equal(found["gone"].values, [np.nan, 2, 3], equal_nan=True)
        assert [each.tolist() for each in found["ragged"].values] == [[1.0], [1.0, 1.0], [1.0] * 3]
        chosen: Any = store.scan(-1).table(columns=["narrow", "seq_num"], rows=slice(1, None)).to_xarray()
        assert set(chosen.data_vars) == {"narrow", "seq_num"}
        assert chosen["narrow"].values.tolist() == [2, 3]


def test_values_that_no_type_of_numpy_holds_are_objects(tmp_path: Path) -> None:
    """Integers beyond doubles where some are missing, and lists of several lengths in a value."""
    first = start()
    of = descriptor(first, {"wide": key("integer"), "ragged": key("array", [2, 2]), "cube": key("array", [1, 1, 2])})
    values: list[dict[str, Any]] = [
        {"wide": 2**63 - 1, "ragged": [[1, 2], [3]], "cube": [[[1, 2], [3]]]},
        {"ragged": [[1, 2], [3, 4]]},
    ]
    documents = [first, of, *(event(of, number, each) for number, each in enumerate(values, 1))]
    with stored(tmp_path, documents) as store:
        found = store.scan(-1).table().to_xarray()
        assert found["wide"].values.tolist() == [2**63 - 1, None]
        assert [[list(each) for each in value] for value in found["ragged"].values] == [[[1, 2], [3]], [[1, 2], [3, 4]]]
        assert [[list(each) for each in part] for part in found["cube"].values[0]] == [[[1, 2], [3]]]
        assert found["cube"].values[1] is None


def test_texts_that_utf_8_cannot_hold_are_objects(tmp_path: Path) -> None:
    first = start()
    of = descriptor(first, {"text": key("string")})
    documents = [
        first,
        of,
        *(event(of, number, {"text": each}) for number, each in enumerate(["\ud800", "a\udfff"], 1)),
    ]
    with stored(tmp_path, documents) as store:
        assert store.scan(-1).table().to_xarray()["text"].values.tolist() == ["\ud800", "a\udfff"]

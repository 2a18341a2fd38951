"""Sums over images: against Python's own numbers, and in bounded memory."""

from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from braid_hpc.assets import Filler, lazy, reduce
from braid_hpc.assets.reducing import HOW, reduce_array
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.assets.files import DATA, images, uri_of, with_datums, with_stream, write_hdf5, write_npys
from tests.assets.test_lazy import lazy as lazy_array
from tests.collectors.documents.instrument import stored


def expected(values: Any, how: str) -> Any:
    """Evaluate in plain Python."""
    numbers = values.ravel().tolist()
    if how == "count":
        return len(numbers)
    if not numbers:
        return 0 if how == "sum" else None
    if how in ("sum", "mean"):
        total = sum(numbers) if values.dtype.kind in "biu" else math.fsum(numbers)
        return total if how == "sum" else total / len(numbers)
    return min(numbers) if how == "min" else max(numbers)


KINDS = st.sampled_from(["bool", "int8", "uint16", "int32", "int64", "uint64", "float32", "float64"])


@given(st.data(), KINDS, st.sampled_from(HOW))
def test_answers_are_those_of_python(data: Any, kind: str, how: str) -> None:
    """Exactly for integers of any size; for floats as near as adding them by blocks comes."""
    options: dict[str, Any] = {"allow_nan": False, "allow_infinity": False, "min_value": -1e6, "max_value": 1e6}
    elements = st.floats(**options, width=32) if kind.startswith("float") else hnp.from_dtype(np.dtype(kind))
    values = data.draw(hnp.arrays(kind, hnp.array_shapes(max_dims=3, min_side=0), elements=elements))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "BLOCK", 64)
        array, _ = lazy_array(values)
        found = reduce_array(array, how)
        rows = reduce_array(array, how, each=True)
    for one, other in zip([found, *rows], [expected(each, how) for each in (values, *values)], strict=True):
        assert type(one) is type(other)
        assert one == other or one == pytest.approx(other, rel=1e-12, abs=1e-6)


@pytest.mark.parametrize(
    "numbers", [[1.0, math.nan], [math.inf, -math.inf], [1e308, 1e308], [-0.0, 0.0], [math.inf, 1]]
)
def test_numbers_that_are_none_are_as_numpy_has_them(numbers: list[float]) -> None:
    values = np.array(numbers)
    with np.errstate(all="ignore"):
        for how in ("sum", "min", "max", "mean"):
            np.testing.assert_equal(reduce_array(lazy_array(values)[0], how), getattr(values, how)())


def test_images_of_a_scan_in_a_store(tmp_path: Path) -> None:
    """By datums and stream datums, of each event and of all."""
    frames = images(7, (5, 6))
    path = write_hdf5(tmp_path / "x.h5", frames, chunks=(1, 5, 6))
    streamed = with_stream("application/x-hdf5", uri_of(path), {"dataset": DATA}, (1, 5, 6), [(0, 7)])
    named = with_datums("NPY_SEQ", write_npys(tmp_path / "s", frames), {}, [{"index": n} for n in range(7)], (5, 6))
    with stored(tmp_path, [*streamed, *named]) as store:
        for documents in (streamed, named):
            uid = documents[0][1]["uid"]
            for how in HOW:
                assert reduce(store, uid, "primary", "img", how) == expected(frames, how)
                assert reduce(store, uid, "primary", "img", how, each=True) == [expected(each, how) for each in frames]
            assert reduce(store, uid, "primary", "n", "sum") == 28
        with pytest.raises(InvalidInputError, match="how='median' is none of sum, min"):
            reduce(store, uid, "primary", "img", "median")
        with pytest.raises(NotFoundError, match="no data key 'x'"):
            reduce(store, uid, "primary", "x", "sum")


def resident() -> int:
    """Give the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_cube_larger_than_the_memory_it_takes(tmp_path: Path) -> None:
    """400 MiB of images are summed with less than 200 MiB more than before."""
    path = tmp_path / "cube.h5"
    block = np.full((50, 1024, 1024), 3, "uint8")
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (400, 1024, 1024), "uint8", chunks=(1, 1024, 1024), compression="gzip")
        for first in range(0, 400, 50):
            data[first : first + 50] = block
    documents = with_stream("application/x-hdf5", uri_of(path), {"dataset": "x"}, (1, 1024, 1024), [(0, 400)])
    with stored(tmp_path, documents) as store:
        before, most = resident(), 0
        with Filler(store.documents(documents[0][1]["uid"])) as filler:
            total = 0
            for _, part in filler.array("primary", "img").blocks():
                total += int(part.sum())
                most = max(most, resident() - before)
        assert total == 3 * 400 * 1024 * 1024
        assert most < 200 << 20
        assert reduce(store, documents[0][1]["uid"], "primary", "img", "sum") == total


def test_values_that_are_no_numbers_are_refused() -> None:
    for values, how in ((np.array(["a"]), "sum"), (np.array([1j]), "max"), (np.array(["2026"], "M8[Y]"), "mean")):
        with pytest.raises(InvalidInputError, match=r"no sum|no max|no mean"):
            reduce_array(lazy_array(values)[0], how)
    assert reduce_array(lazy_array(np.array([1j, 2 + 1j]))[0], "sum") == 2 + 2j

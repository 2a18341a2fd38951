"""Images as bioio reads and writes them (``make test-places``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.results import LocalResult, OmeTiff

bioio = pytest.importorskip("bioio", reason="installed by `make test-places` only")
pytest.importorskip("bioio_ome_tiff", reason="installed by `make test-places` only")

# What its reader tells the library that it reads the description with.
pytestmark = pytest.mark.filterwarnings("ignore:As of version 0.4.0, the parser argument is ignored")


def pixels(dtype: str, shape: tuple[int, ...]) -> Any:
    """Give an image that has another value everywhere."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def read(path: Path) -> Any:
    """Open a file as those do who have no more than its name."""
    from bioio_ome_tiff import Reader

    return bioio.BioImage(path, reader=Reader)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("dimensions", "shape"),
    [
        ("CZYX", (3, 4, 5, 6)),
        ("CZYX", (3, 1, 5, 6)),
        ("CYX", (3, 5, 6)),
        ("ZYX", (4, 5, 6)),
        ("TCZYX", (2, 3, 4, 5, 6)),
    ],
)
def test_bioio_reads_what_is_written(dtype: str, dimensions: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Dimensions, names of channels, sizes of pixels, and values."""
    names = ["a", "b", "c"] if "C" in dimensions else None
    serializer = OmeTiff(dimensions, channel_names=names, pixel_size={"X": 0.5, "Y": 0.25, "Z": 2.0})
    target = LocalResult(tmp_path, serializer=serializer).at("cell.ome.tiff", {})
    value = pixels(dtype, shape)
    written = target.write(value)
    image = read(tmp_path / "cell.ome.tiff")
    lengths = dict(zip(dimensions, shape, strict=True))
    assert image.dims.order == "TCZYX"
    assert image.shape == tuple(lengths.get(axis, 1) for axis in "TCZYX")
    assert image.dtype == value.dtype
    found = image.get_image_data(dimensions)
    assert found.dtype == value.dtype
    assert np.array_equal(found, value)
    if names:
        assert [str(name) for name in image.channel_names] == names
    assert image.physical_pixel_sizes.X == 0.5
    assert image.physical_pixel_sizes.Y == 0.25
    if shape[dimensions.index("Z")] > 1 if "Z" in dimensions else False:
        assert image.physical_pixel_sizes.Z == 2.0
    # Once more: the same content, and the same bytes.
    again = LocalResult(tmp_path, serializer=serializer).at("again.ome.tiff", {}).write(value)
    assert (again.content, again.digest) == (written.content, written.digest)
    assert serializer.content(found) == written.content


def test_an_image_that_bioio_writes_is_read(tmp_path: Path) -> None:
    """With the same content, though its bytes are others."""
    from bioio_ome_tiff.writers import OmeTiffWriter

    value = pixels("uint16", (3, 4, 5, 6))
    OmeTiffWriter.save(value, str(tmp_path / "theirs.ome.tiff"), dim_order="CZYX", channel_names=["a", "b", "c"])
    serializer = OmeTiff("CZYX", channel_names=["a", "b", "c"])
    ours = LocalResult(tmp_path, serializer=serializer).at("ours.ome.tiff", {}).write(value)
    with open(tmp_path / "theirs.ome.tiff", "rb") as file:
        found = serializer.read(file)
    assert np.array_equal(found, value)
    assert serializer.content(found) == ours.content


def test_an_image_of_dask_that_bioio_gives_is_written(tmp_path: Path) -> None:
    """It is computed when it is written, and is what its NumPy twin is."""
    value = pixels("uint8", (3, 4, 5, 6))
    result = LocalResult(tmp_path, serializer=OmeTiff("CZYX", channel_names=["a", "b", "c"]))
    first = result.at("first.ome.tiff", {}).write(value)
    lazy = read(tmp_path / "first.ome.tiff").get_image_dask_data("CZYX")
    assert type(lazy).__module__.startswith("dask")
    second = result.at("second.ome.tiff", {}).write(lazy)
    assert (second.content, second.digest, second.size) == (first.content, first.digest, first.size)

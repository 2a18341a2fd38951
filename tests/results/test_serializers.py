"""Each serializer keeps the contract, and its files are read by others as what they are."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pyarrow
import pytest

from braid_hpc.results import Hdf5, Json, LocalResult, Npy, OfBytes, OmeTiff, Parquet, Png, Raw, Text, Zarr
from braid_hpc.results.serializer import Serializer, serializer_for
from braid_hpc.results.testing import SerializerContract
from braid_hpc.vocabulary.arrays import array_bytes
from braid_hpc.vocabulary.errors import InvalidInputError, MissingExtraError


def same_arrays(read: Any, given: Any) -> bool:
    """Whether arrays or trees of them are equal bit for bit."""
    if isinstance(given, dict):
        return read.keys() == given.keys() and all(same_arrays(read[key], given[key]) for key in given)
    given = np.asarray(given)
    if not isinstance(read, np.ndarray):
        return False
    return bool(read.dtype == given.dtype and read.shape == given.shape and read.tobytes() == given.tobytes())


class Arrays(SerializerContract):
    def equal(self, read: Any, given: Any) -> bool:
        return same_arrays(read, given)


class TestNpy(Arrays):
    def make(self) -> Serializer:
        return Npy()

    def values(self) -> list[Any]:
        return [
            np.arange(12.0).reshape(3, 4),
            np.arange(12.0).reshape(3, 4).T,
            np.arange(12, dtype=">i2")[::3],
            np.array(3.5),
            np.zeros((0, 3), dtype=np.float32),
            np.array([np.nan, -0.0, np.inf]),
            np.array([("a", 1)], dtype=[("name", "U3"), ("n", "i4")]),
            np.array([True, False]),
        ]

    def refused(self) -> list[Any]:
        return ["text", 3, None, [1, 2], np.array([object()]), np.ma.masked_equal([1, 2], 2)]


TREE: dict[str, Any] = {"image": np.arange(24).reshape(2, 3, 4), "about": {"mean": np.array(2.5), "empty": np.zeros(0)}}


class TestHdf5(Arrays):
    def make(self) -> Serializer:
        return Hdf5(compression=4)

    def values(self) -> list[Any]:
        return [np.arange(12.0).reshape(3, 4), np.array(7), np.zeros((0, 2)), TREE, {"data": np.arange(3)}]

    def refused(self) -> list[Any]:
        return ["text", {"a/b": np.zeros(1)}, {"a": "text"}, {1: np.zeros(1)}, {"": np.zeros(1)}, np.array(["é"])]


class TestZarr(Arrays):
    def make(self) -> Serializer:
        return Zarr()

    def values(self) -> list[Any]:
        return [np.arange(12.0).reshape(3, 4), np.array(7), TREE, {"data": np.arange(3, dtype=np.uint8)}]

    def refused(self) -> list[Any]:
        return ["text", {"a/b": np.zeros(1)}, {"a": "text"}, {"..": np.zeros(1)}]

    def test_zarr_opens_the_file(self, tmp_path: Path) -> None:
        import zarr

        (tmp_path / "x.zarr.zip").write_bytes(self.written(TREE))
        with zarr.storage.ZipStore(tmp_path / "x.zarr.zip", mode="r") as store:
            image = zarr.open_group(store, mode="r")["image"]
            assert isinstance(image, zarr.Array)
            assert np.array_equal(np.asarray(image[...]), TREE["image"])


class TestOmeTiff(Arrays):
    def make(self) -> Serializer:
        return OmeTiff(dimensions="CZYX", channel_names=["a", "b", "c"], pixel_size={"X": 0.1, "Y": 0.1, "Z": 0.3})

    def values(self) -> list[Any]:
        pixels = np.random.default_rng(1).integers(0, 1 << 16, (3, 4, 6, 5), dtype=np.uint16)
        return [pixels, pixels[:, :1], pixels[..., :1], pixels.astype(np.float32), pixels[:, ::-1]]

    def refused(self) -> list[Any]:
        return ["text", np.zeros((4, 6, 5)), np.zeros((2, 4, 6, 5)), np.zeros((3, 1, 2, 2), dtype=np.int64)]

    def test_others_read_names_of_dimensions_and_channels(self) -> None:
        import tifffile

        (value, *_) = self.values()
        with tifffile.TiffFile(io.BytesIO(self.written(value))) as file:
            assert file.is_ome
            assert file.series[0].axes == "CZYX"
            assert np.array_equal(file.series[0].asarray(), value)
            text = file.ome_metadata or ""
        assert [f'Name="{name}"' in text for name in "abc"] == [True] * 3
        assert 'PhysicalSizeZ="0.3"' in text

    @pytest.mark.parametrize("dimensions", ["YX", "ZYX", "TZCYX", "TCZYX", "CYX"])
    @pytest.mark.parametrize("length", [1, 3])
    def test_dimensions_stay_where_they_are(self, dimensions: str, length: int) -> None:
        """Of length one too, and whatever their order."""
        serializer = OmeTiff(dimensions)
        shape = [*[length, 2, length][: len(dimensions) - 2], 4, 5]
        value = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        file = io.BytesIO()
        serializer.write(value, file)
        file.seek(0)
        assert same_arrays(serializer.read(file), value)

    @pytest.mark.parametrize("dimensions", ["", "XY", "CZ", "CCYX", "SYX", "czyx", 3])
    def test_other_dimensions_are_refused(self, dimensions: Any) -> None:
        with pytest.raises(InvalidInputError, match="dimensions="):
            OmeTiff(dimensions)

    def test_channel_names_want_channels(self) -> None:
        with pytest.raises(InvalidInputError, match="needs a dimension C"):
            OmeTiff("ZYX", channel_names=["a"])
        with pytest.raises(InvalidInputError, match="list of texts"):
            OmeTiff("CYX", channel_names="abc")


class TestPng(Arrays):
    def make(self) -> Serializer:
        return Png()

    def values(self) -> list[Any]:
        pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 4), dtype=np.uint8)
        deep = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2000
        return [pixels[..., 0], pixels[..., :3], pixels, deep, pixels[:1, :1, 1]]

    def refused(self) -> list[Any]:
        return [
            "text",
            np.zeros((3, 3)),
            np.zeros((3, 3, 2), np.uint8),
            np.zeros(3, np.uint8),
            np.zeros((0, 3), np.uint8),
        ]


class TestParquet(SerializerContract):
    def make(self) -> Serializer:
        return Parquet()

    def values(self) -> list[Any]:
        return [
            pyarrow.table({"cell": [1, 2, 3], "name": ["a", None, "c"], "parts": [[1.5], [], None]}),
            pyarrow.table({"cell": pyarrow.array([], pyarrow.int16())}),
        ]

    def equal(self, read: Any, given: Any) -> bool:
        return bool(read.equals(given))

    def refused(self) -> list[Any]:
        return ["text", 3, [1, 2], {"a": [1], "b": [1, 2]}, {"a": [object()]}]

    def test_tables_of_others_are_taken(self) -> None:
        columns = {"cell": [1, 2], "name": ["a", "b"]}
        for value in (polars.DataFrame(columns), columns):
            assert Parquet().read(io.BytesIO(self.written(value))).to_pydict() == columns

    def test_pieces_of_a_table_do_not_show(self) -> None:
        whole = pyarrow.table({"cell": list(range(10))})
        pieces = pyarrow.concat_tables([whole.slice(0, 3), whole.slice(3)])
        assert self.written(whole) == self.written(pieces)


class TestJson(SerializerContract):
    def make(self) -> Serializer:
        return Json()

    def values(self) -> list[Any]:
        return [{"b": [1, 2.5, None, True], "a": {"é": "\n"}}, [], 0, 1, 1.0, True, "text", None, 1 << 70]

    def refused(self) -> list[Any]:
        return [float("nan"), (1, 2), {1: "a"}, {"a": (1,)}, object(), b"bytes", "\ud800", np.float64(1.0)]


class TestText(SerializerContract):
    def make(self) -> Serializer:
        return Text()

    def values(self) -> list[Any]:
        return ["", "a\r\nb\n", "é\0"]

    def refused(self) -> list[Any]:
        return [b"bytes", 3, None, "\ud800"]


class TestRaw(SerializerContract):
    def make(self) -> Serializer:
        return Raw()

    def values(self) -> list[Any]:
        return [b"", b"\0\xff"]

    def refused(self) -> list[Any]:
        return ["text", bytearray(b"x"), None]

    def test_bytes_of_something_else_are_an_error(self) -> None:
        """They are none: every file is bytes."""


class Reversing:
    """As those of other systems are: bytes in memory."""

    def serialize(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise InvalidInputError("no text")
        return value[::-1].encode()

    def deserialize(self, value: bytes) -> Any:
        return value.decode()[::-1]


class TestOfBytes(SerializerContract):
    def make(self) -> Serializer:
        return OfBytes(Reversing(), suffix=".rev")

    def values(self) -> list[Any]:
        return ["abc", ""]

    def refused(self) -> list[Any]:
        return []

    def test_what_makes_no_bytes_is_refused(self) -> None:
        class Wrong(Reversing):
            def serialize(self, value: Any) -> bytes:
                return value  # type: ignore[no-any-return]

        with pytest.raises(InvalidInputError, match=r"Wrong\.serialize gives bytes"):
            OfBytes(Wrong()).write("text", io.BytesIO())


@pytest.mark.parametrize(
    ("ending", "module", "package"),
    [
        (".npy", "numpy", "numpy"),
        (".h5", "h5py", "h5py"),
        (".zarr.zip", "zarr", "zarr"),
        (".ome.tiff", "tifffile", "tifffile"),
        (".png", "PIL.Image", "pillow"),
        (".parquet", "pyarrow.parquet", "pyarrow"),
    ],
)
def test_a_missing_package_is_said_before_the_task_runs(
    ending: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence that says what brings it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"need {package}: pip install 'braid_hpc\[results\]'") as caught:
        LocalResult(tmp_path).at("{cell}" + ending, {"cell": 3})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("serializer", [Npy(), Hdf5(), Zarr(), OmeTiff("YX")])
def test_an_array_of_dask_is_computed(serializer: Serializer) -> None:
    """The file is that of its NumPy twin, and so is the digest."""
    import dask.array

    twin = np.arange(6.0).reshape(2, 3)
    deferred = dask.array.from_array(twin, chunks=(1, 2))
    assert serializer.content(deferred) == serializer.content(twin)
    files = [io.BytesIO(), io.BytesIO()]
    for file, value in zip(files, (deferred, twin), strict=True):
        serializer.write(value, file)
    assert files[0].getvalue() == files[1].getvalue()


def test_contents_of_arrays_are_those_of_the_recorder() -> None:
    """So that ``same_content`` finds a file and an array that was recorded."""
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    contents = {made.content(array) for made in (Npy(), Hdf5(), Zarr(), OmeTiff("YX"), Png())}
    assert contents == {array_bytes(array).content().digest}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("a/b.npy", Npy), ("b.OME.TIF", OmeTiff), ("b.zarr.zip", Zarr), ("b.h5", Hdf5), ("b.txt", Text), ("b.bin", Raw)],
)
def test_endings_have_serializers(path: str, kind: type) -> None:
    assert type(serializer_for(path)) is kind


def test_an_unknown_ending_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"no serializer belongs to the ending of 'cells/3\.dat'"):
        serializer_for("cells/3.dat")

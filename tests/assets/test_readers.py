"""All readers of ours pass the contracts, and so do those of the field; and how readers are found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import area_detector_handlers.handlers as field
import h5py
import numpy as np
import pytest
from ophyd.sim import NumpySeqHandler
from PIL import Image

from braid_hpc.assets import Filler, register
from braid_hpc.assets.hdf5 import DetectorHDF5, HDF5Rows, SlicedHDF5
from braid_hpc.assets.images import DetectorTIFF, JPEGImages, NumpyImages, TIFFImages, file_name
from braid_hpc.assets.npy import NumpyFile, NumpyRows, NumpySequence
from braid_hpc.assets.protocol import RowReader
from braid_hpc.assets.registry import BY_MIMETYPE, BY_SPEC, Readers
from braid_hpc.assets.testing import HandlerContract, RowReaderContract
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, MissingExtraError, NotFoundError
from tests.assets.files import DATA, events_of, images, with_datums, write_hdf5, write_npys, write_tiffs


class TestHDF5Rows(RowReaderContract):
    def write(self, folder: Path, values: Any) -> Path:
        return write_hdf5(folder / "x.h5", values, chunks=(2, *values.shape[1:]), compression="gzip")

    def make(self, path: Path) -> RowReader:
        return HDF5Rows(str(path), dataset=DATA)


class TestNumpyRows(RowReaderContract):
    def write(self, folder: Path, values: Any) -> Path:
        np.save(folder / "x.npy", values)
        return folder / "x.npy"

    def make(self, path: Path) -> RowReader:
        return NumpyRows(str(path))


class TestFortranRows(TestNumpyRows):
    def write(self, folder: Path, values: Any) -> Path:
        return super().write(folder, np.asfortranarray(values))


class TestStructuredRows(TestNumpyRows):
    def values(self) -> Any:
        return np.array([(n, n / 2, [n, n]) for n in range(6)], [("n", "i4"), ("x", "f8"), ("pair", "u1", (2,))])


class TestStructuredHDF5(TestHDF5Rows):
    def values(self) -> Any:
        return np.array([(n, n / 2, [n, n]) for n in range(6)], [("n", "i4"), ("x", "f8"), ("pair", "u1", (2,))])


class TestTIFFImages(RowReaderContract):
    def write(self, folder: Path, values: Any) -> Path:
        return write_tiffs(folder / "images", values)

    def make(self, path: Path) -> RowReader:
        return TIFFImages(str(path), template="%s_%06d.tif", filename="shot", chunk_shape=(1, 3, 4))


class TestPagedTIFFImages(RowReaderContract):
    """Several images in a file."""

    def values(self) -> Any:
        return images(6)

    def write(self, folder: Path, values: Any) -> Path:
        return write_tiffs(folder / "images", values.reshape(3, 2, 3, 4))

    def make(self, path: Path) -> RowReader:
        return TIFFImages(str(path), template="%s_%06d.tif", filename="shot", chunk_shape=(2, 3, 4))


class TestNumpyImages(RowReaderContract):
    def write(self, folder: Path, values: Any) -> Path:
        return write_npys(folder / "stem", values)

    def make(self, path: Path) -> RowReader:
        return NumpyImages(str(path))


class TestJPEGImages(RowReaderContract):
    """JPEG loses: of images of one colour it does not."""

    def values(self) -> Any:
        return np.repeat(np.arange(0, 250, 50, dtype="uint8"), 64).reshape(5, 8, 8)

    def write(self, folder: Path, values: Any) -> Path:
        (folder / "jpeg").mkdir()
        for number, image in enumerate(values):
            Image.fromarray(image).save(folder / "jpeg" / f"{number}.jpg", quality=100)
        return folder / "jpeg"

    def make(self, path: Path) -> RowReader:
        return JPEGImages(str(path), template="{}.jpg")


class TestDetectorHDF5(HandlerContract):
    def handler(self) -> Any:
        return DetectorHDF5

    def write(self, folder: Path, values: Any) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
        return write_hdf5(folder / "x.h5", values), {}, [{"point_number": n} for n in range(len(values))]


class TestTheFieldsHDF5(TestDetectorHDF5):
    def handler(self) -> Any:
        return field.AreaDetectorHDF5Handler


class TestSlicedHDF5(HandlerContract):
    def handler(self) -> Any:
        return SlicedHDF5

    def write(self, folder: Path, values: Any) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
        path = write_hdf5(folder / "x.h5", np.repeat(values, 2, axis=0), "/deep/er")
        return path, {"dataset": "/deep/er"}, [{"frame": 2 * n} for n in range(len(values))]


class TestDetectorTIFF(HandlerContract):
    def handler(self) -> Any:
        return DetectorTIFF

    def write(self, folder: Path, values: Any) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
        kwargs = {"template": "%s%s_%6.6d.tif", "filename": "shot"}
        return write_tiffs(folder / "x", values), kwargs, [{"point_number": n} for n in range(len(values))]


class TestTheFieldsTIFF(TestDetectorTIFF):
    def handler(self) -> Any:
        return field.AreaDetectorTiffHandler


class TestNumpySequence(HandlerContract):
    def handler(self) -> Any:
        return NumpySequence

    def write(self, folder: Path, values: Any) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
        return write_npys(folder / "x", values), {}, [{"index": n} for n in range(len(values))]


class TestTheFieldsNumpySequence(TestNumpySequence):
    def handler(self) -> Any:
        return NumpySeqHandler


class TestNumpyFile(HandlerContract):
    def handler(self) -> Any:
        return NumpyFile

    def write(self, folder: Path, values: Any) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
        np.save(folder / "x.npy", values)
        return folder / "x.npy", {}, [{"frame_no": n} for n in range(len(values))]


@pytest.mark.parametrize(
    ("template", "texts", "name"),
    [
        ("%s%s_%6.6d.tiff", ("/a/", "x"), "/a/x_000007.tiff"),
        ("%s_%d.npy", ("x",), "x_7.npy"),
        ("%s%s_%06d.tif", ("x",), "x_000007.tif"),
        ("{:05d}.tif", (), "00007.tif"),
        ("{}.tif", (), "7.tif"),
        ("100%%_%03d", (), "100%_007"),
    ],
)
def test_templates_of_names(template: str, texts: tuple[str, ...], name: str) -> None:
    assert file_name(template, texts, 7) == name


def test_ours_are_all_there() -> None:
    readers = Readers()
    for spec in BY_SPEC:
        assert spec in readers.by_spec(spec).specs
    for mimetype in BY_MIMETYPE:
        assert mimetype in readers.by_mimetype({"mimetype": mimetype}).mimetypes
    assert readers.by_mimetype({"spec": "AD_TIFF"}) is TIFFImages


def test_readers_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was registered is found, another one takes its place only when told so."""
    monkeypatch.setattr("braid_hpc.assets.registry._REGISTERED", ({}, {}))

    class Text:
        def __init__(self, path: str, scale: int = 1) -> None:
            self.path, self.scale = path, scale

        def __call__(self, line: int) -> list[float]:
            return [self.scale * float(each) for each in Path(self.path).read_text().splitlines()[line].split()]

    (tmp_path / "x.txt").write_text("1 2\n3 4\n")
    documents = with_datums("TEXT", tmp_path / "x.txt", {"scale": 10}, [{"line": 1}, {"line": 0}], (2,))
    register(Text, spec="TEXT")
    register(Text, spec="TEXT")
    with Filler(documents) as filler:
        assert np.asarray(filler.array("primary", "img")).tolist() == [[30, 40], [10, 20]]
        assert filler.fill(events_of(documents)[0])["data"]["img"] == [30.0, 40.0]
    with pytest.raises(ConflictError, match=r"'TEXT' has the reader .*Text already"):
        register(NumpyFile, spec="TEXT")
    register(NumpyFile, spec="TEXT", replace=True)
    assert Readers().by_spec("TEXT") is NumpyFile
    assert Readers({"TEXT": Text}).by_spec("TEXT") is Text
    for wrong in ({}, {"spec": "a", "mimetype": "b"}, {"spec": ""}, {"spec": 3}):
        with pytest.raises(InvalidInputError):
            register(Text, **wrong)
    with pytest.raises(InvalidInputError, match="cannot be called"):
        register(3, spec="X")  # type: ignore[type-var]


PACKAGE = """
class Ours:
    specs = {"OURS", "OURS_TOO"}
    mimetypes = {"application/x-ours"}
class Named:
    pass
"""


def test_readers_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what they say they read, else by the name of their entry point; one that is broken is no obstacle."""
    (tmp_path / "assets_reader_package.py").write_text(PACKAGE)
    about = tmp_path / "assets_reader_package-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: assets-reader-package\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[braid_hpc.asset_readers]\nours = assets_reader_package:Ours\nNAMED = assets_reader_package:Named\n"
        "BROKEN = assets_reader_package_that_is_not:X\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    readers = Readers()
    module = __import__("assets_reader_package")
    assert readers.by_spec("OURS") is readers.by_spec("OURS_TOO") is module.Ours
    assert readers.by_mimetype({"mimetype": "application/x-ours"}) is module.Ours
    assert readers.by_spec("NAMED") is module.Named
    with pytest.raises(NotFoundError, match="no reader for the spec 'ours'"):
        readers.by_spec("ours")
    with pytest.raises(MissingExtraError, match=r"the reader 'BROKEN' .* cannot be imported: ModuleNotFoundError"):
        readers.by_spec("BROKEN")
    with pytest.raises(NotFoundError) as caught:
        readers.by_spec("NOBODYS")
    assert "BROKEN" in caught.value.__notes__[0]
    sys.modules.pop("assets_reader_package")


def test_handlers_installed_for_databroker_are_found() -> None:
    """For specs that are not ours."""
    assert Readers().by_spec("AD_HDF5_SINGLE") is field.AreaDetectorHDF5SingleHandler
    assert Readers().by_spec("AD_HDF5") is DetectorHDF5


@pytest.mark.parametrize("package", ["tifffile", "h5py", "PIL"])
def test_a_package_that_is_not_installed_is_one_sentence(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiffs = write_tiffs(tmp_path / "images", images(1))
    if package == "h5py":
        # Reading happens in a process of its own.
        (tmp_path / "h5py.py").write_text("raise ImportError")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr("braid_hpc.assets.hdf5._process", None)
    else:
        monkeypatch.setitem(sys.modules, package, None)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = [1]
    calls: dict[str, Callable[[], Any]] = {
        "tifffile": lambda: TIFFImages(str(tiffs), template="%s_%06d.tif", filename="shot").read(0, 1),
        "PIL": lambda: JPEGImages(str(tiffs), template="shot_%06d.tif").read(0, 1),
        "h5py": lambda: HDF5Rows(str(tmp_path / "x.h5"), dataset="x"),
    }
    with pytest.raises(MissingExtraError, match=r"pip install 'braid_hpc\["):
        calls[package]()

"""Sequences of files of images: TIFF, JPEG, and NumPy's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from braid_hpc.assets.npy import npy_layout, read_npy
from braid_hpc.assets.regular import check_regular, open_file
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, MissingExtraError, StorageError

__all__ = ["DetectorTIFF", "ImageRows", "JPEGImages", "NumpyImages", "TIFFImages", "file_name", "read_tiff"]

#: What a template may hold: texts, and one number with its width.
_PARTS = re.compile(r"%%|%s|%[-+#0 ]*(\d{0,3})(?:\.(\d{1,3}))?d|\{:?[-+ 0<>^]*\d{0,3}d?\}|[^%{}]")
_WIDEST = 255


def file_name(template: str, texts: tuple[str, ...], number: int) -> str:
    """Fill the template of a file's name as area detectors have it.

    Parameters
    ----------
    template : str
        With ``%s`` for the texts and one ``%6.6d`` or ``{:06d}`` for the number.
    texts : tuple of str
        In order; those beyond the last one are empty.
    number : int
        Of the file.

    Returns
    -------
    str
        The name.

    Raises
    ------
    InvalidInputError
        If it holds anything else.
    """
    found, at, left = "", 0, list(texts)
    while at < len(template):
        part = _PARTS.match(template, at)
        if part is None or any(int(width or 0) > _WIDEST for width in re.findall(r"\d+", part[0])):
            raise InvalidInputError(
                f"the template {template!r} of names of files is not understood at {template[at:]!r}"
            )
        text, at = part[0], part.end()
        if text == "%%":
            found += "%"
        elif text == "%s":
            found += left.pop(0) if left else ""
        elif text.startswith("%") and len(text) > 1:
            found += text % number
        elif text.startswith("{") and len(text) > 1:
            found += text.format(number)
        else:
            found += text
    return found


def _inside(folder: str, name: str) -> str:
    """Return the path of a file in a directory, or below."""
    whole = os.path.normpath(os.path.join(folder, name))
    if not whole.startswith(os.path.normpath(folder).rstrip("/") + "/") or "\0" in whole:
        raise InvalidInputError(f"the name {name!r} leads out of {folder}: it is not followed")
    return whole


def read_tiff(path: str) -> np.ndarray[Any, Any]:
    """Read the images of a TIFF file.

    Parameters
    ----------
    path : str
        Of it.

    Returns
    -------
    numpy.ndarray
        Its first series; several pages stand along the first axis.

    Raises
    ------
    NotFoundError
        If it is not there.
    StorageError
        If it is no such file, or ends too early.
    MissingExtraError
        If tifffile is not installed.
    """
    size = check_regular(path).st_size
    try:
        import tifffile
    except ImportError:
        raise MissingExtraError("reading TIFF needs tifffile: pip install 'braid_hpc[results]'") from None
    try:
        with tifffile.TiffFile(path) as tiff:
            for page in tiff.series[0].pages:
                # tifffile takes what lies behind the end of a file for zeros.
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True) if page else ():
                    if offset + count > size:
                        raise StorageError(f"{path} ends after {size} of {offset + count} bytes")
            return np.asarray(tiff.series[0].asarray())
    except BraidError:
        raise
    except Exception as error:
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        raise StorageError(f"{path} is no TIFF that can be read: {text}") from error


def _read_jpeg(path: str) -> np.ndarray[Any, Any]:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("reading JPEG needs Pillow: pip install 'braid_hpc[results]'") from None
    try:
        with open_file(path) as file, Image.open(file, formats=["JPEG"]) as image:
            return np.asarray(image)
    except BraidError:
        raise
    except Exception as error:
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        raise StorageError(f"{path} is no JPEG that can be read: {text}") from error


class DetectorTIFF:
    """Handler of ``AD_TIFF``: one image in each file.

    Parameters
    ----------
    path : str
        The directory.
    template : str
        Of names, such as ``%s%s_%6.6d.tiff``: directory, name, number.
    filename : str
        The name.
    frame_per_point : int
        Images of one datum.
    """

    specs = frozenset({"AD_TIFF"})

    def __init__(self, path: str, /, template: str, filename: str, frame_per_point: int = 1) -> None:
        self._path, self._template, self._filename = path, template, filename
        self._frames = max(int(frame_per_point), 1)

    def _names(self, point_number: Any) -> list[str]:
        if type(point_number) is not int or point_number < 0:
            raise InvalidInputError(f"point_number {point_number!r} of a datum is no number of an image")
        folder = os.path.join(self._path, "")
        return [
            _inside(self._path, file_name(self._template, (folder, self._filename), number))
            for number in range(point_number * self._frames, (point_number + 1) * self._frames)
        ]

    def __call__(self, point_number: int) -> np.ndarray[Any, Any]:
        """Read a datum.

        Parameters
        ----------
        point_number : int
            From 0.

        Returns
        -------
        numpy.ndarray
            ``frame_per_point`` images.

        Raises
        ------
        NotFoundError, StorageError, InvalidInputError, MissingExtraError
            As :func:`read_tiff`, and if its images differ in shape.
        """
        images = [read_tiff(path) for path in self._names(point_number)]
        if len({image.shape for image in images}) > 1:
            raise InvalidInputError(f"the images of point {point_number} in {self._path} differ in shape")
        return np.array(images)

    def get_file_list(self, datum_kwargs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the files of some datums.

        Parameters
        ----------
        datum_kwargs : iterable of mapping
            Of the datums.

        Returns
        -------
        list of str
            Paths.
        """
        return [path for each in datum_kwargs for path in self._names(each["point_number"])]


class ImageRows:
    """Reads a sequence of files as rows: derive from it and say how one file is read.

    Parameters
    ----------
    path : str
        The directory.
    template : str
        Of names.
    filename : str
        For a ``%s`` in the template.
    chunk_shape : sequence of int
        Its first number says how many rows a file holds.
    join_method : str, optional
        ``stack`` if a file is one row whatever its shape.
    **parameters : object
        Of no meaning here.

    Raises
    ------
    NotFoundError, StorageError, InvalidInputError, MissingExtraError
        If the first file cannot be read, or is of another shape.
    """

    #: The template where the parameters have none, and how files are joined where they do not say.
    template: str | None = None
    join: str = "concat"

    def __init__(
        self,
        path: str,
        /,
        template: str | None = None,
        filename: str = "",
        chunk_shape: Any = (),
        join_method: str | None = None,
        **parameters: Any,
    ) -> None:
        self._path, self._filename = path, filename
        chosen = template if template is not None else self.template
        if not isinstance(chosen, str) or not isinstance(filename, str):
            raise InvalidInputError(f"a sequence of files in {path} needs a template of their names")
        self._template = chosen
        self._rows = int(chunk_shape[0]) if len(chunk_shape) else 1
        self._stacked = (join_method or self.join) == "stack"
        if self._stacked:
            self._rows = 1
        if self._rows < 1:
            raise InvalidInputError(f"chunk_shape {tuple(chunk_shape)} says that a file holds {self._rows} images")
        self._first: np.ndarray[Any, Any] | None = None

    def load(self, path: str) -> np.ndarray[Any, Any]:
        """Read one file.

        Parameters
        ----------
        path : str
            Of it.

        Returns
        -------
        numpy.ndarray
            What it holds.
        """
        raise NotImplementedError

    def _file(self, number: int) -> str:
        return _inside(self._path, file_name(self._template, (self._filename,), number))

    def _load(self, number: int) -> np.ndarray[Any, Any]:
        path = self._file(number)
        found = self.load(path)
        if self._stacked:
            return found[None]
        if self._rows == 1 and (found.ndim < 3 or found.shape[0] != 1):
            return found[None]
        if not found.ndim or found.shape[0] != self._rows:
            raise InvalidInputError(f"{path} holds an array of shape {found.shape}, not {self._rows} images")
        return found

    def _one(self) -> np.ndarray[Any, Any]:
        if self._first is None:
            first = self._load(self._lowest)
            self._first = np.empty((0, *first.shape[1:]), first.dtype)
        return self._first

    #: The file that is looked at for shape and dtype.
    _lowest = 0

    def look_at(self, first: int) -> None:
        """Say which row there surely is.

        Parameters
        ----------
        first : int
            Its number.
        """
        self._lowest = first // self._rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """What its elements are, as in the first file."""
        found: np.dtype[Any] = self._one().dtype
        return found

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one image, as in the first file."""
        return tuple(self._one().shape[1:])

    @property
    def chunk_rows(self) -> int:
        """Images in a file."""
        return self._rows

    def read(self, first: int, stop: int, inner: tuple[slice, ...] = ()) -> np.ndarray[Any, Any]:
        """Read rows; see :meth:`RowReader.read <braid_hpc.assets.RowReader.read>`.

        Parameters
        ----------
        first, stop : int
            Rows.
        inner : tuple of slice
            What is wanted of each.

        Returns
        -------
        numpy.ndarray
            In memory.

        Raises
        ------
        NotFoundError, StorageError, InvalidInputError, MissingExtraError
            If a file cannot be read, or is of another shape or type than the first.
        """
        one = self._one()
        parts = []
        for number in range(first // self._rows, -(-stop // self._rows)):
            images = self._load(number)
            if images.shape[1:] != one.shape[1:] or images.dtype != one.dtype:
                raise InvalidInputError(
                    f"{self._file(number)} holds images of shape {images.shape[1:]} and type {images.dtype}, "
                    f"not {one.shape[1:]} and {one.dtype}"
                )
            at = number * self._rows
            parts.append(images[max(first - at, 0) : stop - at][(slice(None), *inner)])
        return np.concatenate(parts) if parts else one[(slice(None), *inner)]

    def files(self, first: int, stop: int) -> list[str]:
        """Return which files hold some rows.

        Parameters
        ----------
        first, stop : int
            Rows.

        Returns
        -------
        list of str
            Paths.
        """
        return [self._file(number) for number in range(first // self._rows, -(-stop // self._rows))]

    def close(self) -> None:
        """Do nothing: nothing stays open."""


class TIFFImages(ImageRows):
    """Reads ``multipart/related;type=image/tiff``."""

    mimetypes = frozenset({"multipart/related;type=image/tiff"})

    def load(self, path: str) -> np.ndarray[Any, Any]:
        """Read one file; see :func:`read_tiff`.

        Parameters
        ----------
        path : str
            Of it.

        Returns
        -------
        numpy.ndarray
            Its images.
        """
        return read_tiff(path)


class JPEGImages(ImageRows):
    """Reads ``multipart/related;type=image/jpeg``."""

    mimetypes = frozenset({"multipart/related;type=image/jpeg"})

    def load(self, path: str) -> np.ndarray[Any, Any]:
        """Read one file.

        Parameters
        ----------
        path : str
            Of it.

        Returns
        -------
        numpy.ndarray
            The image.
        """
        return _read_jpeg(path)


class NumpyImages(ImageRows):
    """Reads ``multipart/related;type=application/x-npy``: one row in each file."""

    mimetypes = frozenset({"multipart/related;type=application/x-npy"})
    template = "%s_%d.npy"
    join = "stack"

    def _file(self, number: int) -> str:
        if os.path.isdir(self._path):
            return super()._file(number)
        # The path is then the beginning of the names, as for the spec NPY_SEQ.
        folder, name = os.path.split(self._path)
        return _inside(folder, name + file_name(self._template, (self._filename,), number))

    def load(self, path: str) -> np.ndarray[Any, Any]:
        """Read one file; see :func:`~braid_hpc.assets.npy.read_npy`.

        Parameters
        ----------
        path : str
            Of it.

        Returns
        -------
        numpy.ndarray
            All that it holds.
        """
        return read_npy(path)

    def _one(self) -> np.ndarray[Any, Any]:
        if self._first is None:
            dtype, shape, _, _ = npy_layout(self._file(self._lowest))
            self._first = np.empty((0, *shape), dtype)
        return self._first

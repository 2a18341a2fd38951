"""Images in files: OME-TIFF with named dimensions and channels, PNG."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from braid_hpc.results.arrays import array_content, as_array
from braid_hpc.results.packages import package
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["OmeTiff", "Png"]

#: What OME-XML has types for.
_PIXELS = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64", "complex64", "complex128")

#: Our part of the identifiers in OME-XML: equal pixels and names give equal files.
_FILES = uuid.UUID("b1f0c3de-5a52-5d0a-9b52-0a8f5b6a4d11")


@dataclass(frozen=True)
class OmeTiff:
    """Images of up to five dimensions as OME-TIFF, with the names of dimensions and channels.

    Parameters
    ----------
    dimensions : str
        One letter of ``TCZYX`` for each dimension, with ``YX`` at the end: ``"CZYX"``.
    channel_names : sequence of str, optional
        As many as the dimension ``C`` is long.
    pixel_size : mapping of str to float, optional
        Micrometres along ``X``, ``Y`` and ``Z``.

    Raises
    ------
    InvalidInputError
        If the dimensions are others, or there are names without a dimension ``C``.
    """

    dimensions: str = "CZYX"
    channel_names: Sequence[str] | None = None
    pixel_size: dict[str, float] | None = None

    def __post_init__(self) -> None:
        """Check what was given.

        Raises
        ------
        InvalidInputError
            If something is wrong.
        """
        axes = self.dimensions
        if (
            not isinstance(axes, str)
            or not axes.endswith("YX")
            or len(set(axes)) != len(axes)
            or set(axes) - {*"TCZYX"}
        ):
            raise InvalidInputError(f"dimensions= has letters of TCZ, each once, and YX at the end, not {axes!r}")
        if self.channel_names is not None:
            if isinstance(self.channel_names, str) or not all(isinstance(name, str) for name in self.channel_names):
                raise InvalidInputError(f"channel_names= is a list of texts, not {self.channel_names!r}")
            if "C" not in axes:
                raise InvalidInputError(f"channel_names= needs a dimension C, and there is none in {axes!r}")
            object.__setattr__(self, "channel_names", tuple(self.channel_names))
        if self.pixel_size is not None and set(self.pixel_size) - {*"XYZ"}:
            raise InvalidInputError(f"pixel_size= is of X, Y and Z, not of {', '.join(sorted(self.pixel_size))}")

    @property
    def suffix(self) -> str:
        """``.ome.tiff``."""
        return ".ome.tiff"

    @property
    def media_type(self) -> str:
        """``image/tiff``."""
        return "image/tiff"

    def ready(self) -> None:
        """Load tifffile.

        Raises
        ------
        MissingExtraError
            If it is not installed.
        """
        package("tifffile", "OME-TIFF files")

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write an image.

        Parameters
        ----------
        value : array
            With a dimension for each letter.
        file : binary file
            Takes it.

        Raises
        ------
        InvalidInputError
            If its dimensions, channels or dtype are others.
        """
        array = self._image(value)
        about: dict[str, Any] = {"axes": self.dimensions}
        if self.channel_names is not None:
            about["Channel"] = {"Name": list(self.channel_names)}
        for axis, length in sorted((self.pixel_size or {}).items()):
            about |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "µm"}
        # tifffile would take a random one, and two files of one image would differ.
        about["UUID"] = str(uuid.uuid5(_FILES, f"{array_content(array, 'OmeTiff')} {about}"))
        package("tifffile", "OME-TIFF files").imwrite(
            file, array, ome=True, photometric="minisblack", metadata=about, software="braid_hpc"
        )

    def read(self, file: BinaryIO) -> Any:
        """Read an image.

        Parameters
        ----------
        file : binary file
            Holds one.

        Returns
        -------
        ndarray
            With a dimension for each letter of :attr:`dimensions`, also where it is of length one.

        Raises
        ------
        ValueError
            If it holds none, or one of other dimensions.
        """
        with package("tifffile", "OME-TIFF files").TiffFile(file, name="image.ome.tiff") as opened:
            series = opened.series[0]
            lengths = dict(zip(series.get_axes(squeeze=False), series.get_shape(squeeze=False), strict=True))
            beyond = [axis for axis, length in lengths.items() if length > 1 and axis not in self.dimensions]
            if beyond:
                raise ValueError(f"an image with dimensions {series.axes}, not {self.dimensions}")
            array = series.asarray()
        in_file = "".join(axis for axis in lengths if axis in self.dimensions)
        array = array.reshape([lengths[axis] for axis in in_file])
        for axis in self.dimensions:
            if axis not in in_file:
                array, in_file = array[None], axis + in_file
        return array.transpose([in_file.index(axis) for axis in self.dimensions])

    def content(self, value: Any) -> str | None:
        """Give an image's digest.

        Parameters
        ----------
        value : array
            With a dimension for each letter.

        Returns
        -------
        str
            Of dtype, shape and pixels.

        Raises
        ------
        InvalidInputError
            If its dimensions, channels or dtype are others.
        """
        return array_content(self._image(value), "OmeTiff")

    def _image(self, value: Any) -> Any:
        array = as_array(value, "OmeTiff")
        if array.ndim != len(self.dimensions):
            raise InvalidInputError(f"OmeTiff has dimensions {self.dimensions}, and the array's shape is {array.shape}")
        if array.size == 0:
            raise InvalidInputError(f"OmeTiff has no place for an image of shape {array.shape}")
        if array.dtype.name not in _PIXELS:
            raise InvalidInputError(f"OmeTiff has no pixels of {array.dtype}: give one of {', '.join(_PIXELS)}")
        if self.channel_names is not None:
            channels = array.shape[self.dimensions.index("C")]
            if len(self.channel_names) != channels:
                raise InvalidInputError(f"OmeTiff has {len(self.channel_names)} channel names for {channels} channels")
        # Files have the byte order of the machine.
        return array.astype(array.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True, slots=True)
class Png:
    """Images of unsigned integers as PNG.

    Grey ones are of shape (rows, columns) and uint8 or uint16, coloured ones of shape (rows, columns, 3 or 4) and
    uint8.
    """

    @property
    def suffix(self) -> str:
        """``.png``."""
        return ".png"

    @property
    def media_type(self) -> str:
        """``image/png``."""
        return "image/png"

    def ready(self) -> None:
        """Load Pillow.

        Raises
        ------
        MissingExtraError
            If it is not installed.
        """
        package("PIL.Image", "PNG files")

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write an image.

        Parameters
        ----------
        value : array
            Of such a shape and dtype.
        file : binary file
            Takes it.

        Raises
        ------
        InvalidInputError
            If it is of another.
        """
        package("PIL.Image", "PNG files").fromarray(self._image(value)).save(file, format="PNG")

    def read(self, file: BinaryIO) -> Any:
        """Read an image.

        Parameters
        ----------
        file : binary file
            Holds one.

        Returns
        -------
        ndarray
            As it was written.

        Raises
        ------
        ValueError
            If it is another kind of image.
        OSError
            If it holds none.
        """
        numpy = package("numpy", "arrays")
        with package("PIL.Image", "PNG files").open(file, formats=("PNG",)) as image:
            array = numpy.array(image)
            mode = image.mode
        if mode in ("L", "RGB", "RGBA"):
            return array
        if mode not in ("I", "I;16"):
            raise ValueError(f"a PNG image of mode {mode}, which Png does not write")
        return array.astype("uint16")

    def content(self, value: Any) -> str | None:
        """Give an image's digest.

        Parameters
        ----------
        value : array
            Of such a shape and dtype.

        Returns
        -------
        str
            Of dtype, shape and pixels.

        Raises
        ------
        InvalidInputError
            If it is of another.
        """
        return array_content(self._image(value), "Png")

    def _image(self, value: Any) -> Any:
        array = as_array(value, "Png")
        grey = array.ndim == 2 and array.dtype.name in ("uint8", "uint16")
        coloured = array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype.name == "uint8"
        if not (grey or coloured) or not array.size:
            raise InvalidInputError(
                "Png writes (rows, columns) of uint8 or uint16, or (rows, columns, 3 or 4) of uint8, "
                f"not {array.shape} of {array.dtype}"
            )
        return array.astype(array.dtype.newbyteorder("="), copy=False)

"""HDF5 files of detectors, read in a process of their own: a damaged one can neither hang nor end the program."""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from braid_hpc.assets.regular import check_regular
from braid_hpc.reading.h5reader import ArrayReader
from braid_hpc.vocabulary.errors import CorruptLogError, InvalidInputError, StorageError

__all__ = ["DATA", "DetectorHDF5", "DetectorTimes", "HDF5Dataset", "HDF5Rows", "SlicedHDF5"]

#: Where area detectors have their images, and the times of these.
DATA = "/entry/data/data"
TIMES = ("/entry/instrument/NDAttributes/NDArrayEpicsTSSec", "/entry/instrument/NDAttributes/NDArrayEpicsTSnSec")

#: Seconds for one answer: files of detectors lie on slower disks than logs.
LIMIT = 60.0


class _Process(ArrayReader):
    """The process that reads, for all datasets of this program that are open."""

    @staticmethod
    def _shown(path: str) -> str:
        return path

    def __init__(self) -> None:
        super().__init__(limit=LIMIT)
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any]) -> bytes:
        check_regular(request["path"])
        with self._lock:
            try:
                return self._ask(request)
            except CorruptLogError as error:
                raise StorageError(str(error)) from None


_process: tuple[int, _Process] | None = None
_LOCK = threading.Lock()


def _shared() -> _Process:
    global _process
    with _LOCK:
        # A fork does not inherit it: two would read each other's answers.
        if _process is None or _process[0] != os.getpid():
            _process = (os.getpid(), _Process())
        return _process[1]


def _let_go() -> None:
    if _process is not None and _process[0] == os.getpid():
        _process[1].close()


atexit.register(_let_go)


class HDF5Dataset:
    """A dataset of a file.

    Parameters
    ----------
    path : str
        The file.
    dataset : str
        Its name in there.

    Attributes
    ----------
    shape : tuple of int
        When it was opened; it may grow.
    dtype : numpy.dtype
        Of its elements; object for texts and for ragged rows.
    chunks : tuple of int or None
        As they lie in the file.

    Raises
    ------
    NotFoundError
        If the file is not there.
    StorageError
        If it has no such dataset, cannot be read, or reading takes longer than a minute.
    MissingExtraError
        If h5py is not installed.
    InvalidInputError
        If no dataset is named.
    """

    def __init__(self, path: str, dataset: str) -> None:
        if not isinstance(dataset, str) or not dataset:
            raise InvalidInputError(f"it is not said which dataset of {path} is meant")
        self._path, self._name = path, dataset
        about = json.loads(_shared().ask(self._request("about")))
        self.shape: tuple[int, ...] = tuple(about["shape"])
        self.chunks = tuple(about["chunks"]) if about["chunks"] else None
        self.dtype: np.dtype[Any] = _dtype(about["dtype"])

    def _request(self, ask: str, **members: Any) -> dict[str, Any]:
        return {"ask": ask, "path": self._path, "dataset": self._name, **members}

    def read(self, first: int, stop: int, inner: tuple[slice, ...] = ()) -> np.ndarray[Any, Any]:
        """Read rows.

        Parameters
        ----------
        first, stop : int
            Rows.
        inner : tuple of slice
            What is wanted of each, with a start and a stop.

        Returns
        -------
        numpy.ndarray
            In memory.

        Raises
        ------
        NotFoundError, StorageError, MissingExtraError
            As for the class.
        InvalidInputError
            If there are fewer rows.
        """
        if not self.shape:
            raise InvalidInputError(f"{self._name} of {self._path} is a single value, which has no rows")
        if stop > self.shape[0]:
            self.shape = tuple(json.loads(_shared().ask(self._request("about")))["shape"])
        if stop > self.shape[0]:
            raise InvalidInputError(
                f"{self._path} has {self.shape[0]} rows in {self._name}, and row {stop - 1} is asked for"
            )
        part = [[first, stop], *([each.start, each.stop] for each in inner)]
        return _values(_shared().ask(self._request("part", part=part)))


def _dtype(text: Any) -> np.dtype[Any]:
    if isinstance(text, str):
        return np.dtype(text)
    return np.lib.format.descr_to_dtype([_field(each) for each in text])


def _field(described: list[Any]) -> tuple[Any, ...]:
    name, kind, *shape = described
    inner = kind if isinstance(kind, str) else [_field(each) for each in kind]
    return (name, inner, *(tuple(each) for each in shape))


def _values(answer: bytes) -> np.ndarray[Any, Any]:
    line, _, data = answer.partition(b"\n")
    about = json.loads(line)
    shape = tuple(about["shape"])
    if "texts" in about:
        texts = np.empty(len(about["texts"]), object)
        texts[:] = about["texts"]
        return texts.reshape(shape)
    dtype = _dtype(about["dtype"])
    if "lengths" in about:
        flat = np.empty(len(about["lengths"]), object)
        at = 0
        for place, length in enumerate(about["lengths"]):
            flat[place] = np.frombuffer(data, dtype, length, at).copy()
            at += length * dtype.itemsize
        return flat.reshape(shape)
    return np.frombuffer(data, dtype).reshape(shape).copy()


class HDF5Rows:
    """Reads ``application/x-hdf5``: a dataset whose first axis is that of the rows.

    Parameters
    ----------
    path : str
        The file.
    dataset : str
        Its name in there; some write ``path`` or ``hdf5_path`` for it.
    **parameters : object
        ``swmr``, ``chunk_shape`` and others, which are not needed.

    Raises
    ------
    NotFoundError, StorageError, MissingExtraError
        As :class:`HDF5Dataset`.
    InvalidInputError
        If no dataset is named, or it is a single value.
    """

    mimetypes = frozenset({"application/x-hdf5"})

    def __init__(self, path: str, /, **parameters: Any) -> None:
        named = (parameters.get(each) for each in ("dataset", "path", "hdf5_path"))
        name = next((each for each in named if each), None)
        self._path = path
        self._dataset = HDF5Dataset(path, "/".join(name) if isinstance(name, (list, tuple)) else name or "")
        for each in ("slice", "squeeze"):
            if parameters.get(each):
                raise InvalidInputError(f"parameter {each!r} of {path} is not understood: register a reader for it")
        if not self._dataset.shape:
            raise InvalidInputError(f"{name} of {path} is a single value, which has no rows")
        self.dtype = self._dataset.dtype
        self.row_shape = self._dataset.shape[1:]
        self.chunk_rows = self._dataset.chunks[0] if self._dataset.chunks else 1

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
        """
        return self._dataset.read(first, stop, inner)

    def files(self, first: int, stop: int) -> list[str]:
        """Return the one path.

        Parameters
        ----------
        first, stop : int
            Rows.

        Returns
        -------
        list of str
            Of one.
        """
        return [self._path]

    def close(self) -> None:
        """Do nothing: the process that reads serves others too, and ends with the program."""


class SlicedHDF5:
    """Handler of ``HDF5``, and of ``AD_HDF5_SWMR_STREAM`` and ``AD_HDF5_SWMR_SLICE``: frames of a dataset.

    Parameters
    ----------
    path : str
        The file.
    key : str
        Name of the dataset; ``dataset`` is the same.
    frame_per_point : int
        Rows of one datum.
    dataset : str
        See `key`.
    chunk_shape, swmr : object
        Not needed.
    """

    specs = frozenset({"HDF5", "AD_HDF5_SWMR_STREAM", "AD_HDF5_SWMR_SLICE"})

    def __init__(
        self,
        path: str,
        /,
        key: str | None = None,
        frame_per_point: int = 1,
        *,
        dataset: str | None = None,
        chunk_shape: Any = None,
        swmr: Any = None,
    ) -> None:
        self._path, self._name = path, key or dataset or ""
        self._frames = max(int(frame_per_point), 1)
        self._datasets: dict[str, HDF5Dataset] = {}

    def _rows(self, name: str, point_number: Any) -> np.ndarray[Any, Any]:
        if type(point_number) is not int or point_number < 0:
            raise InvalidInputError(f"point_number {point_number!r} of a datum is no number of an image")
        if name not in self._datasets:
            self._datasets[name] = HDF5Dataset(self._path, name)
        return self._datasets[name].read(point_number * self._frames, (point_number + 1) * self._frames)

    def __call__(
        self, point_number: int | None = None, *, frame: int | None = None, dataset: str | None = None
    ) -> np.ndarray[Any, Any]:
        """Read a datum.

        Parameters
        ----------
        point_number : int
            From 0; ``frame`` is the same.
        frame : int
            See `point_number`.
        dataset : str, optional
            Name of the dataset, where the resource does not say it.

        Returns
        -------
        numpy.ndarray
            ``frame_per_point`` rows.

        Raises
        ------
        NotFoundError, StorageError, InvalidInputError, MissingExtraError
            As :meth:`HDF5Dataset.read`.
        """
        return self._rows(dataset or self._name, point_number if point_number is not None else frame)

    def get_file_list(self, datum_kwargs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the files of some datums.

        Parameters
        ----------
        datum_kwargs : iterable of mapping
            Of the datums.

        Returns
        -------
        list of str
            The one path.
        """
        return [self._path]


class DetectorHDF5(SlicedHDF5):
    """Handler of ``AD_HDF5`` and ``AD_HDF5_SWMR``: images of an area detector, also while it writes.

    Parameters
    ----------
    path : str
        The file.
    frame_per_point : int
        Images of one datum.
    """

    specs = frozenset({"AD_HDF5", "AD_HDF5_SWMR"})

    def __init__(self, path: str, /, frame_per_point: int = 1) -> None:
        super().__init__(path, DATA, frame_per_point)


class DetectorTimes(SlicedHDF5):
    """Handler of ``AD_HDF5_TS`` and ``AD_HDF5_SWMR_TS``: when the images were taken.

    Parameters
    ----------
    path : str
        The file.
    frame_per_point : int
        Images of one datum.
    """

    specs = frozenset({"AD_HDF5_TS", "AD_HDF5_SWMR_TS"})

    def __init__(self, path: str, /, frame_per_point: int = 1) -> None:
        super().__init__(path, TIMES[0], frame_per_point)

    def __call__(
        self, point_number: int | None = None, *, frame: int | None = None, dataset: str | None = None
    ) -> np.ndarray[Any, Any]:
        """Read a datum.

        Parameters
        ----------
        point_number : int
            From 0; ``frame`` is the same.
        frame : int
            See `point_number`.
        dataset : object
            Of no meaning here.

        Returns
        -------
        numpy.ndarray
            Seconds, as EPICS counts them.

        Raises
        ------
        NotFoundError, StorageError, InvalidInputError, MissingExtraError
            As :meth:`HDF5Dataset.read`.
        """
        point = point_number if point_number is not None else frame
        seconds, rest = (self._rows(name, point) for name in TIMES)
        found: np.ndarray[Any, Any] = seconds.squeeze() + rest.squeeze() * 1e-9
        return found

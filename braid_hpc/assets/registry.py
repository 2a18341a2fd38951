"""Which reader reads what: ours, those that a program registers, and those of installed packages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from typing import Any, TypeVar

from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, MissingExtraError, NotFoundError

__all__ = ["BY_MIMETYPE", "BY_SPEC", "DATABROKER_GROUP", "GROUP", "Readers", "register"]

R = TypeVar("R", bound=Callable[..., Any])

#: The group of entry points that a package names its readers in; their attributes ``specs`` and ``mimetypes`` say what
#: they read, and without these the name of the entry point is the spec.
GROUP = "braid_hpc.asset_readers"
#: Where packages name handlers for databroker: by spec, and asked last.
DATABROKER_GROUP = "databroker.handlers"

#: Ours, by spec; imported when they are asked for.
BY_SPEC = {
    "AD_HDF5": "hdf5:DetectorHDF5",
    "AD_HDF5_SWMR": "hdf5:DetectorHDF5",
    "AD_HDF5_TS": "hdf5:DetectorTimes",
    "AD_HDF5_SWMR_TS": "hdf5:DetectorTimes",
    "HDF5": "hdf5:SlicedHDF5",
    "AD_HDF5_SWMR_STREAM": "hdf5:SlicedHDF5",
    "AD_HDF5_SWMR_SLICE": "hdf5:SlicedHDF5",
    "AD_TIFF": "images:DetectorTIFF",
    "NPY_SEQ": "npy:NumpySequence",
    "RWFS_NPY": "npy:NumpySequence",
    "npy": "npy:NumpyFile",
    "npy_FRAMEWISE": "npy:NumpyFile",
}
BY_MIMETYPE = {
    "application/x-hdf5": "hdf5:HDF5Rows",
    "application/x-npy": "npy:NumpyRows",
    "multipart/related;type=application/x-npy": "images:NumpyImages",
    "multipart/related;type=image/tiff": "images:TIFFImages",
    "multipart/related;type=image/jpeg": "images:JPEGImages",
}
#: What stream resources of before event-model 1.21 said in place of a mimetype.
OLD_SPECS = {
    "hdf5": "application/x-hdf5",
    "AD_HDF5": "application/x-hdf5",
    "AD_HDF5_SWMR": "application/x-hdf5",
    "AD_HDF5_SWMR_STREAM": "application/x-hdf5",
    "AD_HDF5_SWMR_SLICE": "application/x-hdf5",
    "AD_TIFF": "multipart/related;type=image/tiff",
    "NPY_SEQ": "multipart/related;type=application/x-npy",
}

_REGISTERED: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
_LOCK = threading.Lock()


def register(reader: R, *, spec: str | None = None, mimetype: str | None = None, replace: bool = False) -> R:
    """Say what reads the data of a kind of resource, for this program.

    Parameters
    ----------
    reader : callable
        For a spec what :class:`~braid_hpc.assets.Handler` describes, for a mimetype what
        :class:`~braid_hpc.assets.RowReader` does. It takes the place of ours.
    spec : str, optional
        Of resources.
    mimetype : str, optional
        Of stream resources.
    replace : bool
        Whether it may take the place of another one that was registered.

    Returns
    -------
    callable
        The same.

    Raises
    ------
    InvalidInputError
        If neither or both are given, or `reader` cannot be called.
    ConflictError
        If another one was registered for that.

    Examples
    --------
    >>> import numpy
    >>> from braid_hpc.assets import register
    >>> class Text:
    ...     def __init__(self, path):
    ...         self.path = path
    ...
    ...     def __call__(self, row):
    ...         return numpy.loadtxt(self.path)[row]
    >>> register(Text, spec="MY_TEXT") is Text
    True
    """
    if (spec is None) == (mimetype is None):
        raise InvalidInputError("a reader is registered by a spec or by a mimetype: give one of the two")
    name = spec if spec is not None else mimetype
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"a spec or a mimetype is a text, not {name!r}")
    if not callable(reader):
        raise InvalidInputError(f"a reader is called with a path, and {reader!r} cannot be called")
    known = _REGISTERED[spec is None]
    with _LOCK:
        if not replace and known.get(name, reader) is not reader:
            raise ConflictError(
                f"{name!r} has the reader {_shown(known[name])} already: say replace=True to replace it"
            )
        known[name] = reader
    return reader


class Readers:
    """Finds readers: those given first, then those registered, of packages, ours, and of databroker's.

    Parameters
    ----------
    given : mapping of str to callable, optional
        Readers by spec or by mimetype, for one use.

    Raises
    ------
    InvalidInputError
        If one of them cannot be called.
    """

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        self._given = dict(given or {})
        for name, reader in self._given.items():
            if not callable(reader):
                raise InvalidInputError(f"readers= has {reader!r} for {name!r}, which cannot be called")

    def by_spec(self, spec: Any) -> Any:
        """Return what reads resources.

        Parameters
        ----------
        spec : str
            Of the resource.

        Returns
        -------
        callable
            Called with a path and the resource's kwargs.

        Raises
        ------
        NotFoundError
            If nothing reads them.
        MissingExtraError
            If what reads them cannot be imported.
        """
        return self._find(spec, "spec", 0, BY_SPEC)

    def by_mimetype(self, document: Mapping[str, Any]) -> Any:
        """Return what reads a stream resource.

        Parameters
        ----------
        document : mapping
            The stream resource; an old one has a spec in place of a mimetype.

        Returns
        -------
        callable
            Called with a path and the stream resource's parameters.

        Raises
        ------
        NotFoundError, MissingExtraError
            As :meth:`by_spec`.
        """
        name = document.get("mimetype")
        if name is None:
            name = document.get("spec")
            name = OLD_SPECS.get(name, name) if isinstance(name, str) else name
        return self._find(name, "mimetype", 1, BY_MIMETYPE)

    def _find(self, name: Any, what: str, which: int, ours: Mapping[str, str]) -> Any:
        if not isinstance(name, str) or not name:
            raise NotFoundError(f"it names no {what}, so that nothing can be known of what reads it")
        for known in (self._given, _REGISTERED[which]):
            if name in known:
                return known[name]
        failed: list[str] = []
        found = _of_packages(name, which, failed)
        if found is not None:
            return found
        if name in ours:
            module, _, attribute = ours[name].partition(":")
            return getattr(import_module(f"braid_hpc.assets.{module}"), attribute)
        if which == 0 and (points := metadata.entry_points(group=DATABROKER_GROUP, name=name)):
            return _loaded(next(iter(points)))
        error = NotFoundError(
            f"there is no reader for the {what} {name!r}: say what reads it with "
            f"braid_hpc.assets.register(reader, {what}={name!r})"
        )
        for each in failed:
            error.add_note(each)
        raise error


def _of_packages(name: str, which: int, failed: list[str]) -> Any:
    """Return the reader that an installed package has; those that cannot be imported are no obstacle to others."""
    for point in metadata.entry_points(group=GROUP):
        try:
            reader = _loaded(point)
        except MissingExtraError as error:
            if point.name == name:
                raise
            failed.append(str(error))
            continue
        said = [getattr(reader, each, None) for each in ("specs", "mimetypes")]
        if name in (said[which] or ()) or (point.name == name and not any(said)):
            return reader
    return None


def _loaded(point: metadata.EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        raise MissingExtraError(
            f"the reader {point.name!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _shown(reader: Any) -> str:
    return f"{getattr(reader, '__module__', '?')}.{getattr(reader, '__qualname__', repr(reader))}"

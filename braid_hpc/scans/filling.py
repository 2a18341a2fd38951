"""Values of a stream that lie in files of detectors, as variables of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from braid_hpc.store.documents import read_documents
from braid_hpc.vocabulary.errors import NotFoundError

if TYPE_CHECKING:
    from braid_hpc.scans.events import Events

__all__ = ["Filling"]


class Filling:
    """Reads the files of a stream.

    Parameters
    ----------
    events : Events
        The stream.
    root_map : mapping of str to path-like or None
        Where files lie today whose paths begin so.

    Raises
    ------
    InvalidInputError
        If `root_map` is none.
    """

    def __init__(self, events: Events, root_map: Mapping[str, Any] | None) -> None:
        from braid_hpc.assets import Filler

        self._events = events
        self._filler = Filler(read_documents(events.store, events.scan, then=events.then), root_map=root_map)

    def values(self, key: Any, numbers: Any) -> tuple[list[str], Any]:
        """Return the values of a data key in some events.

        Parameters
        ----------
        key : str
            It lies in files.
        numbers : pyarrow.ChunkedArray
            Of the events.

        Returns
        -------
        dims : list of str
            What the dimensions behind that of the events are called: as the data key says, and else ``<key>_dim1`` and
            so on.
        values : numpy.ndarray
            One for each event. Where an event is one frame, there is no dimension for its frames.

        Raises
        ------
        NotFoundError
            If nothing says where the value of an event lies; or as :meth:`braid_hpc.assets.Filler.array`.
        InvalidInputError, ConflictError, StorageError, MissingExtraError
            As that.
        """
        import numpy as np

        array = self._filler.array(self._events.name, key)
        wanted = numbers.to_pylist()
        known = {int(number): row for row, number in enumerate(array.seq_nums)}
        for number in wanted:
            if number not in known:
                raise NotFoundError(
                    f"{key!r} of event {number} of stream {self._events.name!r} cannot be read: "
                    "no datum says where it lies"
                )
        rows, places = np.unique(np.array([known[number] for number in wanted], np.int64), return_inverse=True)
        whole = len(rows) == len(array)
        found = array[:] if whole else array[rows]
        if len(places) != len(rows) or np.any(places != np.arange(len(places))):
            found = found[places]
        about = self._events.about(key)
        said = about.get("dims")
        if found.ndim > 2 and found.shape[1] == 1:
            found = found[:, 0]
            said = said[1:] if isinstance(said, (list, tuple)) and len(said) == found.ndim else said
        further = found.ndim - 1
        if isinstance(said, (list, tuple)) and len(said) == further and all(type(each) is str for each in said):
            return list(said), found
        return [f"{key}_dim{at}" for at in range(1, further + 1)], found

    def __enter__(self) -> Filling:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._filler.close()

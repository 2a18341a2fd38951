"""Declaring records whose bytes go into the log: arrays, and the states of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.run.declarations import Declaring
from braid_hpc.run.guard import caller, tell
from braid_hpc.run.handles import RECORDS, Record
from braid_hpc.run.states import keep_state
from braid_hpc.vocabulary.codes import is_kind
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.run.activities import Activity
    from braid_hpc.run.arrays import RunArrays

__all__ = ["Storing"]


class Storing(Declaring):
    """What declares records, and stores their bytes."""

    _arrays: RunArrays
    #: Whether one was told of a state whose bytes could not be stored.
    _told_lost: bool = False

    def array(
        self,
        name: str,
        array: Any,
        *,
        unit: Any = None,
        derived_from: Any = None,
        tags: Any = None,
        kind: str = "data",
        on_invalid: Any = None,
    ) -> Record:
        """Store an array in the log, and declare the record that it is the content of.

        When the call returns, the kernel holds the bytes. Equal content is stored once for each rank; after
        compaction ``store.array(reference)`` gives the array back, bit for bit.

        Parameters
        ----------
        name : str
            The record's name.
        array : array
            Anything with the buffer protocol or ``__array__``, of any shape, strides and dtype but objects. No other
            thread may write into it during the call.
        unit : str, optional
            Unit symbol.
        derived_from, tags, on_invalid : optional
            As for :meth:`record`.
        kind : str
            The record's kind.

        Returns
        -------
        Record
            The handle. An array that cannot be stored (a full disk, no h5py) is declared all the same, its loss is
            recorded and told once on the error output.
        """
        about = {"unit": unit, "derived_from": derived_from, "tags": tags, "on_invalid": on_invalid}
        return self._store_array(kind, name, array, about)

    def model(self, name: str, *, state: Any = None, keep: bool | None = None, **about: Any) -> Record:
        """Declare a version of a model, and store its state.

        When the call returns, the kernel holds the bytes that are stored. Equal arrays are stored once for each rank
        and once in the store, so layers that did not change cost nothing in the next version.

        Parameters
        ----------
        name : str
            The model's name.
        state : mapping, path, or bytes-like, optional
            A mapping of name to array: every array is stored, bit for bit. An array has ``__array__``, the buffer
            protocol, or ``__dlpack__``, and may be of any shape, strides and dtype but objects; mappings within it
            become dotted names. Of a file (a text or a path) all bytes are read for their digest, and its absolute
            uri is recorded, but its bytes are not. Bytes are recorded up to 16 MiB
            (:data:`braid_hpc.run.states.KEEP_BYTES`); of more only digest and size are.
        keep : bool, optional
            Whether the bytes of a file, or bytes of any number, are recorded.
        **about
            As for :meth:`record`; without ``digest``, ``size``, ``array`` and ``value`` if there is a state.

        Returns
        -------
        Record
            The handle. A state that is refused leaves the model declared without content.

        See Also
        --------
        braid_hpc.Store.model : gives it back.
        braid_hpc.Store.checkout : writes it into files.
        """
        return self._store_model(name, state, keep, about)

    def _store_array(
        self, kind: str, name: str, array: Any, about: dict[str, Any], activity: Activity | None = None
    ) -> Record:
        if self._open and isinstance(name, str) and name and is_kind(kind):
            kept = self._part(f"array {kind}:{name}", lambda given: self._arrays.keep(kind, name, given), array)
            if kept is not None:
                laid, content, lost = kept
                about.update(digest=content.digest, size=content.size, dtype=laid.dtype, shape=laid.shape)
                if lost is not None and self._arrays.lost == 1:
                    tell(f"{caller()}: array {kind}:{name} is not stored: {lost} (further ones are only counted)")
        record = self._declare(kind, name, about, activity)
        if record:
            RECORDS.remember(array, record)
        return record

    def _store_model(
        self, name: str, state: Any, keep: Any, about: dict[str, Any], activity: Activity | None = None
    ) -> Record:
        kept = None
        if state is not None and self._open and isinstance(name, str) and name:
            for key in ("digest", "size", "array", "value") & about.keys():
                self._part(f"model:{name}", _not_with_a_state, key)
                del about[key]
            kept = self._part(
                f"state of model:{name}", lambda given: keep_state(self._arrays, "model", name, given, keep), state
            )
            if kept is not None and kept.lost is not None and not self._told_lost:
                self._told_lost = True
                tell(f"{caller()}: arrays of model:{name} are not stored: {kept.lost} (further ones are only counted)")
        record = self._declare("model", name, about, activity, kept)
        if record and kept is not None and kept.tensors is not None:
            RECORDS.remember(state, record)
        return record


def _not_with_a_state(key: str) -> None:
    raise InvalidInputError(f"{key}= does not go with state=, which has a content of its own")

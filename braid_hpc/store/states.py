"""The states of models in a store: which arrays they consist of, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid_hpc.store.arrays import ArrayFiles, StoredArray
from braid_hpc.store.resolve import Node
from braid_hpc.vocabulary.errors import CorruptLogError, NotFoundError
from braid_hpc.vocabulary.identity import content_of_bytes
from braid_hpc.vocabulary.payloads import Tensor
from braid_hpc.vocabulary.states import content_of_state

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["StoredModel", "TensorInfo", "find_model"]

_LISTED = """
select s.tensor, s.digest, s.dtype, s.shape, s.bytes,
    case when a.place is not null then (s.digest, a.place.file, a.place.dataset, a.place.dtype, a.place.shape,
        a.place.bytes) end
from state_rows s left join (
    select digest, arg_min(array_rows, snapshot) as place from array_rows group by digest) a on a.digest = s.digest
where s.state = ?
"""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One array of a state.

    Attributes
    ----------
    name : str
        In the state; dotted where mappings were nested.
    digest : str
        ``"blake3:<hex>"``, over dtype, shape and bytes: equal arrays have equal digests, in whatever state.
    dtype : str
        NumPy's ``dtype.str``, or what stands for it (page ``array-format``).
    shape : tuple of int
        Lengths.
    nbytes : int
        Bytes.
    """

    name: str
    digest: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


class StoredModel:
    """A version of a model, or of anything else that was declared with a state.

    Made by :meth:`braid_hpc.Store.model`; its arrays are read when they are asked for, while that store is open.

    Attributes
    ----------
    ref : str
        The reference of the version.
    digest : str or None
        Of its content.
    size : int or None
        Bytes.
    tensors : dict of str to TensorInfo
        The arrays of its state by name, sorted; empty if it has none, or if its state is a file or bytes.

    Raises
    ------
    NotFoundError
        If it is no record.
    """

    def __init__(self, connection: Any, files: ArrayFiles, node: Node) -> None:
        self.ref = node.ref
        self._files = files
        # Not from the view, which is without placeholders that were filled: those have neither, as all others.
        found = connection.execute(
            "select v.digest, coalesce(v.size, max(o.size)) from version_rows v left join occurrences o using (id) "
            "where v.id = ? group by v.digest, v.size",
            [node.id],
        ).fetchall()
        if not found:
            raise NotFoundError(f"{node.ref} is not a record: only records have states")
        self.digest: str | None
        self.size: int | None
        self.digest, self.size = found[0]
        rows = connection.execute(_LISTED, [self.digest]).fetchall()
        # Bytes are one array without a name; a state without arrays is one row of nulls.
        self._kept = next((digest for tensor, digest, *_ in rows if tensor is None and digest), None)
        self._is_state = bool(rows) and self._kept is None
        each = sorted(row for row in rows if row[0] is not None)
        self.tensors = {
            name: TensorInfo(name, digest, dtype, tuple(shape), size) for name, digest, dtype, shape, size, _ in each
        }
        #: Of each digest, the row that says where its bytes are.
        self._places: dict[str, tuple[Any, ...]] = {digest: place for _, digest, *_, place in rows if place}

    @property
    def has_state(self) -> bool:
        """Whether its state is a mapping of arrays."""
        return self._is_state

    @property
    def has_bytes(self) -> bool:
        """Whether its state is bytes, and they were recorded."""
        return self._kept is not None

    def state(self, names: Iterable[str] | None = None) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of its state, or some of them.

        Parameters
        ----------
        names : iterable of str, optional
            Which; without it all.

        Returns
        -------
        dict of str to numpy.ndarray
            By name, sorted; each bit for bit what was recorded, with its digest verified.

        Raises
        ------
        NotFoundError
            If it has no state, or no such array in it, or the bytes of one are not there.
        CorruptLogError
            If bytes do not carry their digest.
        InvalidInputError
            If the store was closed.
        MissingExtraError
            If h5py is not installed.
        """
        arrays = self.arrays(names)
        return {name: arrays[name].read() for name in sorted(arrays)}

    def arrays(self, names: Iterable[str] | None = None) -> dict[str, StoredArray]:
        """Return the arrays of its state, or some of them, without reading them.

        Parameters
        ----------
        names : iterable of str, optional
            Which; without it all.

        Returns
        -------
        dict of str to StoredArray
            By name; ``read`` of each verifies its digest.

        Raises
        ------
        NotFoundError
            If it has no state, or no such array in it, or the bytes of one are not there.
        CorruptLogError
            If the list of arrays does not carry its digest.
        """
        self._check()
        chosen = list(self.tensors) if names is None else [names] if isinstance(names, str) else list(names)
        return {name: self.tensor(name) for name in chosen}

    def tensor(self, name: str) -> StoredArray:
        """Return one array of its state; it is read when it is used.

        Parameters
        ----------
        name : str
            In the state.

        Returns
        -------
        StoredArray
            With shape and dtype; a slice reads a part.

        Raises
        ------
        NotFoundError
            If there is no such array, or its bytes are not in the store.
        """
        if name not in self.tensors:
            self._check()
            near = ", ".join(list(self.tensors)[:5]) or "none"
            raise NotFoundError(f"there is no array {name!r} in the state of {self.ref}; there are {near}")
        return self._stored(self.tensors[name].digest, f"array {name!r} of {self.ref}")

    def data(self) -> bytes:
        """Return the bytes of its state, where it was given as bytes, or as a file with ``keep=True``.

        Returns
        -------
        bytes
            With their digest verified.

        Raises
        ------
        NotFoundError
            If no bytes were recorded, or they are not there.
        CorruptLogError
            If they do not carry their digest.
        """
        if self._kept is None:
            hint = "it has a mapping of arrays: ask for state()" if self._is_state else "they were not recorded"
            raise NotFoundError(f"the bytes of {self.ref} are not in this store: {hint}")
        data = self._stored(self._kept, self.ref).read().tobytes()
        if content_of_bytes(data).digest != self.digest:
            raise CorruptLogError(f"the bytes of {self.ref} do not carry their digest")
        return data

    def _check(self) -> None:
        """See that there is a state, and that this is the list that was declared."""
        if not self._is_state:
            hint = "it has bytes: ask for data()" if self._kept is not None else "it was not declared with state="
            raise NotFoundError(f"the state of {self.ref} is not in this store: {hint}")
        listed = [Tensor(t.name, t.digest, t.dtype, list(t.shape), t.nbytes) for t in self.tensors.values()]
        if content_of_state(listed).digest != self.digest:
            raise CorruptLogError(f"the list of arrays of {self.ref} does not carry its digest")

    def _stored(self, digest: str, what: str) -> StoredArray:
        if digest not in self._places:
            raise NotFoundError(f"the bytes of {what} are not in this store: they were lost (see the table problems)")
        return StoredArray(self._files, what, None, self._places[digest])

    def __repr__(self) -> str:
        """Name it, without reading anything."""
        what = f"{len(self.tensors)} arrays" if self._is_state else "bytes" if self._kept else "no state"
        return f"<StoredModel {self.ref}, {what}{'' if self.size is None else f', {self.size} bytes'}>"


def find_model(connection: Any, files: ArrayFiles, node: Node) -> StoredModel:
    """Return what a store has of a version's state.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    files : ArrayFiles
        Its files.
    node : Node
        The version.

    Returns
    -------
    StoredModel
        Not read yet.

    Raises
    ------
    NotFoundError
        If it is no record.
    """
    return StoredModel(connection, files, node)

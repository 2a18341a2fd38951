"""From the state of a model that a program gives to what the log keeps of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.errors import InvalidInputError, MissingExtraError
from braid_hpc.vocabulary.identity import Content, content_of_bytes, content_of_file
from braid_hpc.vocabulary.payloads import Tensor
from braid_hpc.vocabulary.regular import open_regular
from braid_hpc.vocabulary.states import content_of_state, flat_state

if TYPE_CHECKING:
    from braid_hpc.run.arrays import RunArrays

__all__ = ["KEEP_BYTES", "KeptState", "keep_state"]

#: A state that is given as bytes is stored up to this many of them, unless `keep` says otherwise.
KEEP_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class KeptState:
    """What is declared of a state.

    Attributes
    ----------
    content : Content
        Of the whole.
    tensors : list of Tensor or None
        Of a mapping: its arrays, sorted by name.
    kept : str or None
        Of bytes that were stored: the digest of the array of uint8 that they are in the log.
    uris : list of str
        Of a file: where it is.
    lost : str or None
        Why the bytes of one of the arrays could not be stored.
    """

    content: Content
    tensors: list[Tensor] | None = None
    kept: str | None = None
    uris: list[str] = field(default_factory=list)
    lost: str | None = None


def keep_state(arrays: RunArrays, kind: str, name: str, state: Any, keep: Any) -> KeptState:
    """Store what is to be stored of a state, each content once.

    Parameters
    ----------
    arrays : RunArrays
        Where it goes.
    kind, name : str
        Of the record that it is the content of.
    state : mapping, path, or bytes-like
        See :meth:`braid_hpc.Run.model`.
    keep : bool or None
        Whether the bytes of a file or of bytes are stored; None for bytes up to :data:`KEEP_BYTES`.

    Returns
    -------
    KeptState
        What to declare.

    Raises
    ------
    InvalidInputError
        If it is none of these, or has something in it that is no array or no name.
    MissingExtraError
        If NumPy is not installed.
    OSError
        If the file cannot be read.
    """
    if keep not in (None, True, False):
        raise InvalidInputError(f"keep= is True or False, not {keep!r}")
    if isinstance(state, Mapping):
        if keep is False:
            raise InvalidInputError("keep=False is for files and bytes: the arrays of a state are always stored")
        return _keep_tensors(arrays, kind, name, state)
    if isinstance(state, (str, os.PathLike)):
        return _keep_file(arrays, kind, name, state, keep=bool(keep))
    if isinstance(state, (bytes, bytearray, memoryview)):
        return _keep_bytes(arrays, kind, name, bytes(state), keep=keep)
    raise InvalidInputError(f"state= is a mapping of arrays, a file's path, or bytes, not a {type(state).__name__}")


def _keep_tensors(arrays: RunArrays, kind: str, name: str, state: Mapping[Any, Any]) -> KeptState:
    tensors: list[Tensor] = []
    lost = None
    # All of them are looked at before any is stored.
    for tensor, value in {each: _as_array(each, value) for each, value in flat_state(state).items()}.items():
        laid, content, failed = arrays.keep(kind, f"{name}/{tensor}", value)
        tensors.append(Tensor(tensor, content.digest, laid.dtype, laid.shape, content.size or 0))
        lost = lost or failed
    return KeptState(content_of_state(tensors), tensors, lost=lost)


def _as_array(name: str, value: Any) -> Any:
    """Return an array of NumPy's, which shares the memory of what it is made of where that can be shared."""
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtraError("the arrays of a state need numpy: pip install 'braid_hpc[arrays]'") from error
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidInputError(f"{name!r} in state= is masked, which makes it two arrays: give its data and its mask")
    if callable(detach := getattr(value, "detach", None)):
        # A tensor that gradients are computed for gives its numbers to nobody.
        value = detach()
    reasons = []
    for found in (_by_itself, _by_dlpack):
        try:
            array = found(np, value)
        except (TypeError, ValueError, RuntimeError, BufferError, AttributeError) as error:
            reasons.append(str(error).partition("\n")[0])
            continue
        if array is not None:
            if array.dtype.hasobject:
                raise InvalidInputError(f"{name!r} in state= holds Python objects, which have no bytes of their own")
            return array
    raise InvalidInputError(
        f"{name!r} in state= is no array but a {type(value).__name__}{''.join(f' ({reason})' for reason in reasons)}"
    )


def _by_itself(np: Any, value: Any) -> Any:
    if hasattr(value, "__array__"):
        return np.asarray(value)
    try:
        return np.asarray(memoryview(value))
    except TypeError:
        return None


def _by_dlpack(np: Any, value: Any) -> Any:
    return np.from_dlpack(value, device="cpu") if hasattr(value, "__dlpack__") else None


def _keep_file(arrays: RunArrays, kind: str, name: str, path: Any, *, keep: bool) -> KeptState:
    absolute = Path(os.fsdecode(path)).absolute()
    with open_regular(absolute) as file:
        if not keep:
            return KeptState(content_of_file(file), uris=[absolute.as_uri()])
        data = file.read()
    kept = _keep_bytes(arrays, kind, name, data, keep=True)
    return KeptState(kept.content, None, kept.kept, [absolute.as_uri()], kept.lost)


def _keep_bytes(arrays: RunArrays, kind: str, name: str, data: bytes, *, keep: bool | None) -> KeptState:
    content = content_of_bytes(data)
    if keep is False or (keep is None and len(data) > KEEP_BYTES):
        return KeptState(content)
    _, array, lost = arrays.keep(kind, name, data)
    return KeptState(content, None, array.digest, lost=lost)

"""The state of a model as a mapping of arrays: its names, and its one digest (``docs/model-states.md``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from braid_hpc.vocabulary.encoding import MAX_DEPTH, encode
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import Content, content_of_bytes
from braid_hpc.vocabulary.payloads import Tensor

__all__ = ["content_of_state", "flat_state"]


def flat_state(state: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a mapping of arrays without mappings in it.

    Parameters
    ----------
    state : mapping
        Name to array, or to a mapping of the same kind, whose names are joined to its own by dots.

    Returns
    -------
    dict of str to object
        Sorted by name. What the values are is not looked at.

    Raises
    ------
    InvalidInputError
        If a name is no text, cannot stand in UTF-8, or is there twice, or mappings are nested too deeply.
    """
    flat: dict[str, Any] = {}
    _flatten("", state, flat, 0)
    return dict(sorted(flat.items()))


def _flatten(prefix: str, state: Mapping[Any, Any], flat: dict[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"state= is nested deeper than {MAX_DEPTH} levels: flatten it")
    for key, value in state.items():
        if not isinstance(key, str):
            raise InvalidInputError(f"the name {key!r} in state= is not text: write it as a string")
        name = prefix + key
        if isinstance(value, Mapping):
            _flatten(f"{name}.", value, flat, depth + 1)
            continue
        if name in flat:
            raise InvalidInputError(f"the name {name!r} is in state= twice, once with a dot in its key")
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InvalidInputError(f"the name {name!r} in state= cannot stand in UTF-8") from None
        flat[name] = value


def content_of_state(tensors: Iterable[Tensor]) -> Content:
    """Return the content of a state.

    Parameters
    ----------
    tensors : iterable of Tensor
        Sorted by name.

    Returns
    -------
    Content
        The BLAKE3 digest of ``state``, a zero byte, and the list of names, dtypes, shapes and digests in MessagePack;
        the size is that of all arrays in bytes, each as often as it is there.
    """
    each = list(tensors)
    listed = encode([[one.name, one.dtype, one.shape, one.digest] for one in each])
    return Content(content_of_bytes(listed, prefix=b"state\0").digest, sum(one.size for one in each))

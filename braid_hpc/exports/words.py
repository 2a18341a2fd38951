"""Documents as JSON and as MessagePack, exactly as far as these can say them, and refused where they cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import msgspec

from braid_hpc.exports.emitted import Pair
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.verbatim import Unkept, encode_unkept, encode_words

__all__ = ["FORMS", "as_json", "write_json", "write_jsonl", "write_msgpack"]

_SCALARS = frozenset({str, int, float, bool, type(None)})
_PACKED = msgspec.msgpack.Encoder()


def write_jsonl(documents: Iterable[Pair], file: BinaryIO) -> int:
    """Write documents as JSON lines, each ``[name, document]``, as suitcase-jsonl does.

    Integers of any size and text of any script are exact, NaN and infinities are written as Python writes and reads
    them, arrays as lists, and tuples too. Where a value could not be recorded stands a mapping with ``unkept`` and
    ``reason``.

    Parameters
    ----------
    documents : iterable of (str, dict)
        Name and document.
    file : binary file
        Open for writing.

    Returns
    -------
    int
        How many.

    Raises
    ------
    InvalidInputError
        If a document has a value that JSON cannot say: bytes, a set, a complex number, a time, keys that are no text.
    """
    count = 0
    for name, document in documents:
        file.write(_json(name, document) + b"\n")
        count += 1
    return count


def write_json(documents: Iterable[Pair], file: BinaryIO) -> int:
    """Write documents as one JSON array of ``[name, document]``.

    Parameters
    ----------
    documents : iterable of (str, dict)
        Name and document.
    file : binary file
        Open for writing.

    Returns
    -------
    int
        How many.

    Raises
    ------
    InvalidInputError
        As :func:`write_jsonl`.
    """
    count = 0
    for name, document in documents:
        file.write((b",\n" if count else b"[\n") + _json(name, document))
        count += 1
    file.write(b"\n]\n" if count else b"[]\n")
    return count


def write_msgpack(documents: Iterable[Pair], file: BinaryIO) -> int:
    """Write documents as MessagePack one after another, each ``[name, document]``, as suitcase-msgpack does.

    Arrays are as msgpack-numpy writes them. What MessagePack has no form for (integers beyond 64 bits, sets, complex
    numbers, times) is an extension type, of those on the page ``documents``, and comes back where ``braid ingest``
    reads it; tuples are lists.

    Parameters
    ----------
    documents : iterable of (str, dict)
        Name and document.
    file : binary file
        Open for writing.

    Returns
    -------
    int
        How many.

    Raises
    ------
    InvalidInputError
        If a value cannot be written.
    """
    count = 0
    for name, document in documents:
        file.write(_PACKED.encode([name, _packable(document, name)]))
        count += 1
    return count


#: How documents are written, by the name of the form.
FORMS: dict[str, Callable[[Iterable[Pair], BinaryIO], int]] = {
    "documents": write_json,
    "jsonl": write_jsonl,
    "msgpack": write_msgpack,
}


def as_json(document: Any, where: str = "the document") -> str:
    """Return a document as JSON, exactly.

    Parameters
    ----------
    document : object
        It.
    where : str
        What it is called in a refusal.

    Returns
    -------
    str
        ASCII.

    Raises
    ------
    InvalidInputError
        As :func:`write_jsonl`.

    Examples
    --------
    >>> as_json({"pair": (1, 2**70)})
    '{"pair":[1,1180591620717411303424]}'
    """
    return json.dumps(_plain(document, where), separators=(",", ":"))


def _json(name: str, document: dict[str, Any]) -> bytes:
    plain = _plain(document, name)
    return json.dumps([name, plain], separators=(",", ":")).encode()


def _plain(value: Any, where: str) -> Any:
    """Return a value as JSON has it, exactly."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list and _SCALARS.issuperset(map(type, value)):
        return value
    if isinstance(value, dict):
        found = {}
        for key, item in value.items():
            if type(key) is not str:
                raise _refused(key, f"{where}, as a key")
            found[key] = item if type(item) in _SCALARS else _plain(item, f"{where}.{key}")
        return found
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{at}]") for at, item in enumerate(value)]
    if hasattr(value, "dtype") and hasattr(value, "tolist") and value.dtype.kind in "biufUO":
        return _plain(value.tolist(), where)
    if isinstance(value, Unkept):
        return {"unkept": value.kind, "reason": value.reason}
    raise _refused(value, where)


def _refused(value: Any, where: str) -> InvalidInputError:
    return InvalidInputError(
        f"JSON cannot say {type(value).__name__} {value!r:.40}, which stands in {where:.100}: export as msgpack"
    )


def _packable(value: Any, where: str) -> Any:
    """Return a value as msgspec encodes it without loss."""
    kind = type(value)
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 64 else _extension(value)
    if kind in _SCALARS and kind is not str:
        return value
    if kind is str:
        return value if value.isascii() or _is_utf8(value) else _extension(value)
    if isinstance(value, dict):
        if not all(type(key) is str and _is_utf8(key) for key in value):
            return _extension(value)
        return {key: _packable(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_packable(item, f"{where}[{at}]") for at, item in enumerate(value)]
    if isinstance(value, bytes):
        return value
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        return _array(value, where)
    if isinstance(value, Unkept):
        return msgspec.Raw(encode_unkept(value))
    return _extension(value, where)


def _array(value: Any, where: str) -> Any:
    """Return an array, or a scalar of NumPy, in the form of msgpack-numpy."""
    if value.shape == () and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        return value.item()
    if value.dtype.kind == "O":
        return _packable(value.tolist(), where)
    structured = value.dtype.kind == "V"
    form = [[name, code, *(list(shape) for shape in rest)] for name, code, *rest in value.dtype.descr]
    return {
        b"nd": True,
        b"type": form if structured else value.dtype.str,
        b"kind": b"V" if structured else b"",
        b"shape": list(value.shape),
        b"data": value.tobytes(),
    }


def _extension(value: Any, where: str = "") -> Any:
    data, unkept = encode_words(value, 1 << 62)
    if unkept:
        raise InvalidInputError(
            f"MessagePack cannot say {type(value).__name__} {value!r:.40}, which stands in {where:.100}"
        )
    return msgspec.Raw(data)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

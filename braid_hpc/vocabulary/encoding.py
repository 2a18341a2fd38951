"""How values become bytes in a log: MessagePack by msgspec, with two extension types.

NaN and infinities are kept as they are (JSON would turn them into null), integers beyond 64 bits travel as
extension type 1 (two's complement, little-endian), and NumPy scalars as the Python numbers they equal.
"""

from __future__ import annotations

import enum
import math
import os
from typing import Any, TypeVar

import msgspec

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["MAX_DEPTH", "check_tags", "decode", "decoder", "encode", "encode_canonical", "to_jsonable"]

BIG_INTEGER = 1
MAX_DEPTH = 64

#: Integers of more bits are refused: Python itself does not print numbers of any length.
MAX_BITS = 4096

_T = TypeVar("_T")


def _hook(value: Any) -> Any:
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "shape", None) == ():
        return item()
    tolist = getattr(value, "tolist", None)
    if tolist is not None and getattr(value, "ndim", 0) > 0 and getattr(value, "size", 1 << 60) <= 64:
        return tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (complex,)):
        return {"real": value.real, "imag": value.imag}
    raise TypeError(f"a {type(value).__name__} cannot be kept as a value")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_hook)
_CANONICAL = msgspec.msgpack.Encoder(enc_hook=_hook, order="sorted")


def _ext_hook(code: int, data: memoryview) -> Any:
    if code == BIG_INTEGER:
        if len(data) > MAX_BITS // 8 + 1:
            raise msgspec.DecodeError(f"an integer of {len(data)} bytes")
        return int.from_bytes(data, "little", signed=True)
    return msgspec.msgpack.Ext(code, bytes(data))


_DECODER = msgspec.msgpack.Decoder(ext_hook=_ext_hook)


def _plain(value: Any, depth: int = 0) -> Any:
    """Return `value` with integers beyond 64 bits as extension values and keys as text."""
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"a value is nested deeper than {MAX_DEPTH} levels: flatten it, or keep it in a file")
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if -(1 << 63) <= value < (1 << 64):
            return int(value)
        _not_too_wide(value)
        return msgspec.msgpack.Ext(BIG_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return value


def _not_too_wide(value: int) -> None:
    if value.bit_length() > MAX_BITS:
        raise InvalidInputError(f"an integer of {value.bit_length():,} bits is too wide: keep it as text or in a file")


def encode(value: Any) -> bytes:
    """Encode a value for a log.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, bytes, date and time, NumPy scalars, small arrays, paths, enumerations, and
        lists and mappings of these; or a :class:`msgspec.Struct` of the format.

    Returns
    -------
    bytes
        MessagePack.

    Raises
    ------
    InvalidInputError
        If the value holds something that cannot be kept, an integer of more than 4096 bits, or is nested too deeply.
    """
    return _encode(_ENCODER, value)


def encode_canonical(value: Any) -> bytes:
    """Encode a value so that equal values give equal bytes: keys of mappings are sorted.

    Parameters
    ----------
    value : object
        As for :func:`encode`.

    Returns
    -------
    bytes
        MessagePack with sorted keys.

    Raises
    ------
    InvalidInputError
        As for :func:`encode`.
    """
    return _encode(_CANONICAL, value)


def _encode(encoder: msgspec.msgpack.Encoder, value: Any) -> bytes:
    try:
        return encoder.encode(value)
    except (OverflowError, TypeError, UnicodeError, RecursionError) as first:
        try:
            if isinstance(value, msgspec.Struct):
                value = msgspec.structs.replace(
                    value, **{name: _plain(item) for name, item in msgspec.structs.asdict(value).items()}
                )
                return encoder.encode(value)
            return encoder.encode(_plain(value))
        except (OverflowError, TypeError, UnicodeError, RecursionError) as second:
            raise InvalidInputError(f"{str(second) or str(first)}; keep it as text, number, list or mapping") from None


def decode(data: bytes | memoryview) -> Any:
    """Decode what :func:`encode` made.

    Parameters
    ----------
    data : bytes or memoryview
        MessagePack.

    Returns
    -------
    object
        Plain Python values.

    Raises
    ------
    msgspec.DecodeError
        If the bytes are not MessagePack.
    """
    try:
        return _DECODER.decode(data)
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def decoder(kind: type[_T]) -> msgspec.msgpack.Decoder[_T]:
    """Return a decoder of a :class:`msgspec.Struct`, with this module's extension types.

    Parameters
    ----------
    kind : type
        The structure to decode into.

    Returns
    -------
    msgspec.msgpack.Decoder
        Its ``decode`` raises :class:`msgspec.DecodeError` on other bytes.
    """
    return msgspec.msgpack.Decoder(kind, ext_hook=_ext_hook)


def check_tags(tags: Any) -> dict[str, Any] | None:
    """Return tags as a flat mapping of text to str, int, float or bool, to None, or to a list of these.

    Nested mappings become dotted keys, at every depth; other values become text.

    Parameters
    ----------
    tags : mapping or None
        What the caller gave.

    Returns
    -------
    dict or None
        Flat tags, or None where there are none.

    Raises
    ------
    InvalidInputError
        If `tags` is not a mapping, is nested too deeply, has a key that is not text or is there twice, or an integer
        of more than 4096 bits.
    """
    if not tags:
        return None
    try:
        items = tags.items()
    except AttributeError:
        raise InvalidInputError(f"tags are a mapping of key to value, not a {type(tags).__name__}") from None
    flat: dict[str, Any] = {}
    _flatten("", items, flat, 0)
    return flat


def _flatten(prefix: str, items: Any, flat: dict[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"tags are nested deeper than {MAX_DEPTH} levels: flatten them")
    for key, value in items:
        if not isinstance(key, str):
            raise InvalidInputError(f"the tag key {key!r} is not text: write it as a string")
        if isinstance(value, dict):
            _flatten(f"{prefix}{key}.", value.items(), flat, depth + 1)
        else:
            if prefix + key in flat:
                raise InvalidInputError(f"the tag {prefix + key!r} is there twice, once with a dot in its key")
            flat[prefix + key] = _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, int):
        _not_too_wide(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_scalar(item) for item in value]
    return str(value)


def to_jsonable(value: Any, *, words: bool = False) -> Any:
    """Return a decoded value in a form that :mod:`json` writes without loss of meaning.

    Parameters
    ----------
    value : object
        What :func:`decode` gave.
    words : bool
        Whether NaN and infinities stay what they are, for which Python and DuckDB write and read ``NaN`` and
        ``Infinity`` without quotes, and other readers may not.

    Returns
    -------
    object
        NaN and infinities as text unless `words` is true, bytes as hexadecimal text, the rest as it is.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return value if words else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(key): to_jsonable(item, words=words) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item, words=words) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)

"""Documents word for word: Python values as MessagePack that decodes to equal ones.

:mod:`braid_hpc.vocabulary.encoding` makes lists of tuples and text of keys, which is right for parameters and wrong
for documents that are to come back equal. Here every value that a document of an instrument may hold has a form of
its own; what has none is replaced by an :class:`Unkept`, which says what was there, and is counted. The extension
types are on the page ``documents``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

import msgspec

__all__ = [
    "LARGEST",
    "MAX_DEPTH",
    "Unkept",
    "Words",
    "decode_extension",
    "decode_words",
    "encode_unkept",
    "encode_words",
]

#: Bytes of one document, about: of what is beyond it, only type and size are kept.
LARGEST = 16 << 20
MAX_DEPTH = 64

BIG_INTEGER, TUPLE, PAIRS, SURROGATES, ARRAY, SET, COMPLEX, TIME, UNKEPT = range(1, 10)

_ENCODER = msgspec.msgpack.Encoder()
_DAYS: dict[str, Any] = {"datetime": datetime, "date": date, "time": time}
#: In a list of nothing but these msgspec finds each value as it is to come back.
_PLAIN = frozenset({float, int, bool, type(None)})
_SHOWN = 120
#: Values of one document of which it is said what they were.
_TOLD = 100


@dataclass(frozen=True, slots=True)
class Unkept:
    """Stands where a value was that cannot be kept.

    Attributes
    ----------
    kind : str
        Name of its type.
    reason : str
        Why not, and how it began.
    """

    kind: str
    reason: str


@dataclass(slots=True)
class Words:
    """What is left of the room for one document, and what could not be kept of it."""

    room: int = LARGEST
    unkept: list[Unkept] = field(default_factory=list)
    _path: set[int] = field(default_factory=set)

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Return `value` as what msgspec encodes without loss.

        Parameters
        ----------
        value : object
            Anything.
        depth : int
            How deep it lies.

        Returns
        -------
        object
            Scalars, lists, mappings with keys of text, and extension values; nothing of it is mutable and shared with
            `value`, except lists of scalars.
        """
        kind = type(value)
        self.room -= 9
        if self.room < 0:
            return self.leave(value, "no room is left")
        if kind is float or kind is bool or value is None:
            return value
        if kind is int:
            return value if -(1 << 63) <= value < (1 << 64) else self._integer(value)
        if kind is str:
            return self._text(value)
        if kind is dict or kind is list or kind is tuple:
            return self._container(kind, value, depth)
        return self._other(value, depth)

    def _container(self, kind: type, value: Any, depth: int) -> Any:
        if depth >= MAX_DEPTH or id(value) in self._path:
            reason = f"nested deeper than {MAX_DEPTH} levels" if depth >= MAX_DEPTH else "contains itself"
            return self.leave(value, reason)
        self.room -= 9 * len(value)
        if self.room < 0:
            return self.leave(value, f"too large, {len(value)} items")
        if kind is list and _PLAIN.issuperset(kinds := set(map(type, value))):
            # Lists of floats and of moderate integers are most of all, and go as they are.
            if int not in kinds or (len(kinds) == 1 and min(value) >= -(1 << 63) and max(value) < 1 << 64):
                return value
            return [self._integer(v) if type(v) is int and not -(1 << 63) <= v < (1 << 64) else v for v in value]
        self._path.add(id(value))
        try:
            if kind is dict:
                return self._mapping(value, depth)
            items = [self.plain(item, depth + 1) for item in list(value)]
            return items if kind is list else _ext(TUPLE, items)
        finally:
            self._path.discard(id(value))

    def _mapping(self, value: dict[Any, Any], depth: int) -> Any:
        pairs = [(key, self.plain(item, depth + 1)) for key, item in list(value.items())]
        if all(type(key) is str and key.isascii() for key, _ in pairs):
            size = sum(len(key) for key, _ in pairs)
            if size <= self.room:
                self.room -= size
                return dict(pairs)
        kept: list[Any] = []
        texts = True
        for key, item in pairs:
            said = self.plain(key, depth + 1)
            texts = texts and type(said) is str
            kept += (said, item)
        return dict(zip(kept[::2], kept[1::2], strict=True)) if texts else _ext(PAIRS, kept)

    def _integer(self, value: int) -> Any:
        size = value.bit_length() // 8 + 1
        if size > self.room:
            return self.leave(value, f"an integer of {8 * size} bits")
        self.room -= size
        return msgspec.msgpack.Ext(BIG_INTEGER, value.to_bytes(size, "little", signed=True))

    def _text(self, value: str) -> Any:
        if len(value) > self.room:
            return self.leave(value, f"a text of {len(value)} characters")
        if value.isascii():
            self.room -= len(value)
            return value
        data = value.encode("utf-8", "surrogatepass")
        self.room -= len(data)
        try:
            data.decode()
        except UnicodeDecodeError:
            return msgspec.msgpack.Ext(SURROGATES, data)
        return value

    def _other(self, value: Any, depth: int) -> Any:
        """Take what is of no type of JSON."""
        try:
            if isinstance(value, (str, int, float)):
                # Of a class of their own, enumerations for one: equal to the plain value.
                base: Any = str.__str__(value) if isinstance(value, str) else _number(value)
                return self.plain(base, depth)
            if isinstance(value, (bytes, bytearray, memoryview)):
                return self._bytes(bytes(value)) if len(value) <= self.room else self.leave(value, "too large")
            if isinstance(value, (list, tuple)):
                return self._container(list if isinstance(value, list) else tuple, value, depth)
            if hasattr(value, "items") and hasattr(value, "keys"):
                return self._container(dict, dict(value.items()), depth)
            if hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "tolist"):
                return self._array(value, depth)
            if isinstance(value, complex):
                return _ext(COMPLEX, [value.real, value.imag])
            if isinstance(value, (set, frozenset)):
                return _ext(SET, [type(value).__name__, *(self.plain(item, depth + 1) for item in value)])
            if type(value).__name__ in _DAYS and type(value) in _DAYS.values():
                return _ext(TIME, [type(value).__name__, value.isoformat()])
        except Exception as error:
            return self.leave(value, f"{type(error).__name__}: {_shown(error)}")
        return self.leave(value, "of no type that a document may hold")

    def _bytes(self, data: bytes) -> bytes:
        self.room -= len(data)
        return data

    def _array(self, value: Any, depth: int) -> Any:
        """Take an array of NumPy, or a scalar."""
        shape, kind = value.shape, value.dtype.kind
        if shape == () and kind in "biuf" and value.dtype.itemsize <= 8:
            return self.plain(value.item(), depth)
        if kind == "O":
            return _ext(ARRAY, ["|O", list(shape), self.plain(value.ravel().tolist(), depth + 1)])
        if value.nbytes > self.room:
            return self.leave(value, f"an array of {value.nbytes} bytes, {value.dtype} of shape {tuple(shape)}")
        data = self._bytes(value.tobytes())
        form = value.dtype.descr if kind == "V" else value.dtype.str
        return _ext(ARRAY, [self.plain(form, depth + 1), list(shape), data])

    def leave(self, value: Any, reason: str) -> Any:
        """Leave a value out, and note it.

        Parameters
        ----------
        value : object
            It.
        reason : str
            Why.

        Returns
        -------
        msgspec.msgpack.Ext
            What stands in its place.
        """
        if len(self.unkept) >= _TOLD:
            return _NO_ROOM
        found = Unkept(_clean(type(value).__name__), _clean(f"{reason}; {_shown(value)}"[:400]))
        self.unkept.append(found)
        return _ext(UNKEPT, [found.kind, found.reason])


def _number(value: Any) -> Any:
    """Return a number of a class of its own as int or float; a bool of NumPy is none of them."""
    return int(value) if isinstance(value, int) else float(value)


def _ext(code: int, items: list[Any]) -> Any:
    return msgspec.msgpack.Ext(code, _ENCODER.encode(items))


_NO_ROOM = _ext(UNKEPT, ["", "one of many"])


def _shown(value: Any) -> str:
    """Return how a value begins; nothing is built of a large or endless one."""
    if isinstance(value, str):
        return str.__repr__(value[:_SHOWN])
    if isinstance(value, (bytes, bytearray)):
        return repr(bytes(value[:_SHOWN]))
    try:
        if isinstance(value, (int, dict, list, tuple)) or hasattr(value, "dtype"):
            return f"<{type(value).__name__}>"
        return repr(value)[:_SHOWN]
    except Exception as error:
        return f"<{type(value).__name__} that raises {type(error).__name__}>"


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def encode_words(value: Any, room: int = LARGEST) -> tuple[bytes, list[Unkept]]:
    """Encode a value word for word.

    Parameters
    ----------
    value : object
        None, bool, int of any size, float, text with or without lone surrogates, bytes, lists, tuples, sets,
        mappings with any of these as keys, dates and times, complex numbers, NumPy scalars and arrays.
    room : int
        Bytes, about.

    Returns
    -------
    data : bytes
        MessagePack.
    unkept : list of Unkept
        What could not be kept, in the order it was met; the first hundred.

    Examples
    --------
    >>> data, unkept = encode_words({"n": 2**80, "pair": (1, "a")})
    >>> decode_words(data), unkept
    ({'n': 1208925819614629174706176, 'pair': (1, 'a')}, [])
    """
    words = Words(room)
    try:
        return _ENCODER.encode(words.plain(value)), words.unkept
    except Exception as error:
        # A mapping that changes while it is read, a class that lies of itself.
        words.leave(value, f"{type(error).__name__}: {_shown(error)}")
        return _ENCODER.encode(_ext(UNKEPT, [type(value).__name__, "it could not be read"])), words.unkept


def encode_unkept(value: Unkept) -> bytes:
    """Encode what stands where a value was that could not be kept.

    Parameters
    ----------
    value : Unkept
        As it was decoded.

    Returns
    -------
    bytes
        MessagePack.

    Examples
    --------
    >>> decode_words(encode_unkept(Unkept("object", "of no type")))
    Unkept(kind='object', reason='of no type')
    """
    return _ENCODER.encode(_ext(UNKEPT, [value.kind, value.reason]))


def decode_extension(code: int, data: memoryview) -> Any:
    """Decode an extension value that stands in MessagePack of any origin.

    Parameters
    ----------
    code : int
        Its type.
    data : memoryview
        Its bytes.

    Returns
    -------
    object
        The value; of a type that is none of a document, or whose bytes are something else, it stays an extension.
    """
    try:
        return _ext_hook(code, data)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return msgspec.msgpack.Ext(code, bytes(data))


def decode_words(data: bytes | memoryview) -> Any:
    """Decode what :func:`encode_words` made.

    Parameters
    ----------
    data : bytes or memoryview
        MessagePack.

    Returns
    -------
    object
        Equal to what was encoded; arrays are NumPy arrays.

    Raises
    ------
    msgspec.DecodeError
        If the bytes are something else.
    """
    try:
        return _DECODER.decode(data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def _array_of(form: Any, shape: list[int], data: Any) -> Any:
    import numpy as np

    if form == "|O":
        made = np.empty(len(data), object)
        made[:] = data
        return made.reshape(shape)
    dtype = np.dtype(form if isinstance(form, str) else [tuple(part) for part in form])
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _ext_hook(code: int, data: memoryview) -> Any:
    if code == BIG_INTEGER:
        return int.from_bytes(data, "little", signed=True)
    if code == SURROGATES:
        return bytes(data).decode("utf-8", "surrogatepass")
    items = _DECODER.decode(data)
    if code == TUPLE:
        return tuple(items)
    if code == PAIRS:
        return dict(zip(items[::2], items[1::2], strict=True))
    if code == ARRAY:
        return _array_of(*items)
    if code == COMPLEX:
        return complex(*items)
    if code == SET:
        return (set if items[0] == "set" else frozenset)(items[1:])
    if code == TIME:
        return _DAYS[items[0]].fromisoformat(items[1])
    if code == UNKEPT:
        return Unkept(*items)
    raise ValueError(f"extension type {code} is none of a document")


_DECODER = msgspec.msgpack.Decoder(ext_hook=_ext_hook)

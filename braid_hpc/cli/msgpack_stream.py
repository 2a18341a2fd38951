"""MessagePack objects one after another, as suitcase-msgpack writes them: where each ends, and its arrays of NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["Messages", "arrays_of"]

_CHUNK = 1 << 20

#: Bytes behind the first one of an object that is no container: numbers, nil and truth values have a fixed length.
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4}
_FIXED |= {0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
#: Texts, bytes and extensions: bytes of their length, and what stands between it and as many bytes.
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
#: Lists and mappings: bytes of their length, and objects for each.
_MANY = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


class Messages:
    """The objects of a stream, undecoded.

    Parameters
    ----------
    file : binary file
        Where it is read.
    longest : int
        Bytes that one object may have.

    Attributes
    ----------
    at : int
        Where the object begins that comes next, or could not be read.
    fault : str
        Why there is no further one; empty at the end of the stream.
    """

    def __init__(self, file: BinaryIO, longest: int) -> None:
        self._file = file
        self._longest = longest
        self._data = bytearray()
        self.at = 0
        self.fault = ""

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Read the objects.

        Yields
        ------
        at : int
            Where it begins.
        data : bytes
            It.
        """
        while not self.fault and (self._data or self._more()):
            end = self._end()
            if end is None:
                return
            data = bytes(self._data[:end])
            del self._data[:end]
            at, self.at = self.at, self.at + end
            yield at, data

    def _more(self) -> bool:
        chunk = self._file.read(_CHUNK)
        self._data += chunk
        return bool(chunk)

    def _end(self) -> int | None:
        """Return where the object ends that the data begin with."""
        data, place, left = self._data, 0, 1
        while left:
            # The first byte and a length behind it.
            while len(data) < place + 5 and self._more():
                pass
            if place >= len(data):
                self.fault = "the last object is not complete"
                return None
            first = data[place]
            left -= 1
            if first < 0x80 or first >= 0xE0:
                place += 1
            elif first < 0x90:
                place, left = place + 1, left + 2 * (first & 15)
            elif first < 0xA0:
                place, left = place + 1, left + (first & 15)
            elif first < 0xC0:
                place += 1 + (first & 31)
            elif first in _FIXED:
                place += 1 + _FIXED[first]
            elif first in _SIZED:
                width, between = _SIZED[first]
                place += 1 + width + between + int.from_bytes(data[place + 1 : place + 1 + width], "big")
            elif first in _MANY:
                width, each = _MANY[first]
                left += each * int.from_bytes(data[place + 1 : place + 1 + width], "big")
                place += 1 + width
            else:
                self.fault = f"no MessagePack: byte {first:#x}"
                return None
            if place + left > self._longest:
                self.fault = f"an object of more than {self._longest} bytes"
                return None
            while place > len(data):
                if not self._more():
                    self.fault = "the last object is not complete"
                    return None
        return place


def arrays_of(value: Any) -> Any:
    """Return a decoded value with what msgpack-numpy made of arrays and scalars as these.

    Parameters
    ----------
    value : object
        Nested lists and mappings.

    Returns
    -------
    object
        The same; arrays of objects, which are pickled there, stay what they are: nothing is ever unpickled.

    Raises
    ------
    ValueError, TypeError
        If what says that it is an array is none.
    """
    if type(value) is list:
        return [each if type(each) in _PLAIN else arrays_of(each) for each in value]
    if type(value) is not dict:
        return value
    if b"nd" in value and b"type" in value and b"data" in value and value.get(b"kind", b"") != b"O":
        return _array(value)
    if b"complex" in value:
        data = value[b"data"]
        return complex(data.decode() if isinstance(data, bytes) else data)
    return {key: each if type(each) in _PLAIN else arrays_of(each) for key, each in value.items()}


_PLAIN = frozenset({float, int, str, bool, type(None)})


def _array(value: dict[Any, Any]) -> Any:
    import numpy as np

    described = value[b"type"]
    if isinstance(described, list):
        dtype = np.dtype([tuple(_text(part) for part in field) for field in described])
    else:
        dtype = np.dtype(_text(described))
    if dtype.hasobject:
        raise TypeError("an array of objects")
    if value[b"nd"]:
        return np.frombuffer(value[b"data"], dtype).reshape([int(size) for size in value[b"shape"]])
    return np.frombuffer(value[b"data"], dtype)[0]


def _text(part: Any) -> Any:
    return part.decode() if isinstance(part, bytes) else tuple(part) if isinstance(part, list) else part

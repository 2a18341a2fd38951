"""Canonical forms: one nested structure of plain values for equal arguments, and another one for others.

A form is None, a bool, an integer, a float, a text, bytes, or a list whose first element is a tag: what it is made of
is in ``docs/tasks.md``. Its MessagePack is what a key is the digest of, so it must be the same in every process: sets
and the keys of mappings are sorted by their own encoding, and what has no value of its own is refused.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import math
import os
import sys
import time
import types
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from braid_hpc.run.handles import Record
from braid_hpc.tasks.columns import columns_apart
from braid_hpc.tasks.naming import code_digest, qualified_name
from braid_hpc.tasks.padding import without_padding
from braid_hpc.vocabulary.arrays import array_bytes, is_masked
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.identity import content_of_file, content_of_value
from braid_hpc.vocabulary.regular import open_regular

__all__ = ["MAX_DEPTH", "FormMaker", "Seen", "encode_form", "file_digest"]

#: Deeper than this nothing is looked into: it is likely that something holds itself.
MAX_DEPTH = 64

_ENCODE = msgspec.msgpack.Encoder().encode

#: Types whose text is exact and brings them back.
_TEXTS: dict[type, tuple[str, Callable[[Any], str]]] = {
    datetime.datetime: ("datetime", lambda value: str(value.isoformat())),
    datetime.date: ("date", lambda value: str(value.isoformat())),
    datetime.time: ("time", lambda value: str(value.isoformat())),
    decimal.Decimal: ("decimal", str),
    fractions.Fraction: ("fraction", str),
    uuid.UUID: ("uuid", str),
}

#: A file that was written so lately, nanoseconds, can be written again and keep its size and time.
_RACY_NS = 2_000_000_000

#: Digests of files by path, device, inode, size and modification time, so that each is read once.
_FILES: dict[tuple[Any, ...], tuple[str, int]] = {}

#: So many are known at once, some tens of megabytes: of more the first are read again when they are met again.
_FILES_KNOWN = 1 << 17


@dataclass(slots=True)
class Seen:
    """What was met while forms were made, beside the forms.

    Attributes
    ----------
    records : list of Record
        Handles that stand for arguments.
    files : list of (str, str, int)
        Path, digest and size of each file.
    """

    records: list[Record] = field(default_factory=list)
    files: list[tuple[str, str, int]] = field(default_factory=list)


def encode_form(form: Any) -> bytes:
    """Return the bytes of a form.

    Parameters
    ----------
    form : object
        From :class:`FormMaker`.

    Returns
    -------
    bytes
        MessagePack; equal forms have equal bytes.
    """
    return _ENCODE(form)


def file_digest(path: str) -> tuple[str, int]:
    """Return the digest of a file's bytes.

    Parameters
    ----------
    path : str
        Of a regular file.

    Returns
    -------
    digest : str
        ``blake3:<hex>``. It is read once, as long as size, time, device and inode stay what they are; again and again
        while it was written a moment ago, and again after many others.
    size : int
        Bytes.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open_regular(Path(os.path.abspath(path))) as file:
        stat = os.fstat(file.fileno())
        known = (path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if (found := _FILES.get(known)) is None:
            content = content_of_file(file)
            found = content.digest, content.size or 0
            if abs(time.time_ns() - stat.st_mtime_ns) > _RACY_NS:
                _FILES[known] = found
                if len(_FILES) > _FILES_KNOWN:
                    # Many at once: a mapping is slow to find its first entry where others were before it.
                    for each in list(_FILES)[: _FILES_KNOWN // 2]:
                        _FILES.pop(each, None)
    return found


class FormMaker:
    """Makes forms.

    Parameters
    ----------
    inline : bool
        For results: arrays by their bytes and not by their digest, mappings in their own order, and NaN allowed, so
        that the value comes back.
    stands_for : callable, optional
        Gives the digest, and the handle, that count for an object; None for one that counts by itself.
    digest_of : callable, optional
        Gives the digest of what a handle declares, None where it is not known.
    """

    def __init__(
        self,
        *,
        inline: bool = False,
        stands_for: Callable[[Any], tuple[str, Record] | None] | None = None,
        digest_of: Callable[[Record], str | None] | None = None,
    ) -> None:
        self.seen = Seen()
        self._inline = inline
        self._stands_for = stands_for
        self._digest_of = digest_of

    def form(self, value: Any, what: str = "the value") -> Any:
        """Return the form of a value.

        Parameters
        ----------
        value : object
            Anything.
        what : str
            What it is called in a message.

        Returns
        -------
        object
            Its form.

        Raises
        ------
        InvalidInputError
            If it has none, or holds something that has none.
        NotFoundError
            If it is, or holds, the path of a file that is not there.
        """
        return self._form(value, what, 0)

    def _form(self, value: Any, what: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise InvalidInputError(f"{what} is nested deeper than {MAX_DEPTH} levels, or holds itself: flatten it")
        kind = type(value)
        if value is None or kind is bool or kind is bytes:
            return value
        if kind is str:
            return _text(value)
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 64 else ["int", _digits(value, what)]
        if kind is float:
            return self._float(value, what)
        if self._stands_for is not None and (known := self._stands_for(value)) is not None:
            self.seen.records.append(known[1])
            return ["content", known[0]]
        if isinstance(value, Record):
            return self._record(value)
        for make in (self._scalar, self._container, self._thing):
            if (form := make(value, what, depth)) is not None:
                return form
        raise InvalidInputError(f"{what} {_refusal(value)}")

    # ------------------------------------------------------------------ one value

    def _float(self, value: float, what: str) -> float:
        if not self._inline and math.isnan(value):
            raise InvalidInputError(f"{what} is NaN, which is not equal to itself: give None, or a number")
        return value

    def _scalar(self, value: Any, what: str, depth: int) -> Any:
        if isinstance(value, enum.Enum):
            return ["enum", _class_name(value), self._member(value)]
        if getattr(type(value), "dtype", None) is not None and getattr(value, "shape", None) == ():
            return self._number(value, what, depth)
        if isinstance(value, (bytearray, memoryview)):
            return ["bytearray", bytes(value)]
        if isinstance(value, complex):
            return ["complex", self._float(value.real, what), self._float(value.imag, what)]
        if isinstance(value, datetime.timedelta):
            return ["timedelta", value.days, value.seconds, value.microseconds]
        for kind, (tag, text) in _TEXTS.items():
            if isinstance(value, kind):
                return [tag, text(value)]
        # Subclasses of plain types, such as texts of NumPy: what counts is the value.
        plain: Any
        for plain in (str, int, float, bytes):
            if type(value) is not plain and isinstance(value, plain) and not is_dataclass(value):
                return self._form(plain(value), what, depth + 1)
        return None

    def _member(self, value: enum.Enum) -> Any:
        """Return the name of a member of an enumeration; of flags that are none the number, which brings them back."""
        named = isinstance(value.name, str) and (not self._inline or value.name in type(value).__members__)
        return value.name if named else value.value

    def _number(self, value: Any, what: str, depth: int) -> Any:
        """Return the form of a scalar of NumPy: that of the Python number it equals."""
        if is_masked(value):
            raise InvalidInputError(f"{what} is masked, and the number behind the mask does not count: give None")
        # Of times NumPy gives a number without its unit: five nanoseconds are no five months.
        item = value.item() if getattr(value.dtype, "kind", "") not in "mM" else None
        if type(item) in (bool, int, float, complex, str, bytes):
            return self._form(item, what, depth + 1)
        if value.dtype.hasobject:
            return None
        if not self._inline and value.dtype.kind in "fc":
            # A long double: NumPy has no Python number for it, but where it equals one it counts as that.
            plain = complex(value) if value.dtype.kind == "c" else float(value)
            if plain == value or plain != plain:
                return self._form(plain, what, depth + 1)
        return ["scalar", str(value.dtype.str), bytes(array_bytes(without_padding(value)).data)]

    # ------------------------------------------------------------------ what holds others

    def _container(self, value: Any, what: str, depth: int) -> Any:
        if isinstance(value, (list, tuple)):
            # A named tuple is a tuple with names: the names are a part of it.
            names = getattr(value, "_fields", None)
            tag = "list" if isinstance(value, list) else "tuple"
            parts = [self._form(part, f"{what}[{at}]", depth + 1) for at, part in enumerate(value)]
            return [tag, parts] if names is None else ["named", _class_name(value), parts]
        if isinstance(value, (set, frozenset)):
            return self._set(value, what, depth)
        if isinstance(value, Mapping):
            pairs = [
                [self._form(key, f"a key of {what}", depth + 1), self._form(part, f"{what}[{key!r}]", depth + 1)]
                for key, part in value.items()
            ]
            # Two that differ in their order are equal as arguments; what comes back has the order that it had.
            return ["dict", pairs if self._inline else sorted(pairs, key=lambda pair: _ENCODE(pair[0]))]
        if is_dataclass(value) and not isinstance(value, type):
            parts = [[each.name, getattr(value, each.name)] for each in fields(value)]
            return [
                "dataclass",
                _class_name(value),
                [[name, self._form(part, f"{what}.{name}", depth + 1)] for name, part in parts],
            ]
        return None

    def _set(self, value: Any, what: str, depth: int) -> Any:
        kinds = sorted({type(part).__name__ for part in value})
        if len(kinds) > 1:
            raise InvalidInputError(
                f"{what} is a set of {' and '.join(kinds)}, which have no order: give a list, or a set of one type"
            )
        parts = [self._form(part, f"an element of {what}", depth + 1) for part in value]
        return ["set" if isinstance(value, set) else "frozenset", sorted(parts, key=_ENCODE)]

    # ------------------------------------------------------------------ what lies elsewhere

    def _thing(self, value: Any, what: str, depth: int) -> Any:
        if isinstance(value, os.PathLike):
            return self._path(value, what)
        if hasattr(type(value), "__array__") or type(value).__module__ == "array":
            return self._array(value, what, depth)
        if isinstance(value, type):
            return ["class", qualified_name(value)]
        return self._function(value, what)

    def _path(self, value: Any, what: str) -> Any:
        path = os.fspath(value)
        if self._inline:
            return ["path", _text(os.fsdecode(path))]
        path = os.fsdecode(path)
        if os.path.isdir(path):
            raise InvalidInputError(
                f"{what} is the directory {path}: give the files in it, or its name as text if only that counts"
            )
        try:
            digest, size = file_digest(path)
        except OSError as error:
            raise NotFoundError(
                f"{what} is the file {path}, which cannot be read ({error.strerror or error}): "
                f"give its name as text if the task makes it"
            ) from None
        self.seen.files.append((os.path.abspath(path), digest, size))
        return ["file", digest]

    def _array(self, value: Any, what: str, depth: int) -> Any:
        try:
            if self._inline and not _is_kept(value):
                raise InvalidInputError(f"a {_class_name(value)} would come back as another array: give result=")
            labels = _labels(value)
            if not self._inline and (columns := columns_apart(value)) is not None:
                return self._columns(value, columns, labels, what, depth)
            laid = array_bytes(without_padding(value))
        except InvalidInputError as error:
            raise InvalidInputError(f"{what} cannot be told by its content: {error}") from None
        if labels:
            said = [[name, self._form(part, f"{name} of {what}", depth + 1)] for name, part in labels]
            return ["labelled", _class_name(value), said, laid.content().digest]
        if self._inline:
            return ["array", laid.dtype, list(laid.shape), bytes(laid.data)]
        return ["array", laid.dtype, list(laid.shape), laid.content().digest]

    def _columns(
        self, value: Any, columns: list[tuple[Any, Any]], labels: list[tuple[str, Any]], what: str, depth: int
    ) -> Any:
        """Return the form of a table whose columns make no array together, or in which values are missing."""
        said = [[name, self._form(part, f"{name} of {what}", depth + 1)] for name, part in labels]
        parts = [
            [array_bytes(each).content().digest if each is not None else None for each in column] for column in columns
        ]
        return ["labelled", _class_name(value), said, content_of_value(encode_form(parts)).digest]

    def _record(self, value: Record) -> Any:
        self.seen.records.append(value)
        if self._inline:
            return ["handle", bytes(value), value.kind, value.name]
        digest = self._digest_of(value) if self._digest_of is not None else None
        # Without content it is itself and nothing else: another run declares another one.
        return ["content", digest] if digest is not None else ["record", bytes(value)]

    def _function(self, value: Any, what: str) -> Any:
        code, name = getattr(value, "__code__", None), getattr(value, "__qualname__", None)
        module = getattr(value, "__module__", None)
        # What a method is bound to would count too; a builtin function is bound to its module.
        bound = getattr(value, "__self__", None)
        if (
            name is None
            or module is None
            or not callable(value)
            or not (bound is None or isinstance(bound, types.ModuleType))
        ):
            return None
        if "<lambda>" in name:
            raise InvalidInputError(f"{what} is a lambda, which has no name: define it as a function in a module")
        if "<locals>" in name:
            raise InvalidInputError(
                f"{what} is the function {name}, which is defined within another one: define it in a module"
            )
        return ["function", qualified_name(value), code_digest(value) if code is not None else None]


#: Arrays of NumPy's own that count otherwise than others of the same values.
_UNLIKE = ("matrix",)

#: What tables have beside their values.
_LABELS = ("columns", "column_names", "index", "dtypes", "schema")


def _labels(value: Any) -> list[tuple[str, Any]]:
    """Return what an array's values do not say of it: names of columns, an index, a unit; nothing of a plain array."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        if type(value).__module__.partition(".")[0] == "numpy" and type(value).__name__ not in _UNLIKE:
            return []
        own = getattr(value, "__dict__", {})
        return [("class", type(value)), *((name, _plainly(own[name])) for name in sorted(own))]
    if hasattr(value, "coords"):
        raise InvalidInputError("its coordinates are no part of its array: give them and its values")
    # The columns of an Arrow table are its values.
    listed = _LABELS if not hasattr(value, "column_names") else _LABELS[1:]
    found = [(name, getattr(value, name, None)) for name in listed]
    labels = [(name, _plainly(part)) for name, part in found if part is not None and not callable(part)]
    # An index has names of its own; a schema's are those of the columns.
    named = [(name, list(getattr(part, "names", None) or [])) for name, part in found if name != "schema"]
    labels += [(f"names of {name}", _plainly(names)) for name, names in named if set(names) - {None}]
    name = getattr(value, "name", None)
    return [*labels, ("name", _plainly(name))] if labels or (name and not callable(name)) else []


def _is_kept(value: Any) -> bool:
    """Whether an array of NumPy that comes back for it is what it was."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) in (numpy.ndarray, numpy.memmap)


def _plainly(part: Any) -> Any:
    """Return a label in plain values; what has none by its text."""
    part = part.tolist() if hasattr(part, "tolist") else list(part) if isinstance(part, (list, tuple)) else part
    plain = (str, int, float, bool, datetime.datetime, types.NoneType)
    if isinstance(part, list):
        return [each if isinstance(each, plain) else str(each) for each in part]
    return part if isinstance(part, plain) else str(part)


def _digits(value: int, what: str) -> str:
    try:
        return str(value)
    except ValueError:
        raise InvalidInputError(
            f"{what} is an integer of {value.bit_length():,} bits, more than Python writes: give it as bytes"
        ) from None


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        # A name of a file that is no text, for instance.
        return ["text", value.encode("utf-8", "surrogatepass")]
    return value


def _class_name(value: Any) -> str:
    return qualified_name(type(value))


def _refusal(value: Any) -> str:
    """Return why a value has no form, and what to do."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    if hasattr(value, "read") or hasattr(value, "fileno"):
        return f"is an open file ({kind}), which reads differently each time: give its path"
    if hasattr(value, "__next__"):
        return f"is an iterator ({kind}), which gives its values once: give a list"
    return (
        f"is a {kind}, which has no value that stays the same from run to run: give what it is made of, "
        f"or name the argument in ignore="
    )

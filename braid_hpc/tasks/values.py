"""What a task returned, as bytes that bring it back: forms in MessagePack, with arrays by their bytes."""

from __future__ import annotations

import datetime
import decimal
import fractions
import importlib
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from braid_hpc.run.handles import Record
from braid_hpc.tasks.forms import FormMaker, encode_form
from braid_hpc.tasks.naming import MAIN_MODULES, main_prefix
from braid_hpc.vocabulary.arrays import EXTENSIONS
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError

__all__ = ["VALUE_LIMIT", "build_value", "decode_value", "encode_value", "named_object", "plain_value"]

#: A result of more bytes than this is not kept in the log.
VALUE_LIMIT = 64 << 10

_DECODER = msgspec.msgpack.Decoder()


def encode_value(value: Any) -> tuple[bytes | None, str]:
    """Return the bytes of what a task returned.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    encoded : bytes or None
        None if it cannot be kept.
    why : str
        Why not.
    """
    try:
        encoded = encode_form(FormMaker(inline=True).form(value, "the result"))
    except (BraidError, RecursionError, TypeError, ValueError, OverflowError) as error:
        return None, str(error)
    if len(encoded) > VALUE_LIMIT:
        return None, f"the result has {len(encoded):,} bytes, and {VALUE_LIMIT:,} are kept"
    return encoded, ""


def decode_value(encoded: bytes) -> Any:
    """Return what a task returned.

    Parameters
    ----------
    encoded : bytes
        From :func:`encode_value`.

    Returns
    -------
    object
        An equal value.

    Raises
    ------
    InvalidInputError
        If it is of a class that is not there any more, or is another one; or this Python cannot make it.
    """
    try:
        return build_value(_DECODER.decode(encoded))
    except BraidError:
        raise
    except Exception as error:
        # Making it runs code of the program's modules and classes, and of packages that may not be here.
        raise InvalidInputError(f"{type(error).__name__}: {error}") from error


def plain_value(form: Any) -> Any:
    """Return what a form says, in lists and mappings of plain values, for SQL and people.

    Parameters
    ----------
    form : object
        A form.

    Returns
    -------
    object
        Without importing anything: arrays are lists where NumPy is there, and described where not.
    """
    if not isinstance(form, list):
        return form
    tag, *rest = form
    if tag in ("list", "tuple", "set", "frozenset"):
        return [plain_value(part) for part in rest[0]]
    if tag == "named":
        return [plain_value(part) for part in rest[1]]
    if tag == "dict":
        return {_as_key(key): plain_value(part) for key, part in rest[0]}
    if tag == "dataclass":
        return {name: plain_value(part) for name, part in rest[1]}
    if tag == "enum":
        return rest[1]
    if tag == "int":
        return _as_integer(rest[0])
    if tag == "array":
        return _array_as_list(*rest)
    if tag == "content":
        return rest[0]
    if tag == "file":
        return rest[0]
    return rest[0] if len(rest) == 1 else rest


def _as_key(form: Any) -> str:
    plain = plain_value(form)
    return plain if isinstance(plain, str) else str(plain)


def _as_integer(digits: str) -> Any:
    try:
        return int(digits)
    except ValueError:
        # Of more digits than this Python reads: who wrote it may have allowed itself more.
        return digits


def _array_as_list(dtype: str, shape: list[int], data: Any) -> Any:
    if not isinstance(data, bytes):
        return data
    try:
        return _array(dtype, shape, data).tolist()
    except (ImportError, AttributeError, TypeError, ValueError):
        # Of a package that is not here, or a type that this machine does not have.
        return f"array of {dtype}, shape {shape}"


def _array(dtype: str, shape: list[int], data: bytes) -> Any:
    import numpy

    if dtype in EXTENSIONS:
        kind = numpy.dtype(getattr(importlib.import_module("ml_dtypes"), dtype))
    elif dtype.startswith("["):
        import ast

        kind = numpy.dtype(ast.literal_eval(dtype))
    else:
        kind = numpy.dtype(dtype)
    return numpy.frombuffer(bytearray(data), kind).reshape(shape)


def build_value(form: Any) -> Any:
    """Return the value of a form.

    Parameters
    ----------
    form : object
        From :class:`braid_hpc.tasks.forms.FormMaker`; arrays by their bytes.

    Returns
    -------
    object
        The value.

    Raises
    ------
    InvalidInputError
        If it does not hold the value: of a file, an array or a record there is only a digest; or if a class is not
        there any more.
    """
    if not isinstance(form, list):
        return form
    tag, *rest = form
    make = _BUILDERS.get(tag)
    if make is None:
        raise InvalidInputError(f"only the digest of a value is on record ({tag}), and not the value")
    return make(*rest)


def _built(parts: list[Any]) -> list[Any]:
    return [build_value(part) for part in parts]


def _dataclass(name: str, parts: list[Any]) -> Any:
    import dataclasses

    kind: Any = named_object(name)
    values = {each: build_value(part) for each, part in parts}
    if not hasattr(kind, "__dataclass_fields__") or {each.name for each in dataclasses.fields(kind)} != values.keys():
        raise InvalidInputError(f"{name} is not the dataclass that it was: it has other fields")
    made = kind.__new__(kind)
    for each, value in values.items():
        object.__setattr__(made, each, value)
    return made


def _enum(name: str, member: str | int) -> Any:
    try:
        kind = named_object(name)
        return kind[member] if isinstance(member, str) else kind(member)
    except (KeyError, TypeError, ValueError):
        raise InvalidInputError(f"{name} has no {member} any more") from None


def _array_of(dtype: str, shape: list[int], data: Any) -> Any:
    if not isinstance(data, bytes):
        raise InvalidInputError("only the digest of an array is on record, and not the array")
    return _array(dtype, shape, data)


def named_object(name: str) -> Any:
    """Return what a qualified name means.

    Parameters
    ----------
    name : str
        From :func:`braid_hpc.tasks.naming.qualified_name`.

    Returns
    -------
    object
        It.

    Raises
    ------
    NotFoundError
        If it cannot be imported.
    """
    found: Any
    for module in MAIN_MODULES:
        # Not imported a second time: its classes would be others.
        if module in sys.modules and name.startswith(prefix := main_prefix(module)):
            found = sys.modules[module]
            for part in name.removeprefix(prefix).split("."):
                found = getattr(found, part, None)
            if found is not None:
                return found
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        try:
            for part in parts[cut:]:
                found = getattr(found, part)
        except AttributeError:
            break
        return found
    raise NotFoundError(f"{name} cannot be imported here: it was moved or renamed, or its module is not on sys.path")


_BUILDERS: dict[str, Callable[..., Any]] = {
    "int": int,
    "text": lambda data: data.decode("utf-8", "surrogatepass"),
    "bytearray": bytearray,
    "complex": complex,
    "timedelta": lambda days, seconds, micro: datetime.timedelta(days, seconds, micro),
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "decimal": decimal.Decimal,
    "fraction": fractions.Fraction,
    "uuid": uuid.UUID,
    "list": _built,
    "tuple": lambda parts: tuple(_built(parts)),
    "set": lambda parts: set(_built(parts)),
    "frozenset": lambda parts: frozenset(_built(parts)),
    "named": lambda name, parts: named_object(name)(*_built(parts)),
    "dict": lambda pairs: {build_value(key): build_value(part) for key, part in pairs},
    "dataclass": _dataclass,
    "enum": _enum,
    "array": _array_of,
    "handle": lambda data, kind, name: replace(Record.from_bytes(data), kind=kind, name=name),
    "path": lambda text: Path(build_value(text)),
    "class": named_object,
    "function": lambda name, code: named_object(name),
    "scalar": lambda dtype, data: _array(dtype, [], data)[()],
}

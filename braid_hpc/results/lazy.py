"""A result that is read when it is first used."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.run.handles import RECORDS, Record

if TYPE_CHECKING:
    from braid_hpc.results.result import Target
    from braid_hpc.results.written import Written

__all__ = ["Lazy", "loaded"]

#: How names begin under which libraries look for data, for which a value is read.
_PROTOCOLS = ("__array", "__arrow", "__dlpack")


class Lazy:
    """Stands for a value until something is asked of it: then the file is read, and its digest held against it.

    It passes attributes, items, iteration, comparison, arithmetic and NumPy's ``__array__`` on to the value, so that
    most programs need not know that it is there. What looks at the type, such as ``json.dumps``, wants the value
    itself: :func:`loaded`. It goes to other processes without the value.

    Parameters
    ----------
    target : Target
        What reads the value.
    written : Written
        What was recorded of the file.
    record : Record, optional
        The recorded output, which :func:`braid_hpc.record_of` then gives.
    otherwise : callable, optional
        Called without arguments for the value where the file is gone or another one; without it that is an error.
    value : tuple of object
        The value, where it is in memory; empty otherwise.
    """

    # No other attributes: every name is the value's.
    __slots__ = ("__weakref__", "_lazy")

    def __init__(
        self,
        target: Target,
        written: Written,
        *,
        record: Record | None = None,
        otherwise: Callable[[], Any] | None = None,
        value: tuple[Any, ...] = (),
    ) -> None:
        self._lazy = _Unread(target, written, record, otherwise)
        if value:
            self._lazy.read, self._lazy.value = True, loaded(value[0])
        if record:
            RECORDS.remember(self, record)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without the value."""
        held = self._lazy
        return _made_again, (held.target, held.written, held.record, held.otherwise)

    def __repr__(self) -> str:
        """Say where the value is, or show it."""
        held = self._lazy
        return repr(held.value) if held.read else f"<result at {held.target.uri}, not read yet>"

    def __str__(self) -> str:
        """Return the value's text."""
        return str(self._lazy.load())

    def __getattr__(self, name: str) -> Any:
        """Return what the value has.

        Raises
        ------
        AttributeError
            If it does not; or it is not read yet, and the name is one that Python and libraries look for on anything.
        """
        if name.startswith("__") and not name.startswith(_PROTOCOLS) and not self._lazy.read:
            raise AttributeError(f"{name} is not asked of a result that was not read yet")
        return getattr(self._lazy.load(), name)

    def __array__(self, *given: Any, **named: Any) -> Any:
        """Return the value as an array of NumPy."""
        import numpy

        value = self._lazy.load()
        return value.__array__(*given, **named) if hasattr(value, "__array__") else numpy.array(value, *given, **named)

    def __iter__(self) -> Iterator[Any]:
        """Return the value's iterator."""
        return iter(self._lazy.load())

    def __bool__(self) -> bool:
        """Whether the value is true."""
        return bool(self._lazy.load())

    def __hash__(self) -> int:
        """Return the value's hash.

        Raises
        ------
        TypeError
            If it has none.
        """
        return hash(self._lazy.load())


def loaded(value: Any) -> Any:
    """Give the value that may not have been read yet.

    Parameters
    ----------
    value : object
        A :class:`Lazy`, or any other value.

    Returns
    -------
    object
        The value itself.

    Raises
    ------
    NotFoundError
        If its file is gone.
    ConflictError
        If its file is not the recorded one.
    StorageError
        If it cannot be read.

    Examples
    --------
    >>> loaded(3)
    3
    """
    return value._lazy.load() if isinstance(value, Lazy) else value


class _Unread:
    """What is behind a :class:`Lazy`."""

    __slots__ = ("_lock", "otherwise", "read", "record", "target", "value", "written")

    def __init__(
        self, target: Target, written: Written, record: Record | None, otherwise: Callable[[], Any] | None
    ) -> None:
        self.target, self.written, self.record, self.otherwise = target, written, record, otherwise
        self.read, self.value, self._lock = False, None, threading.Lock()

    def load(self) -> Any:
        """Read the value, once for all threads."""
        from braid_hpc.vocabulary.errors import ConflictError, NotFoundError

        with self._lock:
            if not self.read:
                try:
                    self.value = self.target.read(digest=self.written.digest)
                except (ConflictError, NotFoundError):
                    if self.otherwise is None:
                        raise
                    self.value = loaded(self.otherwise())
                self.read = True
        return self.value


def _made_again(target: Target, written: Written, record: Record | None, otherwise: Callable[[], Any] | None) -> Lazy:
    return Lazy(target, written, record=record, otherwise=otherwise)


def _forward(name: str, call: Callable[..., Any]) -> None:
    def method(self: Lazy, *others: Any) -> Any:
        return call(self._lazy.load(), *map(loaded, others))

    method.__name__ = name
    method.__doc__ = f"Return what the value's ``{name}`` gives."
    setattr(Lazy, name, method)


def _reflect(name: str, call: Callable[..., Any]) -> None:
    def method(self: Lazy, other: Any) -> Any:
        return call(other, self._lazy.load())

    method.__name__ = name
    method.__doc__ = f"Return what the value's ``{name}`` gives."
    setattr(Lazy, name, method)


# Python looks for these on the class, not on the object.
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "getitem", "contains", "neg", "pos", "abs", "invert", "index"):
    _forward(f"__{_name}__", getattr(operator, _name))
for _name, _call in (("len", len), ("int", int), ("float", float), ("complex", complex), ("bytes", bytes)):
    _forward(f"__{_name}__", _call)
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor"):
    _forward(f"__{_name.rstrip('_')}__", getattr(operator, _name))
    _reflect(f"__r{_name.rstrip('_')}__", getattr(operator, _name))

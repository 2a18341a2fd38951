"""Files that libraries open in C, where no audit hook sees them: their own functions are wrapped while somebody looks.

Wrapped are ``h5py.File`` and ``torch.save``, as soon as the program imports these packages.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from typing import Any

__all__ = ["watch_libraries"]

#: Is given a path and a mode, as for :func:`open`.
Note = Callable[[Any, str], None]

_notes: list[Note] = []
#: What undoes the wrapping, by package.
_wrapped: dict[str, Callable[[], None]] = {}


def watch_libraries(note: Note) -> Callable[[], None]:
    """Have a callable told of the files that are opened in C.

    Parameters
    ----------
    note : callable
        Is given path and mode after a file was opened. It must not raise.

    Returns
    -------
    callable
        Ends that; with the last one, the functions of the libraries are their own again.
    """
    _notes.append(note)
    if len(_notes) == 1:
        sys.meta_path.insert(0, _FINDER)
        for name, wrap in _WRAPPING.items():
            if name in sys.modules:
                _wrap(name, wrap)

    def forget() -> None:
        if note in _notes:
            _notes.remove(note)
        if not _notes:
            while _FINDER in sys.meta_path:
                sys.meta_path.remove(_FINDER)
            while _wrapped:
                _wrapped.popitem()[1]()

    return forget


def _tell(path: Any, mode: Any) -> None:
    if isinstance(path, (str, bytes, os.PathLike)) and isinstance(mode, str) and mode:
        for note in _notes[:]:
            note(path, mode)


def _wrap(name: str, wrap: Callable[[Any], Callable[[], None] | None]) -> None:
    # A module that is being imported by another thread, or was not imported to its end, has no such function yet.
    if name not in _wrapped and (undo := wrap(sys.modules[name])) is not None:
        _wrapped[name] = undo


def _wrap_h5py(module: Any) -> Callable[[], None] | None:
    kind = getattr(module, "File", None)
    begin: Any = vars(kind).get("__init__") if isinstance(kind, type) else None
    if begin is None:
        return None

    @functools.wraps(begin)
    def opened(self: Any, name: Any, mode: str = "r", *args: Any, **about: Any) -> None:
        begin(self, name, mode, *args, **about)
        _tell(name, mode)

    return _replaced(kind, "__init__", opened)


def _wrap_torch(module: Any) -> Callable[[], None] | None:
    save = getattr(module, "save", None)
    if not callable(save):
        return None

    @functools.wraps(save)
    def saved(obj: Any, f: Any, *args: Any, **about: Any) -> Any:
        result = save(obj, f, *args, **about)
        _tell(f, "w")
        return result

    return _replaced(module, "save", saved)


def _replaced(owner: Any, name: str, function: Any) -> Callable[[], None]:
    own = getattr(owner, name)
    setattr(owner, name, function)

    def undo() -> None:
        # Somebody else may have wrapped it once more: then it stays, and tells nobody.
        if getattr(owner, name) is function:
            setattr(owner, name, own)

    return undo


_WRAPPING: dict[str, Callable[[Any], Callable[[], None] | None]] = {"h5py": _wrap_h5py, "torch": _wrap_torch}


class _Finder(MetaPathFinder):
    """Wraps functions of a package when it has been imported."""

    def __init__(self) -> None:
        self._asking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return where a package is, as the other finders say; None for all that are not wrapped."""
        if name not in _WRAPPING or self._asking:
            return None
        self._asking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        loader = None if spec is None else spec.loader
        if loader is None or not hasattr(loader, "exec_module"):
            return spec
        execute = loader.exec_module

        def execute_and_wrap(module: Any) -> None:
            execute(module)
            if _notes:
                _wrap(name, _WRAPPING[name])

        loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


_FINDER = _Finder()

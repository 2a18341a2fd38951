"""Where below its directory a result lies: from a template or a callable, and the arguments of the call."""

from __future__ import annotations

import inspect
import os
import string
from collections.abc import Callable, Mapping

from braid_hpc.results.local import ASIDE
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["TargetName", "check_path", "path_of"]

#: ``"{cell_id}.npy"``, or what gives such a name when it is called with arguments of the task by their names.
TargetName = str | Callable[..., str]

#: What file systems take for one name, bytes.
_LONGEST = 255


def path_of(target: TargetName, arguments: Mapping[str, object]) -> str:
    """Give the path of a result, before its task runs.

    Parameters
    ----------
    target : str or callable
        A template with names of arguments in braces, ``str.format``'s way; or a callable, which gets those arguments
        by name that it takes, and all of them if it takes ``**others``.
    arguments : mapping of str to object
        Of the call, defaults included.

    Returns
    -------
    str
        Relative, with ``/`` between its parts.

    Raises
    ------
    InvalidInputError
        If an argument that it names is not there, it cannot be made of them, or it leads out of its directory.

    Examples
    --------
    >>> path_of("{cell_id:04d}.npy", {"cell_id": 7, "scale": 2.0})
    '0007.npy'
    >>> path_of(lambda cell_id: f"cells/{cell_id}.npy", {"cell_id": 7, "scale": 2.0})
    'cells/7.npy'
    """
    if isinstance(target, str):
        return check_path(_formatted(target, arguments), target)
    if not callable(target):
        raise InvalidInputError(f"target= is a text such as '{{cell_id}}.npy', or a callable, not {target!r}")
    try:
        made = target(**_taken(target, arguments))
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError(f"target= cannot be called: {type(error).__name__}: {error}") from error
    if isinstance(made, os.PathLike):
        made = os.fspath(made)
    if not isinstance(made, str):
        raise InvalidInputError(f"target= gives a text, not {made!r}")
    return check_path(made, getattr(target, "__name__", "target="))


def check_path(path: str, said: str) -> str:
    """Refuse a path that is not one file inside its directory.

    Parameters
    ----------
    path : str
        Relative.
    said : str
        What it was made of, for the message.

    Returns
    -------
    str
        The path.

    Raises
    ------
    InvalidInputError
        If it is absolute or empty, has a part that is empty, ``.`` or ``..``, or a name that no file can have or that
        is one of those that are used while writing.
    """
    wrong = _fault(path)
    if wrong:
        of = "" if said == path else f" (of {said!r})"
        raise InvalidInputError(f"target {path!r}{of} {wrong}: a target is a path inside the directory of its result")
    return path


def _fault(path: str) -> str:
    parts = path.split("/")
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if ".." in parts:
        return "leads upwards"
    if "" in parts or "." in parts:
        return "has an empty part"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        return "has a control character"
    if any(part.startswith(ASIDE) for part in parts):
        return f"has a name that begins with {ASIDE}"
    return f"has a name of more than {_LONGEST} bytes" if longest > _LONGEST else ""


def _formatted(template: str, arguments: Mapping[str, object]) -> str:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        for name in names:
            if not name.isidentifier():
                raise InvalidInputError(
                    f"target {template!r} takes arguments by their plain names, not by {name!r}: "
                    "give a callable for anything else"
                )
            if name not in arguments:
                raise InvalidInputError(f"target {template!r} wants {name}, and the call has {_listed(arguments)}")
        return template.format(**arguments)
    except InvalidInputError:
        raise
    except Exception as error:
        # Also what an argument's own __format__ raises.
        raise InvalidInputError(f"target {template!r} cannot be made: {error}") from error


def _taken(target: Callable[..., str], arguments: Mapping[str, object]) -> dict[str, object]:
    """Give the arguments that a callable takes."""
    try:
        wanted = inspect.signature(target).parameters.values()
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"target= is a callable without a signature: {error}") from error
    if any(each.kind is each.VAR_KEYWORD for each in wanted):
        return dict(arguments)
    given = {}
    for each in wanted:
        if each.name in arguments:
            given[each.name] = arguments[each.name]
        elif each.default is each.empty and each.kind is not each.VAR_POSITIONAL:
            raise InvalidInputError(f"target= wants {each.name}, and the call has {_listed(arguments)}")
    return given


def _listed(arguments: Mapping[str, object]) -> str:
    return ", ".join(sorted(arguments)) or "no arguments"

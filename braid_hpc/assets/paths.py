"""Where files of detectors are today: roots and uris of documents, and maps for what was moved."""

from __future__ import annotations

import os
import posixpath
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

__all__ = ["Place", "RootMap", "place_of", "plain_root"]

_HERE = ("", "localhost")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the external data of a resource are.

    Attributes
    ----------
    path : str
        Absolute, today.
    recorded : str
        As the documents have it.
    mapped : bool
        Whether a root map says so.
    """

    path: str
    recorded: str
    mapped: bool


class RootMap:
    """Beginnings of paths, and what stands in their place today; the longest one that fits counts.

    Parameters
    ----------
    roots : mapping of str to path-like, optional
        Both are paths or ``file:`` uris; they are replaced in whole parts, ``/data`` not in ``/data2``. An empty one
        stands for resources whose path is relative and that have no root.

    Raises
    ------
    InvalidInputError
        If it is no such mapping.
    """

    def __init__(self, roots: Mapping[Any, Any] | None = None) -> None:
        if roots is None:
            roots = {}
        if not isinstance(roots, Mapping):
            raise InvalidInputError(f"root_map= is a mapping of paths to paths, not {type(roots).__name__}")
        found = []
        for old, new in roots.items():
            if not all(isinstance(each, (str, os.PathLike)) and "\0" not in str(each) for each in (old, new)):
                raise InvalidInputError(f"root_map= has {old!r}: {new!r}, and both are to be paths or file: uris")
            target = os.path.abspath(plain_root(os.fspath(new)))
            if not str(new):
                raise InvalidInputError(f"root_map= has nothing in place of {str(old)!r}")
            found.append((plain_root(os.fspath(old)), target))
        self._roots = sorted(found, key=lambda pair: -len(pair[0]))

    def apply(self, path: str) -> str | None:
        """Return where a path leads today.

        Parameters
        ----------
        path : str
            As it was recorded, normalised; or a uri that names no file of this machine.

        Returns
        -------
        str or None
            None if no root fits.
        """
        for old, new in self._roots:
            if not old:
                if not path.startswith("/") and ":" not in path.partition("/")[0]:
                    return posixpath.join(new, path)
                continue
            head = old.rstrip("/")
            if path == head or path.startswith(head + "/"):
                return posixpath.join(new, path[len(head) + 1 :]).rstrip("/") or "/"
        return None


def place_of(document: Mapping[str, Any], roots: RootMap) -> Place:
    """Return where a resource's data are.

    Parameters
    ----------
    document : mapping
        A resource (``root`` and ``resource_path``) or a stream resource (``uri``).
    roots : RootMap
        What was moved.

    Returns
    -------
    Place
        Nothing is looked at there.

    Raises
    ------
    InvalidInputError
        If it says no place, or its path leads out of its root.
    NotFoundError
        If that is no file of this machine, and no root fits.
    """
    uri = document.get("uri")
    recorded = _plain_uri(uri) if isinstance(uri, str) and uri else _joined(document)
    if "\0" in recorded:
        raise InvalidInputError(f"{recorded!r} is not a path")
    path = roots.apply(recorded)
    if path is not None:
        return Place(path, recorded, True)
    if not recorded.startswith("/"):
        raise NotFoundError(
            f"{recorded} is no file of this machine: say with root_map={{...}} where its files are, if they are here"
        )
    return Place(recorded, recorded, False)


def _joined(document: Mapping[str, Any]) -> str:
    """Return the path of a root and what lies below it; it never leads out of the root."""
    path, root = document.get("resource_path"), document.get("root") or ""
    if not isinstance(path, str) or not isinstance(root, str) or not (path or root):
        raise InvalidInputError(f"resource {document.get('uid')!r} does not say where its data are")
    if document.get("path_semantics") == "windows":
        path, root = PureWindowsPath(path).as_posix(), PureWindowsPath(root).as_posix() if root else ""
    if not root:
        return posixpath.normpath(path)
    root = posixpath.normpath(root)
    inside = root.rstrip("/") + "/"
    # Some write the whole path although there is a root.
    whole = posixpath.normpath(path if path.startswith(inside) else posixpath.join(root, path.lstrip("/")))
    if whole != root and not whole.startswith(inside):
        raise InvalidInputError(f"resource_path {path!r} leads out of its root {root}: it is not followed")
    return whole


def plain_root(text: str) -> str:
    """Return the beginning of paths in the form in which they are compared.

    Parameters
    ----------
    text : str
        A path, of Windows too, or a uri.

    Returns
    -------
    str
        Of a uri of a file its path; normalised, with slashes.
    """
    if text.startswith("file:"):
        return _plain_uri(text)
    text = PureWindowsPath(text).as_posix() if "\\" in text else text
    return posixpath.normpath(text) if text.startswith("/") else text.rstrip("/")


def _plain_uri(uri: str) -> str:
    """Return the path of a uri of a file of this machine; another uri stays as it is."""
    if uri.startswith("/"):
        return _normal(uri)
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise InvalidInputError(f"{uri!r} is no uri: {error}") from None
    if parts.scheme == "file" and (parts.netloc in _HERE or parts.netloc == socket.gethostname()):
        # What urlsplit takes for a query or a fragment may stand in names of files.
        rest = uri[len("file:") :]
        path = rest[2 + len(parts.netloc) :] if rest.startswith("//") else rest
        return _normal(unquote(path))
    return uri


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))

"""Which collectors are installed: ours, and those that others add through the entry points :data:`GROUP`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Any

from braid_hpc.vocabulary.errors import MissingExtraError, NotFoundError

__all__ = ["GROUP", "Installed", "installed", "load"]

#: The group of entry points that a package names its collectors in.
GROUP = "braid_hpc.collectors"


@dataclass(frozen=True, slots=True)
class Installed:
    """A collector that is installed, and was not imported.

    Attributes
    ----------
    name : str
        As its package names it.
    target : str
        ``module:object``.
    package, version : str
        What brings it.
    """

    name: str
    target: str
    package: str
    version: str


def installed() -> list[Installed]:
    """List the collectors of all installed packages, without importing any.

    Returns
    -------
    list of Installed
        By name.

    See Also
    --------
    load : import one of them.

    Examples
    --------
    >>> all(found.target for found in installed())
    True
    """
    found = set()
    for point in metadata.entry_points(group=GROUP):
        package = point.dist
        # The same package may be on the path twice, as an editable install is beside its own sources.
        about = (package.name, package.version) if package is not None else ("", "")
        found.add((point.name, point.value, *about))
    return [Installed(*about) for about in sorted(found)]


def load(name: str) -> Any:
    """Import a collector.

    Parameters
    ----------
    name : str
        Its name, as :func:`installed` lists it.

    Returns
    -------
    object
        What its package names: a class or a function.

    Raises
    ------
    NotFoundError
        If no package has a collector of that name.
    MissingExtraError
        If it cannot be imported.
    """
    points = metadata.entry_points(group=GROUP, name=name)
    if not points:
        known = ", ".join(sorted({found.name for found in installed()})) or "none"
        raise NotFoundError(f"there is no collector {name!r}: installed are {known}")
    point = next(iter(points))
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise MissingExtraError(f"collector {name!r} ({point.value}) cannot be imported: {error}") from error

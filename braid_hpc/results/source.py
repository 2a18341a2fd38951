"""What a flow begins with: a file at any url, recorded by its content, and read when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid_hpc.results.lazy import Lazy
from braid_hpc.results.members import place_of
from braid_hpc.results.result import Target
from braid_hpc.results.serializer import Serializer, serializer_for
from braid_hpc.results.written import Written
from braid_hpc.run.job import current_run
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_file

__all__ = ["source"]


def source(
    url: str, *, serializer: Serializer | None = None, name: str | None = None, options: Mapping[str, Any] | None = None
) -> Any:
    """Take a file as the beginning of a flow, wherever it lies.

    All its bytes are read for the digest. As an argument of a task it counts by that: a file with other bytes is
    another call, the same file at another place is not.

    Parameters
    ----------
    url : str
        A path, or a url that fsspec knows.
    serializer : Serializer, optional
        What reads it; by default the one that belongs to its ending.
    name : str, optional
        Of the record; by default the url.
    options : mapping, optional
        For fsspec.

    Returns
    -------
    Lazy
        Read when something is asked of it.

    Raises
    ------
    InvalidInputError
        If the url names no file, or no serializer belongs to its ending.
    MissingExtraError
        If a package is not installed.
    NotFoundError
        If there is no file.
    StorageError
        If it cannot be read.
    """
    if not isinstance(url, str) or not url:
        raise InvalidInputError(f"a source is a path or a url, not {url!r}")
    storage, path = place_of(url, options)
    reads = serializer or serializer_for(path)
    ready = getattr(reads, "ready", None)
    if ready is not None:
        ready()
    storage.ready()
    target = Target(storage, path, reads)
    with storage.open(path) as file:
        content = content_of_file(file)
    seen = storage.look(path)
    written = Written(
        target.uri,
        content.size or 0,
        None if seen is None else seen.mtime_ns,
        content.digest,
        media_type=reads.media_type,
    )
    run = current_run()
    record = run.record("data", name or url, uri=target.uri, digest=content.digest, size=written.size)
    return Lazy(target, written, record=record or None)

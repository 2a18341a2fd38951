"""Small files whose bytes are in the store: what there is, their bytes, and removing what they came from."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from braid_hpc.vocabulary.errors import ConflictError, CorruptLogError, NotFoundError
from braid_hpc.vocabulary.identity import content_of_bytes, content_of_file
from braid_hpc.vocabulary.regular import open_regular
from braid_hpc.vocabulary.small_files import ATTACHED
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened
    from braid_hpc.store.tables import Table

__all__ = ["attached_files", "read_attached", "remove_attached"]

_COLUMNS = "name, path, digest, size, form, _run as run, _rank as rank, _time as time"


def _place(store: Opened) -> str | None:
    found = store._asked("select min(place) as place from stream_rows where stream = ?", [ATTACHED])["place"][0]
    there = store._asked(
        "select 1 from information_schema.tables where table_schema = 'stream' and table_name = ?", [found]
    )
    return f"stream.{quoted(found)}" if found is not None and len(there) else None


def attached_files(store: Opened) -> Table:
    """Return the files that were attached.

    Parameters
    ----------
    store : Opened
        The store.

    Returns
    -------
    Table
        ``name``, ``path``, ``digest``, ``size``, ``form`` (``left`` if its bytes stayed where they were), ``run``,
        ``rank`` and ``time``, in the order of names and times.
    """
    place = _place(store)
    if place is None:
        names = ("name", "path", "digest", "size", "form", "run", "rank", "time")
        return store._asked(f"select {', '.join(f'null::varchar as {name}' for name in names)} where false")
    return store._asked(f"select {_COLUMNS} from {place} order by name, _time, _writer, _row")


def read_attached(store: Opened, name: str) -> bytes:
    """Return the bytes of a file that was attached.

    Parameters
    ----------
    store : Opened
        The store.
    name : str
        Its name, of which the newest one is meant; or the digest of its bytes.

    Returns
    -------
    bytes
        Verified by their digest.

    Raises
    ------
    NotFoundError
        If no such file was attached, or its bytes stayed where they were.
    CorruptLogError
        If they do not carry their digest.
    """
    place = _place(store)
    found = (
        store._asked(
            f"select digest, form, path from {place} where name = ? or digest = ? "
            "order by _time desc, _writer, _row desc limit 1",
            [name, name],
        ).to_pylist()
        if place is not None
        else []
    )
    if not found:
        raise NotFoundError(f"no file {name!r} was attached in {store.path.name}: 'braid files list' has them")
    if found[0]["form"] == "left":
        raise NotFoundError(
            f"the bytes of {name} are not in the store: they were too many, and are in {found[0]['path']}"
        )
    return _bytes(store, place or "", found[0]["digest"])


def _bytes(store: Opened, place: str, digest: str) -> bytes:
    rows = store._asked(
        f"select form, data from {place} where digest = ? and form in ('zlib', 'plain') limit 1", [digest]
    ).to_pylist()
    if not rows:
        raise NotFoundError(f"the bytes with the digest {digest} are in a log that is not in this store")
    try:
        data = zlib.decompress(rows[0]["data"]) if rows[0]["form"] == "zlib" else bytes(rows[0]["data"])
    except zlib.error as error:
        raise CorruptLogError(f"the bytes with the digest {digest} are damaged ({error})") from None
    if content_of_bytes(data).digest != digest:
        raise CorruptLogError(f"the bytes with the digest {digest} do not carry it")
    return data


def remove_attached(store: Opened, names: list[str] | None = None, *, dry_run: bool = False) -> list[Path]:
    """Remove files from disk whose bytes are in the store.

    A file goes only after its bytes were read from the store and carry their digest, and if it still has that digest.

    Parameters
    ----------
    store : Opened
        The store.
    names : list of str, optional
        Of files; without it all that were attached.
    dry_run : bool
        Only return what would be removed.

    Returns
    -------
    list of Path
        What was removed; what is not there any more is passed over.

    Raises
    ------
    NotFoundError
        If a file of these names was not attached, or the bytes of one are not in the store.
    ConflictError
        If a file has changed since it was attached.
    CorruptLogError
        If bytes in the store do not carry their digest.
    OSError
        If a file cannot be read or removed.
    """
    place = _place(store)
    rows = attached_files(store).to_pylist()
    if names is not None and (unknown := set(names) - {row["name"] for row in rows}):
        raise NotFoundError(f"no file {min(unknown)!r} was attached in {store.path.name}")
    newest = {row["path"]: row for row in rows if names is None or row["name"] in names}
    removed: list[Path] = []
    for path, row in sorted(newest.items()):
        file = Path(path)
        if row["form"] == "left" or not file.exists():
            continue
        _bytes(store, place or "", row["digest"])
        with open_regular(file) as opened:
            now = content_of_file(opened).digest
        if now != row["digest"]:
            raise ConflictError(f"{file} has changed since it was attached: it stays")
        removed.append(file)
        if not dry_run:
            file.unlink()
    return removed

"""Reading node bundles: what each file was when it was last read, put together from pieces in a temporary directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from braid_hpc.log.bundle import (
    BUNDLE_FORMAT,
    BUNDLE_MAJOR,
    BUNDLE_SUFFIX,
    DESCRIPTION,
    ZEROS_LEFT_OUT,
    Member,
    members_of,
    piece_of,
)
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.scratch import make_scratch
from braid_hpc.vocabulary.errors import (
    BraidWarning,
    CorruptLogError,
    FormatTooNewError,
    NotFoundError,
    StorageError,
)

__all__ = ["BundleIndex", "find_bundles", "index_bundles", "opened_logs", "tell_refused", "unpack_writer"]

#: A description has some 300 bytes.
_LONGEST_DESCRIPTION = 64 << 10


@dataclass(slots=True)
class _Place:
    """A piece, and the bundle that it stands in."""

    bundle: Path
    member: Member


@dataclass(slots=True)
class _File:
    """What bundles hold of one file: for each place the pieces that were ever read there."""

    latest: Member | None = None
    places: dict[tuple[int, int], list[_Place]] = field(default_factory=lambda: defaultdict(list))

    @property
    def size(self) -> int:
        """Bytes of the file when it was read last."""
        assert self.latest is not None
        return self.latest.size

    def add(self, place: _Place) -> None:
        member = place.member
        if self.latest is None or member.time >= self.latest.time:
            self.latest = member
        if not member.gone:
            self.places[member.offset, member.length].append(place)


@dataclass(slots=True)
class BundleIndex:
    """What the bundles of one directory hold; their headers were read, and none of their pieces.

    Attributes
    ----------
    directory : Path
        Where they lie.
    bundles : list of Path
        The files.
    writers : dict
        Writer to its files by name.
    refused : list of str
        A sentence for each file that is called like a bundle and is none, each damage to one, and each file of a log
        that is not taken.
    """

    directory: Path
    bundles: list[Path]
    writers: dict[str, dict[str, _File]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def find_bundles(root: Path) -> list[Path]:
    """Find the node bundles below a directory.

    Parameters
    ----------
    root : Path
        A directory, or a bundle.

    Returns
    -------
    list of Path
        In order of their names.
    """
    if root.is_file():
        return [root] if root.name.endswith(BUNDLE_SUFFIX) else []
    return sorted(
        Path(directory, name)
        for directory, _, files in os.walk(root)
        for name in files
        if name.endswith(BUNDLE_SUFFIX) and os.path.isfile(os.path.join(directory, name))
    )


def index_bundles(bundles: list[Path]) -> list[BundleIndex]:
    """Read what bundles hold, those of one directory together: each process that shipped left a file of its own there.

    Parameters
    ----------
    bundles : list of Path
        From :func:`find_bundles`; they may be appended to at the same time.

    Returns
    -------
    list of BundleIndex
        One for each directory. What is no node bundle, or states a size that it has no bytes for, is refused and costs
        no other log.

    Raises
    ------
    FormatTooNewError
        If one is of a newer major format.
    """
    found: dict[Path, BundleIndex] = {}
    for path in bundles:
        index = found.setdefault(path.parent, BundleIndex(path.parent, []))
        try:
            members = _members(path, index.refused)
        except CorruptLogError as error:
            index.refused.append(str(error))
            continue
        index.bundles.append(path)
        for member in members:
            writer, slash, name = member.name.partition("/")
            if slash:
                index.writers.setdefault(writer, {}).setdefault(name, _File()).add(_Place(path, member))
    for index in found.values():
        for writer, files in index.writers.items():
            for name in [name for name, about in files.items() if _lacks_bytes(about)]:
                index.refused.append(
                    f"{index.directory}: {writer[:8]}/{name} is said to have {files.pop(name).size} bytes, "
                    f"of which hardly any are there: it is not taken"
                )
    return list(found.values())


def _members(path: Path, refused: list[str]) -> list[Member]:
    damaged: list[tuple[int, int]] = []
    found: list[Member] = []
    with path.open("rb") as file:
        for member in members_of(file, name=str(path), damaged=damaged):
            if not found and not damaged:
                _check_description(path, file, member)
            found.append(member)
    refused.extend(
        f"{path} is damaged at bytes {first} to {after - 1}: what stood there is not read" for first, after in damaged
    )
    return found


def _check_description(path: Path, file: BinaryIO, member: Member) -> None:
    about = None
    if member.name == DESCRIPTION and member.length <= _LONGEST_DESCRIPTION:
        with contextlib.suppress(ValueError):
            about = json.loads(piece_of(file, member) or b"")
    if not isinstance(about, dict) or about.get("format") != BUNDLE_FORMAT:
        raise CorruptLogError(f"{path} is no node bundle: it does not begin with a description of itself")
    major = about.get("major")
    if not isinstance(major, int) or major > BUNDLE_MAJOR:
        raise FormatTooNewError(
            f"{path} is of bundle format {major}, this braid_hpc reads up to {BUNDLE_MAJOR}: update braid_hpc"
        )


def _lacks_bytes(about: _File) -> bool:
    """Zeros at the end of a tail are not stored; nothing else of a file is left out."""
    return about.size > sum(length for _, length in about.places) + ZEROS_LEFT_OUT


def unpack_writer(index: BundleIndex, writer: str, into: Path) -> Path:
    """Put a writer's files together.

    Parameters
    ----------
    index : BundleIndex
        From :func:`index_bundles`.
    writer : str
        One of its writers.
    into : Path
        A directory of the caller's own; the writer's directory is made in it.

    Returns
    -------
    Path
        The writer's directory: each file as it was when it was last read. A piece that does not carry its digest is
        passed over, and an earlier one of that place is taken, if there is one; the log's own sums tell.

    Raises
    ------
    StorageError
        If there is no room.
    """
    place = into / writer
    try:
        place.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            opened: dict[Path, BinaryIO] = {path: stack.enter_context(path.open("rb")) for path in index.bundles}
            for name, about in index.writers[writer].items():
                assert about.latest is not None
                if not about.latest.gone:
                    _unpack(about, place / name, opened)
    except OSError as error:
        raise StorageError(
            f"cannot unpack the logs of {index.directory} into {into} ({error.strerror or error}): "
            f"TMPDIR names another directory"
        ) from error
    return place


def _unpack(about: _File, path: Path, opened: dict[Path, BinaryIO]) -> None:
    assert about.latest is not None
    size = about.latest.size
    for places in about.places.values():
        places.sort(key=lambda place: place.member.time)
    with path.open("xb", buffering=0) as file:
        # Later pieces over earlier ones; where pieces have one place, the last is enough.
        for places in sorted(about.places.values(), key=lambda places: places[-1].member.time):
            for place in reversed(places):
                if place.member.offset >= size:
                    break
                data = piece_of(opened[place.bundle], place.member)
                if data is not None:
                    _write(file.fileno(), data, place.member.offset)
                    break
        os.ftruncate(file.fileno(), size)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def tell_refused(indexes: list[BundleIndex], logs: Path, *, found: bool) -> None:
    """Warn of what was refused, each as a :class:`BraidWarning`.

    Parameters
    ----------
    indexes : list of BundleIndex
        From :func:`index_bundles`.
    logs : Path
        What was looked through.
    found : bool
        Whether there is any log.

    Raises
    ------
    CorruptLogError
        If there is none, and something was refused.
    NotFoundError
        If there is none.
    """
    refused = [sentence for index in indexes for sentence in index.refused]
    if not found:
        if refused:
            raise CorruptLogError(refused[0])
        raise NotFoundError(f"there are no rank logs in {logs}: its bundles hold none yet")
    for sentence in refused:
        warnings.warn(sentence, BraidWarning, stacklevel=3)


@contextlib.contextmanager
def opened_logs(logs: str | os.PathLike[str]) -> Iterator[list[Path]]:
    """Give the directories of writers below a directory, those that stand in node bundles too.

    Parameters
    ----------
    logs : path-like
        A log directory, a directory of such at any depth, one writer's directory, or a node bundle.

    Yields
    ------
    list of Path
        In order of their names. Those that were unpacked are in a temporary directory (below ``TMPDIR``) and are gone
        when the context is left. A writer may have several: what any of them holds counts once
        (:func:`braid_hpc.reading.copies.join_copies`).

    Raises
    ------
    NotFoundError
        If there is no such directory, or no log in it.
    CorruptLogError
        If a file that is called like a bundle is none, and there is no other log; else that is a warning.
    FormatTooNewError
        If a bundle is of a newer format.
    StorageError
        If there is no room to unpack them.
    """
    root = Path(logs)
    bundles = find_bundles(root)
    if not bundles:
        yield find_writers(root)
        return
    indexes = index_bundles(bundles)
    found = []
    if root.is_dir():
        with contextlib.suppress(NotFoundError):
            found = find_writers(root)
    temporary = make_scratch()
    try:
        for number, index in enumerate(indexes):
            for writer in sorted(index.writers):
                found.append(unpack_writer(index, writer, temporary / str(number)))
        tell_refused(indexes, root, found=bool(found))
        yield found
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

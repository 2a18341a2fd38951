"""The bundles of one node in a directory: one that this process appends to, and those that others have left there.

Every process that ships has a file of its own, so nobody waits for anybody. What the others have brought is read from
their files, and not brought again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

from braid_hpc.log.bundle import (
    BUNDLE_FORMAT,
    BUNDLE_MAJOR,
    BUNDLE_MINOR,
    BUNDLE_SUFFIX,
    DESCRIPTION,
    ROUND,
    Member,
    members_of,
    pack_member,
    piece_of,
)
from braid_hpc.log.header import boot_id
from braid_hpc.log.pieces import Held, HeldFile, Piece
from braid_hpc.vocabulary.errors import CorruptLogError, StorageError

__all__ = ["NodeBundles", "node_name"]

#: Bytes that are gathered before they are written, synced and read again.
_GATHERED = 16 << 20


def node_name(given: str | None = None) -> str:
    """Return the name of this node: what Slurm calls it, else the host's short name.

    Parameters
    ----------
    given : str, optional
        Another name.

    Returns
    -------
    str
        With what does not fit into a file's name replaced.
    """
    found = given or os.environ.get("SLURMD_NODENAME") or socket.gethostname().partition(".")[0]
    return re.sub(r"[^A-Za-z0-9._-]", "_", found).lstrip(".-") or "node"


class _Other:
    """A bundle that another process writes or wrote, and how far it was read."""

    def __init__(self, path: Path, inode: int) -> None:
        self.path = path
        self.inode = inode
        self.at = 0


class NodeBundles:
    """The bundles of a node in one directory.

    Parameters
    ----------
    directory : Path
        Where they lie; made with the first append.
    node : str
        The node's name, from :func:`node_name`.

    Attributes
    ----------
    written : int
        Bytes that were appended by this process.
    """

    def __init__(self, directory: Path, node: str) -> None:
        self.directory = directory
        self.node = node
        self.written = 0
        self._held: dict[str, Held] = {}
        self._others: dict[str, _Other] = {}
        #: Files of this process that it will not append to any more, and how much of each is to be believed.
        self._left: dict[str, int] = {}
        self._path: Path | None = None
        self._inode = 0
        self._end = 0
        self._marked = 0
        self._last_time = 0
        self._buffer: list[tuple[str, bytes, Piece, int]] = []
        self._size = 0

    def held(self, writer: str) -> Held:
        """Return what the bundles hold of a writer.

        Parameters
        ----------
        writer : str
            32 hexadecimal digits.

        Returns
        -------
        dict of str to HeldFile
            By file; it follows what is appended.
        """
        return self._held.setdefault(writer, {})

    def moment(self) -> int:
        """Return a time for what is read now: UTC ns, and later than any that is known.

        Returns
        -------
        int
            By the node's clock, but where somebody set it back.
        """
        self._last_time = max(time.time_ns(), self._last_time + 1)
        return self._last_time

    # ------------------------------------------------------------------ what is there

    def look(self) -> bool:
        """Read what other processes have brought since the last look.

        Returns
        -------
        bool
            False if something that was there is gone, so that all of it has to be looked at again.

        Raises
        ------
        StorageError
            If the directory cannot be read.
        """
        self._buffer, self._size = [], 0
        try:
            found = self._listed()
            whole = self._still_there(found)
            if not whole:
                self._begin_again()
            for name, status in found.items():
                if self._path is None or name != self._path.name:
                    other = self._others.setdefault(name, _Other(self.directory / name, status.st_ino))
                    if status.st_size > other.at:
                        self._read(other)
        except OSError as error:
            raise StorageError(f"{self.directory} cannot be read ({error.strerror or error})") from error
        return whole

    def _listed(self) -> dict[str, os.stat_result]:
        ours = re.compile(rf"{re.escape(self.node)}-[0-9a-f]{{8}}{re.escape(BUNDLE_SUFFIX)}")
        found = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.directory) as entries:
            for entry in entries:
                if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):
                        found[entry.name] = entry.stat(follow_symlinks=False)
        return found

    def _still_there(self, found: dict[str, os.stat_result]) -> bool:
        for name, other in self._others.items():
            if name not in found or found[name].st_ino != other.inode or found[name].st_size < other.at:
                return False
        if self._path is None:
            return True
        own = found.get(self._path.name)
        return own is not None and own.st_ino == self._inode and own.st_size >= self._end

    def _begin_again(self) -> None:
        self._held.clear()
        self._others.clear()
        self._leave()

    def _read(self, other: _Other) -> None:
        """Take note of the members of a bundle; those behind its last mark are read and compared with their digests."""
        limit = self._left.get(other.path.name)
        try:
            with other.path.open("rb") as file:
                waiting: list[Member] = []
                for member in members_of(file, other.at, name=other.path.name):
                    if limit is not None and member.after > limit:
                        break
                    waiting.append(member)
                    if member.name == ROUND:
                        self._take(other, waiting)
                        waiting = []
                self._take(other, [member for member in waiting if piece_of(file, member) is not None])
        except CorruptLogError:
            # Whoever reads the logs is told. Here it holds nothing that need not be brought.
            pass

    def _take(self, other: _Other, members: list[Member]) -> None:
        for member in members:
            other.at = max(other.at, member.after)
            self._last_time = max(self._last_time, member.time)
            writer, slash, file = member.name.partition("/")
            if slash:
                self.held(writer).setdefault(file, HeldFile()).take(
                    member.offset, member.length, member.digest, size=member.size, time=member.time, gone=member.gone
                )

    # ------------------------------------------------------------------ what is brought

    def add(self, writer: str, piece: Piece, moment: int) -> None:
        """Add a piece; it is there after :meth:`flush`.

        Parameters
        ----------
        writer : str
            Whose file.
        piece : Piece
            A piece that is not held.
        moment : int
            From :meth:`moment`, before the file was read.

        Raises
        ------
        StorageError
            If it could not be written.
        """
        packed = pack_member(
            f"{writer}/{piece.file}",
            piece.data,
            offset=piece.offset,
            size=piece.size,
            time=moment,
            gone=piece.gone,
        )
        self._buffer.append((writer, packed, piece, moment))
        self._size += len(packed)
        if self._size >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        """Write what was added, bring it to the disk, read it again and compare.

        Raises
        ------
        StorageError
            If it could not be written, or what was read is not what was written: then none of it counts as there.
        """
        gathered, self._buffer, self._size = self._buffer, [], 0
        if not gathered:
            return
        self._append(b"".join(packed for _, packed, _, _ in gathered))
        for writer, packed, piece, moment in gathered:
            del packed
            known = self.held(writer).setdefault(piece.file, HeldFile())
            known.take(piece.offset, len(piece.data), _digest(piece), size=piece.size, time=moment, gone=piece.gone)

    def mark(self) -> None:
        """End a round: say that whatever stands before was read again.

        Raises
        ------
        StorageError
            If it could not be written.
        """
        self.flush()
        if self._path is not None and self._marked < self._end:
            self._append(pack_member(ROUND, b"", time=self.moment()))
            self._marked = self._end

    def _append(self, data: bytes) -> None:
        try:
            if self._path is None:
                self._begin()
            assert self._path is not None
            self._write(self._path, data)
        except OSError as error:
            raise StorageError(
                f"cannot ship to {self.directory} ({error.strerror or error}): nothing was removed at its source"
            ) from error
        self.written += len(data)

    def _begin(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{self.node}-{os.urandom(4).hex()}{BUNDLE_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            self._inode = os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)
        self._path, self._end, self._marked = path, 0, 0
        about = json.dumps(self._about(), indent=1).encode() + b"\n"
        self._write(path, pack_member(DESCRIPTION, about, time=self.moment()))
        self._marked = self._end
        directory = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _about(self) -> dict[str, Any]:
        return {
            "format": BUNDLE_FORMAT,
            "major": BUNDLE_MAJOR,
            "minor": BUNDLE_MINOR,
            "node": self.node,
            "host": socket.gethostname(),
            "boot_id": boot_id(),
            "pid": os.getpid(),
            "began": time.time_ns(),
        }

    def _write(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_ino != self._inode or os.fstat(descriptor).st_size < self._end:
                self._leave()
                raise OSError(0, f"{path.name} was replaced while it was written")
            try:
                _write_all(descriptor, data, self._end)
            except OSError:
                # Cut off what there was room for, so that the next append stands where readers look for it.
                self._cut(descriptor)
                raise
            try:
                os.fdatasync(descriptor)
            except OSError:
                # The kernel may have dropped it and does not say so again: what follows goes into another file.
                self._leave()
                raise
            with contextlib.suppress(OSError):
                os.posix_fadvise(descriptor, self._end, len(data), os.POSIX_FADV_DONTNEED)
            if not _reads(descriptor, data, self._end):
                self._leave()
                raise OSError(0, "what arrived is not what was written: the directory is not to be trusted")
            self._end += len(data)
        finally:
            os.close(descriptor)

    def _cut(self, descriptor: int) -> None:
        try:
            os.ftruncate(descriptor, self._end)
        except OSError:
            self._leave()

    def _leave(self) -> None:
        """Append to another file from now on, and bring there again what this one holds since its last mark."""
        if self._path is not None:
            self._left[self._path.name] = self._marked
            self._path = None
            # What is held is read again from the files that are there.
            self._held.clear()
            self._others.clear()


def _digest(piece: Piece) -> str:
    from xxhash import xxh3_128_hexdigest

    return xxh3_128_hexdigest(piece.data)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _reads(descriptor: int, data: bytes, offset: int) -> bool:
    view = memoryview(data)
    while view:
        found = os.pread(descriptor, min(len(view), 4 << 20), offset)
        if not found or found != view[: len(found)]:
            return False
        view, offset = view[len(found) :], offset + len(found)
    return True

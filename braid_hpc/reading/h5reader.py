"""The guarded way into arrays files: through a process of its own, with a time limit."""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.array_pools import INDEX_ROWS
from braid_hpc.reading import h5child
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError, MissingExtraError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ArrayReader"]

#: Seconds for one answer, and for the process to begin (it imports h5py).
LIMIT, START_LIMIT = 10.0, 120.0

#: After so many answers that never came, nothing more is asked of a file.
PATIENCE = 3


class ArrayReader:
    """Reads arrays files through a process of its own, which is started when it is first needed.

    Parameters
    ----------
    limit : float
        Seconds for one answer.
    """

    def __init__(self, *, limit: float = LIMIT) -> None:
        self._limit = limit
        self._child: subprocess.Popen[bytes] | None = None
        self._failed: dict[str, int] = {}

    def read(self, path: Path, pool: str, offset: int, length: int) -> bytes:
        """Read elements of a pool.

        Parameters
        ----------
        path : Path
            The arrays file.
        pool : str
            Name of the dataset.
        offset, length : int
            Elements.

        Returns
        -------
        bytes
            As they stand in the file, which proves nothing: compare the array's digest.

        Raises
        ------
        CorruptLogError
            If HDF5 refuses, does not answer in time, or ends.
        FormatTooNewError
            If the file is of a newer format.
        MissingExtraError
            If h5py is not installed.
        """
        return self._ask({"ask": "bytes", "path": str(path), "pool": pool, "offset": offset, "length": length})

    def extents(self, path: Path) -> dict[str, int]:
        """Return how many elements each dataset of a file has.

        Parameters
        ----------
        path : Path
            The arrays file.

        Returns
        -------
        dict
            By name; ``index`` is among them.

        Raises
        ------
        CorruptLogError, FormatTooNewError, MissingExtraError
            As :meth:`read`.
        """
        found: dict[str, int] = json.loads(self._ask({"ask": "extents", "path": str(path)}))
        return found

    def index(self, path: Path) -> Iterator[dict[str, Any] | str]:
        """Yield the index of a file.

        Parameters
        ----------
        path : Path
            The arrays file.

        Yields
        ------
        dict or str
            Pool, offset, length, digest, dtype and shape of an array; or a sentence on what is damaged.
        """
        try:
            rows = self.extents(path).get("index", 0)
        except CorruptLogError as error:
            yield str(error)
            return
        for first in range(0, rows, INDEX_ROWS):
            asked = {"ask": "index", "path": str(path), "pool": "index", "offset": first}
            try:
                yield from json.loads(self._ask({**asked, "length": min(INDEX_ROWS, rows - first)}))
            except CorruptLogError as error:
                yield f"rows {first} to {min(first + INDEX_ROWS, rows) - 1} of the index: {error}"

    @staticmethod
    def _shown(path: str) -> str:
        """Return what a file is called where it cannot be read."""
        return os.path.basename(path)

    def _ask(self, request: dict[str, Any]) -> bytes:
        path = request["path"]
        name = self._shown(path)
        if not os.path.exists(path):
            raise CorruptLogError(f"{name} is missing")
        if self._failed.get(path, 0) >= PATIENCE:
            raise CorruptLogError(
                f"{name} cannot be read: reading it failed {PATIENCE} times in ways HDF5 does not tell"
            )
        child = self._child or self._start()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            letter, data = self._answer(child, self._limit)
        except (OSError, EOFError) as error:
            self._failed[path] = self._failed.get(path, 0) + 1
            self._end()
            raise CorruptLogError(f"{name} cannot be read: {error}") from None
        if letter == b"N":
            raise FormatTooNewError(
                f"{name} is of arrays format {data.decode()}, this braid_hpc reads up to {h5child.MAJOR}: "
                f"update braid_hpc"
            )
        if letter == b"F":
            raise CorruptLogError(f"{name} cannot be read: {data.decode('utf-8', 'replace')}")
        return data

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", h5child.__file__, str(self._limit)]
        about = {"OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}
        self._child = child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **about}
        )
        try:
            letter, _ = self._answer(child, START_LIMIT)
        except (OSError, EOFError) as error:
            self._end()
            raise CorruptLogError(f"the process that reads arrays did not begin: {error}") from None
        if letter == b"M":
            self._end()
            raise MissingExtraError("reading arrays needs h5py: pip install 'braid_hpc[arrays]'")
        return child

    def _answer(self, child: subprocess.Popen[bytes], limit: float) -> tuple[bytes, bytes]:
        deadline = time.monotonic() + limit
        letter, length = struct.unpack("<cQ", self._take(child, 9, deadline))
        return letter, self._take(child, length, deadline)

    def _take(self, child: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
        assert child.stdout is not None
        source = child.stdout.fileno()
        poll = select.poll()
        poll.register(source, select.POLLIN)
        data = bytearray()
        while len(data) < count:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise EOFError(f"HDF5 did not answer within {self._limit:g} s")
            part = os.read(source, min(count - len(data), 1 << 20))
            if not part:
                code = child.wait()
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                raise EOFError(f"HDF5 ended the process that read it ({how})")
            data += part
        return bytes(data)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:
                        pass

    def close(self) -> None:
        """End the process."""
        self._end()

    def __enter__(self) -> ArrayReader:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()

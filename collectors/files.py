"""Every file that a Python program opens, by an audit hook: what it read is used, what it wrote is generated.

The hook sees attempts, and only appends them to a list. What became of them is found out when the run ends, or an
activity of :meth:`FileCollector.activity`: which of the files are there, their sizes and digests.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from _thread import get_ident
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.attempts import Attempts, Place, is_own, matches
from braid_hpc.collectors.losses import Collecting
from braid_hpc.run.guard import passes, recording
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run

__all__ = ["ATTEMPTS", "STREAM", "FileCollector"]

#: The stream that says which files were opened for writing, before anybody knows what became of them.
STREAM = "files"
#: Its columns; `state` is ``unverified``, or ``verified`` as soon as the file has a record.
_COLUMNS = {"path": "text", "state": "text", "record": "uint64"}
#: Attempts that the hook holds, until the thread or the program looks at them.
ATTEMPTS = 100_000
#: The thread that notes what is being written looks this often (seconds).
_EVERY = 1.0

_EVENTS = frozenset({"open", "os.rename", "os.remove", "os.link", "os.chdir", "os.truncate"})

#: Where attempts go, one list for each collector that is open; what the hook appends to.
_taking: list[list[tuple[str, Any]]] = []
#: Threads whose attempts are not noted: they are ours.
_quiet: set[int] = set()
_hooked = False


def _hook(event: str, args: Any) -> None:
    """Append an attempt. It must not raise, open anything, or take long: every event of the interpreter comes here."""
    if event in _EVENTS and get_ident() not in _quiet:
        for taken in _taking:
            if len(taken) <= ATTEMPTS:
                taken.append((event, args))


class FileCollector(Collecting):
    """What sees the files of a program, from when it is made until it is closed.

    Parameters
    ----------
    run : Run
        Where they are recorded. Of several collectors each sees all files.
    include : sequence of str
        Patterns (:mod:`fnmatch`, of the whole path or of its name); only files of which one holds are recorded.
    exclude : sequence of str
        Patterns of files that are not recorded, included or not.
    digest_limit : int, optional
        Of files above this many bytes the digest is not taken, and size, time and inode stand in.
    """

    def __init__(
        self,
        run: Run,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        digest_limit: int | None = None,
    ) -> None:
        super().__init__(run, "files")
        self._include, self._exclude = _patterns(include), _patterns(exclude)
        self._limit = digest_limit
        self._taken: list[tuple[str, Any]] = []
        self._noted: set[str] = set()
        self._stop = threading.Event()
        self._pid = os.getpid()
        self._began = time.time()
        self._found = Attempts(_cwd())
        self._lock = threading.Lock()
        self._act: Any = None
        if run:
            self._act = run.activity(f"{run.name} files")
            self._stream = run.stream(STREAM, _COLUMNS)
            _install()
            _taking.append(self._taken)
            self._thread = threading.Thread(target=self._watch, name="braid files", daemon=True)
            self._thread.start()

    @recording
    def seen(self, path: Any, mode: str = "r") -> None:
        """Note a file that something else than Python opens: a library in C, a child process, MPI.

        Parameters
        ----------
        path : path-like
            Which.
        mode : str
            As for :func:`open`.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if they are neither.
        """
        if not isinstance(path, (str, bytes, os.PathLike)) or not isinstance(mode, str) or not mode:
            raise InvalidInputError("a file is named by its path and a mode such as 'r' or 'w'")
        if self._act is not None and not self._closed:
            self._taken.append(("open", (path, mode, 0)))

    def h5py_file(self, path: Any, mode: str = "r", **about: Any) -> Any:
        """Open an HDF5 file with h5py, which the hook does not see.

        Parameters
        ----------
        path, mode, **about
            As for ``h5py.File``.

        Returns
        -------
        h5py.File
            The file; what h5py raises is raised.
        """
        import h5py

        self.seen(path, mode)
        return h5py.File(path, mode, **about)

    @contextlib.contextmanager
    def activity(self, name: str, **about: Any) -> Iterator[Any]:
        """Record a block as an activity that used and generated the files that are opened in it.

        Parameters
        ----------
        name, **about
            As for :meth:`braid_hpc.Run.activity`.

        Yields
        ------
        Activity
            It. Files that other threads open meanwhile count for it too.
        """
        with self.run.activity(name, **about) as act:
            self._settle_into(None)
            try:
                yield act
            finally:
                self._settle_into(act)

    # ------------------------------------------------------------------ what became of them

    def _settle_into(self, act: Any) -> None:
        """Record what was opened until now: in the activity that is open, or in that of the whole run."""
        if self._act is None or self._closed or os.getpid() != self._pid:
            return
        try:
            self._settle(self._act if act is None else act)
        except Exception as error:
            if passes(error):
                raise
            self._refused("settle", error, "")

    def _settle(self, act: Any) -> None:
        _quiet.add(get_ident())
        try:
            self._fold()
            with self._lock:
                found, self._found = self._found, Attempts(self._found.cwd)
            if found.unfollowed:
                self._losses.count("path that cannot be followed", found.unfollowed)
            if found.beyond:
                self._losses.count("too many files at once", found.beyond)
            for path, place in found.places.items():
                if self._wanted(path):
                    self._record(act, path, place)
            self._losses.write()
        finally:
            _quiet.discard(get_ident())

    def _fold(self) -> None:
        """Follow what the hook appended, so that its list stays short."""
        with self._lock:
            count = len(self._taken)
            taken = self._taken[:count]
            del self._taken[:count]
            self._found.replay(taken)
            if count > ATTEMPTS:
                # How many came after it is full is not known: the hook does not count.
                self._found.beyond += 1

    def _record(self, act: Any, path: str, place: Place) -> None:
        try:
            stat = os.stat(path)
        except OSError:
            return
        digest = self._limit is None or stat.st_size <= self._limit
        # A copy may keep the time of what it is a copy of; when the file itself was changed last, nobody can set.
        wrote = place.written and stat.st_ctime >= self._began - 60 and os.access(path, os.W_OK)
        if place.read:
            if wrote:
                # What was read is gone: the file is the one that was written.
                act.use(self._run.record("data", path, tags={"overwritten": True}))
            elif os.access(path, os.R_OK):
                act.input(path, digest=digest)
        if wrote:
            record = act.output(path, digest=digest)
            self._stream.append(path, "verified", record.sequence)

    def _wanted(self, path: str) -> bool:
        if matches(path, self._exclude) or (self._include and not matches(path, self._include)):
            return False
        if Path(path).is_relative_to(self._run.log_dir):
            return False
        return os.path.isfile(path) and (bool(self._include) or not is_own(path))

    def _watch(self) -> None:
        """Note what is being written, so that a log that ends too early says which files nobody looked at."""
        _quiet.add(get_ident())
        while not self._stop.wait(_EVERY):
            self._note()

    def _note(self) -> None:
        try:
            self._fold()
            for path, place in list(self._found.places.items()):
                if place.written and path not in self._noted and len(self._noted) < ATTEMPTS and self._wanted(path):
                    self._noted.add(path)
                    self._stream.append(path, "unverified", 0)
        except Exception as error:
            # The last frame of a thread: what is raised here reaches nobody.
            self._refused("note", error, "")

    def _finish(self) -> None:
        self._stop.set()
        if self._act is None or os.getpid() != self._pid:
            return
        _taking[:] = [taken for taken in _taking if taken is not self._taken]
        self._thread.join(timeout=5)
        _quiet.discard(self._thread.ident or 0)
        try:
            self._settle(self._act)
        finally:
            self._act.end()


def _install() -> None:
    global _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_hook)


def _patterns(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else [str(each) for each in given]


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"

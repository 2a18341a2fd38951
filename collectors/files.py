"""Every file that a Python program opens, by an audit hook: what it read is used, what it wrote is generated.

The hook sees attempts, and only appends them to a list, with the activity they were made in. What became of them is
found out when that activity or the run ends: which of the files are there, their sizes and digests.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
import time
import weakref
from _thread import get_ident
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.attempts import Attempts, Place, is_own, matches
from braid_hpc.collectors.beginnings import placed, watch_open
from braid_hpc.collectors.losses import Collecting
from braid_hpc.collectors.opened_in_c import watch_libraries
from braid_hpc.run.activities import Activity, activity_of, innermost, when_one_ended
from braid_hpc.run.calls import WANTED
from braid_hpc.run.guard import passes, recording
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.run.handles import Record
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

#: Records of files that were written are remembered, so that what they are renamed to comes from them.
_MADE = 4096

#: Where attempts go, one list for each collector that is open; what the hook appends to.
_taking: list[list[tuple[str, Any, Any]]] = []
#: Threads whose attempts are not noted: they are ours.
_quiet: set[int] = set()
_hooked = False
_open: weakref.WeakSet[FileCollector] = weakref.WeakSet()


def _hook(event: str, args: Any) -> None:
    """Append an attempt. It must not raise, open anything, or take long: every event of the interpreter comes here."""
    if event in _EVENTS and _taking and get_ident() not in _quiet:
        _append(event, args)


def _append(event: str, args: Any) -> None:
    event, args = placed(event, args)
    owner = innermost()
    if owner is not None and owner.__class__ is not Activity:
        # A call of a decorated function, which would be one row by itself: now it is an activity that has files.
        owner.claim(WANTED)
    for taken in _taking:
        if len(taken) <= ATTEMPTS:
            taken.append((event, args, owner))


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
        The digests of files above this many bytes are left to the merge, see :meth:`braid_hpc.Run.input`.
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
        self._taken: list[tuple[str, Any, Any]] = []
        self._noted: set[str] = set()
        self._made: dict[str, Record] = {}
        self._stop = threading.Event()
        self._began = time.time()
        self._cwd = Attempts(_cwd())
        self._lock = threading.RLock()
        #: What was tried in each activity, by the identity of what tells of it; by 0 outside of all.
        self._found: dict[int, tuple[Any, Attempts]] = {}
        self._pid = 0
        self._act: Any = None
        self._thread: threading.Thread | None = None
        self._forget: list[Any] = []
        if run:
            self._pid = os.getpid()
            self._act = run.activity(f"{run.name} files")
            self._stream = run.stream(STREAM, _COLUMNS)
            _install()
            _taking.append(self._taken)
            _open.add(self)
            self._forget = [when_one_ended(self._ended), watch_libraries(self._opened_in_c), watch_open()]
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
        self._opened_in_c(path, mode)

    def _opened_in_c(self, path: Any, mode: str) -> None:
        if self._pid and not self._closed and get_ident() not in _quiet:
            owner = innermost()
            if owner is not None and owner.__class__ is not Activity:
                owner.claim(WANTED)
            if len(self._taken) <= ATTEMPTS:
                self._taken.append(("open", (path, mode, 0), owner))

    def h5py_file(self, path: Any, mode: str = "r", **about: Any) -> Any:
        """Open an HDF5 file with h5py; ``h5py.File`` by itself is seen as well while a collector is open.

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
            It. Files count for it too that other threads open meanwhile outside of all activities.
        """
        with self.run.activity(name, **about) as act:
            self._settle_into(None)
            try:
                yield act
            finally:
                self._settle_into(act)

    # ------------------------------------------------------------------ what became of them

    def _ended(self, act: Activity) -> None:
        """Record the files of an activity that has ended."""
        if self._pid != os.getpid() or self._closed or getattr(act, "run", None) is not self._run:
            return
        if self._taken or self._found:
            self._settle_into(act, act)

    def _settle_into(self, act: Any, owner: Any = None) -> None:
        """Record what was opened until now by an owner, or outside of all activities: in `act`, or that of the run."""
        if self._closed or not self._pid or os.getpid() != self._pid:
            return
        try:
            self._settle(act, [owner])
        except Exception as error:
            if passes(error):
                raise
            self._refused("settle", error, "")

    def _settle(self, act: Any, owners: list[Any] | None) -> None:
        """Find out what became of what was tried by some owners, or by all of them where these are None."""
        known = get_ident() in _quiet
        _quiet.add(get_ident())
        try:
            self._fold()
            with self._lock:
                mine = [key for key, (one, _) in self._found.items() if owners is None or _owned(one, owners)]
                settled = [self._found.pop(key) for key in mine]
            for owner, found in settled:
                if found.unfollowed:
                    self._losses.count("path that cannot be followed", found.unfollowed)
                if found.beyond:
                    self._losses.count("too many files at once", found.beyond)
                here = act if act is not None else activity_of(owner) if owner is not None else None
                for path, place in found.places.items():
                    for at, one in self._within(path, place):
                        if self._wanted(at):
                            self._record(here if here is not None else self._whole(), at, one)
            self._losses.write()
        finally:
            if not known:
                _quiet.discard(get_ident())

    def _within(self, path: str, place: Place) -> list[tuple[str, Place]]:
        """Return a place, and those of what was written in another activity into a directory that was renamed to it."""
        if not place.source or not self._made or not os.path.isdir(path):
            return [(path, place)]
        head = f"{place.source}/"
        moved = [each for each in self._made if each.startswith(head)]
        return [(f"{path}/{each[len(head) :]}", Place(written=True, source=each)) for each in moved]

    def _whole(self) -> Any:
        """Return the activity of the files that belong to no other; a forked process begins one of its own."""
        if self._act is None:
            self._act = contextvars.Context().run(self._run.activity, f"{self._run.name} files")
        return self._act

    def _fold(self) -> None:
        """Follow what the hook appended, so that its list stays short."""
        with self._lock:
            count = len(self._taken)
            taken = self._taken[:count]
            del self._taken[:count]
            for event, args, owner in taken:
                if event == "os.chdir":
                    self._cwd.replay([(event, args)])
                    continue
                mine = owner if owner is not None and owner.run is self._run else None
                _, found = self._found.setdefault(id(mine) if mine is not None else 0, (mine, Attempts("/")))
                found.cwd = self._cwd.cwd
                found.replay([(event, args)])
            if count > ATTEMPTS:
                # How many came after it is full is not known: the hook does not count.
                self._losses.count("too many files at once")

    def _record(self, act: Any, path: str, place: Place) -> None:
        try:
            stat = os.stat(path)
        except OSError:
            return
        digest: bool | str = True if self._limit is None or stat.st_size <= self._limit else "deferred"
        # A copy may keep the time of what it is a copy of; when the file itself was changed last, nobody can set.
        wrote = place.written and stat.st_ctime >= self._began - 60 and os.access(path, os.W_OK)
        if place.read:
            if wrote:
                # What was read is gone: the file is the one that was written. Nobody here made it.
                plain = contextvars.Context().run
                act.use(plain(lambda: self._run.record("data", path, tags={"overwritten": True})))
            elif os.access(path, os.R_OK):
                act.input(path, digest=digest)
        if wrote:
            came_from = self._made.pop(place.source, None) if place.source else None
            if came_from is not None:
                act.use(came_from)
            record = act.output(path, digest=digest)
            if record and len(self._made) < _MADE:
                self._made[path] = record
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
            with self._lock:
                found = list(self._found.values())
            for owner, tried in found:
                if owner is not None and owner.__class__ is not Activity and owner.open:
                    # So that a log that ends too early says what was running.
                    activity_of(owner)
                for path, place in list(tried.places.items()):
                    if place.written and path not in self._noted and len(self._noted) < ATTEMPTS and self._wanted(path):
                        self._noted.add(path)
                        self._stream.append(path, "unverified", 0)
        except Exception as error:
            # The last frame of a thread: what is raised here reaches nobody.
            self._refused("note", error, "")

    def _leave_to_parent(self) -> None:
        """In a forked process: what was tried before is the parent's to tell, and there is no thread here."""
        if not self._pid or self._closed:
            return
        self._pid = os.getpid()
        self._taken.clear()
        self._found = {}
        self._lock = threading.RLock()
        self._act = self._thread = None

    def _in_worker(self) -> None:
        """In a forked worker of multiprocessing, which ends by os._exit: settle before its log is closed."""
        from multiprocessing.util import Finalize

        Finalize(self, self.close, exitpriority=10)

    def _finish(self) -> None:
        self._stop.set()
        for forget in self._forget:
            forget()
        if not self._pid or os.getpid() != self._pid:
            return
        _open.discard(self)
        _taking[:] = [taken for taken in _taking if taken is not self._taken]
        if self._thread is not None:
            self._thread.join(timeout=5)
            _quiet.discard(self._thread.ident or 0)
        try:
            self._settle(None, None)
        finally:
            if self._act is not None:
                self._act.end()


def _owned(owner: Any, owners: list[Any]) -> bool:
    """Whether a call, an activity or None is one of some activities or None."""
    return any(owner is one or (one is not None and getattr(owner, "activity", None) is one) for one in owners)


def _install() -> None:
    global _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_hook)
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def _before_fork() -> None:
    # Workers of multiprocessing forget what their parent has to do at its end; this they are told after that.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        for collector in list(_open):
            util.register_after_fork(collector, FileCollector._in_worker)


def _after_fork() -> None:
    _quiet.clear()
    for collector in list(_open):
        collector._leave_to_parent()


def _patterns(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else [str(each) for each in given]


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"

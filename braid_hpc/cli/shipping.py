"""What ``braid ship`` does in a round, and the rounds of one that stays beside the ranks of a node."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from braid_hpc.log.bundle import LOG_FILE
from braid_hpc.log.header import boot_id
from braid_hpc.log.node_bundle import NodeBundles
from braid_hpc.log.pieces import Piece, WriterFiles
from braid_hpc.log.ship import ship_writer
from braid_hpc.reading.directories import find_writers, read_header
from braid_hpc.reading.node_status import NodeStatus, RankStatus, write_status
from braid_hpc.reading.process import tell_end
from braid_hpc.reading.progress import Progress, WriterProgress
from braid_hpc.run.launcher import find_launch
from braid_hpc.vocabulary.errors import BraidError, CorruptLogError, FormatTooNewError, NotFoundError, StorageError

__all__ = ["Round", "Sent", "Shipper", "stay"]

_WRITER = re.compile(r"[0-9a-f]{32}")
#: For how long after the signal to end one stays beside ranks that still write: schedulers give them about as long (s).
LINGER_S = 45.0
#: Between two rounds then (s).
_HURRY_S = 1.0
#: A file whose last change is this near may change once more without looking otherwise (ns).
_RACY_NS = 2_000_000_000


@dataclass(slots=True)
class Sent:
    """What a round did for one writer.

    Attributes
    ----------
    writer : str
        Its id, or the name of its directory.
    files : int
        Files that were written or grew.
    bytes : int
        Bytes of them.
    fault : str or None
        Why it could not be shipped.
    removed : bool
        Whether it was removed at the source.
    """

    writer: str
    files: int = 0
    bytes: int = 0
    fault: str | None = None
    removed: bool = False


@dataclass(slots=True)
class Round:
    """What a round did.

    Attributes
    ----------
    sent : list of Sent
        One for each writer that is there.
    faults : list of str
        Sentences, each once.
    """

    sent: list[Sent]
    faults: list[str]


class _Source:
    """One writer's directory and what is known of it from earlier rounds."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = WriterFiles(directory)
        self.progress = WriterProgress(directory)
        self.told: Progress | None = None
        self.shipped = False
        self.checked = False
        #: What the directory looked like when all of a log that had come to its end had arrived.
        self.settled: list[tuple[str, int, int]] = []

    @property
    def writer(self) -> str:
        """The writer's id: a directory may have been renamed."""
        name = self.directory.name
        return name if _WRITER.fullmatch(name) else str(self.progress.header.get("writer", name))

    def looks(self) -> list[tuple[str, int, int]]:
        """Return what the directory looks like; a change of a mapped tail is none before it is synced."""
        with contextlib.suppress(OSError), os.scandir(self.directory) as entries:
            return sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries)
        return []

    def arrived(self, looks: list[tuple[str, int, int]]) -> None:
        """Take note that all of what the directory held has arrived, and what it looked like before that."""
        ended = self.told is not None and self.told.complete
        self.shipped = ended and bool(looks) and looks == self.looks()
        # What has changed just now may change once more without looking otherwise.
        quiet = all(time.time_ns() - changed > _RACY_NS for _, _, changed in looks)
        self.settled = looks if self.shipped and quiet else []


class Shipper:
    """Brings the logs of a directory to another one, in as many rounds as there are.

    Parameters
    ----------
    logs : Path
        The log directory on the node.
    target : Path
        Where they go.
    node : str
        The node's name.
    bundle : bool
        Whether they go into one file, or directory by directory.
    remove : bool
        Whether logs that have come to their end and have arrived are removed.
    """

    def __init__(self, logs: Path, target: Path, *, node: str, bundle: bool, remove: bool) -> None:
        self.logs = logs
        self.target = target
        self.node = node
        self.remove = remove
        self.began = time.time_ns()
        self.bundles = NodeBundles(target, node) if bundle else None
        self._sources: dict[Path, _Source] = {}
        self._removed: list[RankStatus] = []

    def round(self) -> Round:
        """Ship what is new.

        Returns
        -------
        Round
            What was done; a fault of one log does not keep the others back.

        Raises
        ------
        NotFoundError
            If there are no logs.
        """
        sources = self._find()
        sent = {source.directory: Sent(source.writer) for source in sources}
        for source in sources:
            source.told = source.progress.look()
            refused = self._refused(source, sent[source.directory])
            if source.told is not None and not source.told.complete and not refused:
                # Before it is copied, so that what says it comes with all that the process has written.
                tell_end(source.directory)
        try:
            if self.bundles is None:
                self._copy(sources, sent)
            else:
                self._bundle(self.bundles, sources, sent)
        except (StorageError, CorruptLogError) as error:
            # The target takes nothing: whatever this round brought may not be there.
            for source in sources:
                source.files.forget()
                source.shipped, source.settled = False, []
                sent[source.directory].fault = sent[source.directory].fault or str(error)
        for source in sources:
            self._settle(source, sent[source.directory])
        return Round(list(sent.values()), list(dict.fromkeys(each.fault for each in sent.values() if each.fault)))

    def beside_a_rank(self) -> bool:
        """Return whether a process of this node whose log is here still lives.

        Returns
        -------
        bool
            As of now, of the logs that are there now.
        """
        host, boot = socket.gethostname(), boot_id()
        with contextlib.suppress(NotFoundError):
            for directory in find_writers(self.logs):
                source = self._sources.get(directory)
                if source is None or source.told is None or not source.told.complete:
                    with contextlib.suppress(FormatTooNewError):
                        header, _ = read_header(directory)
                        if (header.get("host"), header.get("boot_id")) == (host, boot) and _lives(header):
                            return True
        return False

    def _find(self) -> list[_Source]:
        directories = find_writers(self.logs)
        for directory in directories:
            if directory not in self._sources:
                self._sources[directory] = _Source(directory)
        self._sources = {directory: self._sources[directory] for directory in directories}
        return list(self._sources.values())

    # ------------------------------------------------------------------ directories

    def _copy(self, sources: list[_Source], sent: dict[Path, Sent]) -> None:
        for source in sources:
            about = sent[source.directory]
            looks = source.looks()
            if not self._refused(source, about) and not (source.settled and source.settled == looks):
                try:
                    done = ship_writer(source.directory, self.target)
                    about.files, about.bytes = done.files, done.bytes
                    source.arrived(looks)
                except (StorageError, CorruptLogError) as error:
                    source.shipped, source.settled = False, []
                    about.fault = str(error)

    # ------------------------------------------------------------------ bundles

    def _bundle(self, bundles: NodeBundles, sources: list[_Source], sent: dict[Path, Sent]) -> None:
        if not bundles.look():
            for source in sources:
                source.files.forget()
                source.shipped, source.settled = False, []
        fresh = self._fresh(sources, sent)
        # Part by part, for a round may be cut off: first what happened on all ranks, then the many bytes.
        for part in ("events", "streams", "arrays"):
            for source, _ in fresh:
                if sent[source.directory].fault is None:
                    self._bring(bundles, source, getattr(source.files, part), sent[source.directory])
            bundles.flush()
        bundles.mark()
        for source, looks in fresh:
            if sent[source.directory].fault is None:
                source.files.arrived()
                source.arrived(looks)

    def _refused(self, source: _Source, about: Sent) -> bool:
        """Whether a log is of a newer format than this package knows."""
        if not source.checked:
            try:
                read_header(source.directory)
                source.checked = True
            except FormatTooNewError as error:
                about.fault = f"{source.directory}: {error}"
        return about.fault is not None

    def _fresh(
        self, sources: list[_Source], sent: dict[Path, Sent]
    ) -> list[tuple[_Source, list[tuple[str, int, int]]]]:
        """Return the logs to look at, and what their directories look like before that."""
        found = []
        names: set[str] = set()
        for source in sources:
            looks = source.looks()
            if self._refused(source, sent[source.directory]):
                continue
            if not _WRITER.fullmatch(source.writer):
                sent[source.directory].fault = f"{source.directory} does not say whose log it is"
            elif source.writer in names:
                sent[source.directory].fault = f"{source.directory} is one of two directories with one log"
            elif not source.settled or source.settled != looks:
                found.append((source, looks))
            names.add(source.writer)
        return found

    def _bring(
        self, bundles: NodeBundles, source: _Source, pieces: Callable[..., Iterator[Piece]], about: Sent
    ) -> None:
        files = set()
        moment = bundles.moment()
        try:
            for piece in pieces(bundles.held(source.writer)):
                bundles.add(source.writer, piece, moment)
                files.add(piece.file)
                about.bytes += len(piece.data)
        except (StorageError, CorruptLogError):
            raise
        except (OSError, BraidError) as error:
            # Of this log only: a file that cannot be read, or is of a newer format.
            source.files.forget()
            reason = error.strerror if isinstance(error, OSError) else error
            about.fault = f"{source.directory} cannot be read ({reason})"
        about.files += len(files)

    # ------------------------------------------------------------------ afterwards

    def _settle(self, source: _Source, about: Sent) -> None:
        source.shipped = source.shipped and about.fault is None
        if self.remove and source.shipped and _holds_only_a_log(source.directory) and self._all_there(source, about):
            shutil.rmtree(source.directory, ignore_errors=True)
            about.removed = not source.directory.exists()
            if about.removed and source.told is not None:
                self._removed.append(RankStatus(source.told, True))
                del self._sources[source.directory]

    def _all_there(self, source: _Source, about: Sent) -> bool:
        """Look at every byte of a log once more, with what other processes have brought meanwhile."""
        if self.bundles is None:
            try:
                return ship_writer(source.directory, self.target).bytes == 0
            except (StorageError, CorruptLogError) as error:
                about.fault = str(error)
                return False
        files = WriterFiles(source.directory)
        try:
            if not self.bundles.look():
                return False
            held = self.bundles.held(source.writer)
            return not any(piece for part in (files.events, files.streams, files.arrays) for piece in part(held))
        except (OSError, BraidError):
            return False

    def status(self, done: Round | None, *, every: float | None, final: bool) -> NodeStatus:
        """Return what is to be told of this node.

        Parameters
        ----------
        done : Round or None
            The last round; None if there was nothing to ship yet.
        every : float or None
            Seconds between two rounds.
        final : bool
            Whether this was the last one.

        Returns
        -------
        NodeStatus
            For :func:`braid_hpc.reading.node_status.write_status`.
        """
        scheduler = find_launch().evidence.get("scheduler")
        known = scheduler if isinstance(scheduler, dict) else {}
        told = [(source, source.told) for source in self._sources.values()]
        return NodeStatus(
            node=self.node,
            host=socket.gethostname(),
            scheduler=known.get("name"),
            job=known.get("job"),
            part=os.path.basename(os.path.abspath(self.target)),
            directory=os.path.abspath(self.logs),
            pid=os.getpid(),
            began=self.began,
            time=time.time_ns(),
            state="final" if final else "watching",
            every=every,
            writers=[
                *self._removed,
                *(RankStatus(progress, source.shipped) for source, progress in told if progress is not None),
            ],
            faults=done.faults if done is not None else [],
        )


def _lives(header: dict[str, Any]) -> bool:
    """Whether the process that a header names still runs; one that was killed and not yet waited for does not."""
    try:
        stat = Path(f"/proc/{int(header['pid'])}/stat").read_text()
    except (OSError, KeyError, ValueError, TypeError):
        return False
    fields = stat.rpartition(")")[2].split()
    return fields[0] not in "ZX" and int(fields[19]) == header.get("process_start")


def _holds_only_a_log(directory: Path) -> bool:
    """Whether nothing else lies in a log's directory: that was not shipped."""
    try:
        with os.scandir(directory) as entries:
            return all(
                LOG_FILE.fullmatch(entry.name.removesuffix(".new")) and entry.is_file(follow_symlinks=False)
                for entry in entries
            )
    except OSError:
        return False


def stay(
    shipper: Shipper, every: float, *, status: bool, said: Callable[[str], None]
) -> tuple[Round | None, str | None]:
    """Ship again and again until SIGTERM or SIGINT comes, and then a last time; SIGUSR1 makes a round begin at once.

    Who ends a job sends SIGTERM to all of its processes, and ranks may go on to write for a while: so there are rounds
    until no process of a log lives any more, for :data:`LINGER_S` at most. Only then the status is the final one.

    Parameters
    ----------
    shipper : Shipper
        What to ship.
    every : float
        Seconds from the beginning of one round to that of the next.
    status : bool
        Whether a status file is written after each round.
    said : callable
        Is told, in one sentence, when something cannot be shipped, and when it can again.

    Returns
    -------
    done : Round or None
        The last round; None if there were no logs.
    fault : str or None
        Why it came to nothing.
    """
    with _signals() as (stopped, wait):
        trouble: str | None = None
        until = None
        while True:
            began = time.monotonic()
            if until is None and stopped():
                until = began + (LINGER_S if stopped() == signal.SIGTERM else 0)
            # Looked at before the round: what is written until it ends is in that round.
            last = until is not None and (began >= until or not shipper.beside_a_rank())
            done, fault = _round(shipper)
            faults = [fault] if fault else done.faults if done is not None else []
            if status:
                faults += _tell(shipper, done or Round([], faults), every, final=last and not shipper.beside_a_rank())
            now = "; ".join(dict.fromkeys(faults)) or None
            if now != trouble:
                said(f"{now}: it is tried again" if now and not last else now or "all of it arrives again")
            trouble = now
            if last:
                return done, now
            if until is not None:
                time.sleep(min(every, _HURRY_S))
            elif not stopped():
                wait(max(0.0, began + every - time.monotonic()))


def _round(shipper: Shipper) -> tuple[Round | None, str | None]:
    try:
        return shipper.round(), None
    except NotFoundError:
        # The ranks have not begun yet, or what they left is removed.
        return None, None
    except (BraidError, OSError) as error:
        return None, str(error)


def _tell(shipper: Shipper, done: Round, every: float | None, *, final: bool) -> list[str]:
    """Write the status file; returns why not."""
    try:
        shipper.target.mkdir(parents=True, exist_ok=True)
        write_status(shipper.target, shipper.status(done, every=every, final=final))
    except OSError as error:
        return [f"the status of {shipper.node} cannot be written to {shipper.target} ({error.strerror or error})"]
    return []


@contextlib.contextmanager
def _signals() -> Iterator[tuple[Callable[[], int], Callable[[float], None]]]:
    """Take the signals; gives the one that says stop, and how to wait until one comes or some seconds are over."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    stop = 0

    def wake(number: int, _: FrameType | None) -> None:
        nonlocal stop
        if number != signal.SIGUSR1:
            if stop and number == signal.SIGINT:
                # Whoever is in a hurry says so twice at the keyboard. Schedulers say SIGTERM several times.
                raise KeyboardInterrupt
            stop = stop or number
        with contextlib.suppress(BlockingIOError):
            os.write(write, b"\0")

    def wait(seconds: float) -> None:
        ready, _, _ = select.select([read], [], [], seconds)
        if ready:
            os.read(read, 4096)

    before = {number: signal.signal(number, wake) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        yield lambda: stop, wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)

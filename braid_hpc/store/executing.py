"""Running one action in a process of its own, with a time limit, and keeping the ends of what it prints."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from typing import Any

from braid_hpc.vocabulary.actions import Invalidated, substituted
from braid_hpc.vocabulary.encoding import encode
from braid_hpc.vocabulary.errors import BraidError
from braid_hpc.vocabulary.payloads import Action, Result

__all__ = ["OUTPUT", "TIMEOUT", "execute"]

#: Seconds after which an action without a limit of its own is ended.
TIMEOUT = 3600.0

#: How many bytes of what an action prints are kept: half from the beginning, half from the end.
OUTPUT = 16_384

_PIECE = 65_536
#: How many pieces are read at most when it has ended; a pipe holds up to a MiB.
_BEHIND = 16


def execute(action: Action, about: Invalidated, *, timeout: float) -> Result:
    """Run an action, never through a shell, and wait for its end.

    Parameters
    ----------
    action : Action
        A command, or a function that an interpreter of its own calls.
    about : Invalidated
        The record.
    timeout : float
        Seconds, unless the action has a limit of its own; then it is killed with all that it started.

    Returns
    -------
    Result
        How it ended; an action that cannot be begun has failed.
    """
    limit = timeout if action.timeout is None else action.timeout
    given = b""
    try:
        if action.entry is not None:
            # -P: what lies in the current directory by chance is not what was meant.
            argv = [sys.executable, "-P", "-m", "braid_hpc.store.entry", action.entry]
            given = encode({name: getattr(about, name) for name in about.__slots__})
        else:
            argv = substituted(action.command, about)
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if given else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A group of its own, so that its children can be ended with it.
            start_new_session=True,
        )
    except (OSError, ValueError, BraidError) as error:
        return Result(ok=False, error=f"it cannot be begun: {error}")
    return _wait(process, given, limit)


def _wait(process: subprocess.Popen[bytes], given: bytes, limit: float) -> Result:
    late = False
    with _Listener(process) as heard:
        try:
            if process.stdin is not None:
                # Smaller than a pipe holds, or else a child that does not read it is ended below.
                threading.Thread(target=_feed, args=(process.stdin, given), daemon=True).start()
            process.wait(limit)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            if process.poll() is None:
                _kill(process)
    code = process.returncode
    ended = -code if code < 0 else None
    error = None
    if late:
        error = f"it was ended after {limit:g} s"
    elif ended is not None:
        error = f"it was ended by {_name(ended)}"
    elif code:
        error = f"it ended with exit code {code}"
    return Result(error is None, None if ended else code, ended, error, heard.text, heard.cut)


def _feed(pipe: Any, given: bytes) -> None:
    # What does not read it all is told by how it ends.
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(given)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Listener:
    """Reads what a process prints until it ends, also where something that it left behind keeps its output open."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._pipe = process.stdout
        self._first, self._last = bytearray(), bytearray()
        self._total = 0
        self._ended, self._end = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._end)
        self._thread.join()
        os.close(self._ended)
        self._pipe.close()

    def _listen(self) -> None:
        descriptor, poll = self._pipe.fileno(), select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        behind = 0
        # Once it has ended, what is in the pipe is read, but not all that something it left behind goes on to say.
        while behind < _BEHIND:
            ready = [number for number, _ in poll.poll()]
            behind += self._ended in ready
            piece = os.read(descriptor, _PIECE) if descriptor in ready else b""
            if not piece:
                return
            self._take(piece)

    def _take(self, piece: bytes) -> None:
        self._total += len(piece)
        room = OUTPUT // 2 - len(self._first)
        self._first += piece[:room]
        self._last += piece[room:]
        del self._last[: -OUTPUT // 2]

    @property
    def cut(self) -> int:
        """Bytes that were left out."""
        return self._total - len(self._first) - len(self._last)

    @property
    def text(self) -> str:
        """What was kept, and where some was left out, how much."""
        middle = f"\n[{self.cut} bytes are left out here]\n".encode() if self.cut else b""
        printed = (bytes(self._first) + middle + bytes(self._last)).decode("utf-8", "replace")
        return printed.replace("\0", "\N{SYMBOL FOR NULL}")

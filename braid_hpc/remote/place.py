"""The log of a process that runs steps: opened by its first one, closed when the process ends."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path

from braid_hpc.log.places import default_log_dir
from braid_hpc.run.recorder import Run

__all__ = ["place_of_logs", "run_of_process"]

_RUNS: dict[tuple[int, Path], Run] = {}
_LOCK = threading.Lock()
_ending: set[int] = set()


def place_of_logs() -> Path:
    """Return the directory of logs, ``BRAID_LOG_DIR`` or what recording takes without it.

    Returns
    -------
    Path
        Absolute.
    """
    chosen = os.environ.get("BRAID_LOG_DIR")
    return Path(chosen).absolute() if chosen else default_log_dir()


def run_of_process() -> Run:
    """Return the run that this process records steps with; threads share it, a forked child has its own.

    Returns
    -------
    Run
        Open.

    Raises
    ------
    StorageError
        If no log can be written.
    """
    key = os.getpid(), place_of_logs()
    with _LOCK:
        run = _RUNS.get(key)
        if run is None:
            # Alone: a step belongs to none of the ranks of the batch job that its endpoint may run in.
            run = _RUNS[key] = Run("globus", log_dir=key[1], alone=True)
            _close_at_end()
        return run


def _close_at_end() -> None:
    pid = os.getpid()
    if pid in _ending:
        return
    _ending.add(pid)
    import multiprocessing
    from multiprocessing.util import Finalize

    if multiprocessing.parent_process() is not None:
        # Workers end by os._exit, which runs nothing else.
        Finalize(None, _close, exitpriority=0)
    else:
        atexit.register(_close)


def _close() -> None:
    for (pid, _), run in list(_RUNS.items()):
        if pid == os.getpid():
            run.close()


def _after_fork() -> None:
    global _LOCK
    # Another thread of the parent may have held it.
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)

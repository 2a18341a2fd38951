"""Windows of one-sided communication: what a rank puts, gets and accumulates, and between which fences."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from braid_hpc.collectors.mpi.buffers import size_of
from braid_hpc.collectors.mpi.envelopes import rank_of
from braid_hpc.collectors.mpi.journal import Journal

__all__ = ["Window"]

MPI: Any = import_module("mpi4py.MPI")

#: Names as in the log, by mpi4py's.
_ACTS = {
    "Put": "put",
    "Rput": "put",
    "Get": "get",
    "Rget": "get",
    "Accumulate": "accumulate",
    "Raccumulate": "accumulate",
    "Get_accumulate": "get_accumulate",
    "Rget_accumulate": "get_accumulate",
    "Fetch_and_op": "fetch_and_op",
    "Compare_and_swap": "compare_and_swap",
}
#: Where the target's rank stands behind the window; one place behind each buffer that is read or written here.
_TARGETS = {"get_accumulate": 2, "fetch_and_op": 2, "compare_and_swap": 3}


class Window(MPI.Win):  # type: ignore[misc]
    """A traced window."""

    _journal: Journal
    _fences = 0
    #: How many epochs are open that only this rank, or only some ranks, know of.
    _apart = 0

    def Fence(self, assertion: int = 0) -> None:
        """Come to the end of what all ranks do, and to the beginning of what they do next."""
        self._journal.call("fence", -1, -1)
        self._fences += 1
        MPI.Win.Fence(self, assertion)

    def _open(self) -> None:
        self._apart += 1

    def _close(self) -> None:
        self._apart = max(0, self._apart - 1)


def _acting(name: str) -> Any:
    plain, what = getattr(MPI.Win, name), _ACTS[name]
    place = _TARGETS.get(what, 1)

    @functools.wraps(plain)
    def act(self: Window, *given: Any, **named: Any) -> Any:
        target = rank_of(named.get("target_rank", given[place] if len(given) > place else MPI.PROC_NULL))
        done = plain(self, *given, **named)
        # Of one that MPI refused there is nothing to say.
        if target is not None and target != MPI.PROC_NULL:
            origin = given[0] if given else named.get("origin")
            self._journal.act(what, target, size_of(origin), -1 if self._apart else self._fences)
        return done

    return act


def _bounding(name: str, bound: Any) -> Any:
    plain = getattr(MPI.Win, name)

    @functools.wraps(plain)
    def begin_or_end(self: Window, *given: Any, **named: Any) -> Any:
        bound(self)
        return plain(self, *given, **named)

    return begin_or_end


def _install() -> None:
    for name in _ACTS:
        setattr(Window, name, _acting(name))
    for name in ("Lock", "Lock_all", "Start"):
        setattr(Window, name, _bounding(name, Window._open))
    for name in ("Unlock", "Unlock_all", "Complete"):
        setattr(Window, name, _bounding(name, Window._close))


_install()

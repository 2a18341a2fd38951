"""Requests and matched messages that write down what became of a message when they complete."""

from __future__ import annotations

import functools
from importlib import import_module
from types import NoneType
from typing import Any, TypeAlias

from braid_hpc.collectors.mpi.buffers import type_of
from braid_hpc.collectors.mpi.journal import (
    CANCELLED,
    CANCELLING,
    FAILED,
    POSTED,
    RECEIVED,
    UNSENT,
    Journal,
)

__all__ = ["Message", "Prequest", "Receiving", "Repeating", "Request", "Sending", "received", "repeated", "watched"]

MPI: Any = import_module("mpi4py.MPI")
_ANY_SOURCE, _ANY_TAG, _BYTE = MPI.ANY_SOURCE, MPI.ANY_TAG, MPI.BYTE
_Status, _Wait, _wait = MPI.Status, MPI.Request.Wait, MPI.Request.wait


def received(journal: Journal, number: int, status: Any, kind: str) -> None:
    """Write down a message that was received.

    Parameters
    ----------
    journal : Journal
        Of its communicator.
    number : int
        That of its posting.
    status : mpi4py.MPI.Status
        What MPI said of it.
    kind : str
        What it consists of.
    """
    journal.note(RECEIVED, status.source, status.tag, number, status.Get_count(_BYTE), kind)


class Receiving:
    """A receive that is under way.

    Parameters
    ----------
    journal : Journal
        Of its communicator.
    peer, tag : int
        As the program gave them.
    kind : str
        What it consists of.
    """

    __slots__ = ("_journal", "kind", "number", "peer", "tag")

    def __init__(self, journal: Journal, peer: int, tag: int, kind: str) -> None:
        self._journal = journal
        self.peer = -1 if peer == _ANY_SOURCE else peer
        self.tag = -1 if tag == _ANY_TAG else tag
        self.kind = kind
        self.number = -1

    def begin(self) -> None:
        """Write down that it is posted, before MPI is told so."""
        self.number = self._journal.post()
        self._journal.note(POSTED, self.peer, self.tag, self.number, -1, self.kind)

    def cancel(self) -> None:
        """Write down that it may be cancelled."""
        self._journal.note(CANCELLING, self.peer, self.tag, self.number, -1, self.kind)

    def fail(self) -> None:
        """Write down that it never came to MPI, or that MPI refused it, so that nobody knows which message it took."""
        self._journal.note(FAILED, self.peer, self.tag, self.number, -1, self.kind)

    def end(self, status: Any) -> None:
        """Write down its message, or that it was cancelled; nothing if it was completed before, unseen."""
        if status.Is_cancelled():
            self._journal.note(CANCELLED, self.peer, self.tag, self.number, -1, self.kind)
        elif status.source >= 0:
            received(self._journal, self.number, status, self.kind)


class Sending:
    """A send that is under way.

    Parameters
    ----------
    journal, peer, tag
        As of :class:`Receiving`.
    size : int
        Bytes.
    kind : str
        What it consists of.
    """

    __slots__ = ("_journal", "kind", "number", "peer", "size", "tag")

    def __init__(self, journal: Journal, peer: int, tag: int, size: int, kind: str) -> None:
        self._journal = journal
        self.peer = peer
        self.tag = tag
        self.size = size
        self.kind = kind
        self.number = -1

    def begin(self) -> None:
        """Write down that it is sent, before MPI is told so."""
        self.number = self._journal.sent(self.peer, self.tag, self.size, self.kind)

    def cancel(self) -> None:
        """Write down that it may not be sent after all."""
        self._journal.note(UNSENT, self.peer, self.tag, self.number, -1, self.kind)

    def fail(self) -> None:
        """Write down that it never came to MPI, or that it may not be sent."""
        self._journal.note(UNSENT, self.peer, self.tag, self.number)

    def end(self, status: Any) -> None:
        """Nothing is to be said of a send that is complete."""


class Repeating:
    """A collective call that is done each time its request is started.

    Parameters
    ----------
    journal : Journal
        Of its communicator.
    call : str
        What it is.
    number : int
        That of the call which made it.
    root, size : int
        As for :meth:`Journal.call`.
    """

    __slots__ = ("_about", "_call", "_journal", "_number", "_starts")

    def __init__(self, journal: Journal, call: str, number: int, root: int, size: int) -> None:
        self._journal, self._call, self._number = journal, call, number
        self._about = root, size
        self._starts = 0

    def begin(self) -> None:
        """Write down that it is started."""
        repeat = self._starts
        self._starts = repeat + 1
        self._journal.begin(self._call, self._number, repeat, *self._about)

    def cancel(self) -> None:
        """No collective call can be cancelled: MPI says so."""

    def end(self, status: Any) -> None:
        """Nothing is to be said of its end."""


Pending: TypeAlias = "Sending | Receiving | Repeating"


# What several requests are completed by: each as mpi4py's of that name, of which some give objects beside the rest.


def _of_all(name: str) -> Any:
    """Return what completes all requests, or none of them."""
    plain, waits = getattr(MPI.Request, name), name in ("Waitall", "waitall")

    @functools.wraps(plain)
    def of_all(cls: Any, requests: Any, statuses: Any = None) -> Any:
        given, statuses = statuses, _several(requests, statuses)
        if statuses is None:
            return plain(requests, given)
        done = plain(requests, statuses)
        _lengthen(given, statuses)
        if waits or (done[0] if isinstance(done, tuple) else done):
            for request, status in zip(requests, statuses, strict=False):
                if isinstance(request, _Watched):
                    request._ended(status)
        return done

    return classmethod(of_all)


def _of_one(name: str) -> Any:
    """Return what completes one request, if any."""
    plain = getattr(MPI.Request, name)

    @functools.wraps(plain)
    def of_one(cls: Any, requests: Any, status: Any = None) -> Any:
        status = _Status() if status is None else status
        done = plain(requests, status)
        _one_ended(requests, done[0] if isinstance(done, tuple) else done, status)
        return done

    return classmethod(of_one)


def _of_some(name: str) -> Any:
    """Return what completes some requests."""
    plain = getattr(MPI.Request, name)

    @functools.wraps(plain)
    def of_some(cls: Any, requests: Any, statuses: Any = None) -> Any:
        given, statuses = statuses, _several(requests, statuses)
        if statuses is None:
            return plain(requests, given)
        done = plain(requests, statuses)
        _lengthen(given, statuses)
        indices = done[0] if isinstance(done, tuple) else done
        for index, status in zip(indices or (), statuses, strict=False):
            _one_ended(requests, index, status)
        return done

    return classmethod(of_some)


class _Watched:
    """A request of which it is known what it is for; in front of a class of mpi4py."""

    __slots__ = ()

    _pending: Pending | None

    def Cancel(self) -> None:
        """Mark it for cancellation."""
        if self._pending is not None:
            self._pending.cancel()
        MPI.Request.Cancel(self)

    def cancel(self) -> None:
        """Mark it for cancellation."""
        self.Cancel()

    def _ended(self, status: Any) -> None:
        pending = self._pending
        if pending is not None:
            # In the slots of each class that has this one in front.
            self._pending = None  # type: ignore[misc]
            pending.end(status)

    def Wait(self, status: Any = None) -> Any:
        """Wait for it."""
        pending = self._pending
        if pending.__class__ is not Receiving:
            return _Wait(self, status)
        if status is None:
            status = _Status()
        done = _Wait(self, status)
        self._ended(status)
        return done

    def wait(self, status: Any = None) -> Any:
        """Wait for it, and return what came."""
        pending = self._pending
        if pending.__class__ is not Receiving:
            return _wait(self, status)
        if status is None:
            status = _Status()
        message = _wait(self, status)
        self._ended(status)
        return message

    def Test(self, status: Any = None) -> Any:
        """Test it."""
        if status is None:
            status = _Status()
        flag = MPI.Request.Test(self, status)
        if flag:
            self._ended(status)
        return flag

    def test(self, status: Any = None) -> Any:
        """Test it, and return what came."""
        if status is None:
            status = _Status()
        flag, message = MPI.Request.test(self, status)
        if flag:
            self._ended(status)
        return flag, message

    Waitall, waitall, Testall, testall = map(_of_all, ("Waitall", "waitall", "Testall", "testall"))
    Waitany, waitany, Testany, testany = map(_of_one, ("Waitany", "waitany", "Testany", "testany"))
    Waitsome, waitsome, Testsome, testsome = map(_of_some, ("Waitsome", "waitsome", "Testsome", "testsome"))


def _several(requests: Any, statuses: Any) -> list[Any] | None:
    """Return statuses for all requests, those of the program first; None if it gave what mpi4py does not take."""
    if not isinstance(statuses, (list, tuple, NoneType)) or not isinstance(requests, (list, tuple)):
        return None
    given = list(statuses or ())
    return [*given, *(_Status() for _ in range(len(requests) - len(given)))]


def _lengthen(given: Any, statuses: list[Any]) -> None:
    """Make a list of the program's longer in place, as mpi4py does; a tuple stays as it is."""
    if isinstance(given, list):
        given.extend(statuses[len(given) :])


def _one_ended(requests: Any, index: int, status: Any) -> None:
    if index >= 0 and isinstance(requests[index], _Watched):
        requests[index]._ended(status)


class Request(_Watched, MPI.Request):  # type: ignore[misc]
    """A request of a traced communicator; :func:`watched` makes it."""

    __slots__ = ("_pending",)


def watched(request: Any, pending: Pending | None) -> Request:
    """Return a request that says how it ends.

    Parameters
    ----------
    request : mpi4py.MPI.Request
        What mpi4py made.
    pending : Sending, Receiving or None
        What it is for.

    Returns
    -------
    Request
        In its place.
    """
    new = Request(request)
    new._pending = pending
    return new


class Prequest(_Watched, MPI.Prequest):  # type: ignore[misc]
    """A persistent request of a traced communicator; :func:`repeated` makes it."""

    __slots__ = ("_each", "_pending")

    _each: Pending | None

    def _begin(self) -> None:
        if self._each is not None:
            self._each.begin()
            self._pending = self._each

    def Start(self) -> None:
        """Begin a communication with it."""
        self._begin()
        MPI.Prequest.Start(self)

    @classmethod
    def Startall(cls, requests: Any) -> None:
        """Begin a communication with all of them."""
        for request in requests:
            if isinstance(request, Prequest):
                request._begin()
        MPI.Prequest.Startall(requests)


def repeated(request: Any, each: Pending | None) -> Prequest:
    """Return a persistent request that says what each of its starts begins.

    Parameters
    ----------
    request : mpi4py.MPI.Prequest
        What mpi4py made.
    each : Sending, Receiving, Repeating or None
        What it is for.

    Returns
    -------
    Prequest
        In its place.
    """
    new = Prequest(request)
    new._each, new._pending = each, None
    return new


class Message(MPI.Message):  # type: ignore[misc]
    """A message that was matched by a probe of a traced communicator."""

    _pending: Receiving | None = None

    def __new__(cls, message: Any, pending: Receiving | None = None) -> Message:
        """Take over what mpi4py made."""
        new: Message = MPI.Message.__new__(cls, message)
        new._pending = pending
        return new

    def _taken(self, kind: str) -> Receiving | None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.kind = kind
        return pending

    def Recv(self, buf: Any, status: Any = None) -> None:
        """Receive it."""
        status = _Status() if status is None else status
        pending = self._taken(type_of(buf))
        MPI.Message.Recv(self, buf, status)
        if pending is not None:
            pending.end(status)

    def recv(self, status: Any = None) -> Any:
        """Receive it, and return what came."""
        status = _Status() if status is None else status
        pending = self._taken("pickle")
        message = MPI.Message.recv(self, status)
        if pending is not None:
            pending.end(status)
        return message

    def Irecv(self, buf: Any) -> Any:
        """Begin to receive it."""
        pending = self._taken(type_of(buf))
        return watched(MPI.Message.Irecv(self, buf), pending)

    def irecv(self) -> Any:
        """Begin to receive it."""
        pending = self._taken("pickle")
        return watched(MPI.Message.irecv(self), pending)

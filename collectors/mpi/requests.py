"""Requests and matched messages that write down what became of a message when they complete."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from braid_hpc.collectors.mpi.journal import (
    CANCELLED,
    CANCELLING,
    FAILED,
    POSTED,
    RECEIVED,
    UNSENT,
    Journal,
    type_of,
)

__all__ = ["Message", "Pending", "Prequest", "Receiving", "Request", "Sending", "received"]

MPI: Any = import_module("mpi4py.MPI")
_ANY_SOURCE, _ANY_TAG, _PROC_NULL, _BYTE = MPI.ANY_SOURCE, MPI.ANY_TAG, MPI.PROC_NULL, MPI.BYTE
_Status = MPI.Status


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


class Pending:
    """What is known of a message that is under way.

    Parameters
    ----------
    journal : Journal
        Of its communicator.
    peer, tag : int
        As the program gave them.
    kind : str
        What it consists of.
    """

    __slots__ = ("journal", "kind", "number", "peer", "tag")

    def __init__(self, journal: Journal, peer: int, tag: int, kind: str) -> None:
        self.journal = journal
        self.peer = -1 if peer == _ANY_SOURCE else peer
        self.tag = -1 if tag == _ANY_TAG else tag
        self.kind = kind
        self.number = -1

    def begin(self) -> None:
        """Write down that it is posted, before MPI is told so."""

    def cancel(self) -> None:
        """Write down that it may be cancelled."""

    def fail(self) -> None:
        """Write down that MPI refused it, so that nobody knows what became of it."""

    def end(self, status: Any) -> None:
        """Write down how it ended."""


class Receiving(Pending):
    """A receive that is under way."""

    __slots__ = ()

    def begin(self) -> None:
        """Write down that it is posted, before MPI is told so."""
        self.number = self.journal.post()
        self.journal.note(POSTED, self.peer, self.tag, self.number, kind=self.kind)

    def cancel(self) -> None:
        """Write down that it may be cancelled."""
        self.journal.note(CANCELLING, self.peer, self.tag, self.number, kind=self.kind)

    def end(self, status: Any) -> None:
        """Write down its message, or that it was cancelled."""
        if status.Is_cancelled():
            self.journal.note(CANCELLED, self.peer, self.tag, self.number, kind=self.kind)
        else:
            received(self.journal, self.number, status, self.kind)

    def fail(self) -> None:
        """Write down that nobody knows which message it took."""
        self.journal.note(FAILED, self.peer, self.tag, self.number, kind=self.kind)


class Sending(Pending):
    """A send that is under way.

    Parameters
    ----------
    journal, peer, tag, kind
        As of :class:`Pending`.
    size : int
        Bytes.
    """

    __slots__ = ("size",)

    def __init__(self, journal: Journal, peer: int, tag: int, kind: str, *, size: int) -> None:
        super().__init__(journal, peer, tag, kind)
        self.size = size

    def begin(self) -> None:
        """Write down that it is sent."""
        self.number = self.journal.sent(self.peer, self.tag, self.size, self.kind)

    def cancel(self) -> None:
        """Write down that it may not be sent after all."""
        self.journal.note(UNSENT, self.peer, self.tag, self.number, kind=self.kind)

    fail = cancel


class _Watched:
    """A request of which it is known what it is for; in front of a class of mpi4py."""

    _pending: Pending | None = None

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
            self._pending = None
            pending.end(status)

    def Wait(self, status: Any = None) -> Any:
        """Wait for it."""
        status = _Status() if status is None else status
        done = MPI.Request.Wait(self, status)
        self._ended(status)
        return done

    def wait(self, status: Any = None) -> Any:
        """Wait for it, and return what came."""
        status = _Status() if status is None else status
        message = MPI.Request.wait(self, status)
        self._ended(status)
        return message

    def Test(self, status: Any = None) -> Any:
        """Test it."""
        status = _Status() if status is None else status
        flag = MPI.Request.Test(self, status)
        if flag:
            self._ended(status)
        return flag

    def test(self, status: Any = None) -> Any:
        """Test it, and return what came."""
        status = _Status() if status is None else status
        flag, message = MPI.Request.test(self, status)
        if flag:
            self._ended(status)
        return flag, message

    @classmethod
    def Waitall(cls, requests: Any, statuses: Any = None) -> Any:
        """Wait for all of them."""
        statuses = _several(requests, statuses)
        done = MPI.Request.Waitall(requests, statuses)
        _all_ended(requests, statuses)
        return done

    @classmethod
    def waitall(cls, requests: Any, statuses: Any = None) -> Any:
        """Wait for all of them, and return what came."""
        statuses = _several(requests, statuses)
        messages = MPI.Request.waitall(requests, statuses)
        _all_ended(requests, statuses)
        return messages

    @classmethod
    def Testall(cls, requests: Any, statuses: Any = None) -> Any:
        """Test all of them."""
        statuses = _several(requests, statuses)
        flag = MPI.Request.Testall(requests, statuses)
        if flag:
            _all_ended(requests, statuses)
        return flag

    @classmethod
    def testall(cls, requests: Any, statuses: Any = None) -> Any:
        """Test all of them, and return what came."""
        statuses = _several(requests, statuses)
        flag, messages = MPI.Request.testall(requests, statuses)
        if flag:
            _all_ended(requests, statuses)
        return flag, messages

    @classmethod
    def Waitany(cls, requests: Any, status: Any = None) -> Any:
        """Wait for one of them."""
        status = _Status() if status is None else status
        index = MPI.Request.Waitany(requests, status)
        _one_ended(requests, index, status)
        return index

    @classmethod
    def waitany(cls, requests: Any, status: Any = None) -> Any:
        """Wait for one of them, and return what came."""
        status = _Status() if status is None else status
        index, message = MPI.Request.waitany(requests, status)
        _one_ended(requests, index, status)
        return index, message

    @classmethod
    def Testany(cls, requests: Any, status: Any = None) -> Any:
        """Test for one of them."""
        status = _Status() if status is None else status
        index, flag = MPI.Request.Testany(requests, status)
        _one_ended(requests, index, status)
        return index, flag

    @classmethod
    def testany(cls, requests: Any, status: Any = None) -> Any:
        """Test for one of them, and return what came."""
        status = _Status() if status is None else status
        index, flag, message = MPI.Request.testany(requests, status)
        _one_ended(requests, index, status)
        return index, flag, message

    @classmethod
    def Waitsome(cls, requests: Any, statuses: Any = None) -> Any:
        """Wait for some of them."""
        statuses = _several(requests, statuses)
        indices = MPI.Request.Waitsome(requests, statuses)
        _some_ended(requests, indices, statuses)
        return indices

    @classmethod
    def waitsome(cls, requests: Any, statuses: Any = None) -> Any:
        """Wait for some of them, and return what came."""
        statuses = _several(requests, statuses)
        indices, messages = MPI.Request.waitsome(requests, statuses)
        _some_ended(requests, indices, statuses)
        return indices, messages

    @classmethod
    def Testsome(cls, requests: Any, statuses: Any = None) -> Any:
        """Test for some of them."""
        statuses = _several(requests, statuses)
        indices = MPI.Request.Testsome(requests, statuses)
        _some_ended(requests, indices, statuses)
        return indices

    @classmethod
    def testsome(cls, requests: Any, statuses: Any = None) -> Any:
        """Test for some of them, and return what came."""
        statuses = _several(requests, statuses)
        indices, messages = MPI.Request.testsome(requests, statuses)
        _some_ended(requests, indices, statuses)
        return indices, messages


def _several(requests: Any, statuses: Any) -> list[Any]:
    """Return statuses for all requests: those of the program first, made longer in place as mpi4py does."""
    given: list[Any] = [] if statuses is None else statuses
    given.extend(_Status() for _ in range(len(requests) - len(given)))
    return given


def _all_ended(requests: Any, statuses: list[Any]) -> None:
    for request, status in zip(requests, statuses, strict=False):
        if isinstance(request, _Watched):
            request._ended(status)


def _one_ended(requests: Any, index: int, status: Any) -> None:
    if index >= 0 and isinstance(requests[index], _Watched):
        requests[index]._ended(status)


def _some_ended(requests: Any, indices: Any, statuses: list[Any]) -> None:
    for index, status in zip(indices or (), statuses, strict=False):
        _one_ended(requests, index, status)


class Request(_Watched, MPI.Request):  # type: ignore[misc]
    """A request of a traced communicator."""

    def __new__(cls, request: Any, pending: Pending | None = None) -> Request:
        """Take over what mpi4py made."""
        new: Request = MPI.Request.__new__(cls, request)
        new._pending = pending
        return new


class Prequest(_Watched, MPI.Prequest):  # type: ignore[misc]
    """A persistent request of a traced communicator."""

    _each: Pending | None = None

    def __new__(cls, request: Any, each: Pending | None = None) -> Prequest:
        """Take over what mpi4py made; `each` is what every start of it begins."""
        new: Prequest = MPI.Prequest.__new__(cls, request)
        new._each = each
        return new

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
        return Request(MPI.Message.Irecv(self, buf), pending)

    def irecv(self) -> Any:
        """Begin to receive it."""
        pending = self._taken("pickle")
        return Request(MPI.Message.irecv(self), pending)

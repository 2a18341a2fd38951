"""Point-to-point communication of a traced communicator: as mpi4py's, and written down."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from importlib import import_module
from typing import Any, TypeAlias

from braid_hpc.collectors.mpi.journal import FAILED, POSTED, UNSENT, Journal, size_of, type_of
from braid_hpc.collectors.mpi.requests import Message, Pending, Prequest, Receiving, Request, Sending, received

__all__ = ["Messages"]

MPI: Any = import_module("mpi4py.MPI")
_Comm, _Status, _BYTE = MPI.Comm, MPI.Status, MPI.BYTE
_ANY_SOURCE, _ANY_TAG, _PROC_NULL = MPI.ANY_SOURCE, MPI.ANY_TAG, MPI.PROC_NULL
_Ends: TypeAlias = "tuple[Sending | None, Receiving | None]"


def _dumps(thing: Any) -> bytes:
    # Asked of MPI each time: a program may put another pickle there.
    return MPI.pickle.dumps(thing)  # type: ignore[no-any-return]


def _sender(name: str) -> Any:
    """Return a blocking send of a buffer."""
    plain = getattr(_Comm, name)

    @functools.wraps(plain)
    def send(self: Messages, buf: Any, dest: int, tag: int = 0) -> None:
        if dest != _PROC_NULL:
            number = self._journal.sent(dest, tag, size_of(buf), type_of(buf))
            try:
                return plain(self, buf, dest, tag)  # type: ignore[no-any-return]
            except BaseException:
                self._journal.note(UNSENT, dest, tag, number)
                raise
        return plain(self, buf, dest, tag)  # type: ignore[no-any-return]

    return send


def _pickler(name: str) -> Any:
    """Return a blocking send of an object: pickled as mpi4py does it, so that its size is known."""
    plain = getattr(_Comm, name)

    @functools.wraps(getattr(_Comm, name.lower()))
    def send(self: Messages, obj: Any, dest: int, tag: int = 0) -> None:
        if dest == _PROC_NULL:
            return
        data = _dumps(obj)
        number = self._journal.sent(dest, tag, len(data), "pickle")
        try:
            plain(self, (data, _BYTE), dest, tag)
        except BaseException:
            self._journal.note(UNSENT, dest, tag, number)
            raise

    return send


def _beginner(name: str) -> Any:
    """Return a send of a buffer that is completed by its request."""
    plain = getattr(_Comm, name)

    @functools.wraps(plain)
    def send(self: Messages, buf: Any, dest: int, tag: int = 0) -> Any:
        pending = None if dest == _PROC_NULL else self._sending(buf, dest, tag)
        return self._request(pending, plain, buf, dest, tag)

    return send


def _pickling_beginner(name: str) -> Any:
    """Return a send of an object that is completed by its request."""
    plain = getattr(_Comm, name)
    null = getattr(_Comm, name.lower())

    @functools.wraps(null)
    def send(self: Messages, obj: Any, dest: int, tag: int = 0) -> Any:
        if dest == _PROC_NULL:
            return Request(null(self, obj, dest, tag))
        data = _dumps(obj)
        pending = Sending(self._journal, dest, tag, "pickle", size=len(data))
        return self._request(pending, plain, (data, _BYTE), dest, tag)

    return send


def _initiator(name: str) -> Any:
    """Return what makes a request that sends each time it is started."""
    plain = getattr(_Comm, name)

    @functools.wraps(plain)
    def init(self: Messages, buf: Any, dest: int, tag: int = 0) -> Any:
        request = plain(self, buf, dest, tag)
        return Prequest(request, None if dest == _PROC_NULL else self._sending(buf, dest, tag))

    return init


class Messages:
    """Sends and receives; in front of a class of mpi4py."""

    _journal: Journal

    @contextlib.contextmanager
    def sending(self, record: Any) -> Iterator[Any]:
        """Say that the messages sent within the ``with`` block carry a record.

        Parameters
        ----------
        record : Record or object
            A handle, or what a record was made for.

        Yields
        ------
        communicator
            This one.
        """
        before = self._journal.carry(record)
        try:
            yield self
        finally:
            self._journal.record = before

    def _failed(self, source: int, tag: int, number: int) -> None:
        peer, tag = -1 if source == _ANY_SOURCE else source, -1 if tag == _ANY_TAG else tag
        self._journal.note(FAILED, peer, tag, number)

    # ------------------------------------------------------------------ sends

    Send, Bsend, Ssend, Rsend = map(_sender, ("Send", "Bsend", "Ssend", "Rsend"))
    send, bsend, ssend = map(_pickler, ("Send", "Bsend", "Ssend"))
    Isend, Ibsend, Issend, Irsend = map(_beginner, ("Isend", "Ibsend", "Issend", "Irsend"))
    isend, ibsend, issend = map(_pickling_beginner, ("Isend", "Ibsend", "Issend"))
    Send_init, Bsend_init, Ssend_init, Rsend_init = map(
        _initiator, ("Send_init", "Bsend_init", "Ssend_init", "Rsend_init")
    )

    # ------------------------------------------------------------------ receives

    def Recv(self, buf: Any, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: Any = None) -> None:
        """Receive into a buffer."""
        if source == _PROC_NULL:
            return _Comm.Recv(self, buf, source, tag, status)  # type: ignore[no-any-return]
        status = _Status() if status is None else status
        number = self._journal.post()
        try:
            _Comm.Recv(self, buf, source, tag, status)
        except BaseException:
            self._failed(source, tag, number)
            raise
        return received(self._journal, number, status, type_of(buf))

    def recv(self, buf: Any = None, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: Any = None) -> Any:
        """Receive an object."""
        if source == _PROC_NULL:
            return _Comm.recv(self, buf, source, tag, status)
        status = _Status() if status is None else status
        number = self._journal.post()
        try:
            message = _Comm.recv(self, buf, source, tag, status)
        except BaseException:
            self._failed(source, tag, number)
            raise
        received(self._journal, number, status, "pickle")
        return message

    def Irecv(self, buf: Any, source: int = _ANY_SOURCE, tag: int = _ANY_TAG) -> Any:
        """Begin to receive into a buffer."""
        return self._begun(_Comm.Irecv, buf, source, tag, type_of(buf))

    def irecv(self, buf: Any = None, source: int = _ANY_SOURCE, tag: int = _ANY_TAG) -> Any:
        """Begin to receive an object."""
        return self._begun(_Comm.irecv, buf, source, tag, "pickle")

    def _begun(self, begin: Any, buf: Any, source: int, tag: int, kind: str) -> Any:
        pending = None if source == _PROC_NULL else Receiving(self._journal, source, tag, kind)
        return self._request(pending, begin, buf, source, tag)

    def _sending(self, buf: Any, dest: int, tag: int) -> Sending:
        return Sending(self._journal, dest, tag, type_of(buf), size=size_of(buf))

    def _request(self, pending: Pending | None, begin: Any, *given: Any) -> Any:
        if pending is None:
            return Request(begin(self, *given))
        pending.begin()
        try:
            return Request(begin(self, *given), pending)
        except BaseException:
            pending.fail()
            raise

    def Recv_init(self, buf: Any, source: int = _ANY_SOURCE, tag: int = _ANY_TAG) -> Any:
        """Make a request that receives each time it is started."""
        request = _Comm.Recv_init(self, buf, source, tag)
        return Prequest(request, None if source == _PROC_NULL else Receiving(self._journal, source, tag, type_of(buf)))

    # ------------------------------------------------------------------ probes

    def Mprobe(self, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: Any = None) -> Any:
        """Wait for a message and match it."""
        status = _Status() if status is None else status
        return self._matched(_Comm.Mprobe(self, source, tag, status), source, status)

    def mprobe(self, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: Any = None) -> Any:
        """Wait for a message and match it."""
        status = _Status() if status is None else status
        return self._matched(_Comm.mprobe(self, source, tag, status), source, status)

    def Improbe(self, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: Any = None) -> Any:
        """Match a message, if there is one."""
        status = _Status() if status is None else status
        return self._matched(_Comm.Improbe(self, source, tag, status), source, status)

    def improbe(self, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: Any = None) -> Any:
        """Match a message, if there is one."""
        status = _Status() if status is None else status
        return self._matched(_Comm.improbe(self, source, tag, status), source, status)

    def _matched(self, message: Any, source: int, status: Any) -> Any:
        if message is None or source == _PROC_NULL:
            return message
        pending = Receiving(self._journal, status.source, status.tag, "")
        pending.number = self._journal.post()
        self._journal.note(POSTED, pending.peer, pending.tag, pending.number, status.Get_count(_BYTE))
        return Message(message, pending)

    # ------------------------------------------------------------------ both at once

    def Sendrecv(
        self,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
        status: Any = None,
    ) -> None:
        """Send a buffer and receive another one."""
        status = _Status() if status is None else status
        ends = self._both(sendbuf, dest, sendtag, recvbuf, source, recvtag)
        with _together(ends):
            _Comm.Sendrecv(self, sendbuf, dest, sendtag, recvbuf, source, recvtag, status)
        _end(ends, status)

    def Sendrecv_replace(
        self,
        buf: Any,
        dest: int,
        sendtag: int = 0,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
        status: Any = None,
    ) -> None:
        """Send a buffer and receive into it."""
        status = _Status() if status is None else status
        ends = self._both(buf, dest, sendtag, buf, source, recvtag)
        with _together(ends):
            _Comm.Sendrecv_replace(self, buf, dest, sendtag, source, recvtag, status)
        _end(ends, status)

    def Isendrecv(
        self,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
    ) -> Any:
        """Begin to send a buffer and to receive another one."""
        ends = self._both(sendbuf, dest, sendtag, recvbuf, source, recvtag)
        with _together(ends):
            request = _Comm.Isendrecv(self, sendbuf, dest, sendtag, recvbuf, source, recvtag)
        return Request(request, ends[1])

    def Isendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY_SOURCE, recvtag: int = _ANY_TAG
    ) -> Any:
        """Begin to send a buffer and to receive into it."""
        ends = self._both(buf, dest, sendtag, buf, source, recvtag)
        with _together(ends):
            request = _Comm.Isendrecv_replace(self, buf, dest, sendtag, source, recvtag)
        return Request(request, ends[1])

    def sendrecv(
        self,
        sendobj: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
        status: Any = None,
    ) -> Any:
        """Send an object and receive another one: in the three steps in which mpi4py does it."""
        request = self.isend(sendobj, dest, sendtag)
        message = self.recv(recvbuf, source, recvtag, status)
        request.Wait()
        return message

    def _both(self, sendbuf: Any, dest: int, sendtag: int, recvbuf: Any, source: int, recvtag: int) -> _Ends:
        send = None if dest == _PROC_NULL else self._sending(sendbuf, dest, sendtag)
        receive = None if source == _PROC_NULL else Receiving(self._journal, source, recvtag, type_of(recvbuf))
        return send, receive


@contextlib.contextmanager
def _together(ends: _Ends) -> Iterator[None]:
    """Begin both ends of an exchange; should MPI refuse it, nobody knows what became of them."""
    for pending in ends:
        if pending is not None:
            pending.begin()
    try:
        yield
    except BaseException:
        for pending in ends:
            if pending is not None:
                pending.fail()
        raise


def _end(ends: _Ends, status: Any) -> None:
    if ends[1] is not None:
        ends[1].end(status)

"""Point-to-point communication of a traced communicator: as mpi4py's, and written down."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from importlib import import_module
from typing import Any, TypeAlias

from braid_hpc.collectors.mpi.buffers import describe, type_of
from braid_hpc.collectors.mpi.envelopes import envelope, rank_of
from braid_hpc.collectors.mpi.journal import FAILED, POSTED, UNSENT, Journal
from braid_hpc.collectors.mpi.requests import Message, Receiving, Sending, received, repeated, watched

__all__ = ["Messages"]

MPI: Any = import_module("mpi4py.MPI")
_Comm, _Status, _BYTE = MPI.Comm, MPI.Status, MPI.BYTE
_ANY_SOURCE, _ANY_TAG, _PROC_NULL = MPI.ANY_SOURCE, MPI.ANY_TAG, MPI.PROC_NULL


def _dumps(thing: Any) -> bytes:
    # Asked of MPI each time: a program may put another pickle there.
    return MPI.pickle.dumps(thing)  # type: ignore[no-any-return]


def _sender(name: str) -> Any:
    """Return a blocking send of a buffer."""
    plain = getattr(_Comm, name)

    @functools.wraps(plain)
    def send(self: Messages, buf: Any, dest: int, tag: int = 0) -> Any:
        peer, its_tag = envelope(dest, tag)
        if peer == _PROC_NULL:
            return plain(self, buf, dest, tag)
        size, kind = describe(buf)
        number = self._journal.sent(peer, its_tag, size, kind)
        try:
            return plain(self, buf, dest, tag)
        except BaseException:
            self._journal.note(UNSENT, peer, its_tag, number)
            raise

    return send


def _pickler(name: str) -> Any:
    """Return a blocking send of an object: pickled as mpi4py does it, so that its size is known."""
    plain = getattr(_Comm, name)
    null = getattr(_Comm, name.lower())

    @functools.wraps(null)
    def send(self: Messages, obj: Any, dest: int, tag: int = 0) -> None:
        peer, its_tag = envelope(dest, tag)
        if peer == _PROC_NULL:
            null(self, obj, dest, tag)
            return
        data = _dumps(obj)
        number = self._journal.sent(peer, its_tag, len(data), "pickle")
        try:
            plain(self, (data, _BYTE), dest, tag)
        except BaseException:
            self._journal.note(UNSENT, peer, its_tag, number)
            raise

    return send


def _beginner(name: str) -> Any:
    """Return a send of a buffer that is completed by its request."""
    plain = getattr(_Comm, name)

    @functools.wraps(plain)
    def send(self: Messages, buf: Any, dest: int, tag: int = 0) -> Any:
        peer, its_tag = envelope(dest, tag)
        if peer == _PROC_NULL:
            return watched(plain(self, buf, dest, tag), None)
        pending = Sending(self._journal, peer, its_tag, *describe(buf))
        pending.begin()
        try:
            return watched(plain(self, buf, dest, tag), pending)
        except BaseException:
            pending.fail()
            raise

    return send


def _pickling_beginner(name: str) -> Any:
    """Return a send of an object that is completed by its request."""
    plain = getattr(_Comm, name)
    null = getattr(_Comm, name.lower())

    @functools.wraps(null)
    def send(self: Messages, obj: Any, dest: int, tag: int = 0) -> Any:
        peer, its_tag = envelope(dest, tag)
        if peer == _PROC_NULL:
            return watched(null(self, obj, dest, tag), None)
        data = _dumps(obj)
        pending = Sending(self._journal, peer, its_tag, len(data), "pickle")
        pending.begin()
        try:
            return watched(plain(self, (data, _BYTE), dest, tag), pending)
        except BaseException:
            pending.fail()
            raise

    return send


def _initiator(name: str) -> Any:
    """Return what makes a request that sends each time it is started."""
    plain = getattr(_Comm, name)

    @functools.wraps(plain)
    def init(self: Messages, buf: Any, dest: int, tag: int = 0) -> Any:
        request = plain(self, buf, dest, tag)
        peer, its_tag = envelope(dest, tag)
        return repeated(request, None if peer == _PROC_NULL else Sending(self._journal, peer, its_tag, *describe(buf)))

    return init


def _prober(name: str) -> Any:
    """Return a probe that matches a message."""
    plain = getattr(_Comm, name)

    @functools.wraps(plain)
    def probe(self: Messages, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: Any = None) -> Any:
        status = _Status() if status is None else status
        return self._matched(plain(self, source, tag, status), status)

    return probe


_Ends: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


def _envelopes(dest: Any, sendtag: Any, source: Any, recvtag: Any) -> _Ends:
    """Return both envelopes of an exchange, which goes nowhere if one of them is none that MPI takes."""
    if None in map(rank_of, (dest, sendtag, source, recvtag)):
        return (_PROC_NULL, 0), (_PROC_NULL, 0)
    return envelope(dest, sendtag), envelope(source, recvtag)


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

    def _failed(self, peer: int, tag: int, number: int) -> None:
        self._journal.note(FAILED, -1 if peer == _ANY_SOURCE else peer, -1 if tag == _ANY_TAG else tag, number)

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
        peer, its_tag = envelope(source, tag)
        if peer == _PROC_NULL:
            return _Comm.Recv(self, buf, source, tag, status)  # type: ignore[no-any-return]
        if status is None:
            status = _Status()
        number = self._journal.post()
        try:
            _Comm.Recv(self, buf, source, tag, status)
        except BaseException:
            self._failed(peer, its_tag, number)
            raise
        return received(self._journal, number, status, type_of(buf))

    def recv(self, buf: Any = None, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: Any = None) -> Any:
        """Receive an object."""
        peer, its_tag = envelope(source, tag)
        if peer == _PROC_NULL:
            return _Comm.recv(self, buf, source, tag, status)
        own = status is None
        if own:
            status = _Status()
        number = self._journal.post()
        try:
            message = _Comm.recv(self, buf, source, tag, status)
        except BaseException:
            # It may be the pickle that cannot be read, of a message that was received: then the status tells of it.
            if own and status.source >= 0:
                received(self._journal, number, status, "pickle")
            else:
                self._failed(peer, its_tag, number)
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
        peer, its_tag = envelope(source, tag)
        if peer == _PROC_NULL:
            return watched(begin(self, buf, source, tag), None)
        pending = Receiving(self._journal, peer, its_tag, kind)
        pending.begin()
        try:
            return watched(begin(self, buf, source, tag), pending)
        except BaseException:
            pending.fail()
            raise

    def Recv_init(self, buf: Any, source: int = _ANY_SOURCE, tag: int = _ANY_TAG) -> Any:
        """Make a request that receives each time it is started."""
        request = _Comm.Recv_init(self, buf, source, tag)
        peer, its_tag = envelope(source, tag)
        return repeated(request, None if peer == _PROC_NULL else Receiving(self._journal, peer, its_tag, type_of(buf)))

    # ------------------------------------------------------------------ probes

    Mprobe, mprobe, Improbe, improbe = map(_prober, ("Mprobe", "mprobe", "Improbe", "improbe"))

    def _matched(self, message: Any, status: Any) -> Any:
        if message is None or status.source < 0:
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
        ends = _envelopes(dest, sendtag, source, recvtag)
        begun = self._both(sendbuf, ends)
        try:
            _Comm.Sendrecv(self, sendbuf, dest, sendtag, recvbuf, source, recvtag, status)
        except BaseException:
            self._refused(begun, ends)
            raise
        if begun[1] >= 0:
            received(self._journal, begun[1], status, type_of(recvbuf))

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
        ends = _envelopes(dest, sendtag, source, recvtag)
        begun = self._both(buf, ends)
        try:
            _Comm.Sendrecv_replace(self, buf, dest, sendtag, source, recvtag, status)
        except BaseException:
            self._refused(begun, ends)
            raise
        if begun[1] >= 0:
            received(self._journal, begun[1], status, type_of(buf))

    def _both(self, buf: Any, ends: _Ends) -> tuple[int, int]:
        """Write down a send; return its number and that of a receive, -1 for what goes nowhere."""
        (dest, sendtag), (source, _) = ends
        sent = -1 if dest == _PROC_NULL else self._journal.sent(dest, sendtag, *describe(buf))
        return sent, -1 if source == _PROC_NULL else self._journal.post()

    def _refused(self, begun: tuple[int, int], ends: _Ends) -> None:
        if begun[0] >= 0:
            self._journal.note(UNSENT, *ends[0], begun[0])
        if begun[1] >= 0:
            self._failed(*ends[1], begun[1])

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
        send, receive = self._ends(sendbuf, dest, sendtag, recvbuf, source, recvtag)
        with _together(send, receive):
            request = _Comm.Isendrecv(self, sendbuf, dest, sendtag, recvbuf, source, recvtag)
        return watched(request, receive)

    def Isendrecv_replace(
        self, buf: Any, dest: int, sendtag: int = 0, source: int = _ANY_SOURCE, recvtag: int = _ANY_TAG
    ) -> Any:
        """Begin to send a buffer and to receive into it."""
        send, receive = self._ends(buf, dest, sendtag, buf, source, recvtag)
        with _together(send, receive):
            request = _Comm.Isendrecv_replace(self, buf, dest, sendtag, source, recvtag)
        return watched(request, receive)

    def _ends(
        self, sendbuf: Any, dest: int, sendtag: int, recvbuf: Any, source: int, recvtag: int
    ) -> tuple[Sending | None, Receiving | None]:
        to, of = _envelopes(dest, sendtag, source, recvtag)
        send = None if to[0] == _PROC_NULL else Sending(self._journal, *to, *describe(sendbuf))
        receive = None if of[0] == _PROC_NULL else Receiving(self._journal, *of, type_of(recvbuf))
        return send, receive

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


@contextlib.contextmanager
def _together(*ends: Sending | Receiving | None) -> Iterator[None]:
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

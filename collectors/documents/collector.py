"""The collector of instrument documents: a callable that a RunEngine, a message or a line of a file gives them to."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.documents.events import LONGEST_NAME, append_event, append_exactly, is_event, kinds_of_value
from braid_hpc.collectors.documents.kinds import DECLARED
from braid_hpc.collectors.documents.layout import Layout
from braid_hpc.collectors.documents.pages import events_of_page, extend_page, is_page, kinds_of_column
from braid_hpc.collectors.documents.scans import Scans
from braid_hpc.collectors.losses import Collecting
from braid_hpc.run.guard import passes, shown, strict
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.event_rows import DOCUMENT_COLUMNS, DOCUMENTS, ORPHANS, stream_of, written_keys
from braid_hpc.vocabulary.verbatim import Unkept, encode_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.run.recorder import Run

__all__ = ["DocumentCollector"]

#: Descriptors whose layout is remembered, and different tables that one collector declares.
MOST_LAYOUTS = 1024
MOST_TABLES = 1024

#: Which member names a document, and which one the other document that it belongs to.
_NAMES = {
    "start": ("uid", ""),
    "stop": ("uid", ""),
    "descriptor": ("uid", ""),
    "resource": ("uid", ""),
    "stream_resource": ("uid", ""),
    "datum": ("datum_id", "resource"),
    "datum_page": ("", "resource"),
    "bulk_datum": ("", "resource"),
    "stream_datum": ("uid", "descriptor"),
    "event": ("uid", "descriptor"),
    "event_page": ("", "descriptor"),
}


class DocumentCollector(Collecting):
    """Records the documents of an instrument, word for word.

    An instance is called with the name of a document and the document: ``RunEngine.subscribe(DocumentCollector(run))``.
    When the call returns, the kernel holds the document. It never raises into its caller, waits for nobody, and keeps
    nothing of a document; documents may come in any order, twice, and on several ranks. They are put together when they
    are read: ``store.documents(uid)``.

    Parameters
    ----------
    run : Run
        The job that they are recorded in.

    Attributes
    ----------
    taken : int
        Documents that are held; an event of a page counts as one.
    losses : Losses
        Documents that could not be written (``lost``), of which a value could not be kept (``not whole``), that cannot
        be what they are called (``not a document``, kept as they are), and wrong calls (``refused``).

    Examples
    --------
    >>> import tempfile
    >>> import braid_hpc as braid
    >>> from braid_hpc.collectors.documents import DocumentCollector
    >>> with braid.job("scans", log_dir=tempfile.mkdtemp()) as run, DocumentCollector(run) as collect:
    ...     collect("start", {"uid": "c0ffee", "time": 1.0, "sample": "Ni"})
    ...     collect("stop", {"uid": "beef", "run_start": "c0ffee", "time": 2.0, "exit_status": "success"})
    >>> collect.taken, collect.losses.total
    (2, 0)
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run, "documents")
        self._scans = Scans(run)
        self._layouts: OrderedDict[str, Layout] = OrderedDict()
        self._tables: dict[tuple[Any, ...], Any] = {}
        self._documents: Any = None
        self._called = 0
        self.taken = 0
        self._ways: dict[str, Callable[[Any], None]] = {
            "event": self._event,
            "event_page": self._event_page,
            "bulk_events": self._bulk_events,
            "start": self._start,
            "stop": self._stop,
            "descriptor": self._descriptor,
            "resource": self._resource,
            "stream_resource": self._stream_resource,
        }

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        """Record a document.

        Parameters
        ----------
        name : str
            Which kind it is: ``start``, ``descriptor``, ``event`` and so on.
        document : dict
            It; what becomes of it after the call is of no matter here.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if `name` is no text, or `document` no mapping.
        """
        if not self._run:
            return
        self._called += 1
        try:
            if name.__class__ is not str or not isinstance(document, dict):
                self._wrong(name, document)
            elif (way := self._ways.get(name)) is not None:
                way(document)
            else:
                self._keep(name, document)
        except Exception as error:
            if passes(error):
                raise
            self._count("refused", f"{type(error).__name__}: {shown(error)}")

    def _finish(self) -> None:
        """Note the files of runs that have not stopped; nothing else waits for it, and no document."""
        self._scans.close()

    # ------------------------------------------------------------------ events

    def _event(self, document: Any) -> None:
        if not is_event(document):
            self._count("not a document", "an event that has no data")
            self._keep("event", document)
            return
        layout = self._layouts.get(document["descriptor"]) or self._layout(document["descriptor"], None)
        done = append_event(layout, document) if layout.append is not None else None
        if done is None:
            if not layout.turn(document["data"], kinds_of_value, self._open):
                self._keep("event", document)
                return
            done = append_event(layout, document) or append_exactly(layout, document)
            if done is None:
                self._keep("event", document)
                return
        rows, unkept = done
        if rows.count:
            self.taken += 1
        else:
            self._count("lost", "an event could not be written")
        if unkept:
            self._not_whole("event", unkept)

    def _event_page(self, given: Any) -> None:
        # Whoever unpacks a page that says nothing of it gives each event an empty one.
        page = {"filled": {}, **given} if isinstance(given, dict) else given
        if not is_page(page):
            if not (isinstance(page, dict) and isinstance(rows := page.get("seq_num"), list) and not rows):
                self._count("not a document", "an event page whose columns differ in length, or lack")
            self._keep("event_page", given)
            return
        layout = self._layouts.get(page["descriptor"]) or self._layout(page["descriptor"], None)
        if not layout.turn(page["data"], kinds_of_column, self._open):
            self._keep("event_page", given)
        elif (done := extend_page(layout, page)) is None:
            for event in events_of_page(page):
                self._event(event)
        else:
            self.taken += done[0]
            self._count("lost", "events of a page could not be written", done[1])

    def _bulk_events(self, document: Any) -> None:
        if not isinstance(document, dict) or not all(type(events) in (list, tuple) for events in document.values()):
            self._count("not a document", "bulk events that are not lists of events")
            self._keep("bulk_events", document)
            return
        for events in document.values():
            for event in events:
                self._event(event)

    def _layout(self, descriptor: str, document: dict[str, Any] | None) -> Layout:
        """Make the layout for a descriptor; of one that was not seen yet only what its events say is known."""
        declared: dict[str, str] = {}
        units: dict[str, str] = {}
        keys = document.get("data_keys") if document is not None else None
        for key, about in list(keys.items()) if isinstance(keys, dict) else ():
            if type(key) is str and isinstance(about, dict):
                # What lies in files is in its events as the name of a datum.
                kind = DECLARED.get(about["dtype"]) if type(about.get("dtype")) is str else None
                if kind is not None and about.get("external") is None:
                    declared[key] = kind
                if type(unit := about.get("units")) is str and len(unit) < 200:
                    units[key] = unit.encode("utf-8", "backslashreplace").decode()
        described = (
            None if document is None else frozenset(written_keys(keys if isinstance(keys, dict) else ()).values())
        )
        stream = ORPHANS if document is None else stream_of(document.get("name"))
        layout = self._layouts[descriptor] = Layout(stream, declared, units, described=described)
        if len(self._layouts) > MOST_LAYOUTS:
            # Its events that still come stand among those whose stream is not known.
            self._layouts.popitem(last=False)
        return layout

    def _open(self, name: str, columns: dict[str, str], units: dict[str, str]) -> Any:
        """Return a stream; beyond so many tables None, and events are kept as documents: they lose their columns."""
        key = (name, *columns.items(), *units.items())
        found = self._tables.get(key)
        if found is None and len(self._tables) < MOST_TABLES:
            found = self._tables[key] = self._run.stream(name, columns, units=units)
        return found

    # ------------------------------------------------------------------ all other documents

    def _start(self, document: Any) -> None:
        body = self._keep("start", document)
        if isinstance(document, dict) and body:
            from blake3 import blake3

            self._scans.start(document, f"blake3:{blake3(body).hexdigest()}")

    def _stop(self, document: Any) -> None:
        self._keep("stop", document)
        if isinstance(document, dict):
            self._scans.stop(document)

    def _descriptor(self, document: Any) -> None:
        self._keep("descriptor", document)
        if not isinstance(document, dict) or type(uid := document.get("uid")) is not str or len(uid) > 1000:
            return
        known = self._layouts.get(uid)
        if known is None or known.orphan:
            self._layout(uid, document)
        self._scans.descriptor(document)

    def _resource(self, document: Any) -> None:
        self._keep("resource", document)
        if isinstance(document, dict):
            self._scans.resource(document)

    def _stream_resource(self, document: Any) -> None:
        self._keep("stream_resource", document)
        if isinstance(document, dict):
            self._scans.resource(document)

    def _keep(self, name: Any, document: Any, *, counted: bool = False) -> bytes:
        """Keep a document word for word; return what was written."""
        if self._documents is None:
            self._documents = self._run.stream(DOCUMENTS, DOCUMENT_COLUMNS)
        body, unkept = encode_words(document)
        about = document if isinstance(document, dict) else {}
        uid, belongs = _NAMES.get(name, ("uid", "")) if type(name) is str else ("uid", "")
        scan = about.get("uid") if name == "start" else about.get("run_start")
        if not counted and (
            name not in _NAMES or not isinstance(document, dict) or (uid and type(about.get(uid)) is not str)
        ):
            self._count("not a document", f"{shown(name)} without {uid or 'what names it'}")
        elif unkept:
            self._not_whole(name, unkept)
        row = self._documents.append(
            _text(name if type(name) is str else shown(name)),
            _text(about.get(uid)),
            _text(scan),
            _text(about.get(belongs)),
            _text(about.get("stream_resource")),
            body,
        )
        if row.count:
            self.taken += 1
        else:
            self._count("lost", f"{shown(name)} could not be written")
        return body

    # ------------------------------------------------------------------ what is wrong

    def _wrong(self, name: Any, document: Any) -> None:
        """Keep what nobody should have given, and count it."""
        given = f"{shown(name)} and a {type(document).__name__}"
        error = InvalidInputError(f"a document is given by its name and as a mapping, not as {given}")
        if strict():
            raise error
        self._count("refused", str(error))
        self._keep(name, document, counted=True)

    def _not_whole(self, name: str, unkept: list[Unkept]) -> None:
        self._count("not whole", f"{name}: {unkept[0].kind} {unkept[0].reason}")

    def _count(self, reason: str, note: str, amount: int = 1) -> None:
        """Count what is wrong with the present document, and record it at once."""
        self.losses.count(reason, amount, unit="document", first=self._called - 1, note=note)
        self.losses.write()


def _text(value: Any) -> str:
    """Return what a document is looked up by: an empty text if it says nothing that can be."""
    if type(value) is not str or len(value) > LONGEST_NAME:
        return ""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()

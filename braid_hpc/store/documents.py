"""The documents of a Bluesky run, put together from what the logs of any ranks hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from braid_hpc.store.event_documents import THEN, EventTable, canonical, event_tables, order_of, read_events
from braid_hpc.store.missing_documents import MissingDocument, Numbers, missing_of
from braid_hpc.store.recorded_files import RecordedFile, recorded_files
from braid_hpc.vocabulary.errors import ConflictError, NotFoundError
from braid_hpc.vocabulary.event_rows import DOCUMENTS, written_keys
from braid_hpc.vocabulary.texts import clean
from braid_hpc.vocabulary.verbatim import decode_words

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["Documents", "Held", "MissingDocument", "apart", "held_documents", "read_documents"]

#: Kinds of documents that are not rows, in the order in which they are given back before the events.
FIRST = ("start", "descriptor", "resource", "stream_resource", "datum", "stream_datum")

LISTED = 10


@dataclass(slots=True)
class Documents:
    """The documents of a Bluesky run; iterating gives ``(name, document)``, each once.

    The order is canonical: the start, descriptors, resources, datums, events by time, the stop. It does not depend on
    the order in which they were recorded, on how often, nor on how many ranks.

    Attributes
    ----------
    uid : str
        Of the run.
    missing : list of MissingDocument
        What the documents that are there refer to or count, and is not there; empty for a whole run.
    conflicts : list of (str, str)
        Name and uid of documents that came with different contents under one uid. The first of them by their bytes is
        given; of events this is known when they were read.
    writers : list of dict
        ``run``, ``rank``, ``writer``, ``state`` of the logs of these jobs that are not complete; a rank whose log did
        not come is ``absent``, and without a writer.
    """

    uid: str
    missing: list[MissingDocument] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    writers: list[dict[str, Any]] = field(default_factory=list)
    _held: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _events: Any = None
    _files: Any = None
    _through: Any = None

    @property
    def start(self) -> dict[str, Any] | None:
        """The start document."""
        return next(iter(self._held.get("start", ())), None)

    @property
    def stop(self) -> dict[str, Any] | None:
        """The stop document; None for a run that never stopped, or whose stop is missing."""
        return next(iter(self._held.get("stop", ())), None)

    @property
    def descriptors(self) -> list[dict[str, Any]]:
        """The descriptors, by time."""
        return list(self._held.get("descriptor", ()))

    def held(self, name: str) -> list[dict[str, Any]]:
        """Return the documents of one kind that are no events.

        Parameters
        ----------
        name : str
            ``start``, ``descriptor``, ``resource``, ``stream_resource``, ``datum``, ``stream_datum`` or ``stop``.

        Returns
        -------
        list of dict
            In the order in which iterating gives them.
        """
        return list(self._held.get(name, ()))

    def files(self) -> list[RecordedFile]:
        """Return what was recorded of the files that the resources name, when the run stopped.

        Returns
        -------
        list of RecordedFile
            By uri; none of files that nobody looked at.
        """
        found: list[RecordedFile] = self._files() if self._files is not None else []
        return found

    def through(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Documents:
        """Return the same documents with each event as a function makes it.

        Parameters
        ----------
        change : callable
            Takes an event and returns one; it is called while one iterates.

        Returns
        -------
        Documents
            Others.
        """
        return replace(self, _through=change)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    def _sort(self) -> None:
        """Bring the documents that are held into the order in which they are given."""
        for documents in self._held.values():
            documents.sort(key=lambda document: (*order_of({**document, "seq_num": 0}), canonical(document)))

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and document; events are read meanwhile, a bounded number at a time."""
        for name in FIRST:
            for document in self._held.get(name, ()):
                yield name, document
        for event, variants in self._events():
            pair = ("event", str(event.get("uid")))
            if variants > 1 and pair not in self.conflicts:
                self.conflicts.append(pair)
            yield "event", event if self._through is None else self._through(event)
        for document in self._held.get("stop", ()):
            yield "stop", document


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a Bluesky run before its events are looked at.

    Attributes
    ----------
    found : Documents
        Start, stop, descriptors, resources and stream datums.
    place : str
        The table of documents that are no rows, as SQL names it.
    tables : list of EventTable
        Those of the store, whether they have events of this run or not.
    loose : list of dict
        Events that were kept as documents.
    described : dict of str to dict
        How data keys are written, by descriptor.
    """

    found: Documents
    place: str
    tables: list[EventTable]
    loose: list[dict[str, Any]]
    described: dict[str, dict[str, str]]


def held_documents(store: Opened, uid: str, *, then: dict[str, int]) -> Held:
    """Return what is known of a Bluesky run before its events are looked at.

    Parameters
    ----------
    store : Opened
        Open.
    uid : str
        Of the run, or its beginning.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Returns
    -------
    Held
        Of the run; nothing is missing in it, because that was not asked yet.

    Raises
    ------
    NotFoundError, ConflictError
        As :func:`read_documents`.
    """
    place = documents_place(store)
    uid = resolve_scan(store, place, uid, then)
    reader = _Reader(store, place, then)
    found = Documents(uid)
    reader.take(f"scan = $uid and document in ({_listed('start', 'stop', 'descriptor')})", {"uid": uid}, found)
    reader.take(f"scan = $uid and document in ({_listed('resource', 'stream_resource')})", {"uid": uid}, found)
    described = {
        each["uid"]: written_keys(keys if type(keys := each.get("data_keys")) is dict else ())
        for each in found.descriptors
        if type(each.get("uid")) is str
    }
    reader.take(
        "document = 'stream_datum' and about in (select unnest($uids::varchar[]))", {"uids": list(described)}, found
    )
    found._sort()
    return Held(found, place, event_tables(store), reader.loose_events(list(described)), described)


def read_documents(store: Opened, uid: str, *, then: dict[str, int]) -> Documents:
    """Put the documents of a Bluesky run together.

    Parameters
    ----------
    store : Opened
        Open.
    uid : str
        Of the run, or its beginning.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Returns
    -------
    Documents
        Of the run.

    Raises
    ------
    NotFoundError
        If the store has no document of such a run.
    ConflictError
        If several runs begin so.
    """
    held = held_documents(store, uid, then=then)
    found, tables, loose, described = held.found, held.tables, held.loose, held.described
    reader = _Reader(store, held.place, then)
    external = _external(found.descriptors)
    wanted = _referred(store, tables, loose, described, external, then)
    reader.take_resources(found, wanted)
    found._sort()
    found._events = lambda: read_events(store._connected.cursor, tables, loose, described, then)
    numbers = Numbers.read(store, tables, loose, found, then)
    found.missing = missing_of(found._held, numbers, wanted)
    uids = [str(each.get("uid")) for name in ("resource", "stream_resource") for each in found.held(name)]
    found._files = lambda: recorded_files(store, found.uid, _cleaned(uids), then=then)
    found.writers = _incomplete(store, held.place, tables, found.uid, _cleaned(list(described)), then)
    return found


def _listed(*names: str) -> str:
    return ", ".join(f"'{name}'" for name in names)


def documents_place(store: Opened) -> str:
    """Return the table of documents that are no rows.

    Parameters
    ----------
    store : Opened
        Open.

    Returns
    -------
    str
        As SQL names it.

    Raises
    ------
    NotFoundError
        If the store has none.
    """
    rows = store.sql(
        "select place from streams s where stream = ? and exists (select 1 from information_schema.columns c "
        "where c.table_schema = 'stream' and c.table_name = s.place and c.column_name = 'beside')",
        [DOCUMENTS],
    )
    if not len(rows):
        raise NotFoundError(f"there are no documents of an instrument in {store.path.name}")
    return 'stream."' + str(rows["place"][0]).replace('"', '""') + '"'


def resolve_scan(store: Opened, place: str, uid: str, then: dict[str, int]) -> str:
    """Find the run of an instrument that a text begins the uid of.

    Parameters
    ----------
    store : Opened
        Open.
    place : str
        The table of documents.
    uid : str
        A uid, or the beginning of one.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Returns
    -------
    str
        The whole uid.

    Raises
    ------
    NotFoundError
        If there is none.
    ConflictError
        If several begin so; they are listed.
    """
    scans = store.sql(
        f"select distinct scan from {place} where starts_with(scan, $uid) and scan <> '' and {THEN} "
        f"order by scan <> $uid, scan limit {LISTED + 1}",
        {"uid": clean(str(uid)), **then},
    )["scan"]
    if not scans:
        raise NotFoundError(f"there is no scan {uid!r} in {store.path.name}")
    if len(scans) > 1 and scans[0] != uid:
        more = " and more" if len(scans) > LISTED else ""
        raise ConflictError(f"{uid!r} begins the uid of several scans: {', '.join(scans[:LISTED])}{more}")
    return str(scans[0])


class _Reader:
    """Takes documents that are no rows out of their table, each once."""

    def __init__(self, store: Opened, place: str, then: dict[str, int]) -> None:
        self._store, self._place, self._then = store, place, then

    def _rows(self, where: str, values: dict[str, Any]) -> Any:
        return self._store.sql(
            f"select distinct document, uid, body from {self._place} where ({where}) and {THEN} "
            "order by document, uid, body",
            {**{key: _cleaned(value) for key, value in values.items()}, **self._then},
        )

    def take(self, where: str, values: dict[str, Any], found: Documents) -> None:
        """Add the documents that a condition names to those that were found."""
        known: dict[tuple[str, Any], dict[bytes, Any]] = {}
        for row in self._rows(where, values):
            for name, document in apart(row["document"], decode_words(row["body"])):
                if type(document) is not dict:
                    continue
                form = canonical(document)
                uid = document.get("datum_id" if name == "datum" else "uid")
                known.setdefault((name, uid if type(uid) is str else form), {})[form] = document
        for (name, uid), variants in known.items():
            found._held.setdefault(name, []).append(variants[min(variants)])
            if len(variants) > 1:
                found.conflicts.append((name, str(uid)))

    def loose_events(self, descriptors: list[str]) -> list[dict[str, Any]]:
        """Return the events that were kept as documents."""
        found = []
        for row in self._rows(
            "document in ('event', 'event_page') and about in (select unnest($uids::varchar[]))", {"uids": descriptors}
        ):
            found += [event for _, event in apart(row["document"], decode_words(row["body"])) if type(event) is dict]
        # What is looked up by is escaped where UTF-8 cannot hold it.
        return [event for event in found if event.get("descriptor") in descriptors]

    def take_resources(self, found: Documents, wanted: set[str]) -> None:
        """Add what the events and stream datums refer to: resources that do not name their run, and all datums."""
        held = [*found._held.get("resource", ()), *found._held.get("stream_resource", ())]
        known = {each["uid"] for each in held if type(each.get("uid")) is str}
        ids = _cleaned(list(wanted))
        named = self._store.sql(
            f"select distinct about from {self._place} where document = 'datum' "
            f"and uid in (select unnest($ids::varchar[])) and {THEN}",
            {"ids": ids, **self._then},
        )["about"]
        # By custom the id of a datum begins with its resource's; those of a page are not in a column.
        uids = {*named, *(each.partition("/")[0] for each in ids)}
        uids |= {str(each.get("stream_resource")) for each in found._held.get("stream_datum", ())}
        if fresh := sorted(uids - known):
            unclaimed = f"scan = '' and document in ({_listed('resource', 'stream_resource')})"
            self.take(f"{unclaimed} and uid in (select unnest($uids::varchar[]))", {"uids": fresh}, found)
            known |= {str(each.get("uid")) for each in found._held.get("resource", ())}
        self.take(
            f"document in ({_listed('datum', 'datum_page', 'bulk_datum')}) "
            "and (about in (select unnest($uids::varchar[])) or uid in (select unnest($ids::varchar[])))",
            {"uids": sorted(known), "ids": ids},
            found,
        )


def _cleaned(value: Any) -> Any:
    """Return what is looked up as it stands in columns."""
    return [clean(each) for each in value] if isinstance(value, list) else clean(value)


def apart(name: str, document: Any) -> Iterator[tuple[str, Any]]:
    """Take a document of several apart.

    Parameters
    ----------
    name : str
        Of its kind.
    document : object
        A page, or any other document.

    Yields
    ------
    name, document
        What it holds, one by one; a page whose columns differ in length holds nothing.
    """
    if name not in ("datum_page", "bulk_datum", "event_page") or type(document) is not dict:
        yield name, document
        return
    try:
        if name == "datum_page":
            for row, datum in enumerate(document["datum_id"]):
                kwargs = {key: column[row] for key, column in document["datum_kwargs"].items()}
                yield "datum", {"datum_id": datum, "datum_kwargs": kwargs, "resource": document["resource"]}
        elif name == "bulk_datum":
            for datum, kwargs in zip(document["datum_ids"], document["datum_kwarg_list"], strict=True):
                yield "datum", {"datum_id": datum, "datum_kwargs": kwargs, "resource": document["resource"]}
        else:
            for row in range(len(document["seq_num"])):
                inner = {
                    member: {key: column[row] for key, column in document.get(member, {}).items()}
                    for member in ("data", "timestamps", "filled")
                }
                heads = {member: document[member][row] for member in ("seq_num", "time", "uid")}
                yield "event", {**heads, "descriptor": document["descriptor"], **inner}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return


def _external(descriptors: list[dict[str, Any]]) -> set[str]:
    """Return the data keys whose values in events, if there are any, are names of datums."""
    found = set()
    for each in descriptors:
        keys = each.get("data_keys")
        for key, about in keys.items() if type(keys) is dict else ():
            # Of a key that is in stream datums, too: older documents say so where the events name datums.
            if type(key) is str and type(about) is dict and about.get("external") is not None:
                found.add(key)
    return found


def _referred(
    store: Opened,
    tables: list[EventTable],
    loose: list[dict[str, Any]],
    described: dict[str, Any],
    external: set[str],
    then: dict[str, int],
) -> set[str]:
    """Return the names of datums that stand in events."""
    found: set[str] = set()
    lower = {key.lower() for key in external}
    for table in tables if external else ():
        for column, key in table.values:
            if key.lower() not in lower:
                continue
            name = '"' + column.replace('"', '""') + '"'
            rows = store.sql(
                f"select distinct {name}::varchar as id from {table.place} "
                f"where descriptor in (select unnest($uids::varchar[])) and {THEN} and typeof({name}) = 'VARCHAR'",
                {"uids": _cleaned(list(described)), **then},
            )
            found.update(each for each in rows["id"] if each is not None)
    for event in loose:
        data = event.get("data")
        found.update(data[key] for key in external if type(data) is dict and type(data.get(key)) is str)
    return found


def _incomplete(
    store: Opened, place: str, tables: list[EventTable], uid: str, descriptors: list[str], then: dict[str, int]
) -> list[dict[str, Any]]:
    """Return the writers of the jobs that hold something of a run, and whose logs are not complete."""
    parts = [f"select distinct _run from {place} where scan = $uid and {THEN}"]
    parts += [
        f"select distinct _run from {table.place} where descriptor in (select unnest($descriptors::varchar[])) "
        f"and {THEN}"
        for table in tables
    ]
    rows = store.sql(
        f"with mine as ({' union '.join(parts)}) "
        "select run, rank, writer, state from ranks where run in (from mine) and state not in ('closed', 'ended') "
        "union all select run, rank, null, 'absent' from "
        "(select run, unnest(range(size))::integer as rank from runs where run in (from mine)) r "
        "where not exists (select 1 from ranks k where k.run = r.run and k.rank = r.rank) order by run, rank, writer",
        {"uid": uid, **then, **({"descriptors": descriptors} if tables else {})},
    )
    return rows.to_pylist()

"""Where something happened, and where its bytes are."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from braid_hpc.lineage.answered import Answered, plain
from braid_hpc.lineage.ground import Ground
from braid_hpc.lineage.render import beside
from braid_hpc.store.holding import FOREVER, LATER
from braid_hpc.vocabulary.codes import ACTIVITY_KIND
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from braid_hpc.store.resolve import Node
    from braid_hpc.store.store import Store

__all__ = ["BytesAt", "Place", "Where", "where"]


@dataclass(frozen=True, slots=True)
class Place:
    """A process in which something was declared or ran.

    Attributes
    ----------
    run : str
        Id of the run.
    job : str or None
        Its name.
    rank : int or None
        None without a launcher.
    host : str or None
        Name of the node.
    pid : int or None
        Of the process.
    writer : str
        Id of its log.
    log : str or None
        The directory that the log was read from when it was merged; None where the archive does not say.
    sequence : int
        Of the event in the log.
    time : datetime
        UTC, without a zone: when it was declared or begun.
    """

    run: str
    job: str | None
    rank: int | None
    host: str | None
    pid: int | None
    writer: str
    log: str | None
    sequence: int
    time: datetime.datetime


@dataclass(frozen=True, slots=True)
class BytesAt:
    """Where bytes of it are.

    Attributes
    ----------
    what : str
        ``uri`` of a file or a published thing; ``array`` in the store, of the content or of an array of a state;
        ``rows`` of a stream in the store.
    where : str
        The uri; the path of the HDF5 file; the table.
    dataset : str or None
        In the HDF5 file.
    name : str or None
        Of an array in a state.
    first, last : int or None
        Elements of an array, rows of a writer's stream: the first and the last of the range. None where there are
        none, or nothing is known of it.
    writer : str or None
        Of rows: whose.
    size : int or None
        Bytes, where it is known.
    """

    what: str
    where: str
    dataset: str | None = None
    name: str | None = None
    first: int | None = None
    last: int | None = None
    writer: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Where(Answered):
    """Where something happened, and where its bytes are.

    Attributes
    ----------
    ref : str
        What was asked for.
    places : list of Place
        Processes in which it was declared or ran, by time.
    contents : list of BytesAt
        Where its content is; empty if that is nowhere.
    digest : str or None
        Of its content.
    same_content : list of str
        Other versions with the same bytes, which may lie elsewhere: ask for them likewise.
    others : list of str
        Where no version was named, further ones that are as new, those of other ranks for example: ask for them
        likewise. Of an activity, all others of its name.
    """

    COLUMNS: ClassVar[tuple[tuple[str, str], ...]] = (
        *(("run", "text"), ("job", "text"), ("rank", "int"), ("host", "text"), ("pid", "int"), ("writer", "text")),
        *(("log", "text"), ("sequence", "int"), ("time", "time")),
    )

    ref: str
    places: list[Place]
    contents: list[BytesAt]
    digest: str | None
    same_content: list[str]
    others: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            ``ref``, ``places``, ``contents``, ``digest``, ``same_content``, and ``others`` if there are any; times are
            texts.
        """
        places = [{**each, "time": each["time"].isoformat() + "Z"} for each in plain(self.places)]
        answer: dict[str, Any] = {
            "ref": self.ref,
            "places": places,
            "contents": plain(self.contents),
            "digest": self.digest,
            "same_content": self.same_content,
        }
        return {**answer, "others": self.others} if self.others else answer

    def rows(self) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Return a row for each process.

        Returns
        -------
        columns : tuple of str
            Names.
        rows : list of dict
            Plain values.
        """
        return Place.__slots__, plain(self.places)

    def __str__(self) -> str:
        """Return it as lines of text."""
        lines = [self.ref]
        for each in self.places:
            rank = "" if each.rank is None else f"rank {each.rank}, "
            log = f", log {each.log or each.writer}"
            lines.append(
                f"  {each.time.isoformat()}Z {rank}{each.host} (pid {each.pid}), run {each.run[:8]} of {each.job}{log}"
            )
        lines.extend(f"  {_bytes_line(each)}" for each in self.contents)
        if not self.contents and not self.ref.startswith(f"{ACTIVITY_KIND}:"):
            lines.append("  its bytes are not in the store, and no place was named")
        lines.extend(f"  same content: {ref}" for ref in self.same_content)
        lines.extend([beside(self.others)] if self.others else [])
        return "\n".join(line.replace("\n", "⏎") for line in lines)


def _bytes_line(each: BytesAt) -> str:
    size = "" if each.size is None else f", {each.size:,} bytes"
    if each.what == "array":
        name = "" if each.name is None else f"{each.name}: "
        span = "" if each.first is None else f", elements {each.first} to {each.last}"
        return f"{name}{each.where}, dataset {each.dataset}{span}{size}"
    if each.what == "rows":
        return f"{each.where}, rows {each.first} to {each.last} of writer {(each.writer or '')[:8]}"
    return f"{each.where}{size}"


def where(store: Store, reference: str, *, at: int | None, as_of: Any) -> Where:
    """Find where something happened and where its bytes are; see :meth:`braid_hpc.Store.where`.

    Parameters
    ----------
    store : Store
        Open.
    reference, at, as_of
        As there.

    Returns
    -------
    Where
        The answer.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As there.
    """
    ground = Ground.of(store, at=at, as_of=as_of)
    node, newest = ground.resolve(reference)
    others = [other.ref for other in newest]
    then = {"id": node.id, "at": ground.at, "as_of": FOREVER if ground.as_of is None else ground.as_of}
    places = _places(store, then)
    if node.kind == ACTIVITY_KIND:
        return Where(node.ref, places, [], None, [], others)
    ((digest, weak),) = store._connected.execute(
        "select digest, weak from version_rows where id = ?", [node.id]
    ).fetchall()
    if weak:
        late = store._connected.execute(
            "select digest from inspections where id = $id and state = 'verified' and snapshot <= $at",
            {"id": node.id, "at": ground.at},
        ).fetchall()
        digest, weak = (late[0][0], False) if late else (digest, weak)
    found = [*_uris(store, then), *_arrays(store, digest, then), *_stream(store, then)]
    same = [] if weak or digest is None else _same(store, node, digest, then)
    return Where(node.ref, places, found, digest, same, others)


def _places(store: Store, then: dict[str, Any]) -> list[Place]:
    rows = store._rows(
        """
        select w.run, w.header ->> '$.job' as job, w.rank, w.header ->> '$.host' as host,
            (w.header ->> '$.pid')::bigint as pid, w.writer, s.archive, e.sequence, e.time
        from (
            select writer, sequence, time from occurrences
            where id = $id and snapshot <= $at and epoch_ns(time) <= $as_of
            union all select writer, sequence, begin_time from activity_rows where id = $id) e
        join writers w using (writer) left join snapshots s on s.snapshot = w.snapshot
        order by e.time, w.writer, e.sequence
        """,
        then,
    )
    logs: dict[str, dict[str, str]] = {}
    found = []
    for row in rows:
        archive = row.pop("archive")
        if archive not in logs:
            logs[archive] = _directories(store, archive)
        found.append(Place(**row, log=logs[archive].get(row["writer"])))
    return found


def _directories(store: Store, archive: str) -> dict[str, str]:
    """Return where the logs of a merge were read, by writer; the archive may have been moved away."""
    path = store._files.archive / archive / "writers.jsonl"
    if not path.is_file():
        return {}
    writers = [json.loads(line) for line in path.read_text().splitlines() if line]
    return {each["writer"]: each["directory"] for each in writers if each.get("directory")}


def _uris(store: Store, then: dict[str, Any]) -> list[BytesAt]:
    rows = store._connected.execute(
        "select distinct position, uri from uri_rows where id = $id and snapshot <= $at and epoch_ns(time) <= $as_of "
        "order by position, uri",
        then,
    ).fetchall()
    return [BytesAt("uri", uri) for _, uri in rows]


def _arrays(store: Store, digest: str | None, then: dict[str, Any]) -> list[BytesAt]:
    rows = store._connected.execute(
        """
        select a.file, a.dataset, n.tensor, a.shape, a.bytes from (
            select null as tensor, $digest as digest
            union all select tensor, digest from state_rows where state = $digest and digest is not null) n
        join array_rows a using (digest) where a.snapshot <= $at order by n.tensor nulls first
        """,
        {"digest": digest, "at": then["at"]},
    ).fetchall()
    found = []
    for file, dataset, tensor, shape, size in rows:
        elements = math.prod(shape or ())
        known = bool(elements) and shape is not None
        path = str(store._files.arrays / file)
        found.append(
            BytesAt("array", path, dataset, tensor, 0 if known else None, elements - 1 if known else None, size=size)
        )
    return found


def _stream(store: Store, then: dict[str, Any]) -> list[BytesAt]:
    rows = store._connected.execute(
        "select distinct place, writer from stream_rows where id = $id and snapshot <= $at order by place, writer",
        {"id": then["id"], "at": then["at"]},
    ).fetchall()
    found = []
    for place, writer in rows:
        table = 'stream."' + place.replace('"', '""') + '"'
        there = store._connected.execute(
            "select 1 from information_schema.tables where table_schema = 'stream' and table_name = ?", [place]
        ).fetchall()
        if not there:
            continue
        ((first, last),) = store._connected.execute(
            f"select min(_row), max(_row) from {table} where _writer = $writer and _snapshot <= $at "
            "and epoch_ns(_time) <= $as_of",
            {"writer": writer, "at": then["at"], "as_of": then["as_of"]},
        ).fetchall()
        if first is not None:
            found.append(BytesAt("rows", table, first=first, last=last, writer=writer))
    return found


def _same(store: Store, node: Node, digest: str, then: dict[str, Any]) -> list[str]:
    rows = store._connected.execute(
        "select kind, name, version from version_rows where (digest = $digest and not weak or id in (select id from "
        "inspections where digest = $digest and state = 'verified' and snapshot <= $at)) and id <> $id "
        f"and snapshot <= $at and id not in ({LATER}) order by id",
        {**then, "digest": digest},
    ).fetchall()
    return [format_reference(*row) for row in rows]

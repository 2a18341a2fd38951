"""From the rows of one writer to what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from braid_hpc.reading.newer import unknown_codes
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, Relation
from braid_hpc.vocabulary.encoding import decode, decoder
from braid_hpc.vocabulary.payloads import Begin, Called, Declaration, End, Links, Rejected, StreamSchema

__all__ = ["Begun", "Declared", "Ended", "Facts", "Linked", "extract"]

_DECLARATION = decoder(Declaration)
_BEGIN = decoder(Begin)
_END = decoder(End)
_CALLED = decoder(Called)
_LINKS = decoder(Links)
_STREAM = decoder(StreamSchema)
_REJECTED = decoder(Rejected)

_EMPTY = b"\x80"

#: A place in a log: writer id (hex) and sequence.
Place = tuple[str, int]


@dataclass(slots=True)
class Declared:
    """An occurrence: DECLARE, or STREAM (kind ``stream``)."""

    sequence: int
    kind: str
    name: str
    activity: Place | None
    about: Declaration
    time: int
    step: int = 0
    uid: str = ""


@dataclass(slots=True)
class Begun:
    """The beginning of an activity."""

    sequence: int
    name: str
    outer: Place | None
    about: Begin
    time: int


@dataclass(slots=True)
class Ended:
    """The end of an activity."""

    sequence: int
    activity: Place
    status: int
    about: End
    time: int
    monotonic: int


@dataclass(slots=True)
class Linked:
    """Further edges of something that was declared or begun before."""

    sequence: int
    subject: Place
    relation: Relation
    links: list[Any]
    time: int


@dataclass(slots=True)
class Facts:
    """What one writer said.

    Attributes
    ----------
    fresh : set of int
        Sequences that no earlier commit has taken; everything else is here only to give them their meaning.
    streams : dict of int to (str, StreamSchema, int)
        Name, schema and sequence by the writer's number of the stream.
    unknown : list of (int, int)
        Sequence of the first row of each code that this version of the format does not have, and the code.
    began : dict of int to int
        Monotonic time of each activity's beginning, by sequence.
    """

    log: WriterLog
    run: str
    fresh: set[int]
    declared: list[Declared] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    linked: list[Linked] = field(default_factory=list)
    tagged: list[tuple[int, Place, dict[str, Any]]] = field(default_factory=list)
    streams: dict[int, tuple[str, StreamSchema, int]] = field(default_factory=dict)
    info: list[tuple[int, str, Any]] = field(default_factory=list)
    rejected: list[tuple[int, Rejected]] = field(default_factory=list)
    undecodable: list[tuple[int, str]] = field(default_factory=list)
    unknown: list[tuple[int, int]] = field(default_factory=list)
    began: dict[int, int] = field(default_factory=dict)

    @property
    def writer(self) -> str:
        """The writer's id, 32 hexadecimal digits."""
        return self.log.writer


_SPOKEN = (
    Code.INFO,
    Code.DECLARE,
    Code.DERIVE,
    Code.TAG,
    Code.BEGIN,
    Code.END,
    Code.CALL,
    Code.USE,
    Code.GENERATE,
    Code.STREAM,
    Code.REJECTED,
)


def extract(log: WriterLog, run: str, fresh: set[int]) -> Facts:
    """Read what a writer said, all of it.

    Parameters
    ----------
    log : WriterLog
        Its log.
    run : str
        The run it belongs to.
    fresh : set of int
        Sequences that are new.

    Returns
    -------
    Facts
        Rows of streams are not among them (see :mod:`braid_hpc.compaction.stream_rows`).
    """
    facts = Facts(log, run, fresh)
    names = log.names()
    events = log.events
    rows = list(events.positions(*_SPOKEN))
    times = log.utc(events["time"][rows]) if rows else np.zeros(0, np.int64)
    for row, time in zip(rows, times.tolist(), strict=True):
        sequence = int(events["sequence"][row])
        try:
            _take(facts, names, row, sequence, time)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
            # Its check holds, so these are the bytes the writer wrote; what they say cannot be read here.
            facts.undecodable.append((sequence, f"{type(error).__name__}: {error}"))
    facts.unknown.extend(sorted((first, code) for code, (_, first) in unknown_codes(events).items()))
    return facts


def _take(facts: Facts, names: dict[int, str], row: int, sequence: int, time: int) -> None:
    events = facts.log.events
    code = int(events["code"][row])
    subject, foreign = int(events["subject"][row]), int(events["object"][row])
    payload = events.payload(row)
    place = (names[foreign] or facts.writer, subject) if code != Code.CALL else (facts.writer, sequence)
    name, other = names[int(events["name"][row])], int(events["other"][row])
    if code == Code.DECLARE:
        about = _DECLARATION.decode(payload)
        facts.declared.append(Declared(sequence, names[other], name, place if subject else None, about, time))
    elif code == Code.STREAM:
        schema = _STREAM.decode(payload)
        facts.streams[other] = (name, schema, sequence)
        # A table that the ranks share: one version for each step of the run.
        about = Declaration(parents=schema.parents, tags=schema.tags, shared=True)
        facts.declared.append(Declared(sequence, "stream", name, place if subject else None, about, time))
    elif code == Code.BEGIN:
        begin = _BEGIN.decode(payload or _EMPTY)
        written = int(events["time"][row])
        since = facts.began[sequence] = written if begin.since is None else begin.since
        facts.begun.append(Begun(sequence, name, place if subject else None, begin, time - written + since))
    elif code == Code.END:
        status = int(events["flags"][row])
        end = _END.decode(payload or _EMPTY)
        facts.ended.append(Ended(sequence, place, status, end, time, int(events["time"][row])))
    elif code == Code.CALL:
        # Both ends in one row: what `object` is for others is how long it took, and `other` says whose it was within.
        called, lasted, ended = _CALLED.decode(payload or _EMPTY), foreign, int(events["time"][row])
        outer = (names[other] or facts.writer, subject) if subject else None
        facts.began[sequence] = ended - lasted
        begin = Begin(called.used, called.params, called.function)
        facts.begun.append(Begun(sequence, name, outer, begin, time - lasted))
        end, status = End(called.error, called.result, called.generated), int(events["flags"][row])
        facts.ended.append(Ended(sequence, (facts.writer, sequence), status, end, time, ended))
    elif code in _RELATIONS:
        facts.linked.append(Linked(sequence, place, _RELATIONS[code], _LINKS.decode(payload).links, time))
    elif code == Code.TAG:
        facts.tagged.append((sequence, place, decode(payload)))
    elif code == Code.INFO:
        facts.info.append((sequence, name, decode(payload)))
    elif code == Code.REJECTED:
        facts.rejected.append((sequence, _REJECTED.decode(payload)))


_RELATIONS: dict[int, Relation] = {
    Code.DERIVE: Relation.DERIVED,
    Code.USE: Relation.USED,
    Code.GENERATE: Relation.GENERATED,
}

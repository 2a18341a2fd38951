"""From the rows of one writer to what they say."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import msgspec
import numpy as np

from braid_hpc.reading.events import Events
from braid_hpc.reading.newer import unknown_in
from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.annotations import ANNOTATION_CONTENT, ANNOTATIONS
from braid_hpc.vocabulary.codes import Code, Relation
from braid_hpc.vocabulary.encoding import decode, decoder
from braid_hpc.vocabulary.payloads import (
    Action,
    Attachment,
    Attempt,
    Begin,
    Called,
    Declaration,
    End,
    Inspection,
    Invalidation,
    Links,
    Rejected,
    Result,
    Retraction,
    Revalidation,
    StreamSchema,
)
from braid_hpc.vocabulary.task_payloads import TaskBegun, TaskEnded, TaskMissing, TaskSkipped

__all__ = [
    "SPOKEN",
    "Acted",
    "Begun",
    "Declared",
    "Ended",
    "Facts",
    "Judged",
    "Linked",
    "Place",
    "Retracted",
    "Speaker",
    "Tasked",
    "extract",
]

_DECLARATION = decoder(Declaration)
_BEGIN = decoder(Begin)
_END = decoder(End)
_CALLED = decoder(Called)
_LINKS = decoder(Links)
_STREAM = decoder(StreamSchema)
_REJECTED = decoder(Rejected)
_RETRACTED = decoder(Retraction)
_INSPECTED = decoder(Inspection)
_JUDGED: dict[int, Any] = {Code.INVALIDATE: decoder(Invalidation), Code.REVALIDATE: decoder(Revalidation)}
_ACTED: dict[int, Any] = {
    Code.ACTION: decoder(Action),
    Code.ATTACH: decoder(Attachment),
    Code.ATTEMPT: decoder(Attempt),
    Code.RESULT: decoder(Result),
}
_TASKED: dict[int, Any] = {
    Code.TASK: decoder(TaskBegun),
    Code.TASK_END: decoder(TaskEnded),
    Code.TASK_SKIP: decoder(TaskSkipped),
    Code.TASK_MISSING: decoder(TaskMissing),
}

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
    state: int = 0


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
class Judged:
    """A statement that something does not hold, or that it does."""

    sequence: int
    about: Invalidation | Revalidation
    time: int


@dataclass(slots=True)
class Retracted:
    """A statement that an edge was stated wrongly."""

    sequence: int
    about: Retraction
    time: int


@dataclass(slots=True)
class Acted:
    """What is said of an action: what it is, what it is attached to, that it is begun, how it ended."""

    sequence: int
    about: Action | Attachment | Attempt | Result
    subject: int
    time: int


@dataclass(slots=True)
class Tasked:
    """What is said of a task: of an execution, with its beginning, or of a call, with the activity that called."""

    sequence: int
    place: Place
    about: TaskBegun | TaskEnded | TaskSkipped | TaskMissing
    time: int


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
    """What one writer said, or a slice of it.

    Attributes
    ----------
    writer, run : str
        Whose it is.
    log : WriterLog
        Where it stands.
    unknown : list of (int, int)
        Sequence of the first row of each code that this version of the format does not have, and the code.
    """

    speaker: Speaker
    declared: list[Declared] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    linked: list[Linked] = field(default_factory=list)
    tagged: list[tuple[int, Place, dict[str, Any], int]] = field(default_factory=list)
    inspected: list[tuple[int, Place, Inspection, int]] = field(default_factory=list)
    streams: list[tuple[int, str, StreamSchema, int]] = field(default_factory=list)
    info: list[tuple[int, str, Any]] = field(default_factory=list)
    rejected: list[tuple[int, Rejected]] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    retracted: list[Retracted] = field(default_factory=list)
    acted: list[Acted] = field(default_factory=list)
    tasked: list[Tasked] = field(default_factory=list)
    undecodable: list[tuple[int, str]] = field(default_factory=list)
    unknown: list[tuple[int, int]] = field(default_factory=list)

    @property
    def writer(self) -> str:
        """The writer's id, 32 hexadecimal digits."""
        return self.speaker.writer

    @property
    def run(self) -> str:
        """The run it belongs to."""
        return self.speaker.run

    @property
    def said_something(self) -> bool:
        """Whether there is anything in it."""
        return any(getattr(self, each.name) for each in fields(self) if each.name != "speaker")

    @property
    def log(self) -> WriterLog:
        """Its log."""
        return self.speaker.log


#: Codes of the rows that say something; rows of streams are left out.
SPOKEN = (
    Code.INFO,
    Code.DECLARE,
    Code.DERIVE,
    Code.TAG,
    Code.BEGIN,
    Code.END,
    Code.CALL,
    Code.USE,
    Code.GENERATE,
    Code.INSPECT,
    Code.STREAM,
    Code.REJECTED,
    Code.INVALIDATE,
    Code.REVALIDATE,
    Code.RETRACT,
    Code.ACTION,
    Code.ATTACH,
    Code.ATTEMPT,
    Code.RESULT,
    Code.TASK,
    Code.TASK_END,
    Code.TASK_SKIP,
    Code.TASK_MISSING,
)


class Speaker:
    """Reads what a writer said, all at once or slice by slice, and remembers what later events refer to.

    Parameters
    ----------
    log : WriterLog
        Its log.
    run : str
        The run it belongs to.
    taken : Ranges
        Sequences that no earlier commit has taken.

    Attributes
    ----------
    streams : dict of int to (str, StreamSchema)
        Name and schema by the writer's number of the stream, of those that were met so far.
    """

    def __init__(self, log: WriterLog, run: str, taken: Ranges) -> None:
        self.log, self.run, self.taken = log, run, taken
        self.writer = log.writer
        self.streams: dict[int, tuple[str, StreamSchema]] = {}
        self._names: _Names | None = None
        self._next = int(taken.first[0]) if taken else 0
        self._latest = 0
        self._asked_unknown = False
        #: Monotonic time of the beginning, and handles of what was used, of each activity that has not ended.
        self._began: dict[int, int] = {}
        self._used: dict[int, list[Any]] = {}
        if earlier := log.ranges - taken:
            self.learn_streams(earlier)

    @property
    def names(self) -> dict[int, str]:
        """The texts of this log by their numbers; ask for one, because they are read as they are asked for."""
        if self._names is None:
            self._names = _Names(self.log)
        return self._names

    @property
    def finished(self) -> bool:
        """Whether everything was read."""
        return self._next > self.taken.last

    def learn_streams(self, within: Ranges | None = None) -> None:
        """Read which streams were declared, and nothing else.

        Parameters
        ----------
        within : Ranges, optional
            Sequences; without it all of the log.
        """
        for events in self.log.each(Code.STREAM, within=within):
            self._read(Facts(self), events)

    def forget(self) -> None:
        """Drop what only later events would refer to: there are none."""
        self._names = None
        self._began.clear()
        self._used.clear()

    def facts(self, before: int | None = None) -> Facts:
        """Return what was said since the last call.

        Parameters
        ----------
        before : int, optional
            UTC ns; events from then on, and all behind the first of them, are left for the next call.

        Returns
        -------
        Facts
            Rows of streams are not among them (see :mod:`braid_hpc.compaction.stream_rows`).
        """
        facts = Facts(self)
        if not self._asked_unknown:
            self._asked_unknown = True
            firsts = sorted((first, code) for code, (_, first) in unknown_in(self.log).items())
            facts.unknown.extend(each for each in firsts if each[0] in self.taken)
        behind = self.taken & Ranges.span(self._next, self.taken.last + 1)
        # With the texts: else small logs would be read twice.
        for events in self.log.each(*SPOKEN, Code.NAME, within=behind):
            if before is not None:
                # By the latest time so far, because what a writer says later is never taken before.
                times = np.maximum.accumulate(np.maximum(self.log.utc(events["time"]), self._latest))
                count = int(np.searchsorted(times, before))
                self._latest = int(times[count - 1]) if count else self._latest
                if count < len(events):
                    self._next = int(events["sequence"][count])
                    self._read(facts, events.take(np.arange(count)))
                    return facts
            self._read(facts, events)
        self._next = self.taken.last + 1
        return facts

    def _read(self, facts: Facts, events: Events) -> None:
        times = self.log.utc(events["time"]).tolist() if len(events) else []
        for row, (sequence, time) in enumerate(zip(events["sequence"].tolist(), times, strict=True)):
            try:
                _take(facts, self, events, row, sequence, time)
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
                # Its check holds, so these are the bytes the writer wrote; what they say cannot be read here.
                facts.undecodable.append((sequence, f"{type(error).__name__}: {error}"))

    # ------------------------------------------------------------------ activities

    def begin(self, sequence: int, moment: int, used: list[Any]) -> None:
        """Remember an activity that has begun."""
        self._began[sequence] = moment
        if used:
            self._used[sequence] = list(used)

    def use(self, sequence: int, links: list[Any]) -> None:
        """Remember what an activity has used since it began."""
        if sequence in self._began:
            self._used.setdefault(sequence, []).extend(links)

    def began(self, sequence: int) -> int | None:
        """Return the monotonic time at which an activity of this writer began.

        Parameters
        ----------
        sequence : int
            Of its beginning.

        Returns
        -------
        int or None
            None if it is not in this log.
        """
        if sequence not in self._began and sequence in self.log.ranges:
            for events in self.log.each(Code.BEGIN, within=Ranges.span(sequence, sequence + 1)):
                since = _BEGIN.decode(events.payload(0) or _EMPTY).since
                self._began[sequence] = int(events["time"][0]) if since is None else since
        return self._began.get(sequence)

    def used(self, sequence: int) -> list[Any]:
        """Return the links to what an activity of this writer used.

        Parameters
        ----------
        sequence : int
            Of its beginning.

        Returns
        -------
        list
            As they were given.
        """
        if sequence not in self._began:
            # It began before this commit, or has ended: what it used is looked for in the log.
            self.began(sequence)
            found = []
            for events in self.log.each(Code.BEGIN, Code.USE):
                mine = (events["code"] == Code.BEGIN) & (events["sequence"] == sequence)
                mine |= (events["code"] == Code.USE) & (events["subject"] == sequence) & (events["object"] == 0)
                for row in np.flatnonzero(mine).tolist():
                    payload = events.payload(row)
                    begins = events["code"][row] == Code.BEGIN
                    found.extend(_BEGIN.decode(payload or _EMPTY).used if begins else _LINKS.decode(payload).links)
            self._used[sequence] = found
        return self._used.get(sequence, [])

    def end(self, sequence: int) -> None:
        """Forget an activity, when everything that its end says is known."""
        self._began.pop(sequence, None)
        self._used.pop(sequence, None)


class _Names(dict[int, str]):
    """Texts by their numbers: those that were met, and all of the log as soon as another one is asked for."""

    def __init__(self, log: WriterLog) -> None:
        super().__init__({0: ""})
        self._log: WriterLog | None = log

    def __missing__(self, number: int) -> str:
        if self._log is not None:
            self.update(self._log.names())
            self._log = None
            if number in self:
                return self[number]
        raise KeyError(number)


def extract(log: WriterLog, run: str, taken: Ranges) -> Facts:
    """Read what a writer said, all of it.

    Parameters
    ----------
    log : WriterLog
        Its log.
    run : str
        The run it belongs to.
    taken : Ranges
        Sequences that are new.

    Returns
    -------
    Facts
        Rows of streams are not among them.
    """
    return Speaker(log, run, taken).facts()


def _take(facts: Facts, speaker: Speaker, events: Events, row: int, sequence: int, time: int) -> None:
    names = speaker.names
    code = int(events["code"][row])
    subject, foreign = int(events["subject"][row]), int(events["object"][row])
    payload = events.payload(row)
    if code == Code.NAME:
        names[subject] = payload.decode("utf-8", "surrogatepass")
        return
    place = (names[foreign] or facts.writer, subject) if code != Code.CALL else (facts.writer, sequence)
    name, other = names[int(events["name"][row])], int(events["other"][row])
    if code == Code.DECLARE:
        about = _DECLARATION.decode(payload)
        facts.declared.append(Declared(sequence, names[other], name, place if subject else None, about, time))
    elif code == Code.STREAM:
        schema = _STREAM.decode(payload)
        speaker.streams[other] = (name, schema)
        facts.streams.append((other, name, schema, sequence))
        # A table that the ranks share: one version for each step of the run.
        about = Declaration(parents=schema.parents, tags=schema.tags, shared=True)
        if name == ANNOTATIONS:
            about = Declaration(digest=ANNOTATION_CONTENT)
        facts.declared.append(Declared(sequence, "stream", name, place if subject else None, about, time))
    elif code == Code.BEGIN:
        begin = _BEGIN.decode(payload or _EMPTY)
        written = int(events["time"][row])
        since = written if begin.since is None else begin.since
        speaker.begin(sequence, since, begin.used)
        facts.begun.append(Begun(sequence, name, place if subject else None, begin, time - written + since))
    elif code == Code.END:
        status = int(events["flags"][row])
        end = _END.decode(payload or _EMPTY)
        facts.ended.append(Ended(sequence, place, status, end, time, int(events["time"][row])))
    elif code == Code.CALL:
        # Both ends in one row: what `object` is for others is how long it took, and `other` says whose it was within.
        called, lasted, ended = _CALLED.decode(payload or _EMPTY), foreign, int(events["time"][row])
        outer = (names[other] or facts.writer, subject) if subject else None
        speaker.begin(sequence, ended - lasted, called.used)
        begin = Begin(called.used, called.params, called.function)
        facts.begun.append(Begun(sequence, name, outer, begin, time - lasted))
        end, status = End(called.error, called.result, called.generated), int(events["flags"][row])
        facts.ended.append(Ended(sequence, (facts.writer, sequence), status, end, time, ended))
    elif code in _RELATIONS:
        links = _LINKS.decode(payload).links
        facts.linked.append(Linked(sequence, place, _RELATIONS[code], links, time))
        if code == Code.USE and place[0] == facts.writer:
            speaker.use(subject, links)
    elif code == Code.TAG:
        facts.tagged.append((sequence, place, decode(payload), time))
    elif code == Code.INSPECT:
        facts.inspected.append((sequence, place, _INSPECTED.decode(payload), time))
    elif code == Code.INFO:
        facts.info.append((sequence, name, decode(payload)))
    elif code == Code.REJECTED:
        facts.rejected.append((sequence, _REJECTED.decode(payload)))
    elif code in _JUDGED:
        facts.judged.append(Judged(sequence, _JUDGED[code].decode(payload), time))
    elif code == Code.RETRACT:
        facts.retracted.append(Retracted(sequence, _RETRACTED.decode(payload), time))
    elif code in _ACTED:
        facts.acted.append(Acted(sequence, _ACTED[code].decode(payload), subject, time))
    elif code in _TASKED:
        facts.tasked.append(Tasked(sequence, place, _TASKED[code].decode(payload), time))


_RELATIONS: dict[int, Relation] = {
    Code.DERIVE: Relation.DERIVED,
    Code.USE: Relation.USED,
    Code.GENERATE: Relation.GENERATED,
}

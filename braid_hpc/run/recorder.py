"""The run: what a program records on one rank."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.places import default_log_dir
from braid_hpc.log.writer import RankLog
from braid_hpc.run.activities import (
    Activity,
    current_activity,
    describe_value,
    outcome_of,
    remember_result,
    results_of,
    used_by,
)
from braid_hpc.run.contents import describe
from braid_hpc.run.guard import caller, recording, strict, tell
from braid_hpc.run.handles import Record, record_of
from braid_hpc.run.launcher import find_launch
from braid_hpc.run.process import describe_process, imported_packages, mpi_library, world_size
from braid_hpc.run.streams import Stream
from braid_hpc.vocabulary.codes import Code, Outcome, check_kind
from braid_hpc.vocabulary.columns import check_columns
from braid_hpc.vocabulary.encoding import check_tags, encode, encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError
from braid_hpc.vocabulary.identity import content_of_value
from braid_hpc.vocabulary.payloads import Begin, Close, Declaration, End, Links, Rejected, StreamSchema
from braid_hpc.vocabulary.references import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Run"]

_DECLARED = frozenset(
    {"uri", "path", "array", "digest", "size", "dtype", "shape", "unit", "value", "derived_from", "tags"}
) | {"same_on_all_ranks"}


class Run:
    """One rank's part of a run; made by :class:`braid_hpc.job` or :func:`braid_hpc.start`.

    None of its recording calls raises, waits for another rank, or communicates. Input that cannot be recorded is
    kept as a *rejected* event with its message and the caller's line, and told once on the error output.

    Attributes
    ----------
    name : str
        Name of the job.
    rank, size : int or None
        From the launcher's variables; None without a launcher.
    """

    def __init__(self, name: str, *, log_dir: Any = None, store: Any = None, ordinal: int = 0) -> None:
        launch = find_launch()
        self.name = name
        self.rank, self.size = launch.rank, launch.size
        self._rejected = 0
        self._told = False
        self._open = True
        self._streams: dict[str, Stream] = {}
        self._pid = os.getpid()
        facts: dict[str, Any] = {
            "job": name,
            "ordinal": ordinal,
            "rank": launch.rank,
            "size": launch.size,
            "launcher": launch.kind,
            "evidence": launch.evidence,
            "store": str(Path(store).absolute()) if store else os.environ.get("BRAID_STORE"),
            **describe_process(),
        }
        self._log = RankLog(Path(log_dir).absolute() if log_dir else default_log_dir(), facts)
        self._log.append(Code.OPEN, self._log.intern(name), time.time_ns())
        if not launch.rank:
            self._told_packages = self._record_packages({})

    def __bool__(self) -> bool:
        """Whether something is recorded: a null run is false."""
        return self._open

    @property
    def log_dir(self) -> Path:
        """The directory of all writers' directories."""
        return self._log.directory.parent

    @property
    def writer(self) -> bytes:
        """Id of this process's log, 16 bytes."""
        return self._log.writer

    # ------------------------------------------------------------------ records

    def record(self, kind: str, name: str, **about: Any) -> Record:
        """Declare a version of a record.

        Parameters
        ----------
        kind : str
            Lower-case word: ``fact``, ``data``, ``model``, ``dataset``, ``checkpoint``, or one of your own.
        name : str
            The record's name; versions of one name belong together.
        uri : str or list of str, optional
            Where the bytes are, in order. A readable file on this machine is hashed (up to
            :data:`braid_hpc.run.contents.HASH_LIMIT`) and its uri made absolute.
        path : path-like, optional
            A file on this machine, as `uri`.
        array : array, optional
            Digest, dtype and shape are taken from it; nothing of it is stored.
        digest : str or bytes, optional
            The content's digest, if it is known: ``"<algorithm>:<hex>"``.
        size : int, optional
            Bytes.
        dtype, shape, unit : optional
            Of an array, where they do not follow from `array`.
        value : object, optional
            The declared value of something that has no bytes of its own.
        derived_from : Record, str, or list of these, optional
            Direct parents; references in text are resolved when logs are merged.
        tags : mapping, optional
            Key to str, int, float or bool; nested mappings become dotted keys.
        same_on_all_ranks : bool
            A version without content is this rank's own, unless this says that all ranks declare the same one.

        Returns
        -------
        Record
            The handle; false if nothing could be recorded.
        """
        return self._declare(kind, name, about)

    def fact(self, name: str, value: Any = None, **about: Any) -> Record:
        """Declare a fact: something with no parents inside the workflow.

        Parameters
        ----------
        name : str
            The fact's name.
        value : object, optional
            Its value; a fact without bytes has its value as content.
        **about
            As for :meth:`record`.

        Returns
        -------
        Record
            The handle.
        """
        return self._declare("fact", name, {"value": value, **about})

    def data(self, name: str, **about: Any) -> Record:
        """Declare data; see :meth:`record`."""
        return self._declare("data", name, about)

    def model(self, name: str, **about: Any) -> Record:
        """Declare a state of a model; see :meth:`record`."""
        return self._declare("model", name, about)

    def _declare(self, kind: str, name: str, about: dict[str, Any], activity: Activity | None = None) -> Record:
        if not self._open:
            return Record(bytes(16), 0, str(kind), str(name))
        try:
            return self._try_declare(kind, name, about, activity)
        except Exception as error:
            if strict():
                raise
            shown = ", ".join(f"{key}={value!r:.80}" for key, value in about.items())
            self._refused(f"{kind} {name!r}", error, shown)
            return Record(self._log.writer, 0, str(kind), str(name))

    def _try_declare(self, kind: str, name: str, about: dict[str, Any], activity: Activity | None) -> Record:
        check_kind(kind)
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"a record's name is a text, not {name!r}")
        declaration = Declaration()
        parents = self._part(f"parents of {kind}:{name}", self._links, about.get("derived_from"), default=[])
        if kind == "fact" and parents:
            parents = self._part(f"parents of {kind}:{name}", _no_parents, name, default=[])
        declaration.parents = parents
        for key in about.keys() - _DECLARED:
            self._part(f"{kind}:{name}", _unknown_keyword, key)
        found = self._part(
            f"content of {kind}:{name}",
            lambda _: describe(**{key: about.get(key) for key in ("uri", "path", "array", "digest", "size")}),
            None,
        )
        if found is not None:
            declaration.uris, declaration.dtype, declaration.shape = found.uris, found.dtype, found.shape
        content = found.content if found is not None else None
        value = about.get("value")
        if content is None and (value is not None or kind == "fact"):
            content = self._part(f"value of {kind}:{name}", lambda v: content_of_value(encode_canonical(v)), value)
        if content is not None:
            declaration.digest, declaration.size, declaration.weak = content.digest, content.size, content.weak
            declaration.value = value
        declaration.tags = self._part(f"tags of {kind}:{name}", check_tags, about.get("tags"))
        for key in ("dtype", "shape", "unit"):
            if about.get(key) is not None:
                setattr(declaration, key, self._part(f"{key} of {kind}:{name}", _ARRAY_FACTS[key], about[key]))
        declaration.shared = bool(about.get("same_on_all_ranks"))
        record = self._store_declaration(kind, name, declaration, activity)
        if about.get("array") is not None and record:
            remember_result(about["array"], record)
        return record

    def _store_declaration(
        self, kind: str, name: str, declaration: Declaration, activity: Activity | None
    ) -> Record:
        log = self._log
        if activity is None:
            activity = current_activity()
        owner, foreign = 0, 0
        if activity is not None and activity.run is self and activity.open:
            owner, foreign = activity.sequence, self._foreign(activity)
        payload = encode(declaration)
        sequence = log.append(Code.DECLARE, log.intern(name), owner, foreign, log.intern(kind), 0, payload)
        return Record(log.writer, sequence, kind, name)

    def _part(self, what: str, check: Any, value: Any, default: Any = None) -> Any:
        """Take one part of a call: if it is refused, the rest of the call is recorded all the same."""
        try:
            return check(value)
        except Exception as error:
            if strict():
                raise
            self._refused(what, error, repr(value)[:200])
            return default

    def _links(self, things: Any) -> list[Any]:
        """Return links (see :mod:`braid_hpc.vocabulary.payloads`) for what a caller named as records."""
        links: list[Any] = []
        for thing in _flat(things):
            if isinstance(thing, str):
                parse_reference(thing)
                links.append(thing)
                continue
            record = record_of(thing)
            if record is None:
                raise InvalidInputError(
                    f"{describe_value(thing)!r} is not a record: give a handle, or a reference such as 'model:braggnn'"
                )
            if record:
                link: Any = record.sequence if record.writer == self._log.writer else bytes(record)
                links.append([link] if record.late else link)
        return links

    def _foreign(self, activity: Activity) -> int:
        """Return 0 for an activity of this writer, else the number of its writer's id among the interned texts."""
        return 0 if activity.writer == self._log.writer else self._log.intern(activity.writer.hex())

    @recording
    def derive(self, child: Record, parents: Any) -> None:
        """Add parents to a record that was declared before; its identity stays what it was.

        Parameters
        ----------
        child : Record
            A handle of this process.
        parents : Record, str, or list of these
            Further parents.
        """
        links = self._links(parents)
        handle = _must_be_record(child)
        if any(link == handle.sequence for link in links) and handle.writer == self._log.writer:
            raise InvalidInputError(f"{handle.kind}:{handle.name} cannot be derived from itself")
        self._log.append(
            Code.DERIVE, 0, handle.sequence, self._foreign_record(handle), 0, 0, encode(Links(links=links))
        )

    @recording
    def tag(self, record: Record, key: str, value: Any) -> None:
        """Add a tag to a record that was declared before.

        Parameters
        ----------
        record : Record
            Its handle.
        key : str
            The tag's key.
        value : str, int, float or bool
            Its value.
        """
        handle = _must_be_record(record)
        tags = check_tags({key: value})
        self._log.append(Code.TAG, 0, handle.sequence, self._foreign_record(handle), 0, 0, encode(tags))

    def _foreign_record(self, record: Record) -> int:
        return 0 if record.writer == self._log.writer else self._log.intern(record.writer.hex())

    # ------------------------------------------------------------------ activities

    def activity(self, name: str, *, used: Any = None, params: Any = None) -> Activity:
        """Begin an activity; leaving its ``with`` block ends it.

        Parameters
        ----------
        name : str
            What it is called.
        used : Record, str, or list of these, optional
            Records it uses.
        params : mapping, optional
            Parameters by name.

        Returns
        -------
        Activity
            A context manager; records declared within it are generated by it.
        """
        links = self._part(f"used by {name}", self._links, used, default=[])
        kept = self._part(f"parameters of {name}", _parameters, params)
        return self._begin(str(name), links, kept, None)

    def _begin(self, name: str, links: list[Any], params: dict[str, Any] | None, function: str | None) -> Activity:
        if not self._open:
            return Activity(self, name, bytes(16), 0)
        log = self._log
        outer = current_activity()
        above, foreign = 0, 0
        if outer is not None and outer.run is self:
            above, foreign = outer.sequence, self._foreign(outer)
        try:
            payload = encode(Begin(links, params, function)) if links or params or function else b""
            sequence = log.append(Code.BEGIN, log.intern(name), above, foreign, 0, 0, payload)
        except Exception as error:
            if strict():
                raise
            self._refused(f"activity {name!r}", error, "")
            sequence = log.append(Code.BEGIN, log.intern(name), above, foreign)
        return Activity(self, name, log.writer, sequence)

    def _end_activity(self, act: Activity, error: BaseException | None, result: Any, generated: Any) -> None:
        outcome, text = outcome_of(error)
        links = self._links(generated)
        payload = encode(End(text, result, links)) if text or links or result is not None else b""
        self._log.append(Code.END, 0, act.sequence, self._foreign(act), 0, int(outcome), payload)

    def _link(self, code: Code, act: Activity, things: Any) -> None:
        if self._open and (links := self._links(things)):
            self._log.append(code, 0, act.sequence, self._foreign(act), 0, 0, encode(Links(links=links)))

    def _describe_call(
        self, names: Iterable[str], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any] | None]:
        """Return links of the records among the arguments, and the arguments by name."""
        if not args and not kwargs:
            return [], None
        names = list(names)
        params = {names[index] if index < len(names) else f"*{index}": value for index, value in enumerate(args)}
        params.update(kwargs)
        links = self._part("arguments", self._links, used_by(params.values()), default=[])
        return links, {name: describe_value(value) for name, value in params.items()}

    def _generated(self, act: Activity, result: Any) -> list[Record]:
        """Return the records a returned value stands for, declaring those it has none for yet."""
        records = []
        for suffix, part in results_of(result):
            record = record_of(part)
            if record is None and type(part).__weakrefoffset__:
                about = {key: getattr(part, key, None) for key in ("dtype", "shape")}
                record = self._declare("data", f"{act.name}.result{suffix}", _array_about(about), act)
                remember_result(part, record)
            elif record is not None and record:
                records.append(record)
        return records

    # ------------------------------------------------------------------ streams

    def stream(
        self, name: str, columns: Any, *, units: Any = None, derived_from: Any = None, tags: Any = None
    ) -> Stream:
        """Declare a typed table that this rank appends to.

        Parameters
        ----------
        name : str
            Rows of all ranks and runs under this name are one table in the store.
        columns : mapping of str to type
            See :func:`braid_hpc.vocabulary.columns.check_columns`.
        units : mapping of str to str, optional
            Unit symbols by column.
        derived_from : Record, str, or list of these, optional
            Records that all rows are derived from.
        tags : mapping, optional
            As for :meth:`record`.

        Returns
        -------
        Stream
            With ``append`` and ``extend``. If `columns` was refused, a stream without columns, whose rows are
            refused too.
        """
        checked = self._part(f"columns of stream {name!r}", check_columns, columns, default=[])
        known = self._streams.get(name)
        if known is not None and known.columns == checked and known._log is self._log:
            return known
        log = self._log
        number = len(self._streams) + 1
        declared = Stream(self, log, number, str(name), checked)
        if self._open and checked:
            schema = StreamSchema(
                columns=checked,
                units={str(key): str(value) for key, value in dict(units or {}).items()},
                parents=self._part(f"parents of stream {name!r}", self._links, derived_from, default=[]),
                tags=self._part(f"tags of stream {name!r}", check_tags, tags),
            )
            act = current_activity()
            owner, foreign = (act.sequence, self._foreign(act)) if act is not None and act.run is self else (0, 0)
            log.remember(Code.STREAM, log.intern(str(name)), owner, foreign, number, 0, encode(schema))
        self._streams[name if known is None else f"{name}\0{number}"] = declared
        return declared

    # ------------------------------------------------------------------ refusals and the end

    def _refused(self, call: str, error: Exception, given: str) -> Any:
        self._rejected += 1
        try:
            where = caller()
            note = Rejected(call, f"{error}" or type(error).__name__, where, given)
            if not isinstance(error, (InvalidInputError, StorageError)):
                note.message = f"{type(error).__name__}: {error}"
            self._log.append(Code.REJECTED, payload=encode(note))
            if not self._told:
                self._told = True
                tell(f"{where}: {call}: {note.message} (kept as a rejected event; further ones are only counted)")
        except Exception as second:
            # The last wall before the program; nothing can be kept of a refusal that cannot be described.
            tell(f"a refused call could not be kept ({type(second).__name__})")
        return Record(bytes(16), 0)

    def _record_packages(self, known: dict[str, str]) -> dict[str, str]:
        """Record the packages imported since `known`; only one rank of a run does this."""
        packages = imported_packages()
        if fresh := {name: version for name, version in packages.items() if name not in known}:
            self._log.append(Code.INFO, self._log.intern("packages"), payload=encode(fresh))
        return packages

    def close(self, error: BaseException | None = None, outcome: Outcome | None = None) -> None:
        """Record the end of this rank's part; harmless a second time.

        Parameters
        ----------
        error : BaseException, optional
            What ended it.
        outcome : Outcome, optional
            Instead of the one that follows from `error`.
        """
        if not self._open or os.getpid() != self._pid:
            # A forked child leaves the parent's run as it is; what it recorded stands in a log of its own.
            self._open = False
            return
        try:
            if world := world_size():
                self._log.append(Code.INFO, self._log.intern("world"), payload=encode(list(world)))
            if not self.rank:
                self._record_packages(self._told_packages)
                if library := mpi_library():
                    self._log.append(Code.INFO, self._log.intern("mpi_library"), payload=encode(library))
        except Exception as failed:
            self._refused("closing facts", failed, "")
        found, text = outcome_of(error)
        self._open = False
        self._log.close(encode(Close(text, self._rejected, self._log.lost)), int(found if outcome is None else outcome))


def _flat(things: Any) -> list[Any]:
    if things is None:
        return []
    if not isinstance(things, (list, tuple, set, frozenset)):
        return [things]
    flat: list[Any] = []
    for thing in things:
        if thing is None:
            raise InvalidInputError("None stands among the records: leave it out of the list")
        flat.extend(_flat(thing) if isinstance(thing, (list, tuple, set, frozenset)) else [thing])
    return flat


def _must_be_record(thing: Any) -> Record:
    record = record_of(thing)
    if record is None:
        raise InvalidInputError(f"{describe_value(thing)!r} is not a record: give the handle that declaring it returned")
    return record


def _parameters(params: Any) -> dict[str, Any] | None:
    if not params:
        return None
    if not hasattr(params, "items"):
        raise InvalidInputError(f"params is a mapping of name to value, not a {type(params).__name__}")
    kept: dict[str, Any] = {}
    for name, value in params.items():
        try:
            encode(value)
            kept[str(name)] = value
        except InvalidInputError:
            kept[str(name)] = describe_value(value)
    return kept


def _no_parents(name: str) -> list[Any]:
    raise InvalidInputError(f"fact:{name} takes no parents inside the workflow: declare it as data to derive it")


def _unknown_keyword(key: str) -> None:
    raise InvalidInputError(f"{key}= is not something a record has; it has {', '.join(sorted(_DECLARED))}")


def _shape(value: Any) -> list[int]:
    return [int(length) for length in (value if hasattr(value, "__iter__") else (value,))]


def _dtype(value: Any) -> str:
    return str(getattr(value, "str", None) or (value.__name__ if isinstance(value, type) else value))


_ARRAY_FACTS: dict[str, Any] = {"dtype": _dtype, "shape": _shape, "unit": str}


def _array_about(about: dict[str, Any]) -> dict[str, Any]:
    if isinstance(about["shape"], tuple) and about["dtype"] is not None:
        return about
    return {}

"""The run: what a program records on one rank."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.places import default_log_dir
from braid_hpc.log.writer import RankLog
from braid_hpc.run.activities import (
    Activity,
    activity_of,
    current_activity,
    describe_value,
    outcome_of,
    results_of,
    used_by,
)
from braid_hpc.run.arrays import RunArrays
from braid_hpc.run.calls import BEGUN, ENDED, begin_calls, begin_long_calls
from braid_hpc.run.contents import describe
from braid_hpc.run.guard import caller, recording, shown, strict, tell
from braid_hpc.run.handles import RECORDS, Record, record_of
from braid_hpc.run.launcher import find_launch
from braid_hpc.run.process import describe_process, imported_packages, mpi_library, world_size
from braid_hpc.run.streams import Stream, stream_type
from braid_hpc.vocabulary.codes import Code, Outcome, check_kind, is_kind
from braid_hpc.vocabulary.columns import check_columns
from braid_hpc.vocabulary.encoding import check_tags, encode, encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError
from braid_hpc.vocabulary.identity import content_of_value
from braid_hpc.vocabulary.payloads import Begin, Called, Close, Declaration, End, Links, Rejected, StreamSchema
from braid_hpc.vocabulary.references import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.run.calls import About

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
        self._late = False
        self._when_closed: Callable[[Run], None] | None = None
        self._open = True
        self._streams: dict[tuple[str, tuple[tuple[str, str], ...]], Stream] = {}
        self._stream_numbers = itertools.count(1)
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
        ship_to = os.environ.get("BRAID_SHIP_DIR")
        self._log = RankLog(
            Path(log_dir).absolute() if log_dir else default_log_dir(),
            facts,
            ship_to=Path(ship_to).absolute() if ship_to else None,
        )
        self._log.attend = begin_long_calls(self)
        self._log.on_loss = _tell_loss
        self._arrays = RunArrays(self._log)
        self._log.append(Code.OPEN, self._log.intern(name), time.time_ns())
        if not launch.rank:
            self._told_packages = self._record_packages({}, thorough=False)

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

    @property
    def levels(self) -> dict[str, int | None]:
        """How far each level has come: ``held``, ``synced``, ``shipped``, as the sequence of the last event.

        None where a level is not to be had: nothing on a file system in memory survives the node, and nothing is
        shipped without ``BRAID_SHIP_DIR``.
        """
        return self._log.levels

    def flush(self, level: str = "synced") -> bool:
        """Wait until everything recorded so far has reached a level.

        Parameters
        ----------
        level : str
            ``held`` (it survives the process: always so), ``synced`` (on the node's disk), or ``shipped`` (copied to
            the directory named by ``BRAID_SHIP_DIR``, read again there, and equal).

        Returns
        -------
        bool
            Whether it has; False if the level is not to be had here, or the file system refused.
        """
        try:
            log = self._log
            if level not in log.levels:
                raise InvalidInputError(f"{level!r} is not a level: there are {', '.join(log.levels)}")
            mark = log.held
            if log.levels[level] is None:
                return False
            if level != "held":
                log.sync()
            if level == "shipped":
                log.ship()
            return (log.levels[level] or 0) >= mark
        except Exception as error:
            if strict() and not isinstance(error, OSError):
                raise
            self._refused("flush", error, repr(level))
            return False

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

    def array(
        self,
        name: str,
        array: Any,
        *,
        unit: Any = None,
        derived_from: Any = None,
        tags: Any = None,
        kind: str = "data",
    ) -> Record:
        """Store an array in the log, and declare the record that it is the content of.

        When the call returns, the kernel holds the bytes. Equal content is stored once for each rank; after
        compaction ``store.array(reference)`` gives the array back, bit for bit.

        Parameters
        ----------
        name : str
            The record's name.
        array : array
            Anything with the buffer protocol or ``__array__``, of any shape, strides and dtype but objects. No other
            thread may write into it during the call.
        unit : str, optional
            Unit symbol.
        derived_from, tags : optional
            As for :meth:`record`.
        kind : str
            The record's kind.

        Returns
        -------
        Record
            The handle. An array that cannot be stored (a full disk, no h5py) is declared all the same, its loss is
            recorded and told once on the error output.
        """
        about = {"unit": unit, "derived_from": derived_from, "tags": tags}
        return self._store_array(kind, name, array, about)

    def _store_array(
        self, kind: str, name: str, array: Any, about: dict[str, Any], activity: Activity | None = None
    ) -> Record:
        if self._open and isinstance(name, str) and name and is_kind(kind):
            kept = self._part(f"array {kind}:{name}", lambda given: self._arrays.keep(kind, name, given), array)
            if kept is not None:
                laid, content, lost = kept
                about.update(digest=content.digest, size=content.size, dtype=laid.dtype, shape=laid.shape)
                if lost is not None and self._arrays.lost == 1:
                    tell(f"{caller()}: array {kind}:{name} is not stored: {lost} (further ones are only counted)")
        record = self._declare(kind, name, about, activity)
        if record:
            RECORDS.remember(array, record)
        return record

    def _declare(self, kind: str, name: str, about: dict[str, Any], activity: Activity | None = None) -> Record:
        if not self._open:
            self._note_late()
            return Record(bytes(16), 0, shown(kind), shown(name))
        try:
            return self._try_declare(kind, name, about, activity)
        except Exception as error:
            if strict():
                raise
            self._refused(f"{shown(kind)} {shown(name)}", error, ", ".join(f"{k}={shown(v)}" for k, v in about.items()))
            return Record(self._log.writer, 0, shown(kind), shown(name))

    def _try_declare(self, kind: str, name: str, about: dict[str, Any], activity: Activity | None) -> Record:
        check_kind(kind)
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"a record's name is a text, not {name!r}")
        declaration = Declaration()
        parents = self._good_links(f"parents of {kind}:{name}", about.get("derived_from"))
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
        elsewhere = kind == "fact" and value is None and bool(declaration.uris)
        if content is None and not elsewhere and (value is not None or kind == "fact"):
            content = self._part(f"value of {kind}:{name}", lambda v: content_of_value(encode_canonical(v)), value)
        if content is not None:
            declaration.digest, declaration.size, declaration.weak = content.digest, content.size, content.weak
            declaration.value = value
        declaration.tags = self._part(f"tags of {kind}:{name}", check_tags, about.get("tags"))
        for key in ("dtype", "shape", "unit"):
            if about.get(key) is not None:
                setattr(declaration, key, self._part(f"{key} of {kind}:{name}", _ARRAY_FACTS[key], about[key]))
        # A fact whose bytes lie where this rank cannot read them is still one fact for all ranks of the run.
        declaration.shared = bool(about.get("same_on_all_ranks")) or (elsewhere and content is None)
        record = self._store_declaration(kind, name, declaration, activity)
        if about.get("array") is not None and record:
            RECORDS.remember(about["array"], record)
        return record

    def _store_declaration(self, kind: str, name: str, declaration: Declaration, activity: Activity | None) -> Record:
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
            self._refused(what, error, shown(value))
            return default

    def _links(self, things: Any) -> list[Any]:
        """Return links (see :mod:`braid_hpc.vocabulary.payloads`) for what a caller named as records."""
        return [link for thing in _flat(things) if (link := self._link_of(thing)) is not None]

    def _good_links(self, what: str, things: Any) -> list[Any]:
        """Return the links of those that are records; the others are kept as refused parts of the call `what`."""
        flat = self._part(what, _flat, things, default=[])
        return [link for thing in flat if (link := self._part(what, self._link_of, thing)) is not None]

    def _link_of(self, thing: Any) -> Any:
        if isinstance(thing, str):
            parse_reference(thing)
            return thing
        record = record_of(thing)
        if record is None:
            raise InvalidInputError(
                f"{describe_value(thing)!r} is not a record: give a handle, or a reference such as 'model:braggnn'"
            )
        if not record:
            # Its declaration was lost or refused, which was said then.
            return None
        link: Any = record.sequence if record.writer == self._log.writer else bytes(record)
        return [link] if record.late else link

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
        links = self._good_links("parents", parents)
        handle = _must_be_record(child)
        if not handle or not links:
            return
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
        if not handle:
            return
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
        name = name if isinstance(name, str) else shown(name)
        links = self._good_links(f"used by {name}", used)
        kept = self._part(f"parameters of {name}", _parameters, params)
        return self._begin(name, links, kept, None, current_activity())

    def _begin(
        self,
        name: str,
        links: list[Any],
        params: dict[str, Any] | None,
        function: str | None,
        outer: Activity | None,
        since: int | None = None,
    ) -> Activity:
        if not self._open:
            self._note_late()
            return Activity(self, name, bytes(16), 0)
        log = self._log
        above, foreign = self._above(outer)
        try:
            payload = encode(Begin(links, params, function, since)) if links or params or function else b""
            sequence = log.append(Code.BEGIN, log.intern(name), above, foreign, 0, 0, payload)
        except Exception as error:
            if strict():
                raise
            self._refused(f"activity {name!r}", error, "")
            sequence = log.append(Code.BEGIN, log.intern(name), above, foreign)
        return Activity(self, name, log.writer, sequence)

    def _above(self, outer: Activity | None) -> tuple[int, int]:
        """Return what a row says of the activity that something stands in."""
        return (outer.sequence, self._foreign(outer)) if outer is not None and outer.run is self else (0, 0)

    def _end_activity(self, act: Activity, error: BaseException | None, result: Any, generated: Any) -> None:
        outcome, text = outcome_of(error)
        links = self._good_links(f"generated by {act.name}", generated)
        payload = b""
        if text or links or result is not None:
            payload = self._part(f"result of {act.name}", lambda r: encode(End(text, r, links)), result, default=b"")
        self._log.append(Code.END, 0, act.sequence, self._foreign(act), 0, int(outcome), payload)

    def _link(self, code: Code, act: Activity, things: Any) -> None:
        if self._open and (links := self._good_links(f"records of activity {act.name}", things)):
            self._log.append(code, 0, act.sequence, self._foreign(act), 0, 0, encode(Links(links=links)))

    def _begin_at_once(self, about: About, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity:
        """Begin the activity of a decorated generator or coroutine, with what can be told of its arguments."""
        links, kept = self._arguments(about, args, kwargs)
        return self._begin(about.name, links, kept, about.qualified, current_activity())

    def _begin_call(self, call: Any) -> Activity:
        """Record the beginning of a call, because something is recorded in it or it lasts, unless that was done."""
        about = call.about
        act = Activity(self, about.name, bytes(16), 0)
        if call.claim(BEGUN):
            try:
                if self._open:
                    links, kept = self._arguments(about, call.args, call.kwargs)
                    outer = activity_of(call._outer)
                    act = self._begin(about.name, links, kept, about.qualified, outer, call.began)
                    act.mark = call.mark
            except Exception as error:
                self._refused(f"beginning of {about.name}", error, "")
            finally:
                act._outer = call._outer
                call.activity = act
        # Another thread may be about to; what interrupted this very thread in between must not wait for ever.
        for _ in range(1_000):
            if call.activity is not None or not call.open:
                break
            time.sleep(0.0002)
        return call.activity or act

    def _end_call(self, call: Any, error: BaseException | None, result: Any) -> None:
        """Record the end of a call, in one row with its beginning if that has none; never raises but if asked to."""
        about = call.about
        try:
            if error is None and results_of(result):
                # Somebody generated it.
                self._begin_call(call)
            if not call.claim(ENDED):
                act = self._begin_call(call)
                if error is None:
                    act._end_call(result)
                # With the result or, where that was refused, without.
                act.end(error=error)
            elif self._open:
                above, foreign = self._above(activity_of(call._outer))
                links, kept = self._arguments(about, call.args, call.kwargs)
                outcome, text = outcome_of(error)
                payload = about.payload
                if links or kept or text or result is not None:
                    said = Called(links, kept, about.qualified, text, describe_value(result))
                    payload = self._part(f"what is told of {about.name}", encode, said, default=payload)
                lasted = time.monotonic_ns() - call.began
                self._log.append(Code.CALL, self._log.intern(about.name), above, lasted, foreign, int(outcome), payload)
        except Exception as failed:
            if strict():
                raise
            self._refused(f"end of {about.name}", failed, "")

    def _arguments(
        self, about: About, args: tuple[Any, ...], kwargs: dict[str, Any] | None
    ) -> tuple[list[Any], dict[str, Any] | None]:
        """Return what can be told of the arguments of a decorated function: the records they stand for, and values."""
        if not args and not kwargs:
            return [], None
        name, names = about.name, about.names
        params = {names[index] if index < len(names) else f"*{index}": value for index, value in enumerate(args)}
        params.update(kwargs or {})
        values = params.values()
        # An argument may raise when it is looked at (a dataset of a closed file does), which is not the caller's error.
        links = self._part(f"arguments of {name}", lambda _: self._links(used_by(values)), name, default=[])
        kept = {
            key: self._part(f"argument {key} of {name}", describe_value, value, default=f"<{type(value).__name__}>")
            for key, value in params.items()
        }
        return links, kept

    def _generated(self, act: Activity, result: Any) -> list[Record]:
        """Return the records a returned value stands for, declaring those it has none for yet."""
        records = []
        for suffix, part in results_of(result):
            # The object itself: a view of a known array is a result of its own.
            record = part if isinstance(part, Record) else RECORDS.find(part, views=False)
            made_inside = record is not None and (record.writer != act.writer or record.sequence > act.mark)
            if record is not None and made_inside:
                records.append(record)
            elif not isinstance(part, Record) and type(part).__weakrefoffset__:
                # Also an argument that is returned: it may have been changed in place, and an update is a new version.
                about = {key: getattr(part, key, None) for key in ("dtype", "shape")}
                record = self._declare("data", f"{act.name}.result{suffix}", _array_about(about), act)
                RECORDS.remember(part, record)
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
        try:
            return self._declare_stream(name, columns, units, derived_from, tags)
        except Exception as error:
            if strict():
                raise
            self._refused(f"stream {shown(name)}", error, shown(columns))
            return Stream(self, self._log, 0, shown(name), [])

    def _declare_stream(self, name: str, columns: Any, units: Any, derived_from: Any, tags: Any) -> Stream:
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"a stream's name is a text, not {name!r}")
        checked = check_columns(columns)
        known = self._streams.get((name, tuple(checked)))
        if known is not None or not self._open:
            return known or Stream(self, self._log, 0, name, checked)
        log = self._log
        declared = stream_type(log)(self, log, next(self._stream_numbers), name, checked)
        schema = StreamSchema(
            columns=checked,
            units=self._part(f"units of stream {name!r}", _units, units, default={}),
            parents=self._good_links(f"parents of stream {name!r}", derived_from),
            tags=self._part(f"tags of stream {name!r}", check_tags, tags),
        )
        act = current_activity()
        owner, foreign = (act.sequence, self._foreign(act)) if act is not None and act.run is self else (0, 0)
        log.remember(Code.STREAM, log.intern(name), owner, foreign, declared._number, 0, encode(schema))
        # Only now: another thread that finds it may append to it.
        return self._streams.setdefault((name, tuple(checked)), declared)

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

    def _note_late(self) -> None:
        """Say once that the run has ended, if it has: there is no log any more that could keep what is recorded."""
        if not self._open and not self._late:
            self._late = True
            tell(f"{caller()}: job {self.name!r} has ended; what is recorded in it from now on is not kept")

    def _record_packages(self, known: dict[str, str], *, thorough: bool) -> dict[str, str]:
        """Record the packages imported since `known`; only one rank of a run does this."""
        packages = imported_packages(thorough=thorough)
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
        if self._when_closed is not None:
            self._when_closed(self)
        if not self._open or self._log.inherited:
            # A forked child that recorded nothing leaves no log; another one closes its own.
            self._open = False
            return
        try:
            if world := world_size():
                self._log.append(Code.INFO, self._log.intern("world"), payload=encode(list(world)))
            if not self.rank:
                self._record_packages(self._told_packages, thorough=True)
                if library := mpi_library():
                    self._log.append(Code.INFO, self._log.intern("mpi_library"), payload=encode(library))
        except Exception as failed:
            self._refused("closing facts", failed, "")
        # Their ends come too late.
        begin_calls(self)
        found, text = outcome_of(error)
        self._open = False
        self._arrays.close()
        self._log.close(encode(Close(text, self._rejected, self._log.lost)), int(found if outcome is None else outcome))


def _tell_loss(reason: str) -> None:
    """Say once that events are lost; how many, and when, stands in the log as soon as there is room."""
    why = reason or "the log cannot be written"
    tell(f"events are lost on this rank ({why}); the program goes on, and so does recording when it can")


def _flat(things: Any) -> list[Any]:
    if things is None:
        # Allowed also within a list: the model before the first epoch is None.
        return []
    if not isinstance(things, (list, tuple, set, frozenset)):
        return [things]
    return [found for thing in things for found in _flat(thing)]


def _must_be_record(thing: Any) -> Record:
    record = record_of(thing)
    if record is None:
        raise InvalidInputError(
            f"{describe_value(thing)!r} is not a record: give the handle that declaring it returned"
        )
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


def _units(units: Any) -> dict[str, str]:
    try:
        return {str(column): str(unit) for column, unit in dict(units or {}).items()}
    except (TypeError, ValueError):
        raise InvalidInputError(f"units is a mapping of column to unit, not a {type(units).__name__}") from None


def _no_parents(name: str) -> list[Any]:
    raise InvalidInputError(f"fact:{name} takes no parents inside the workflow: declare it as data to derive it")


def _unknown_keyword(key: str) -> None:
    raise InvalidInputError(f"{key}= is not something a record has; it has {', '.join(sorted(_DECLARED))}")


def _shape(value: Any) -> list[int]:
    lengths = [int(length) for length in (value if hasattr(value, "__iter__") else (value,))]
    if not all(0 <= length < 1 << 63 for length in lengths):
        raise InvalidInputError("the lengths of a shape are numbers from 0 below 2**63")
    return lengths


def _dtype(value: Any) -> str:
    return str(getattr(value, "str", None) or (value.__name__ if isinstance(value, type) else value))


_ARRAY_FACTS: dict[str, Any] = {"dtype": _dtype, "shape": _shape, "unit": str}


def _array_about(about: dict[str, Any]) -> dict[str, Any]:
    if isinstance(about["shape"], tuple) and about["dtype"] is not None:
        return about
    return {}

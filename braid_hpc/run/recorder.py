"""The run: what a program records on one rank.

What it does stands in rooms of its own, each made on the one before: :mod:`~braid_hpc.run.refusals`,
:mod:`~braid_hpc.run.links`, :mod:`~braid_hpc.run.declarations`, :mod:`~braid_hpc.run.storing`,
:mod:`~braid_hpc.run.doing`, :mod:`~braid_hpc.run.judging`, :mod:`~braid_hpc.run.stating`,
:mod:`~braid_hpc.run.filing`, :mod:`~braid_hpc.run.row_edges`, :mod:`~braid_hpc.run.declared_rows`,
:mod:`~braid_hpc.run.marking`, :mod:`~braid_hpc.run.collecting`,
:mod:`~braid_hpc.run.attached_files`. Here are its beginning, its streams, its levels and its end.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.log.interrupts import from_handler
from braid_hpc.log.places import default_log_dir
from braid_hpc.log.writer import RankLog
from braid_hpc.run.activities import current_activity, outcome_of
from braid_hpc.run.arrays import RunArrays
from braid_hpc.run.attached_files import AttachingFiles
from braid_hpc.run.calls import begin_calls, begin_long_calls
from braid_hpc.run.children import Parent, announce_parent, forget_parent, parent_of_worker
from braid_hpc.run.guard import passes, shown, strict, tell
from braid_hpc.run.launcher import Launch, find_launch
from braid_hpc.run.process import describe_process, imported_packages, mpi_library, world_size
from braid_hpc.run.streams import Stream, stream_type
from braid_hpc.vocabulary.codes import Code, Outcome
from braid_hpc.vocabulary.columns import check_columns
from braid_hpc.vocabulary.denials import DENIAL_COLUMNS, DENIALS
from braid_hpc.vocabulary.encoding import check_tags, encode
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.payloads import Close, StreamSchema
from braid_hpc.vocabulary.places import CLAIM_COLUMNS, CLAIMS, MARK_COLUMNS, MARKS
from braid_hpc.vocabulary.sets import SET_COLUMNS, SETS
from braid_hpc.vocabulary.small_files import ATTACHED, ATTACHED_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.run.tables import DeclaredTable
    from braid_hpc.vocabulary.payloads import TableSchema

__all__ = ["Run"]

#: Streams that we write ourselves, with their columns.
_OWN = {MARKS: MARK_COLUMNS, CLAIMS: CLAIM_COLUMNS, SETS: SET_COLUMNS, ATTACHED: ATTACHED_COLUMNS}
_OWN |= {DENIALS: DENIAL_COLUMNS}


class Run(AttachingFiles):
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

    def __init__(
        self, name: str, *, log_dir: Any = None, store: Any = None, ordinal: int = 0, alone: bool = False
    ) -> None:
        # Alone also where a launcher is: what is said after a run belongs to none of its ranks.
        launch = Launch() if alone else find_launch()
        parent = None if alone else parent_of_worker()
        self.name = name
        self.rank, self.size = launch.rank, launch.size
        self._when_closed: Callable[[Run], None] | None = None
        self._open = True
        self._streams: dict[tuple[str, str | bytes], Stream] = {}
        self._stream_numbers = itertools.count(1)
        self._named_streams, self._edge_files = {}, {}
        self._belonged, self._tables, self._attached = {}, {}, set()
        facts: dict[str, Any] = {
            # A worker's run is known by its parent's, also where that one's log is not there.
            "job": parent.job if parent else name,
            "ordinal": parent.ordinal if parent else ordinal,
            "parent": parent.writer if parent else None,
            "rank": launch.rank,
            "size": launch.size,
            "launcher": launch.kind,
            "evidence": launch.evidence,
            "store": str(Path(store).absolute()) if store else os.environ.get("BRAID_STORE"),
            **describe_process(),
        }
        ship_to = os.environ.get("BRAID_SHIP_DIR")
        log_dir = log_dir or (parent.log_dir if parent else None)
        self._log = RankLog(
            Path(log_dir).absolute() if log_dir else default_log_dir(),
            facts,
            ship_to=Path(ship_to).absolute() if ship_to else None,
        )
        self._log.attend = begin_long_calls(self)
        self._log.on_loss = _tell_loss
        self._arrays = RunArrays(self._log)
        self._log.append(Code.OPEN, self._log.intern(name), time.time_ns())
        self._announced = Parent(self.writer.hex(), facts["job"], facts["ordinal"], str(self.log_dir))
        announce_parent(self._announced)
        self._world: tuple[int, int] | None = None
        # Now and at the end: a rank that is killed has said it, and one that starts MPI later says it then.
        self._record_world()
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

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if there is no such level.
        """
        try:
            log = self._log
            if level not in log.levels:
                raise InvalidInputError(f"{shown(level)} is not a level: there are {', '.join(log.levels)}")
            mark = log.held
            if log.levels[level] is None:
                return False
            if level != "held":
                log.sync()
            if level == "shipped":
                log.ship()
            return (log.levels[level] or 0) >= mark
        except Exception as error:
            if from_handler(error) or (strict() and not isinstance(error, OSError)):
                raise
            self._refused("flush", error, shown(level))
            return False

    # ------------------------------------------------------------------ streams

    def stream(
        self, name: str, columns: Any, *, units: Any = None, derived_from: Any = None, tags: Any = None
    ) -> Stream:
        """Declare a typed table that this rank appends to.

        Parameters
        ----------
        name : str
            Rows of all ranks and runs under this name are one table in the store. A rank counts its own from 0,
            those of several declarations together.
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
            With ``append`` and ``extend``; the one that was declared before if all of this is as it was then, or if
            only the name and the columns are given. If `columns` was refused, a stream without columns, whose rows
            are refused too.
        """
        try:
            return self._declare_stream(name, columns, units, derived_from, tags)
        except Exception as error:
            if passes(error):
                raise
            self._refused(f"stream {shown(name)}", error, shown(columns))
            return Stream(self, self._log, 0, shown(name), [])

    _tables: dict[type, Stream]

    def _table_stream(self, declared: DeclaredTable) -> Stream:
        if (known := self._tables.get(declared.cls)) is not None:
            return known
        columns = {column.name: column.kind for column in declared.columns}
        units = {column.name: column.unit for column in declared.columns if column.unit}
        there = self._named_streams.get(declared.name, [])
        found = self._declare_stream(declared.name, columns, units, None, None, declared.schema)
        if any(each is not found for each in there):
            raise InvalidInputError(
                f"{declared.name} is declared otherwise in this run: give one of the two another name"
            )
        return self._tables.setdefault(declared.cls, found)

    def _own_stream(self, name: str, columns: dict[str, str]) -> Stream:
        return self._declare_stream(name, columns, None, None, None)

    def _declare_stream(
        self,
        name: str,
        columns: Any,
        units: Any,
        derived_from: Any,
        tags: Any,
        table: TableSchema | None = None,
    ) -> Stream:
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"a stream's name is a text, not {name!r}")
        checked = check_columns(columns)
        if name in _OWN and checked != list(_OWN[name].items()):
            raise InvalidInputError(f"{name} is what braid_hpc calls a stream of its own: give this one another name")
        plain = (name, repr(checked))
        known = self._streams.get(plain)
        if not self._open:
            return known or Stream(self, self._log, 0, name, checked)
        if known is not None and units is None and derived_from is None and tags is None and table is None:
            return known
        log = self._log
        schema = StreamSchema(
            columns=checked,
            units=self._part(f"units of stream {name!r}", _units, units, default={}),
            parents=self._good_links(f"parents of stream {name!r}", derived_from),
            tags=self._part(f"tags of stream {name!r}", check_tags, tags),
            table=table,
        )
        payload = encode(schema)
        if known := self._streams.get((name, payload)):
            return known
        if table is None and any(name == each.name for each in self._tables.values()):
            # Rows of both stand in one table, and those of one would be judged as the other's.
            raise InvalidInputError(f"{name} is a declared table of this run: give the stream another name")
        declared = stream_type(log)(self, log, next(self._stream_numbers), name, checked)
        act = current_activity()
        owner, foreign = (act.sequence, self._foreign(act)) if act is not None and act.run is self else (0, 0)
        log.remember(Code.STREAM, log.intern(name), owner, foreign, declared._number, 0, payload)
        # Only now: another thread that finds it may append to it.
        self._note_stream(declared)
        self._streams.setdefault(plain, declared)
        return self._streams.setdefault((name, payload), declared)

    # ------------------------------------------------------------------ the end

    def _record_packages(self, known: dict[str, str], *, thorough: bool) -> dict[str, str]:
        """Record the packages imported since `known`; only one rank of a run does this."""
        packages = imported_packages(thorough=thorough)
        if fresh := {name: version for name, version in packages.items() if name not in known}:
            self._log.append(Code.INFO, self._log.intern("packages"), payload=encode(fresh))
        return packages

    def _record_world(self) -> None:
        """Record rank and size in MPI's world, once both are known, and tell if it is not what was launched."""
        world = world_size()
        if world is None or world == self._world:
            return
        self._world = world
        self._log.append(Code.INFO, self._log.intern("world"), payload=encode(list(world)))
        if not self.rank and self.size is not None and self.size != world[1]:
            tell(
                f"the launcher has started {self.size} ranks, and MPI's world has {world[1]}: start the program with "
                f"the launcher of its own MPI"
            )

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
        forget_parent(self._announced.writer)
        if not self._open or self._log.inherited:
            # A forked child that recorded nothing leaves no log; another one closes its own.
            self._open = False
            return
        try:
            self._record_world()
            if not self.rank:
                # After an interrupt nothing is looked up: what is imported for it evaluates texts, after which Python
                # 3.11 forgets that the process is to end by the signal, and ends it with code 1.
                thorough = not isinstance(error, KeyboardInterrupt)
                self._record_packages(self._told_packages, thorough=thorough)
                if library := mpi_library():
                    self._log.append(Code.INFO, self._log.intern("mpi_library"), payload=encode(library))
        except Exception as failed:
            if from_handler(failed):
                raise
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


def _units(units: Any) -> dict[str, str]:
    try:
        return {str(column): str(unit) for column, unit in dict(units or {}).items()}
    except (TypeError, ValueError):
        raise InvalidInputError(f"units is a mapping of column to unit, not a {type(units).__name__}") from None

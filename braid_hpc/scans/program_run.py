"""A run that is no scan of an instrument, asked in the same words: its streams are those of the program."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.fields import near
from braid_hpc.scans.conditions import Pairs, in_sql, name_of, parsed
from braid_hpc.scans.packages import needed
from braid_hpc.scans.rows import Rows, chosen_rows, length_of
from braid_hpc.scans.run_array import RunArray, column_values
from braid_hpc.store.bound import Bound
from braid_hpc.store.guarded import refusal
from braid_hpc.store.missing_documents import MissingDocument
from braid_hpc.store.runs import resolve_run, run_facts
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from braid_hpc.queries.tree import Condition, Query
    from braid_hpc.store.documents import Documents
    from braid_hpc.store.store import Store

__all__ = ["ProgramRun", "RunTable"]

#: What holds of the rows of a run at a moment.
_WHERE = "_run = $run and _snapshot <= $at and epoch_ns(_time) <= $as_of"

#: What types of columns are compared as.
_KINDS = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "int64"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "int64"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "float64"),
    "VARCHAR": "text",
    "BOOLEAN": "bool",
}


class RunTable(Rows):
    """The rows that a run appended to a stream, by rank, writer and number; read when they are used.

    Parameters
    ----------
    store : Store
        Open.
    name, place : str
        Of the stream, and of its table as SQL names it.
    values : dict
        The run and the moment.
    columns : iterable of str, optional
        Which; without it all, and ``_rank``, ``_row`` and ``_time``.
    where : Query or str, optional
        Which rows.
    rows : int, slice or range, optional
        Which of these, counted from 0.

    Raises
    ------
    InvalidInputError
        If there is no such column, or `where` or `rows` cannot be such.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        place: str,
        values: dict[str, Any],
        *,
        columns: Iterable[str] | None = None,
        where: Query | str | None = None,
        rows: int | slice | range | None = None,
    ) -> None:
        self._store, self.name, self._place, self._values = store, name, place, dict(values)
        relation = store._connected.cursor().sql(f"select * from {place} limit 0")
        self._types = dict(zip(relation.columns, map(str, relation.types), strict=True))
        known = [each for each in self._types if not each.startswith("_")]
        names = ["_rank", "_row", "_time", *known] if columns is None else columns
        self._names = [self._known(each) for each in ([names] if isinstance(names, str) else names)]
        if not self._names:
            raise InvalidInputError("columns= names none: leave it away for all")
        self._condition = "true"
        if where is not None:
            bound = Bound()
            self._condition = in_sql(parsed(where), self._pairs, bound)
            self._values |= bound.values
        self._rows = chosen_rows(rows)

    def _known(self, name: Any) -> str:
        if name not in self._types:
            raise InvalidInputError(f"there is no column {name!r:.80}{near(str(name), list(self._types))}")
        return str(name)

    def _pairs(self, asked: Condition) -> Pairs:
        name = self._known(name_of(asked))
        return [(quoted(name), _KINDS.get(self._types[name], "array"))]

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self._names)

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """Types, and the unit of each column that has one in its field's metadata."""
        import pyarrow as pa

        # As this run declared them first; other runs may have other units, or none.
        rows = self._store.sql(
            "select units from stream_rows where stream = $stream and run = $run and snapshot <= $at "
            "order by snapshot desc, writer desc, number desc",
            {"stream": self.name, "run": self._values["run"], "at": self._values["at"]},
        )
        found = {name: {"unit": unit} for row in rows for name, unit in json.loads(row["units"]).items()}
        bare = self._relation("limit 0", lambda relation: relation.to_arrow_table()).schema
        return pa.schema([field.with_metadata(found.get(field.name)) for field in bare])

    def _query(self, chosen: str, rest: str) -> str:
        return f"select {chosen} from {self._place} where {_WHERE} and ({self._condition}) {rest}"

    def _relation(self, rest: str, use: Any) -> Any:
        import duckdb

        cursor = self._store._connected.cursor()
        try:
            chosen = ", ".join(map(quoted, self._names))
            return use(cursor.sql(self._query(chosen, rest), params=self._values))
        except duckdb.Error as error:
            raise refusal(error) from error
        finally:
            cursor.close()

    def count(self) -> int:
        """Return how many rows there are.

        Returns
        -------
        int
            The number.
        """
        with self._store._asking:
            found = self._store._connected.execute(self._query("count(*)", ""), self._values).fetchall()
        return length_of(self._rows, int(found[0][0]))

    def chosen(self, rows: slice | None) -> RunTable:
        """Return the same table with other rows of those that there are.

        Parameters
        ----------
        rows : slice or None
            Which of them, counted from 0; None for all.

        Returns
        -------
        RunTable
            Another one.
        """
        found = RunTable.__new__(RunTable)
        found.__dict__.update(self.__dict__, _rows=rows)
        return found

    def to_xarray(self) -> Any:
        """Return the rows as an xarray Dataset.

        Returns
        -------
        xarray.Dataset
            The dimension ``row``; what each row has of the run (``_rank``, ``_row``, ``_time``) are its coordinates,
            and units are attributes.

        Raises
        ------
        MissingExtraError
            If xarray is not installed.
        """
        xarray = needed("xarray")
        table = self.to_arrow()
        found = {
            field.name: ("row", column_values(table.column(at)), _unit_of(field))
            for at, field in enumerate(self.schema)
        }
        coords = {name: found.pop(name) for name in list(found) if name.startswith("_")}
        return xarray.Dataset(found, coords=coords)

    def _batches(self, size: int) -> Iterator[pa.RecordBatch]:
        import duckdb
        import pyarrow as pa

        schema = self.schema
        rest = "order by _rank, _writer, _row"
        step = 1
        if self._rows is not None:
            exact = range(self.chosen(None).count())[self._rows]
            step = exact.step
            rest += f" limit {max(0, exact.stop - exact.start)} offset {exact.start}"
        cursor = self._store._connected.cursor()
        try:
            chosen = ", ".join(map(quoted, self._names))
            if step > 1:
                number = f"row_number() over ({rest.partition(' limit')[0]}) - 1"
                inner = self._query(f"{chosen}, {number} as _place", rest)
                start = rest.rpartition(" ")[2]
                query = f"select {chosen} from ({inner}) where (_place - {start}) % {step} = 0 order by _place"
            else:
                query = self._query(chosen, rest)
            reader = cursor.sql(query, params=self._values).to_arrow_reader(min(size, 1 << 20))
            for batch in reader:
                if batch.num_rows:
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except duckdb.Error as error:
            raise refusal(error) from error
        finally:
            cursor.close()


class ProgramRun:
    """A run of a program, with the calls of a scan: its streams, and what it said of itself as start and stop.

    Parameters
    ----------
    store : Store
        Open; it has to stay so.
    which : str
        ``run:`` and its id, the beginning of that, or the name of its job.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Attributes
    ----------
    uid : str
        Its id.

    Raises
    ------
    NotFoundError, ConflictError
        If there is none, or there are several.
    """

    def __init__(self, store: Store, which: str, then: dict[str, int]) -> None:
        self._store, self._then = store, then
        self.uid = resolve_run(store._connected, which, then["at"])
        (self._facts,) = run_facts(store._connected, [self.uid], then["at"])
        rows = store.sql(
            "select status, events, epoch_ns(begin_time) as begun, epoch_ns(end_time) as ended from runs where run = ?",
            [self.uid],
        ).to_pylist()
        self._state: dict[str, Any] = rows[0] if rows else {}

    @property
    def start(self) -> dict[str, Any]:
        """What the run said of itself: ``uid``, ``time`` in seconds since 1970, ``job``, ``argv`` and so on."""
        about = {name: value for name, value in self._facts.to_dict().items() if name != "run"}
        return {"uid": self.uid, "time": _seconds(self._state.get("begun")), **about}

    @property
    def stop(self) -> dict[str, Any] | None:
        """How it ended: ``exit_status``, ``time`` and ``num_events``; None while it has no end."""
        ended = self._state.get("ended")
        if ended is None:
            return None
        status = self._state.get("status")
        return {"run_start": self.uid, "time": _seconds(ended), "exit_status": status, "num_events": self.streams}

    @property
    def descriptors(self) -> list[dict[str, Any]]:
        """None: only instruments describe their events so."""
        return []

    @property
    def config(self) -> dict[str, Any]:
        """None: only instruments have settings."""
        return {}

    @functools.cached_property
    def _places(self) -> dict[str, str]:
        rows = self._store.sql(
            "select distinct s.stream, s.place from stream_rows s join information_schema.columns c "
            "on c.table_schema = 'stream' and c.table_name = s.place and c.column_name = '_run' "
            "where s.snapshot <= ? order by s.stream",
            [self._then["at"]],
        )
        return {row["stream"]: f"stream.{quoted(row['place'])}" for row in rows}

    @functools.cached_property
    def streams(self) -> dict[str, int]:
        """The streams by name, and how many rows this run appended to each."""
        found = {}
        for name, place in self._places.items():
            rows = self._store._connected.execute(f"select count(*) from {place} where {_WHERE}", self._values)
            if count := rows.fetchall()[0][0]:
                found[name] = int(count)
        return found

    @property
    def _values(self) -> dict[str, Any]:
        return {"run": self.uid, **self._then}

    @functools.cached_property
    def missing(self) -> list[MissingDocument]:
        """The ranks whose logs are not complete, or did not come."""
        rows = self._store.sql(
            "select rank, state from ranks where run = $run and state not in ('closed', 'ended') union all "
            "select rank, 'absent' from (select unnest(range(size))::integer as rank from runs where run = $run) r "
            "where not exists (select 1 from ranks k where k.run = $run and k.rank = r.rank) order by rank",
            {"run": self.uid},
        )
        return [
            MissingDocument("rank", str(row["rank"]), f"the log of rank {row['rank']} is {row['state']}")
            for row in rows
        ]

    def documents(self, *, fill: bool = False, root_map: Any = None) -> Documents:
        """Refuse: only instruments have documents.

        Parameters
        ----------
        fill, root_map
            As for :meth:`braid_hpc.scans.scan.Scan.documents`.

        Returns
        -------
        Documents
            Never.

        Raises
        ------
        InvalidInputError
            Always.
        """
        raise InvalidInputError(f"run {self.uid[:8]} is no scan of an instrument: it has streams, and no documents")

    def table(
        self,
        stream: str,
        *,
        columns: Iterable[str] | None = None,
        where: Query | str | None = None,
        rows: int | slice | range | None = None,
        timestamps: bool = False,
    ) -> RunTable:
        """Return the rows of a stream as a table, which is read when it is used.

        Parameters
        ----------
        stream : str
            Its name.
        columns, where, rows
            As for :meth:`braid_hpc.scans.scan.Scan.table`.
        timestamps : bool
            Of no effect: each row has one time, ``_time``.

        Returns
        -------
        RunTable
            By rank, writer and number.

        Raises
        ------
        NotFoundError
            If this run has no such stream.
        InvalidInputError
            If there is no such column, or `where` or `rows` cannot be such.
        """
        if stream not in self.streams:
            raise NotFoundError(
                f"run {self.uid[:8]} has no stream {stream!r:.80}{near(str(stream), list(self.streams))}"
            )
        return RunTable(
            self._store, stream, self._places[stream], self._values, columns=columns, where=where, rows=rows
        )

    def array(self, stream: str, key: str, *, root_map: Any = None) -> RunArray:
        """Return the values of a column as an array, which is read when it is used.

        Parameters
        ----------
        stream : str
            Name of the stream.
        key : str
            The column.
        root_map : object
            Of no effect: streams of programs have their values in the store.

        Returns
        -------
        RunArray
            By rank, writer and number; with shape, dtype, chunks, slices, and ``to_dask()``.

        Raises
        ------
        NotFoundError
            If this run has no such stream.
        InvalidInputError
            If there is no such column, or its values are no numbers, texts, truth values or times.
        """
        return RunArray(self.table(stream, columns=[key]))

    def __repr__(self) -> str:
        """Say which it is."""
        return f"<ProgramRun {self._facts.job} {self.uid[:8]}>"


def _unit_of(field: pa.Field) -> dict[str, str]:
    unit = (field.metadata or {}).get(b"unit")
    return {} if unit is None else {"units": unit.decode()}


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9

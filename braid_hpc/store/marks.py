"""Conditions on tables with several rows for one thing: each table is read once, however many conditions there are."""

from __future__ import annotations

from braid_hpc.store.bound import Bound
from braid_hpc.vocabulary.texts import clean

__all__ = ["Marks", "joined"]


class Marks:
    """A table that says of each thing which conditions a row of some source fulfils for it.

    A subquery for each condition takes DuckDB more than twice the time for twice the conditions.

    Parameters
    ----------
    source : str
        What is read.
    identity : str
        The column that says which thing a row belongs to.
    bound : Bound
        Takes values.
    several : bool
        Whether one thing may have several rows.
    """

    def __init__(self, source: str, identity: str, bound: Bound, *, several: bool) -> None:
        self._source = source
        self.identity = identity
        self._bound = bound
        self._several = several
        self._conditions: list[str] = []
        self._keys: list[str] = []

    @property
    def name(self) -> str:
        """What the table is called in a statement."""
        return f"{self._source}_marks"

    def add(self, where: str, *, key: str | None = None) -> str:
        """Take one more condition.

        Parameters
        ----------
        where : str
            SQL of the columns of the source.
        key : str, optional
            What the column ``key`` has to be. All conditions on one source have one, or none has.

        Returns
        -------
        str
            SQL of this table, which is true or false and never null.
        """
        if key is not None:
            self._keys.append(clean(key))
            where = f"key = {self._bound(key)} and ({where})"
        self._conditions.append(where)
        return f"coalesce({self.name}.m{len(self._conditions) - 1}, false)"

    def query(self) -> str:
        """Return the query that makes the table.

        Returns
        -------
        str
            SQL.
        """
        # Few of the rows of a large table have one of the keys.
        keys = f" where key in (select unnest({self._bound(self._keys)}::varchar[]))" if self._keys else ""
        form, group = ("bool_or({})", f" group by {self.identity}") if self._several else ("({})", "")
        marks = ", ".join(f"{form.format(where)} as m{at}" for at, where in enumerate(self._conditions))
        return f"select {self.identity}, {marks} from {self._source}{keys}{group}"


def joined(parts: list[str], word: str, *, plain: bool) -> str:
    """Join conditions.

    Parameters
    ----------
    parts : list of str
        SQL that is true or false, or for ``or`` null; one at least.
    word : str
        ``and`` or ``or``.
    plain : bool
        Whether with words of SQL, which DuckDB's optimizer takes apart; else with a function.

    Returns
    -------
    str
        SQL in parentheses.
    """
    if len(parts) == 1 or plain:
        return f"({f' {word} '.join(parts)})"
    return f"list_bool_{word}([{', '.join(parts)}])"

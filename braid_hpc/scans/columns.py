"""The columns of a table of events: what they are called, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid_hpc.queries.fields import near
from braid_hpc.scans.events import Item, Member
from braid_hpc.scans.forms import Form
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.event_rows import column_of

if TYPE_CHECKING:
    from braid_hpc.scans.events import Events

__all__ = ["HEADS", "Column", "Known"]

#: Columns that every event has, and their types.
HEADS = {"seq_num": Form("int64"), "time": Form("float64"), "uid": Form("text"), "descriptor": Form("text")}

#: Those that a table has where nothing is chosen.
SHOWN = ("seq_num", "time")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table of events.

    Attributes
    ----------
    name : str
        What it is called.
    form : Form
        What it holds.
    item : Item or None
        Of which value; None for a head.
    place : int
        Which of the columns of that value.
    """

    name: str
    form: Form
    item: Item | None
    place: int = 0


class Known:
    """The columns that a table of a stream can have; what their values are is looked at when they are chosen.

    Parameters
    ----------
    events : Events
        The stream.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._items: dict[str, Item | None] = dict.fromkeys(HEADS)
        self._aliases: dict[Any, str] = {}
        members: tuple[Member, ...] = ("data", "timestamps")
        for member in members:
            for key in events.keys:
                base = f"time.{key}" if member == "timestamps" else column_of(key) or str(key)
                while base in self._items:
                    base = f"data.{base}"
                self._items[base] = (member, key)
                if member == "data":
                    self._aliases[key] = base

    def all(self, timestamps: bool) -> list[Column]:
        """Return the columns of a table of which none were chosen.

        Parameters
        ----------
        timestamps : bool
            With the time of each value.

        Returns
        -------
        list of Column
            Number, time, the data keys, and their times.
        """
        members = ("data", "timestamps") if timestamps else ("data",)
        names = [*SHOWN, *(name for name, item in self._items.items() if item is not None and item[0] in members)]
        return [column for name in names for column in self._columns(name)]

    def chosen(self, names: Iterable[Any]) -> list[Column]:
        """Return columns by their names.

        Parameters
        ----------
        names : iterable of str
            Names of columns, or data keys.

        Returns
        -------
        list of Column
            In that order, each once.

        Raises
        ------
        InvalidInputError
            If there is no such column, or none is named.
        """
        found: list[Column] = []
        if not isinstance(names, Iterable):
            raise InvalidInputError(f"columns= names columns, and is no {type(names).__name__}")
        for name in [names] if isinstance(names, str) else names:
            found += [column for column in self.named(name) if column not in found]
        if not found:
            raise InvalidInputError("columns= names none: leave it away for all")
        return found

    def named(self, name: Any) -> list[Column]:
        """Return the columns that a name stands for.

        Parameters
        ----------
        name : str
            Of a column, or a data key, which may have several columns.

        Returns
        -------
        list of Column
            One at least.

        Raises
        ------
        InvalidInputError
            If there is no such column.
        """
        if name in self._items:
            return self._columns(name)
        if isinstance(name, str):
            base, _, number = name.rpartition("__")
            if base in self._items and number.isdecimal():
                columns = self._columns(base)
                if 2 <= int(number) <= len(columns):
                    return [columns[int(number) - 1]]
        try:
            return self._columns(self._aliases[name])
        except (KeyError, TypeError):
            known = list(self._items)
            raise InvalidInputError(f"there is no column {name!r:.80}{near(str(name), known)}") from None

    def _columns(self, base: str) -> list[Column]:
        item = self._items[base]
        if item is None:
            return [Column(base, HEADS[base], None)]
        forms = self._events.forms(item)
        return [Column(base if at == 0 else f"{base}__{at + 1}", form, item, at) for at, form in enumerate(forms)]

"""Sets of rows and records, which are what their members are, whoever adds them and in whatever order."""

from __future__ import annotations

from typing import Any

from braid_hpc.run.guard import recording, shown
from braid_hpc.run.handles import Record
from braid_hpc.run.marking import Marking
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.sets import RECORD, SET_COLUMNS, SETS

__all__ = ["Collecting"]


class Collecting(Marking):
    """What puts things into sets."""

    @recording
    def collect(self, label: str, members: Any, names: Any = None) -> None:
        """Put members into a set of this run.

        What all ranks of a run put into one label, at once or one by one, in any order and any number of times, is
        one set. It is known by the digest of its members: two sets of the same members are the same set, and if they
        have different labels that is told when logs are merged.

        Parameters
        ----------
        label : str
            What people call the set.
        members : object, type, or list of these
            An instance of a declared table, a record, or a list of them; or a declared class, with `names`.
        names : sequence of str, optional
            With a class: names of files, or keys with ``/`` between their values, as for :meth:`mark`; in a text of a
            key of several columns a backslash stands before each ``/`` and each backslash.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if the label is no text, or a member is none of these.
        """
        if not isinstance(label, str) or not label:
            raise InvalidInputError(f"the label of a set is a text, not {shown(label)}")
        if not self._open:
            self._note_late()
            return
        if isinstance(members, type):
            from braid_hpc.run.tables import declared_table

            if names is None or isinstance(names, str):
                raise InvalidInputError("a class stands for its rows where their names are given, as a sequence")
            found = [(declared_table(members).name, name) for name in names]
        elif names is not None:
            raise InvalidInputError("names= goes with a class, and not with instances")
        else:
            given = members if isinstance(members, (list, tuple, set, frozenset)) else [members]
            found = [_member(each) for each in given]
        if found:
            tables, members = zip(*found, strict=True)
            columns = {"label": [label] * len(found), "table": list(tables), "member": list(members)}
            self._own_stream(SETS, SET_COLUMNS).extend(columns)


def _member(thing: Any) -> tuple[str, str]:
    """Return table and name of a member."""
    if isinstance(thing, Record):
        if not thing:
            raise InvalidInputError("a record that was not recorded is no member of a set")
        return RECORD, thing.token
    from braid_hpc.run.tables import declared_table

    declared = declared_table(thing)
    return declared.name, declared.name_of(thing)

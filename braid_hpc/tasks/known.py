"""Results that are in memory: by which digest an object counts that a task returned."""

from __future__ import annotations

import weakref
from typing import Any

from braid_hpc.run.handles import RECORDS, Record
from braid_hpc.tasks.forms import FormMaker

__all__ = ["RESULTS", "ResultMap"]

#: Values of these types count by themselves, and nothing else is asked.
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


class ResultMap:
    """By which digest an object counts, as long as it lives.

    What a task wrote has the digest that was recorded, and so has the object that it returned: who hands it on is
    understood alike in the process that wrote it and in one that found it written.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], str, Record, Any]] = {}

    def remember(self, value: Any, digest: str, record: Record) -> None:
        """Note that an object is what was recorded.

        Parameters
        ----------
        value : object
            Numbers, texts and built-in containers cannot be told from their equals, and are passed over.
        digest : str
            Of what was written.
        record : Record
            The result.
        """
        key, known = id(value), self._known
        try:
            reference = weakref.ref(value, lambda _: known.pop(key, None))
        except TypeError:
            return
        known[key] = reference, digest, record, _fingerprint(value)

    def find(self, value: Any) -> tuple[str, Record] | None:
        """Return by which digest an object counts.

        Parameters
        ----------
        value : object
            Anything.

        Returns
        -------
        tuple of (str, Record) or None
            None for what counts by itself: also for what was changed in place since.
        """
        if isinstance(value, _PLAIN):
            return None
        found = self._known.get(id(value))
        if found is not None and found[0]() is value:
            _, digest, record, was = found
            return (digest, record) if was is None or was == _fingerprint(value) else None
        return _travelled(value)


def _fingerprint(value: Any) -> Any:
    """Return what tells whether an array was changed in place; None of what is not looked into."""
    # Tables of pandas and others have ``__array__`` alone, and so has what stands for a result, which is not read here.
    if not hasattr(type(value), "__array__") or type(value).__module__ == "braid_hpc.results.lazy":
        return None
    try:
        return FormMaker().form(value)
    except Exception:
        # What cannot be looked into, such as a tensor that gradients are kept of.
        return None


def _travelled(value: Any) -> tuple[str, Record] | None:
    """Return by which digest a result counts that came from another process, not read yet."""
    kind = type(value)
    if kind.__module__ != "braid_hpc.results.lazy" or (record := RECORDS.find(value)) is None:
        return None
    written = value._lazy.written
    return written.content or written.digest, record


#: One for the process, as results pass from run to run.
RESULTS = ResultMap()

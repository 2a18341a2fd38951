"""What two versions differ in: the values that :func:`braid_hpc.store.diff.diff` returns, and their text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.encoding import to_jsonable

__all__ = ["ArrayDifference", "Comparison", "Difference", "FactDifference"]


@dataclass(frozen=True, slots=True)
class ArrayDifference:
    """An array that is not the same in both versions.

    Attributes
    ----------
    name : str
        In the state; empty where the version is one array.
    change : str
        ``changed``, ``added`` (only in the second version) or ``removed`` (only in the first).
    before, after : str or None
        dtype and shape, such as ``<f4 64x3``.
    elements : int or None
        How many there are, where both have as many.
    differing : int or None
        How many of them differ in any bit.
    norm : float or None
        L2 norm of the second minus the first, in float64 (complex128); of floating and complex numbers only.
    relative : float or None
        `norm`, divided by the L2 norm of the first; infinite where that is 0.
    note : str or None
        Why the numbers are not known, if they are not.
    """

    name: str
    change: str
    before: str | None = None
    after: str | None = None
    elements: int | None = None
    differing: int | None = None
    norm: float | None = None
    relative: float | None = None
    note: str | None = None

    def __str__(self) -> str:
        """Return it on one line."""
        parts = [f"{self.change} {self.name}".rstrip()]
        if self.before == self.after or self.change != "changed":
            parts.append(self.before or self.after or "")
        else:
            parts.append(f"{self.before} -> {self.after}")
        if self.norm is not None and self.relative is not None:
            parts.append(f"norm {self.norm:.6g}, relative {self.relative:.3g}")
        if self.differing is not None:
            parts.append(f"{self.differing} of {self.elements} elements differ")
        return ", ".join(parts + ([self.note] if self.note else []))


@dataclass(frozen=True, slots=True)
class FactDifference:
    """Something that was declared, and is not the same for both versions.

    Attributes
    ----------
    what : str
        Of versions ``value``, ``tag``, ``parent``, ``uri``, ``digest``, ``size``, ``dtype``, ``shape`` or ``unit``; of
        other things see :class:`Comparison`.
    key : str
        Of a tag, or within a value: dotted where mappings are nested. Empty for the others.
    before, after : object
        As declared; None where it was not. Of a tag or uri that was given several times, and of parents, lists.
    """

    what: str
    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        """Return it on one line."""
        name = f"{self.what} {self.key}".rstrip()
        if isinstance(self.before, list) and isinstance(self.after, list):
            gone = [f"- {each}" for each in self.before if each not in self.after]
            come = [f"+ {each}" for each in self.after if each not in self.before]
            return f"{name}: {', '.join(gone + come)}"
        return f"{name}: {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What two versions differ in.

    Attributes
    ----------
    a, b : str
        Their references.
    same_content : bool or None
        Whether they have one content; None where one of them has none, or only what stands in for one.
    arrays : tuple of ArrayDifference
        Arrays that are not the same, by name.
    unchanged : int
        How many arrays are the same bit for bit.
    facts : tuple of FactDifference
        What else is not the same.
    only_a, only_b, shared : tuple of str
        What fed one of them, what fed the other, and what fed both: references, the two themselves among them.
    """

    a: str
    b: str
    same_content: bool | None
    arrays: tuple[ArrayDifference, ...]
    unchanged: int
    facts: tuple[FactDifference, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether they differ in anything."""
        return bool(self.arrays or self.facts) or self.same_content is False

    def __str__(self) -> str:
        """Return it as lines of text."""
        content = {True: "the same content", False: "other content", None: "contents that cannot be compared"}
        lines = [f"{self.a} -> {self.b}: {content[self.same_content]}"]
        if self.arrays or self.unchanged:
            counts = {"changed": 0, "added": 0, "removed": 0}
            for each in self.arrays:
                counts[each.change] += 1
            said = ", ".join(f"{count} {change}" for change, count in counts.items())
            lines.append(f"arrays: {said}, {self.unchanged} unchanged")
        # The digest of a list of arrays says nothing that its arrays do not say.
        facts = [each for each in self.facts if each.what != "digest" or not self.arrays]
        lines.extend(f"  {each}" for each in (*self.arrays, *facts))
        return "\n".join([*lines, *_sets(self, len(self.shared), "fed")])

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            By the names of the attributes.
        """
        return asdict(self)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return a row for each fact and each array, as an ArrowArrayStream capsule (Arrow PyCapsule interface)."""
        return _table(self.facts, self.arrays).__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        """Show the facts and arrays in a notebook."""
        return Table(_table(self.facts, self.arrays))._repr_html_()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two activities, runs or snapshots differ in.

    Attributes
    ----------
    what : str
        ``activities``, ``runs`` or ``snapshots``.
    a, b : str
        The two: references, ``run:<id>``, numbers.
    facts : tuple of FactDifference
        What is not the same; `what` is ``code``, ``environment``, ``params``, ``input``, ``output``, ``result``,
        ``count``, ``run``, ``rank``, ``edge`` or ``valid``.
    arrays : tuple of ArrayDifference
        Of runs: arrays of what both made that are not the same, each named by the record and the array.
    only_a, only_b : tuple of str
        References: of activities what fed them, of runs what they declared, of snapshots what was known.
    shared : tuple of str or None
        Those that both have; None of snapshots, where that is nearly the whole store.
    shared_count : int
        How many both have.
    """

    what: str
    a: str
    b: str
    facts: tuple[FactDifference, ...]
    arrays: tuple[ArrayDifference, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    shared: tuple[str, ...] | None
    shared_count: int

    def __bool__(self) -> bool:
        """Whether they differ in anything but what is only in one of them."""
        return bool(self.facts or self.arrays)

    def __str__(self) -> str:
        """Return it as lines of text."""
        lines = [f"{self.what} {self.a} -> {self.b}: {'other' if self else 'the same'} facts"]
        lines.extend(f"  {each}" for each in (*self.facts, *self.arrays))
        had = {"activities": "fed", "runs": "declared in", "snapshots": "known at"}[self.what]
        return "\n".join([*lines, *_sets(self, self.shared_count, had)])

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            By the names of the attributes.
        """
        return asdict(self)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return a row for each fact and each array, as an ArrowArrayStream capsule (Arrow PyCapsule interface)."""
        return _table(self.facts, self.arrays).__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        """Show the facts and arrays in a notebook."""
        return Table(_table(self.facts, self.arrays))._repr_html_()


#: References that the text of an answer lists; JSON and Python have all of them.
_LISTED = 20


def _sets(found: Difference | Comparison, shared: int, had: str) -> list[str]:
    """Say what is only in one of two, with the first references."""
    lines = []
    for sign, which, refs in (("-", found.a, found.only_a), ("+", found.b, found.only_b)):
        if refs:
            lines.append(f"{len(refs):,} only {had} {which}")
            lines.extend(f"  {sign} {ref}" for ref in refs[:_LISTED])
            if len(refs) > _LISTED:
                lines.append(f"  {sign} and {len(refs) - _LISTED:,} more, which JSON lists")
    return [*lines, f"{shared:,} {had} both"] if lines or shared else []


def _table(facts: tuple[FactDifference, ...], arrays: tuple[ArrayDifference, ...]) -> Any:
    """Return facts and arrays as a table; values are texts, because each may be of another type."""
    import pyarrow as pa

    rows = [(each.what, each.key, _text(each.before), _text(each.after)) for each in facts]
    rows += [("array", each.name, each.before, each.after) for each in arrays]
    names = ("what", "key", "before", "after")
    return pa.table({name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate(names)})


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(to_jsonable(value), ensure_ascii=False)


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)

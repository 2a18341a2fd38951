"""Comparing two versions: their arrays by digest and then by norm, and what was declared of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.store.annotations import current_tags
from braid_hpc.store.arrays import StoredArray, find_array
from braid_hpc.store.bound import Bound
from braid_hpc.store.differences import ArrayDifference, Difference, FactDifference
from braid_hpc.store.finding import typed
from braid_hpc.store.holding import FOREVER, HOLDING
from braid_hpc.store.resolve import Node
from braid_hpc.store.states import TensorInfo, find_model
from braid_hpc.vocabulary.codes import ACTIVITY_KIND
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import format_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid_hpc.store.store import Store

__all__ = ["array_difference", "arrays_of", "by_key", "declared", "diff"]

#: A snapshot, and a time in nanoseconds or None.
Moment = tuple[int, int | None]

#: That of the first and that of the second.
Moments = tuple[Moment, Moment]

#: Elements that are compared at once, so that no copy of a large array is made.
_BLOCK = 1 << 18


def diff(store: Store, a: Node, b: Node, *, at: Moments | None = None) -> Difference:
    """Compare two nodes.

    Parameters
    ----------
    store : Store
        Open.
    a, b : Node
        Versions of records, of one name or not.
    at : tuple of (int, int or None), optional
        Snapshot and time in nanoseconds that each is looked at; without it the newest of the store, and now.

    Returns
    -------
    Difference
        From `a` to `b`, without what fed them.

    Raises
    ------
    InvalidInputError
        If one of them is an activity.
    CorruptLogError
        If the bytes of an array do not carry their digest.
    """
    for node in (a, b):
        if node.kind == ACTIVITY_KIND:
            raise InvalidInputError(f"{node.ref} is an activity: compare it with another activity")
    then = at or ((store.snapshot, None), (store.snapshot, None))
    before, after = declared(store, a, then[0]), declared(store, b, then[1])
    comparable = not (before["weak"] or after["weak"] or before["digest"] is None or after["digest"] is None)
    same = before["digest"] == after["digest"] if comparable else None
    arrays, unchanged = arrays_of(store, a, b)
    return Difference(a.ref, b.ref, same, tuple(arrays), unchanged, tuple(_facts(before, after)))


# ------------------------------------------------------------------ arrays


def arrays_of(store: Store, a: Node, b: Node) -> tuple[list[ArrayDifference], int]:
    """Compare the arrays of two versions.

    Parameters
    ----------
    store : Store
        Open.
    a, b : Node
        Versions of records.

    Returns
    -------
    arrays : list of ArrayDifference
        Those that are not the same, by name.
    unchanged : int
        How many are.

    Raises
    ------
    CorruptLogError
        If the bytes of an array do not carry their digest.
    """
    (before, read_before), (after, read_after) = _members(store, a), _members(store, b)
    found: list[ArrayDifference] = []
    unchanged = 0
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            change = "added" if old is None else "removed"
            found.append(ArrayDifference(name, change, _form(old), _form(new)))
        elif old.digest == new.digest:
            unchanged += 1
        else:
            found.append(_changed(name, (old, new), lambda which: (read_before, read_after)[which]))
    return found, unchanged


def _members(store: Store, node: Node) -> tuple[dict[str, TensorInfo], Callable[[str], StoredArray]]:
    """Return the arrays of a version by name, and what reads one of them."""
    model = find_model(store._connected, store._arrays, node)
    if model.has_state:
        return model.tensors, model.tensor
    try:
        stored = find_array(store._connected, store._arrays, node.ref, node.id)
    except NotFoundError:
        return {}, model.tensor
    about = TensorInfo("", stored.digest, stored._text, stored.shape, stored.nbytes)
    return {"": about}, lambda _: stored


def _form(info: TensorInfo | None) -> str | None:
    return None if info is None else f"{info.dtype} {'x'.join(map(str, info.shape)) or 'scalar'}"


def _changed(
    name: str, infos: tuple[TensorInfo, TensorInfo], reader: Callable[[int], Callable[[str], StoredArray]]
) -> ArrayDifference:
    forms = _form(infos[0]), _form(infos[1])
    if infos[0].shape != infos[1].shape:
        return ArrayDifference(name, "changed", *forms)
    try:
        old, new = reader(0)(name).read(), reader(1)(name).read()
    except NotFoundError as error:
        return ArrayDifference(name, "changed", *forms, note=str(error))
    return array_difference(name, forms, old, new)


def array_difference(name: str, forms: tuple[str | None, str | None], old: Any, new: Any) -> ArrayDifference:
    """Say by how much two arrays of one shape differ.

    Parameters
    ----------
    name : str
        What they are called.
    forms : tuple of str or None
        dtype and shape of each, for people.
    old, new : numpy.ndarray
        Of one shape; dtypes may differ.

    Returns
    -------
    ArrayDifference
        With `differing` where they have one dtype, and `norm` where both are floating or complex numbers.
    """
    import numpy as np

    differing = None
    if old.dtype == new.dtype:
        differing = sum(int(_bits(np, x, y)) for x, y in _blocks(old, new))
    norm = relative = None
    if _is_real(np, old.dtype) and _is_real(np, new.dtype):
        wide = np.complex128 if "c" in (old.dtype.kind, new.dtype.kind) else np.float64
        norm = base = 0.0
        with np.errstate(all="ignore"):
            for x, y in _blocks(old, new):
                first, second = x.astype(wide), y.astype(wide)
                norm, base = math.hypot(norm, _norm(np, second - first)), math.hypot(base, _norm(np, first))
        relative = norm / base if base else math.inf if norm else 0.0
    return ArrayDifference(name, "changed", *forms, old.size, differing, norm, relative)


def _norm(np: Any, values: Any) -> float:
    """Return the Euclidean norm; squares of very large or small numbers would be infinite, or nothing."""
    sizes = np.abs(values)
    largest = float(sizes.max(initial=0.0))
    if not largest or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(float(np.sum((sizes / largest) ** 2)))


def _blocks(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    left, right = old.reshape(-1), new.reshape(-1)
    for first in range(0, left.size, _BLOCK):
        yield left[first : first + _BLOCK], right[first : first + _BLOCK]


def _bits(np: Any, x: Any, y: Any) -> int:
    """Return how many elements differ in any bit: a NaN is equal to itself, and -0 is not 0."""
    size = x.dtype.itemsize
    if not size:
        return 0
    left, right = (np.ascontiguousarray(each).view("u1").reshape(-1, size) for each in (x, y))
    return int(np.count_nonzero((left != right).any(axis=1)))


def _is_real(np: Any, dtype: Any) -> bool:
    """Whether numbers of a dtype have a norm; small floats of ml_dtypes are of kind V to NumPy, or of kind f."""
    if dtype.kind in "fc":
        return True
    return dtype.isbuiltin == 2 and "float" in dtype.name


# ------------------------------------------------------------------ what was declared


#: What was known at ``$at`` of the declarations up to ``$as_of``, as the view ``versions`` has it.
_DECLARED = """
    select v.digest, v.weak, coalesce(v.size, o.size) as size, o.dtype, o.shape, o.unit, o.value
    from version_rows v, (
        select arg_min(dtype, (writer, sequence)) filter (where dtype is not null) as dtype,
            arg_min(shape, (writer, sequence)) filter (where shape is not null) as shape,
            arg_min(unit, (writer, sequence)) filter (where unit is not null) as unit,
            arg_min(value, (writer, sequence)) filter (where value is not null) as value, max(size) as size
        from occurrences where id = $id and snapshot <= $at and epoch_ns(time) <= $as_of) o
    where v.id = $id
"""


def declared(store: Store, node: Node, then: Moment) -> dict[str, Any]:
    """Return what was declared of a version.

    Parameters
    ----------
    store : Store
        Open.
    node : Node
        A version.
    then : tuple of (int, int or None)
        Snapshot, and time in nanoseconds.

    Returns
    -------
    dict
        ``digest``, ``weak``, ``size``, ``dtype``, ``shape``, ``unit``, ``value``, ``tags``, ``parents``, ``uris``.
    """
    given = {"id": node.id, "at": then[0], "as_of": FOREVER if then[1] is None else then[1]}
    (row,) = store._rows(_DECLARED, given)
    tags: dict[str, list[Any]] = {}
    bound = Bound()
    for tag in store._rows(
        f"select distinct key, type, text from ({current_tags(store, bound)}) where id = $id order by key, type, text",
        {**bound.values, **given},
    ):
        tags.setdefault(tag["key"], []).append(typed(tag["type"], tag["text"]))
    edges = store._rows(
        f"select distinct e.relation, n.kind, n.name, n.version from {HOLDING} e join nodes n on n.id = e.parent "
        "where e.child = $id and n.id not in (select id from filled where snapshot <= $at) order by all",
        given,
    )
    parents = [f"{format_reference(e['kind'], e['name'], e['version'])} ({e['relation']})" for e in edges]
    uris = store._rows(
        "select distinct position, uri from uri_rows where id = $id and snapshot <= $at and epoch_ns(time) <= $as_of "
        "order by position, uri",
        given,
    )
    return {**row, "tags": tags, "parents": parents, "uris": [each["uri"] for each in uris]}


def _facts(before: dict[str, Any], after: dict[str, Any]) -> Iterator[FactDifference]:
    for what in ("digest", "size", "dtype", "shape", "unit"):
        if before[what] != after[what]:
            yield FactDifference(what, "", before[what], after[what])
    old, new = (_flat(json.loads(each["value"])) if each["value"] else {} for each in (before, after))
    yield from by_key("value", old, new)
    yield from by_key("tag", *({key: _one(given) for key, given in each["tags"].items()} for each in (before, after)))
    for what, key in (("parent", "parents"), ("uri", "uris")):
        if before[key] != after[key]:
            yield FactDifference(what, "", before[key], after[key])


def by_key(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FactDifference]:
    """Compare two mappings.

    Parameters
    ----------
    what : str
        What they are of.
    old, new : mapping
        By key.

    Yields
    ------
    FactDifference
        By key; where types differ too.
    """
    for key in sorted(old.keys() | new.keys()):
        left, right = old.get(key), new.get(key)
        # 1, 1.0 and true are equal to Python.
        if (key in old) != (key in new) or repr(left) != repr(right):
            yield FactDifference(what, key, left, right)


def _one(given: list[Any]) -> Any:
    return given[0] if len(given) == 1 else given


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix.removesuffix("."): value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found.update(_flat(item, f"{prefix}{key}."))
    return found

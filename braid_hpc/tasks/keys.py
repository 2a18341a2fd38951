"""Keys of many calls at once, of columns of arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from braid_hpc.run.job import current_run
from braid_hpc.tasks.forms import FormMaker, encode_form
from braid_hpc.tasks.identity import KEY_BYTES, Identity
from braid_hpc.tasks.known import RESULTS
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Types of columns of which each value is encoded once.
_PLAIN = (int, str, bool, float)

__all__ = ["columns_of", "keys_of_columns"]


def columns_of(identity: Identity, columns: Mapping[str, Any]) -> tuple[dict[str, Sequence[Any]], int]:
    """Return columns as sequences of one length.

    Parameters
    ----------
    identity : Identity
        Of the task.
    columns : mapping of str to sequence
        Values of arguments.

    Returns
    -------
    columns : dict of str to sequence
        By name.
    length : int
        Of each.

    Raises
    ------
    InvalidInputError
        If one of them is no sequence, or is of another length.
    """
    found: dict[str, Sequence[Any]] = {}
    lengths: dict[str, int] = {}
    for name, values in columns.items():
        if hasattr(values, "to_pylist"):
            values = values.to_pylist()
        elif hasattr(values, "tolist") and getattr(values, "ndim", 1) == 1:
            # NumPy's times are no numbers without their unit, and its records no tuples without their fields, which a
            # list would make of them.
            more = getattr(getattr(values, "dtype", None), "kind", "") in ("m", "M", "V")
            values = list(values) if more else values.tolist()
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or not hasattr(values, "__getitem__"):
            raise InvalidInputError(
                f"task {identity.name}: the column {name} is a {type(values).__name__}, and has one value for each call"
            )
        found[name], lengths[name] = values, len(values)
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInputError(f"task {identity.name}: columns are of one length: {said}")
    return found, next(iter(lengths.values()), 0)


def keys_of_columns(
    identity: Identity, columns: Mapping[str, Any], common: Mapping[str, Any] | None = None
) -> NDArray[Any]:
    """Return the keys of many calls.

    Parameters
    ----------
    identity : Identity
        Of the task.
    columns : mapping of str to sequence
        Values of arguments, one for each call.
    common : mapping, optional
        Arguments that are the same for all calls.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 16).

    Raises
    ------
    InvalidInputError
        As for :meth:`braid_hpc.tasks.task.Task.key_of`.
    NotFoundError
        Likewise.
    """
    import numpy as np
    from blake3 import blake3

    found, count = columns_of(identity, columns)
    if not count:
        return np.zeros((0, KEY_BYTES), np.uint8)
    first, _ = identity.arguments((), {**{name: values[0] for name, values in found.items()}, **(common or {})})
    if any(identity.signature.parameters[name].kind.name.startswith("VAR") for name in first):
        raise InvalidInputError(f"task {identity.name}: it takes *args or **kwargs, which have no columns: use key_of")
    maker = FormMaker(stands_for=RESULTS.find, digest_of=current_run().digest_of)

    def plainly(name: str, values: Sequence[Any]) -> list[bytes] | None:
        """Encode a column of one plain type, each value once."""
        kinds = set(map(type, values))
        kind = next(iter(kinds))
        if len(kinds) > 1 or kind not in _PLAIN or not identity.takes(name, kind):
            return None
        if kind is float:
            # NaN is refused below; 0.0 and -0.0 are equal, and two.
            return None if any(value != value for value in values) else [encode_form([name, v]) for v in values]
        once = set(values)
        # The form of most numbers is the number itself.
        plain = kind is int and min(once) >= -(1 << 63) and max(once) < 1 << 64
        known = {value: encode_form([name, value if plain else maker.form(value)]) for value in once}
        return [known[value] for value in values]

    def encoded(name: str, value: Any) -> bytes:
        if type(value) not in (int, str) and RESULTS.find(value) is not None:
            return encode_form([name, maker.form(value)])
        said = f"task {identity.name}: {name}="
        return encode_form([name, maker.form(identity.checked(name, value), said)])

    # What is the same in all calls is put together once, and stands as one part between the columns.
    same, parts = identity.prefix, list[list[bytes]]()
    for name in sorted(first.keys() - identity.ignore):
        values = found.get(name)
        if values is None:
            same += encoded(name, first[name])
        else:
            parts += [[same] * count] if same else []
            parts.append(plainly(name, values) or [encoded(name, value) for value in values])
            same = b""
    parts += [[same] * count] if same else []
    # One hasher for all: to make one takes longer than to hash a row.
    hasher, join = blake3(), b"".join
    update, digest, reset = hasher.update, hasher.digest, hasher.reset
    keys = []
    for row in zip(*parts, strict=True):
        update(join(row))
        keys.append(digest(KEY_BYTES))
        reset()
    return np.frombuffer(join(keys), np.uint8).reshape(count, KEY_BYTES)

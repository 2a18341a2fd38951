"""What values of events are, and the columns that hold all values of one data key exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid_hpc.vocabulary.verbatim import encode_words

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DECLARED", "EXACT", "PACKED", "Form", "array_form", "columns_for", "form_of"]

#: Integers up to this are equal to a double.
EXACT = 1 << 53

#: What a descriptor calls the values of a data key, and what they are here.
DECLARED = {"number": "float64", "integer": "int64", "boolean": "bool", "string": "text"}

#: The order in which columns of one data key stand, behind that of the declared type.
_ORDER = ("float64", "int64", "bool", "text")


@dataclass(frozen=True, slots=True)
class Form:
    """What a value is.

    Attributes
    ----------
    kind : str
        ``float64``, ``int64``, ``bool``, ``text`` or ``packed``; of an array that of its elements, where also
        ``float32``, ``uint8`` and so on may stand, and ``null`` where it has none.
    depth : int
        Dimensions of an array; 0 for what is none.
    exact : bool
        Whether integers are equal to doubles.
    """

    kind: str
    depth: int = 0
    exact: bool = True


#: What stands as MessagePack, as in the store, because no column of Arrow holds it.
PACKED = Form("packed")


def form_of(value: Any) -> Form | None:
    """Say what a value is.

    Parameters
    ----------
    value : object
        As it stands in an event.

    Returns
    -------
    Form or None
        None for None.
    """
    kind = type(value)
    if value is None:
        return None
    if kind is float:
        return Form("float64")
    if kind is bool:
        return Form("bool")
    if kind is int:
        if not -(1 << 63) <= value < 1 << 63:
            return PACKED
        return Form("int64", 0, -EXACT <= value <= EXACT)
    if kind is str:
        return Form("text") if _is_text(value) else PACKED
    if kind in (list, tuple):
        return _of_list(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return array_form(value)
    return PACKED


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def array_form(value: Any) -> Form:
    """Say what an array of NumPy is.

    Parameters
    ----------
    value : numpy.ndarray
        Any.

    Returns
    -------
    Form
        :data:`PACKED` for what Arrow has no type for.
    """
    if value.ndim == 0:
        return form_of(value.item()) or PACKED
    kind, size = value.dtype.kind, value.dtype.itemsize
    if kind == "b":
        return Form("bool", value.ndim)
    if kind == "f" and size in (2, 4, 8):
        return Form(f"float{size * 8}", value.ndim)
    if kind in "iu":
        name = f"{'u' if kind == 'u' else ''}int{size * 8}"
        exact = size < 8 or value.size == 0 or (int(value.max()) <= EXACT and int(value.min()) >= -EXACT)
        return Form(name, value.ndim, exact)
    if kind == "U" and all(map(_is_text, value.ravel().tolist())):
        return Form("text", value.ndim)
    return PACKED


def _of_list(value: Any) -> Form:
    found: Form | None = None
    for item in value:
        each = form_of(item)
        if each is None:
            continue
        if each == PACKED:
            return PACKED
        joined = each if found is None else _common(found, each)
        if joined is None:
            return PACKED
        found = joined
    return Form("null", 1) if found is None else Form(found.kind, found.depth + 1, found.exact)


def _common(one: Form, other: Form) -> Form | None:
    """Return the form that holds the values of two without loss, or None."""
    if "null" in (one.kind, other.kind):
        empty, full = (one, other) if one.kind == "null" else (other, one)
        if full.kind == "null":
            return one if one.depth >= other.depth else other
        return full if empty.depth <= full.depth and empty.depth > 0 else None
    if one.depth != other.depth:
        return None
    exact = one.exact and other.exact
    if one.kind == other.kind:
        return Form(one.kind, one.depth, exact)
    wide = _wider(one.kind, other.kind, exact=exact)
    return None if wide is None else Form(wide, one.depth, exact)


def _wider(one: str, other: str, *, exact: bool) -> str | None:
    kinds = {one, other}
    if kinds & {"bool", "text", "packed"}:
        return None
    if any(kind.startswith("float") for kind in kinds):
        # All integers that are exact, and all floats.
        if all(kind.startswith("float") for kind in kinds):
            return max(kinds, key=lambda kind: int(kind[5:]))
        return "float64" if exact else None
    widths = {kind: int(kind.removeprefix("u").removeprefix("int")) for kind in kinds}
    signed = {kind for kind in kinds if kind.startswith("i")}
    if len(signed) in (0, 2):
        return max(kinds, key=lambda kind: widths[kind])
    (int_,), (uint,) = signed, kinds - signed
    need = max(widths[int_], 2 * widths[uint])
    return f"int{need}" if need <= 64 else None


def columns_for(forms: Iterable[Form], declared: Form | None) -> list[Form]:
    """Return the fewest columns that hold all values exactly.

    Parameters
    ----------
    forms : iterable of Form
        What there is.
    declared : Form or None
        What a descriptor says.

    Returns
    -------
    list of Form
        One at least; the first is the declared one where it holds anything. A value stands in the first that holds
        it exactly.
    """
    found = set(forms)
    if not found:
        return [declared or Form("null")]
    scalars = {form.kind for form in found if form.depth == 0}
    whole = [form for form in found if form.depth == 0 and form.kind == "int64"]
    columns: list[Form] = []
    if "float64" in scalars or (declared == Form("float64") and whole and all(form.exact for form in whole)):
        columns.append(Form("float64"))
    if whole and not (columns and all(form.exact for form in whole)):
        columns.append(Form("int64"))
    columns += [Form(kind) for kind in ("bool", "text") if kind in scalars]
    columns += _arrays([form for form in found if form.depth])
    columns.sort(key=lambda form: (form.depth, (form.kind, form.depth) != _named(declared), _place(form)))
    return columns + ([PACKED] if "packed" in scalars else [])


def _named(form: Form | None) -> tuple[str, int] | None:
    return None if form is None else (form.kind, form.depth)


def _place(form: Form) -> tuple[int, str]:
    return (_ORDER.index(form.kind), "") if not form.depth else (0, form.kind)


def _arrays(forms: list[Form]) -> list[Form]:
    merged: list[Form] = []
    for form in sorted(forms, key=lambda form: (form.kind == "null", form.depth, form.kind, form.exact)):
        for at, other in enumerate(merged):
            joined = _common(other, form)
            if joined is not None:
                merged[at] = joined
                break
        else:
            merged.append(form)
    return merged


def holds(column: Form, form: Form) -> bool:
    """Say whether a column holds a value exactly.

    Parameters
    ----------
    column : Form
        Of :func:`columns_for`.
    form : Form
        Of the value.

    Returns
    -------
    bool
        Whether it does.
    """
    if column == PACKED or form == PACKED:
        return column == PACKED
    if column.depth == 0 and form.depth == 0 and column.kind == "float64" and form.kind == "int64":
        return form.exact
    if column.depth == 0 or form.depth == 0:
        return (column.kind, column.depth) == (form.kind, form.depth)
    joined = _common(column, form)
    return joined is not None and (joined.kind, joined.depth) == (column.kind, column.depth)


def arrow_type(form: Form) -> pa.DataType:
    """Return the type of a column.

    Parameters
    ----------
    form : Form
        Of :func:`columns_for`.

    Returns
    -------
    pyarrow.DataType
        Lists in lists for arrays, with 64 bits for their places.
    """
    import pyarrow as pa

    names = {"text": pa.string(), "bool": pa.bool_(), "packed": pa.large_binary(), "null": pa.null()}
    found = names.get(form.kind)
    if found is None:
        found = getattr(pa, form.kind)()
    for _ in range(form.depth):
        found = pa.large_list(found)
    return found


def arrow_column(form: Form, values: list[Any]) -> pa.Array:
    """Return a column.

    Parameters
    ----------
    form : Form
        Its form.
    values : list
        What it holds, None among them.

    Returns
    -------
    pyarrow.Array
        Of :func:`arrow_type`.
    """
    import pyarrow as pa

    kind = arrow_type(form)
    if form == PACKED:
        return pa.array([None if value is None else encode_words(value, 1 << 62)[0] for value in values], kind)
    if form.depth and all(value is None or hasattr(value, "dtype") for value in values):
        return _of_arrays(form, values, kind)
    if form.depth:
        return pa.array([_plain(value) for value in values], kind)
    if form.kind == "float64":
        values = [None if value is None else float(value) for value in values]
    return pa.array([value.item() if hasattr(value, "dtype") else value for value in values], kind)


def _plain(value: Any) -> Any:
    if hasattr(value, "dtype"):
        return value.tolist()
    return [_plain(each) for each in value] if type(value) in (list, tuple) else value


def _of_arrays(form: Form, values: list[Any], kind: pa.DataType) -> pa.Array:
    """Put arrays of one number of dimensions into lists without making objects of their elements."""
    import numpy as np
    import pyarrow as pa

    there = [value for value in values if value is not None]
    if form.kind == "text" or any(value.ndim != form.depth for value in there):
        return pa.array([_plain(value) for value in values], kind)
    leaf = np.dtype("bool" if form.kind == "bool" else ("float64" if form.kind == "null" else form.kind))
    flat = np.concatenate([np.zeros(0, leaf), *(value.ravel().astype(leaf, copy=False) for value in there)])
    found = pa.array(flat).cast(arrow_type(Form(form.kind)))
    for dimension in range(form.depth - 1, 0, -1):
        lengths = np.concatenate(
            [
                np.zeros(0, "int64"),
                *(np.full(int(np.prod(value.shape[:dimension])), value.shape[dimension]) for value in there),
            ]
        )
        found = pa.LargeListArray.from_arrays(pa.array(_offsets(lengths)), found)
    lengths = np.array([0 if value is None else value.shape[0] for value in values], "int64")
    missing = pa.array([value is None for value in values]) if len(there) < len(values) else None
    return pa.LargeListArray.from_arrays(pa.array(_offsets(lengths)), found, mask=missing).cast(kind)


def _offsets(lengths: Any) -> Any:
    import numpy as np

    return np.concatenate([[0], np.cumsum(lengths)]).astype("int64")

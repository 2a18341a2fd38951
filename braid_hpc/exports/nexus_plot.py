"""What of a scan is drawn by default: signal and axes, chosen by the hints that its documents give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Plot", "choose_plot", "grid_places", "write_plot"]


@dataclass(frozen=True, slots=True)
class Plot:
    """What is to be drawn.

    Attributes
    ----------
    stream : str
        Of this stream.
    signals : tuple of str
        Data keys, the first one first of all.
    axes : tuple of tuple of str
        For each dimension the data keys that change along it; ``time`` stands for the time.
    shape : tuple of int
        Of a grid; empty for points one after another.
    snaking : tuple of bool
        For each dimension of a grid, whether every other pass goes back.
    """

    stream: str
    signals: tuple[str, ...]
    axes: tuple[tuple[str, ...], ...]
    shape: tuple[int, ...] = ()
    snaking: tuple[bool, ...] = field(default=())


def choose_plot(
    start: Mapping[str, Any], hints: Mapping[str, list[str]], numeric: Mapping[str, Mapping[str, int]]
) -> Plot | None:
    """Choose what is drawn.

    Parameters
    ----------
    start : mapping
        The start document: ``hints`` with ``dimensions`` and ``gridding``, ``shape``, ``snaking``.
    hints : mapping of str to list of str
        By stream, the data keys that the descriptors' hints name.
    numeric : mapping of str to mapping of str to int
        By stream, the data keys that hold numbers, each with the dimensions of one value.

    Returns
    -------
    Plot or None
        None if no stream holds a number.

    Examples
    --------
    >>> choose_plot({"hints": {"dimensions": [[["m"], "primary"]]}}, {}, {"primary": {"m": 0, "det": 0}})
    Plot(stream='primary', signals=('det',), axes=(('m',),), shape=(), snaking=())
    """
    dimensions = _dimensions(start)
    streams = [stream for _, stream in dimensions if stream in numeric] or [each for each in numeric if numeric[each]]
    # A scan's own stream first, whatever else was read before and after it.
    for stream in sorted(dict.fromkeys(streams), key=lambda each: each != "primary"):
        known = numeric[stream]
        axes = tuple(
            tuple(each for each in fields if each == "time" or known.get(each) == 0)
            for fields, of in dimensions
            if of == stream
        )
        axes = tuple(each for each in axes if each) or (("time",),)
        moving = {each for fields in axes for each in fields}
        hinted = [key for key in hints.get(stream, ()) if key in known and key not in moving]
        signals = hinted or _others(known, moving)
        if not signals:
            continue
        shape, snaking = _grid(start, len(axes))
        if shape:
            scalars = [key for key in signals if known[key] == 0] or _others(known, moving, scalars=True)
            if scalars:
                return Plot(stream, tuple(scalars), axes, shape, snaking)
        alike = [key for key in signals if known[key] == known[signals[0]]]
        return Plot(stream, tuple(alike), axes)
    return None


def _others(known: Mapping[str, int], moving: set[str], *, scalars: bool = False) -> list[str]:
    """Return what may be drawn where no hint says so: one thing, a number before an image, no set point of a motor."""
    found = [key for key in known if key not in moving and not (scalars and known[key])]
    found.sort(key=lambda key: (known[key], any(key.startswith(f"{each}_") for each in moving)))
    return found[:1]


def _dimensions(start: Mapping[str, Any]) -> list[tuple[list[str], str]]:
    hints = start.get("hints")
    said = hints.get("dimensions") if isinstance(hints, dict) else None
    found = []
    for each in said if isinstance(said, (list, tuple)) else ():
        if isinstance(each, (list, tuple)) and len(each) == 2 and isinstance(each[0], (list, tuple)):
            found.append(([key for key in each[0] if type(key) is str], str(each[1])))
    return found


def _grid(start: Mapping[str, Any], axes: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    hints = start.get("hints")
    gridding = hints.get("gridding") if isinstance(hints, dict) else None
    shape, snaking = start.get("shape"), start.get("snaking")
    if gridding != "rectilinear" or not isinstance(shape, (list, tuple)) or len(shape) != axes or axes < 2:
        return (), ()
    if not all(type(each) is int and each > 0 for each in shape) or math.prod(shape) > 1 << 26:
        return (), ()
    good = isinstance(snaking, (list, tuple)) and len(snaking) == axes
    return tuple(shape), tuple(bool(each) for each in snaking) if good else (False,) * axes  # type: ignore[union-attr]


def grid_places(numbers: Any, shape: tuple[int, ...], snaking: tuple[bool, ...]) -> Any:
    """Return where the points of a grid lie, by the order in which they were taken.

    Parameters
    ----------
    numbers : array-like of int
        Of the points, from 0; the last dimension changes fastest.
    shape : tuple of int
        Of the grid.
    snaking : tuple of bool
        For each dimension, whether it goes back on every other pass.

    Returns
    -------
    tuple of numpy.ndarray
        An index into the grid for each dimension.

    Examples
    --------
    >>> [index.tolist() for index in grid_places(range(6), (2, 3), (False, True))]
    [[0, 0, 0, 1, 1, 1], [0, 1, 2, 2, 1, 0]]
    """
    import numpy as np

    numbers = np.asarray(numbers, np.int64)
    found = []
    for at, size in enumerate(shape):
        inner = math.prod(shape[at + 1 :])
        index = numbers // inner % size
        if snaking[at]:
            passes = numbers // (inner * size)
            index = np.where(passes % 2 == 1, size - 1 - index, index)
        found.append(index)
    return tuple(found)


def write_plot(entry: Any, plot: Plot, group: Any, names: Mapping[str, str], start_time: Any) -> None:
    """Write the group that is drawn by default, and name it.

    Parameters
    ----------
    entry : h5py.Group
        Of the scan.
    plot : Plot
        What is drawn.
    group : h5py.Group
        Where the datasets of the stream are.
    names : mapping of str to str
        The dataset of each of its columns.
    start_time : object
        Of the scan, in seconds since 1970; times of events are drawn from there.
    """
    import h5py

    data = entry.create_group("data")
    data.attrs["NX_class"] = "NXdata"
    data.attrs["signal"] = names[plot.signals[0]]
    if len(plot.signals) > 1:
        data.attrs["auxiliary_signals"] = [names[key] for key in plot.signals[1:]]
    if plot.shape:
        _write_grid(data, plot, group, names)
    else:
        for key in plot.signals:
            data[names[key]] = h5py.SoftLink(group[names[key]].name)
        _write_axes(data, plot, group, names, start_time)
    entry.attrs["default"] = "data"


def _write_axes(data: Any, plot: Plot, group: Any, names: Mapping[str, str], start_time: Any) -> None:
    """Link what changes from event to event: the first axis counts, the others lie beside it."""
    import h5py

    signal = group[names[plot.signals[0]]]
    written = []
    for key in dict.fromkeys(each for fields in plot.axes for each in fields):
        if key == "time":
            moments = group[names["time"]][:]
            zero = float(start_time) if isinstance(start_time, (int, float)) else math.inf
            # A scan that was made of another one began after the events that it has.
            times = data.create_dataset("elapsed", data=moments - min(zero, moments.min()))
            times.attrs["units"] = "s"
            times.attrs["long_name"] = "time since the start (s)"
            name = "elapsed"
        else:
            name = names[key]
            data[name] = h5py.SoftLink(group[name].name)
        data.attrs[f"{name}_indices"] = 0
        written.append(name)
    data.attrs["axes"] = [written[0], *["."] * (signal.ndim - 1)]
    if signal.ndim == 3:
        signal.attrs["interpretation"] = "image"


def _write_grid(data: Any, plot: Plot, group: Any, names: Mapping[str, str]) -> None:
    """Write signals and readings as grids; where no event is, NaN stands."""
    import numpy as np

    numbers = group[names["seq_num"]][:] - 1
    good = (numbers >= 0) & (numbers < math.prod(plot.shape))
    places = grid_places(numbers[good], plot.shape, plot.snaking)

    def grid(key: str) -> Any:
        values = group[names[key]][:][good]
        whole = len(values) == math.prod(plot.shape)
        found = np.full(plot.shape, np.nan if not whole else 0, values.dtype if whole else np.float64)
        found[places] = values
        return found

    for key in plot.signals:
        _described(data.create_dataset(names[key], data=grid(key)), group[names[key]])
    axes = []
    for at, fields in enumerate(plot.axes):
        for key in fields:
            readings = grid(key).astype(np.float64)
            others = tuple(each for each in range(len(plot.shape)) if each != at)
            counts = np.maximum((~np.isnan(readings)).sum(axis=others), 1)
            axis = np.where(np.isnan(readings).all(axis=others), np.nan, np.nansum(readings, axis=others) / counts)
            dataset = data.create_dataset(names[key], data=axis)
            _described(dataset, group[names[key]])
            dataset.attrs["description"] = "mean of the readings along the other axes; the stream has each of them"
            data.attrs[f"{names[key]}_indices"] = at
        axes.append(names[fields[0]])
    data.attrs["axes"] = axes


def _described(dataset: Any, of: Any) -> None:
    for name, value in of.attrs.items():
        dataset.attrs[name] = value

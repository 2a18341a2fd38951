"""Kernels: the compiled inner loops of data reduction, each beside a slow readable twin.

A kernel is a leaf: it takes arrays, returns arrays and records nothing. The fast function of a pair is compiled
by numba when it is first called; the one whose name ends in ``_slow`` says the same thing in plain Python and is
the oracle in the tests.

=========================================  ======================================================
module                                     what it does
=========================================  ======================================================
:mod:`braid_hpc.kernels.threshold`         zero suppression, as the FPGA at the detector would
:mod:`braid_hpc.kernels.label`             connected kept pixels become peaks with a centre
:mod:`braid_hpc.kernels.backproject`       slices from projections of a parallel beam
:mod:`braid_hpc.kernels.integrate`         what spots at known places measure above their background
:mod:`braid_hpc.kernels.spectrum`          excitations as an instrument sees them
:mod:`braid_hpc.kernels.waveform`          sums inside and outside a time window, as firmware adds them
:mod:`braid_hpc.kernels.frames`            where in a stream of bytes the frames of a device are
:mod:`braid_hpc.kernels.checks`            check sums of frames
:mod:`braid_hpc.kernels.closure`           everything that is reached from some nodes of a graph
=========================================  ======================================================

Importing this package, or a module of it, never imports numba.

``_tail`` is of another kind: written in C, compiled when the package is built, and used by the log alone, which does
without where it was not compiled (:mod:`braid_hpc.log.choice`).
"""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["compiled"]

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Have numba compile a function when it is first called, and keep the machine code on disk.

    Parameters
    ----------
    function : callable
        A module-level function in the part of Python that numba understands. It is called by position only. Other
        compiled functions that it calls by their names become part of it.

    Returns
    -------
    callable
        The same function, compiled at its first call for each combination of argument types.

    Raises
    ------
    ModuleNotFoundError
        On the first call, where numba is not installed.

    Examples
    --------
    >>> @compiled
    ... def twice(x):
    ...     return 2 * x
    """
    machine: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal machine
        if machine is None:
            machine = _compile(function)
        result: R = machine(*args, **kwargs)
        return result

    _functions[call] = function
    return call


#: What was made of which function.
_functions: dict[Callable[..., Any], Callable[..., Any]] = {}


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give numba's version of `function`, cached on disk where some directory can be written."""
    try:
        numba = importlib.import_module("numba")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the compiled kernels need numba: pip install 'braid_hpc[kernels]', or use the *_slow twin"
        ) from error
    function = _with_machine_code(function)
    try:
        machine: Callable[..., Any] = numba.njit(cache=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written (a read-only container):
        # compiling again in each process is slower, but right.
        machine = numba.njit(function)
    return machine


def _with_machine_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function for which the compiled ones that it calls are numba's, which knows no others."""
    known = function.__globals__
    machines = {}
    for name in function.__code__.co_names:
        if isinstance(called := known.get(name), types.FunctionType) and called in _functions:
            machines[name] = _compile(_functions[called])
    if not machines:
        return function
    made = types.FunctionType(function.__code__, {**known, **machines}, function.__name__)
    made.__module__, made.__qualname__ = function.__module__, function.__qualname__
    return made

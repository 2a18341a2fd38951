"""The options of a task: where results go, and when a call runs although it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from braid_hpc.tasks.tables import check_table_columns
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Options", "make_options"]

_NAMES = frozenset({"result", "target", "location", "verify", "code", "rerun", "table", "columns"})


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a task.

    Attributes
    ----------
    result : Location or None
        Where results are written.
    target, location
        Name of what is written; with `location` the call always runs.
    verify, code : str
        As for :func:`braid_hpc.tasks.task.task`.
    rerun : bool
        Whether calls run although they are done.
    table : str
        Of results; empty without `columns`.
    columns : list of (str, str)
        Names and types.
    given : dict
        As they were given.
    """

    result: Any = None
    target: Any = None
    location: Any = None
    verify: Any = None
    code: str = "rerun"
    rerun: bool = False
    table: str = ""
    columns: list[tuple[str, str]] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> Any:
        """What the name of a target is made by; None for the one that follows from the key."""
        return self.location if self.location is not None else self.target


def make_options(task: str, given: dict[str, Any], function: Any = None) -> Options:
    """Return options, having seen that they can be used.

    Parameters
    ----------
    task : str
        Name of the task.
    given : dict
        By name.
    function : callable, optional
        Whose name the table of results has by default.

    Returns
    -------
    Options
        With what was given.

    Raises
    ------
    InvalidInputError
        If one is not known, is of the wrong type, or does not go with another one.
    """
    if unknown := sorted(given.keys() - _NAMES):
        raise InvalidInputError(f"task {task}: {unknown[0]}= is no option; there are {', '.join(sorted(_NAMES))}")
    if given.get("target") is not None and given.get("location") is not None:
        raise InvalidInputError(f"task {task}: target= and location= are two ways: location= always writes")
    if given.get("result") is None and (given.get("target") is not None or given.get("location") is not None):
        raise InvalidInputError(f"task {task}: target= says what is written, and result= where: give both")
    if given.get("result") is not None and not hasattr(given["result"], "at"):
        raise InvalidInputError(f"task {task}: result= is a place such as LocalResult, not {given['result']!r}")
    if given.get("verify") not in (None, "size", "digest"):
        raise InvalidInputError(f"task {task}: verify= is 'size' or 'digest', not {given['verify']!r}")
    if given.get("code", "rerun") not in ("rerun", "keep"):
        raise InvalidInputError(f"task {task}: code= is 'rerun' or 'keep', not {given['code']!r}")
    made = {name: value for name, value in given.items() if value is not None}
    if "table" in made and not _is_name(made["table"]):
        raise InvalidInputError(f"task {task}: table= is the name of a table of results, not {made['table']!r}")
    if made.get("columns") is not None:
        made["columns"] = check_table_columns(task, made["columns"])
        made.setdefault("table", getattr(function, "__name__", None) or task)
    elif "table" in made:
        raise InvalidInputError(f"task {task}: table= names a table of results, whose columns= are missing")
    return Options(**made, given={**given, **{name: made[name] for name in ("table", "columns") if name in made}})


def _is_name(given: Any) -> bool:
    return isinstance(given, str) and bool(given) and given.isprintable()

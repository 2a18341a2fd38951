"""Runs: what a text names, and what a run said of its code and its environment."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from braid_hpc.vocabulary.errors import ConflictError, NotFoundError

__all__ = ["RUN_PREFIX", "RunFacts", "resolve_run", "run_facts"]

#: What stands before a run's id, or the beginning of it, or the name of its job.
RUN_PREFIX = "run:"

_HEX = re.compile(r"[0-9a-f]{4,32}")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run said of its code and its environment.

    Attributes
    ----------
    run : str
        Its id, 32 hexadecimal digits.
    job : str or None
        Name of the job.
    size : int or None
        Ranks that the launcher started.
    argv : tuple of str
        Command line of the lowest rank, as the next ones are.
    cwd, script, script_digest, git, user, launcher, python, executable : str or None
        Working directory, script with the digest of its bytes, commit, user, launcher, version of Python, its path.
    scheduler_job : str or None
        Id of the scheduler's job.
    hosts : tuple of str
        Of all ranks that have a log.
    packages : dict of str to str
        Versions of the packages that were imported.
    mpi_library : str or None
        What the MPI library says of itself.
    """

    run: str
    job: str | None
    size: int | None
    argv: tuple[str, ...]
    cwd: str | None
    script: str | None
    script_digest: str | None
    git: str | None
    user: str | None
    launcher: str | None
    python: str | None
    executable: str | None
    scheduler_job: str | None
    hosts: tuple[str, ...]
    packages: dict[str, str]
    mpi_library: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values.

        Returns
        -------
        dict
            By the names of the attributes.
        """
        return {name: getattr(self, name) for name in RunFacts.__slots__}


def run_facts(connection: Any, runs: list[str], at: int) -> list[RunFacts]:
    """Return what runs said of themselves.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    runs : list of str
        Their ids.
    at : int
        Snapshot number.

    Returns
    -------
    list of RunFacts
        In the order of their ids.
    """
    headers: dict[str, list[dict[str, Any]]] = {}
    for run, header in connection.execute(
        "select run, header from writers where snapshot <= $at and list_contains($runs::varchar[], run) "
        "order by run, parent is not null, coalesce(rank, 0), writer",
        {"at": at, "runs": runs},
    ).fetchall():
        headers.setdefault(run, []).append(json.loads(header))
    said: dict[tuple[str, str], Any] = {}
    for run, key, value in connection.execute(
        "select run, key, value from run_info where snapshot <= $at and list_contains($runs::varchar[], run) "
        "and key in ('packages', 'mpi_library') order by run, writer, snapshot, rowid",
        {"at": at, "runs": runs},
    ).fetchall():
        found = json.loads(value)
        said[run, key] = {**said.get((run, key), {}), **found} if isinstance(found, dict) else found
    return [_facts(run, each, said) for run, each in sorted(headers.items())]


def _facts(run: str, headers: list[dict[str, Any]], said: dict[tuple[str, str], Any]) -> RunFacts:
    first = headers[0]
    texts = ("cwd", "script", "script_digest", "git", "user", "launcher", "python", "executable")
    scheduler = (first.get("evidence") or {}).get("scheduler") or {}
    return RunFacts(
        run=run,
        job=first.get("job"),
        size=first.get("size"),
        argv=tuple(map(str, first.get("argv") or ())),
        **{name: first.get(name) for name in texts},
        scheduler_job=scheduler.get("job"),
        hosts=tuple(sorted({str(each["host"]) for each in headers if each.get("host")})),
        packages=dict(sorted((said.get((run, "packages")) or {}).items())),
        mpi_library=said.get((run, "mpi_library")),
    )


def resolve_run(connection: Any, text: str, at: int) -> str:
    """Find the run that a text names.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Open on a store.
    text : str
        An id or the beginning of one, from four digits on, or the name of a job that has one run; ``run:`` may stand
        before it.
    at : int
        Snapshot number.

    Returns
    -------
    str
        Its id.

    Raises
    ------
    NotFoundError
        If there is none.
    ConflictError
        If there are several; they are told.
    """
    name = text.removeprefix(RUN_PREFIX)
    rows = connection.execute(
        "select run, min(header ->> '$.job') as job, min(snapshot) from writers where snapshot <= $at "
        "group by run having job = $name or starts_with(run, $id) order by min(snapshot), run",
        {"at": at, "name": name, "id": name.lower() if _HEX.fullmatch(name.lower()) else "none"},
    ).fetchall()
    if not rows:
        raise NotFoundError(
            f"there is no run {name[:200]!r} in this store: name it by its id, or the beginning of that, as "
            "'braid status' lists them"
        )
    if len(rows) > 1:
        shown = ", ".join(f"run:{run[:8]} ({job})" for run, job, _ in rows[:5])
        more = f" and {len(rows) - 5:,} more" if len(rows) > 5 else ""
        raise ConflictError(f"{name[:200]!r} fits several runs: say which of {shown}{more}")
    return str(rows[0][0])

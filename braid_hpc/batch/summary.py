"""What became of a job, in two small files: which ranks' logs arrived whole, what is left on nodes, what was said.

``summary.json`` is for programs, ``summary.txt`` beside it for people. Both are written when logs are merged, also
when that failed, and when there are no logs at all.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from braid_hpc.batch.arrived import STATES, Arrived, RunOfPart, from_logs, from_store, runs_of
from braid_hpc.batch.record import JOB_NAME, read_json, replace
from braid_hpc.compaction.compact import Compacted
from braid_hpc.vocabulary.errors import BraidError, NotFoundError, StorageError
from braid_hpc.vocabulary.texts import visible
from braid_hpc.vocabulary.times import shown_time

__all__ = ["summarise", "told", "write_summary"]

_PART = re.compile(r"(?:task-(\d+)-)?attempt-(\d+)")

#: What was added by a compaction.
_ADDED = ("writers", "events", "versions", "activities", "edges", "stream_rows", "arrays", "problems", "unmatched")


def write_summary(
    file: Path, logs: Path, *, store: str | None, done: Compacted | None, error: BaseException | None = None
) -> dict[str, Any]:
    """Write both files.

    Parameters
    ----------
    file : Path
        The one for programs; the other one has its name with ``.txt``.
    logs : Path
        The directory whose logs were merged.
    store : str, optional
        The store that was named.
    done : Compacted, optional
        What the compaction did; None if it failed.
    error : BaseException, optional
        Why it failed.

    Returns
    -------
    dict
        What stands in the first file.

    Raises
    ------
    StorageError
        If they cannot be written.
    """
    found = summarise(logs, store=store, done=done, error=error)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, json.dumps(found, indent=1) + "\n")
        replace(file.with_suffix(".txt"), "\n".join(visible(line) for line in told(found)) + "\n")
    except OSError as refused:
        raise StorageError(f"the summary {file} cannot be written ({refused.strerror})") from refused
    return found


def summarise(
    logs: Path, *, store: str | None, done: Compacted | None, error: BaseException | None = None
) -> dict[str, Any]:
    """Say what became of a job.

    Parameters
    ----------
    logs, store, done, error
        As for :func:`write_summary`.

    Returns
    -------
    dict
        Plain values, see the page on how jobs end.
    """
    job, faults = read_json(logs.parent / JOB_NAME)
    arrived, unread = _arrived(logs, done)
    faults += unread
    expected = (job or {}).get("ranks")
    by_part: dict[str, list[Arrived]] = {name: [] for name in _parts(logs)}
    for each in arrived:
        by_part.setdefault(_part_of(each, list(by_part)), []).append(each)
    parts = [_part(logs, name, members, expected) for name, members in sorted(by_part.items(), key=_order)]
    wanted = sum(run["expected"] for part in parts for run in part["runs"]) if parts else expected or 0
    counts = {state: sum(len(run["ranks"][state]) for part in parts for run in part["runs"]) for state in STATES}
    return {
        "format": "braid summary",
        "major": 1,
        "minor": 1,
        "time": time.time_ns(),
        "logs": str(logs),
        "store": str(done.store) if done is not None else store,
        "job": {key: (job or {}).get(key) for key in ("name", "scheduler", "job", "compaction", "submitted", "ranks")},
        "counts": {"expected": wanted, **counts},
        "parts": parts,
        "compaction": {
            "error": None if error is None else (str(error) or type(error).__name__),
            "snapshot": None if done is None else done.snapshot,
            "new": None if done is None else done.new,
            "added": None if done is None else {name: getattr(done, name) for name in _ADDED},
        },
        "faults": faults,
    }


def _arrived(logs: Path, done: Compacted | None) -> tuple[list[Arrived], list[str]]:
    """Return the writers, and why they cannot be told of."""
    try:
        return (from_store(done) if done is not None else from_logs(logs)), []
    except NotFoundError:
        return [], []
    except (BraidError, OSError) as error:
        return [], [f"which logs arrived cannot be told: {error}"]


def _parts(logs: Path) -> list[str]:
    """Return the names of the attempts that have a directory."""
    if not logs.is_dir():
        return []
    return sorted(path.name for path in logs.iterdir() if path.is_dir() and _PART.fullmatch(path.name))


def _part_of(each: Arrived, names: list[str]) -> str:
    """Return the attempt that a log says to be of; an empty name if it says nothing."""
    found = re.search(rf"(?<=-){_PART.pattern}$", each.run_id)
    return found[0] if found is not None else (names[0] if len(names) == 1 else "")


def _order(item: tuple[str, Any]) -> tuple[int, int, str]:
    found = _PART.fullmatch(item[0])
    return (int(found[1] or 0), int(found[2]), "") if found else (-1, -1, item[0])


def _part(logs: Path, name: str, members: list[Arrived], expected: int | None) -> dict[str, Any]:
    """Return what is told of one attempt, of one task of an array."""
    found = _PART.fullmatch(name)
    place = logs / name
    ended, faults = read_json(place / "ended.json") if name else (None, [])
    runs = runs_of(members, expected)
    if not runs and expected is not None:
        runs = [
            RunOfPart("", "", expected, {state: [] for state in STATES} | {"missing": list(range(expected))}, {}, [])
        ]
    return {
        "part": name,
        "task": int(found[1]) if found and found[1] is not None else None,
        "attempt": int(found[2]) if found else None,
        "exit_code": (ended or {}).get("exit_code"),
        "ended": (ended or {}).get("time"),
        "near_limit": (ended or {}).get("near_limit"),
        "cancelled": (ended or {}).get("cancelled"),
        "runs": [
            {
                "run": run.run or None,
                "job": run.job or None,
                "expected": run.expected,
                "ranks": run.ranks,
                "workers": run.workers,
                "hosts": run.hosts,
            }
            for run in runs
        ],
        "nodes": [_node(path) for path in sorted(place.glob("*.status.json"))] if name else [],
        "trouble": _lines(place / "trouble.txt") if name else [],
        "faults": faults,
    }


def _node(path: Path) -> dict[str, Any]:
    """Return what a node's shipper said last."""
    status, faults = read_json(path)
    about = status or {}
    return {
        "node": about.get("node") or path.name.removesuffix(".status.json"),
        "state": about.get("state"),
        "directory": about.get("directory"),
        "time": about.get("time"),
        "faults": [*faults, *(str(fault) for fault in about.get("faults") or [])],
    }


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []


# ---------------------------------------------------------------------- for people


def told(found: dict[str, Any]) -> list[str]:
    """Return a summary in sentences.

    Parameters
    ----------
    found : dict
        From :func:`summarise`.

    Returns
    -------
    list of str
        Lines.
    """
    return list(_told(found))


def _told(found: dict[str, Any]) -> Iterator[str]:
    job, counts = found["job"], found["counts"]
    who = f"{job['name']}, {job['scheduler']} job {job['job']}" if job["name"] else found["logs"]
    whole = counts["complete"]
    yield f"{who}: {whole} of {counts['expected']} ranks' logs are complete"
    others = [f"{counts[state]} {state}" for state in STATES[1:] if counts[state]]
    if others:
        yield f"  others: {', '.join(others)}"
    if not found["parts"]:
        yield "  there is no log: the job was cancelled before it began, or ended before its command"
    for part in found["parts"]:
        yield from _told_part(part, job["job"])
    yield from (f"  {fault}" for fault in found["faults"])
    done = found["compaction"]
    if done["error"]:
        yield f"the logs are not merged: {done['error']}"
    elif not done["new"]:
        yield f"merged before: {found['store']} stays at snapshot {done['snapshot']}"
    else:
        added = ", ".join(f"{done['added'][name]:,} {name.replace('_', ' ')}" for name in _ADDED if done["added"][name])
        yield f"merged into {found['store']}, snapshot {done['snapshot']}: {added}"


def _told_part(part: dict[str, Any], job: str | None) -> Iterator[str]:
    task = f"task {part['task']}, " if part["task"] is not None else ""
    name = f"{task}attempt {part['attempt']}" if part["attempt"] is not None else "logs of no attempt"
    if part["exit_code"] is not None:
        how = f"ended with exit code {part['exit_code']}, {shown_time(part['ended'])}{_told_end(part)}"
    else:
        how = "its script did not come to its end" if part["attempt"] is not None else ""
    yield f"{name}: {how}".rstrip(": ")
    for run in part["runs"]:
        yield f"  {_told_run(run)}"
    yield from (f"  {line}" for line in part["trouble"])
    for node in part["nodes"]:
        if node["state"] != "final":
            where = f" in {node['directory']}" if node["directory"] else ""
            fetch = f": braid ship --job {job} fetches them" if job else ""
            last = f", last heard of {shown_time(node['time'])}" if node["time"] else ""
            yield f"  node {node['node']}{last}: logs may be left there{where}{fetch}"
        yield from (f"  node {node['node']}: {fault}" for fault in node["faults"])
    yield from (f"  {fault}" for fault in part["faults"])


def _told_end(part: dict[str, Any]) -> str:
    """Return who ended it, as far as its script could see."""
    if part["cancelled"]:
        return ": its time was over" if part["near_limit"] else ": it was cancelled, or ended by the scheduler"
    return ", after the warning that its time would be over" if part["near_limit"] else ""


def _told_run(run: dict[str, Any]) -> str:
    title = f"run {run['run'][:8]} ({run['job']})" if run["run"] else "no run"
    states = [
        f"{state} {_ranges(ranks)}" + (" (killed)" if state == "open" else "")
        for state, ranks in run["ranks"].items()
        if ranks
    ]
    on = f" on {', '.join(run['hosts'][:8])}" if run["hosts"] else ""
    more = f" and {len(run['hosts']) - 8} more" if len(run["hosts"]) > 8 else ""
    workers = sum(run["workers"].values())
    forked = f"; {workers} forked processes, {run['workers'].get('complete', 0)} complete" if workers else ""
    return f"{title}, {run['expected']} ranks{on}{more}: {'; '.join(states) or 'no ranks'}{forked}"


def _ranges(ranks: list[int]) -> str:
    """Return numbers as ranges."""
    spans: list[list[int]] = []
    for rank in ranks:
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)

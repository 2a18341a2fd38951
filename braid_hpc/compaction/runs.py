"""Which writers are ranks of one run: found from what their headers say, never agreed among ranks.

A writer's evidence is tried from the strongest to the weakest: ``BRAID_RUN_ID``; the PMIx namespace with its
server; the scheduler's job, restart and step; the launcher's process on one host. Two writers with one rank
cannot be one run, so a group with such a pair is divided by what its members differ in, and where nothing divides
it, each of its writers stays a run of its own and that is said.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from braid_hpc.vocabulary.identity import key_digest

__all__ = ["Grouping", "absent_ranks", "group_runs"]

#: Ranks of one run that nothing else holds together start within this time of each other (ns).
_ONE_START_NS = 60_000_000_000


@dataclass(slots=True)
class Grouping:
    """The outcome.

    Attributes
    ----------
    run : dict of str to str
        Writer to run, both 32 hexadecimal digits.
    problems : list of (str, str)
        Writer, and a sentence on why it stands alone.
    """

    run: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def group_runs(headers: dict[str, dict[str, Any]], known: dict[str, str] | None = None) -> Grouping:
    """Assign each writer to a run.

    Parameters
    ----------
    headers : dict
        Header by writer id, of every writer: those of earlier commits too.
    known : dict, optional
        Runs that earlier commits assigned; they stay.

    Returns
    -------
    Grouping
        Every writer of `headers` has a run.
    """
    found = Grouping(dict(known or {}))
    roots = {writer: header for writer, header in headers.items() if not header.get("parent")}
    groups: dict[str, list[str]] = defaultdict(list)
    for writer in sorted(roots):
        groups[_evidence(writer, roots[writer])].append(writer)
    for key, members in _gather_scattered(_gather_programs(groups, roots), roots).items():
        for part_key, part in _divide(key, members, roots):
            _settle(found, part_key, part, roots)
    for writer in sorted(headers.keys() - roots.keys()):
        root = _root(writer, headers)
        # A child knows the evidence of its parent, also where the parent's log is not there.
        own = key_digest(["run", _evidence(root, headers[writer])])
        found.run.setdefault(writer, found.run.get(root) or own)
    return found


def absent_ranks(headers: dict[str, dict[str, Any]], runs: dict[str, str]) -> list[tuple[str, int]]:
    """Return the ranks that belong to a run by its size, and of which there is no log.

    Parameters
    ----------
    headers : dict
        Header by writer id.
    runs : dict of str to str
        Run by writer, of the writers to look at.

    Returns
    -------
    list of (str, int)
        Run and rank, in order.
    """
    sizes: dict[str, int] = {}
    present: dict[str, set[int]] = defaultdict(set)
    for writer, run in runs.items():
        header = headers[writer]
        if header.get("parent") is None:
            sizes[run] = max(sizes.get(run, 0), header.get("size") or 0)
            present[run].add(header.get("rank") or 0)
    return [(run, rank) for run, size in sorted(sizes.items()) for rank in range(size) if rank not in present[run]]


def _settle(found: Grouping, key: str, members: list[str], headers: dict[str, dict[str, Any]]) -> None:
    fresh = [writer for writer in members if writer not in found.run]
    if not fresh:
        return
    ranks = [headers[writer].get("rank") for writer in members]
    if len(members) > 1 and len(set(ranks)) < len(ranks):
        for writer in fresh:
            rank = headers[writer].get("rank")
            found.run[writer] = key_digest(["run", "writer", writer])
            found.problems.append(
                (writer, f"rank {rank} appears twice among writers that nothing tells apart: it is a run of its own")
            )
        return
    # Ranks whose logs came earlier have a run already; the others join it.
    known = {found.run[writer] for writer in members if writer in found.run}
    for writer in fresh:
        found.run[writer] = next(iter(known)) if len(known) == 1 else key_digest(["run", key])


def _root(writer: str, headers: dict[str, dict[str, Any]]) -> str:
    """Return the writer that a forked child descends from."""
    seen = set()
    while (parent := headers.get(writer, {}).get("parent")) and writer not in seen:
        seen.add(writer)
        writer = parent
    return writer


def _evidence(writer: str, header: dict[str, Any]) -> str:
    """Return the strongest evidence as one text; equal texts are one run."""
    evidence = header.get("evidence") or {}
    # Two jobs that follow each other in one process, or two programs started alike, differ here.
    place = [header.get("job"), header.get("ordinal", 0), header.get("size")]
    if header.get("size") is None:
        return json.dumps(["writer", writer])
    if run_id := evidence.get("run_id"):
        return json.dumps(["run_id", run_id, *place])
    return json.dumps([*_launch(header), *place])


def _launch(header: dict[str, Any]) -> list[Any]:
    """Return what the ranks of one launch have in common, by themselves and not because somebody named it."""
    evidence = header.get("evidence") or {}
    scheduler = evidence.get("scheduler") or {}
    # The names that launchers give count from 1 again in another attempt of a job.
    attempt = [scheduler.get(key) for key in ("name", "job", "restart")]
    if pmix := evidence.get("pmix"):
        return ["pmix", pmix, *attempt]
    if torchrun := evidence.get("torchrun"):
        return ["torchrun", torchrun]
    # MPICH's mpirun starts its proxies by a step of their own, one for all nodes.
    if scheduler.get("step") is not None:
        return ["step", *attempt, scheduler["step"]]
    return ["launcher", *_launcher(header)]


def _launcher(header: dict[str, Any]) -> list[Any]:
    launcher = (header.get("evidence") or {}).get("launcher") or {}
    scheduler = (header.get("evidence") or {}).get("scheduler") or {}
    return [
        # Containers on one machine have one boot id, and may have process ids of their own.
        header.get("boot_id"),
        header.get("host"),
        launcher.get("pid"),
        launcher.get("start"),
        scheduler.get("job"),
        scheduler.get("restart"),
    ]


def _gather_programs(groups: dict[str, list[str]], headers: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Join groups that differ in the job's name only, where together they make the ranks of one launch (MPMD)."""
    alike: dict[str, list[str]] = defaultdict(list)
    for key in groups:
        parts = json.loads(key)
        alike[key if parts[0] == "writer" else json.dumps([*parts[:-3], *parts[-2:]])].append(key)
    whole: dict[str, list[str]] = {}
    for together, keys in alike.items():
        members = [writer for key in keys for writer in groups[key]]
        size = headers[members[0]].get("size")
        ranks = sorted(int(headers[writer].get("rank") or 0) for writer in members)
        if len(keys) > 1 and ranks == list(range(size or 0)):
            whole[json.dumps(["programs", *json.loads(together)])] = sorted(members)
        else:
            whole.update({key: groups[key] for key in keys})
    return whole


def _gather_scattered(groups: dict[str, list[str]], headers: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Join groups known only by their launcher on one host, where together they make the ranks of one run."""
    partial: dict[str, list[str]] = defaultdict(list)
    whole: dict[str, list[str]] = {}
    for key, members in groups.items():
        size = headers[members[0]].get("size")
        if json.loads(key)[0] == "launcher" and size is not None and len(members) < size:
            alike = headers[members[0]]
            scheduler = (alike.get("evidence") or {}).get("scheduler") or {}
            partial[
                json.dumps(
                    [
                        *(alike.get(trait) for trait in ("argv", "cwd", "size", "job", "ordinal")),
                        *(scheduler.get(trait) for trait in ("job", "restart")),
                    ]
                )
            ].append(key)
        else:
            whole[key] = members
    for keys in partial.values():
        members = [writer for key in keys for writer in groups[key]]
        ranks = [int(headers[writer].get("rank") or 0) for writer in members]
        starts = [(headers[writer].get("clock") or {}).get("utc_ns", 0) for writer in members]
        hosts = {(first.get("boot_id"), first.get("host")) for first in (headers[groups[key][0]] for key in keys)}
        if (
            len(keys) > 1
            and len(hosts) == len(keys)
            and sorted(ranks) == list(range(headers[members[0]].get("size") or 0))
            and max(starts) - min(starts) < _ONE_START_NS
        ):
            whole[json.dumps(["scattered", *sorted(keys)])] = sorted(members)
        else:
            whole.update({key: groups[key] for key in keys})
    return whole


def _divide(key: str, members: list[str], headers: dict[str, dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Divide a group in which a rank appears twice: by launch and launcher, then by command line and directory."""
    parts = [(key, members)]
    for trait in (_launch_trait, _launcher_trait, _program_trait, _process_trait):
        divided: list[tuple[str, list[str]]] = []
        for part_key, part in parts:
            if _doubled(part, headers):
                by: dict[str, list[str]] = defaultdict(list)
                for writer in part:
                    by[trait(headers[writer])].append(writer)
                divided.extend((f"{part_key}|{value}" if len(by) > 1 else part_key, by[value]) for value in sorted(by))
            else:
                divided.append((part_key, part))
        parts = divided
    return parts


def _doubled(members: list[str], headers: dict[str, dict[str, Any]]) -> bool:
    ranks = [headers[writer].get("rank") for writer in members]
    return len(set(ranks)) < len(ranks)


def _launch_trait(header: dict[str, Any]) -> str:
    return json.dumps(_launch(header))


def _launcher_trait(header: dict[str, Any]) -> str:
    return json.dumps(_launcher(header))


def _program_trait(header: dict[str, Any]) -> str:
    return json.dumps([header.get("argv"), header.get("cwd")])


def _process_trait(header: dict[str, Any]) -> str:
    """Ranks that record two jobs in one process have one writer for each, in the order of their beginning."""
    return json.dumps(header.get("ordinal", 0))

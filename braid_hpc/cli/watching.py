"""What ``braid watch`` sees in one look: how far each rank is, and what is not as it should be.

Everything is opened for reading only, and of each log no more than what came since the last look is read. Where ranks
write to disks that cannot be seen from here, their nodes' status files tell.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from braid_hpc.batch.record import JOB_NAME, read_json
from braid_hpc.cli.watch_look import Look, Seen, counted, numbers, plural
from braid_hpc.compaction.runs import group_runs
from braid_hpc.reading.bundles import find_bundles
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.node_status import NodeStatus, find_statuses, read_status
from braid_hpc.reading.progress import Progress, WriterProgress
from braid_hpc.vocabulary.errors import BraidError, NotFoundError

__all__ = ["Watcher"]

#: A node's status is old after twice the seconds between its rounds and this (ns).
_GRACE_NS = 30_000_000_000

_PART = re.compile(r"(?:task-(\d+)-)?attempt-(\d+)")


class Watcher:
    """Looks at logs, or at the status files of a job, again and again.

    Parameters
    ----------
    place : Path
        A log directory, the directory of a batch job, or one that nodes ship to.
    silent : float
        Seconds without an event after which an open rank is silent.
    """

    def __init__(self, place: Path, *, silent: float) -> None:
        self.place = place
        self.silent = silent
        self._writers: dict[Path, WriterProgress] = {}
        #: By writer: events at a time, of the last two different times.
        self._before: dict[str, tuple[int, int]] = {}
        self._rates: dict[str, float] = {}
        self._at: dict[str, int] = {}

    def look(self) -> Look:
        """Look once.

        Returns
        -------
        Look
            What is there now; no ranks if there are none yet.

        Raises
        ------
        NotFoundError
            If there is no such directory.
        """
        if not self.place.is_dir():
            raise NotFoundError(f"{self.place} is not a directory: name that of the rank logs or of a batch job")
        now = time.time_ns()
        is_job = (self.place / JOB_NAME).is_file()
        parts = _parts_in(self.place / "logs" if is_job else self.place)
        return self._look_at_job(parts, now) if is_job or parts else self._look_at_logs(now)

    # ------------------------------------------------------------------ logs

    def _look_at_logs(self, now: int) -> Look:
        found = self._directly(self.place)
        headers = {str(writer.header["writer"]): writer.header for writer in self._writers.values() if writer.header}
        runs = group_runs(headers).run
        look = Look(now, [self._seen(told, now, now, run=runs.get(told.writer, ""), node=told.host) for told in found])
        if not found:
            look.told.append(
                f"there are bundles in {self.place} and no status files: braid ship --status writes them"
                if find_bundles(self.place)
                else f"there are no rank logs in {self.place} yet"
            )
        self._judge(look)
        return look

    def _directly(self, place: Path) -> list[Progress]:
        """Look at logs that can be seen from here."""
        try:
            directories = find_writers(place)
        except NotFoundError:
            directories = []
        here = set(directories)
        for each in [each for each in self._writers if each not in here and each.is_relative_to(place)]:
            del self._writers[each]
        found = []
        for each in directories:
            told = self._writers.setdefault(each, WriterProgress(each)).look()
            if told is not None:
                found.append(told)
        # A copy beside its original is one log.
        return list({told.writer: told for told in sorted(found, key=lambda told: told.events)}.values())

    def _seen(
        self,
        told: Progress,
        now: int,
        at: int,
        *,
        run: str,
        node: str | None,
        part: str = "",
        shipped: bool | None = None,
    ) -> Seen:
        """Put together what is known of a writer; it was so at a time."""
        quiet = None if told.last is None else max(0.0, (now - told.last) / 1e9)
        state = told.state
        if state == "open" and quiet is not None and quiet > self.silent:
            state = "silent"
        return Seen(
            part=part,
            run=run,
            rank=told.rank,
            size=told.size,
            node=node,
            writer=told.writer,
            job=told.job,
            state=state,
            events=told.events,
            lost=told.lost,
            bytes=told.bytes,
            rate=self._rate(told, at),
            last=told.last,
            quiet=quiet,
            shipped=shipped,
        )

    def _rate(self, told: Progress, at: int) -> float | None:
        """Return events per second since the last look that told something else."""
        before = self._before.get(told.writer)
        if before is None or before[1] < at:
            if before is not None:
                self._rates[told.writer] = max(0, told.events - before[0]) / ((at - before[1]) / 1e9)
            self._before[told.writer] = (told.events, at)
        return self._rates.get(told.writer)

    # ------------------------------------------------------------------ status files

    def _look_at_job(self, parts: list[Path], now: int) -> Look:
        look = Look(now, [])
        current, earlier = _newest_attempts(parts)
        for part in current:
            self._look_at_part(look, part, now)
        if not look.seen:
            look.told.append(f"no node has told anything in {self.place} yet: braid ship --status does")
        self._judge(look)
        for part in earlier:
            before = Look(now, [])
            self._look_at_part(before, part, now)
            if before.seen:
                look.told.append(f"{part.name}, an earlier attempt: {counted(before.seen)}")
        ends = [read_json(part / "ended.json") for part in current]
        look.notes += [fault for _, faults in ends for fault in faults]
        codes = [end["exit_code"] for end, _ in ends if end is not None and "exit_code" in end]
        if current and len(codes) == len(current):
            look.over = True
            said = ", ".join(sorted({str(code) for code in codes}))
            look.told.append(f"the job has ended with exit code {said}")
        return look

    def _look_at_part(self, look: Look, part: Path, now: int) -> None:
        label = part.name if _PART.fullmatch(part.name) else ""
        # Ranks of a node without a disk of its own write here.
        look.seen += [
            self._seen(told, now, now, run=told.run or "", node=told.host, part=label)
            for told in self._directly(part / "direct")
        ]
        for path in find_statuses(part):
            try:
                status = read_status(path)
            except BraidError as error:
                look.notes.append(str(error))
                continue
            look.seen += [
                self._seen(
                    rank.progress,
                    now,
                    status.time,
                    run=rank.progress.run or "",
                    node=status.node,
                    part=label,
                    shipped=rank.shipped,
                )
                for rank in status.writers
            ]
            look.notes += [f"node {status.node}: {fault}" for fault in status.faults]
            look.notes += _old(status, now)
        try:
            trouble = (part / "trouble.txt").read_text(errors="replace")
        except OSError:
            return
        look.notes += [line for line in trouble.splitlines() if line.strip()]

    # ------------------------------------------------------------------ what is not as it should be

    def _judge(self, look: Look) -> None:
        """Add the ranks of which there is no log, and say which are silent and which have lost events."""
        groups: dict[tuple[str, str], list[Seen]] = defaultdict(list)
        for each in look.seen:
            groups[each.part, each.run].append(each)
        several = len(groups) > 1
        notes = []
        for (part, run), members in groups.items():
            sizes = {each.size for each in members if each.size is not None}
            where = f"{part or run[:8]}: " if several and (part or run) else ""
            if len(sizes) == 1:
                (size,) = sizes
                missing = sorted(set(range(size)) - {each.rank for each in members if each.rank is not None})
                look.seen += [Seen(part, run, rank, size, None, None, members[0].job, "absent") for rank in missing]
                if missing:
                    notes.append(f"{where}no log of rank{plural(missing)} {numbers(missing)} of {size} is here yet")
            quiet = [each for each in members if each.state == "silent"]
            if quiet:
                named = numbers([each.rank for each in quiet if each.rank is not None])
                what = f"rank{plural(quiet)} {named}" if named else f"{len(quiet)} process{'es' if quiet[1:] else ''}"
                notes.append(f"{where}no event of {what} for more than {self.silent:g} s")
            lossy = [each for each in members if each.lost]
            if lossy:
                notes.append(f"{where}{sum(each.lost for each in lossy):,} events could not be written")
        look.notes[:0] = notes
        look.seen.sort(key=lambda each: (each.part, each.run, each.rank is None, each.rank or 0, each.writer or ""))


def _old(status: NodeStatus, now: int) -> Iterable[str]:
    age = now - status.time
    if status.state != "final" and age > 2 * int((status.every or 0) * 1e9) + _GRACE_NS:
        yield f"node {status.node} has told nothing for {age / 1e9:.0f} s (it does so every {status.every or 0:g} s)"


def _parts_in(directory: Path) -> list[Path]:
    """Return the directories that nodes ship to: those with status files, bundles' troubles or ends in them."""
    found = []
    for path in [directory, *sorted(each for each in _folders(directory))]:
        if _PART.fullmatch(path.name) or find_statuses(path):
            found.append(path)
    return found


def _folders(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.is_dir()]
    except OSError:
        return []


def _newest_attempts(parts: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return of each task the newest attempt, and the others, the newer ones first."""
    tasks: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in parts:
        found = _PART.fullmatch(path.name)
        tasks[(found[1] or "") if found else path.name].append((int(found[2]) if found else 0, path))
    ordered = [sorted(attempts, reverse=True) for attempts in tasks.values()]
    current = sorted((attempts[0][1] for attempts in ordered), key=lambda path: (len(path.name), path.name))
    return current, [path for attempts in ordered for _, path in attempts[1:]]

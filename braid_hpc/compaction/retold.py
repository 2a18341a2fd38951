"""Commits of a store told again from their archives, whole or only some of their writers, for another store's file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.compaction.archived import ArchivedCommit, read_commit
from braid_hpc.compaction.extract import Speaker
from braid_hpc.compaction.ledger import Ledger
from braid_hpc.compaction.replay import Before, log_of
from braid_hpc.reading.events import Events
from braid_hpc.reading.writer_log import WriterLog

__all__ = ["KeepingNothing", "Retold", "Told"]


@dataclass(frozen=True, slots=True)
class Told:
    """What one commit took of the writers that are wanted.

    Attributes
    ----------
    found : ArchivedCommit
        Its archive.
    logs : dict of str to (WriterLog, str)
        By writer: the log as the commit found it, and its run.
    damage : list of str
        What cannot be read, a sentence for each.
    """

    found: ArchivedCommit
    logs: dict[str, tuple[WriterLog, str]]
    damage: list[str]

    @property
    def apart(self) -> dict[str, str]:
        """Writers that stay runs of their own although they look like ranks, and why."""
        return {line["writer"]: line["apart"] for line in self.found.lines if line["apart"]}

    def fresh(self, ledger: Ledger) -> list[Speaker]:
        """Return what another store does not have of it.

        Parameters
        ----------
        ledger : Ledger
            That store's.

        Returns
        -------
        list of Speaker
            Each with what is to be taken.
        """
        speakers = []
        for writer, (log, run) in self.logs.items():
            ledger.recall_damage(log)
            ledger.recall_end(log)
            fresh = ledger.fresh(log)
            if fresh or ledger.is_news(log):
                speakers.append(Speaker(log, ledger.runs.get(writer, run), fresh))
        return speakers


class Retold:
    """Reads commits, each with what earlier ones took of the same logs.

    Parameters
    ----------
    folders : list of Path
        The archives, in the order of the commits.
    """

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    def each(
        self, *, after: int = 0, wanted: Callable[[str], bool] = lambda writer: True
    ) -> Iterator[tuple[int, Told]]:
        """Read the commits.

        Parameters
        ----------
        after : int
            How many of the first ones are passed over: of them only what later ones go on with is read.
        wanted : callable
            Which writers are told of.

        Yields
        ------
        number : int
            Of the commit, from 1.
        told : Told
            What it took.

        Raises
        ------
        CorruptLogError
            If an archive cannot be used at all.
        FormatTooNewError
            If an archive, or a log in it, is of a newer format.
        """
        last = self._last_of_each(after)
        before: dict[str, Before] = {}
        for number, folder in enumerate(self._folders, 1):
            if number <= after and not last:
                continue
            found = read_commit(folder)
            damage = list(found.damage)
            found.lines = [line for line in found.lines if line["writer"] in last and wanted(line["writer"])]
            logs = {}
            for writer, faults in found.each_writer():
                known = before.setdefault(writer.writer, Before())
                known.damage.extend(faults)
                damage.extend(faults)
                logs[writer.writer] = log_of(folder, writer, known), str(writer.about["run"])
            if number > after:
                yield number, Told(found, logs, damage)
            for name in [name for name in before if last[name] <= number]:
                del before[name]

    def _last_of_each(self, after: int) -> dict[str, int]:
        """Return the last commit of each writer that a commit behind the first ones tells of."""
        last: dict[str, int] = {}
        for number, folder in enumerate(self._folders, 1):
            # What is damaged is said when the commit is read.
            with suppress(OSError, ValueError), (folder / "writers.jsonl").open() as file:
                last.update((json.loads(line)["writer"], number) for line in file)
        return {writer: number for writer, number in last.items() if number > after}


class KeepingNothing:
    """A keeper for commits that are archived elsewhere.

    Parameters
    ----------
    lines : list of dict
        What the archive says of each writer.
    """

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._lines = {line["writer"]: line for line in lines}

    def add_writer(self, facts: Speaker) -> None:
        """Do nothing."""

    def add_events(self, facts: Speaker, events: Events) -> None:
        """Do nothing."""

    def add_batch(self, facts: Speaker, number: int, first: int, ipc: bytearray) -> None:
        """Do nothing."""

    def end_writer(self, facts: Speaker, digest: str, faults: list[str]) -> list[str]:
        """Return what was said of the streams when they were archived."""
        told: list[str] = self._lines[facts.writer]["stream_faults"]
        known = {fault.partition(" cannot be read")[0] for fault in told}
        return told + [fault for fault in faults if fault.partition(" cannot be read")[0] not in known]

    def finish(self, commit: Any, out: Any) -> None:
        """Do nothing."""

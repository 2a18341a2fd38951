"""The logs whose merges are measured: what sort of events, how many, in how many logs."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from merging import KINDS

#: In how many logs the events are where their number grows, and how many they are where that of the logs does.
LOGS, EVENTS = 16, 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """So many events of a sort in so many logs."""

    kind: str
    events: int
    logs: int

    @property
    def name(self) -> str:
        """What it is called in the file of rounds, and what :func:`case_of` reads."""
        return f"{self.kind}={self.events}:{self.logs}"

    @property
    def title(self) -> str:
        """What people read."""
        return f"{self.events:,} {self.kind} in {self.logs:,} log{'s' if self.logs > 1 else ''}"


def case_of(text: str) -> Case:
    """Return the case that a text names; ValueError if it names none."""
    found = re.fullmatch(rf"({'|'.join(KINDS)})=([0-9.e+]+)(?::([0-9]+))?", text.strip())
    if not found:
        raise ValueError(f"{text!r} is no case: write KIND=EVENTS:LOGS, with one of {', '.join(KINDS)}")
    kind, events, logs = found[1], int(float(found[2])), int(found[3] or LOGS)
    if not 1 <= logs <= events:
        raise ValueError(f"{text!r} is no case: each log has an event, and there is a log")
    return Case(kind, events, logs)


def default_cases(*, quick: bool) -> list[Case]:
    """Return what is measured, the largest cases last: they take most of the time, and may not fit."""
    if quick:
        return [Case("rows", 2_000, 4), Case("rows", 20_000, 4), Case("rows", 2_000, 32), Case("records", 1_000, 4)]
    sizes = [10**power for power in (5, 6, 7, 8)]
    chosen = [Case("rows", size, LOGS) for size in sizes[:2]]
    chosen += [Case("rows", EVENTS, logs) for logs in (1, 4, 64, 256, 1_024, 4_096)]
    chosen += [Case(kind, 100_000, LOGS) for kind in ("calls", "records", "activities")]
    chosen += [Case("batches", size, LOGS) for size in (1_000_000, 10_000_000)]
    return chosen + [Case("rows", size, LOGS) for size in sizes[2:]]


def growing_in_events(cases: Sequence[Case]) -> list[Case]:
    """Return the cases that differ in the number of events alone: those of rows in the commonest number of logs."""
    rows = [case for case in cases if case.kind == "rows"]
    logs = _commonest([case.logs for case in rows])
    return sorted((case for case in rows if case.logs == logs), key=lambda case: case.events)


def growing_in_logs(cases: Sequence[Case]) -> list[Case]:
    """Return the cases that differ in the number of logs alone: those of the commonest number of rows."""
    rows = [case for case in cases if case.kind == "rows"]
    events = _commonest([case.events for case in rows])
    return sorted((case for case in rows if case.events == events), key=lambda case: case.logs)


def _commonest(numbers: Sequence[int]) -> int:
    return Counter(numbers).most_common(1)[0][0] if numbers else 0

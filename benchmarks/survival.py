"""What can be read back after a process was killed with SIGKILL while it recorded.

A process records one event after the other, and after each call that returned it writes a byte into a pipe. When so
many have come it is killed in the middle of its work. Then another process reads back what is there, with the
recorder's own reader where it has one. An event is lost if its byte has come and it cannot be read back.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import LIMIT, Runner
from rounds import Rounds

#: At most so long is recorded before the kill (s): some take milliseconds for an event.
SECONDS = 3.0
#: How many times as many events are recorded before a closing: a queue that is too short shows then.
BURST = 4


@dataclass(frozen=True, slots=True)
class Survival:
    """What became of the events of one process, or of the worst of some."""

    acknowledged: int
    lost: int
    #: Whether those that are lost are the last ones.
    only_last: bool
    readable: bool

    @property
    def kind(self) -> str:
        """``all``, ``part`` or ``none``."""
        return "all" if not self.lost else "part" if self.lost < self.acknowledged else "none"

    def text(self) -> str:
        """Return it in some words."""
        if self.kind == "all":
            return f"all of {self.acknowledged:,}"
        if self.kind == "part":
            last = "last " if self.only_last else ""
            return f"{self.acknowledged - self.lost:,} of {self.acknowledged:,} ({last}{self.lost:,} lost)"
        return f"none of {self.acknowledged:,}" + ("" if self.readable else "; not readable")


def kill_one(runner: Runner, name: str, folder: Path, events: int) -> dict[str, Any]:
    """Record, kill, read back; return what was found, or why not."""
    reads, writes = os.pipe()
    with open(reads, "rb", buffering=0) as pipe:
        child = runner.start("survive", name, folder, 100 * events, keep=writes)
        os.close(writes)
        try:
            acknowledged = _acknowledged(pipe, events)
            child.send_signal(signal.SIGKILL)
            child.wait()
            # What was written before the kill is still in the pipe.
            while got := pipe.read(65_536):
                acknowledged += len(got)
        finally:
            child.kill()
            child.wait()
    if found := runner.found(folder):
        return found
    if not acknowledged:
        return {"why": f"no call has returned: {runner.said(folder)}"}
    back = runner.run("read", name, folder, 0)
    return back | {"acknowledged": acknowledged} if "why" not in back else back


def _acknowledged(pipe: Any, events: int) -> int:
    """Wait for so many events, or for what comes within some seconds; a package may take long to be imported before."""
    count, end = 0, time.monotonic() + LIMIT
    while count < events and (left := end - time.monotonic()) > 0 and select.select([pipe], [], [], left)[0]:
        if not (got := pipe.read(4096)):
            break
        if not count:
            end = time.monotonic() + SECONDS
        count += len(got)
    return count


def measure(measured: Rounds, runner: Runner, name: str, *, turn: int, events: int) -> None:
    """Kill one process, close another as one should, and keep what could be read of each."""
    of = {"mode": "survival", "variant": name, "ranks": 1, "round": turn}
    with runner.folder() as folder:
        killed = kill_one(runner, name, folder, events)
    if "why" in killed:
        measured.skip(of, killed["why"])
        return
    there = set(killed["numbers"])
    lost = sorted(set(range(killed["acknowledged"])) - there)
    last = not lost or lost[0] == killed["acknowledged"] - len(lost)
    values = {
        "acknowledged": (killed["acknowledged"], "events"),
        "lost": (len(lost), "events"),
        "lost last": (last, "yes"),
        "readable": ("unreadable" not in killed, "yes"),
    }
    if "unreadable" in killed:
        measured.about.setdefault("unreadable", {})[name] = killed["unreadable"]
    with runner.folder() as folder, contextlib.suppress(KeyError):
        recorded = runner.run("close", name, folder, BURST * events)["recorded"]
        back = runner.run("read", name, folder, 0)
        values |= {
            "recorded": (recorded, "events"),
            "lost closed": (recorded - len(set(back["numbers"]) & set(range(recorded))), "events"),
        }
    measured.add(of, values)


def worst(measured: Rounds, name: str) -> Survival | None:
    """Return the worst of all kills of a recorder; nothing if there was none."""
    of: dict[str, Any] = {"mode": "survival", "variant": name}
    found = {each: measured.values(**of, measure=each) for each in ("acknowledged", "lost", "lost last", "readable")}
    kills = [
        Survival(
            int(found["acknowledged"][turn]), int(lost), bool(found["lost last"][turn]), bool(found["readable"][turn])
        )
        for turn, lost in found["lost"].items()
    ]
    return max(kills, key=lambda kill: kill.lost / kill.acknowledged, default=None)


def closed(measured: Rounds, name: str) -> str:
    """Return how many events were lost although their process closed its recorder; "all" if none."""
    lost = measured.values(mode="survival", variant=name, measure="lost closed")
    recorded = measured.values(mode="survival", variant=name, measure="recorded")
    if not lost:
        return "-"
    turn = max(lost, key=lambda each: lost[each])
    return "all" if not lost[turn] else f"{recorded[turn] - lost[turn]:,.0f} of {recorded[turn]:,.0f}"

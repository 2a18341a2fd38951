"""The ranks that do not commit: each does what it is asked for until it is told that the compaction is over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid_hpc.compaction.channel import Channel, RankLostError, failed, is_dead
from braid_hpc.compaction.portion import Portion, pulse

__all__ = ["Done", "End", "Stopped", "Task", "serve"]


@dataclass(frozen=True, slots=True)
class Task:
    """What a rank is asked for.

    Attributes
    ----------
    verb : str
        A method of :class:`~braid_hpc.compaction.portion.Portion`; or ``stop``, to leave what is being done.
    given : tuple
        Its arguments.
    """

    verb: str
    given: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """The compaction is over.

    Attributes
    ----------
    outcome : object
        What it has come to, a :class:`~braid_hpc.compaction.channel.Failed` among them.
    """

    outcome: Any


@dataclass(frozen=True, slots=True)
class Done:
    """What a rank was asked for is done."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A rank does nothing any more."""


def serve(channel: Channel, rank: int) -> Any:
    """Do what the rank that commits asks for.

    Parameters
    ----------
    channel : Channel
        To it.
    rank : int
        Of this process.

    Returns
    -------
    object
        What the compaction has come to.

    Raises
    ------
    RankLostError
        If the rank that commits has ended before it said so.
    """
    portion = Portion(rank)
    try:
        while True:
            _, asked = channel.receive()
            if isinstance(asked, End):
                channel.flush()
                return asked.outcome
            if asked.verb == "stop":
                channel.send(0, Stopped())
                continue
            _do(channel, portion, asked, rank)
            if asked.verb == "begin":
                _watch(channel, asked.given[0])
    finally:
        portion.end()


def _do(channel: Channel, portion: Portion, asked: Task, rank: int) -> None:
    steps = getattr(portion, asked.verb)(*asked.given)
    try:
        for answer in steps:
            if answer is not None:
                channel.send(0, answer)
            if channel.has():
                # Only to stop somebody who is at work is anything said.
                steps.close()
                return
    except RankLostError:
        raise
    except BaseException as error:
        channel.send(0, failed(error, rank))
    else:
        channel.send(0, Done())


def _watch(channel: Channel, folder: Path) -> None:
    first = pulse(folder, 0)
    if is_dead(first):
        # It has just asked for something: the file system does not show its lock here.
        return

    def look() -> None:
        if is_dead(first):
            raise RankLostError("rank 0, which commits, has ended before its time")

    channel.look = look

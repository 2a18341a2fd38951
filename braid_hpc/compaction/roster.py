"""The ranks of a shared compaction, as the one that commits sees them: asked, answering, stopped, or lost."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from braid_hpc.compaction.channel import Channel, Failed, RankLostError, is_dead
from braid_hpc.compaction.portion import pulse
from braid_hpc.compaction.serving import Done, End, Stopped, Task
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.snapshots.locks import new_lock

__all__ = ["Roster"]


class Roster:
    """The other ranks.

    Parameters
    ----------
    channel : Channel
        To them.
    size : int
        How many ranks there are, with this one.

    Attributes
    ----------
    others : range
        Their numbers.
    """

    def __init__(self, channel: Channel, size: int) -> None:
        self._channel = channel
        self.others = range(1, size)
        self._busy: set[int] = set()
        self._folder: Path | None = None
        self._closing = contextlib.ExitStack()

    @property
    def busy(self) -> bool:
        """Whether any rank has not said yet that it is done."""
        return bool(self._busy)

    def begin(self, files: StoreFiles, base: int) -> None:
        """Make a directory that the ranks share, unless there is one.

        Parameters
        ----------
        files : StoreFiles
            The store's.
        base : int
            The snapshot that is added to.

        Raises
        ------
        StorageError
            If a rank cannot write there.
        OSError
            If this one cannot.
        """
        if self._folder is not None:
            return
        self._folder = folder = self._closing.enter_context(files.parts(base))
        self._closing.callback(os.close, new_lock(pulse(folder, 0)))
        for rank in self.others:
            self.ask(rank, "begin", folder)
        while self._busy:
            self.answer()
        shown = [rank for rank in self.others if not is_dead(pulse(folder, rank))]

        def look() -> None:
            for rank in shown:
                if is_dead(pulse(folder, rank)):
                    raise RankLostError(f"rank {rank} has ended before its time: nothing was merged")

        # All of them have just answered: where one seems dead, the file system does not show locks.
        self._channel.look = look

    def stop(self) -> None:
        """Have all ranks leave what they are doing; what they have said of it is forgotten.

        Raises
        ------
        RankLostError
            If one of them has ended.
        """
        waiting = set(self._busy)
        for rank in waiting:
            self._channel.send(rank, Task("stop"))
        while waiting:
            rank, message = self._channel.receive()
            if isinstance(message, Stopped):
                waiting.discard(rank)
        self._busy.clear()

    def end(self, outcome: Any) -> None:
        """Tell all ranks that it is over.

        Parameters
        ----------
        outcome : object
            What it has come to.

        Raises
        ------
        RankLostError
            If one of them has ended.
        """
        self.stop()
        for rank in self.others:
            self._channel.send(rank, End(outcome))
        self._channel.flush()
        self._closing.close()

    def leave(self) -> None:
        """Remove what the ranks have written; nothing is said to them."""
        self._closing.close()

    def ask(self, rank: int, verb: str, *given: Any) -> None:
        """Ask a rank to do something.

        Parameters
        ----------
        rank : int
            Which does nothing now.
        verb : str
            A method of :class:`~braid_hpc.compaction.portion.Portion`.
        *given
            Its arguments.
        """
        self._channel.send(rank, Task(verb, given))
        self._busy.add(rank)

    def answer(self) -> tuple[int, Any]:
        """Wait for what a rank says.

        Returns
        -------
        int
            The rank.
        object
            What it says; at last :class:`~braid_hpc.compaction.serving.Done`.

        Raises
        ------
        BraidError
            If it has failed.
        RankLostError
            If one of the ranks has ended.
        """
        rank, message = self._channel.receive()
        if isinstance(message, (Done, Failed)):
            self._busy.discard(rank)
        if isinstance(message, Failed):
            raise message.error
        return rank, message

    def share(
        self, verb: str, portions: Sequence[Any], only: Sequence[int] | None = None
    ) -> Iterator[tuple[int, int, Any]]:
        """Have portions done by whoever is free.

        Parameters
        ----------
        verb : str
            As for :meth:`ask`.
        portions : sequence
            An argument for each time.
        only : sequence of int, optional
            For each portion the one rank that can do it; 0 for any.

        Yields
        ------
        number : int
            Of the portion.
        rank : int
            Who has done it.
        answer : object
            What was answered.

        Raises
        ------
        BraidError
            If a rank has failed.
        """
        at: dict[int, int] = {}
        todo: dict[int, deque[int]] = defaultdict(deque)
        for number in range(len(portions)):
            todo[only[number] if only is not None else 0].append(number)

        def go_on(rank: int) -> None:
            # First what nobody else can do.
            for mine in (todo[rank], todo[0]):
                if mine:
                    at[rank] = mine.popleft()
                    self.ask(rank, verb, portions[at[rank]])
                    return

        for rank in self.others:
            go_on(rank)
        while self._busy:
            rank, message = self.answer()
            if isinstance(message, Done):
                go_on(rank)
            else:
                yield at[rank], rank, message

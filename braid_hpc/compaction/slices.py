"""What the logs of a commit say, in slices of bounded size: by time over all writers, each in its own order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from braid_hpc.compaction.extract import SPOKEN, Facts, Speaker
from braid_hpc.reading.events import Array
from braid_hpc.reading.parts import counted

__all__ = ["SLICE", "find_cuts", "slices"]

#: Events that a slice should hold at most; Python needs a kilobyte or two for each while their graph is made.
SLICE = 50_000


def find_cuts(speakers: list[Speaker], most: int | None = None) -> list[int]:
    """Return where to divide what writers said, as if the events of each part of a log were evenly spread.

    Parameters
    ----------
    speakers : list of Speaker
        The writers.
    most : int, optional
        About how many events a slice may hold; by default :data:`SLICE`.

    Returns
    -------
    list of int
        UTC ns, ascending; none where one slice holds everything.
    """
    pieces = [
        (*speaker.log.utc(np.array(part.times)).tolist(), int(part.codes[counted(SPOKEN)].sum()))
        for speaker in speakers
        for part in speaker.log.parts
        if part.has(*SPOKEN) and part.ranges & speaker.taken
    ]
    begin, end, count = np.array(pieces, np.int64).reshape(-1, 3).T
    return _cuts(begin, end, count, most or SLICE)


def slices(speakers: list[Speaker], cuts: list[int]) -> Iterator[list[Facts]]:
    """Yield what writers said, a slice at a time.

    Parameters
    ----------
    speakers : list of Speaker
        The writers.
    cuts : list of int
        From :func:`find_cuts`.

    Yields
    ------
    list of Facts
        Of the writers that said something in it; a writer's slices follow each other in the order of its sequences.
    """
    for before in (*cuts, None):
        found = [facts for speaker in speakers if (facts := speaker.facts(before)).said_something]
        if found:
            yield found
        for speaker in speakers:
            if speaker.finished:
                speaker.forget()


def _cuts(begin: Array, end: Array, count: Array, most: int) -> list[int]:
    total = int(count.sum())
    wanted = -(-total // most)
    if wanted < 2:
        return []
    lasts = np.maximum(end - begin, 1)
    cuts = []
    for number in range(1, wanted):
        low, high = int(begin.min()), int(end.max()) + 1
        while high - low > 1:
            middle = (low + high) // 2
            if (count * np.clip((middle - begin) / lasts, 0, 1)).sum() < total * number / wanted:
                low = middle
            else:
                high = middle
        cuts.append(high)
    return cuts

"""Bytes of a device that are no frame: kept up to a limit, and counted by the reason why they are none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braid_hpc.collectors.frames import Aside
    from braid_hpc.collectors.losses import Losses
    from braid_hpc.run.recorder import Run

__all__ = ["ASIDE_BYTES", "ASIDE_ROW", "KeptAside"]

#: Bytes that are no frame are kept up to here, for each collector; of what comes beyond, the place is.
ASIDE_BYTES = 1 << 30
#: Of one stretch that is no frame, so much goes into a row.
ASIDE_ROW = 16 << 10


@dataclass(slots=True)
class _Stretch:
    """Bytes without a frame, one reason long."""

    reason: str
    begin: int
    end: int
    unkept: int = 0


class KeptAside:
    """Keeps bytes that are no frame in the stream ``<name>_aside``.

    Parameters
    ----------
    run : Run
        Where.
    name : str
        Of the device.
    losses : Losses
        Where they are counted.
    limit : int
        How many bytes are kept at most.
    """

    def __init__(self, run: Run, name: str, *, losses: Losses, limit: int = ASIDE_BYTES) -> None:
        self._run, self._name, self._losses = run, name, losses
        self._left = limit
        self._stretch: _Stretch | None = None

    def keep(self, pieces: Iterable[Aside]) -> int:
        """Take what a decoder set aside.

        Parameters
        ----------
        pieces : iterable of Aside
            In order.

        Returns
        -------
        int
            How many bytes they have.
        """
        rows: list[tuple[int, str, bytes]] = []
        taken = 0
        for piece in pieces:
            stretch = self._stretch
            if stretch is None or not piece.again or stretch.end != piece.offset:
                self.end()
                self._stretch = stretch = _Stretch(piece.reason, piece.offset, piece.offset)
            stretch.end += len(piece.data)
            taken += len(piece.data)
            data = piece.data[: max(0, self._left)]
            self._left -= len(data)
            stretch.unkept += len(piece.data) - len(data)
            for start in range(0, len(data), ASIDE_ROW):
                rows.append((piece.offset + start, piece.reason, data[start : start + ASIDE_ROW]))
        if rows:
            offsets, reasons, data_of = zip(*rows, strict=True)
            stream = self._run.stream(f"{self._name}_aside", {"offset": "uint64", "reason": "text", "data": "bytes"})
            stream.extend({"offset": list(offsets), "reason": list(reasons), "data": list(data_of)})
        return taken

    def end(self) -> None:
        """Count what was set aside, now that it is known how far it went: by frames where it began as one."""
        stretch, self._stretch = self._stretch, None
        if stretch is None:
            return
        size = stretch.end - stretch.begin
        amount = 1 if stretch.reason in ("bad check sum", "cut off") else size
        self._losses.count(stretch.reason, amount, unit="byte", first=stretch.begin, last=stretch.end - 1)
        if stretch.unkept:
            first = stretch.end - stretch.unkept
            self._losses.count("not kept aside", stretch.unkept, unit="byte", first=first, last=stretch.end - 1)

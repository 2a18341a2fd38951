"""What an FPGA was configured with: a version of its firmware, and the records of what a device makes with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import os

    from braid_hpc.collectors.losses import Losses
    from braid_hpc.run.handles import Record
    from braid_hpc.run.recorder import Run

__all__ = ["Firmware", "Settings"]

#: Firmwares that nobody told of are told apart up to this number; a hostile device could send any.
UNKNOWN = 64


@dataclass(frozen=True, slots=True)
class Firmware:
    """A version of what an FPGA was configured with.

    Attributes
    ----------
    id : int
        As its frames carry it; 0 for a format without.
    name : str
        Of its record, of kind ``firmware``.
    path : path-like, optional
        The bitstream; its digest is the content of the record.
    digest : str, optional
        Where the bitstream is not at hand: ``"<algorithm>:<hex>"``. For a project of many files, see
        :func:`braid_hpc.collectors.hls.project_firmware`.
    model : Record, str, or list of these, optional
        What it was built from.
    registers : mapping
        Values of its registers: thresholds, masks.
    files : mapping
        Digests of the files of a project, by their paths; kept as the record's value.
    tags : mapping, optional
        More of it.
    """

    id: int = 0
    name: str = "firmware"
    path: str | os.PathLike[str] | None = None
    digest: str | None = None
    model: Any = None
    registers: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)

    def declare(self, run: Run) -> Record:
        """Declare it in a run; a collector does so by itself, and it is the same version then.

        Parameters
        ----------
        run : Run
            Where.

        Returns
        -------
        Record
            Its handle.
        """
        about: dict[str, Any] = {"path": self.path} if self.path is not None else {"digest": self.digest}
        if self.files:
            about["value"] = {"files": dict(self.files)}
        tags = {**self.tags, "firmware_id": self.id}
        return run.record("firmware", self.name, derived_from=self.model, tags=tags, **about)


class Settings:
    """The records of what a device makes: one for each firmware, each state of its registers, and each source.

    Parameters
    ----------
    run : Run
        Where they are declared.
    name : str
        Of the device.
    losses : Losses
        Where frames of a firmware are counted that nobody told of.
    layout : callable
        Returns the format of the frames, as plain values.
    begun : callable
        Called with each new record: what is appended from then on descends from it.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        *,
        losses: Losses,
        layout: Callable[[], dict[str, Any]],
        begun: Callable[[Record], None],
    ) -> None:
        self._run, self._name, self._losses = run, name, losses
        self._layout, self._begun = layout, begun
        #: Firmwares that the device may run, by the ids that frames carry.
        self.known: dict[int, Firmware] = {}
        #: What the bytes are; declared with the first record, if the program gave none.
        self.raw: Record | None = None
        self._registers: dict[str, Any] = {}
        self._records: dict[int, Record] = {}
        self._unknown: set[int] = set()

    def change(self, registers: Mapping[str, Any]) -> None:
        """Take other values of registers.

        Parameters
        ----------
        registers : mapping
            Name to value; others stay as they are.
        """
        self._registers.update(registers)
        self._records.clear()

    def begin_source(self, raw: Record) -> None:
        """Take another source.

        Parameters
        ----------
        raw : Record
            What its bytes are.
        """
        self.raw = raw
        self._records.clear()

    def of_frames(self, numbers: NDArray[Any], ids: NDArray[Any] | None) -> NDArray[np.uint64]:
        """Return the record of what each frame was made with.

        Parameters
        ----------
        numbers : ndarray, shape (frames,)
            Their numbers.
        ids : ndarray, shape (frames,), optional
            Their firmwares, where the format says.

        Returns
        -------
        ndarray of uint64, shape (frames,)
            Sequence number of the record.
        """
        if ids is None:
            return np.full(len(numbers), self._record(0).sequence, np.uint64)
        # Nearly always there is one, and sorting takes as long as a tenth of all that is done with a frame.
        same = bool((ids == ids[0]).all())
        distinct, inverse = (ids[:1], np.zeros(len(ids), np.intp)) if same else np.unique(ids, return_inverse=True)
        records = []
        for one in distinct.tolist():
            if one not in self.known:
                which = numbers[ids == one]
                place = {"first": int(which[0]), "last": int(which[-1])}
                self._losses.count("unknown firmware", len(which), unit="frame", note=f"{one}", **place)
            records.append(self._record(int(one)).sequence)
        return np.array(records, np.uint64)[inverse]

    def _record(self, number: int) -> Record:
        """Return the record of what a firmware makes with the registers as they are."""
        if number in self._records:
            return self._records[number]
        if number not in self.known and len(self._unknown | {number}) > UNKNOWN:
            number = -1
            if number in self._records:
                return self._records[number]
        run, name = self._run, self._name
        if self.raw is None:
            self.raw = run.data(f"{name}/raw")
        known = self.known.get(number)
        parents = [self.raw, self._firmware(number, known), run.fact(f"{name}/format", self._layout())]
        registers = {**(known.registers if known else {}), **self._registers}
        parents.append(run.fact(f"{name}/registers", registers))
        record = run.data(f"{name}/reduced", derived_from=parents, tags={"firmware_id": max(number, 0)})
        self._begun(record)
        self._records[number] = record
        return record

    def _firmware(self, number: int, known: Firmware | None) -> Record:
        if known is None:
            self._unknown.add(number)
            return self._run.record("firmware", f"{self._name}/unknown", tags={"firmware_id": max(number, 0)})
        return known.declare(self._run)

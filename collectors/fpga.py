"""What a data-reduction FPGA hands to its host: its words and counts as streams, and what it was set to as provenance.

The way of a frame: bytes come from a source (:mod:`braid_hpc.collectors.sources`), are found to be frames
(:mod:`braid_hpc.collectors.frames`, page ``fpga-format``), whose numbers are followed
(:mod:`braid_hpc.collectors.sequence`), and become rows here. What the device was set to is in
:mod:`braid_hpc.collectors.firmware`, what is no frame goes to :mod:`braid_hpc.collectors.aside`, and who decided what
is asked in :mod:`braid_hpc.collectors.decisions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braid_hpc.collectors.aside import ASIDE_BYTES, KeptAside
from braid_hpc.collectors.firmware import Firmware, Settings
from braid_hpc.collectors.frames import DEFAULT, FrameDecoder, FrameFormat, Frames
from braid_hpc.collectors.losses import Collecting
from braid_hpc.collectors.sequence import Missed, Order, Sequence
from braid_hpc.collectors.sources import Gap, Source, source_of
from braid_hpc.run.guard import passes, recording, shown, tell
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    import os

    from braid_hpc.run.handles import Record
    from braid_hpc.run.recorder import Run

__all__ = ["FPGACollector", "Firmware"]

#: Columns of the stream of frames beside the format's own fields.
_MORE = {"samples": "uint64", "offset": "uint64", "row": "int64", "reduced": "uint64", "order": "uint8"}


class FPGACollector(Collecting):
    """Records what a data-reduction FPGA sends.

    The words that it kept become the stream ``<name>_words``, a row each. The frames become ``<name>_frames``: their
    fields, ``samples`` (input samples that it covers), ``offset`` (byte in the raw source), ``row`` (of its first word
    in the stream of words, -1 if there is none), ``reduced`` (sequence number of the record below), ``order``
    (:class:`~braid_hpc.collectors.sequence.Order`). Bytes that are no frame become ``<name>_aside``. What is lost is
    counted, see :class:`~braid_hpc.collectors.losses.Losses`.

    Each setting of the device has a record ``data:<name>/reduced``, derived from the raw source, the firmware, the
    values of its registers and the format of its frames.

    Parameters
    ----------
    run : Run
        Where events go.
    name : str
        Of the device.
    firmware : Firmware or list of Firmware
        All that it may run. A frame of another one is recorded, and its firmware as unknown.
    layout : FrameFormat
        What its frames look like.
    raw : Record, optional
        What the bytes are, where the program has a record of it; else one is declared for each source.
    compiled : bool
        Whether frames are decoded by numba (the extra ``kernels``), which is imported then.
    reorder : int
        By how many frames one may come late before it counts as lost.
    aside_bytes : int
        How many bytes that are no frame are kept at most.
    row_edges : bool
        Whether it is also stated, as edges between rows, which frame each word came from. The column ``row`` says so
        too; the edges, of eight bytes each, are for ``store.row_lineage``.

    Raises
    ------
    InvalidInputError
        Only under ``BRAID_STRICT=1``: if there are two firmwares of one id, or something here is of the wrong type.

    Examples
    --------
    >>> import braid_hpc as braid
    >>> with braid.job("read-out", log_dir="logs") as run:
    ...     with FPGACollector(run, "adc0", firmware=Firmware(7, registers={"threshold": 40})) as fpga:
    ...         fpga.take(DEFAULT.encode({"channel": [3], "sample": [55]}, firmware=7, dropped=63))
    ...     fpga.counts["frames"], fpga.losses.total
    (1, 0)
    """

    def __init__(
        self,
        run: Run,
        name: str,
        *,
        firmware: Firmware | list[Firmware] | tuple[Firmware, ...] = (),
        layout: FrameFormat = DEFAULT,
        raw: Record | None = None,
        compiled: bool = False,
        reorder: int = 64,
        aside_bytes: int = ASIDE_BYTES,
        row_edges: bool = False,
    ) -> None:
        super().__init__(run, "fpga", source=name if isinstance(name, str) else shown(name))
        self.name = name if self._accepts(_check_name, name) else "fpga"
        self.layout = layout = layout if self._accepts(_check_layout, layout) else DEFAULT
        self._settings = Settings(
            run, self.name, losses=self._losses, layout=lambda: self.layout.describe(), begun=self._declare_streams
        )
        for one in firmware if isinstance(firmware, (list, tuple)) else [firmware] if firmware else []:
            if self._accepts(self._check_firmware, one):
                self._settings.known[one.id] = one
        #: Bytes taken, frames, words, and bytes that were no frame.
        self.counts = {"bytes": 0, "frames": 0, "words": 0, "aside": 0}
        self._settings.raw = raw
        self._given_raw = raw is not None
        self._aside = KeptAside(run, self.name, losses=self._losses, limit=aside_bytes)
        self._compiled = compiled
        if compiled and find_spec("numba") is None:
            tell(f"collector fpga of {self.name}: numba is not installed, so frames are decoded in Python")
            self._compiled = False
        self._decoder = FrameDecoder(layout, compiled=self._compiled)
        self._row_edges = bool(row_edges)
        self._reorder = reorder
        self._sequence = self._new_sequence()
        self._columns = {key: kind for key, kind in layout.word.items() if not key.startswith("_")}
        fields = {**layout.header, **layout.trailer}
        self._fields = {key: kind for key, kind in fields.items() if not key.startswith("_") and key != "check"}
        self._streams: tuple[Any, Any] | None = None
        self._rooms: dict[str, NDArray[Any]] = {}

    def _accepts(self, check: Callable[[Any], None], given: Any) -> bool:
        """Whether an argument can be used; one that cannot is counted."""
        try:
            check(given)
        except Exception as error:
            if passes(error):
                raise
            self._refused(type(self).__name__, error, shown(given))
            return False
        return True

    def _check_firmware(self, given: Any) -> None:
        if not isinstance(given, Firmware):
            raise InvalidInputError(f"firmware= takes Firmware, not {given!r}")
        if given.id in self._settings.known:
            raise InvalidInputError(f"two firmwares have the id {given.id!r}")

    # ------------------------------------------------------------------ what comes in

    @recording
    def take(self, data: Any) -> None:
        """Take the next bytes, cut anywhere.

        Parameters
        ----------
        data : bytes-like
            Any number of them.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if they are no bytes.
        """
        try:
            view = memoryview(data)
        except TypeError:
            raise InvalidInputError(f"an FPGA hands over bytes, not a {type(data).__name__}") from None
        if not view.c_contiguous:
            view = memoryview(view.tobytes())
        if self._closed:
            raise InvalidInputError(f"the collector of {self.name} is closed")
        self.counts["bytes"] += view.nbytes
        for frames in self._decoder.feed(view):
            self._keep(frames)
        self._losses.write()

    @recording
    def collect(self, source: Source | str | os.PathLike[str]) -> None:
        """Take all that a source gives.

        A source that fails is counted, with what it gave until then recorded.

        Parameters
        ----------
        source : Source or path-like
            One of :mod:`braid_hpc.collectors.sources`, or a file or FIFO by its path.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if it is no source.
        """
        bytes_of = source_of(source)
        if self._closed:
            raise InvalidInputError(f"the collector of {self.name} is closed")
        self._end_source()
        if not self._given_raw:
            self._settings.begin_source(self._run.data(f"{self.name}/raw", uri=bytes_of.uri))
        try:
            for part in bytes_of:
                if isinstance(part, Gap):
                    self._skip(part)
                else:
                    self.take(part)
        except Exception as error:
            if passes(error):
                raise
            self._losses.count("source failed", note=f"{bytes_of.uri}: {type(error).__name__}: {error}")
        self._end_source()
        self._losses.write()

    @recording
    def set(self, registers: Mapping[str, Any]) -> None:
        """Say that registers have other values now, for all frames that are complete after this.

        Parameters
        ----------
        registers : mapping
            Name to value; others stay as they are.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if that is no mapping.
        """
        if not isinstance(registers, Mapping):
            raise InvalidInputError(f"registers are a mapping of name to value, not a {type(registers).__name__}")
        self._settings.change(registers)

    def _skip(self, gap: Gap) -> None:
        self._losses.count(gap.reason, gap.count, unit=gap.unit if gap.unit == "byte" else "", first=None)
        if gap.unit == "byte":
            for frames in self._decoder.skip(gap.count):
                self._keep(frames)
            self._aside.end()

    def _end_source(self) -> None:
        """Decide on what is held; frame numbers and bytes of what follows begin anew."""
        for frames in self._decoder.finish():
            self._keep(frames)
        self._aside.end()
        self._count(self._sequence.finish())
        self._decoder = FrameDecoder(self.layout, compiled=self._compiled)
        self._sequence = self._new_sequence()

    def _finish(self) -> None:
        self._end_source()
        if self._settings.raw is not None:
            self._run.tag(self._settings.raw, f"{self.name}.bytes", self.counts["bytes"])

    def _new_sequence(self) -> Sequence:
        return Sequence(8 * np.dtype(self.layout.header["frame"]).itemsize, reorder=self._reorder)

    # ------------------------------------------------------------------ what is recorded

    def _keep(self, frames: Frames) -> None:
        self.counts["aside"] += self._aside.keep(frames.aside)
        if not len(frames.offsets):
            return
        numbers = frames.header["frame"]
        orders, missed = self._sequence.follow(numbers, frames.trailer["check"])
        self._count(missed)
        sizes = frames.header["words"].astype(np.int64)
        words = frames.words
        if (repeated := orders == Order.REPEATED).any():
            # The same frame once more: it is counted, and recorded once.
            words = words[np.repeat(~repeated, sizes)]
            keep = np.flatnonzero(~repeated)
            if not len(keep):
                return
            frames = frames._replace(
                offsets=frames.offsets[keep], header=frames.header[keep], trailer=frames.trailer[keep]
            )
            orders, sizes = orders[keep], sizes[keep]
        columns = {key: self._field(frames, key) for key in self._fields}
        self._check_counts(columns, sizes)
        reduced = self._settings.of_frames(columns["frame"], columns.get("firmware"))
        kept, counted = self._streams_of()
        rows = kept.extend({key: self._column(key, words[key]) for key in self._columns})
        first = np.cumsum(sizes) - sizes + rows.first
        first[(sizes == 0) | (rows.count != len(words))] = -1
        covered = _sum(columns.get("kept", sizes), columns.get("dropped", np.zeros(1, np.uint8)))
        places = counted.extend(
            columns
            | {"samples": covered, "offset": frames.offsets.astype(np.uint64), "row": first}
            | {"reduced": reduced, "order": orders}
        )
        if self._row_edges and rows.count == len(words) and places.count == len(sizes):
            self._run.derive_rows(rows, places, parent_index=np.repeat(np.arange(len(sizes)), sizes))
        self.counts["frames"] += len(sizes)
        self.counts["words"] += len(words)

    def _column(self, key: str, given: NDArray[Any]) -> NDArray[Any]:
        """Give a field of the words as a column, in memory that is used again for the next ones."""
        room = self._rooms.get(key)
        if room is None or len(room) < len(given):
            kind = given.dtype.newbyteorder("=")
            room = self._rooms[key] = np.empty(len(given) + len(given) // 4, kind)
        room[: len(given)] = given
        return room[: len(given)]

    def _field(self, frames: Frames, key: str) -> NDArray[Any]:
        return _native((frames.header if key in self.layout.header else frames.trailer)[key])

    def _check_counts(self, columns: dict[str, NDArray[Any]], sizes: NDArray[np.int64]) -> None:
        """Count overflows, and frames that say they kept fewer words than they carry."""
        numbers = columns["frame"]
        if "flags" in columns:
            for at in np.flatnonzero(columns["flags"]).tolist():
                number = int(numbers[at])
                self._losses.count(
                    "overflow", unit="frame", first=number, note=f"flags 0x{int(columns['flags'][at]):x}"
                )
        if "kept" in columns:
            kept = columns["kept"].astype(np.int64) if columns["kept"].dtype != np.uint64 else columns["kept"]
            for at in np.flatnonzero(kept != sizes.astype(kept.dtype)).tolist():
                number, missing = int(numbers[at]), int(kept[at]) - int(sizes[at])
                if missing > 0:
                    self._losses.count("kept words not sent", missing, unit="frame", first=number)
                else:
                    self._losses.count("more words than were kept", -missing, unit="frame", first=number)

    def _count(self, missed: list[Missed]) -> None:
        for reason, count, first, last in missed:
            self._losses.count(reason, count, unit="frame", first=first, last=last)

    def _declare_streams(self, record: Record) -> None:
        """Declare a version of each stream, so that the streams descend from all settings they were made with."""
        self._run.stream(f"{self.name}_words", self._columns, derived_from=record)
        self._run.stream(f"{self.name}_frames", {**self._fields, **_MORE}, derived_from=record)

    def _streams_of(self) -> tuple[Any, Any]:
        if self._streams is None:
            self._streams = (
                self._run.stream(f"{self.name}_words", self._columns),
                self._run.stream(f"{self.name}_frames", {**self._fields, **_MORE}),
            )
        return self._streams


def _check_name(given: Any) -> None:
    if not isinstance(given, str) or not given:
        raise InvalidInputError(f"a device's name is a text, not {given!r}")


def _check_layout(given: Any) -> None:
    if not isinstance(given, FrameFormat):
        raise InvalidInputError(f"layout= is a FrameFormat, not a {type(given).__name__}")


def _native(column: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))


def _sum(kept: NDArray[Any], dropped: NDArray[Any]) -> NDArray[np.uint64]:
    """Add what a device counted; a sum beyond 64 bits is the largest number of them."""
    one, other = kept.astype(np.uint64), dropped.astype(np.uint64)
    total = one + other
    return np.where(total < one, np.uint64(2**64 - 1), total)

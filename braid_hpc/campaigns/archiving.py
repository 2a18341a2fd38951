"""Files on disk and their copies on tape: which are to be archived, read back or made again, and which differ."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from braid_hpc.campaigns.campaign import Campaign, items_of
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.places import FileState

if TYPE_CHECKING:
    from braid_hpc.campaigns.items import Stage

__all__ = ["Decision", "copies", "decide"]

Array = np.ndarray[Any, Any]


class Decision(StrEnum):
    """What is to be done with a file."""

    NOTHING = "nothing"
    ARCHIVE = "archive"
    """To copy it from disk to tape."""
    RESTORE = "restore"
    """To read it back from tape."""
    RECREATE = "recreate"
    """To make it again: it is on neither, or what it came of is not to be relied on."""
    CONFLICT = "conflict"
    """Both are there and differ, and nothing says which of them is right."""


def decide(*, disk: bool, tape: bool, equal: bool | None = None, newer: str | None = None) -> Decision:
    """Decide what is to be done with a file.

    Parameters
    ----------
    disk, tape : bool
        Where it is.
    equal : bool or None
        Whether both copies are the same; None if that is not known.
    newer : str or None
        Which of two that differ was changed later, ``"disk"`` or ``"tape"``; None if that is not known.

    Returns
    -------
    Decision
        As the page on campaigns has it in a table.
    """
    if not disk:
        return Decision.RESTORE if tape else Decision.RECREATE
    if not tape or (equal is False and newer == "disk"):
        return Decision.ARCHIVE
    if equal is not False:
        return Decision.NOTHING
    return Decision.RESTORE if newer == "tape" else Decision.CONFLICT


def copies(campaign: Campaign, table: Any, *, disk: str = "disk", tape: str = "tape", **conditions: Any) -> Table:
    """Compare files on disk with their copies on tape, as far as the store knows; no file is looked at.

    Parameters
    ----------
    campaign : Campaign
        Of a store, at a moment.
    table : type or str
        A declared class, or the name of the table.
    disk, tape : str
        The two places.
    **conditions
        As for :meth:`~braid_hpc.campaigns.campaign.Campaign.missing`.

    Returns
    -------
    Table
        The columns of the table; ``disk`` and ``tape``, what was said last of the file there, null if nothing was;
        ``disk_size`` and ``tape_size`` (bytes), ``disk_modified`` and ``tape_modified`` (nanoseconds since 1970 UTC),
        ``disk_digest`` and ``tape_digest``;
        ``equal``, by their digests where both are known of one kind, else by their sizes, null if neither is;
        ``newer``; ``decision``, and ``why``.

    Raises
    ------
    NotFoundError
        If no such table was declared.
    InvalidInputError
        If rows of the table are no files, or a condition cannot be asked.
    """
    import pyarrow as pa

    stage = campaign._stage(table)
    rows = campaign.select(table, **conditions).rows(system=True).to_arrow()
    mine = items_of(stage, rows)
    keep = np.flatnonzero(campaign.of_state("total")[mine])
    mine = mine[keep]
    found = rows.drop_columns(["_run", "_rank", "_writer", "_row", "_time", "_snapshot"]).take(pa.array(keep))
    # Kept as arrays of all files of the table, of which those that were asked for are taken.
    said = {place: _said(campaign, stage, place) for place in (disk, tape)}
    here, there = ({name: each[mine - stage.first] for name, each in said[place].items()} for place in (disk, tape))
    stale = campaign.items.stale[mine]
    columns = _compared(here, there, stale)
    columns = {name: columns[name] for name in _COLUMNS}
    for name, values in columns.items():
        found = found.append_column(name, values)
    return Table(found)


_COLUMNS = (
    *("disk", "tape", "disk_size", "tape_size", "disk_modified", "tape_modified", "disk_digest", "tape_digest"),
    *("equal", "newer", "decision", "why"),
)


def _said(campaign: Campaign, stage: Stage, place: str) -> dict[str, Array]:
    """Return what was said last of each file of a table at a place."""
    import pyarrow as pa

    then = campaign._then
    rows = campaign.store._asked(
        "select h.writer as _writer, m.row as _row, unnest(arg_max({s: m.state, z: m.size, "
        "c: epoch_ns(m.modified), d: m.digest}, (m.time, m.writer, m.mark))) "
        "from mark_rows m join row_holders h using (holder) where h.stream = $stream and m.place = $place "
        f"and m.state < {int(FileState.INVALID)} and m.snapshot <= $at and epoch_ns(m.time) <= $as_of "
        "group by h.writer, m.row",
        {"stream": stage.name, "place": place, **then},
    ).to_arrow()
    count = stage.last - stage.first
    found: dict[str, Array] = {
        "state": np.zeros(count, np.uint8),
        "size": np.full(count, -1, np.int64),
        "modified": np.zeros(count, np.int64),
        "digest": np.full(count, None, object),
    }
    # As of an earlier time there may be a mark, and not yet the row.
    known = [
        row < stage.holders.get(writer, (0, 0))[1]
        for writer, row in zip(rows.column("_writer").to_pylist(), rows.column("_row").to_pylist(), strict=True)
    ]
    rows = rows.filter(pa.array(known, pa.bool_()))
    at = items_of(stage, rows) - stage.first
    for name, column, nothing in (("state", "s", 0), ("size", "z", -1), ("modified", "c", 0)):
        found[name][at] = rows.column(column).fill_null(nothing).to_numpy()
    found["digest"][at] = np.array(rows.column("d").to_pylist(), object)
    return found


def _compared(here: dict[str, Array], there: dict[str, Array], stale: Array) -> dict[str, Any]:
    import pyarrow as pa

    states = (FileState.EXISTS, FileState.GROWING)
    on_disk = np.isin(here["state"], states)
    on_tape = np.isin(there["state"], (FileState.EXISTS, FileState.ARCHIVED))
    both = on_disk & on_tape
    sized = both & (here["size"] >= 0) & (there["size"] >= 0)
    digested = both & np.array(list(map(_of_one_kind, here["digest"], there["digest"])), bool)
    equal = np.where(digested, here["digest"] == there["digest"], here["size"] == there["size"])
    known = sized | digested
    # Of other sizes they differ, whatever a digest says.
    equal &= ~sized | (here["size"] == there["size"])
    dated = both & known & ~equal & (here["modified"] > 0) & (there["modified"] > 0)
    newer = np.where(here["modified"] > there["modified"], "disk", "tape")
    dated &= here["modified"] != there["modified"]
    reasons = _reasons(here, there, on_disk, on_tape, known, equal, np.where(dated, newer, ""), stale)
    decisions, why = _decided(on_disk, on_tape, known, equal, np.where(dated, newer, ""), reasons)
    words = pa.array([None, *(state.word for state in FileState)][1:])
    columns: dict[str, Any] = {"decision": decisions, "why": why}
    for name, each in (("disk", here), ("tape", there)):
        said = pa.DictionaryArray.from_arrays(pa.array(each["state"].astype(np.int8)), words).dictionary_decode()
        columns[name] = pa.array(said.to_pylist(), pa.string(), mask=each["state"] == 0)
        columns[f"{name}_size"] = pa.array(each["size"], mask=each["size"] < 0)
        columns[f"{name}_digest"] = pa.array(each["digest"].tolist(), pa.string())
        columns[f"{name}_modified"] = pa.array(each["modified"], mask=each["modified"] == 0)
    columns["equal"] = pa.array(equal, mask=~(both & known))
    columns["newer"] = pa.array(newer.tolist(), pa.string(), mask=~dated)
    return columns


def _of_one_kind(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.partition(":")[0] == other.partition(":")[0]


#: Why, by number; the earlier ones go before the later ones.
_WHY = (
    "what it came of, or itself, is not to be relied on",
    "it is still being written",
    "it was removed when it had served",
    "it is on neither",
    "it is not on tape",
    "it is not on disk",
    "both are the same",
    "nothing of both is known that could be compared",
    "they differ, and the one on disk is newer",
    "they differ, and the one on tape is newer",
    "they differ, and nothing says which is newer",
)


def _reasons(
    here: dict[str, Array],
    there: dict[str, Array],
    on_disk: Array,
    on_tape: Array,
    known: Array,
    equal: Array,
    newer: Array,
    stale: Array,
) -> Array:
    return np.select(
        [
            stale,
            here["state"] == FileState.GROWING,
            (here["state"] == FileState.CONSUMED) & ~on_tape,
            ~on_disk & ~on_tape,
            ~on_tape,
            ~on_disk,
            known & equal,
            ~known,
            newer == "disk",
            newer == "tape",
        ],
        list(range(10)),
        10,
    )


#: The decisions that do not follow from where copies are and how they differ.
_APART = {0: Decision.RECREATE, 1: Decision.NOTHING, 2: Decision.NOTHING}


def _decided(
    on_disk: Array, on_tape: Array, known: Array, equal: Array, newer: Array, reasons: Array
) -> tuple[Any, Any]:
    import pyarrow as pa

    # There are few combinations, and each is decided once.
    same = np.where(known, np.where(equal, 2, 1), 0)
    late = np.select([newer == "disk", newer == "tape"], [1, 2], 0)
    numbers = (((on_disk * 2 + on_tape) * 3 + same) * 3 + late) * len(_WHY) + reasons
    once, at = np.unique(numbers, return_inverse=True)
    words = []
    for number in once.tolist():
        rest, reason = divmod(number, len(_WHY))
        rest, which = divmod(rest, 3)
        rest, is_same = divmod(rest, 3)
        words.append(
            _APART.get(reason)
            or decide(
                disk=rest >= 2,
                tape=rest % 2 == 1,
                equal=(None, False, True)[is_same],
                newer=(None, "disk", "tape")[which],
            )
        )
    decisions = pa.array([str(word) for word in words], pa.string()).take(pa.array(at))
    return decisions, pa.array(_WHY).take(pa.array(reasons))

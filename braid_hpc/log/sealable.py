"""What of a tail may be sealed: its rows that verify, as a table, whatever kind of tail it was.

Where the kernel could not write a page, it may have dropped it: then a mapping shows what the disk has, and a file
that is read again says the same. Such rows do not carry their checks, and must not get the sum of a batch.
"""

from __future__ import annotations

import os
from dataclasses import replace
from struct import Struct
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from braid_hpc.log.choice import compiled_module
from braid_hpc.log.layout import PAGE, ROW_BYTES, TailKind, check_word

if TYPE_CHECKING:
    from pathlib import Path

    from braid_hpc.log.layout import TailHeader

__all__ = ["frames_as_table", "remove", "verified"]

_FAILS = 2
#: Of a row: where its payload begins, how long it is, and its word.
_PLACE = Struct("<40xII8xQ")


def verified(view: memoryview, header: TailHeader, *, thorough: bool) -> tuple[memoryview, list[int]]:
    """Leave out the rows of a table that do not carry their check.

    Parameters
    ----------
    view : memoryview
        The whole tail, uint8.
    header : TailHeader
        Its header.
    thorough : bool
        Whether to look also where nothing compiled does it, which takes a microsecond a row: as long as recording.

    Returns
    -------
    view : memoryview
        The same, or a copy in which these rows are unpublished.
    failing : list of int
        Their sequences.
    """
    compiled = compiled_module()
    if compiled is not None:
        states = compiled.verify_rows(view, header.first, header.rows, header.heap_offset)
        slots = [slot for slot, state in enumerate(states) if state == _FAILS] if _FAILS in states else []
    else:
        slots = _failing(view, header) if thorough else []
    if not slots:
        return view, []
    image = bytearray(view)
    for slot in slots:
        at = PAGE + slot * ROW_BYTES
        image[at + ROW_BYTES - 8 : at + ROW_BYTES] = bytes(8)
    return memoryview(image), [header.first + slot for slot in slots]


def _failing(view: memoryview, header: TailHeader) -> list[int]:
    failing = []
    table = bytes(view[PAGE : PAGE + header.rows * ROW_BYTES])
    for slot, (start, length, word) in enumerate(_PLACE.iter_unpack(table)):
        if word:
            at, heap = slot * ROW_BYTES, header.heap_offset + start
            digest = xxh3_64_intdigest(table[at : at + 56] + bytes(view[heap : heap + length]))
            if word != check_word(header.first + slot, digest):
                failing.append(slot)
    return failing


def frames_as_table(path: Path, header: TailHeader) -> tuple[memoryview, TailHeader]:
    """Read a tail of frames again, as far as its frames verify, and lay its rows out as a mapped tail does.

    Parameters
    ----------
    path : Path
        The file.
    header : TailHeader
        Its header.

    Returns
    -------
    view : memoryview
        The whole of a mapped tail with these rows; the words are those of the frames.
    header : TailHeader
        The header of that one.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    data = path.read_bytes()
    table = bytearray(header.rows * ROW_BYTES)
    heap = bytearray()
    at = PAGE
    while at + ROW_BYTES <= len(data):
        row = data[at : at + ROW_BYTES]
        slot, length = int.from_bytes(row[40:44], "little"), int.from_bytes(row[44:48], "little")
        at += ROW_BYTES
        payload = data[at : at + length]
        word = int.from_bytes(row[56:], "little")
        if slot >= header.rows or word != check_word(header.first + slot, xxh3_64_intdigest(row[:56] + payload)):
            break
        place = slot * ROW_BYTES
        table[place : place + ROW_BYTES] = row[:40] + len(heap).to_bytes(4, "little") + row[44:]
        heap += payload
        at += length
    heap_offset = PAGE + -(-len(table) // PAGE) * PAGE
    image = bytearray(heap_offset + len(heap))
    image[PAGE : PAGE + len(table)] = table
    image[heap_offset:] = heap
    laid = replace(header, heap_offset=heap_offset, heap_bytes=len(heap), kind=TailKind.MAPPED)
    return memoryview(image), laid


def remove(path: Path) -> bool:
    """Remove a file that is not needed any more.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        Whether it is gone; if it is not, it does no harm.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True

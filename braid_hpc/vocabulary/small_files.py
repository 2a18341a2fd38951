"""Small files whose bytes go into the log: how they are recorded."""

from __future__ import annotations

__all__ = ["ATTACHED", "ATTACHED_COLUMNS", "LIMIT"]

#: The stream with attached files, a row for each time that one was attached.
ATTACHED = "braid.attached"

ATTACHED_COLUMNS = {
    "name": "text",
    #: Where it was, absolute.
    "path": "text",
    #: ``blake3:<hex>`` of its bytes.
    "digest": "text",
    "size": "int64",
    #: Sequence of the declaration of its record.
    "record": "int64",
    #: What `data` is: ``zlib``, ``plain``, ``before`` (an earlier row of this writer has these bytes), or ``left``
    #: (they were too many, and stay where they are).
    "form": "text",
    "data": "bytes",
}

#: Bytes of the largest file whose bytes are recorded, unless the caller says otherwise.
LIMIT = 1 << 20

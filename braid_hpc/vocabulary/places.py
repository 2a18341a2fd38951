"""What is known of the file that a row of a declared table stands for, at a place; and how it is recorded."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ARCHIVES", "CLAIMS", "CLAIM_COLUMNS", "MARKS", "MARK_COLUMNS", "FileState"]

#: The stream with what is said of files; a row for each file, place and moment.
MARKS = "braid.marks"

MARK_COLUMNS = {
    "table": "text",
    "name": "text",
    "place": "text",
    "state": "uint8",
    #: -1 where it was not said.
    "size": "int64",
    #: 0 where it was not said.
    "modified": "timestamp",
    "digest": "text",
    "cause": "text",
}

#: Places of which a file has to be brought back before it can be read.
ARCHIVES = ("tape", "archive")


class FileState(IntEnum):
    """What is said of a file at a place, or of a row."""

    #: Declared, and nothing more is known.
    EXPECTED = 0
    EXISTS = 1
    #: It was there, and was removed when it had served.
    CONSUMED = 2
    #: It was looked for, and is not there.
    MISSING = 3
    #: It is there, and not what it should be.
    CORRUPT = 4
    #: It is there, on what has to be read back first.
    ARCHIVED = 5
    #: It is there, and still being written.
    GROWING = 6
    #: The row is not to be relied on, nor is what came of it.
    INVALID = 7
    #: That is taken back.
    VALID = 8

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()


#: The stream with what is claimed; a claim ends at a time, or by a later row with the time 0.
CLAIMS = "braid.claims"

CLAIM_COLUMNS = {"claim": "text", "table": "text", "name": "text", "until": "timestamp", "who": "text"}

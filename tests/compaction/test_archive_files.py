"""Rows as they stand in an archive."""

from __future__ import annotations

import numpy as np
import pytest

from braid_hpc.compaction.archive_files import EVENTS, events_batch
from braid_hpc.reading.events import COLUMNS, Events


@pytest.mark.parametrize(
    ("start", "length", "payloads"),
    [
        ([0, 900], [3, 0], [b"abc", b""]),
        ([900, 0], [0, 3], [b"", b"abc"]),
        ([900], [0], [b""]),
        ([2, 0], [1, 2], [b"c", b"ab"]),
    ],
)
def test_rows_without_a_payload_may_point_behind_a_cut(
    start: list[int], length: list[int], payloads: list[bytes]
) -> None:
    """A file that was cut off holds whole rows whose empty payload would lie behind its end."""
    columns = {name: np.zeros(len(start), EVENTS.field(name).type.to_pandas_dtype()) for name in COLUMNS}
    batch = events_batch("ab" * 16, Events(columns, b"abc", np.array(start, np.int64), np.array(length, np.int64)))
    batch.validate(full=True)
    assert batch.column("payload").to_pylist() == payloads

"""Bytes that are no frame are kept up to a limit, and counted by how far they went."""

from __future__ import annotations

from pathlib import Path

import braid_hpc as braid
from braid_hpc.collectors.aside import ASIDE_ROW, KeptAside
from braid_hpc.collectors.frames import Aside
from braid_hpc.collectors.losses import Losses


def test_pieces_that_go_on_are_one_loss(tmp_path: Path) -> None:
    """A stretch that came in parts is counted once, at its end; one with another reason is its own."""
    with braid.job("read-out", log_dir=tmp_path / "logs") as run:
        losses = Losses(run, "fpga", source="adc")
        kept = KeptAside(run, "adc", losses=losses, limit=ASIDE_ROW + 10)
        assert kept.keep([Aside("bad check sum", 5, b"a" * 20, False)]) == 20
        assert kept.keep([Aside("bad check sum", 25, b"b" * 20, True), Aside("no frame", 45, b"c" * 7, False)]) == 27
        assert losses.counts == {"bad check sum": 1}
        assert kept.keep([Aside("no frame", 52, b"d" * 2 * ASIDE_ROW, True)]) == 2 * ASIDE_ROW
        kept.end()
        kept.end()
        assert losses.counts == {"bad check sum": 1, "no frame": 7 + 2 * ASIDE_ROW, "not kept aside": ASIDE_ROW + 37}
        losses.write()
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        rows = store.sql("select * from stream.adc_aside order by _row").to_pylist()
        ranges = store.sql("select reason, first, last from stream.collector_losses order by _row").to_pylist()
    assert b"".join(row["data"] for row in rows) == b"a" * 20 + b"b" * 20 + b"c" * 7 + b"d" * (ASIDE_ROW - 37)
    assert [row["offset"] for row in rows] == [5, 25, 45, 52]
    assert [tuple(row.values()) for row in ranges] == [
        ("bad check sum", 5, 44),
        ("no frame", 45, 51 + 2 * ASIDE_ROW),
        ("not kept aside", 52 + ASIDE_ROW - 37, 51 + 2 * ASIDE_ROW),
    ]

"""What collectors could not take: counted, told once, kept with ranges in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.collectors.losses import COLUMNS, RANGES, REASONS, STREAM, Collecting, Losses
from braid_hpc.run.guard import recording


def rows_of(folder: Path) -> list[dict[str, Any]]:
    braid.compact(folder / "logs", folder / "prov.duckdb")
    with braid.open(folder / "prov.duckdb") as store:
        names = ", ".join(COLUMNS)
        return store.sql(f"select {names} from stream.{STREAM} order by _row").to_pylist()


def test_ranges_that_touch_are_one_row(tmp_path: Path) -> None:
    with braid.job("losses") as run:
        losses = Losses(run, "fpga", source="board/0")
        assert not losses
        losses.count("lost", 2, unit="frame", first=3, last=4, note="first")
        losses.count("lost", 1, unit="frame", first=5)
        losses.count("lost", 1, unit="frame", first=9)
        losses.count("bad check", 1, unit="frame", first=9)
        losses.count("late")
        losses.count("late", 4)
        losses.count("nothing", 0)
        assert losses
        assert losses.counts == {"lost": 4, "bad check": 1, "late": 5}
        assert losses.total == 10
        losses.write()
        losses.write()
    found = [tuple(row.values())[2:] for row in rows_of(tmp_path)]
    assert found == [
        ("lost", "frame", 3, 3, 5, 1, "first"),
        ("lost", "frame", 1, 9, 9, 1, ""),
        ("bad check", "frame", 1, 9, 9, 1, ""),
        ("late", "", 5, None, None, 1, ""),
    ]


def test_many_ranges_and_reasons_take_bounded_rows(tmp_path: Path) -> None:
    """What comes after the limits is counted all the same, and its place is within the last range."""
    with braid.job("losses") as run:
        losses = Losses(run, "fpga")
        for at in range(1000):
            losses.count("lost", unit="byte", first=10 * at, last=10 * at + 3)
        for number in range(2 * REASONS):
            losses.count(f"reason {number}")
        losses.write()
    rows = rows_of(tmp_path)
    lost = [row for row in rows if row["reason"] == "lost"]
    assert len(lost) == RANGES
    assert sum(row["count"] for row in lost) == 1000
    assert sum(row["ranges"] for row in lost) == 1000
    assert (lost[-1]["first"], lost[-1]["last"]) == (10 * (RANGES - 1), 9993)
    assert len({row["reason"] for row in rows}) == REASONS + 1
    assert sum(row["count"] for row in rows) == losses.total == 1000 + 2 * REASONS


def test_numbers_of_any_size_are_kept_as_near_as_they_can_be(tmp_path: Path) -> None:
    with braid.job("losses") as run:
        losses = Losses(run, "fpga")
        losses.count("odd", 2**70, unit="frame", first=-3, last=2**80)
        losses.write()
    (row,) = rows_of(tmp_path)
    assert (row["count"], row["first"], row["last"]) == (2**64 - 1, 0, 2**64 - 1)


def test_the_first_loss_is_told_and_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    with braid.job("losses") as run:
        losses = Losses(run, "fpga", source="board/0")
        losses.count("lost", unit="frame", first=7, note="why")
        losses.count("bad check", unit="frame", first=8)
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("braid: ")]
    assert len(told) == 1
    assert told[0].startswith("braid: collector fpga of board/0: lost at frame 7: why (counted")


class Failing(Collecting):
    """Refuses what is no number, and cannot be closed."""

    @recording
    def take(self, thing: Any) -> None:
        int(thing)

    def _finish(self) -> None:
        raise OSError("the device is gone")


def test_what_a_collector_raises_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also at its end, which comes once."""
    monkeypatch.setenv("BRAID_STRICT", "0")
    with braid.job("losses") as run, Failing(run, "failing", source="it") as collector:
        collector.take("x")
        collector.take(7)
        assert collector.losses.counts == {"refused": 1}
        collector.close()
        assert collector.closed
        assert collector.losses.counts == {"refused": 2}
        collector.close()
    assert collector.losses.total == 2
    assert repr(collector) == "<Failing of 'it': 2 lost>"


def test_under_strict_it_raises() -> None:
    with braid.job("losses") as run:
        collector = Failing(run, "failing")
        with pytest.raises(ValueError, match="invalid literal"):
            collector.take("x")
        with pytest.raises(OSError, match="gone"):
            collector.close()

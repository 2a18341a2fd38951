"""Each setting of a device has one record, however its frames are mixed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.collectors.firmware import UNKNOWN, Firmware, Settings
from braid_hpc.collectors.losses import Losses


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    with braid.job("read-out", log_dir=tmp_path / "logs") as run:
        yield run


def settings_of(run: Any, begun: list[Any]) -> Settings:
    losses = Losses(run, "fpga", source="adc")
    made = Settings(run, "adc", losses=losses, layout=lambda: {"magic": "00"}, begun=begun.append)
    made.known = {number: Firmware(number, digest=f"sha256:0{number}") for number in (1, 2)}
    return made


def test_frames_of_one_setting_share_a_record(run: Any) -> None:
    begun: list[Any] = []
    settings = settings_of(run, begun)
    numbers = np.arange(5, dtype="u8")
    mixed = settings.of_frames(numbers, np.array([1, 2, 1, 1, 2], "u4"))
    assert [record.sequence for record in begun] == [mixed[0], mixed[1]]
    assert mixed.tolist() == [mixed[0], mixed[1], mixed[0], mixed[0], mixed[1]]
    assert settings.of_frames(numbers[:2], np.array([2, 2], "u4")).tolist() == [mixed[1]] * 2
    settings.change({"threshold": 3})
    changed = settings.of_frames(numbers[:1], np.array([2], "u4"))
    settings.begin_source(run.data("other"))
    other = settings.of_frames(numbers[:1], np.array([2], "u4"))
    assert len({int(mixed[1]), int(changed[0]), int(other[0])}) == 3
    assert len(begun) == 4
    assert settings.of_frames(numbers[:2], None).dtype == np.uint64


def test_firmwares_made_up_are_bounded(run: Any) -> None:
    """Whatever ids a hostile device sends: a few records, and one for all others."""
    begun: list[Any] = []
    settings = settings_of(run, begun)
    ids = np.arange(100, 100 + 3 * UNKNOWN, dtype="u4")
    found = settings.of_frames(np.arange(len(ids), dtype="u8"), ids)
    assert len(begun) == UNKNOWN + 1
    assert len(set(found[UNKNOWN:].tolist())) == 1
    assert settings._losses.counts == {"unknown firmware": 3 * UNKNOWN}

"""Settings of devices: by descriptor, row and scan, and the versions that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from braid_hpc.scans.configuration import SettingChange
from braid_hpc.vocabulary.errors import NotFoundError
from tests.collectors.documents.instrument import Pair, descriptor, event, key, start, stored


def settings(**data: Any) -> dict[str, Any]:
    return {"cfg": {"data": data, "timestamps": dict.fromkeys(data, 1.0), "data_keys": {k: key() for k in data}}}


def run(uid: str, *gains: int) -> list[Pair]:
    first = start(uid=uid, time=float(len(uid)))
    found = [first]
    for n, gain in enumerate(gains, 1):
        of = descriptor(first, {"det": key()}, configuration=settings(gain=gain, mode="fast"), time=2.0 + n)
        found += [of, event(of, n, {"det": n / 2})]
    return found


def test_a_row_knows_what_its_device_was_set_to(tmp_path: Path) -> None:
    """A device that is configured within a run has two versions, and each row one of them."""
    with stored(tmp_path, [*run("a", 10, 20), *run("bb", 20), *run("ccc", 20, 20)]) as store:
        scan = store.scan("a")
        assert list(scan.config) == ["cfg"]
        assert [(each.data["gain"], each.ref) for each in scan.config["cfg"]] == [
            (10, "config:cfg@1"),
            (20, "config:cfg@2"),
        ]
        rows = scan.table(columns=["det", "descriptor"]).to_pylist()
        assert [(row["det"], scan.config.of(row["descriptor"])["cfg"].data["gain"]) for row in rows] == [
            (0.5, 10),
            (1.0, 20),
        ]
        second = scan.config["cfg"][1].descriptor
        assert scan.config.changes() == [SettingChange("cfg", "gain", 10, 20, second)]
        other = store.scan("bb").config
        assert other["cfg"][0].ref == "config:cfg@2"
        assert scan.config.diff(other) == []
        assert [entry.ref for entry in scan.config.history("cfg")] == ["config:cfg@1", "config:cfg@2"]
        assert store.scan("ccc").config.changes() == []


def test_scans_are_compared(tmp_path: Path) -> None:
    with stored(tmp_path, [*run("a", 10), *run("bb", 20)]) as store:
        one, other = store.scan("a").config, store.scan("bb").config
        assert one.diff(other) == [SettingChange("cfg", "gain", 10, 20)]
        assert other.diff(one) == [SettingChange("cfg", "gain", 20, 10)]
        with pytest.raises(NotFoundError, match="no descriptor has settings of 'det'; there are: cfg"):
            one["det"]
        assert "det" not in one
        assert "cfg" in one

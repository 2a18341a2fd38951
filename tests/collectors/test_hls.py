"""Projects of firmware, and how far their emulated arithmetic is from a model; hls4ml itself is in tests/hardware."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.collectors.fpga import FPGACollector
from braid_hpc.collectors.frames import DEFAULT
from braid_hpc.collectors.hls import EmulationCollector, project_files, project_firmware
from braid_hpc.collectors.testing import CollectorContract
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "firmware" / "weights").mkdir(parents=True)
    (folder / "firmware" / "top.cpp").write_text("void top() {}")
    (folder / "firmware" / "weights" / "w2.h").write_text("1, 2")
    (folder / "firmware" / "top.so").write_bytes(b"compiled here")
    return folder


class TestEmulationCollector(CollectorContract):
    module = "braid_hpc.collectors.hls"

    def make(self, run: Any) -> Any:
        return EmulationCollector(run, "net", firmware=run.record("firmware", "net", digest="sha256:01"), within=0.1)

    def feed(self, collector: Any, items: int) -> None:
        collector.compare(np.zeros((items, 2)), np.full((items, 2), 0.05))

    def spoil(self, collector: Any) -> None:
        collector.compare([0.0], [math.nan])

    def misuse(self, collector: Any) -> None:
        collector.compare([1.0, 2.0], [1.0])

    def recorded(self, store: Any) -> int:
        return len(store.sql("select distinct sample from stream.net_emulated where isfinite(emulated)"))


def test_a_project_is_known_by_all_its_files(project: Path) -> None:
    """What was compiled of it is not of it; a name or a byte that changes makes another one."""
    assert list(project_files(project)) == ["firmware/top.cpp", "firmware/weights/w2.h"]
    first = project_firmware(project)
    (project / "firmware" / "top.so").write_bytes(b"compiled again")
    assert project_firmware(project).digest == first.digest
    (project / "hls4ml_config.yml").write_text("Stamp: 1")
    assert project_firmware(project).digest == first.digest
    assert "hls4ml_config.yml" in project_firmware(project).files
    (project / "firmware" / "weights" / "w2.h").write_text("1, 3")
    second = project_firmware(project)
    assert second.digest != first.digest
    (project / "firmware" / "top.cpp").rename(project / "firmware" / "other.cpp")
    assert project_firmware(project).digest not in (first.digest, second.digest)
    with pytest.raises(NotFoundError, match="no project"):
        project_firmware(project / "nothing")


def test_frames_and_comparison_are_of_one_firmware(project: Path, tmp_path: Path) -> None:
    """Declared by hand and by the collector it is one version, with the digests of its files, from its model."""
    with braid.job("hls") as run:
        model = run.model("net", digest="sha256:02")
        firmware = project_firmware(project, 7, name="net", model=model, registers={"threshold": 3})
        with EmulationCollector(run, "net", firmware=firmware.declare(run), within=0.1) as emulation:
            emulation.compare([1.0, 2.0], [1.05, 2.0])
            emulation.compare([[1.0], [2.0]], [1.0, 1.5])
            assert emulation.largest == 0.5
        with FPGACollector(run, "adc", firmware=firmware) as fpga:
            fpga.take(DEFAULT.encode({"channel": [1], "sample": [2]}, firmware=7))
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        (row,) = store.sql("select digest, value from versions where kind = 'firmware'").to_pylist()
        assert row["digest"] == firmware.digest
        assert json.loads(row["value"])["files"] == firmware.files
        reached = {node.ref for node in store.impact("model:net", kinds="stream").nodes[1:]}
        assert reached == {"stream:net_emulated@1", "stream:adc_words@1", "stream:adc_frames@1"}
        (test,) = store.tests("firmware:net")
        assert (test.name, test.passed, test.value) == ("net emulated within 0.1", False, 0.5)
        assert store.table("net_emulated")["sample"] == [0, 1, 2, 3]


def test_what_is_not_finite_does_not_pass(tmp_path: Path) -> None:
    with braid.job("hls") as run:
        firmware = run.record("firmware", "net", digest="sha256:01")
        with EmulationCollector(run, "net", firmware=firmware, within=0.1) as emulation:
            emulation.compare([], [])
            emulation.compare([[1.0, math.inf], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]])
            assert emulation.losses.counts == {"not finite": 1}
            for wrong in (("a", "b"), (1.0, 1.0), ([[1.0]], [1.0, 2.0])):
                with pytest.raises(InvalidInputError):
                    emulation.compare(*wrong)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert [test.passed for test in store.tests("firmware:net")] == [False]
        assert store.table("net_emulated")["model"] == [1.0, math.inf, 1.0, 1.0]

"""A trained model becomes a project of hls4ml, a record of its firmware, and emulated predictions near its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.collectors.hls import STAMPED, EmulationCollector, project_firmware

hls4ml: Any = pytest.importorskip("hls4ml", reason="hls4ml is installed by `make test-hls` only")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # They are of hls4ml and what it imports.
    pytest.mark.filterwarnings("ignore"),
]


def trained() -> tuple[Any, Any, Any]:
    """A small network that tells pulses from noise, and what it was trained on."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras  # type: ignore[import-not-found, unused-ignore]

    keras.utils.set_random_seed(1)
    chosen = np.random.default_rng(1)
    labels = chosen.integers(0, 2, 2000).astype(np.float32)
    shape = np.exp(-0.5 * (np.arange(8) - 3.5) ** 2).astype(np.float32)
    waves = chosen.normal(0, 0.3, (2000, 8)).astype(np.float32) + labels[:, None] * shape
    network = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(6, activation="relu"), keras.layers.Dense(1, name="score")]
    )
    network.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    network.fit(waves, labels, epochs=10, batch_size=100, verbose=0)
    return network, waves, labels


def test_from_a_trained_model_to_what_its_firmware_predicts(tmp_path: Path) -> None:
    network, waves, labels = trained()
    with braid.job("hls4ml") as run:
        training = run.array("waves", waves)
        model = run.model(
            "pulses",
            state={weight.path: np.asarray(weight) for weight in network.weights},
            derived_from=[training, run.array("labels", labels)],
        )
        config = hls4ml.utils.config_from_keras_model(
            network, granularity="name", backend="Vitis", default_precision="fixed<16,6>"
        )
        project = hls4ml.converters.convert_from_keras_model(
            network, hls_config=config, output_dir=str(tmp_path / "project"), project_name="pulses", backend="Vitis"
        )
        project.write()
        firmware = project_firmware(tmp_path / "project", 7, name="pulses", model=model)
        assert {"firmware/pulses.cpp", "firmware/parameters.h", "firmware/defines.h"} <= firmware.files.keys()
        project.compile()
        # Compiling writes it once more, with another stamp, and what g++ makes of it is no part of it.
        again = project_firmware(tmp_path / "project", 7)
        assert again.digest == firmware.digest
        assert again.files.keys() == firmware.files.keys()
        changed = {path for path, digest in again.files.items() if digest != firmware.files[path]}
        assert "hls4ml_config.yml" in changed <= set(STAMPED)
        handle = firmware.declare(run)
        with EmulationCollector(run, "pulses", firmware=handle, within=0.05, inputs=training) as emulation:
            emulation.compare(np.asarray(network.predict(waves, verbose=0)), project.predict(waves))
        assert not emulation.losses
        # Of sixteen bits ten are behind the point: not equal, and near.
        assert 0 < emulation.largest < 0.05
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        (test,) = store.tests("firmware:pulses")
        assert test.passed
        fed = {node.ref for node in store.lineage("stream:pulses_emulated").nodes}
        assert {"firmware:pulses@1", "model:pulses@1", "data:waves@1", "data:labels@1"} <= fed
        rows = store.table("pulses_emulated")
        assert len(rows) == 2000
        right = (np.array(rows["emulated"]) > 0.5) == (labels > 0.5)
        assert right.mean() > 0.9

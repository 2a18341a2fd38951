"""SIGKILL after run.model has returned: the state comes back, every one of them, bit for bit."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import open_store
from tests.faults.campaign import seeds, trial
from tests.faults.oracle import Counter, fork_and_kill
from tests.recorded_arrays import same

FROZEN = np.arange(20_000.0)


def state_of(number: int) -> dict[str, Any]:
    """Give a state with an array that never changes, one in the tail and one in the file that do."""
    return {"frozen": FROZEN, "small": np.full(9, number, "f4"), "layer": {"large": np.full(5_000, number)}}


def record_forever(log_dir: Path, counter: Counter) -> None:
    """Record versions of two models until something ends the process."""
    run = braid.start("kill", log_dir=log_dir)
    number = 0
    while True:
        run.model("net", state=state_of(number), derived_from="net" if number else None)
        run.model("bytes", state=bytes([number % 256]) * 20_000, derived_from="bytes" if number else None)
        number += 1
        counter.set(number)


@pytest.mark.timeout(40_000)
def test_every_state_whose_call_had_returned_comes_back(tmp_path: Path) -> None:
    for seed in seeds(100, 2):
        with trial(seed) as random:
            folder = tmp_path / str(seed)
            counted = fork_and_kill(partial(record_forever, folder / "logs"), random.uniform(0, 0.02))
            compact(folder / "logs", folder / "prov.duckdb")
            with open_store(folder / "prov.duckdb") as store:
                versions = len(store.history("model:net"))
                assert counted <= versions <= counted + 1
                for number in range(versions):
                    back, expected = store.model(f"net@{number + 1}").state(), state_of(number)
                    assert same(back["frozen"], FROZEN)
                    assert same(back["small"], expected["small"])
                    assert same(back["layer.large"], expected["layer"]["large"])
                for number in range(counted):
                    assert store.model(f"bytes@{number + 1}").data() == bytes([number % 256]) * 20_000
                assert len(store.sql("select distinct digest from tensors where tensor = 'frozen'")) == 1
            shutil.rmtree(folder)

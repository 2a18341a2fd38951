"""The digest of what was loaded is compared with that of the version that was named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.collectors.inference import record_inference
from braid_hpc.collectors.weights import content_of_weights
from braid_hpc.vocabulary.errors import InvalidInputError

WEIGHTS: dict[str, Any] = {"w": np.arange(4.0), "layer": {"b": np.zeros(2, "f4")}}


def infer(run: Any, name: str = "net", **about: Any) -> Any:
    recorded = record_inference(run, lambda batch: batch, name=name, **about)
    recorded(np.ones(1))
    recorded.close()
    return recorded


def answers(folder: Path) -> Any:
    braid.compact(folder / "logs", folder / "prov.duckdb")
    return braid.open(folder / "prov.duckdb")


def test_equal_weights_are_the_version_itself(tmp_path: Path) -> None:
    with braid.job("infer", log_dir=tmp_path / "logs") as run:
        model = run.model("net", state=WEIGHTS, derived_from=run.data("training", digest="sha256:01"))
        recorded = infer(run, model=model, weights={"w": WEIGHTS["w"].copy(), "layer.b": np.zeros(2, "f4")})
    assert recorded.loaded.verdict == "checked"
    with answers(tmp_path) as store:
        fed = {node.ref for node in store.lineage("stream:net_outputs").nodes}
        assert {"model:net@1", "data:training@1"} <= fed
        assert len(store.sql("select * from versions where kind = 'model'")) == 1


def test_other_weights_are_a_version_of_their_own_that_descends_from_nothing(tmp_path: Path) -> None:
    with braid.job("infer", log_dir=tmp_path / "logs") as run:
        model = run.model("net", state=WEIGHTS, derived_from=run.data("training", digest="sha256:01"))
        recorded = infer(run, model=model, weights={"w": np.arange(4.0) + 1e-9})
    assert recorded.loaded.verdict == "mismatch"
    assert recorded.losses.counts == {"weights of another version": 1}
    with answers(tmp_path) as store:
        fed = {node.ref for node in store.lineage("stream:net_outputs").nodes}
        assert "model:net@2" in fed
        assert not {"model:net@1", "data:training@1"} & fed
        (test,) = store.tests("model:net@2")
        assert test.passed is False


def test_a_version_of_another_run_is_named_by_its_digest(tmp_path: Path) -> None:
    """Without the digest the weights are a version of their own, which descends from the one that was named."""
    with braid.job("train", log_dir=tmp_path / "logs") as run:
        run.model("net", state=WEIGHTS, derived_from=run.data("training", digest="sha256:01"))
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    digest = content_of_weights(WEIGHTS).digest
    with braid.job("infer", log_dir=tmp_path / "logs") as run:
        assert infer(run, model="model:net", weights=WEIGHTS, digest=digest).loaded.verdict == "checked"
        assert infer(run, model="model:net@1", weights=WEIGHTS, name="other").loaded.verdict == "unchecked"
    with answers(tmp_path) as store:
        for stream, version in (("net_outputs", "model:net@1"), ("other_outputs", "model:net@2")):
            assert {"data:training@1", version} <= {node.ref for node in store.lineage(f"stream:{stream}").nodes}
        # It was recorded with that digest, so that it can be compared afterwards.
        assert store.sql("select digest from versions where kind = 'model'")["digest"] == [digest, digest]


def test_weights_are_a_mapping_a_file_or_bytes(tmp_path: Path) -> None:
    """With the digest that a model with such a state has."""
    (tmp_path / "net.bin").write_bytes(b"weights")
    with braid.job("infer", log_dir=tmp_path / "logs") as run:
        for state in (WEIGHTS, b"weights", tmp_path / "net.bin"):
            assert run.digest_of(run.model("net", state=state)) == content_of_weights(state).digest
    with pytest.raises(InvalidInputError, match="not a list"):
        content_of_weights([1, 2])


def test_a_file_that_is_gone_costs_the_check_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_STRICT", "0")
    with braid.job("infer", log_dir=tmp_path / "logs") as run:
        recorded = infer(run, model="model:net", weights=tmp_path / "gone.bin")
        assert recorded.losses.counts == {"refused": 1}
        assert recorded.loaded.verdict == "not looked at"


def test_weights_in_a_fifo_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAID_STRICT", raising=False)
    os.mkfifo(tmp_path / "fifo")
    with braid.job("infer", log_dir=tmp_path / "logs") as run:
        assert infer(run, model=run.model("net", digest="sha256:01"), weights=tmp_path / "fifo").losses.counts
    with pytest.raises(OSError, match="not a regular file"):
        content_of_weights(tmp_path / "fifo")

"""Model states in the log: each content once, and nothing that a program gives makes a call raise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.log import arrays as logging_arrays
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.payloads import Tensor
from braid_hpc.vocabulary.states import content_of_state
from tests.rank_logs import declared, log_of, said

LAYERS = {"conv": {"weight": np.arange(90_000.0), "bias": np.zeros(8, "f4")}, "head": np.ones((300, 100), "f4")}


def files_of(run: braid.Run) -> int:
    """Give the bytes of all arrays files of a run."""
    return sum(path.stat().st_size for path in (run.log_dir / run.writer.hex()).glob("arrays-*.h5"))


def test_a_state_is_declared_with_its_list(run: braid.Run) -> None:
    """Sorted names, each with digest, dtype, shape and size; the content is the digest of that list."""
    record = run.model("net", state=LAYERS, tags={"epoch": 1})
    assert record
    value = declared(run)["net"].value
    tensors = [Tensor(*each) for each in value["state"]]
    assert [(each.name, each.dtype, each.shape, each.size) for each in tensors] == [
        ("conv.bias", "<f4", [8], 32),
        ("conv.weight", "<f8", [90_000], 720_000),
        ("head", "<f4", [300, 100], 120_000),
    ]
    assert (value["digest"], value["size"]) == (content_of_state(tensors).digest, 840_032)
    assert value["tags"] == {"epoch": 1}
    assert {row.value["digest"] for row in said(log_of(run), Code.ARRAY)} == {each.digest for each in tensors}


def test_frozen_layers_cost_nothing_in_the_next_version(run: braid.Run) -> None:
    """By the bytes of the arrays files: only the layer that changed is written again, and that of the first once."""
    run.model("net", state=LAYERS)
    first = files_of(run)
    run.model("net", state={**LAYERS, "head": np.full((300, 100), 2, "f4")})
    second = files_of(run)
    assert 120_000 <= second - first < 300_000 < first
    run.model("net", state=LAYERS)
    run.model("other", state={"frozen": LAYERS["conv"]})
    run.array("alone", LAYERS["head"])
    assert files_of(run) == second
    assert len(said(log_of(run), Code.ARRAY)) == 4


def test_bytes_and_files(run: braid.Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    run.model("bytes", state=b"weights")
    run.model("file", state=path, uri="s3://bucket/weights.pt")
    rows = declared(run)
    kept, referenced = rows["bytes"].value, rows["file"].value
    assert kept["digest"] == referenced["digest"]
    assert (kept["size"], "uris" in kept, "state" in kept) == (7, False, False)
    assert kept["kept"] == said(log_of(run), Code.ARRAY)[0].value["digest"]
    assert referenced["uris"] == [path.as_uri(), "s3://bucket/weights.pt"]
    assert "kept" not in referenced


def test_an_activity_generates_the_model_that_it_declares(run: braid.Run) -> None:
    with run.activity("train") as train:
        train.model("net", state={"a": np.arange(3)})
        run.model("second", state={"a": np.arange(3)})
    rows = declared(run)
    assert {rows[name].subject for name in ("net", "second")} == {train.sequence}


@pytest.mark.parametrize("state", [{"a": 1}, {2: np.arange(3)}, {"a": np.array([None])}, 7, "/nowhere/at/all"])
@pytest.mark.usefixtures("lenient")
def test_a_state_that_is_refused_is_kept_as_such(
    run: braid.Run, state: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model is declared all the same, without content, and the program goes on."""
    record = run.model("net", state=state, tags={"epoch": 2})
    assert record
    (refused,) = said(log_of(run), Code.REJECTED)
    assert refused.value["call"] == "state of model:net"
    assert refused.value["where"].startswith(__file__)
    value = declared(run)["net"].value
    assert value == {"tags": {"epoch": 2}}
    assert capsys.readouterr().err.count("\n") == 1


def test_under_strict_it_raises(run: braid.Run) -> None:
    with pytest.raises(InvalidInputError, match="'a' in state= is no array but a int"):
        run.model("net", state={"a": 1})
    with pytest.raises(InvalidInputError, match="digest= does not go with state="):
        run.model("net", state=b"abc", digest="x:1")


@pytest.mark.usefixtures("lenient")
def test_a_state_goes_before_other_contents(run: braid.Run) -> None:
    run.model("net", state=b"abc", digest="x:1", array=np.arange(3), keep=True, unit="1")
    value = declared(run)["net"].value
    assert value["digest"].startswith("blake3:")
    assert value["unit"] == "1"
    assert len(said(log_of(run), Code.REJECTED)) == 2


@pytest.mark.usefixtures("lenient")
def test_a_full_disk_is_told_and_the_version_is_there(
    run: braid.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The content is what it would have been, so versions are the same with the bytes and without."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logging_arrays, "_check_room", full)
    run.model("net", state=LAYERS)
    run.model("net", state=LAYERS)
    assert len([row for row in said(log_of(run), Code.ARRAY) if row.flags == 2]) == 4
    assert capsys.readouterr().err.count("arrays of model:net are not stored") == 1
    value = declared(run)["net"].value
    assert value["digest"] == content_of_state(Tensor(*each) for each in value["state"]).digest


def test_outside_of_a_run_nothing_happens() -> None:
    run = braid.current_run()
    assert not run.model("net", state={"a": 1})
    with run.activity("train") as train:
        assert not train.model("net", state=LAYERS, keep=True)


def test_the_list_can_be_printed(run: braid.Run) -> None:
    """`braid log parse` shows it as JSON."""
    from braid_hpc.reading.dump import dump

    run.model("net", state={"a": np.arange(3)})
    (path,) = (run.log_dir / run.writer.hex()).glob("tail-000001")
    (line,) = [line for line in dump(path) if line.get("code") == "DECLARE"]
    assert json.loads(json.dumps(line))["payload"]["state"][0][0] == "a"

"""Models as their libraries have them: with the libraries where they are installed (``make test-models``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.collectors.models import estimator, estimator_state, onnx_session, torch_module
from braid_hpc.vocabulary.errors import InvalidInputError

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])


class Line:
    """A small estimator, with the attributes and methods that scikit-learn asks of one."""

    def fit(self, x: Any, y: Any) -> Line:
        self.coef_ = np.linalg.lstsq(x, y, rcond=None)[0]
        self.n_features_in_ = x.shape[1]
        self.alpha = 0.5
        return self

    def predict(self, x: Any) -> Any:
        return x @ self.coef_


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    with braid.job("infer", log_dir=tmp_path / "logs") as run:
        yield run


def batches(run: Any, folder: Path, name: str) -> list[dict[str, Any]]:
    run.close()
    braid.compact(folder / "logs", folder / "prov.duckdb")
    with braid.open(folder / "prov.duckdb") as store:
        found: list[dict[str, Any]] = store.sql(f"select * from stream.{name}_batches order by batch").to_pylist()
        return found


def test_an_estimator_is_known_by_what_was_fitted(run: Any) -> None:
    """Parameters that were given are not weights; fitting again makes another version."""
    fitted = Line().fit(X, np.array([1.0, 2.0, 6.0]))
    assert sorted(estimator_state(fitted)) == ["coef_", "n_features_in_"]
    model = run.model("line", state=estimator_state(fitted))
    recorded = estimator(run, fitted, model=model, name="line")
    assert recorded(X).tolist() == fitted.predict(X).tolist()
    assert recorded.loaded.verdict == "checked"
    fitted.fit(X, np.array([1.0, 2.0, 7.0]))
    assert estimator(run, fitted, model=model).loaded.verdict == "mismatch"


def test_what_has_no_such_method_is_refused(run: Any) -> None:
    with pytest.raises(InvalidInputError, match="no method 'transform'"):
        estimator(run, Line(), model="model:line", method="transform")


class Session:
    """The part of a session of ONNX Runtime that is asked, made from bytes."""

    _model_bytes = b"the model"

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def get_inputs(self) -> list[Any]:
        return [type("Input", (), {"name": "x", "type": "tensor(float)"})()]

    def run(self, output_names: Any, input_feed: Any) -> Any:
        return [input_feed["x"].sum(axis=1)]


def test_a_session_takes_its_feed_as_the_batch(run: Any, tmp_path: Path) -> None:
    recorded = onnx_session(run, Session(), model=run.model("net", state=b"the model"), name="net")
    recorded(None, {"x": X})
    recorded(["y"], input_feed={"x": X})
    assert recorded.loaded.verdict == "checked"
    first, second = batches(run, tmp_path, "net")
    assert (first["device"], first["precision"], first["rows"]) == ("CPUExecutionProvider", "float", 3)
    assert first["input_digest"] == second["input_digest"] != ""


def test_a_library_that_raises_when_it_is_asked_costs_its_answer(
    run: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRAID_STRICT", "0")

    class Mute(Session):
        def get_providers(self) -> list[str]:
            raise RuntimeError("not now")

    recorded = onnx_session(run, Mute(), model="model:net")
    assert recorded(None, {"x": X})[0].tolist() == [1.0, 1.0, 4.0]
    assert "does not tell" in capfd.readouterr().err


def test_a_session_of_onnx_runtime(run: Any, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="installed by `make test-models` only")
    onnx = pytest.importorskip("onnx", reason="installed by `make test-models` only")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    sizes = {"x": helper.make_tensor_value_info("x", kind, [None, 2])}
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
        "sum",
        [sizes["x"]],
        [helper.make_tensor_value_info("y", kind, [None])],
        [onnx.numpy_helper.from_array(np.array([1]), "axes")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, tmp_path / "net.onnx")
    for source in (str(tmp_path / "net.onnx"), (tmp_path / "net.onnx").read_bytes()):
        session = runtime.InferenceSession(source, providers=["CPUExecutionProvider"])
        model = run.model("net", state=tmp_path / "net.onnx")
        recorded = onnx_session(run, session, model=model, name="net")
        (result,) = recorded(None, {"x": X.astype("f4")})
        assert result.tolist() == [1.0, 1.0, 4.0]
        assert recorded.loaded.verdict == "checked"
        with pytest.raises(Exception, match="wrong"):
            recorded(None, {"wrong": X})
    errors = [row["error"] for row in batches(run, tmp_path, "net")]
    assert [bool(error) for error in errors] == [False, False, True, True]


def test_a_module_of_pytorch(run: Any, tmp_path: Path) -> None:
    """Through its hooks, whoever calls it, until the collector is closed; gradients are left alone."""
    torch = pytest.importorskip("torch", reason="not installed: it is no requirement of any target")
    module = torch.nn.Linear(2, 1)
    model = run.model("net", state=dict(module.state_dict()))
    x = torch.from_numpy(X.astype("f4"))
    with torch_module(run, module, model=model, name="net") as recorded:
        assert recorded.loaded.verdict == "checked"
        result = module(x)
        result.sum().backward()
        assert module.weight.grad is not None
        with pytest.raises(RuntimeError):
            module(torch.zeros(2, 5))
        half = module.bfloat16()(x.bfloat16())
        assert half.dtype == torch.bfloat16
    module(x.bfloat16())
    assert recorded.batches == 3
    first, second, third = batches(run, tmp_path, "net")
    assert (first["device"], first["precision"], first["rows"], first["error"]) == ("cpu", "float32", 3, "")
    assert second["error"]
    assert third["rows"] == 3
    with torch.no_grad():
        module.weight += 1
    assert not module._forward_hooks


def test_estimators_of_scikit_learn(run: Any, tmp_path: Path) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="installed by `make test-models` only")
    pipeline = pytest.importorskip("sklearn.pipeline", reason="installed by `make test-models` only")
    scale = pytest.importorskip("sklearn.preprocessing", reason="installed by `make test-models` only")
    fitted = pipeline.make_pipeline(scale.StandardScaler(), linear.LogisticRegression()).fit(X, [0, 1, 1])
    model = run.model("classes", state=estimator_state(fitted))
    recorded = estimator(run, fitted, model=model, method="predict_proba", name="classes")
    assert recorded(X).shape == (3, 2)
    assert recorded.loaded.verdict == "checked"
    assert {"steps.0.mean_", "steps.1.coef_"} <= set(estimator_state(fitted))
    (row,) = batches(run, tmp_path, "classes")
    assert (row["rows"], row["device"]) == (3, "cpu")

"""What a model infers is recorded batch by batch, and what it returns is the object itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.collectors.inference import Inference, Threshold, record_inference
from braid_hpc.collectors.testing import CollectorContract
from braid_hpc.run.handles import NO_ROWS as NO_ROWS_AT_ALL
from braid_hpc.run.null import NullRun
from braid_hpc.vocabulary.errors import InvalidInputError


def double(batch: Any) -> Any:
    return 2 * batch


class TestInferenceContract(CollectorContract):
    module = "braid_hpc.collectors.inference"
    heavy = (*CollectorContract.heavy, "numpy", "sklearn")

    def make(self, run: Any) -> Any:
        return record_inference(run, double, model="model:net", name="net")

    def feed(self, collector: Any, items: int) -> None:
        for _ in range(items):
            collector(np.ones(1))

    def spoil(self, collector: Any) -> None:
        collector.take(np.ones(2), np.array([object(), object()]), 1)

    def misuse(self, collector: Any) -> None:
        collector.take(np.ones(1), np.ones(1), "a while")

    def recorded(self, store: Any) -> int:
        return len(store.sql("select * from stream.net_outputs"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    with braid.job("infer", log_dir=tmp_path / "logs") as run:
        yield run


def compacted(run: Any, folder: Path) -> Any:
    run.close()
    braid.compact(folder / "logs", folder / "prov.duckdb")
    return braid.open(folder / "prov.duckdb")


def test_the_result_is_the_object_that_predict_returned(run: Any) -> None:
    made: list[Any] = []

    def predict(batch: Any, *, scale: float) -> Any:
        made.append(scale * batch)
        return made[-1]

    recorded = record_inference(run, predict, model=run.model("net"))
    assert recorded(np.ones(3), scale=3.0) is made[0]
    again = recorded(batch=np.ones(3), scale=3.0)
    assert again is made[1]


def test_rows_have_their_batch_sample_and_columns(run: Any, tmp_path: Path) -> None:
    """Columns keep their types; rows of a batch begin where the table of batches says."""

    def predict(batch: Any) -> Any:
        return {"x": batch[:, 0].astype("f4"), "n": np.arange(len(batch), dtype="u2"), "ok": batch[:, 1] > 0}

    about = {"units": {"x": "px"}, "precision": "float32", "device": "cpu"}
    recorded = record_inference(run, predict, model=run.model("net"), name="peaks", **about)
    first = np.array([[1.0, 1.0], [2.0, -1.0]])
    recorded(first)
    with recorded.about(ids=["a", "b", "c"]):
        recorded(np.zeros((3, 2)))
    recorded.close()
    assert not recorded.losses
    digest = run.data("first", array=first)
    assert digest
    with compacted(run, tmp_path) as store:
        rows = store.sql("select * from stream.peaks_outputs order by batch, _row").to_pylist()
        assert [row["x"] for row in rows] == [1.0, 2.0, 0.0, 0.0, 0.0]
        assert [row["ok"] for row in rows] == [True, False, False, False, False]
        assert [row["n"] for row in rows] == [0, 1, 0, 1, 2]
        batches = store.sql("select * from stream.peaks_batches order by batch").to_pylist()
        assert [(row["batch"], row["rows"], row["precision"], row["device"]) for row in batches] == [
            (0, 2, "float32", "cpu"),
            (1, 3, "float32", "cpu"),
        ]
        assert all(row["latency_ns"] > 0 and row["error"] == "" for row in batches)
        # The digest of a batch is that of a record of the same array.
        (of_record,) = store.sql("select digest from versions where name = 'first'")["digest"]
        assert batches[0]["input_digest"] == of_record
        names = set(store.sql("select * from stream.peaks_outputs").columns)
        assert {"sample", "sample__2"} <= names, "numbers and texts stay apart"


def test_outputs_descend_from_model_settings_and_what_the_batches_are_of(run: Any, tmp_path: Path) -> None:
    frames, model = run.data("frames", digest="blake3:01"), run.model("net", digest="blake3:02")
    other = np.arange(4.0)
    run.data("other", array=other)
    recorded = record_inference(run, double, model=model, name="net", precision="int8")
    with recorded.about(source=frames):
        recorded(np.ones(2))
        recorded(np.ones(2))
    recorded(other)  # a record stands for it
    with compacted(run, tmp_path) as store:
        fed = {node.ref for node in store.lineage("stream:net_outputs").nodes}
        assert {"data:frames@1", "data:other@1", "model:net@1", "fact:net/settings@1"} <= fed
        assert store.impact("model:net", kinds="stream").counts
        sources = store.sql("select source from stream.net_batches order by batch")["source"]
        assert sources[0] == sources[1] == frames.token
        assert sources[2] not in ("", frames.token)


RESULTS: dict[str, tuple[Any, list[str]]] = {
    "matrix": (np.zeros((2, 2)), ["output_0", "output_1"]),
    "one": (np.zeros((2, 1)), ["output"]),
    "several": ([np.zeros(2), np.zeros((2, 2))], ["output_0", "output_1_0", "output_1_1"]),
    "fields": (np.zeros(2, [("x", "f4"), ("y", ">i8")]), ["x", "y"]),
    "half": (np.zeros(2, "f2"), ["output"]),
    "texts": (np.array(["a", "b"]), ["output"]),
    "numbers": ([0.5, 1.5], ["output"]),
}


def test_what_models_return_becomes_columns(run: Any, tmp_path: Path) -> None:
    for name, (result, _) in RESULTS.items():
        recorded = record_inference(run, lambda batch, found=result: found, model="model:net", name=name)
        assert recorded(np.zeros(2)) is result
        assert not recorded.losses
    with compacted(run, tmp_path) as store:
        for name, (_, columns) in RESULTS.items():
            found = store.table(f"{name}_outputs").columns
            assert [each for each in found if not each.startswith("_")] == ["batch", "sample", *columns]


def test_given_names_and_extra_columns(run: Any, tmp_path: Path) -> None:
    """Uncertainties and scores that another function makes stand beside the outputs."""
    recorded = record_inference(
        *(run, lambda batch: np.stack([batch, -batch], 1)),
        model="model:net",
        name="net",
        outputs=["x", "y"],
        extra=lambda batch, result: {"sigma": np.abs(result).sum(1)},
    )
    recorded(np.array([1.0, 2.0]))
    with compacted(run, tmp_path) as store:
        assert store.table("net_outputs")["sigma"] == [2.0, 4.0]
        assert store.table("net_outputs")["y"] == [-1.0, -2.0]


def test_decisions_are_columns_and_statements(run: Any, tmp_path: Path) -> None:
    """NaN does not pass, and a batch of which none passes is no claim."""
    recorded = record_inference(
        *(run, lambda batch: {"score": batch}),
        model=run.model("net"),
        name="net",
        thresholds=Threshold("is a peak", "score", 0.5),
    )
    with recorded.about(ids=[17, 18, 19]):
        recorded(np.array([0.1, 0.5, np.nan]))
    recorded(np.array([0.2]))
    with compacted(run, tmp_path) as store:
        assert store.table("net_outputs")["is a peak"] == [False, True, False, False]
        (said,) = store.sql("select value from versions where kind = 'statement'")["value"]
        assert '"samples":[18]' in str(said).replace(" ", "")
        assert {"model:net@1"} <= {node.ref for node in store.lineage("statement:is a peak").nodes}


def test_what_predict_raises_is_raised_and_recorded(run: Any, tmp_path: Path) -> None:
    def broken(batch: Any) -> Any:
        raise ZeroDivisionError("no")

    recorded = record_inference(run, broken, model="model:net", name="net")
    with pytest.raises(ZeroDivisionError, match="no"):
        recorded(np.ones(2))
    with compacted(run, tmp_path) as store:
        (row,) = store.sql("select rows, row, error from stream.net_batches").to_pylist()
        assert row == {"rows": 0, "row": -1, "error": "ZeroDivisionError: no"}


NO_ROWS: dict[str, tuple[Any, str]] = {
    "wide": (np.zeros((2, 2000)), "more than 1024"),
    "lengths": ({"x": np.zeros(2), "y": np.zeros(3)}, "2, 3 rows"),
    "complex": (np.zeros(2, complex), "complex128"),
    "taken": ({"batch": np.zeros(2)}, "called 'batch'"),
    "masked": (np.ma.array([1.0, 2.0], mask=[False, True]), "masked values"),
    "ragged": ([[1], [2, 3]], "inhomogeneous"),
}


def test_outputs_that_are_no_rows_are_counted(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is recorded, with the reason; the program has its result."""
    monkeypatch.setenv("BRAID_STRICT", "0")
    for name, (result, _) in NO_ROWS.items():
        recorded = record_inference(run, lambda batch, found=result: found, model="model:net", name=name)
        assert recorded(np.zeros(2)) is result
        assert recorded.losses.counts == {"outputs are no rows": 1}
    with compacted(run, tmp_path) as store:
        for name, (_, reason) in NO_ROWS.items():
            (error,) = store.table(f"{name}_batches")["error"]
            assert reason in error


def test_a_batch_without_samples_is_no_loss(run: Any, tmp_path: Path) -> None:
    """Its columns are those of the others, so a threshold finds its own."""
    decide = Threshold("hit", "output_1", at_least=0.5)
    recorded = record_inference(run, double, model="model:net", name="net", thresholds=decide)
    for rows in (0, 2, 0, 1):
        recorded(np.ones((rows, 3)))
    assert not recorded.losses
    with compacted(run, tmp_path) as store:
        assert store.sql("select rows, row from stream.net_batches order by batch").to_pylist() == [
            {"rows": 0, "row": -1},
            {"rows": 2, "row": 0},
            {"rows": 0, "row": -1},
            {"rows": 1, "row": 2},
        ]
        assert len(store.table("net_outputs")) == 3


def test_outputs_that_the_log_refuses_are_not_said_to_be_there(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = record_inference(run, double, model="model:net", name="net")
    recorded(np.ones(2))
    monkeypatch.setattr(type(next(iter(recorded._forms.values()))), "extend", lambda self, columns: NO_ROWS_AT_ALL)
    recorded(np.ones(2))
    assert recorded.losses.counts == {"outputs were refused": 1}
    with compacted(run, tmp_path) as store:
        assert store.sql("select row from stream.net_batches order by batch")["row"] == [0, -1]


def test_kinds_of_outputs_are_bounded(run: Any) -> None:
    """A model whose columns have another name in each batch cannot fill the log with declarations."""
    recorded = record_inference(run, lambda batch: {f"x{batch[0]}": batch}, model="model:net", name="net")
    for number in range(70):
        recorded(np.array([number]))
    assert recorded.losses.counts == {"too many kinds of outputs": 6}


def test_input_without_a_digest_is_counted_and_can_be_left_out(run: Any) -> None:
    recorded = record_inference(run, lambda batch: np.zeros(1), model="model:net")
    recorded(object())
    assert recorded.losses.counts == {"input without a digest": 1}
    quiet = record_inference(run, lambda batch: np.zeros(1), model="model:net", digest_inputs=False)
    quiet(object())
    assert not quiet.losses


def test_outside_of_a_job_it_is_the_callable() -> None:
    recorded = record_inference(NullRun(), double, model="model:net")
    assert isinstance(recorded, Inference)
    assert recorded(np.ones(1)).tolist() == [2.0]


def test_rows_of_outputs_come_from_rows_of_inputs(run: Any, tmp_path: Path) -> None:
    """One for each sample, some of them, one for all; of the next batch only, and not of one that raises."""
    raw = run.stream("raw", {"n": "int64"})

    def predict(batch: Any) -> Any:
        return batch / batch.all()

    recorded = record_inference(run, predict, model=run.model("net"), name="net")
    rows = raw.extend({"n": np.arange(10)})
    with recorded.about(rows=rows):
        recorded(np.ones(10))
        recorded(np.ones(3))
    with recorded.about(rows=raw, row_index=np.array([7, 7, 2])):
        recorded(np.ones(3))
    with recorded.about(rows="raw#5"):
        recorded(np.ones(2))
    recorded(np.ones(2))
    recorded.close()
    with compacted(run, tmp_path) as store:
        found = [[row.row for row in store.row_lineage(f"net_outputs#{number}").rows[1:]] for number in range(20)]
    assert found == [*([number] for number in range(10)), *3 * [[]], [7], [7], [2], [5], [5], [], []]


def test_rows_that_do_not_fit_the_samples_are_refused_and_the_outputs_stay(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a rejected event; a batch that raised takes its rows along."""
    monkeypatch.delenv("BRAID_STRICT")
    rows = run.stream("raw", {"n": "int64"}).extend({"n": np.arange(10)})

    def predict(batch: Any) -> Any:
        if not len(batch):
            raise ValueError("empty")
        return batch

    recorded = record_inference(run, predict, model=run.model("net"), name="net")
    with recorded.about(rows=rows):
        recorded(np.ones(3))
    with recorded.about(rows=rows):
        with pytest.raises(ValueError, match="empty"):
            recorded(np.ones(0))
        recorded(np.ones(10))
    recorded.close()
    with compacted(run, tmp_path) as store:
        assert len(store.table("net_outputs")) == 13
        assert len(store.sql("from row_edges")) == 0
        (why,) = store.sql("select message from problems where code = 'rejected'")["message"]
    assert "3 children and 10 parents" in why


def test_batches_of_one_kind_are_recorded_as_the_first_one(run: Any, tmp_path: Path) -> None:
    """Nothing of what is remembered of a batch gets into the next one."""
    recorded = record_inference(run, double, model="model:net", name="net", digest_inputs="xxh3", digest_every=2)
    given = [np.arange(4.0).reshape(2, 2) + 10 * step for step in range(5)]
    for batch in given:
        recorded(batch)
    assert not recorded.losses
    with compacted(run, tmp_path) as store:
        rows = store.sql("select batch, sample, output_0, output_1 from stream.net_outputs order by sample")
        digests = store.sql("select input_digest from stream.net_batches order by batch")["input_digest"]
    assert rows["batch"] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    found = zip(rows["output_0"], rows["output_1"], strict=True)
    assert [list(row) for row in found] == np.concatenate([2 * batch for batch in given]).tolist()
    assert [digest[:5] for digest in digests] == ["xxh3:", "", "xxh3:", "", "xxh3:"]
    assert len(set(digests)) == 4


@pytest.mark.parametrize("about", [{"digest_inputs": "md5"}, {"digest_inputs": 3}, {"digest_every": 0}])
def test_a_digest_of_another_kind_is_refused(run: Any, about: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one is taken then, and the program goes on."""
    with pytest.raises(InvalidInputError, match=next(iter(about))):
        record_inference(run, double, model="model:net", **about)
    monkeypatch.delenv("BRAID_STRICT")
    recorded = record_inference(run, double, model="model:net", **about)
    assert recorded.seen(np.ones(2)).startswith("blake3:")
    assert recorded.losses.counts == {"refused": 1}


def test_a_threshold_without_its_column_costs_the_decision_only(run: Any, tmp_path: Path) -> None:
    """The rows are there, and the other decisions."""
    decide = [Threshold("hit", "nowhere", at_least=0.5), Threshold("high", "output", at_least=1.5)]
    recorded = record_inference(run, double, model="model:net", name="net", thresholds=decide)
    recorded(np.array([0.5, 1.0]))
    assert recorded.losses.counts == {"no decision": 1}
    with compacted(run, tmp_path) as store:
        assert store.sql("select output, high from stream.net_outputs order by _row").to_pylist() == [
            {"output": 1.0, "high": False},
            {"output": 2.0, "high": True},
        ]

"""Calls of tasks: what a log says of them, and what the caller gets."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.results import LocalResult
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.identity import content_of_bytes
from braid_hpc.vocabulary.redaction import REDACTED
from tests.rank_logs import read_only_log, said
from tests.tasks.functions import RAN, anything, double, draw, fails, spectrum


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


def told(logs: Path, code: Code) -> list[Any]:
    return [each.value for each in said(read_only_log(logs), code)]


def test_a_call_records_key_parameters_and_result(tmp_path: Path) -> None:
    with braid.job("job", log_dir=tmp_path / "logs"):
        value = draw(3, delay_time=0.5)
    assert value["samples"][0] == np.random.RandomState(3).normal()
    (begun,) = told(tmp_path / "logs", Code.TASK)
    assert begun["key"] == draw.key_of(3, 1, 0.5)
    assert (begun["task"], begun["version"], begun["reason"]) == ("rng.draw", "0.1.3", "no-index")
    assert begun["parameters"] == [
        ["seed", 3, "given", None],
        ["draws", 1, "default", None],
        ["delay_time", 0.5, "given", None],
        ["version_major", 0, "inherited", None],
        ["version_minor", 1, "inherited", None],
    ]
    assert begun["code"].startswith("source:")
    (ended,) = told(tmp_path / "logs", Code.TASK_END)
    assert ended["record"] > 0
    assert "unkept" not in ended


def test_the_function_gets_values_of_its_declared_types() -> None:
    with braid.job("job"):
        assert anything(np.int64(3)) == 3
        assert repr(double(2)) == "4.0"
        assert type(RAN[-1]) is float


def test_outside_of_a_run_a_call_begins_one(run_ranks: Any, tmp_path: Path) -> None:
    """There is no way round the recorder."""
    run_ranks(
        0, "from tests.tasks.functions import draw\ndraw(1)\ndraw(2)", env={"BRAID_LOG_DIR": str(tmp_path / "here")}
    )
    assert len(told(tmp_path / "here", Code.TASK)) == 2


def test_an_exception_passes_and_leaves_no_result(tmp_path: Path) -> None:
    with braid.job("job", log_dir=tmp_path / "logs"):
        with pytest.raises(ValueError, match="no convergence"):
            fails("raise")
        with pytest.raises(SystemExit):
            fails("3")
    assert len(told(tmp_path / "logs", Code.TASK)) == 2
    assert told(tmp_path / "logs", Code.TASK_END) == []


def test_a_missing_file_and_bad_arguments_raise_before_the_function_runs(tmp_path: Path) -> None:
    with braid.job("job", log_dir=tmp_path / "logs"):
        with pytest.raises(NotFoundError, match="path= is the file"):
            spectrum(tmp_path / "none.fits")
        with pytest.raises(InvalidInputError, match="is declared int"):
            spectrum(tmp_path, scale="2")
    assert RAN == []
    (missing,) = told(tmp_path / "logs", Code.TASK_MISSING)
    assert "none.fits" in missing["message"]


def test_under_braid_disable_tasks_run_and_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_DISABLE", "1")
    written = anything.with_options(result=LocalResult(tmp_path), target="{x}.json")
    assert [written("a"), written("a")] == ["a", "a"]
    assert RAN == ["a", "a"]
    assert json.loads((tmp_path / "a.json").read_text()) == "a"
    assert not (tmp_path / "logs").exists()


def test_what_is_written_is_recorded_with_its_digest(tmp_path: Path) -> None:
    written = anything.with_options(result=LocalResult(tmp_path), target=lambda x, y: f"{x}.json")
    with braid.job("job", log_dir=tmp_path / "logs"):
        assert written("a") == "a"
    (ended,) = told(tmp_path / "logs", Code.TASK_END)
    uri, size, _, digest, content, media = ended["output"]
    path = tmp_path / "a.json"
    assert (uri, size, media) == (path.as_uri(), path.stat().st_size, "application/json")
    assert digest == content_of_bytes(path.read_bytes()).digest
    assert content.startswith("blake3:")
    (declared,) = said(read_only_log(tmp_path / "logs"), Code.DECLARE)
    assert declared.value["uris"] == [uri]
    assert declared.subject == said(read_only_log(tmp_path / "logs"), Code.BEGIN)[0].sequence


def test_a_result_that_cannot_be_kept_is_returned_and_said(tmp_path: Path) -> None:
    with braid.job("job", log_dir=tmp_path / "logs"):
        large = np.zeros(100_000)
        assert anything(large) is large
    (ended,) = told(tmp_path / "logs", Code.TASK_END)
    assert ended["unkept"] == "the result has 800,022 bytes, and 65,536 are kept"


def test_what_sounds_secret_is_not_recorded(tmp_path: Path) -> None:
    def fetch(url: str, token: str) -> str:
        return "frames"

    with braid.job("job", log_dir=tmp_path / "logs"):
        braid.task(version="1")(fetch)("https://there", token="hunter2-hunter2")
    assert b"hunter2" not in b"".join(path.read_bytes() for path in (tmp_path / "logs").rglob("*") if path.is_file())
    (begun,) = told(tmp_path / "logs", Code.TASK)
    assert begun["parameters"][1][1] == ["redacted", REDACTED]


def test_results_that_are_handed_on_connect(tmp_path: Path) -> None:
    """The second task uses the result of the first: a chain without any handle."""
    with braid.job("job", log_dir=tmp_path / "logs"):
        first = anything(np.arange(3))
        anything(first, "then")
    log = read_only_log(tmp_path / "logs")
    results = [each.sequence for each in said(log, Code.DECLARE)]
    begun = [each.value for each in said(log, Code.BEGIN)]
    assert begun[1]["used"] == results[:1]


def test_an_array_that_was_changed_in_place_counts_by_itself(tmp_path: Path) -> None:
    array = np.arange(3)
    before = anything.key_of(array)
    array += 1
    assert anything.key_of(array) != before


def test_a_task_travels_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(draw)) is draw
    again = pickle.loads(pickle.dumps(draw.with_options(rerun=True)))
    assert again.options.rerun
    assert again.key_of(1) == draw.key_of(1)


def test_map_makes_one_call_of_many_and_divides_the_setup() -> None:
    def load() -> str:
        RAN.append("load")
        return "model"

    def classify(x: int, model: Any) -> str:
        RAN.append(x)
        return f"{model} {x}"

    task = braid.task(version="1", ignore=("model",))(classify)
    with braid.job("job"):
        mapped = task.map({"x": [1, 2, 3]}, setup={"model": load})
    assert list(mapped) == ["model 1", "model 2", "model 3"]
    assert RAN == ["load", 1, 2, 3]
    assert mapped.keys[0] == task.key_of(1, None)


def test_map_keeps_errors_if_asked_to() -> None:
    def check(x: int) -> int:
        if x == 2:
            raise ValueError("two")
        return x

    task = braid.task(version="1")(check)
    with braid.job("job"):
        mapped = task.map([{"x": 1}, {"x": 2}, {"x": 3}], errors="keep")
        with pytest.raises(ValueError, match="two"):
            task.map([{"x": 2}])
    assert list(mapped) == [1, None, 3]
    assert list(mapped.errors) == [1]


@pytest.mark.parametrize(
    ("cells", "options", "said"),
    [
        ([1, 2], {}, "the cells of a map are mappings"),
        ([{"x": 1}, {"y": 1}], {}, "have the same arguments: x"),
        ({"x": 3}, {}, "the column x is a int, and has one value for each call"),
        ({"x": [1]}, {"errors": "drop"}, "errors= is 'raise' or 'keep'"),
        ({"x": [1]}, {"setup": {"y": dict}}, "setup= makes y, which counts"),
        ({"x": [1]}, {"setup": [1]}, "setup= is a mapping of argument to what makes it"),
    ],
)
def test_a_grid_of_the_wrong_type_is_one_sentence(cells: Any, options: dict[str, Any], said: str) -> None:
    with braid.job("job"), pytest.raises(InvalidInputError, match=said):
        anything.map(cells, **options)
    assert RAN == []


def test_a_parameter_may_be_called_self(tmp_path: Path) -> None:
    """As the first one of a method is, which is called like a function."""

    @braid.task(version="1", name="own")
    def own(self: int, args: int = 2) -> list[int]:
        return [self, args]

    with braid.job("own", log_dir=tmp_path):
        assert own(self=1, args=3) == own(1, 3) == [1, 3]
        assert own.key_of(self=1) == own.key_of(1)
        assert list(own.map({"self": [1, 2]})) == [[1, 2], [2, 2]]

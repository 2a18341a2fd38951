"""Datasets: what is wrong with a manifest is said with row and column, and equal members are one version."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest

import braid_hpc as braid
from braid_hpc.results import Dataset, DatasetResult, LocalResult, MemoryResult, Npy, loaded
from braid_hpc.results.dataset import MANIFEST, README, DatasetTarget
from braid_hpc.results.export import absolute, open_dataset, relative
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Rows as a task returns them: results of other tasks, and what is known of them."""
    result = LocalResult(tmp_path / "cells", serializer=Npy())
    found = []
    for cell in range(6):
        target = result.at("{cell}.npy", {"cell": cell})
        image = target.lazy(target.write(np.full((2, 2), cell)))
        found.append({"cell": cell, "structure": "ab"[cell % 2], "score": cell / 2 if cell else None, "image": image})
    return found


def result_in(folder: Path, **about: Any) -> DatasetResult:
    about = {"readme": "Cells, normalised.", "file_columns": ["image"], "within": folder / "datasets", **about}
    return DatasetResult("normalised", **about)


def made(folder: Path, rows: Any, **about: Any) -> Dataset:
    target = result_in(folder, **about).default("task", "key")
    dataset: Dataset = loaded(target.lazy(target.write(rows)))
    return dataset


def test_a_dataset_is_a_manifest_and_a_readme(tmp_path: Path, rows: Rows) -> None:
    dataset = made(tmp_path, rows)
    assert len(dataset) == 6
    assert dataset.columns == ("image", "cell", "structure", "score")
    assert dataset["cell"] == list(range(6))
    assert dataset["score"] == [None, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert [file.load()[0, 0] for file in dataset["image"]] == list(range(6))
    assert dataset.problems(verify="digest") == []
    place = tmp_path / "datasets/normalised"
    assert sorted(os.listdir(place)) == [README, MANIFEST]
    assert open_dataset(place) == dataset
    table = pyarrow.parquet.read_table(place / MANIFEST)
    assert table.column_names == [
        *("cell", "structure", "score", "image"),
        *("image.size", "image.digest", "image.content", "image.media_type"),
    ]
    text = (place / README).read_text()
    assert f"6 members, version `{dataset.version}`" in text
    assert "| `structure` | a (3), b (3) |" in text
    assert "| `score` | 5 different numbers, 0.5 to 2.5; 1 without |" in text


def test_the_same_members_are_one_version(tmp_path: Path, rows: Rows) -> None:
    """In any order, in any kind of table, wherever the files are; other members are another one."""
    first = made(tmp_path, rows)
    random.Random(1).shuffle(rows)
    assert made(tmp_path, rows) == first
    assert made(tmp_path, {name: [row[name] for row in rows] for name in rows[0]}) == first
    copies = LocalResult(tmp_path / "copies", serializer=Npy())
    moved = [{**row, "image": copies.at("{cell}.npy", row).write(row["image"])} for row in rows]
    again = made(tmp_path, moved)
    assert again.version == first.version
    assert again != first
    assert made(tmp_path, rows[1:]).version != first.version
    assert made(tmp_path, [{**rows[0], "score": 7.0}, *rows[1:]]).version != first.version
    assert (
        made(tmp_path, [{**rows[0], "image": rows[0]["image"]}, *rows[1:]], readme="Another.").version == first.version
    )


def test_the_same_manifest_is_one_file(tmp_path: Path, rows: Rows) -> None:
    target = result_in(tmp_path).default("task", "key")
    digests = {target.write(rows[::step]).digest for step in (1, -1)}
    assert len(digests) == 1


@pytest.mark.parametrize("kind", [pandas.DataFrame, polars.DataFrame, pyarrow.table])
def test_tables_with_paths_are_taken(kind: Any, tmp_path: Path) -> None:
    paths = []
    for cell in range(3):
        (tmp_path / f"{cell}.txt").write_text(str(cell))
        paths.append(str(tmp_path / f"{cell}.txt"))
    dataset = made(tmp_path, kind({"image": paths, "cell": [1, 2, 3]}))
    assert [file.load() for file in dataset["image"]] == ["0", "1", "2"]
    assert [file.media_type for file in dataset["image"]] == ["text/plain"] * 3


def test_files_lie_anywhere(tmp_path: Path) -> None:
    target = MemoryResult("anywhere", serializer=Npy()).at("x.npy", {})
    dataset = made(tmp_path, [{"image": target.lazy(target.write(np.zeros(3)))}])
    assert dataset["image"][0].uri == "memory://anywhere/x.npy"
    assert dataset["image"][0].load().shape == (3,)


def changed(rows: Rows, at: int, **cells: Any) -> Rows:
    return [{**row, **cells} if number == at else row for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (lambda rows, _: [], InvalidInputError, "at least one row"),
        (lambda rows, _: "rows", InvalidInputError, "a manifest is a table"),
        (lambda rows, _: [*rows, 3], InvalidInputError, "row 6 of a manifest is a mapping, not a int"),
        (lambda rows, _: {"image": [1], "cell": [1, 2]}, InvalidInputError, "image has 1, cell has 2"),
        (lambda rows, _: [*rows, {"cell": 7}], InvalidInputError, "row 6 has no column image"),
        (lambda rows, _: changed(rows, 2, extra=1), InvalidInputError, "row 2 has a column extra"),
        (lambda rows, _: changed(rows, 2, image=None), InvalidInputError, "row 2, column image is empty"),
        (lambda rows, _: changed(rows, 2, image=""), InvalidInputError, "row 2, column image is empty"),
        (lambda rows, _: changed(rows, 2, image=np.zeros(3)), InvalidInputError, "row 2, column image is a ndarray"),
        (
            lambda rows, at: changed(rows, 2, image=at / "gone"),
            NotFoundError,
            "row 2, column image: .*no file at.*gone",
        ),
        (lambda rows, at: changed(rows, 2, image=at), InvalidInputError, "row 2, column image: .* is a directory"),
        (
            lambda rows, _: changed(rows, 2, image=rows[1]["image"]),
            InvalidInputError,
            "row 2, column image: .*row 1 too",
        ),
        (lambda rows, _: changed(rows, 2, cell="2"), InvalidInputError, "row 2, column cell is a str"),
        (lambda rows, _: changed(rows, 2, cell=1 << 63), InvalidInputError, "more than 64 bits"),
        (lambda rows, _: changed(rows, 2, cell=[2]), InvalidInputError, "row 2, column cell is a list"),
        (
            lambda rows, _: changed(changed(rows, 0, cell=2**53 + 1), 2, cell=0.5),
            InvalidInputError,
            "row 0, column cell is 9007199254740993, which no float equals",
        ),
        (lambda rows, _: [{**row, 3: 1} for row in rows], InvalidInputError, "row 0 has a column 3, and names"),
        (lambda rows, _: {"image": 1, "cell": [1]}, InvalidInputError, "the column image of a manifest is a int"),
        (
            lambda rows, _: changed(rows, 2, structure="\ud800"),
            InvalidInputError,
            "row 2, column structure is not UTF-8",
        ),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said_with_row_and_column(
    wrong: Any, error: type[Exception], said: str, tmp_path: Path, rows: Rows
) -> None:
    """In one sentence, and nothing is written."""
    with pytest.raises(error, match=said) as caught:
        made(tmp_path, wrong(rows, tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "datasets").exists()


def test_a_member_that_changed_meanwhile_is_refused(tmp_path: Path, rows: Rows) -> None:
    os.truncate(tmp_path / "cells/3.npy", 10)
    with pytest.raises(InvalidInputError, match=r"row 3, column image: .*3\.npy is not the file that was recorded"):
        made(tmp_path, rows)
    (tmp_path / "cells/3.npy").unlink()
    with pytest.raises(NotFoundError, match=r"row 3, column image: there is no file at .*3\.npy"):
        made(tmp_path, rows)


def test_declared_metadata_are_all_there(tmp_path: Path, rows: Rows) -> None:
    assert made(tmp_path, rows, metadata_columns=["cell", "structure", "score"])["cell"] == list(range(6))
    with pytest.raises(InvalidInputError, match="row 0 has no column plate"):
        made(tmp_path, rows, metadata_columns=["cell", "structure", "score", "plate"])
    with pytest.raises(InvalidInputError, match="row 0 has a column structure, which is neither"):
        made(tmp_path, rows, metadata_columns=["cell", "score"])


def test_numbers_come_back_as_they_are(tmp_path: Path, rows: Rows) -> None:
    """Integers beside fractions as fractions, of NumPy too; NaN and None stay apart."""
    for row, score in zip(rows, (1, 2.5, None, float("nan"), np.float32(0.5), np.int64(7)), strict=True):
        row["score"] = score
    dataset = made(tmp_path, rows)
    assert repr(dataset["score"]) == "[1.0, 2.5, None, nan, 0.5, 7.0]"


@pytest.mark.parametrize(
    "wrong",
    [
        {"readme": " "},
        {"file_columns": []},
        {"file_columns": "image"},
        {"file_columns": ["image.size"]},
        {"file_columns": ["image", "image"]},
        {"metadata_columns": ["image"]},
        {"serializer": Npy()},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        result_in(tmp_path, **wrong)
    with pytest.raises(InvalidInputError):
        DatasetResult("../x", readme="x", file_columns=["image"])


def test_changed_files_of_a_dataset_are_found(tmp_path: Path, rows: Rows) -> None:
    dataset = made(tmp_path, rows)
    (tmp_path / "cells/1.npy").unlink()
    path = tmp_path / "cells/2.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert [said.partition(": ")[0] for said in dataset.problems()] == ["row 1, column image"]
    said = dataset.problems(verify="digest")
    assert [line.partition(": ")[0] for line in said] == ["row 1, column image", "row 2, column image"]
    assert (said[0].endswith("is missing"), said[1].endswith("is changed")) == (True, True)


def test_a_manifest_that_was_edited_is_refused(tmp_path: Path, rows: Rows) -> None:
    dataset = made(tmp_path, rows)
    pyarrow.parquet.write_table(dataset.table().slice(1), tmp_path / "datasets/normalised" / MANIFEST)
    with pytest.raises(InvalidInputError, match="not those of its version"):
        open_dataset(tmp_path / "datasets/normalised")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "datasets/normalised" / MANIFEST)
    with pytest.raises(InvalidInputError, match="is no manifest of a dataset"):
        open_dataset(tmp_path / "datasets/normalised")


def with_column(table: Any, name: str, values: Any) -> Any:
    return table.set_column(table.column_names.index(name), name, pyarrow.array(values))


def saying(table: Any, **other: Any) -> Any:
    about = json.loads(table.schema.metadata[b"braid_hpc.dataset"])
    return table.replace_schema_metadata({"braid_hpc.dataset": json.dumps({**about, **other})})


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        *(
            (lambda t, c=c: t.drop_columns([c]), f"it has no column {c}$")
            for c in ("image", "image.size", "image.digest")
        ),
        (lambda t: t.drop_columns(["cell"]), "not those of its version"),
        (lambda t: t.append_column("more", pyarrow.array(range(6))), "not those of its version"),
        (lambda t: t.replace_schema_metadata({}), "does not say that it is one"),
        (lambda t: t.replace_schema_metadata({"braid_hpc.dataset": "{"}), "Expecting"),
        (lambda t: t.replace_schema_metadata({"braid_hpc.dataset": "[]"}), "its name, readme or version is not said"),
        *((lambda t, n=n: saying(t, **{n: None}), "is not said") for n in ("name", "readme", "version")),
        *((lambda t, v=v: saying(t, file_columns=v), "columns of files are not said") for v in (None, 5, "image", [5])),
        (lambda t: with_column(t, "image", range(6)), "row 0, column image is no file with uri, size and digest"),
        (lambda t: with_column(t, "image", [*t["image"].to_pylist()[:5], None]), "row 5, column image is no file"),
        (lambda t: with_column(t, "image.size", ["9"] * 6), "row 0, column image is no file"),
        (lambda t: with_column(t, "image.size", [-1] * 6), "row 0, column image is no file"),
        (lambda t: with_column(t, "image.digest", [b"x"] * 6), "row 0, column image is no file"),
    ],
)
def test_what_is_wrong_with_a_manifest_that_is_opened_is_said(
    spoilt: Any, said: str, tmp_path: Path, rows: Rows
) -> None:
    """It may come from anybody: one sentence, of the kind that a caller handles."""
    table = made(tmp_path, rows).table()
    path = tmp_path / "datasets/normalised" / MANIFEST
    pyarrow.parquet.write_table(spoilt(table), path)
    with pytest.raises(InvalidInputError, match=f"is no manifest of a dataset: .*{said}|{said}") as caught:
        open_dataset(path.parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 1, 8, 0.5, 0.99])
def test_a_manifest_that_was_cut_is_said(keep: float, tmp_path: Path, rows: Rows) -> None:
    made(tmp_path, rows)
    path = tmp_path / "datasets/normalised" / MANIFEST
    os.truncate(path, keep if isinstance(keep, int) else int(path.stat().st_size * keep))
    with pytest.raises(InvalidInputError, match="is no manifest of a dataset: ") as caught:
        open_dataset(path.parent)
    assert "\n" not in str(caught.value)


def test_paths_go_there_and_back(tmp_path: Path, rows: Rows) -> None:
    dataset = made(tmp_path, rows)
    short = relative(dataset, tmp_path)
    assert [file.uri for file in short["image"]] == [f"cells/{cell}.npy" for cell in range(6)]
    assert absolute(short, tmp_path) == dataset
    assert relative(absolute(short, tmp_path), tmp_path) == short
    assert relative(dataset, tmp_path / "elsewhere") == dataset
    assert short.version == dataset.version


def test_a_manifest_names_nothing_outside_by_a_path(tmp_path: Path, rows: Rows) -> None:
    """An exported dataset may come from anybody."""
    dataset = made(tmp_path, rows)
    outside = Dataset("x", relative(dataset, tmp_path).rows, "x", ("image",))
    pyarrow.parquet.write_table(outside.table(), tmp_path / MANIFEST)
    assert len(open_dataset(tmp_path)) == 6
    from dataclasses import replace

    row = outside.rows[0]
    bad = (row._replace(files={"image": replace(row.files["image"], uri="../secret.npy")}), *outside.rows[1:])
    pyarrow.parquet.write_table(Dataset("x", bad, "x", ("image",)).table(), tmp_path / MANIFEST)
    with pytest.raises(InvalidInputError, match="leads upwards"):
        open_dataset(tmp_path)


def test_a_dataset_is_one_record_with_its_members(tmp_path: Path) -> None:
    """What came of a member leads to the dataset, and the dataset to all members."""
    cells = LocalResult(tmp_path / "cells", serializer=Npy())

    def write(run: Any, cell: int) -> Any:
        target = cells.at("{cell}.npy", {"cell": cell})
        written = target.write(np.full(3, cell))
        record = run.record("result", f"cell/{cell}", uri=written.uri, digest=written.digest)
        return target.lazy(written, record=record)

    with braid.job("cells", log_dir=tmp_path / "logs") as run:
        rows = [{"cell": cell, "image": write(run, cell)} for cell in range(4)]
        with run.activity("collect"):
            target = result_in(tmp_path).default("collect", "key")
            assert isinstance(target, DatasetTarget)
            written = target.write(rows)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        (found,) = store.sql("select name, digest from versions where kind = 'dataset'").to_pylist()
        assert found == {"name": "normalised", "digest": written.content}
        answer = store.lineage("dataset:normalised", kinds=["result"])
        assert {node.name for node in answer.nodes} == {"normalised", *(f"cell/{cell}" for cell in range(4))}
        assert "normalised" in {node.name for node in store.impact("result:cell/2").nodes}

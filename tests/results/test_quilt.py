"""Datasets as Quilt packages: the same rows by one word, and manifests that quilt3 reads (``make test-places``)."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.results import (
    Dataset,
    DatasetResult,
    LocalResult,
    MemoryResult,
    Npy,
    QuiltDatasetResult,
    export_package,
    loaded,
    open_dataset,
    open_package,
)
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Two files in each row, of which some have odd names, and values that JSON has and has not."""
    result = LocalResult(tmp_path / "cells", serializer=Npy())
    scores = (0.5, float("nan"), None, float("-inf"))
    found = []
    for cell, score in enumerate(scores):
        row: dict[str, Any] = {"cell": cell, "structure": "aä"[cell % 2], "good": cell > 1, "score": score}
        for name in ("image", "mask"):
            target = result.at(f"{name}/{{cell}} ä%20#?.npy", {"cell": cell})
            row[name] = target.lazy(target.write(np.full((2, 2), cell + (name == "mask"))))
        found.append(row)
    return found


def made(kind: Callable[..., DatasetResult], within: Path, rows: Rows, **about: Any) -> Dataset:
    target = kind("cells", readme="Cells.", file_columns=["image", "mask"], within=within, **about).at("", {})
    dataset: Dataset = loaded(target.lazy(target.write(rows)))
    return dataset


def test_both_kinds_have_the_same_rows(tmp_path: Path, rows: Rows) -> None:
    """The word is the only difference: the same manifest, and the package gives the same rows."""
    plain = made(DatasetResult, tmp_path / "plain", rows)
    quilt = made(QuiltDatasetResult, tmp_path / "quilt", rows)
    assert repr(quilt) == repr(plain)
    for name in ("manifest.parquet", "README.md"):
        assert (tmp_path / "quilt/cells" / name).read_bytes() == (tmp_path / "plain/cells" / name).read_bytes()
    package = open_package(tmp_path / "quilt", "braid/cells")
    assert repr(package) == repr(plain)
    assert package.version == plain.version
    assert package.problems(verify="digest") == []
    assert package["image"][3].load()[0, 0] == 3


def test_the_same_dataset_is_the_same_package(tmp_path: Path, rows: Rows) -> None:
    """Written again it is one revision, and other members are another one; earlier ones stay."""
    made(QuiltDatasetResult, tmp_path / "quilt", rows)
    (first,) = os.listdir(tmp_path / "quilt/.quilt/packages")
    made(QuiltDatasetResult, tmp_path / "quilt", rows[::-1])
    assert os.listdir(tmp_path / "quilt/.quilt/packages") == [first]
    made(QuiltDatasetResult, tmp_path / "quilt", rows[1:])
    assert len(os.listdir(tmp_path / "quilt/.quilt/packages")) == 2
    assert len(open_package(tmp_path / "quilt", "braid/cells")) == 3
    assert len(open_package(tmp_path / "quilt", "braid/cells", top_hash=first)) == 4


def test_a_package_stands_alone_in_a_registry(tmp_path: Path, rows: Rows) -> None:
    """With copies of all files, a readme and a crate."""
    dataset = made(DatasetResult, tmp_path / "plain", rows)
    exported = export_package(dataset, tmp_path / "registry", "lab/cells", license="https://example.org/license")
    for path in (tmp_path / "cells").rglob("*.npy"):
        path.unlink()
    package = open_package(tmp_path / "registry", "lab/cells")
    assert repr(package) == repr(exported)
    assert package.version == dataset.version
    assert package.problems(verify="digest") == []
    assert open_dataset(tmp_path / "registry/lab/cells").version == dataset.version
    with pytest.raises(ConflictError, match="is there already"):
        export_package(package, tmp_path / "registry", "lab/cells")


def test_what_is_no_package_is_said(tmp_path: Path, rows: Rows) -> None:
    """In one sentence."""
    made(QuiltDatasetResult, tmp_path / "quilt", rows)
    with pytest.raises(NotFoundError, match="latest"):
        open_package(tmp_path / "quilt", "braid/others")
    for wrong in ("cells", "a/b/c", "../cells", "a/b c", "", None):
        with pytest.raises(InvalidInputError, match="Quilt takes no package"):
            open_package(tmp_path / "quilt", wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="is no top hash"):
        open_package(tmp_path / "quilt", "braid/cells", top_hash="../../secret")
    (path,) = (tmp_path / "quilt/.quilt/packages").iterdir()
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(InvalidInputError, match="are not those of its top hash"):
        open_package(tmp_path / "quilt", "braid/cells")
    for text in ("", "{", "[]", "{}\n{}"):
        path.write_text(text)
        with pytest.raises(InvalidInputError, match=r"is not that of a dataset|not those of its top hash") as caught:
            open_package(tmp_path / "quilt", "braid/cells")
        assert "\n" not in str(caught.value)


def test_what_quilt_cannot_have_is_refused_before_anything_is_written(tmp_path: Path, rows: Rows) -> None:
    target = MemoryResult("quilt", serializer=Npy()).at("x.npy", {})
    rows[2]["image"] = target.lazy(target.write(np.zeros(3)))
    with pytest.raises(InvalidInputError, match=r"row 2, column image: Quilt reads files of this machine and of S3"):
        made(QuiltDatasetResult, tmp_path / "quilt", rows)
    with pytest.raises(InvalidInputError, match="within=memory://x: Quilt reads"):
        QuiltDatasetResult("cells", readme="x", file_columns=["a"], within="memory://x")
    with pytest.raises(InvalidInputError, match="Quilt takes no package"):
        QuiltDatasetResult("cells", readme="x", file_columns=["a"], namespace="a/b")
    mine = [
        {"braid_hpc": 1, "image": tmp_path / "cells/image/0 ä%20#?.npy", "mask": tmp_path / "cells/mask/0 ä%20#?.npy"}
    ]
    with pytest.raises(InvalidInputError, match="a column braid_hpc"):
        made(QuiltDatasetResult, tmp_path / "quilt", mine)
    dataset = made(DatasetResult, tmp_path / "plain", mine)
    with pytest.raises(InvalidInputError, match="a column braid_hpc"):
        export_package(dataset, tmp_path / "quilt", "lab/cells")
    assert not (tmp_path / "quilt").exists()


def test_it_goes_to_other_processes(tmp_path: Path, rows: Rows) -> None:
    """As every target does."""
    result = QuiltDatasetResult("cells", readme="Cells.", file_columns=["image", "mask"], within=tmp_path / "quilt")
    target = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(result)).at("", {})))
    target.write(rows)
    assert len(open_package(tmp_path / "quilt", "braid/cells")) == 4


def test_a_file_that_changed_meanwhile_leaves_no_package(tmp_path: Path, rows: Rows) -> None:
    path = tmp_path / "cells/image/2 ä%20#?.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ConflictError, match=r"row 2, column image: .* is not the file of the manifest"):
        made(QuiltDatasetResult, tmp_path / "quilt", rows)
    assert not (tmp_path / "quilt").exists()


# ---------------------------------------------------------------------- with the package itself


@pytest.fixture
def quilt3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give quilt3, which asks nobody, and keeps what it keeps in the test's folder."""
    monkeypatch.setenv("QUILT_DISABLE_USAGE_METRICS", "1")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return pytest.importorskip("quilt3", reason="installed by `make test-places` only")


def test_quilt3_reads_the_package(tmp_path: Path, rows: Rows, quilt3: Any) -> None:
    """By its name: the same top hash, files, metadata and readme; and it verifies what it fetches."""
    dataset = made(QuiltDatasetResult, tmp_path / "quilt", rows)
    registry = (tmp_path / "quilt").as_uri()
    assert list(quilt3.list_packages(registry)) == ["braid/cells"]
    package = quilt3.Package.browse("braid/cells", registry=registry)
    (name,) = os.listdir(tmp_path / "quilt/.quilt/packages")
    assert package.top_hash == name
    keys = [key for key, _ in package.walk()]
    assert sorted(keys) == sorted(
        [*(f"{c}/{n} ä%20#?.npy" for c in ("image", "mask") for n in range(4)), "README.md", "manifest.parquet"]
    )
    assert package.meta["braid_hpc"]["version"] == dataset.version
    entry = package["image/3 ä%20#?.npy"]
    assert entry.get_bytes() == (tmp_path / "cells/image/3 ä%20#?.npy").read_bytes()
    assert {key: entry.meta[key] for key in ("cell", "structure", "good", "score")} == {
        "cell": 3,
        "structure": "ä",
        "good": True,
        "score": None,
    }
    package.fetch(str(tmp_path / "fetched"))
    assert package.verify(str(tmp_path / "fetched"))
    (tmp_path / "fetched/README.md").write_text("Another.")
    assert not package.verify(str(tmp_path / "fetched"))


def test_what_quilt3_builds_of_it_is_read_here(tmp_path: Path, rows: Rows, quilt3: Any) -> None:
    """A revision of its own making, with a message, after the files were pushed to another registry."""
    dataset = made(QuiltDatasetResult, tmp_path / "quilt", rows)
    package = quilt3.Package.browse("braid/cells", registry=(tmp_path / "quilt").as_uri())
    top_hash = package.build("lab/again", registry=(tmp_path / "other").as_uri(), message="again")
    found = open_package(tmp_path / "other", "lab/again", top_hash=top_hash)
    assert repr(found) == repr(dataset)
    plain = quilt3.Package()
    plain.set("x", str(tmp_path / "quilt/cells/README.md"))
    plain.build("lab/plain", registry=(tmp_path / "other").as_uri())
    with pytest.raises(InvalidInputError, match="package lab/plain is not that of a dataset"):
        open_package(tmp_path / "other", "lab/plain")


def test_lines_are_as_quilt3_writes_them(tmp_path: Path, rows: Rows, quilt3: Any) -> None:
    """The same manifest, line by line."""
    made(QuiltDatasetResult, tmp_path / "quilt", rows)
    package = quilt3.Package.browse("braid/cells", registry=(tmp_path / "quilt").as_uri())
    with open(tmp_path / "dumped", "wb") as file:
        package.dump(file)
    (path,) = (tmp_path / "quilt/.quilt/packages").iterdir()
    one, other = ([json.loads(line) for line in name.read_text().splitlines()] for name in (path, tmp_path / "dumped"))
    assert one == other

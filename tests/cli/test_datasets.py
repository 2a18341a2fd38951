"""Datasets on the command line: shown, verified and exported, and what is wrong in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from braid_hpc.results import Dataset, LocalResult, QuiltDatasetResult, Text, open_dataset, open_package
from tests.cli.conftest import Braid
from tests.results.test_export import PROGRAM, git


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A dataset, which is a Quilt package too."""
    rows = []
    for number in range(3):
        target = LocalResult(tmp_path / "names", serializer=Text()).at("{number}.txt", {"number": number})
        rows.append({"number": number, "text": target.lazy(target.write(f"name {number}"))})
    result = QuiltDatasetResult("names", readme="Names.", file_columns=["text"], within=tmp_path / "datasets")
    result.at("", {}).write(rows)
    return tmp_path / "datasets/names"


@pytest.mark.parametrize("quilt", [False, True])
def test_it_is_shown(cli: Braid, place: Path, quilt: bool) -> None:
    words = [place.parent, "--package", "braid/names"] if quilt else [place]
    answer = cli("dataset", "show", *words, "--format", "json")
    assert answer.exit_code == 0, answer.stderr
    dataset = open_dataset(place)
    assert [(row["number"], row["text"], row["text.digest"]) for row in json.loads(answer.stdout)] == [
        (number, file.uri, file.digest) for number, file in zip(dataset["number"], dataset["text"], strict=True)
    ]


def test_it_is_verified(cli: Braid, place: Path, tmp_path: Path) -> None:
    """By all bytes, or by sizes; what is not as it was is said, with exit code 1."""
    answer = cli("dataset", "verify", place)
    assert (answer.exit_code, answer.stdout) == (0, "")
    assert f"3 of 3 files of names have their digests; version {open_dataset(place).version}" in answer.stderr
    (tmp_path / "names/1.txt").write_text("name 7")
    assert cli("dataset", "verify", place, "--quick").exit_code == 0
    for words in ([place], [place.parent, "--package", "braid/names"]):
        answer = cli("dataset", "verify", *words)
        assert (answer.exit_code, answer.stdout.count("\n")) == (1, 1)
        assert answer.stdout.startswith("row 1, column text: ")
        assert "2 of 3 files" in answer.stderr


def test_it_is_exported(cli: Braid, place: Path, tmp_path: Path) -> None:
    """Into a folder, to a url, and as a package; once."""
    version = open_dataset(place).version
    assert cli("dataset", "export", place, tmp_path / "package", "--license", "https://example.org/x").exit_code == 0
    assert cli("dataset", "export", place, f"file://{tmp_path}/another").exit_code == 0
    assert cli("dataset", "export", place, tmp_path / "registry", "--quilt", "lab/names").exit_code == 0
    exported: list[Dataset] = [open_dataset(tmp_path / name) for name in ("package", "another")]
    exported.append(open_package(tmp_path / "registry", "lab/names"))
    assert {each.version for each in exported} == {version}
    assert "https://example.org/x" in (tmp_path / "package/ro-crate-metadata.json").read_text()
    again = cli("dataset", "export", place, tmp_path / "package")
    assert (again.exit_code, again.stdout) == (5, "")
    assert again.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["verify", "nowhere"], 3),
        (["show", "{at}", "--package", "lab/nothing"], 3),
        (["show", "{at}", "--package", "nothing"], 2),
        (["verify", "{at}/names", "--option", "endpoint"], 2),
        (["verify", "nobody://x"], 2),
        (["export", "{at}/names", "x", "--require-clean", "--store", "nowhere.duckdb"], 3),
        (["export", "{at}/names", "x", "--quilt", "one two"], 2),
    ],
)
def test_what_is_wrong_is_one_sentence(cli: Braid, place: Path, words: list[str], code: int) -> None:
    answer = cli("dataset", *(word.format(at=place.parent) for word in words))
    assert (answer.exit_code, answer.stdout, answer.stderr.count("\n")) == (code, "", 1), answer.stderr
    assert not Path("x").exists()


@pytest.mark.slow
@pytest.mark.parametrize("dirty", [False, True])
def test_sources_with_changes_are_said_or_refused(cli: Braid, dirty: bool, tmp_path: Path) -> None:
    sources, work = tmp_path / "sources", tmp_path / "work"
    sources.mkdir()
    work.mkdir()
    (sources / "names.py").write_text(PROGRAM)
    git(sources, "init", "-q")
    git(sources, "add", ".")
    git(sources, "commit", "-qm", "names")
    if dirty:
        (sources / "names.py").write_text(PROGRAM + "# changed\n")
    subprocess.run([sys.executable, "names.py", str(work)], cwd=sources, check=True)
    store = ["--store", work / "prov.duckdb"]
    clean = cli("dataset", "export", work / "datasets/names", work / "package", "--require-clean", *store)
    assert clean.exit_code == (5 if dirty else 0), clean.stderr
    if dirty:
        assert "with uncommitted changes; commit them" in clean.stderr
        assert not (work / "package").exists()
        assert cli("dataset", "export", work / "datasets/names", work / "package", "--how", *store).exit_code == 0
    text = (work / "package/README.md").read_text()
    assert f"{'with' if dirty else 'without'} uncommitted changes" in text
    assert os.path.exists(work / "package/ro-crate-metadata.json")

"""Exported datasets: whole, checked, and described for others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import braid_hpc as braid
from braid_hpc.results import Dataset, DatasetResult, LocalResult, Text, loaded, open_dataset
from braid_hpc.results.crate import CRATE
from braid_hpc.results.dataset import MANIFEST, README
from braid_hpc.results.remote import RemoteStorage
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError, StorageError

PROGRAM = """
import sys
import braid_hpc as braid
from braid_hpc.collectors.environment import record_environment
from braid_hpc.results import DatasetResult, LocalResult, Text

with braid.job("names", log_dir=sys.argv[1] + "/logs") as run:
    record_environment(run)
    config = run.fact("config", {"n": 3})
    rows = []
    for number in range(3):
        target = LocalResult(sys.argv[1] + "/names", serializer=Text()).at("{number}/ä b.txt", {"number": number})
        with run.activity("name", used=config) as act:
            written = target.write(f"name {number}")
            record = act.record("result", f"name/{number}", uri=written.uri, digest=written.digest)
        rows.append({"number": number, "text": target.lazy(written, record=record)})
    with run.activity("collect"):
        result = DatasetResult("names", readme="Names.", file_columns=["text"], within=sys.argv[1] + "/datasets")
        result.default("collect", "key").write(rows)
braid.compact(sys.argv[1] + "/logs", sys.argv[1] + "/prov.duckdb")
"""


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rows = []
    for number in range(3):
        target = LocalResult(tmp_path / "names", serializer=Text()).at("{number}/ä b.txt", {"number": number})
        rows.append({"number": number, "text": target.lazy(target.write(f"name {number}"))})
    result = DatasetResult("names", readme="Names.", file_columns=["text"], within=tmp_path / "datasets")
    target = result.default("task", "key")
    made: Dataset = loaded(target.lazy(target.write(rows)))
    return made


def test_an_exported_dataset_stands_alone(dataset: Dataset, tmp_path: Path) -> None:
    """Moved elsewhere, without what it was copied from; files of one name do not meet."""
    exported = dataset.export(tmp_path / "package")
    assert exported.version == dataset.version
    (tmp_path / "package").rename(tmp_path / "moved")
    for path in (tmp_path / "names").rglob("*.txt"):
        path.unlink()
    there = open_dataset(tmp_path / "moved")
    assert there.problems(verify="digest") == []
    assert [file.load() for file in there["text"]] == ["name 0", "name 1", "name 2"]
    assert sorted(os.listdir(tmp_path / "moved")) == [README, MANIFEST, CRATE, "text"]
    assert sorted(os.listdir(tmp_path / "moved/text")) == [f"{number:06d}-ä b.txt" for number in range(3)]
    assert sorted(os.listdir(tmp_path)) == ["datasets", "moved", "names"]


ELSEWHERE = """
import os, sys
from braid_hpc.results import open_dataset

assert not [name for name in os.environ if name not in ("LC_CTYPE", "PWD")], os.environ
for where in (".", os.getcwd(), "file://" + os.getcwd()):
    dataset = open_dataset(where)
    assert dataset.problems(verify="digest") == []
print(dataset.version, *[file.load() for file in dataset["text"]])
"""


def test_a_package_is_verified_elsewhere_without_anything_else(dataset: Dataset, tmp_path: Path) -> None:
    """By a process with an empty environment, after all that it came from was removed."""
    version = dataset.version
    dataset.export(tmp_path / "package")
    there = tmp_path / "elsewhere"
    (tmp_path / "package").rename(there)
    for name in ("names", "datasets", "logs"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    command = [sys.executable, "-s", "-c", ELSEWHERE]
    done = subprocess.run(command, cwd=there, env={}, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n")[0] == f"{version} name 0 name 1 name 2"
    (there / "text/000001-ä b.txt").write_text("name 7")
    assert subprocess.run(command, cwd=there, env={}, capture_output=True, timeout=60).returncode != 0
    assert [said.partition(": ")[0] for said in open_dataset(there).problems(verify="digest")] == ["row 1, column text"]


def test_a_file_that_is_called_as_another_one_becomes_is_kept(tmp_path: Path) -> None:
    """Each file of the manifest is in the folder, however they are called."""
    rows = []
    for number, name in enumerate(["x.txt", "x.txt", "000000-x.txt"]):
        path = tmp_path / f"from-{number}" / name
        path.parent.mkdir()
        path.write_text(f"text {number}")
        rows.append({"number": number, "text": path})
    result = DatasetResult("names", readme="Names.", file_columns=["text"], within=tmp_path / "datasets")
    target = result.default("task", "key")
    made: Dataset = loaded(target.lazy(target.write(rows)))
    exported = made.export(tmp_path / "package")
    assert not list(exported.problems(verify="digest"))
    assert len(os.listdir(tmp_path / "package/text")) == 3


def test_it_is_described_as_ro_crate_wants(dataset: Dataset, tmp_path: Path) -> None:
    """The descriptor, the root, and an entity for each file that is there; every reference has its entity."""
    dataset.export(tmp_path / "package", license="https://creativecommons.org/licenses/by/4.0/")
    said = json.loads((tmp_path / "package" / CRATE).read_text())
    assert said["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {each["@id"]: each for each in said["@graph"]}
    assert len(entities) == len(said["@graph"])
    descriptor, root = entities[CRATE], entities["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset"
    assert {"name", "description", "datePublished", "license"} <= root.keys()
    assert references(said["@graph"]) - {"https://w3id.org/ro/crate/1.1"} <= entities.keys()
    parts = [entities[each["@id"]] for each in root["hasPart"]]
    assert {part["@type"] for part in parts} == {"File"}
    there = {
        path.relative_to(tmp_path / "package").as_posix(): str(path.stat().st_size)
        for path in (tmp_path / "package").rglob("*")
        if path.is_file() and path.name != CRATE
    }
    assert {unquote(part["@id"]): part["contentSize"] for part in parts} == there
    assert not any(" " in part["@id"] for part in parts)


def references(value: Any) -> set[str]:
    """Give all identifiers that are referred to."""
    if isinstance(value, list):
        return set().union(*map(references, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    if value.keys() == {"@id"}:
        return {value["@id"]}
    return set().union(*(references(part) for part in value.values())) if value else set()


def test_nothing_is_left_of_an_export_that_failed(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "names/1/ä b.txt"
    path.write_text("name 7")
    with pytest.raises(ConflictError, match=r"row 1, column text: .* is not the file of the manifest"):
        dataset.export(tmp_path / "package")
    path.unlink()
    with pytest.raises(NotFoundError):
        dataset.export(tmp_path / "package")
    assert sorted(os.listdir(tmp_path)) == ["datasets", "names"]


def test_what_others_write_meanwhile_is_left(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an export to a url that fails only what it has written itself is removed."""
    place = RemoteStorage(f"memory://{uuid.uuid4().hex}")
    (tmp_path / "names/2/ä b.txt").unlink()

    def met(storage: RemoteStorage, path: str, fill: Any) -> Any:
        stored = whole(storage, path, fill)
        whole(storage, "theirs.txt", lambda file: file.write(b"theirs"))
        return stored

    whole = RemoteStorage.put
    monkeypatch.setattr(RemoteStorage, "put", met)
    with pytest.raises(NotFoundError):
        dataset.export(place.url)
    assert place.names() == ["theirs.txt"]
    with pytest.raises(ConflictError, match="is there already"):
        dataset.export(place.url)
    place.remove(["theirs.txt", "nothing.txt"])
    assert place.names() == []


def test_a_folder_that_is_there_is_not_touched(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "broken").symlink_to("nowhere")
    for name in ("package", "broken"):
        with pytest.raises(ConflictError, match="is there already"):
            dataset.export(tmp_path / name)
    assert os.listdir(tmp_path / "package") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        dataset.export(tmp_path / "file" / "package")


def git(folder: Path, *words: str) -> None:
    about = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *about, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("dirty", [False, True])
def test_it_says_which_code_made_it(dirty: bool, tmp_path: Path) -> None:
    """Commit, command and inputs, in the readme and for machines; uncommitted changes are said, and may be refused."""
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
    made = open_dataset(work / "datasets/names")
    with braid.open(work / "prov.duckdb") as store:
        if dirty:
            with pytest.raises(ConflictError, match="with uncommitted changes; commit them"):
                made.export(work / "package", store=store, require_clean=True)
        made.export(work / "package", store=store, require_clean=not dirty)
    text = (work / "package" / README).read_text()
    assert f"names.py {work}`: commit " in text
    assert f"{'with' if dirty else 'without'} uncommitted changes" in text
    assert "`fact:config@1`" in text
    graph = json.loads((work / "package" / CRATE).read_text())["@graph"]
    (action,) = [each for each in graph if each["@type"] == "CreateAction"]
    (code,) = [each for each in graph if each["@type"] == "SoftwareApplication"]
    assert action["instrument"] == {"@id": code["@id"]}
    assert len(code["version"]) == 40
    assert [each["name"] for each in graph if each["@type"] == "Thing"] == ["fact:config@1"]
    assert references(graph) - {each["@id"] for each in graph} == {"https://w3id.org/ro/crate/1.1"}


def test_without_a_store_cleanness_cannot_be_asked_for(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="give store="):
        dataset.export(tmp_path / "package", require_clean=True)
    with pytest.raises(InvalidInputError, match=r"is what braid\.open gives"):
        dataset.export(tmp_path / "package", store="prov.duckdb")


def test_a_dataset_that_the_store_does_not_know_is_said(dataset: Dataset, tmp_path: Path) -> None:
    with braid.job("other", log_dir=tmp_path / "logs") as run:
        run.fact("config", 1)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with (
        braid.open(tmp_path / "prov.duckdb") as store,
        pytest.raises(NotFoundError, match="has no dataset of version"),
    ):
        dataset.export(tmp_path / "package", store=store)

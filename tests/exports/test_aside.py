"""Exports are there whole or not at all, and take nobody's place."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from braid_hpc.exports.aside import MANIFEST, whole_file, whole_folder
from braid_hpc.vocabulary.errors import ConflictError, StorageError


def test_a_file_has_its_name_at_last(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with whole_file(target) as place:
        place.write_text("1")
        assert not target.exists()
    assert target.read_text() == "1"
    assert os.listdir(tmp_path) == ["a.csv"]


def fail_in(place: Path) -> None:
    place.write_text("new")
    raise ZeroDivisionError


def test_nothing_stays_of_one_that_failed(tmp_path: Path) -> None:
    """Of a file and of a folder; what was there before stays as it was."""
    old = tmp_path / "old.csv"
    old.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(old, overwrite=True) as place:
        fail_in(place)
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "f", {}) as place:
        fail_in(place / "x")
    assert os.listdir(tmp_path) == ["old.csv"]
    assert old.read_text() == "old"


def test_what_is_there_is_not_replaced_unless_told(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with (
        pytest.raises(ConflictError, match=r"a\.csv is there already: name another one, or overwrite it"),
        whole_file(target),
    ):
        pass
    with whole_file(target, overwrite=True) as place:
        place.write_text("new")
    assert target.read_text() == "new"


def test_what_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """Neither a file nor a folder with something in it."""
    target, folder = tmp_path / "a.csv", tmp_path / "folder"

    def file() -> None:
        with whole_file(target) as place:
            place.write_text("ours")
            target.write_text("theirs")

    def files() -> None:
        with whole_folder(folder, {}):
            folder.mkdir()
            (folder / "theirs").write_text("theirs")

    with pytest.raises(ConflictError, match="somebody else made it meanwhile"):
        file()
    assert target.read_text() == "theirs"
    with pytest.raises(StorageError, match="folder cannot be written"):
        files()
    assert os.listdir(folder) == ["theirs"]


def test_a_folder_says_what_it_is_and_is_replaced_only_by_another(tmp_path: Path) -> None:
    """A folder of somebody's files never is."""
    target = tmp_path / "out"
    for number in (1, 2):
        with whole_folder(target, {"scan": number}, overwrite=number > 1) as place:
            (place / str(number)).write_text("x")
        assert sorted(os.listdir(target)) == [str(number), MANIFEST]
        assert json.loads((target / MANIFEST).read_text()) == {"scan": number}
    with pytest.raises(ConflictError, match="is there already"), whole_folder(target, {}):
        pass
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    with pytest.raises(ConflictError, match="is not an export"), whole_folder(mine, {}, overwrite=True):
        pass
    assert sorted(os.listdir(tmp_path)) == ["mine", "out"]


def test_no_such_directory_is_one_sentence(tmp_path: Path) -> None:
    said = "cannot be written: No such file or directory"
    with pytest.raises(StorageError, match=said), whole_file(tmp_path / "no" / "a") as place:
        place.write_text("x")
    with pytest.raises(StorageError, match=said), whole_folder(tmp_path / "no" / "a", {}):
        pass


@pytest.mark.parametrize("refused", [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS])
def test_a_file_system_without_links(refused: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way it says so, a file gets its name, and takes nobody else's."""

    def link(aside: Path, target: Path) -> None:
        raise OSError(refused, os.strerror(refused))

    monkeypatch.setattr("os.link", link)
    with whole_file(tmp_path / "a.csv") as aside:
        aside.write_text("1")
    assert (tmp_path / "a.csv").read_text() == "1"

    def write_while_somebody_does() -> None:
        with whole_file(tmp_path / "b.csv") as aside:
            aside.write_text("2")
            (tmp_path / "b.csv").write_text("theirs")

    with pytest.raises(ConflictError, match="somebody else made it meanwhile"):
        write_while_somebody_does()
    assert (tmp_path / "b.csv").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]

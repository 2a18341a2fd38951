"""The files of the demos: whole or not there, and configurations that belong to the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from braid_hpc.demos.files import ensure_file, read_h5, read_toml, same_seed, whole, write_h5


@dataclass
class Two:
    """A configuration of two keys."""

    seed: int
    width: float


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    """Neither at its name nor beside it; what stood there before stays."""
    path = tmp_path / "folder" / "a.txt"

    def half() -> None:
        with whole(path) as aside:
            aside.write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        half()
    assert list(path.parent.iterdir()) == []
    for text in ("first", "second"):
        with whole(path) as aside:
            aside.write_text(text)
    assert [entry.read_text() for entry in path.parent.iterdir()] == ["second"]


def test_arrays_come_back_from_their_file(tmp_path: Path) -> None:
    arrays = {"counts": np.arange(6, dtype=np.uint16).reshape(2, 3), "flags": np.array([True, False])}
    write_h5(tmp_path / "a" / "b.h5", arrays, {"unit": "counts"})
    found = read_h5(tmp_path / "a" / "b.h5")
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values)


@pytest.mark.parametrize("text", ["seed = 7\nwidth = 1.5\n", '{\n  "seed": 7,\n  "width": 1.5\n}\n'])
def test_a_seed_goes_into_a_new_file_only(tmp_path: Path, text: str) -> None:
    """TOML or JSON; the file of the user is not written again."""
    assert ensure_file(tmp_path / "plain", "a", text).read_text() == text
    path = ensure_file(tmp_path, "a", text, seed=12)
    assert path.read_text() == text.replace("7", "12")
    assert ensure_file(tmp_path, "a", text, seed=13) == path
    assert path.read_text() == text.replace("7", "12")
    same_seed(path, 12, 12)
    same_seed(path, 12, None)
    with pytest.raises(ValueError, match="says seed 12, not 13: change it there, or take another --dir"):
        same_seed(path, 12, 13)


def test_a_configuration_has_the_keys_and_types_of_its_class(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("seed = 3\nwidth = 2\n")
    assert read_toml(path, Two) == Two(3, 2)
    for text, words in (
        ("seed = 3\n", "the key 'width' is missing"),
        ("seed = 3\nwidth = 1\nheight = 1\n", "unknown key 'height'; the keys are seed, width"),
        ("seed = 3.0\nwidth = 1\n", "seed must be a whole number, not 3.0"),
        ("seed = true\nwidth = 1\n", "seed must be a whole number, not True"),
        ('seed = 3\nwidth = "wide"\n', "width must be a number, not 'wide'"),
        ("seed =\n", "a.toml: "),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_toml(path, Two)

"""Targets are made of the arguments before anything runs, and lie inside their directory."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.results.targets import check_path, path_of
from braid_hpc.vocabulary.errors import InvalidInputError

ARGUMENTS = {"cell_id": 7, "name": "a/b", "scale": 2.5}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("{cell_id}.npy", "7.npy"),
        ("{cell_id:04d}/{scale:.2f}-{{x}}.npy", "0007/2.50-{x}.npy"),
        ("{name}.npy", "a/b.npy"),
        ("fixed.npy", "fixed.npy"),
        (lambda cell_id: f"{cell_id}.npy", "7.npy"),
        (lambda cell_id, other="x": f"{cell_id}-{other}.npy", "7-x.npy"),
        (lambda **every: f"{every['cell_id']}.npy", "7.npy"),
        (lambda cell_id: PurePosixPath("cells", str(cell_id)), "cells/7"),
    ],
)
def test_targets_are_made_of_arguments(target: Any, path: str) -> None:
    assert path_of(target, ARGUMENTS) == path


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{cell}.npy", "wants cell, and the call has cell_id, name, scale"),
        ("{}.npy", "plain names"),
        ("{0}.npy", "plain names"),
        ("{cell_id.real}.npy", "plain names"),
        ("{cell_id", "cannot be made"),
        ("{cell_id:wrong}", "cannot be made"),
        (lambda cell: f"{cell}.npy", "wants cell, and the call has cell_id, name, scale"),
        (lambda cell_id: cell_id / 0, "ZeroDivisionError"),
        (lambda cell_id: cell_id, "gives a text, not 7"),
        (3, "target= is a text"),
        (None, "target= is a text"),
    ],
)
def test_a_wrong_target_is_one_sentence(target: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        path_of(target, ARGUMENTS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is absolute"),
        ("../x", "leads upwards"),
        ("a/../../x", "leads upwards"),
        ("a/../x", "leads upwards"),
        ("a//x", "empty part"),
        ("a/", "empty part"),
        ("./x", "empty part"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        (".braid-x", "begins with .braid-"),
        ("x" * 256, "more than 255 bytes"),
        ("é" * 128, "more than 255 bytes"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_targets_outside_their_directory_are_refused(path: str, said: str) -> None:
    """From a template and from the values of arguments alike."""
    for target, arguments in ((path, {}), ("{part}", {"part": path})):
        with pytest.raises(InvalidInputError, match=said):
            path_of(target, arguments)


@settings(max_examples=50)
@given(st.text())
def test_every_path_is_inside_or_refused(path: str) -> None:
    try:
        check_path(path, path)
    except InvalidInputError:
        return
    assert not path.startswith("/")
    assert ".." not in PurePosixPath(path).parts
    assert str(PurePosixPath(path)) == path

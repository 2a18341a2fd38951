"""What was tried with files is followed from path to path, in order."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from braid_hpc.collectors import attempts
from braid_hpc.collectors.attempts import Attempts, Place, is_own, matches
from braid_hpc.collectors.beginnings import OPEN_AT

R, W = Place(read=True), Place(written=True)
BOTH = Place(read=True, written=True)
FROM_A = Place(written=True, source="/w/a")
FROM_D = Place(written=True, source="/w/d")
R_AND_W = {"/w/a": R, "/v/a": W}


@pytest.mark.parametrize(
    ("taken", "places"),
    [
        ([("open", ("a", "r", 0))], {"/w/a": R}),
        ([("open", (b"a", "rb", 0)), ("open", ("../w/a", "r", 0))], {"/w/a": R}),
        ([("open", ("a", "r", 0)), ("open", ("a", "w", 0))], {"/w/a": BOTH}),
        ([("open", ("a", "x", 0)), ("open", ("a", "r", 0))], {"/w/a": W}),
        ([("open", ("a", None, os.O_RDWR | os.O_CREAT))], {"/w/a": W}),
        ([("open", ("a", None, os.O_RDONLY))], {"/w/a": R}),
        ([("open", (3, "r", 0))], {}),
        ([("open", ("a", "w", 0)), ("os.rename", ("a", "b", -1, -1))], {"/w/b": W}),
        ([("open", ("a", "w", 0)), ("os.remove", ("a", -1))], {}),
        ([("open", ("a", "r", 0)), ("os.link", ("a", "b", -1, -1))], {"/w/a": R, "/w/b": W}),
        # Whoever removes it by another way has removed it too.
        ([("open", ("a", "w", 0)), ("os.remove", ("a", 5))], {"/w/a": W}),
        ([("os.rename", ("a", "b", -1, -1))], {"/w/b": Place(written=True, source="/w/a")}),
        ([("os.rename", ("a", "b", -1, -1)), ("os.rename", ("b", "c", -1, -1))], {"/w/c": FROM_A}),
        ([("os.chdir", ("/v",)), ("open", ("a", "r", 0)), ("os.chdir", ("u",)), ("open", ("a", "r", 0))], None),
        ([("open", ("d/e/a", "w", 0)), ("os.rename", ("d", "b", -1, -1))], {"/w/b/e/a": W, "/w/b": FROM_D}),
        ([("open", ("a", "w", 0)), (OPEN_AT, ("a", os.O_RDONLY, "/v/a", True))], {"/v/a": R}),
        ([("open", ("a", "r", 0)), ("open", ("a", "w", 0)), (OPEN_AT, ("a", os.O_WRONLY, "/v/a", True))], R_AND_W),
        ([("open", ("a", "w", 0)), (OPEN_AT, ("a", os.O_RDONLY, "/v/a", False))], {"/w/a": W, "/v/a": R}),
        ([("os.truncate", ("a", 0))], {"/w/a": W}),
        ([("os.rename", ("/a", "/b", 5, 5))], {"/b": Place(written=True, source="/a")}),
    ],
)
def test_each_path_has_what_was_tried(taken: list[Any], places: dict[str, Place] | None) -> None:
    found = Attempts("/w").replay(taken)
    assert found.places == (places if places is not None else {"/v/a": R, "/v/u/a": R})
    assert found.unfollowed == found.beyond == 0


@pytest.mark.parametrize("attempt", [("os.rename", ("a", "b", 5, -1)), ("open", (None, "r", 0)), ("os.link", ())])
def test_what_cannot_be_followed_is_counted(attempt: Any) -> None:
    found = Attempts("/w").replay([attempt])
    assert (found.places, found.unfollowed) == ({}, 1)


def test_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PLACES", 3)
    found = Attempts("/w").replay([("open", (f"{number}", "r", 0)) for number in range(5)])
    assert (len(found.places), found.beyond) == (3, 2)


def test_the_interpreters_files_are_known() -> None:
    assert is_own(os.__file__)
    assert is_own(pytest.__file__)
    assert is_own("/proc/self/stat")
    assert is_own(sys.modules[__name__].__dict__["__file__"])
    assert not is_own("/dev/shm/data")
    assert not is_own("/work/data.h5")


def test_patterns_are_of_the_path_or_of_the_name() -> None:
    assert matches("/a/b.h5", ["*.h5"])
    assert matches("/a/b.h5", ["/a/*"])
    assert not matches("/a/b.h5", [])
    assert not matches("/a/b.h5", ["a/*", "B.h5"])

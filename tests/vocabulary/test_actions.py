"""Actions as they are given: what is taken, what is refused, what placeholders stand for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.vocabulary.actions import Invalidated, action_uid, check_action, check_actions, substituted
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

SCAN = Invalidated(
    "data:scan@2",
    "data",
    "scan; rm -rf /",
    2,
    "0f",
    ["/a b", "/c"],
    {"keV": 71.7, "n": [1, 2], "on": True},
    "off",
    "5e",
    0,
    "p",
)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("{nmae}", "{nmae} in '{nmae}' is no placeholder; there are {cause}, {id}"),
        ("{}", "is no placeholder"),
        ("{tag.}", "is no placeholder"),
        ("{name", "a lone '{'"),
        ("x}", "a lone '}'"),
        ("{{{nmae}}}", "is no placeholder"),
    ],
)
def test_what_is_no_placeholder_is_named_when_the_action_is_given(word: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as told:
        check_action(["echo", word])
    assert message in str(told.value)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [""],
        ["a", 3],
        "rm -rf",
        "module",
        "a:b:c",
        ".a:b",
        "-c:x",
        3,
        None,
        {},
        {"command": ["a"], "entry": "a:b"},
        {"comand": ["a"]},
        {"entry": "a:b", "timeout": 0},
        {"entry": "a:b", "timeout": True},
        {"entry": "a:b", "timeout": float("nan")},
        {"entry": "a:b", "name": ""},
        ["a\0b"],
    ],
)
def test_what_is_no_action_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError):
        check_actions(wrong)


def test_one_or_several_are_given() -> None:
    assert [action.command for action in check_actions(["a", "b"])] == [["a", "b"]]
    several = check_actions([["a", "b"], "m:f", {"command": ["c"], "name": "n", "timeout": 3}])
    assert [(a.command, a.entry, a.name, a.timeout) for a in several] == [
        (["a", "b"], None, None, None),
        ([], "m:f", None, None),
        (["c"], None, "n", 3.0),
    ]
    assert len({action_uid(action) for action in several}) == 3
    assert action_uid(check_action(("a", "b"))) == action_uid(several[0])
    assert action_uid(check_action(["ab"])) != action_uid(check_action(["a", "b"]))


def test_placeholders_stand_for_what_is_known() -> None:
    words = ["{name}", "x{kind}:{version}", "{uri}", "{tag.keV}", "{tag.on}", "{tag}", "{cause}{id}{statement}", "{{}}"]
    assert substituted(words, SCAN) == [
        "scan; rm -rf /",
        "xdata:2",
        "/a b",
        "71.7",
        "true",
        "keV=71.7,n=1,2,on=true",
        "off0f5e",
        "{}",
    ]


def test_what_the_record_does_not_have_is_named() -> None:
    with pytest.raises(NotFoundError, match="has no tag 'z'"):
        substituted(["{tag.z}"], SCAN)
    with pytest.raises(NotFoundError, match="has no uri"):
        substituted(["{uri}"], Invalidated("data:x@1", "data", "x", 1, "", [], {}, "", "", 0, ""))


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_any_text_can_be_given_as_it_is(words: list[str]) -> None:
    """With doubled braces; and as many arguments come out as went in."""
    doubled = [word.replace("{", "{{").replace("}", "}}") for word in words]
    assert substituted(check_action(doubled).command, SCAN) == words

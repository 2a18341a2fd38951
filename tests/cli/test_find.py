"""``braid find``: what a condition means, and what it finds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from braid_hpc.cli.conditions import format_condition, parse_condition
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.cli.conftest import ODD, Braid

QUOTED = f'"{ODD}"'.replace(ODD, ODD.replace('"', '\\"'))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("energy_keV=71.7", "energy_keV", 71.7),
        ('energy_keV="71.7"', "energy_keV", "71.7"),
        ("n=-3", "n", -3),
        ("n=+3", "n", 3),
        ("n=3.", "n", 3.0),
        ("n=1e3", "n", 1000.0),
        ("n=inf", "n", math.inf),
        ("n=-inf", "n", -math.inf),
        ("n=1_000", "n", "1_000"),
        ("n=0x10", "n", "0x10"),
        ("moving=true", "moving", True),
        ("moving=True", "moving", "True"),
        ('moving="true"', "moving", "true"),
        ("sample=", "sample", ""),
        ('sample=""', "sample", ""),
        ("a=b=c", "a", "b=c"),
        ('"a=b"=c=d', "a=b", "c=d"),
        ('"a=b"=3', "a=b", 3),
        ('"a=b"="3"', "a=b", "3"),
        (r'"q\"=\\"=x', 'q"=\\', "x"),
        (r's="\"x\""', "s", '"x"'),
        ('s="half', "s", '"half'),
        ('s="a" b', "s", '"a" b'),
        ("a b=c d", "a b", "c d"),
    ],
)
def test_a_condition_has_one_meaning(text: str, key: str, value: Any) -> None:
    found = parse_condition(text)
    assert found == (key, value)
    assert type(found[1]) is type(value)


def test_as_text_nothing_is_read_into_a_value() -> None:
    assert parse_condition("n=3", as_text=True) == ("n", "3")
    assert parse_condition('n="3"', as_text=True) == ("n", '"3"')
    assert math.isnan(parse_condition("n=nan")[1])


@pytest.mark.parametrize("wrong", ["no-equals", "=3", '"a=b"', '"a"b=3', '""=3', "", f"n={'9' * 5000}"])
def test_what_is_no_condition(wrong: str) -> None:
    with pytest.raises(InvalidInputError, match=r"is not a condition: write KEY=VALUE|is too long"):
        parse_condition(wrong)


SCALARS = some.one_of(some.text(), some.booleans(), some.integers(), some.floats(allow_nan=False))


@given(some.text(min_size=1), SCALARS)
def test_what_is_written_is_read_back(key: str, value: Any) -> None:
    found = parse_condition(format_condition(key, value))
    assert found == (key, value)
    assert type(found[1]) is type(value)


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (["energy_keV=71.7"], True),
        (["energy_keV=7.17e1"], True),
        (["energy_keV=71.8"], False),
        (['energy_keV="71.7"'], False),
        (["--text", "energy_keV=71.7"], False),
        (["n=3"], True),
        (["n=3.0"], True),
        (["s=3"], False),
        (['s="3"'], True),
        (["--text", "s=3"], True),
        (["moving=true"], True),
        (["moving=false"], False),
        (['moving="true"'], False),
        (["moving=1"], False),
        (["energy_keV=71.7", "n=3", "moving=true"], True),
        (["energy_keV=71.7", "n=4"], False),
        ([f"{QUOTED}={QUOTED}"], True),
        ([f"{ODD}={ODD}"], True),
        (['"a=b"=c=d'], True),
        (['"a=b"=3'], True),
        (['"a=b"=3', '"a=b"=c=d'], True),
        (['"a=b"=3', '"a=b"=4'], False),
        (["a=b=3"], False),
        (["n=' or 1=1 --"], False),
        (["--uri", f"s3://BUCKET/{ODD}"], True),
        (["--uri", f"s3://bucket/{ODD}", "--kind", "data"], True),
        (["--uri", f"s3://bucket/{ODD}", "--kind", "model"], False),
        (["--uri", "s3://bucket/"], False),
        (["n=3", "--kind", "fact"], True),
        (["--kind", "dataset"], False),
    ],
)
def test_find(cli: Braid, store: Path, conditions: list[str], found: bool) -> None:
    """By typed values and places; all has to hold; nothing found is exit code 3, with an empty list on stdout."""
    done = cli("find", *conditions, "--store", store, "--format", "json")
    rows = json.loads(done.stdout)
    assert bool(rows) == found
    assert done.exit_code == (0 if found else 3)
    if not found:
        assert done.stderr.startswith("braid: nothing carries ")


@pytest.mark.parametrize(
    ("words", "refs"),
    [
        (["kind = fact and energy_keV > 70"], ["fact:config@1"]),
        (["energy_keV>70", "n=3"], ["fact:config@1"]),
        (["kind=model"], ["model:net@1"]),
        (["kind = activity and param.rank = 1"], ["activity:train@2"]),
        (['name ~ "n*" or kind = fact'], ["fact:config@1", "model:net@1"]),
        (["kind = stream", "--limit", "1"], ["stream:positions@1"]),
        (["kind = model", "--at", "1"], ["model:net@1"]),
    ],
)
def test_searches(cli: Braid, store: Path, words: list[str], refs: list[str]) -> None:
    """A search, several of them, and words of the older form are one language."""
    done = cli("find", *words, "--store", store, "--format", "json")
    assert [row["ref"] for row in json.loads(done.stdout)] == refs
    assert done.exit_code == (0 if refs else 3)


def test_a_mistake_is_pointed_at(cli: Braid, store: Path) -> None:
    """One line that says what is wrong, then the search, then the caret."""
    done = cli("find", "kind = model and 🧵 >", "--store", store)
    assert done.exit_code == 2
    said, line, caret = done.stderr.splitlines()
    assert said == "braid: a value after > was expected here, and not the end"
    assert line == "  kind = model and 🧵 >"
    assert caret == "  " + " " * 21 + "^"


@pytest.mark.parametrize(
    ("search", "code", "hint"),
    [
        ("knid = model", 3, "nothing has a tag 'knid'; near it: the field kind"),
        ("parm.rate > 3", 3, "nothing has a tag 'parm.rate'; near it: the field param.rate"),
        ("not knid = model and kind = model", 0, "kind is a field; write tag.knid if the tag is meant"),
        ("enegry_keV > 3", 3, "nothing has a tag 'enegry_keV'; near it: the tag energy_keV"),
        ("s=two words", 3, "it was read as the tag 's' with the value 'two words', because as a search it does not"),
        ("s = two words", 2, "a text with spaces stands in double quotes"),
        ("kind=a=b", 2, "'and', 'or' or the end was expected here"),
    ],
)
def test_what_was_not_found_is_explained(cli: Braid, store: Path, search: str, code: int, hint: str) -> None:
    """A key that nothing has, and a word that is no search but may be a condition."""
    done = cli("find", search, "--store", store, "--format", "json")
    assert done.exit_code == code
    assert hint in done.stderr


def test_kinds_that_cannot_be_are_refused(cli: Braid, store: Path) -> None:
    done = cli("find", "--kind", "Bad", "--store", store)
    assert done.exit_code == 2
    assert "'Bad' cannot be a kind" in done.stderr


def test_runs_are_asked_in_the_same_language(cli: Braid, store: Path) -> None:
    def jobs(*words: str) -> list[str]:
        return [row["job"] for row in json.loads(cli("status", *words, "--store", store, "--format", "json").stdout)]

    assert jobs("status = ok and run.size = 2") == ["fit"]
    assert jobs("status != ok") == []
    ranks = cli("status", "run = fit", "--ranks", "--store", store, "--format", "json")
    assert [row["rank"] for row in json.loads(ranks.stdout)] == [0, 1]
    assert cli("status", "energy_keV > 3", "--store", store).exit_code == 2

"""Finding by typed tags and by uris, and tags that come back as what they were."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.store.finding import tags_of
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import made, one

VALUES: dict[str, Any] = {
    "text": "71.7",
    "number": 71.7,
    "int": 3,
    "float": 3.0,
    "true": True,
    "false": False,
    "one": 1,
    "wide": 2**200,
    "wide-float": float(2**200),
    "negative": -(2**64) - 1,
    "odd": 2**53 + 1,
    "odd-float": float(2**53),
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "tiny": 5e-324,
    "empty": "",
    "line": 'two\nlines, "quoted" = 🧵',
    "nan text": "nan",
    "true text": "true",
    "none": None,
    "list": [1, "a", None],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record for each value, by its name, with that value as its tag k."""
    folder = tmp_path_factory.mktemp("finding")
    with one(folder / "logs") as job:
        for name, value in VALUES.items():
            job[0].data(name, tags={"k": value})
        places = ["s3://b/1", "file:///nowhere/2", "DOI:10.5/ABC"]
        job[0].data("placed", uri=places, tags={"site": {"name": "APS", "ring": {"mA": 102}}})
        job[0].model("placed too", uri="doi:10.5/abc")
    made(folder / "logs", folder / "prov.duckdb").close()
    return folder / "prov.duckdb"


def test_tags_come_back_as_what_they_were(store: Path) -> None:
    with braid.open(store) as opened:
        ids = {row["name"]: row["id"] for row in opened.sql("from versions")}
        tags = tags_of(opened, list(ids.values()))
        for name, value in VALUES.items():
            found = tags[ids[name]]["k"]
            assert type(found) is type(value), name
            assert found == value or (math.isnan(found) and math.isnan(value)), name
        assert opened.describe("data:placed")["tags"] == {"site.name": "APS", "site.ring.mA": 102}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (71.7, {"number"}),
        ("71.7", {"text"}),
        (3, {"int", "float"}),
        (3.0, {"int", "float"}),
        (True, {"true"}),
        (1, {"one"}),
        ("true", {"true text"}),
        (False, {"false"}),
        (0, set()),
        (2**200, {"wide", "wide-float"}),
        (2**200 + 1, set()),
        (-(2**64) - 1, {"negative"}),
        (2**53 + 1, {"odd"}),
        (2**53, {"odd-float"}),
        (math.nan, {"nan"}),
        ("nan", {"nan text"}),
        (math.inf, {"inf"}),
        (-math.inf, {"-inf"}),
        (5e-324, {"tiny"}),
        (10**400, set()),
        ("", {"empty"}),
        ('two\nlines, "quoted" = 🧵', {"line"}),
        (None, {"none"}),
        ([1, "a", None], {"list"}),
        ("' or 1=1 --", set()),
    ],
)
def test_values_are_found_by_their_type(store: Path, value: Any, names: set[str]) -> None:
    """A number is not a text, a truth value not a number; equal ints and floats are one number, exactly."""
    with braid.open(store) as opened:
        assert set(opened.find({"k": value})["name"]) == names


@pytest.mark.parametrize(("value", "like"), [(np.float32(71.7), 1.5), (np.int64(-5), 5), (np.bool_(True), "x")])
def test_a_number_of_numpy_is_found_by_itself(value: Any, like: Any, tmp_path: Path) -> None:
    """As it was recorded."""
    with one(tmp_path / "logs") as job:
        job[0].data("it", tags={"k": value, "in": {"k": value}})
        job[0].data("other", tags={"k": like})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert opened.find({"k": value})["name"] == ["it"]
        assert opened.find({"in": {"k": value}})["name"] == ["it"]


def test_texts_that_are_not_utf8_are_found_as_they_were_given(tmp_path: Path) -> None:
    """As a file's name may be, which Python gives lone surrogates."""
    odd = "scan-\udcff"
    with one(tmp_path / "logs") as job:
        job[0].data(odd, uri=f"s3://b/{odd}", tags={odd: odd})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        ref = opened.get(f"data:{odd}").ref
        assert opened.find({odd: odd})["name"] == opened.find(uri=f"s3://b/{odd}")["name"] == [opened.get(ref).name]
        assert not opened.lineage(odd).nodes[0].cause
        opened.invalidate(f"{odd}@1", cause="x")
        assert not opened.lineage(ref).nodes[0].valid


@pytest.mark.parametrize(
    "wrong", [{"uri": 3}, {"uri": ["a", b"b"]}, {"kind": 3}, {"kind": ["data"]}, {"tags": {3: 3}}, {"tags": ["k"]}]
)
def test_what_cannot_be_asked_for_is_refused(store: Path, wrong: dict[str, Any]) -> None:
    """Nothing that was recorded is like it, so "nothing found" would mislead."""
    with braid.open(store) as opened, pytest.raises(InvalidInputError):
        opened.find(**wrong)


def test_uris_keep_their_order_and_are_found_in_any_spelling(store: Path) -> None:
    with braid.open(store) as opened:
        assert opened.describe("data:placed")["uris"] == ["s3://b/1", "file:///nowhere/2", "DOI:10.5/ABC"]
        assert opened.find(uri="doi:10.5/aBc")["name"] == ["placed", "placed too"]
        assert opened.find(uri="doi:10.5/aBc", kind="model")["name"] == ["placed too"]
        assert opened.find(uri=["doi:10.5/abc", "s3://b/1"])["name"] == ["placed"]
        assert opened.find(uri="s3://B/1")["name"] == ["placed"]
        assert len(opened.find(uri="S3://b/l")) == 0
        assert len(opened.find(uri="s3://b/")) == 0
        assert opened.find({"site.ring.mA": 102}, uri="s3://b/1")["name"] == ["placed"]
        assert len(opened.find({"site.ring.mA": 103}, uri="s3://b/1")) == 0
        with pytest.raises(InvalidInputError, match="nothing is asked for"):
            opened.find()


def test_a_number_of_more_digits_than_python_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused where it is given, and the record is kept; the widest that is taken comes back."""
    monkeypatch.delenv("BRAID_STRICT")
    with one(tmp_path / "logs") as job:
        job[0].data("vast", tags={"k": 10**5000})
        job[0].fact("vast value", 10**5000)
        job[0].data("wide", tags={"k": 1 - 2**4096})
        job[0].fact("wide value", 2**4096 - 1)
    assert "an integer of 16,610 bits is too wide" in capsys.readouterr().err
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        assert "tags" not in opened.describe("data:vast")
        assert "value" not in opened.describe("vast value")
        assert opened.describe("data:wide")["tags"] == {"k": 1 - 2**4096}
        assert opened.describe("wide value")["value"] == 2**4096 - 1
        assert opened.find({"k": 1 - 2**4096})["name"] == ["wide"]

"""A store to search in, of recorded runs, and conditions that often hold of something in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as some

from braid_hpc.queries.fields import Field
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.tree import Condition
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import Job, made, one
from tests.queries.made import values

HOSTILE = "x'); drop table tags; --"
VALUES: dict[str, Any] = {
    "text": "71.7",
    "number": 71.7,
    "int": 3,
    "float": 3.0,
    "true": True,
    "one": 1,
    "wide": 2**200,
    "wide-float": float(2**200),
    "negative": -(2**130),
    "odd": 2**53 + 1,
    "odd-float": float(2**53),
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "empty": "",
    "line": 'two\nlines, "quoted" = 🧵',
    "scan-7": "Nickel",
    "Scan-8": "Nikcel",
    HOSTILE: HOSTILE,
    " @1": [1, "a", None],
}


def record(logs: Path) -> None:
    with one(logs, name="values") as job:
        for at, (text, given) in enumerate(VALUES.items()):
            job[0].data(text, tags={"k": given, "a=b": at, HOSTILE: True}, digest=f"x:{at}")
        job[0].data("placed", uri=["s3://b/1", "DOI:10.5/ABC"], tags={"site": {"name": "APS", "ring": {"mA": 102}}})
        job[0].fact("config", {"threshold": 40, "site": {"mA": 102.5}, "a.b": "x", "on": True, "wide": 2**63})
        # An outer key that looks like a path, and the path.
        numbers = {"a": {"b": 2}, "a.b": 1, "nan": math.nan, "nan-text": "nan", "inf": math.inf, "-inf": -math.inf}
        wide = {"huge": 10**40, "-huge": -(10**40), "giant": 10**400, "wide-float": 1e40, "odd": 2**70 + 1}
        job[0].fact("numbers", numbers | wide)
        with job[0].activity("numbers", params=numbers | wide):
            pass
        job[0].fact("number", 40)
    with Job(logs, 2, name="fit") as pair:
        for rank, run in enumerate(pair.runs):
            peaks = run.data("peaks", digest="p:0", tags={"rank": rank})
            with run.activity("train", used=peaks, params={"rank": rank, "rate": 0.5, "name": "adam"}):
                run.model("net", digest=f"w:{rank}", derived_from=[peaks])
            with pytest.raises(ZeroDivisionError), run.activity("fails"):
                _ = 1 / 0
            run.tag(peaks, "late", "yes")
        run.data("lost", derived_from=["nothing@3"])


def searched(folder: Path) -> Path:
    """Make a store of two runs and a statement."""
    record(folder / "logs")
    with made(folder / "logs", folder / "prov.duckdb") as store:
        store.invalidate("data:peaks", cause="shutter")
    return folder / "prov.duckdb"


KEYS = some.sampled_from(["k", "a=b", "rank", "site.name", "site.ring.mA", "late", HOSTILE, "no"])
PARTS = some.sampled_from(["rank", "rate", "name", "threshold", "site.mA", "a.b", "on", "wide", "no", "nan", "huge"])
TYPED = some.one_of(some.sampled_from([each for each in VALUES.values() if isinstance(each, (str, int, float))]))


@some.composite
def likely(draw: some.DrawFn) -> Condition:
    """Conditions that often hold of something in this store."""
    which = draw(
        some.one_of(
            some.builds(Field, some.just("tag"), KEYS),
            some.builds(Field, some.sampled_from(["param", "value"]), PARTS),
            some.sampled_from([Field("name"), Field("kind"), Field("rank"), Field("valid"), Field("version")]),
            some.sampled_from([Field("status"), Field("uri"), Field("run"), Field("value"), Field("step")]),
        )
    )
    known = {
        "tag": TYPED,
        "param": some.sampled_from([0, 1, 0.5, "adam", math.nan, "nan", 10**40, 1e40]),
        "value": some.sampled_from([40, 102.5, "x", True, 2**63, 2**63 - 1, math.nan, 10**40]),
        "name": some.sampled_from(list(VALUES)),
        "kind": some.sampled_from(["data", "fact", "activity"]),
        "uri": some.sampled_from(["s3://b/1", "doi:10.5/abc"]),
        "run": some.sampled_from(["fit", "values", "value"]),
    }
    operator = draw(some.sampled_from([Operator.EQ, Operator.NE, Operator.GT, Operator.LE, Operator.LIKE, Operator.IN]))
    value = draw(known.get(which.name, values(which.holds, Operator.EQ)))
    try:
        return Condition(which, operator, (value, value) if operator is Operator.IN else value)
    except InvalidInputError:
        return Condition(which, Operator.EQ, value)

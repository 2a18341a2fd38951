"""Declared tables whose class has changed since rows were recorded: what came and went is said, nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest

import braid_hpc as braid
from braid_hpc.campaigns import Campaign
from braid_hpc.run.tables import Type
from braid_hpc.store.selection import Changes
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import made, one


def declared(name: str, key: str = "name", **fields: Any) -> Any:
    """Give a class with fields, as the code is at some time."""
    return braid.table(name=name, key=key)(type(name, (), {"__annotations__": {"name": str, **fields}}))


def recorded(folder: Path, *ages: tuple[Any, list[dict[str, Any]]]) -> Store:
    """Record rows of one class after another, each in a merge of its own."""
    for cls, rows in ages:
        with one(folder / "logs") as job:
            for row in rows:
                job[0].declare(cls(**row))
        made(folder / "logs", folder / "prov.duckdb").close()
    return Store(folder / "prov.duckdb")


def test_columns_that_came_and_went_are_said(tmp_path: Path) -> None:
    """Added ones are null in older rows, removed ones are still there for who asks for them."""
    old, new = declared("Run", mass=float, site=str), declared("Run", mass=float, beta=float)
    older, newer = {"name": "a", "mass": 0.1, "site": "x"}, {"name": "b", "mass": 0.2, "beta": 2.5}
    with recorded(tmp_path, (old, [older])) as store:
        assert store.table(old).changes == Changes((), ())
        assert not store.table(old).changes
        assert store.table(new).changes == Changes(("beta",), ("site",))
        assert store.table(new).to_pylist() == [{"name": "a", "mass": 0.1, "beta": None}]
        assert store.table(new).filter(site="x", beta__isnull=True).count() == 1
    with recorded(tmp_path, (new, [newer])) as store:
        assert store.table(new).changes == Changes((), ("site",))
        assert store.table(new).to_pylist() == [{"name": "a", "mass": 0.1, "beta": None}, newer]
        assert store.table(old).to_pylist() == [older, {"name": "b", "mass": 0.2, "site": None}]
        assert [row.beta for row in store.table(new)] == [None, 2.5]


TIME = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("was", "now", "before", "after", "former"),
    [
        (str, float, "1.5", 2.5, "varchar"),
        (float, str, 1.5, "b", "double"),
        (int, float, 2**60 + 1, 0.5, "bigint"),
        (float, int, 0.5, 7, "double"),
        (int, bool, 5, True, "bigint"),
        (str, datetime, "monday", TIME, "varchar"),
        (bytes, str, b"\0", "x", "blob"),
    ],
)
def test_a_type_without_room_for_older_values_has_them_beside_it(
    tmp_path: Path, was: Any, now: Any, before: Any, after: Any, former: str
) -> None:
    """Both are found, as they were recorded, by either class, in rows, in conditions and in instances."""
    old, new = declared("Run", value=was), declared("Run", value=now)
    with recorded(tmp_path, (old, [{"name": "a", "value": before}])) as store:
        assert store.table(new).changes.retyped == ("value",), "before there is a row of the new class"
        assert store.table(new).to_pylist() == [{"name": "a", "value": None, f"value__{former}": before}]
        assert store.table(new).filter(**{f"value__{former}": before}).count() == 1
        assert [row.value for row in store.table(new)] == [before]
    with recorded(tmp_path, (new, [{"name": "b", "value": after}])) as store:
        rows = store.table(new)
        assert rows.changes == Changes((), (), ("value",))
        assert [(row.name, row.value) for row in rows] == [("a", before), ("b", after)]
        assert [row.value for row in store.table(old)] == [before, after]
        assert rows.filter(value=after).get().name == "b"
        assert rows.filter(**{f"value__{former}": before}).get().name == "a"
        assert rows.summary("value", f"value__{former}")["count"] == [1, 1]
        assert set(rows.to_arrow().column_names) == {"name", "value", f"value__{former}"}
        with pytest.raises(InvalidInputError, match=f"value__{former}"):
            rows.filter(other=1)


def test_a_wider_type_has_all_values(tmp_path: Path) -> None:
    """And there is nothing to be said of it."""
    old = declared("Run", value=Annotated[float, Type("float32")], n=Annotated[int, Type("int16")])
    new = declared("Run", value=float, n=int)
    ages = (old, [{"name": "a", "value": 0.5, "n": 1}]), (new, [{"name": "b", "value": 1e300, "n": 2**40}])
    with recorded(tmp_path, *ages) as store:
        for cls in (old, new):
            assert not store.table(cls).changes
            assert store.table(cls).to_arrow()["value"].to_pylist() == [0.5, 1e300]
            assert store.table(cls).to_arrow()["n"].to_pylist() == [1, 2**40]


def test_a_column_that_is_called_like_one_beside_is_its_own(tmp_path: Path) -> None:
    """`value__2` of the class is not what a change of `value` has made."""
    old, new = declared("Run", value=str, value__2=int), declared("Run", value=float, value__2=int)
    ages = (old, [{"name": "a", "value": "x", "value__2": 1}]), (new, [{"name": "b", "value": 0.5, "value__2": 2}])
    with recorded(tmp_path, *ages) as store:
        rows = store.table(new)
        assert [(row.value, row.value__2) for row in rows] == [("x", 1), (0.5, 2)]
        assert rows.changes == Changes((), (), ("value",))
        assert rows.filter(value__2=2, value=0.5).count() == 1


def test_three_types_are_three_columns(tmp_path: Path) -> None:
    classes = [declared("Run", value=kind) for kind in (str, float, bytes)]
    values = ["x", 0.5, b"y"]
    ages = [
        (cls, [{"name": str(at), "value": value}]) for at, (cls, value) in enumerate(zip(classes, values, strict=True))
    ]
    with recorded(tmp_path, *ages) as store:
        for cls in classes:
            assert [row.value for row in store.table(cls)] == values
        assert set(store.table(classes[2]).columns) == {"name", "value", "value__varchar", "value__double"}


def test_what_rows_belong_to_may_have_another_type_of_key(tmp_path: Path) -> None:
    """Rows of both ages find what they belong to, of their own age."""
    ages = []
    for kind, key in ((str, "a"), (int, 7)):
        parent = declared("Group", key="number", number=kind)
        child = declared("Part", group=parent)
        ages.append((child, [{"name": f"of {key}", "group": parent("first", key)}]))
    with recorded(tmp_path, *ages) as store:
        child = ages[1][0]
        assert store.table(child).filter(group__name="first").count() == 2
        assert [(row.name, row.group.number) for row in store.table(child)] == [("of a", "a"), ("of 7", 7)]
        assert [(row["group__number"], row["group__number__varchar"]) for row in store.table(child).rows()] == [
            (None, "a"),
            (7, None),
        ]


def test_a_campaign_of_a_class_that_changed_has_all_files(tmp_path: Path) -> None:
    def file(kind: Any) -> Any:
        return braid.table(name="Out", key="name", file="name")(
            type("Out", (), {"__annotations__": {"name": str, "t": kind}})
        )

    old, new = file(str), file(int)
    with recorded(tmp_path, (old, [{"name": "a", "t": "x"}]), (new, [{"name": "b", "t": 5}])) as store:
        campaign = Campaign(store)
        assert [(row["name"], row["t"], row["t__varchar"]) for row in campaign.missing(new)] == [
            ("a", None, "x"),
            ("b", 5, None),
        ]
        assert campaign.missing(new, t__gt=4)["name"] == ["b"]
        assert campaign.counts(new, "t__varchar")["total"] == [1, 1]

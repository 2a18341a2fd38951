"""Searches over a store that recorded runs made: object, text and a plain reading in Python find the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import braid_hpc as braid
from braid_hpc.queries import Query, field, kind, name, parse_query, tag, valid
from braid_hpc.queries.values import LONGEST
from braid_hpc.store.compiling import MOST, Compiler
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import BraidWarning, InvalidInputError
from tests.jobs import deliver, made, one
from tests.store.oracle import holds, rows_of
from tests.store.searched import HOSTILE, VALUES, searched


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An open store of two runs and a statement, and its rows as the public views have them."""
    with braid.open(searched(tmp_path_factory.mktemp("searching"))) as store:
        yield store, rows_of(store)


def found(store: Store, query: Query | str) -> list[str]:
    return sorted(store.find(query)["ref"])


def test_hostile_texts_are_only_looked_for(asked: tuple[Store, dict[str, Any]]) -> None:
    store, rows = asked
    for ask in (tag("k") == HOSTILE, name == HOSTILE, name.like(HOSTILE), name.contains(HOSTILE)):
        assert found(store, ask) == [ref for ref, row in rows.items() if row["name"] == HOSTILE]
    assert len(found(store, tag(HOSTILE) == True)) == len(VALUES)  # noqa: E712
    compiler = Compiler(store, store.snapshot)
    text, given = compiler.statement(compiler.condition((tag(HOSTILE) == HOSTILE) | name.matches("drop table")))
    assert "drop" not in text
    assert HOSTILE in given.values()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("k > 3", {"number", "wide", "wide-float", "odd", "odd-float", "inf"}),
        ("k >= 3 and k < 4", {"int", "float"}),
        ("k > 9007199254740992", {"wide", "wide-float", "odd", "inf"}),
        ("k >= 9007199254740993", {"wide", "wide-float", "odd", "inf"}),
        (f"k = {2**200}", {"wide", "wide-float"}),
        (f"k > {2**200 - 1}", {"wide", "wide-float", "inf"}),
        (f"k > {2**200}", {"inf"}),
        (f"k < {-(2**129)}", {"negative", "-inf"}),
        (f"k < {-(2**130)}", {"-inf"}),
        ("k = nan", {"nan"}),
        ('"a=b" > 17.5', {HOSTILE, " @1"}),
        ('"a=b" >= 17.5', {HOSTILE, " @1"}),
        ('"a=b" < 0.5', {"text"}),
        ('"a=b" <= 0.5', {"text"}),
        ('"a=b" < inf and k = true', {"true"}),
        ('"a=b" in (0.5, 1.0)', {"number"}),
        ('k similar "Nickel"', {"scan-7", "Scan-8"}),
        ('k similar "Nickel" at 1', {"scan-7"}),
        ('k similar "Nickel" and k != "Nickel"', {"Scan-8"}),
        ("k similar Copper", set()),
        ("k matches '^Ni[ck]'", set()),
        ('k matches "^Ni[ck]" and name ~ "scan-*"', {"scan-7"}),
        ('name ~ "[sS]can-?"', {"scan-7", "Scan-8"}),
        ('kind = data and k > "o"', {"line", HOSTILE}),
        ("site.ring.mA >= 102", {"placed"}),
        ("uri = doi:10.5/abc", {"placed"}),
        ('uri ~ "s3:*" and not uri = doi:10.5/abc', set()),
        ("param.rate < 1 and param.rank = 1", {"train"}),
        ("value.site.mA > 102 and value.a.b = x and value.on = true", {"config"}),
        ("value = 40", {"number"}),
        ("status = failed", {"fails"}),
        ("kind = activity and run = fit and not status = failed", {"train"}),
        ("rank = 1 and kind = data", {"peaks", "lost"}),
        ("invalid", {"peaks", "net", "train"}),
        ("placeholder", {"nothing"}),
        ("late = yes", {"peaks"}),
        ("end_time exists and param.name exists", {"train"}),
        ("time > 2100-01-01", set()),
        ("run.job = values and kind = fact", {"config", "number", "numbers"}),
        ("run.size = 2 and kind in (model, data)", {"peaks", "net", "lost"}),
    ],
)
def test_searches(asked: tuple[Store, dict[str, Any]], text: str, names: set[str]) -> None:
    store, rows = asked
    if "placeholder" in text:
        names = {row["name"] for row in rows.values() if row["placeholder"]}
    assert set(store.find(text)["name"]) == names


def test_a_search_and_keywords_are_joined_and_rows_have_an_order(asked: tuple[Store, dict[str, Any]]) -> None:
    """The order, the columns, the limit, and that keywords and a search are joined."""
    store, _ = asked
    table = store.find((kind == "data") & (valid == True), tags={"a=b": 2})  # noqa: E712
    assert table.columns == ["ref", "id", "kind", "name", "version", "uid", "time", "digest"]
    assert table["ref"] == ["data:int@1"]
    assert pa.table(table).num_rows == 1
    every = store.find("kind = data")["ref"]
    assert every == [store.get(ref).ref for ref in every]
    assert store.find("kind = data", limit=3)["ref"] == every[:3]
    assert store.find({"k": 3}, kind="data")["name"] == store.find(tags={"k": 3})["name"] == ["float", "int"]
    assert store.find(field("run", "job") == "fit", kind="activity", limit=1)["name"] == ["fails"]


def test_what_runs_are_asked(asked: tuple[Store, dict[str, Any]]) -> None:
    store, _ = asked
    jobs = [row["job"] for row in store.find_runs()]
    assert jobs[:2] == ["values", "fit"]
    assert store.find_runs("run = fit and status = ok")["job"] == ["fit"]
    assert store.find_runs("status != ok or rank = 1")["job"] == ["fit"]
    assert store.find_runs(field("run", "size") > 1, limit=1)["size"] == [2]
    assert store.find_runs("run.job ~ 'val*'")["job"] == []
    assert store.find_runs('run ~ "val*"')["job"] == ["values"]
    assert len(store.find_runs(f"run = {store.find_runs('run = fit')['run'][0][:8]}")) == 1
    assert store.find_runs().columns == store.sql("from runs").columns
    with pytest.raises(InvalidInputError, match=r"a run has no energy_keV: .* 'run\.'"):
        store.find_runs("energy_keV > 70")
    with pytest.raises(InvalidInputError, match="a run has no kind"):
        store.find_runs("kind = data")


def test_runs_that_did_not_succeed_or_never_stopped(tmp_path: Path) -> None:
    """Exactly those, by one condition on the status, and each by its own."""
    logs = tmp_path / "logs"
    with one(logs, name="fine") as job:
        job[0].data("d", digest="x:0")
    with pytest.raises(ZeroDivisionError), braid.job("fails", log_dir=logs):
        _ = 1 / 0
    with one(tmp_path / "node", name="killed") as job:
        job[0].data("d", digest="x:0")
        deliver(job.folder(0), logs)
    with made(logs, tmp_path / "prov.duckdb") as store:
        assert sorted(store.find_runs("status != ok")["job"]) == ["fails", "killed"]
        assert store.find_runs("status = failed")["job"] == ["fails"]
        assert store.find_runs("run.status = incomplete")["job"] == ["killed"]
        assert store.find("run.status = incomplete and kind = data")["ref"] == store.find("kind = data")["ref"]
        assert len(store.find("not run.status = incomplete and kind = data")) == 0


def test_earlier_snapshots_and_times(tmp_path: Path) -> None:
    """At a snapshot: what the store knew. As of a time: what had been said, by the clocks of those who said it."""
    with one(tmp_path / "logs") as first:
        first[0].data("early", digest="x:0", tags={"n": 1})
    store = made(tmp_path / "logs", tmp_path / "prov.duckdb")
    store.close()
    with one(tmp_path / "more") as second:
        second[0].data("later", digest="x:1", tags={"n": 1})
        with second[0].activity("work"):
            pass
    with made(tmp_path / "more", tmp_path / "prov.duckdb") as store:
        store.invalidate("data:early", cause="x")
    with braid.open(tmp_path / "prov.duckdb") as store:
        assert store.find("n = 1")["name"] == ["early", "later"]
        assert store.find("n = 1", at=1)["name"] == ["early"]
        assert store.find("valid and n = 1")["name"] == ["later"]
        assert store.find("valid and n = 1", at=2)["name"] == ["early", "later"]
        assert len(store.find_runs(at=1)) == 1
        between = store.sql("select epoch_ns(time) as t from versions where name = 'later'")["t"][0] - 1
        assert store.find("n = 1", as_of=between)["name"] == ["early"]
        with pytest.raises(InvalidInputError, match="is before the first event"):
            store.find("n = 1", as_of="2020-01-01")
        assert store.find("kind = activity", as_of=between)["name"] == []
        assert store.find("valid and n = 1", as_of=between)["name"] == ["early"]
        ended = store.sql("select epoch_ns(end_time) as t from activities")["t"][0]
        assert store.find("status = ok", as_of=ended)["name"] == ["work"]
        assert store.find("status = unfinished", as_of=ended - 1)["name"] == ["work"]
        for wrong in (0, 99):
            with pytest.raises(InvalidInputError, match="there is no snapshot"):
                store.find("n = 1", at=wrong)
        with pytest.raises(InvalidInputError, match="is not a time"):
            store.find("n = 1", as_of="yesterday")


def test_a_run_that_went_on_at_a_time_had_not_ended(tmp_path: Path) -> None:
    """Its status and its end are later than that; what had ended by then is as it is now."""
    for which in ("first", "second"):
        with one(tmp_path / "logs", name=which) as job:
            job[0].data(which, digest=f"x:{which}")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        times = store.sql("select epoch_ns(begin_time) as b, epoch_ns(end_time) as e from runs order by begin_time")
        (_, end), (begin, last) = zip(times["b"], times["e"], strict=True)
        for as_of, ended in ((begin, False), (last - 1, False), (last, True)):
            first, second = store.find_runs(as_of=as_of)
            assert (first["status"], first["end_time"].nanoseconds) == ("ok", end)
            assert first["events"] > 0
            assert second["status"] == ("ok" if ended else "incomplete")
            assert (second["end_time"] is not None, second["events"] is not None) == (ended, ended)
            assert len(store.find_runs("status = ok", as_of=as_of)) == 1 + ended
        (said,) = store.sql("select epoch_ns(time) as t from versions where name = 'second'")["t"]
        for text in ("run.status = ok", "run.end_time exists", "run.events > 0", "run.lost = 0"):
            assert store.find(f"kind = data and {text}", as_of=said)["name"] == ["first"], text
        assert store.find("run.job = second and run.status = incomplete", as_of=said)["name"] == ["second"]
        assert [row["job"] for row in store.find_runs("host exists", as_of=end)] == ["first"]


def test_tags_that_were_added_later_are_not_there_before(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        record = job[0].data("it", digest="x:0", tags={"n": 1})
        job[0].tag(record, "late", True)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        said = dict(store.sql("select key, epoch_ns(time) as t from tag_rows").to_arrow().to_pydict())
        times = dict(zip(said["key"], said["t"], strict=True))
        assert times["n"] < times["late"]
        assert store.find("late = true", as_of=times["late"])["name"] == ["it"]
        assert store.find("late = true", as_of=times["late"] - 1)["name"] == []
        assert store.find("n = 1", as_of=times["late"] - 1)["name"] == ["it"]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (f"huge = {10**40}", True),
        ("huge = 1e40", False),
        (f"huge > {10**40 - 1} and huge < {10**40 + 1}", True),
        (f'"-huge" = {-(10**40)} and "-huge" < {-(10**39)}', True),
        (f"giant = {10**400} and giant > 1e308 and giant < inf", True),
        ('"wide-float" = 1e40', True),
        (f'"wide-float" = {10**40}', False),
        (f"odd = {2**70 + 1}", True),
        (f"odd = {2**70}", False),
        ("nan = nan", True),
        ('nan = "nan"', False),
        ('"nan-text" = "nan"', True),
        ('"nan-text" = nan', False),
        ("inf > 5 and inf = inf", True),
        ('"-inf" < 5', True),
        ("nan > 5 or nan < 5", False),
    ],
)
def test_parameters_and_values_are_as_exact_as_tags(
    asked: tuple[Store, dict[str, Any]], text: str, holds: bool
) -> None:
    """Numbers beyond 64 bits and those that JSON lacks."""
    store, _ = asked
    for family, ref in (("param", "activity:numbers@1"), ("value", "fact:numbers@1")):
        words = [f"{family}.{word}" if at % 4 == 0 else word for at, word in enumerate(text.split())]
        assert found(store, " ".join(words)) == ([ref] if holds else [])


def test_a_dot_is_a_part_of_a_key_or_leads_into_it(asked: tuple[Store, dict[str, Any]]) -> None:
    store, _ = asked
    assert found(store, "value.a.b = 1") == found(store, "value.a.b = 2") == ["fact:numbers@1"]


MANY = [
    *(f"k = {value}" for value in ("71.7", '"71.7"', "3", "true", "1", "nan", "inf", str(2**200), str(2**53))),
    *(f"rank = {rank}" for rank in range(3)),
    *('"a=b" > 7', "not valid", "run = fit", "run.job = values", "run exists", "run.size > 1", 'uri = "s3://b/1"'),
    *("param.rank = 1", "param.name = adam", "value.threshold = 40", "value = 40", "value.a.b = x", "status != ok"),
    *("name ~ scan*", "version > 1", "step exists", "time > 2026-01-01", "host exists", "kind = model", "late exists"),
]


def test_many_conditions_hold_of_what_they_hold_of_one_by_one(asked: tuple[Store, dict[str, Any]]) -> None:
    """Joined in every way, and more of them than are joined by words of SQL."""
    store, rows = asked
    one, other = " or ".join(MANY[::2]), " or ".join(MANY[1::2])
    for text in (
        " or ".join(MANY[:14]),
        f"({one}) and not ({other})",
        f"not (({one}) and ({other}))",
        f"({' and '.join(f'not {each}' for each in MANY[:12])}) or ({' and '.join(MANY[18:20])}) or version != 1",
    ):
        query = parse_query(text)
        assert found(store, query) == sorted(ref for ref, row in rows.items() if holds(query, row)), text


def test_a_table_is_read_once_whatever_is_asked_of_it(asked: tuple[Store, dict[str, Any]]) -> None:
    """A subquery for each condition took minutes for some hundreds of them."""
    store, _ = asked
    compiler = Compiler(store, store.snapshot)
    where = compiler.condition(parse_query(" or ".join(f"a{at} = {at} or param.p{at} > 1" for at in range(200))))
    text, _ = compiler.statement(f"select t.id from {compiler.rows('things')} where {where}")
    assert "select" not in where
    assert text.count("from tag_rows") == text.count("from labels") == text.count("from ran_parts") == 1
    assert len(store.find(" or ".join(f"a{at} = {at}" for at in range(MOST)))) == 0


@pytest.mark.parametrize("count", [2, 100])
def test_one_of_several_values_is_as_exact_as_one(asked: tuple[Store, dict[str, Any]], count: int) -> None:
    store, rows = asked
    given = [value for value in VALUES.values() if isinstance(value, (str, int, float))]
    others = [*given, 2**53, 0.5, 10**400, -math.inf]
    for at in range(0, len(others), 2):
        query = tag("k").one_of([*others[at : at + 2], *(f"no {number}" for number in range(count - 2))])
        assert found(store, query) == sorted(ref for ref, row in rows.items() if holds(query, row)), query
    versions = f"version in ({', '.join(str(each) for each in (1, 1.5, 'inf', 10**50, *range(5, count)))})"
    assert found(store, versions) == found(store, "version = 1 or version > 4")
    names = parse_query(f"name in (config, {', '.join(f'no{at}' for at in range(count))})")
    assert found(store, names) == ["fact:config@1"]
    times = [row["time"] for row in store.sql("select epoch_ns(time) as time from versions")]
    assert len(store.find(f"kind != activity and time in ({', '.join(map(str, times))})")) == len(times)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "Bad"}, "'Bad' cannot be a kind"),
        ({"query": "kind = Bad"}, "'Bad' cannot be a kind"),
        ({"query": "kind ="}, "a value after = was expected"),
        ({"query": 3}, "is no search"),
        ({"query": tag("k").matches("((")}, "no regular expression: missing"),
        ({"query": tag("k").matches("(?=a)")}, "no regular expression"),
        ({"query": "n = 1", "limit": 0}, "is no limit"),
        ({"query": "n = 1", "limit": True}, "is no limit"),
        ({"query": tag("k").matches("(a{1000}){1000}")}, "no regular expression"),
        ({"query": (name == "x" * LONGEST) | (name == "y")}, "is too long"),
        ({"query": " or ".join(f"a{at} = 1" for at in range(MOST + 1))}, "501 conditions is too long: 500 at most"),
        ({}, "nothing is asked for"),
        ({"query": {}}, "nothing is asked for"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    asked: tuple[Store, dict[str, Any]], wrong: dict[str, Any], says: str
) -> None:
    store, _ = asked
    with pytest.raises(InvalidInputError, match=says) as raised:
        store.find(**wrong)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250


def test_an_expression_that_is_none_is_pointed_at(asked: tuple[Store, dict[str, Any]]) -> None:
    """Only the store can tell, and the text may be a part of a larger search by then."""
    store, _ = asked
    text = 'kind = data and name matches "(("'
    for query in (text, parse_query(text), parse_query("k = 1") & parse_query(text)):
        with pytest.raises(InvalidInputError, match="no regular expression") as raised:
            store.find(query)
        assert raised.value.__notes__ == [text, " " * text.index('"') + "^"]


def test_names_of_sixty_four_kib_are_looked_for(asked: tuple[Store, dict[str, Any]]) -> None:
    store, _ = asked
    long = "🧵" * 60_000
    assert len(store.find(name == long)) == len(store.find(f'name = "{long}"')) == len(store.find(name.like(long))) == 0
    assert parse_query(f'name = "{long}"') == (name == long)


@pytest.mark.parametrize(
    ("search", "field"),
    [("stauts = ok", "status"), ("not knid = model", "kind"), ("name = it and parm.rate != 1", "param.rate")],
)
def test_a_misspelt_field_is_warned_of(asked: tuple[Store, dict[str, Any]], search: str, field: str) -> None:
    """Also where it changes what is found to everything."""
    store, _ = asked
    with pytest.warns(BraidWarning, match=f"read as a tag.*: {field} is a field; write tag"):
        store.find(search)
    with pytest.warns(BraidWarning, match=f"read as a tag.*: {field} is a field; write tag"):
        store.find(parse_query(search))


def test_what_is_likely_a_tag_is_not_warned_of(tmp_path: Path) -> None:
    """A tag that something has, one that is said to be one, in text and in Python, and what is like no field."""
    with one(tmp_path / "logs") as job:
        job[0].data("it", digest="x:0", tags={"tank": 3})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert len(store.find("tank = 3")) == 1
        assert len(store.find("bench = 3 or sample = 3 or site.name = 3 or ranking = 3")) == 0
        for query in ("tag.bank = 3", '"bank" = 3', tag("bank") == 3, {"bank": 3}, str(tag("bank") == 3)):
            assert len(store.find(query)) == 0
        with pytest.warns(BraidWarning, match="bank is read as a tag"):
            store.find("bank = 3")

"""What cannot be recorded is kept, told once and counted, and nothing is raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.codes import Code, WriterState
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.rank_logs import declared, log_of, said

REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda run: run.record("Bad Kind", "x"), "cannot be a kind"),
    (lambda run: run.data(""), "name is a text"),
    (lambda run: run.data(5), "name is a text"),
    (lambda run: run.data("x", derived_from=5), "5 is not a record"),
    (lambda run: run.data("x", derived_from=[object()]), "is not a record"),
    (lambda run: run.data("x", derived_from="a@b"), "not a version"),
    (lambda run: run.fact("x", derived_from="data:y"), "no parents inside the workflow"),
    (lambda run: run.data("x", colour="red"), "colour= is not something a record has"),
    (lambda run: run.data("x", uri=5), "uri= is a text"),
    (lambda run: run.data("x", tags=5), "tags are a mapping"),
    (lambda run: run.data("x", array="text"), "array="),
    (lambda run: run.fact("x", object()), "cannot be kept"),
    (lambda run: run.data("x", shape="abc"), "invalid literal"),
    (lambda run: run.derive(5, "data:x"), "5 is not a record"),
    (lambda run: run.derive(run.data("x"), 5), "5 is not a record"),
    (lambda run: run.tag("data:x", "a", 1), "is not a record"),
    (lambda run: run.tag(run.data("x"), 5, 1), "not text"),
    (lambda run: run.activity("x", used=5), "5 is not a record"),
    (lambda run: run.activity("x", params=5), "params is a mapping"),
    (lambda run: run.stream("x", {}), "at least one column"),
    (lambda run: run.stream("x", {"a": "int128"}), "not a column type"),
    (lambda run: run.stream(["x"], {"a": "int32"}), "a stream's name is a text"),
    (lambda run: run.stream("x", {"a": "int32"}, units=5), "units is a mapping"),
    (lambda run: run.stream("x", {"a": "int32"}, derived_from=5), "5 is not a record"),
]


@pytest.mark.parametrize(("call", "reason"), REFUSED)
def test_wrong_input_is_raised_when_strict(run: braid.Run, call: Callable[[braid.Run], Any], reason: str) -> None:
    """As the one error that says what is wrong, or the builtin one that it is."""
    with pytest.raises(ValueError, match=reason):
        call(run)


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize(("call", "reason"), REFUSED)
def test_wrong_input_is_kept_and_not_raised(
    run: braid.Run, capsys: pytest.CaptureFixture[str], call: Callable[[braid.Run], Any], reason: str
) -> None:
    """Message and line stand in the log, the first is told, and what the call returns can be used."""
    result = call(run)
    refused = said(log_of(run), Code.REJECTED)
    assert len(refused) == 1
    assert reason in refused[0].value["message"]
    assert refused[0].value["where"].startswith(__file__)
    assert capsys.readouterr().err.count("braid:") == 1
    if isinstance(result, Record):
        run.data("child", derived_from=result)
        result.on_all_ranks()
    elif hasattr(result, "extend"):
        assert result.append(1).count == (1 if result.columns else 0)
        result.extend({"a": [1]})
    elif result is not None:
        with result:
            run.data("inside")


@pytest.mark.usefixtures("lenient")
def test_the_rest_of_a_call_is_recorded(run: braid.Run) -> None:
    """One wrong part takes no other part along: not the other parents, not the tags, not the record."""
    good = run.data("good")
    record = run.data("x", derived_from=[good, 5, "fact:y"], tags={"a": 1}, uri=7, unit="px", colour="red")
    assert record
    assert declared(run)["x"].value == {"parents": [good.sequence, "fact:y"], "tags": {"a": 1}, "unit": "px"}
    assert len(said(log_of(run), Code.REJECTED)) == 3
    with run.activity("act", used=[5, good], params={"p": 1}) as activity:
        activity.use(good, 6)
    (begin,) = said(log_of(run), Code.BEGIN)
    assert begin.value == {"used": [good.sequence], "params": {"p": 1}}
    assert [row.value for row in said(log_of(run), Code.USE)] == [{"links": [good.sequence]}]


@pytest.mark.usefixtures("lenient")
def test_refusals_are_told_once_and_counted(run: braid.Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The log's end says how many there were."""
    for _ in range(5):
        run.data("x", derived_from=5)
    assert capsys.readouterr().err.count("\n") == 1
    run.close()
    log = log_of(run)
    assert log.close is not None
    assert (log.close.rejected, len(said(log, Code.REJECTED))) == (5, 5)


class Odd:
    """What raises whenever it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")


@pytest.mark.usefixtures("lenient")
def test_nothing_is_raised_whatever_is_given(run: braid.Run) -> None:
    """An object that raises at every touch, in every place of every call."""
    odd: Any = Odd()
    record = run.data("good")
    run.record(odd, odd)
    run.data(odd)
    run.fact("fact", odd)
    for key in ("uri", "path", "array", "digest", "size", "dtype", "shape", "unit", "value", "derived_from", "tags"):
        run.data(f"x-{key}", **{key: odd})
        run.data(f"y-{key}", **{key: [odd]})
        run.data(f"z-{key}", **{key: {"a": odd}})
    run.derive(odd, odd)
    run.derive(record, [odd])
    run.tag(odd, odd, odd)
    run.tag(record, "key", odd)
    run.stream(odd, odd, units=odd, derived_from=odd, tags=odd)
    stream = run.stream("s", {"a": "int32", "t": "text", "b": "bool"})
    stream.append(odd, odd, odd)
    stream.append(a=odd)
    stream.extend(odd)
    stream.extend({"a": odd, "t": odd, "b": odd})
    stream.extend({"a": [odd], "t": [odd], "b": [odd]})
    with run.activity(odd, used=odd, params=odd) as activity:
        activity.use(odd)
        activity.data(odd, derived_from=odd)
        activity.end(result=odd, generated=odd)
    with run.activity("good", params={"a": odd}):
        pass

    @braid.activity("look")
    def look(*things: Any, **named: Any) -> Any:
        return things[0]

    assert look(odd, [odd], key=odd) is odd
    run.close()
    log = log_of(run)
    assert (log.state, log.faults) == (WriterState.CLOSED, [])
    assert len(said(log, Code.REJECTED)) > 40
    assert {"good", "look"} <= {row.name for row in said(log, Code.BEGIN)}
    assert len(said(log, Code.END)) == 3


def test_a_strict_error_is_an_error_of_ours(run: braid.Run) -> None:
    """Which a handler can tell from those of the program."""
    with pytest.raises(InvalidInputError):
        run.data("x", derived_from=5)

"""What steps record: the graph, what they return, and that what is refused leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.survey import read_writer
from braid_hpc.remote import place
from braid_hpc.remote.functions import FUNCTIONS
from braid_hpc.run.handles import Record
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError
from tests.jobs import edges_of, one

add_record_for_action_step = FUNCTIONS["add_record_for_action_step"]
add_transfer_request = FUNCTIONS["add_transfer_request"]
create_invalidation_action = FUNCTIONS["create_invalidation_action"]
add_invalidation_action_to_record = FUNCTIONS["add_invalidation_action_to_record"]
add_records = FUNCTIONS["add_records"]


@pytest.fixture(autouse=True)
def _ended() -> Any:
    """End the logs that a test's steps have opened."""
    yield
    place._close()
    place._RUNS.clear()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def store_of(logs: Path) -> Store:
    place._close()
    place._RUNS.clear()
    compact(logs, logs.parent / "prov.duckdb")
    return Store(logs.parent / "prov.duckdb")


def edges(store: Store) -> set[tuple[str, str]]:
    """By name alone."""
    names = [tuple(ref.partition(":")[2].rpartition("@")[0].strip('"') for ref in edge) for edge in edges_of(store)]
    return {(child, parent) for child, parent in names}


def state(result: Any) -> dict[str, Any]:
    """The state of a flow after a step, as Globus Flows keeps it."""
    return {"action_id": "x", "status": "SUCCEEDED", "details": {"result": [result], "task_id": "y"}}


def test_the_graph_of_a_flow(logs: Path) -> None:
    """Predecessors and inputs lead to the step, the step to its outputs; results are handed on as they are."""
    first = add_record_for_action_step(
        "move", output_record_defs=[{"name": "raw", "uris": "s3://b/raw"}, {"name": "log", "kind": "text"}]
    )
    second = add_record_for_action_step(
        "reduce",
        previous_step_output=state(first),
        input_record_ids=state(first),
        inputs_from_referenced_outputs=True,
        input_record_defs={"name": "settings"},
        output_record_defs={"name": "peaks"},
    )
    third = add_record_for_action_step(
        "train",
        previous_step_output=[first, second["flow_state_record_id"]],
        other_predecessor_record_ids=[second["input_record_ids"][2]],
        input_record_ids=second["output_record_ids"],
        output_record_ids=add_records({"name": "report"})[0]["record_id"],
    )
    assert set(third) == {"flow_state_record_id", "input_record_ids", "output_record_ids", "exception_str"}
    assert (len(second["input_record_ids"]), len(third["output_record_ids"])) == (3, 1)
    with store_of(logs) as store:
        assert edges(store) == {
            ("raw", "move"),
            ("log", "move"),
            ("reduce", "move"),
            ("reduce", "raw"),
            ("reduce", "log"),
            ("reduce", "settings"),
            ("peaks", "reduce"),
            ("train", "move"),
            ("train", "reduce"),
            ("train", "settings"),
            ("train", "peaks"),
            ("report", "train"),
        }
        assert store.sql("select code, message from problems").to_pylist() == []
        assert store.sql("select distinct kind from versions order by all")["kind"] == ["data", "step", "text"]


def test_tags_and_uris(logs: Path) -> None:
    """Nested tags become dotted keys at every depth, with their types; one uri or many, in order."""
    add_record_for_action_step("a", tags={"x": {"y": {"z": 1, "w": 1.5}, "v": True}, "s": "t"}, uris="u:1")
    add_record_for_action_step("b", step_result={"status": "SUCCEEDED"}, uris=["u:2", "u:1"])
    add_record_for_action_step("c", step_result={"x": 1})
    with store_of(logs) as store:
        rows = store.sql("select name, key, type, text from tags join versions using (id) order by name, key")
        assert [tuple(row.values()) for row in rows] == [
            ("a", "s", "str", "t"),
            ("a", "status", "str", "Not Provided"),
            ("a", "x.v", "bool", "true"),
            ("a", "x.y.w", "float", "1.5"),
            ("a", "x.y.z", "int", "1"),
            ("b", "status", "str", "SUCCEEDED"),
            ("c", "status", "str", "Not Present in Step Results"),
        ]
        uris = store.sql("select name, uri from uris join versions using (id) order by name, position")
        assert [tuple(row.values()) for row in uris] == [("a", "u:1"), ("b", "u:2"), ("b", "u:1")]


def test_a_transfer(logs: Path) -> None:
    before = add_record_for_action_step("before")
    asked = {
        "source_endpoint_id": "ep1",
        "destination_endpoint_id": "ep2",
        "transfer_items": [{"source_path": f"/a/{n}", "destination_path": f"/b/{n}"} for n in range(2)],
    }
    told = {"status": "SUCCEEDED", "details": {"task_id": "t-1"}}
    moved = add_transfer_request(state(before), asked, told)
    add_record_for_action_step("after", previous_step_output=state(moved), input_record_ids=moved["output_record_ids"])
    with store_of(logs) as store:
        task = "Globus Transfer task t-1"
        assert edges(store) == {
            (task, "before"),
            (task, "ep1:/a/0"),
            (task, "ep1:/a/1"),
            ("ep2:/b/0", task),
            ("ep2:/b/1", task),
            ("after", task),
            ("after", "ep2:/b/0"),
            ("after", "ep2:/b/1"),
        }
        uris = store.sql("select uri from uris order by uri")["uri"]
        assert uris[0] == "globustransfer://ep1//a/0"
        assert uris[-1] == "https://app.globus.org/activity/t-1/overview"


def test_an_action_is_attached_to_a_record_and_runs(logs: Path) -> None:
    step = add_record_for_action_step("scan", uris="s3://b/scan")
    action = create_invalidation_action("tell", command="echo", params=["{name}", "{uri}"])
    assert add_invalidation_action_to_record(state(step), state(action)) == {
        "flow_state_record_id": step["flow_state_record_id"],
        **action,
    }
    with store_of(logs) as store:
        store.invalidate("step:scan", cause="x")
        assert [(done.name, done.output) for done in store.run_actions()] == [("tell", "scan s3://b/scan\n")]


def test_records_and_what_came_of_them(logs: Path) -> None:
    step = add_record_for_action_step("step")
    tags = {"n": {"type": "INT", "value": "3"}, "deep": {"er": 1}}
    made = add_records(
        {
            "name": "a",
            "tags": tags,
            "derived_from_record_id": step["flow_state_record_id"],
            "derivations": [{"name": "b", "derivations": [{"name": "c"}]}, {"name": "d", "uris": ["u"]}],
        },
        {"name": "e"},
    )
    assert [each["name"] for each in made] == ["a", "e"]
    assert made[0]["tags"] == {"n": 3, "deep.er": 1}
    assert made[0]["derivations"][0]["derivations"][0]["record_id"]
    with store_of(logs) as store:
        assert edges(store) == {("a", "step"), ("b", "a"), ("c", "b"), ("d", "a")}


def test_records_are_handed_on_as_they_were_returned(logs: Path) -> None:
    """Wherever an id of a record is wanted, also in the state of a flow."""
    made = add_records([{"name": "a"}, {"name": "b", "kind": "fact", "derivations": [{"name": "c"}]}])
    add_record_for_action_step("s", previous_step_output=state(made), input_record_ids=made)
    add_record_for_action_step("t", output_record_ids=made[:1])
    add_records({"name": "d", "derived_from_record_id": made})
    action = create_invalidation_action(command="true")
    add_invalidation_action_to_record(made[0], action)
    with pytest.raises(InvalidInputError, match="is not an id"):
        add_invalidation_action_to_record(made[0], made[1])
    with store_of(logs) as store:
        assert edges(store) == {("c", "b"), ("s", "a"), ("s", "b"), ("a", "t"), ("d", "a"), ("d", "b")}


def missing() -> str:
    """An id of this process's log that is none."""
    known = Record.from_token(add_record_for_action_step("one")["flow_state_record_id"])
    return Record(known.writer, 999).token


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"previous_step_output": "17"}, "previous_step_output: '17' is not an id"),
        ({"previous_step_output": 17}, "17 is not an id"),
        ({"previous_step_output": "0" * 48}, "is not an id"),
        ({"previous_step_output": {"status": "FAILED"}}, "FAILED"),
        ({"previous_step_output": {"details": {"exception": "x"}}}, "no details.result"),
        ({"previous_step_output": {"details": {"result": []}}}, "no details.result"),
        ({"input_record_ids": ["zz" * 24]}, "input_record_ids: 'zzzz"),
        ({"tags": [1]}, "tags: a mapping is wanted"),
        ({"tags": {"a.b": 1, "a": {"b": 2}}}, "twice"),
        ({"tags": {1: 2}}, "not text"),
        ({"uris": [1]}, "uris: a text or a list"),
        ({"input_record_defs": {"uris": "u"}}, "the name of input_record_defs"),
        ({"output_record_defs": ["a"]}, "is not a record"),
        (
            {"output_record_defs": [{"name": "x"}, {"name": "y", "colour": 1}]},
            "output_record_defs[1]: a record has no col",
        ),
        ({"output_record_defs": {"name": "x", "kind": "A b"}}, "cannot be a kind"),
        ({"output_record_defs": {"name": "x", "kind": "fact"}}, "output_record_defs[0]: a fact takes no parents"),
        ({"tags": {"n": {"type": "INT", "value": 3.7}}}, "3.7 is not a whole number"),
        ({"step_name": ""}, "the name of a step"),
    ],
)
def test_what_is_malformed_is_named_and_nothing_written(wrong: dict[str, Any], named: str, logs: Path) -> None:
    """Also where all else of the call is right."""
    given = {"step_name": "s", "input_record_defs": {"name": "in"}, "output_record_defs": {"name": "out"}, **wrong}
    with pytest.raises(InvalidInputError) as told:
        add_record_for_action_step(**given)
    assert named in str(told.value)
    assert not logs.exists()


def test_an_id_that_this_place_does_not_hold_is_named_and_nothing_written(logs: Path) -> None:
    """Whichever function is given it; also one of something else than what is wanted."""
    lost = missing()
    vast = f"{lost[:32]}{'f' * 16}"
    record = add_record_for_action_step("two")["flow_state_record_id"]
    action = create_invalidation_action(command="true")["invalidation_action_id"]
    transfer = {"source_endpoint_id": "a", "destination_endpoint_id": "b", "transfer_items": []}
    held = len(declared(logs))
    calls: list[tuple[Any, tuple[Any, ...], str]] = [
        (add_record_for_action_step, ("s", None, None, [record, lost]), lost),
        (add_record_for_action_step, ("s", None, None, vast), vast),
        (add_record_for_action_step, ("s", None, None, action), action),
        (add_transfer_request, (lost, transfer, {"details": {"task_id": "t"}}), lost),
        (add_records, ({"name": "a", "derivations": {"name": "b", "derived_from_record_id": lost}},), lost),
        (add_invalidation_action_to_record, (lost, action), lost),
        (add_invalidation_action_to_record, (record, record), record),
    ]
    for function, given, named in calls:
        with pytest.raises(NotFoundError, match=named):
            function(*given)
    assert len(declared(logs)) == held


def declared(logs: Path) -> list[int]:
    """The sequences of what was declared, in all logs."""
    return [
        sequence
        for directory in find_writers(logs)
        for events in read_writer(directory).each(Code.DECLARE, Code.ATTACH)
        for sequence in events["sequence"].tolist()
    ]


def test_an_id_of_another_log_here_is_found(logs: Path) -> None:
    """A rank's record, in a log that this process did not write."""
    with one(logs) as job:
        scan = job[0].data("scan")
    add_record_for_action_step("s", input_record_ids=scan.token)
    with pytest.raises(NotFoundError):
        add_record_for_action_step("s", input_record_ids=Record(scan.writer, scan.sequence + 1).token)
    with store_of(logs) as store:
        assert edges(store) == {("s", "scan")}


def test_an_id_of_elsewhere_is_taken_and_said_at_compaction_until_it_comes(logs: Path, tmp_path: Path) -> None:
    with one(tmp_path / "elsewhere") as job:
        scan = job[0].data("scan")
    add_record_for_action_step("s", input_record_ids=scan.token)
    with store_of(logs) as store:
        assert store.sql("select kind from versions where placeholder")["kind"] == ["unseen"]
    compact(tmp_path / "elsewhere", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        assert edges(store) == {("s", "scan")}


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (create_invalidation_action, {}),
        (create_invalidation_action, {"command": "echo", "params": "x"}),
        (create_invalidation_action, {"command": "echo", "params": ["{nmae}"]}),
        (create_invalidation_action, {"command": "echo", "action_type": "automate"}),
        (add_invalidation_action_to_record, {}),
        (add_transfer_request, {}),
        (add_transfer_request, {"transfer_input": {"source_endpoint_id": "a"}, "transfer_result": {}}),
        (add_records, {"record_dicts": {"nmae": "a"}}),
        (add_records, {"record_dicts": {"name": "a", "derivations": {"name": "b", "kind": "fact"}}}),
        (add_records, {"record_dicts": {"name": "a", "kind": "fact", "derived_from_record_id": "ab" * 24}}),
        (add_records, {"record_dicts": {"name": "a", "tags": {"n": {"value": "x", "type": "INT"}}}}),
    ],
)
def test_other_wrong_calls(function: Any, given: dict[str, Any], logs: Path) -> None:
    with pytest.raises(BraidError):
        function(**given)
    assert not logs.exists()


def test_with_recording_off_steps_hand_on_nothing(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_DISABLE", "1")
    first = add_record_for_action_step("a", output_record_defs={"name": "out"})
    second = add_record_for_action_step("b", previous_step_output=state(first), input_record_ids=first)
    assert first["flow_state_record_id"] is None is second["flow_state_record_id"]
    assert not logs.exists()


def test_a_forked_child_has_a_log_of_its_own(logs: Path) -> None:
    before = add_record_for_action_step("parent")
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            made = add_record_for_action_step("child", previous_step_output=before)
            place._close()
            os.write(writing, made["flow_state_record_id"].encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        made = pipe.read()
    assert Record.from_token(made).writer != Record.from_token(before["flow_state_record_id"]).writer
    with store_of(logs) as store:
        assert edges(store) == {("child", "parent")}
        assert store.sql("select state from ranks")["state"] == ["closed", "closed"]

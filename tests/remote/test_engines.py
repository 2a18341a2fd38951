"""The functions as a Globus Compute endpoint runs them: the real serializer, the real engines, no cloud service."""

from __future__ import annotations

import inspect
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.remote.functions import FUNCTIONS
from braid_hpc.store.store import Store
from tests.jobs import edges_of

REASON = "the packages of Globus Compute have an environment of their own: make test-globus"
engines = pytest.importorskip("globus_compute_endpoint.engines", reason=REASON)
serialize = pytest.importorskip("globus_compute_sdk.serialize", reason=REASON)
concretes = pytest.importorskip("globus_compute_sdk.serialize.concretes", reason=REASON)

Submit = Callable[..., Any]

#: How functions travel: the default, and the others that need nothing of where they were written.
WAYS = [
    "AllCodeStrategies",
    "DillCode",
    "DillCodeSource",
    "DillCodeTextInspect",
    "PureSourceTextInspect",
    "CombinedCode",
]


def packed(function: Any, *args: Any, **kwargs: Any) -> bytes:
    """A task as the service hands it to an endpoint."""
    from globus_compute_common import messagepack
    from globus_compute_common.messagepack.message_types import Task

    serializer = serialize.ComputeSerializer()
    parts = [serializer.serialize(part) for part in (function, args, kwargs)]
    task = Task(task_id=uuid.uuid4(), task_buffer=serializer.pack_buffers(parts))
    return messagepack.pack(task)  # type: ignore[no-any-return]


def returned(result: bytes) -> Any:
    from globus_compute_common import messagepack

    told = messagepack.unpack(result)
    if told.error_details is not None:
        raise RuntimeError(told.data)
    return serialize.ComputeSerializer().deserialize(told.data)


@pytest.fixture(params=["ThreadPoolEngine", "ProcessPoolEngine"])
def submit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Submit]:
    engine = getattr(engines, request.param)(max_workers=3)
    engine.start(endpoint_id=uuid.uuid4(), run_dir=str(tmp_path / "endpoint"))

    def call(name: str, *args: Any, **kwargs: Any) -> Future[bytes]:
        future: Future[bytes] = future_of()
        engine.submit(future, packed(FUNCTIONS[name], *args, **kwargs), resource_specification={})
        return future

    yield call
    engine.shutdown(block=True)


def future_of() -> Any:
    from globus_compute_endpoint.engines.base import GCFuture

    return GCFuture(gc_task_id=uuid.uuid4())


def test_a_flow_through_an_engine(submit: Submit, tmp_path: Path) -> None:
    """Many steps at once; each process has a log of its own, and what one step returns the next one takes."""
    first = returned(submit("add_record_for_action_step", "first", output_record_defs={"name": "raw"}).result(60))
    flow = {"details": {"result": [first]}}
    middle = [
        submit("add_record_for_action_step", f"middle-{n}", previous_step_output=flow, input_record_ids=flow,
               inputs_from_referenced_outputs=True, tags={"n": {"of": n}})
        for n in range(12)
    ]  # fmt: skip
    results = [returned(each.result(60)) for each in middle]
    returned(submit("add_record_for_action_step", "last", previous_step_output=results).result(60))
    action = returned(submit("create_invalidation_action", "tell", command="echo", params=["{name}"]).result(60))
    returned(submit("add_invalidation_action_to_record", flow, action).result(60))
    returned(submit("add_records", {"name": "more"}).result(60))
    asked = {"source_endpoint_id": "a", "destination_endpoint_id": "b", "transfer_items": []}
    returned(submit("add_transfer_request", flow, asked, {"details": {"task_id": "t"}}).result(60))
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        assert len(edges_of(store)) == 1 + 12 * 2 + 12 + 1
        assert len(store.lineage("step:last").nodes) == 1 + 12 + 2
        assert store.sql("from problems").to_pylist() == []
        assert store.sql("select name from actions")["name"] == ["first"]
        assert 1 <= len(store.sql("from ranks")) <= 3


def test_an_error_comes_back_and_names_what_is_wrong(submit: Submit, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="'17' is not an id"):
        returned(submit("add_record_for_action_step", "s", previous_step_output="17").result(60))
    assert not (tmp_path / "logs").exists()


_ARRIVES = """
import json, sys
from globus_compute_sdk.serialize import ComputeSerializer
function = ComputeSerializer().deserialize(sys.stdin.read())
print(json.dumps(function("elsewhere", tags={"a": {"b": 1}})))
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_function_stands_alone_however_it_travels(way: str, tmp_path: Path) -> None:
    """In another interpreter, which has not imported its module."""
    strategy = getattr(concretes, way)()
    serializer = serialize.ComputeSerializer(strategy_code=strategy)
    sent = serializer.serialize(FUNCTIONS["add_record_for_action_step"])
    done = subprocess.run([sys.executable, "-c", _ARRIVES], input=sent, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "flow_state_record_id" in done.stdout


def test_the_calls_of_registration_are_those_of_the_real_client() -> None:
    from globus_compute_sdk import Client

    inspect.signature(Client.register_function).bind(None, FUNCTIONS["add_records"], description="x", public=False)
    inspect.signature(Client.get_endpoint_status).bind(None, str(uuid.uuid4()))

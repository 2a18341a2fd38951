"""With the real Bluesky: its RunEngine, its simulated devices, and the example documents of suitcase."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
import suitcase.utils.tests.conftest as suitcase
from bluesky import RunEngine
from event_model import DocumentNames, schema_validators
from ophyd.sim import det, det1, direct_img, img, motor, motor1, motor2

from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.store.store import Store
from tests.collectors.documents.instrument import Pair, check, folded
from tests.jobs import made, one, rows

Plan = Callable[[], Iterator[Any]]


def run_plans(folder: Path, *plans: Plan, metadata: dict[str, Any] | None = None) -> tuple[list[Pair], Store]:
    """Run plans with a collector; return copies of all documents as they were before, and the store."""
    seen: list[Pair] = []
    with one(folder / "logs") as job, DocumentCollector(job[0]) as collect:
        engine = RunEngine(metadata or {}, context_managers=[])
        engine.subscribe(lambda name, document: seen.append((name, copy.deepcopy(document))))
        engine.subscribe(lambda name, document: give_and_spoil(collect, name, copy.deepcopy(document)))
        for plan in plans:
            try:
                engine(plan())
            except ZeroDivisionError:
                assert seen[-1][0] == "stop"
    assert (collect.taken, collect.losses.counts) == (len(seen), {})
    return seen, made(folder / "logs", folder / "prov.duckdb")


def give_and_spoil(collect: DocumentCollector, name: str, document: dict[str, Any]) -> None:
    """Do to a document what other callbacks may do after its delivery: that is of no matter."""
    collect(name, document)
    for value in document.values():
        if isinstance(value, dict):
            value.clear()
    document.clear()


def check_all(seen: list[Pair], store: Store) -> None:
    """Every run comes back equal, whole, and valid."""
    for _, document in [pair for pair in seen if pair[0] == "start"]:
        found = store.documents(document["uid"])
        check(found, folded(seen, document["uid"]))
        assert found.whole, found.missing
        for name, each in found:
            schema_validators[DocumentNames[name]].validate(each)


def nested() -> Iterator[Any]:
    def outer() -> Iterator[Any]:
        yield from bps.trigger_and_read([det])
        yield from bpp.set_run_key_wrapper(bpp.run_wrapper(bps.trigger_and_read([det1]), md={}), "inner")
        yield from bps.trigger_and_read([det])

    yield from bpp.set_run_key_wrapper(bpp.run_wrapper(outer(), md={}), "outer")


def nothing() -> Iterator[Any]:
    yield from bpp.run_wrapper(bps.null(), md={})


def failing() -> Iterator[Any]:
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([det])
        raise ZeroDivisionError("the shutter is closed")

    yield from bpp.run_wrapper(plan(), md={})


def reconfigured() -> Iterator[Any]:
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([det])
        yield from bps.configure(det, {})
        yield from bps.trigger_and_read([det])

    yield from bpp.run_wrapper(plan(), md={})


def two_streams() -> Iterator[Any]:
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([det], name="primary")
        yield from bps.trigger_and_read([det], name="dark")

    yield from bpp.baseline_wrapper(bpp.run_wrapper(plan(), md={}), [motor1, motor2])


def test_what_a_run_engine_says_comes_back_equal_and_valid(tmp_path: Path) -> None:
    """Scans, images, files, several streams and descriptors, nested, empty and failing runs; metadata of any kind."""
    metadata = {"wide": 2**60 + 1, "wider": 2**90, "nothing": float("nan"), "name": "Ångström", "pair": (1, "a")}
    plans: list[Plan] = [
        lambda: bp.scan([det, direct_img], motor, -1, 1, 3),
        lambda: bp.grid_scan([det], motor1, 0, 1, 2, motor2, 0, 1, 2, snake_axes=False),
        lambda: bp.count([img], 2),
        *(nested, nothing, failing, reconfigured, two_streams),
    ]
    seen, store = run_plans(tmp_path, *plans, metadata=metadata)
    with store:
        check_all(seen, store)
        states = dict(rows(store, "select status, count(*) from activities group by status"))
        assert states == {"ok": 8, "failed": 1}
        ((error,),) = rows(store, "select error from activities where status = 'failed'")
        assert error == "ScanFailed: fail: the shutter is closed"
        # The settings of a device are one version as long as they are equal.
        assert rows(store, "select count(*) from versions where kind = 'config' and name = 'det'") == [(1,)]
        counts = dict(rows(store, 'select "_rank", count(*) from stream."bluesky/baseline" group by 1'))
        assert counts == {None: 2}


def test_the_example_documents_of_suitcase_come_back(tmp_path: Path) -> None:
    """All of its plans with all of its detectors."""
    made_by = [suitcase._make_single, suitcase._make_image, suitcase._make_image_list]
    devices = [make([]) for make in made_by]
    plans = (
        suitcase.simple_plan,
        suitcase.multi_stream_one_descriptor_plan,
        suitcase.one_stream_multi_descriptors_plan,
    )
    seen, store = run_plans(tmp_path, *(functools.partial(plan, each) for plan in plans for each in devices))
    with store:
        check_all(seen, store)
        assert len([name for name, _ in seen if name == "start"]) == 9


def test_its_files_are_locations_with_digests(tmp_path: Path) -> None:
    """A file that can be read when the run stops has its digest; one that cannot, its uri alone."""
    there = tmp_path / "frames.h5"
    there.write_bytes(b"frames")
    about = {"spec": "AD_HDF5", "resource_kwargs": {}, "path_semantics": "posix"}
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        collect("start", {"uid": "files", "time": 1.0})
        for name, path in (("there", "frames.h5"), ("gone", "gone.h5")):
            collect(
                "resource", {**about, "uid": name, "root": str(tmp_path), "resource_path": path, "run_start": "files"}
            )
        uri = f"file://localhost{there}"
        collect("stream_resource", {"uid": "s", "uri": uri, "mimetype": "x", "data_key": "k", "parameters": {}})
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = dict(
            rows(
                store,
                "select uri, digest from versions join uris using (id) where kind = 'file' and uri like '%h5'",
            )
        )
        assert found.keys() == {f"file://{tmp_path}/gone.h5", f"file://{tmp_path}/frames.h5"}
        assert found[f"file://{tmp_path}/gone.h5"] is None
        assert str(found[f"file://{tmp_path}/frames.h5"]).startswith("blake3:")


def test_an_error_in_its_way_does_not_reach_the_run_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What raises inside is counted, and the plan goes on to its end."""

    def fail(document: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setenv("BRAID_STRICT", "0")
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        collect._ways["event"] = fail
        engine = RunEngine({}, context_managers=[])
        engine.subscribe(collect)
        engine(bp.count([det], 3))
    assert (collect.losses.counts, collect.taken) == ({"refused": 3}, 3)

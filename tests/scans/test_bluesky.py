"""Scans of the real Bluesky: what its RunEngine says of plans with simulated devices, as tables."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
from bluesky import RunEngine
from bluesky.utils import RequestAbort
from ophyd import Component, Device, Signal
from ophyd.sim import MockFlyer, det, direct_img, img, motor, motor1, motor2
from suitcase.utils.tests import conftest as suitcase

from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.store.store import Store
from tests.collectors.documents.instrument import Pair, descriptor, event, key, page, start, stop, stored
from tests.collectors.documents.test_bluesky import Plan, failing, give_and_spoil, nested, nothing, two_streams
from tests.jobs import made, one
from tests.scans.plain import check_scan


def run_plans(folder: Path, *plans: Plan) -> tuple[list[Pair], Store]:
    """Run plans with a collector; return copies of all documents, and the store."""
    seen: list[Pair] = []
    with one(folder / "logs") as job, DocumentCollector(job[0]) as collect:
        engine = RunEngine({}, context_managers=[])
        engine.subscribe(lambda name, document: seen.append((name, copy.deepcopy(document))))
        engine.subscribe(lambda name, document: give_and_spoil(collect, name, copy.deepcopy(document)))
        for plan in plans:
            try:
                engine(plan())
            except (ZeroDivisionError, RequestAbort):
                assert seen[-1][0] == "stop"
    assert collect.losses.counts == {}
    return seen, made(folder / "logs", folder / "prov.duckdb")


class Adjustable(Device):  # type: ignore[misc]
    """A detector whose gain may change within a run."""

    value = Component(Signal, value=1.0)
    gain = Component(Signal, value=10, kind="config")


def changed() -> Iterator[Any]:
    device = Adjustable(name="cfg")

    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([device])
        yield from bps.configure(device, {"gain": 20})
        yield from bps.trigger_and_read([device])

    yield from bpp.stage_wrapper(bpp.run_wrapper(plan(), md={}), [device])


def interleaved() -> Iterator[Any]:
    """Three runs that are open at once."""
    keys = ("a", "b", "c")
    for each in keys:
        yield from bpp.set_run_key_wrapper(bps.open_run(md={"name": each}), each)
    for _ in range(3):
        for each in keys:
            yield from bpp.set_run_key_wrapper(bps.trigger_and_read([det]), each)
    for each in keys:
        yield from bpp.set_run_key_wrapper(bps.close_run(), each)


def aborted() -> Iterator[Any]:
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([det, motor])
        raise RequestAbort("enough")

    yield from bpp.run_wrapper(plan(), md={})


def monitored() -> Iterator[Any]:
    signal = Signal(name="ring", value=1.0)

    def plan() -> Iterator[Any]:
        yield from bps.monitor(signal, name="ring_monitor")
        for number in range(3):
            signal.put(2.0 + number)
            yield from bps.trigger_and_read([det])
        yield from bps.unmonitor(signal)

    yield from bpp.run_wrapper(plan(), md={})


PLANS: dict[str, Plan] = {
    "count": lambda: bp.count([det], 4),
    "scan": lambda: bp.scan([det, direct_img], motor, -1, 1, 3),
    "grid_scan": lambda: bp.grid_scan([det], motor1, 0, 1, 3, motor2, 0, 1, 2, snake_axes=True),
    "files": lambda: bp.count([img], 2),
    "flyer": lambda: bp.fly([MockFlyer("flyer", det, motor, -1, 1, 4)]),
    **{
        plan.__name__: plan
        for plan in (nested, nothing, failing, aborted, two_streams, changed, interleaved, monitored)
    },
}


def test_every_stream_of_every_plan_is_what_its_documents_say(tmp_path: Path) -> None:
    seen, store = run_plans(tmp_path, *PLANS.values())
    with store:
        starts = [document for name, document in seen if name == "start"]
        assert len(starts) == len(PLANS) + 1 + 2
        for each in starts:
            scan = store.scan(each["uid"])
            check_scan(scan)
            counts = next(
                document for name, document in seen if name == "stop" and document["run_start"] == each["uid"]
            )
            assert scan.streams == (counts["num_events"] or {})
        assert store.scan(-1).uid == starts[-1]["uid"]
        grid = next(store.scan(each["uid"]) for each in starts if each.get("plan_name") == "grid_scan")
        assert np.asarray(grid.array("primary", "motor1")).tolist() == [0, 0, 0.5, 0.5, 1, 1]
        assert [row["motor2"] for row in grid.table(where="motor1 = 0.5", columns=["motor2"])] == [1.0, 0.0]
        image = next(store.scan(each["uid"]) for each in starts if each.get("detectors") == ["det", "direct"])
        assert image.array("primary", "img").shape == (3, 10, 10)


def test_runs_that_were_aborted_or_never_stopped_are_there_as_far_as_they_came(tmp_path: Path) -> None:
    seen, store = run_plans(tmp_path, lambda: bp.count([det], 3))
    store.close()
    with stored(tmp_path / "cut", seen[:4]) as store:
        scan = store.scan(-1)
        assert (scan.streams, scan.stop) == ({"primary": 2}, None)
        assert [gap.what for gap in scan.missing] == ["stop"]
        check_scan(scan)


def test_the_example_plans_of_suitcase(tmp_path: Path) -> None:
    """One descriptor or several in a stream, several streams, images and lists of them."""
    devices = [make([]) for make in (suitcase._make_single, suitcase._make_image, suitcase._make_image_list)]
    plans = (
        suitcase.simple_plan,
        suitcase.multi_stream_one_descriptor_plan,
        suitcase.one_stream_multi_descriptors_plan,
    )
    seen, store = run_plans(tmp_path, *(functools.partial(plan, each) for plan in plans for each in devices))
    with store:
        for name, document in seen:
            if name == "start":
                check_scan(store.scan(document["uid"]))


def test_settings_that_change_within_a_run(tmp_path: Path) -> None:
    _, store = run_plans(tmp_path, changed)
    with store:
        scan = store.scan(-1)
        (change,) = scan.config.changes()
        assert (change.device, change.key, change.before, change.after) == ("cfg", "cfg_gain", 10, 20)
        gains = [
            scan.config.of(row["descriptor"])["cfg"].data["cfg_gain"] for row in scan.table(columns=["descriptor"])
        ]
        assert gains == [10, 20]
        assert [entry.ref for entry in scan.config.history("cfg")] == ["config:cfg@1", "config:cfg@2"]


def test_an_event_page_of_many_rows(tmp_path: Path) -> None:
    """As flyers give them, as columns of NumPy, and the references of images beside them."""
    first = start()
    keys = {"det": key(), "image": key("array", [4, 4], external="FILESTORE:")}
    of = descriptor(first, keys)
    events: list[Pair] = [
        event(of, n, {"det": n / 3, "image": f"r/{n}"}, filled={"image": False}) for n in range(1, 1001)
    ]
    packed = page(events)
    packed[1]["data"]["det"] = np.asarray(packed[1]["data"]["det"])
    with stored(tmp_path, [first, of, packed, stop(first, {"primary": 1000})]) as store:
        scan = store.scan(-1)
        assert scan.streams == {"primary": 1000}
        rows = scan.table(rows=slice(998, None), columns=["det", "image"]).to_pylist()
        assert rows == [{"det": n / 3, "image": f"r/{n}"} for n in (999, 1000)]
        check_scan(scan)

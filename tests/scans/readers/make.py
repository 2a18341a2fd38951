"""Write what the field's own readers give for runs of real plans: documents, and the datasets of their streams.

Tiled's server needs another version of DuckDB than braid_hpc does, so this is run in an environment of its own (``make
readers``), and what it wrote is committed: ``<case>.jsonl`` has the documents, ``<case>.json`` the datasets of all
streams. Tiled gives arrays in events back as texts, and takes none of two dimensions; those are read by databroker.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import event_model
import h5py
import numpy as np
from bluesky import RunEngine
from bluesky.callbacks.tiled_writer import TiledWriter
from databroker.mongo_normalized import MongoAdapter
from ophyd import Component, Device, Signal
from ophyd.sim import MockFlyer, det, det1, det2, motor, motor1, motor2, rand
from tiled.client import from_uri
from tiled.server.simple import SimpleTiledServer

HERE = Path(__file__).resolve().parent


class Spectrometer(Device):  # type: ignore[misc]
    """Something that gives arrays, texts and whole numbers."""

    spectrum = Component(Signal, value=np.linspace(0, 1, 5))
    counts = Component(Signal, value=np.arange(4, dtype="int32"))
    label = Component(Signal, value="Nickel")
    number = Component(Signal, value=7)
    shutter = Component(Signal, value=True)


class Camera(Device):  # type: ignore[misc]
    """Something that gives an image in each event."""

    image = Component(Signal, value=np.arange(6.0).reshape(2, 3))


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


def two_streams() -> Iterator[Any]:
    def plan() -> Iterator[Any]:
        for number in range(3):
            yield from bps.mv(motor, number)
            yield from bps.trigger_and_read([det, motor], name="primary")
            yield from bps.trigger_and_read([det1], name="dark")

    yield from bpp.baseline_wrapper(bpp.run_wrapper(plan(), md={"sample": {"name": "Ni"}}), [motor1, motor2])


def spectra() -> Iterator[Any]:
    device = Spectrometer(name="spec")
    yield from bp.count([device], 3)


def monitored() -> Iterator[Any]:
    signal = Signal(name="ring", value=1.0)

    def plan() -> Iterator[Any]:
        yield from bps.monitor(signal, name="ring_monitor")
        for number in range(3):
            signal.put(2.0 + number)
            yield from bps.trigger_and_read([det])
        yield from bps.unmonitor(signal)

    yield from bpp.run_wrapper(plan(), md={})


def failing() -> Iterator[Any]:
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([det, motor])
        raise ZeroDivisionError("the shutter is closed")

    yield from bpp.run_wrapper(plan(), md={})


CASES: dict[str, Callable[[], Iterator[Any]]] = {
    "count": lambda: bp.count([det, rand], 4),
    "scan": lambda: bp.scan([det], motor, -1, 1, 5, md={"sample": "Nickel", "proposal": 7}),
    "grid_scan": lambda: bp.grid_scan([det, det2], motor1, -1, 1, 3, motor2, 0, 1, 2, snake_axes=True),
    "two_streams": two_streams,
    "spectra": spectra,
    "monitored": monitored,
    "failing": failing,
    "changed": changed,
    "flyer": lambda: bp.fly([MockFlyer("flyer", det, motor, -1, 1, 4)]),
}


#: What Tiled cannot take, or gives back as texts, and databroker's adapter can: streams of one key, an array.
OF_DATABROKER: dict[str, Callable[[], Iterator[Any]]] = {
    "image": lambda: bp.count([Camera(name="camera")], 3),
    "spectrum": lambda: bp.count([Signal(name="spectrum", value=np.linspace(0, 1, 5))], 2),
}


def shown(array: Any) -> dict[str, Any]:
    """Give a variable of a dataset as plain values."""
    values = np.asarray(array.values)
    return {"dims": list(array.dims), "dtype": str(values.dtype), "values": values.tolist(), "attrs": dict(array.attrs)}


def dataset(found: Any) -> dict[str, Any]:
    """Give a dataset as plain values."""
    return {
        "dims": {str(name): int(size) for name, size in found.sizes.items()},
        "coords": {str(name): shown(each) for name, each in found.coords.items()},
        "variables": {str(name): shown(each) for name, each in found.data_vars.items()},
    }


def by_databroker(documents: list[Any]) -> dict[str, Any]:
    """Give what databroker's adapter for documents gives, of which no server is needed."""
    adapter = MongoAdapter.from_mongomock()
    serializer = adapter.get_serializer()
    for name, document in documents:
        serializer(name, json.loads(json.dumps(document, default=lambda value: value.tolist())))
    (uid,) = list(adapter)
    found = {}
    for stream in adapter[uid]:
        arrays = {}
        read = adapter[uid][stream]["data"].read()
        for key in read:
            values = np.asarray(read[key].read())
            dims = list(read[key].structure().dims)
            arrays[key] = {"dims": dims, "dtype": str(values.dtype), "values": values.tolist(), "attrs": {}}
        sizes = {
            dim: size
            for each in arrays.values()
            for dim, size in zip(each["dims"], np.shape(each["values"]), strict=True)
        }
        coords = {"time": arrays.pop("time")}
        found[stream] = {"dims": sizes, "coords": coords, "variables": arrays}
    return found


def frames(folder: Path) -> list[Any]:
    """Give the documents of a run whose images lie in an HDF5 file beside it, as StreamDatums say."""
    path = folder / "frames.h5"
    with h5py.File(path, "w") as file:
        file["entry/data"] = np.arange(4 * 2 * 3, dtype="uint16").reshape(4, 2, 3)
    run = event_model.compose_run(metadata={"plan_name": "frames", "scan_id": 9})
    keys = {
        "camera": {"source": "SIM", "dtype": "array", "shape": [1, 2, 3], "external": "STREAM:", "dtype_numpy": "<u2"},
        "motor": {"source": "SIM", "dtype": "number", "shape": []},
    }
    described = run.compose_descriptor(name="primary", data_keys=keys)
    resource = run.compose_stream_resource(
        mimetype="application/x-hdf5",
        uri=f"file://localhost{path}",
        data_key="camera",
        parameters={"dataset": "entry/data", "chunk_shape": [1, 2, 3], "swmr": False},
    )
    documents = [["start", run.start_doc], ["descriptor", described.descriptor_doc]]
    documents.append(["stream_resource", resource.stream_resource_doc])
    for number in range(4):
        event = described.compose_event(data={"motor": number / 2}, timestamps={"motor": 1.0 + number})
        documents.append(["event", event])
        if number % 2:
            span = {"start": number - 1, "stop": number + 1}
            datum = resource.compose_stream_datum(
                indices=span,
                seq_nums={key: value + 1 for key, value in span.items()},
                descriptor=described.descriptor_doc,
            )
            documents.append(["stream_datum", datum])
    documents.append(["stop", run.compose_stop()])
    return documents


def record(plan: Iterator[Any], *others: Any) -> list[Any]:
    """Run a plan, and give its documents."""
    documents: list[Any] = []
    engine = RunEngine({}, context_managers=[])
    engine.subscribe(lambda kind, document: documents.append([kind, document]))
    for each in others:
        engine.subscribe(each)
    try:
        engine(plan)
    except ZeroDivisionError:
        print("a plan failed, as it should")
    return documents


def write(folder: Path, name: str, documents: list[Any], found: dict[str, Any]) -> None:
    """Write documents and datasets of a case."""
    lines = [json.dumps(pair, default=lambda value: value.tolist()) for pair in documents]
    # Tiled wants to read the file where it lies; whoever reads these documents has moved it since.
    text = "\n".join(lines).replace(f"file://localhost{folder}/", "file://localhost/moved/")
    (folder / f"{name}.jsonl").write_text(text + "\n")
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(name, {stream: each["dims"] for stream, each in found.items()})


def main(folder: Path) -> None:
    """Run the plans, and write what Tiled gives."""
    with SimpleTiledServer(readable_storage=[tempfile.gettempdir(), str(folder)]) as server:
        client = from_uri(server.uri)
        for name, plan in CASES.items():
            documents = record(plan(), TiledWriter(client))
            run = client[documents[0][1]["uid"]]
            write(folder, name, documents, {stream: dataset(run[stream].read()) for stream in run})
        documents = frames(folder)
        writer = TiledWriter(client)
        for pair in documents:
            writer(*pair)
        run = client[documents[0][1]["uid"]]
        write(folder, "frames", documents, {stream: dataset(run[stream].read()) for stream in run})
    for name, plan in OF_DATABROKER.items():
        documents = record(plan())
        write(folder, name, documents, by_databroker(documents))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)

"""Events with what their files hold: against the field's own Filler and handlers, and against h5py and tifffile."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import area_detector_handlers.handlers as field
import bluesky.plans as bp
import event_model
import h5py
import numpy as np
import pytest
import tifffile
from bluesky import RunEngine
from ophyd.sim import NumpySeqHandler, SynSignalWithRegistry, det, direct_img, motor

from braid_hpc.assets import Filler, filled
from braid_hpc.assets.references import References
from braid_hpc.collectors.documents import DocumentCollector
from braid_hpc.vocabulary.errors import (
    BraidError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from tests.assets.devices import Streaming
from tests.assets.files import (
    DATA,
    events_of,
    images,
    uri_of,
    with_datums,
    with_stream,
    write_hdf5,
    write_npys,
    write_tiffs,
)
from tests.collectors.documents.instrument import Pair, stored
from tests.jobs import made, one

HANDLERS = {
    "NPY_SEQ": NumpySeqHandler,
    "AD_HDF5": field.AreaDetectorHDF5Handler,
    # The field's own for this spec fails at the second datum: it takes an array of dask for a dataset.
    "AD_HDF5_SWMR": field.AreaDetectorHDF5Handler,
    "AD_HDF5_TS": field.AreaDetectorHDF5TimestampHandler,
    "AD_TIFF": field.AreaDetectorTiffHandler,
}


def as_the_field_has_it(documents: list[Pair]) -> list[dict[str, Any]]:
    """Give the events as event-model's Filler fills them with the field's handlers."""
    with event_model.Filler(HANDLERS, inplace=False, retry_intervals=[]) as filler:
        pairs = [filler(name, copy.deepcopy(document)) for name, document in documents]
        return [
            {**document, "data": {k: np.asarray(v) for k, v in document["data"].items()}}
            for name, document in pairs
            if name == "event"
        ]


def check_as_the_field(documents: list[Pair], found: list[Pair]) -> None:
    expected = as_the_field_has_it(documents)
    events = events_of(found)
    assert [each["uid"] for each in events] == [each["uid"] for each in expected]
    for ours, theirs in zip(events, expected, strict=True):
        assert ours["data"].keys() == theirs["data"].keys()
        for key, value in theirs["data"].items():
            assert np.asarray(ours["data"][key]).dtype == value.dtype
            np.testing.assert_array_equal(ours["data"][key], value)
        assert {k: bool(v) for k, v in ours["filled"].items()} == {k: bool(v) for k, v in theirs["filled"].items()}


def by_hdf5(folder: Path) -> list[Pair]:
    path = write_hdf5(folder / "frames.h5", images(6), chunks=(1, 3, 4), compression="gzip")
    return with_datums("AD_HDF5", path, {"frame_per_point": 2}, [{"point_number": n} for n in range(3)], (2, 3, 4))


def by_swmr(folder: Path) -> list[Pair]:
    path = write_hdf5(folder / "swmr.h5", images(3), chunks=(1, 3, 4), libver="latest")
    return with_datums("AD_HDF5_SWMR", path, {}, [{"point_number": n} for n in (0, 2, 1)], (1, 3, 4))


def by_tiff(folder: Path) -> list[Pair]:
    path = write_tiffs(folder / "tiffs", images(4))
    kwargs = {"template": "%s%s_%6.6d.tif", "filename": "shot", "frame_per_point": 2}
    return with_datums("AD_TIFF", path, kwargs, [{"point_number": n} for n in (1, 0)], (2, 3, 4))


def by_npy(folder: Path) -> list[Pair]:
    path = write_npys(folder / "stem", images(3, (2, 5), "float32"))
    return with_datums("NPY_SEQ", path, {}, [{"index": n} for n in (2, 0, 1)], (2, 5))


def by_times(folder: Path) -> list[Pair]:
    path = folder / "times.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("/entry/instrument/NDAttributes")
        group["NDArrayEpicsTSSec"] = np.arange(4) + 10
        group["NDArrayEpicsTSnSec"] = np.arange(4) * 1_000_000
    return with_datums("AD_HDF5_TS", path, {"frame_per_point": 2}, [{"point_number": n} for n in range(2)], (2,))


Make = Callable[[Path], list[Pair]]


@pytest.mark.parametrize("make", [by_hdf5, by_swmr, by_tiff, by_npy, by_times])
def test_datums_are_filled_as_the_field_fills_them(make: Make, tmp_path: Path) -> None:
    documents = make(tmp_path)
    with stored(tmp_path, documents) as store:
        check_as_the_field(documents, list(filled(store.documents(documents[0][1]["uid"]))))
    # The documents alone do as well.
    check_as_the_field(documents, list(filled(documents)))


@pytest.mark.parametrize("make", [by_hdf5, by_tiff, by_npy])
def test_a_lazy_array_has_the_rows_that_the_events_have(make: Make, tmp_path: Path) -> None:
    documents = make(tmp_path)
    expected = np.array([each["data"]["img"] for each in as_the_field_has_it(documents)])
    with Filler(documents) as filler:
        array = filler.array("primary", "img")
        assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(np.asarray(array), expected)
        np.testing.assert_array_equal(array[::-1, ..., 1:2], expected[::-1, ..., 1:2])
        np.testing.assert_array_equal(array.to_dask().sum(axis=0).compute(), expected.sum(axis=0))
        np.testing.assert_array_equal(filler.array("primary", "n")[:], np.arange(1, len(expected) + 1))


def test_what_a_run_engine_wrote_is_filled(tmp_path: Path) -> None:
    """The real RunEngine with ophyd's simulated detectors, one of which saves NumPy's files."""
    random = np.random.default_rng(1)
    img = SynSignalWithRegistry(
        func=lambda: random.random((5, 6)), name="img", labels={"detectors"}, save_path=str(tmp_path / "data")
    )
    (tmp_path / "data").mkdir()
    seen: list[Pair] = []
    with one(tmp_path / "logs") as job, DocumentCollector(job[0]) as collect:
        engine = RunEngine({}, context_managers=[])
        engine.subscribe(lambda name, document: seen.append((name, copy.deepcopy(document))))
        engine.subscribe(collect)
        engine(bp.scan([img, det], motor, -1, 1, 4))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        documents = store.documents(seen[0][1]["uid"])
        check_as_the_field(seen, list(filled(documents)))
        with Filler(documents) as filler:
            expected = [each["data"]["img"] for each in as_the_field_has_it(seen)]
            np.testing.assert_array_equal(np.asarray(filler.array("primary", "img")), np.array(expected))
            # Values that stand in the events are arrays of the same kind.
            inline = [each["data"]["det"] for each in events_of(seen)]
            np.testing.assert_array_equal(np.asarray(filler.array("primary", "det")), np.array(inline))


def streaming(folder: Path) -> tuple[list[Pair], dict[str, Any]]:
    """Let the RunEngine read a device that writes files meanwhile; give the documents and what was written."""
    device = Streaming("eiger", folder / "data")
    seen: list[Pair] = []
    with one(folder / "logs") as job, DocumentCollector(job[0]) as collect:
        engine = RunEngine({}, context_managers=[])
        engine.subscribe(lambda name, document: seen.append((name, copy.deepcopy(document))))
        engine.subscribe(collect)
        engine(bp.count([device, direct_img], 4))
    assert {"stream_resource", "stream_datum"} <= {name for name, _ in seen}
    return seen, device.written


def test_what_a_streaming_detector_wrote_is_filled(tmp_path: Path) -> None:
    """Stream resources as the RunEngine makes them of a device: numbers and frames in HDF5, frames in TIFF."""
    seen, written = streaming(tmp_path)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        documents = store.documents(seen[0][1]["uid"])
        assert documents.whole
        with Filler(documents) as filler:
            for key, values in written.items():
                array = filler.array("primary", key)
                np.testing.assert_array_equal(np.asarray(array).ravel(), np.concatenate(values, axis=None))
                assert array.dtype == values[0].dtype
            inline = [each["data"]["img"] for each in events_of(seen)]
            np.testing.assert_array_equal(np.asarray(filler.array("primary", "img")), np.array(inline))
            events = events_of(filler.pairs())
        assert len(events) == 4
        for row, event in enumerate(events):
            for key, values in written.items():
                np.testing.assert_array_equal(np.asarray(event["data"][key]).ravel(), values[row].ravel())


def test_tiled_gives_the_same_array() -> None:
    """What it gave for a run with an image cube was written down; the file was moved since."""
    folder = Path(__file__).parent.parent / "scans" / "readers"
    documents = [tuple(json.loads(line)) for line in (folder / "frames.jsonl").read_text().splitlines()]
    theirs = json.loads((folder / "frames.json").read_text())["primary"]["variables"]["camera"]
    with Filler(documents, root_map={"/moved": folder}) as filler:
        array = filler.array("primary", "camera")
        assert str(array.dtype) == theirs["dtype"]
        # Tiled has no axis for the one image of each event.
        np.testing.assert_array_equal(np.asarray(array)[:, 0], np.array(theirs["values"]))


@pytest.mark.parametrize("name", ["external_assets", "external_assets_legacy"])
def test_the_examples_of_bluesky_are_filled(name: str, tmp_path: Path) -> None:
    """The documents that its own tests have, today's and older ones, with files as these tests write them."""
    from bluesky.tests import examples

    (tmp_path / "data").mkdir()
    frames = images(3, (13, 17), "int64")
    with h5py.File(tmp_path / "data" / "dataset.h5", "w") as file:
        file["entry/data/data_1"] = np.arange(3) / 7
        file["entry/data/data_2"] = frames
    tiffs = images(3, (1, 10, 15), "uint8")
    (tmp_path / "data" / "tiff_files").mkdir()
    for number, frame in enumerate(tiffs):
        tifffile.imwrite(tmp_path / "data" / "tiff_files" / f"img_{number:05}.tif", frame)
    text = (Path(next(iter(examples.__path__))) / f"{name}.json").read_text()
    text = text.replace("{{ root_path }}", str(tmp_path / "data")).replace("{{ uuid }}", "example")
    documents = [(each["name"], each["doc"]) for each in json.loads(text)]
    expected = {"det-key1": np.arange(3) / 7, "det-key2": frames, "det-key3": tiffs}
    streams = {"det-key3": "secondary"}
    with stored(tmp_path, documents) as store, Filler(store.documents(documents[0][1]["uid"])) as filler:
        keys = ["det-key2"] if "legacy" in name else list(expected)
        for key in keys:
            array = np.asarray(filler.array(streams.get(key, "primary"), key))
            np.testing.assert_array_equal(array.reshape(expected[key].shape), expected[key])
        for event in events_of(filler.pairs()):
            for key, value in event["data"].items():
                row = expected[key][event["seq_num"] - 1]
                np.testing.assert_array_equal(np.asarray(value).reshape(row.shape), row)
            assert event["data"].keys() == set(keys) - set(streams)


def stream_cases(folder: Path) -> Iterator[tuple[list[Pair], Any]]:
    """Yield documents and the values of their events."""
    frames = images(6)
    path = uri_of(write_hdf5(folder / "a b#.h5", frames, chunks=(2, 3, 4)))
    hdf5 = "application/x-hdf5"
    about: dict[str, Any] = {"dataset": DATA, "chunk_shape": (2, 3, 4), "swmr": True}
    yield with_stream(hdf5, path, about, (1, 3, 4), [(0, 2), (2, 6)]), frames[:, None]
    yield with_stream(hdf5, path, about, (3, 4), [(0, 6)]), frames
    yield with_stream(hdf5, path, {**about, "join_method": "stack"}, (3, 4), [(4, 6)]), frames[4:]
    yield with_stream(hdf5, path, about, (2, 3, 4), [(0, 2), (2, 3)]), frames.reshape(3, 2, 3, 4)
    yield with_stream(hdf5, path, {**about, "multiplier": 2}, (3, 4), [(0, 3)]), frames.reshape(3, 2, 3, 4)
    yield with_stream(hdf5, path, {**about, "multiplier": 3}, (3, 4), [(0, 2)]), frames.reshape(2, 3, 3, 4)
    yield with_stream(hdf5, path, {**about, "multiplier": 3}, (1, 3, 4), [(0, 2)]), frames.reshape(2, 3, 3, 4)
    yield with_stream(hdf5, path, {"path": DATA}, (1, 3, 4), [(0, 1)], events=False), frames[:1, None]
    scalars = uri_of(write_hdf5(folder / "scalars.h5", np.arange(5) / 3, "/sum"))
    yield with_stream(hdf5, scalars, {"dataset": "/sum"}, (), [(0, 3), (3, 5)]), np.arange(5) / 3
    yield with_stream(hdf5, scalars, {"dataset": "/sum"}, (1,), [(0, 5)]), np.arange(5)[:, None] / 3
    tiff, tiffs = "multipart/related;type=image/tiff", write_tiffs(folder / "tiffs", frames)
    named = {"template": "shot_{:06d}.tif", "chunk_shape": (1, 3, 4)}
    yield with_stream(tiff, uri_of(tiffs) + "/", named, (1, 3, 4), [(0, 6)]), frames[:, None]
    yield with_stream(tiff, uri_of(tiffs), named, (3, 3, 4), [(0, 2)]), frames.reshape(2, 3, 3, 4)
    old = {"template": "%s%s_%6.6d.tif", "filename": "shot", "join_method": "stack"}
    yield with_stream(tiff, uri_of(tiffs), old, (3, 4), [(1, 6)]), frames[1:]
    tifffile.imwrite(folder / "tiffs" / "many_0.tif", frames[:3])
    tifffile.imwrite(folder / "tiffs" / "many_1.tif", frames[3:])
    many = {"template": "many_%d.tif", "chunk_shape": (3, 3, 4)}
    yield with_stream(tiff, uri_of(tiffs), many, (3, 3, 4), [(0, 2)]), frames.reshape(2, 3, 3, 4)
    yield with_stream(tiff, uri_of(tiffs), many, (1, 3, 4), [(2, 5)]), frames[2:5, None]
    npys = write_npys(folder / "stem", frames)
    yield with_stream("multipart/related;type=application/x-npy", uri_of(npys), {}, (3, 4), [(0, 6)]), frames
    np.save(folder / "one.npy", frames)
    np.save(folder / "fortran.npy", np.asfortranarray(frames))
    for name in ("one.npy", "fortran.npy"):
        yield with_stream("application/x-npy", uri_of(folder / name), {}, (3, 4), [(1, 4)]), frames[1:4]


def test_stream_datums_are_filled(tmp_path: Path) -> None:
    """HDF5, TIFF and NumPy's files, with all ways in which values of events are joined there."""
    for documents, expected in stream_cases(tmp_path):
        with Filler(documents) as filler:
            array = filler.array("primary", "img")
            assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_array_equal(np.asarray(array), expected)
            np.testing.assert_array_equal(
                array[-1:, ..., 0:1] if array.ndim > 1 else array[-1:],
                expected[-1:, ..., 0:1] if array.ndim > 1 else expected[-1:],
            )
            for event in events_of(documents):
                found = filler.fill(event)
                np.testing.assert_array_equal(found["data"]["img"], expected[event["seq_num"] - 1])
                assert found["filled"] == {"img": True}
                assert "img" not in event["data"]


def test_the_files_of_a_store_are_filled(tmp_path: Path) -> None:
    """An image cube that came through logs, compaction and store equals that of its file."""
    frames = images(200, (8, 8))
    path = write_hdf5(tmp_path / "cube.h5", frames, chunks=(10, 8, 8))
    documents = with_stream("application/x-hdf5", uri_of(path), {"dataset": DATA}, (1, 8, 8), [(0, 120), (120, 200)])
    with stored(tmp_path, documents) as store, Filler(store.documents(documents[0][1]["uid"])) as filler:
        array = filler.array("primary", "img")
        np.testing.assert_array_equal(np.asarray(array).reshape(frames.shape), frames)
        assert array.chunks == ((200,), (1,), (8,), (8,))
        assert list(array.seq_nums) == list(range(1, 201))


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([np.arange(n, dtype="int32") for n in (3, 0, 5)], (None,)),
        (["ab", "Ångström", ""], ()),
    ],
)
def test_ragged_rows_and_texts_of_hdf5(values: list[Any], shape: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        kind = h5py.vlen_dtype(np.int32) if shape else h5py.string_dtype()
        file.create_dataset("rows", (3,), kind)[...] = np.array([*values, None], dtype=object)[:3]
    documents = with_stream("application/x-hdf5", uri_of(path), {"dataset": "rows"}, shape, [(0, 3)])
    with Filler(documents) as filler:
        array = filler.array("primary", "img")
        assert (array.shape, array.dtype) == ((3,), np.dtype(object))
        for found, expected in zip(array, values, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_rows_of_different_shapes(tmp_path: Path) -> None:
    """They are an error that says how to ask, or, if asked so or described so, arrays of their own."""
    path = write_npys(tmp_path / "stem", [np.ones((2, 2)), np.ones((3, 2))])
    datums = [{"index": 0}, {"index": 1}]
    for shape in ((None, 2), (2, 2)):
        with Filler(with_datums("NPY_SEQ", path, {}, datums, shape)) as filler:
            found = filler.array("primary", "img", ragged=True)[:]
            assert [each.shape for each in found] == [(2, 2), (3, 2)]
            assert filler.array("primary", "img").shape == ((2,) if shape[0] is None else (2, 2, 2))
            if shape[0] is not None:
                with pytest.raises(InvalidInputError, match=r"'img' of event 2 .* its shape is \(3, 2\)"):
                    filler.array("primary", "img")[:]


def test_lists_in_events_may_be_ragged(tmp_path: Path) -> None:
    from tests.collectors.documents.instrument import descriptor, event, key, start, stop

    first = start()
    of = descriptor(first, {"waves": key("array", (3,)), "pairs": key("array", (2,))})
    rows = [[1, 2, 3], [4], []]
    documents = [
        first,
        of,
        *(event(of, n, {"waves": row, "pairs": [n, 0.5]}) for n, row in enumerate(rows, 1)),
        stop(first),
    ]
    with stored(tmp_path, documents) as store, Filler(store.documents(first[1]["uid"])) as filler:
        assert [list(each) for each in filler.array("primary", "waves")[:]] == rows
        assert filler.array("primary", "pairs")[1:].tolist() == [[2.0, 0.5], [3.0, 0.5]]


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5), (3, 1, 2, 5, 4)])
def test_values_in_events_are_read_in_one_go(
    order: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts, and in the order of their numbers, whatever that of the events is."""
    from tests.collectors.documents.instrument import descriptor, event, key, start, stop

    first = start()
    of = descriptor(first, {"pairs": key("array", (2,))})
    events = [event(of, n, {"pairs": [n, n / 2]}, time=float(order.index(n))) for n in order]
    with (
        stored(tmp_path, [first, of, *events, stop(first)]) as store,
        Filler(store.documents(first[1]["uid"])) as filler,
    ):
        monkeypatch.setattr("braid_hpc.assets.lazy.BLOCK", 32)
        array = filler.array("primary", "pairs")
        expected = [[float(n), n / 2] for n in (1, 2, 3, 4, 5)]
        assert array.chunks[0] == (2, 2, 1)
        assert [row.tolist() for _, block in array.blocks() for row in block] == expected
        assert [row.tolist() for row in array] == expected
        passes = 0
        read = References.events

        def counted(self: References, descriptors: Any) -> Iterator[dict[str, Any]]:
            nonlocal passes
            passes += 1
            return read(self, descriptors)

        monkeypatch.setattr(References, "events", counted)
        assert len(list(array.blocks())) == 3
        assert passes == (1 if order == (1, 2, 3, 4, 5) else 3)


def test_files_that_were_moved(tmp_path: Path) -> None:
    """By the roots of resources, beginnings of their paths, and uris; the longest that fits counts."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    documents = by_hdf5(old)
    streamed = with_stream("application/x-hdf5", uri_of(old / "frames.h5"), {"dataset": DATA}, (1, 3, 4), [(0, 6)])
    os.rename(old, new)
    for pairs in (documents, streamed):
        with (
            Filler(pairs) as filler,
            pytest.raises(NotFoundError, match=r"event 1 .*frames.h5 is not there: .*root_map="),
        ):
            filler.fill(events_of(pairs)[0])
        for before in (str(old), f"file://localhost{old}", str(old) + "/", "/"):
            target = new if before != "/" else Path("/nowhere")
            with Filler(pairs, root_map={before: target, str(old) + "/frames": "/nowhere", str(old): new}) as filler:
                assert filler.array("primary", "img").shape[0] in (3, 6)


def test_paths_of_windows_need_a_root_map(tmp_path: Path) -> None:
    write_npys(tmp_path / "stem", images(1))
    members = {"root": "C:\\data", "resource_path": "2026\\stem", "path_semantics": "windows"}
    (tmp_path / "2026").mkdir()
    write_npys(tmp_path / "2026" / "stem", images(1))
    documents = with_datums("NPY_SEQ", tmp_path / "stem", {}, [{"index": 0}], (3, 4), **members)
    with (
        Filler(documents) as filler,
        pytest.raises(NotFoundError, match="C:/data/2026/stem is no file of this machine"),
    ):
        filler.fill(events_of(documents)[0])
    with Filler(documents, root_map={"C:\\data": tmp_path}) as filler:
        np.testing.assert_array_equal(filler.array("primary", "img")[0], images(1)[0])


@pytest.mark.parametrize("path", ["../secret", "x/../../secret", "../../../../etc/passwd"])
def test_a_path_that_leads_out_of_its_root_is_refused(path: str, tmp_path: Path) -> None:
    write_npys(tmp_path / "secret", images(1))
    documents = with_datums(
        "NPY_SEQ", tmp_path / "root" / "x", {}, [{"index": 0}], (3, 4), root=str(tmp_path / "root"), resource_path=path
    )
    for roots in (None, {str(tmp_path): str(tmp_path)}):
        with (
            Filler(documents, root_map=roots) as filler,
            pytest.raises(InvalidInputError, match="leads out of its root"),
        ):
            filler.fill(events_of(documents)[0])


def test_a_template_that_leads_out_of_its_directory_is_refused(tmp_path: Path) -> None:
    folder = write_tiffs(tmp_path / "tiffs", images(1))
    write_tiffs(tmp_path, images(1))
    for template in ("../shot_%06d.tif", "/etc/%d", "{0.__class__}", "%(x)s", "{:9999999d}"):
        documents = with_stream(
            "multipart/related;type=image/tiff", uri_of(folder), {"template": template}, (1, 3, 4), [(0, 1)]
        )
        with Filler(documents) as filler, pytest.raises(InvalidInputError, match=r"leads out of|not understood"):
            filler.fill(events_of(documents)[0])


def test_an_unknown_spec_stays_a_reference_and_errs_when_filled(tmp_path: Path) -> None:
    documents = with_datums("MY_OWN", tmp_path / "x", {}, [{"index": 0}], (3, 4))
    with stored(tmp_path, documents) as store:
        found = store.documents(documents[0][1]["uid"])
        (event,) = events_of(found)
        assert event["filled"] == {"img": False}
        with Filler(found) as filler, pytest.raises(NotFoundError) as caught:
            filler.fill(event)
        assert "there is no reader for the spec 'MY_OWN'" in str(caught.value)
        assert "'img' of event 1 of stream 'primary'" in str(caught.value)
        with Filler(found, leave=True) as filler:
            left = events_of(filler.pairs())
            assert left == [event]
            assert filler.problems == [str(caught.value)]


def broken(folder: Path, kind: str) -> tuple[list[Pair], str, type[BraidError]]:
    """Give documents whose file is damaged in some way, the sentence, and its class."""
    path = write_hdf5(folder / "frames.h5", images(6), chunks=(1, 3, 4))
    documents = with_datums("AD_HDF5", path, {}, [{"point_number": 0}], (3, 4))
    streamed = with_stream("application/x-hdf5", uri_of(path), {"dataset": DATA}, (1, 3, 4), [(0, 7)])
    tiffs = write_tiffs(folder / "tiffs", images(1, (64, 64)))
    many = with_datums(
        "AD_TIFF", tiffs, {"template": "%s%s_%6.6d.tif", "filename": "shot"}, [{"point_number": 0}], (64, 64)
    )
    npys = write_npys(folder / "stem", images(1, (64, 64)))
    saved = with_datums("NPY_SEQ", npys, {}, [{"index": 0}], (64, 64))
    if kind == "truncated":
        os.truncate(path, path.stat().st_size // 2)
        return documents, "frames.h5 cannot be read: .*truncated", StorageError
    if kind == "no hdf5":
        path.write_bytes(b"something else")
        return documents, "frames.h5 cannot be read", StorageError
    if kind == "empty":
        path.write_bytes(b"")
        return documents, "frames.h5 cannot be read", StorageError
    if kind == "directory":
        path.unlink()
        path.mkdir()
        return documents, "frames.h5 is no regular file", StorageError
    if kind == "pipe":
        path.unlink()
        os.mkfifo(path)
        return documents, "frames.h5 is no regular file", StorageError
    if kind == "beyond":
        return streamed[:-2], "has 6 rows in /entry/data/data, and row 6 is asked for", InvalidInputError
    if kind == "beyond, by datum":
        return (
            with_datums("AD_HDF5", path, {}, [{"point_number": 6}], (3, 4)),
            "has 6 rows in /entry/data/data, and row 6 is asked for",
            InvalidInputError,
        )
    if kind == "shape":
        said = with_datums("AD_HDF5", path, {}, [{"point_number": 0}], (4, 3))
        return said, r"its shape is \(1, 3, 4\), and the descriptor says \(4, 3\)", InvalidInputError
    if kind == "no dataset":
        other = with_stream("application/x-hdf5", uri_of(path), {"dataset": "/x"}, (1, 3, 4), [(0, 1)])
        return other, "it has no dataset '/x'", StorageError
    if kind == "no datum":
        return [pair for pair in documents if pair[0] != "datum"], "datum .* is not among the documents", NotFoundError
    if kind == "no resource":
        return [pair for pair in documents if pair[0] != "resource"], "resource .* is not among", NotFoundError
    if kind == "no stream datum":
        return [pair for pair in streamed if pair[0] != "stream_datum"], "no stream datum says", NotFoundError
    if kind == "truncated tiff":
        os.truncate(tiffs / "shot_000000.tif", 4000)
        return many, r"shot_000000.tif (ends after 4000|is no TIFF)", StorageError
    if kind == "no tiff":
        (tiffs / "shot_000000.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
        return many, "shot_000000.tif is no TIFF that can be read", StorageError
    if kind == "truncated npy":
        os.truncate(folder / "stem_0.npy", 4000)
        return saved, "stem_0.npy ends after 4000 of", StorageError
    if kind == "pickled":
        np.save(folder / "stem_0.npy", np.array([{}], dtype=object), allow_pickle=True)
        return saved, "stem_0.npy holds pickled objects", InvalidInputError
    if kind == "kwargs":
        return with_datums("AD_HDF5", path, {"nonsense": 1}, [{"point_number": 0}], (3, 4)), "TypeError", StorageError
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("truncated", "no hdf5", "empty", "directory", "pipe", "beyond", "beyond, by datum", "shape", "no dataset"),
        *("no datum", "no resource", "no stream datum", "truncated tiff", "no tiff", "truncated npy", "pickled"),
        "kwargs",
    ],
)
def test_what_is_wrong_is_one_sentence(kind: str, tmp_path: Path) -> None:
    """It names the file or the document, and the event."""
    documents, sentence, expected = broken(tmp_path, kind)
    with Filler(documents) as filler, pytest.raises(expected, match=sentence) as caught:
        read_all(filler, documents)
    assert "\n" not in str(caught.value)
    assert "'img' of event " in str(caught.value)


def test_of_events_that_are_read_together_the_one_is_named_that_lacks_its_row(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "frames.h5", images(4), chunks=(1, 3, 4))
    documents = with_stream("application/x-hdf5", uri_of(path), {"dataset": DATA}, (1, 3, 4), [(0, 6)])
    with Filler(documents) as filler:
        array = filler.array("primary", "img")
        with pytest.raises(InvalidInputError, match=r"'img' of event 5 .*has 4 rows"):
            np.asarray(array)
        assert array[:4].shape == (4, 1, 3, 4)


def read_all(filler: Filler, documents: list[Pair]) -> None:
    for event in events_of(documents):
        filler.fill(event)
    filler.array("primary", "img")[:]


@pytest.mark.parametrize("large", [False, True])
def test_a_file_that_was_changed_is_said(large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its digest; of a file too large for one by its size and time."""
    if large:
        monkeypatch.setattr("braid_hpc.run.contents.HASH_LIMIT", 10)
    path = write_hdf5(tmp_path / "frames.h5", images(6))
    documents = with_datums("AD_HDF5", path, {}, [{"point_number": 0}], (3, 4))
    with stored(tmp_path, documents) as store:
        found = store.documents(documents[0][1]["uid"])
        assert [each.weak for each in found.files()] == [large]
        assert len(events_of(filled(found))) == 1
        stamp = path.stat()
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + (10**9 if large else 0)))
        with pytest.raises(ConflictError, match=r"frames.h5 was changed after its run"):
            list(filled(found))
        assert len(events_of(filled(found, verify=False))) == 1
        write_hdf5(path, images(5))
        with pytest.raises(ConflictError, match=r"frames.h5 was changed after its run"):
            list(filled(found))


SWMR_WRITER = """
import h5py, numpy, os, sys, time
file = h5py.File(sys.argv[1], "w", libver="latest")
data = file.create_dataset("entry/data/data", (0, 64, 64), "uint16", maxshape=(None, 64, 64), chunks=(1, 64, 64))
file.swmr_mode = True
for n in range(5):
    data.resize(n + 1, 0)
    data[n] = n
    data.flush()
print("ready", flush=True)
time.sleep(600)
"""


def test_a_file_that_is_being_written_and_whose_writer_was_killed(tmp_path: Path) -> None:
    """What was flushed is read, under SWMR and after SIGKILL; cut in half, the file is an error and no waiting."""
    path = tmp_path / "live.h5"
    with subprocess.Popen([sys.executable, "-c", SWMR_WRITER, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        documents = with_datums("AD_HDF5_SWMR", path, {}, [{"point_number": n} for n in range(5)], (64, 64))
        try:
            with Filler(documents) as filler:
                assert filler.array("primary", "img")[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
        finally:
            writer.send_signal(signal.SIGKILL)
    with Filler(documents) as filler:
        assert filler.array("primary", "img")[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    for size in range(path.stat().st_size - 1, 100, -5000):
        os.truncate(path, size)
        with Filler(documents) as filler:
            for number, event in enumerate(events_of(documents)):
                try:
                    value = filler.fill(event)["data"]["img"]
                except StorageError:
                    continue
                assert (value == number).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"multiplier": "two"},
        {"multiplier": -1},
        {"join_method": 3, "multiplier": []},
        {"dataset": 7},
        {"dataset": None},
        {"slice": ":,1,:"},
        7,
        [1],
    ],
)
def test_parameters_that_are_none_are_one_sentence(wrong: Any, tmp_path: Path) -> None:
    """They come from other programs, and may be anything."""
    path = write_hdf5(tmp_path / "x.h5", images(2))
    parameters = {"dataset": DATA, **wrong} if isinstance(wrong, dict) else wrong
    documents = with_stream("application/x-hdf5", uri_of(path), parameters, (1, 3, 4), [(0, 2)])
    if wrong == {"join_method": 3, "multiplier": []}:
        # Nothing is said by these.
        with Filler(documents) as filler:
            assert filler.array("primary", "img").shape == (2, 1, 3, 4)
        return
    with Filler(documents) as filler, pytest.raises(BraidError) as caught:
        filler.fill(events_of(documents)[0])
    assert "'img' of event 1 of stream 'primary' cannot be read: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_documents_and_arguments_that_are_none(tmp_path: Path) -> None:
    documents = by_npy(tmp_path)
    with Filler(documents) as filler:
        with pytest.raises(NotFoundError, match="there is no stream 'dark': there are primary"):
            filler.array("dark", "img")
        with pytest.raises(NotFoundError, match="stream 'primary' has no data key 'x'"):
            filler.array("primary", "x")
        with pytest.raises(NotFoundError, match="descriptor 'x' is not among the documents"):
            filler.fill({"descriptor": "x"})
        of = next(document for name, document in documents if name == "descriptor")
        for which in (of, of["uid"], "primary"):
            assert filler.array(which, "img").shape == (3, 2, 5)
    for wrong in (3, [1, 2]):
        with pytest.raises(InvalidInputError, match="documents are what"):
            Filler(wrong)  # type: ignore[arg-type]
    for roots in (3, {1: "/x"}, {"/x": None}, {"/x": ""}):
        with pytest.raises(InvalidInputError, match="root_map="):
            Filler(documents, root_map=roots)  # type: ignore[arg-type]

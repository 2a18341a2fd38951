"""NeXus files by their structure: what the default leads to, values, units, names, and where it all comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.exports.exporting import Exported, export
from braid_hpc.exports.nexus_names import Place
from braid_hpc.exports.nexus_plot import choose_plot, grid_places
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from tests.collectors.documents.instrument import Pair, descriptor, event, key, start, stop, stored


def default_of(file: h5py.File) -> tuple[Any, list[Any]]:
    """Follow the default from the root to the signal and its axes, as a viewer does."""
    assert file.attrs["NX_class"] == "NXroot"
    entry = file[file.attrs["default"]]
    assert entry.attrs["NX_class"] == "NXentry"
    data = entry[entry.attrs["default"]]
    assert data.attrs["NX_class"] == "NXdata"
    signal = data[data.attrs["signal"]]
    axes = [None if name == "." else data[name] for name in data.attrs["axes"]]
    assert len(axes) == signal.ndim
    for at, axis in enumerate(axes):
        assert axis is None or axis.shape == (signal.shape[at],)
    return signal, axes


def grid(rows: int = 3, columns: int = 4, *, snaking: bool = False, skip: frozenset[int] = frozenset()) -> list[Pair]:
    """Give a grid scan whose detector says where it was."""
    first = start(
        plan_name="grid_scan",
        scan_id=7,
        shape=[rows, columns],
        snaking=[False, snaking],
        motors=["y", "x"],
        sample={"name": "Ni", "mass": 1.5},
        hints={"gridding": "rectilinear", "dimensions": [[["y"], "primary"], [["x"], "primary"]]},
        projections=[
            {
                "name": "nexus",
                "version": "1",
                "configuration": {},
                "projection": {
                    "entry/instrument/mono/energy": {"type": "static", "value": 8.5},
                    "entry/sample/position": {
                        "type": "linked",
                        "location": "event",
                        "stream": "primary",
                        "field": "x",
                    },
                    "entry/sample/gain": {
                        "type": "linked",
                        "location": "configuration",
                        "stream": "primary",
                        "config_device": "cam",
                        "field": "gain",
                        "config_index": 0,
                    },
                    "entry/nowhere": {"type": "linked", "location": "event", "stream": "primary", "field": "gone"},
                },
            }
        ],
    )
    keys = {"y": key(units="mm"), "x": key(units="mm"), "det": key(units="counts"), "x_setpoint": key()}
    settings = {"cam": {"data": {"gain": 10}, "timestamps": {"gain": 1.0}, "data_keys": {"gain": key(units="dB")}}}
    of = descriptor(
        first,
        keys,
        configuration=settings,
        hints={"cam": {"fields": ["det"]}, "x": {"fields": ["x"]}},
        object_keys={"cam": ["det"], "x": ["x", "x_setpoint"], "y": ["y"]},
    )
    events, number = [], 0
    for y in range(rows):
        for x in reversed(range(columns)) if snaking and y % 2 else range(columns):
            number += 1
            if number not in skip:
                data = {"y": y + 0.01, "x": x / 2, "det": 100.0 * y + x, "x_setpoint": x / 2}
                events.append(event(of, number, data))
    return [first, of, *events, stop(first, {"primary": len(events)})]


def exported(folder: Path, documents: list[Pair], **options: Any) -> tuple[Exported, h5py.File]:
    with stored(folder / "store", documents) as store:
        done = export(store, documents[0][1]["uid"], to=folder / "x.nxs", **options)
    return done, h5py.File(folder / "x.nxs", "r")


@pytest.mark.parametrize("snaking", [False, True])
@pytest.mark.parametrize("skip", [frozenset(), frozenset({2, 7})], ids=["whole", "with gaps"])
def test_a_grid_scan_is_a_map(tmp_path: Path, snaking: bool, skip: frozenset[int]) -> None:
    """Each value stands where the motors were; where no event is there is NaN."""
    done, file = exported(tmp_path, grid(snaking=snaking, skip=skip))
    with file:
        signal, (y, x) = default_of(file)
        found = signal[:]
        lost = 0
        for row in range(3):
            for column in range(4):
                if np.isnan(found[row, column]):
                    lost += 1
                else:
                    assert found[row, column] == 100 * row + column
        assert lost == len(skip)
        assert (y[:].tolist(), x[:].tolist()) == ([0.01, 1.01, 2.01], [0, 0.5, 1, 1.5])
        assert (signal.attrs["units"], x.attrs["units"], y.attrs["units"]) == ("counts", "mm", "mm")
    assert bool(done.notes[:-1]) == bool(skip)


def test_what_an_entry_has(tmp_path: Path) -> None:
    """Times, title, sample, instrument, devices with their values and settings, documents word for word, and origin."""
    documents = grid()
    documents[0][1]["serial"] = 2**90
    done, file = exported(tmp_path, documents)
    uid = documents[0][1]["uid"]
    with file:
        entry = file["entry"]
        assert entry["title"][()].decode() == "grid_scan 7"
        assert entry["start_time"][()].decode() == "1970-01-01T00:00:01+00:00"
        assert entry["end_time"][()].decode().startswith("2255-03-14T")
        assert entry["entry_identifier"][()].decode() == uid
        assert entry["sample/name"][()].decode() == "Ni"
        assert entry["sample/mass"][()] == 1.5
        instrument = entry["instrument"]
        classes = {name: group.attrs["NX_class"] for name, group in instrument.items() if hasattr(group, "keys")}
        assert classes == {"cam": "NXdetector", "x": "NXpositioner", "y": "NXpositioner", "mono": "NXcollection"}
        assert instrument["cam/data"] == entry["primary/det"]
        assert instrument["x/value"] == entry["primary/x"]
        assert instrument["x/x_setpoint"] == entry["primary/x_setpoint"]
        assert instrument["cam/configuration/gain"][()] == 10
        assert instrument["cam/configuration/gain"].attrs["units"] == "dB"
        assert json.loads(entry["bluesky/start_document"][()]) == documents[0][1]
        assert json.loads(entry["bluesky/stop_document"][()]) == documents[-1][1]
        assert json.loads(entry["bluesky/descriptors"][()]) == [documents[1][1]]
        assert entry["bluesky/start/sample/mass"][()] == 1.5
        origin = json.loads(entry["process/provenance/data"][()])
        assert origin["scan"] == uid
        assert origin["snapshot"] == 1
        assert origin["store"] == str(tmp_path / "store" / "prov.duckdb")
        assert uid in origin["reference"]
        assert len(origin["id"]) == 35
        # The names that the start gives to values.
        assert entry["instrument/mono/energy"][()] == 8.5
        assert entry["sample/position"] == entry["primary/x"]
        assert entry["sample/gain"][()] == 10
    assert done.counts == {"primary": 12}
    assert done.notes == ["entry/nowhere is not written: there is no 'gone' in stream 'primary'"]


def test_values_stand_at_the_names_that_searches_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the table, of a site's file too; of what the scan has, and where nothing else stands."""
    (tmp_path / "names.toml").write_text('"/entry/sample/mesh" = "start.mesh"\n"/entry/gain" = "config.cam.gain"\n')
    monkeypatch.setenv("BRAID_NEXUS_NAMES", str(tmp_path / "names.toml"))
    first = start(mesh=7, cycle="2026-3", owner="ada")
    settings = {"cam": {"data": {"gain": 10}, "timestamps": {"gain": 1.0}, "data_keys": {"gain": key()}}}
    of = descriptor(first, {"energy": key(units="keV")}, configuration=settings)
    done, file = exported(tmp_path, [first, of, event(of, 1, {"energy": 8.5}), stop(first)])
    with file:
        entry = file["entry"]
        assert entry["instrument/monochromator/energy"] == entry["primary/energy"]
        assert entry["instrument/monochromator"].attrs["NX_class"] == "NXmonochromator"
        assert (entry["sample/mesh"][()], entry["gain"][()], entry["run_cycle"][()]) == (7, 10, b"2026-3")
        assert entry["user/name"][()] == b"ada"
        assert "temperature" not in entry["sample"]
        assert entry["title"][()].decode() == first[1]["uid"]
    assert done.notes == []


@pytest.mark.parametrize(
    "name", ["data", "instrument", "bluesky", "process", "entry", "title", "sample", "user", "name"]
)
def test_streams_and_devices_may_be_called_as_what_an_entry_has(tmp_path: Path, name: str) -> None:
    first = start(uid="s", sample={"name": "Ni"}, owner="anna")
    about = descriptor(first, {"det": key()}, name=name, object_keys={name: ["det"]})
    events = [event(about, number, {"det": float(number)}) for number in (1, 2, 3)]
    with stored(tmp_path, [first, about, *events, stop(first)]) as store:
        assert store.scan("s").export(tmp_path / "s.nxs").notes == []
    with h5py.File(tmp_path / "s.nxs") as file:
        entry = file["entry"]
        (group,) = [
            each for each in entry.values() if isinstance(each, h5py.Group) and each.attrs.get("stream") == name
        ]
        assert group["det"][:].tolist() == [1, 2, 3]
        assert entry["data"][entry["data"].attrs["signal"]][:].tolist() == [1, 2, 3]
        devices = [each for each in entry["instrument"].values() if isinstance(each, h5py.Group)]
        assert [each["data"][:].tolist() for each in devices] == [[1, 2, 3]]
        kinds = [
            entry[each].attrs["NX_class"] for each in ("data", "instrument", "bluesky", "process", "sample", "user")
        ]
        assert kinds == ["NXdata", "NXinstrument", "NXcollection", "NXprocess", "NXsample", "NXuser"]


@pytest.mark.parametrize("path", ["entry/title/x", "entry/primary/det/x", "entry/data/det/x/y", "entry/title"])
def test_a_name_below_a_value_is_not_written(tmp_path: Path, path: str) -> None:
    first = start(uid="s", projections=[{"projection": {path: {"type": "static", "value": 1}}}])
    about = descriptor(first, {"det": key()})
    with stored(tmp_path, [first, about, event(about, 1, {"det": 1.0}), stop(first)]) as store:
        done = store.scan("s").export(tmp_path / "s.nxs")
    assert done.notes == [f"{path} is not written: something is there already"]


def test_further_names_may_be_given(tmp_path: Path) -> None:
    names = {"/entry/sample/height": Place("event", "y", "primary"), "sample/name": Place("static", value="Cu")}
    done, file = exported(tmp_path, grid(), names=names)
    with file:
        assert file["entry/sample/height"] == file["entry/primary/y"]
    assert done.notes[-1] == "sample/name is not written: something is there already"


def test_streams_have_their_types_units_and_gaps(tmp_path: Path) -> None:
    """Numbers, truth values, text, arrays of one shape, ragged ones, lists of text, odd names, and several streams."""
    first = start()
    keys = {
        "n": key("integer"),
        "b": key("boolean"),
        "t": key("string"),
        "img": key("array", [2, 3]),
        "ragged": key("array", [0]),
        "texts": key("array", [2]),
        "odd-key": key(),
        "2nd": key(),
    }
    of = descriptor(first, keys)
    events = [
        event(
            of,
            n,
            {
                "n": 2**60 + n,
                "b": n > 1,
                "t": f"ü{n}",
                "img": [[n, 1, 2], [3, 4, 5]],
                "ragged": [0.5] * n,
                "texts": ["a", "b"],
                "odd-key": float(n),
                "2nd": 2.0,
            },
        )
        for n in (1, 2)
    ]
    less = event(of, 3, {"n": 3, "img": [[3, 1, 2], [3, 4, 5]], "ragged": [], "texts": [], "odd-key": float("nan")})
    dark = descriptor(first, {"det": key()}, "dark")
    documents = [first, of, *events, less, dark, event(dark, 1, {"det": 0.5}), stop(first, {"primary": 3, "dark": 1})]
    _, file = exported(tmp_path, documents)
    with file:
        group = file["entry/primary"]
        assert group["n"][:].tolist() == [2**60 + 1, 2**60 + 2, 3]
        assert group["b"][:].tolist() == [False, True, False]
        assert group["b_missing"][:].tolist() == [0, 0, 1]
        assert [text.decode() for text in group["t"][:]] == ["ü1", "ü2", ""]
        assert group["t_missing"][:].tolist() == [0, 0, 1]
        assert group["img"][:].tolist() == [[[n, 1, 2], [3, 4, 5]] for n in (1, 2, 3)]
        assert [part.tolist() for part in group["ragged"][:]] == [[0.5], [0.5, 0.5], []]
        assert [json.loads(text) for text in group["texts"][:]] == [["a", "b"], ["a", "b"], []]
        assert group["texts"].attrs["encoding"] == "json"
        assert group["odd_key"].attrs["local_name"] == "odd-key"
        assert np.isnan(group["odd_key"][2])
        assert "odd_key_missing" not in group
        assert group["_2nd"][:2].tolist() == [2, 2]
        assert group["time"].attrs["units"] == "s"
        assert file["entry/dark/det"][:].tolist() == [0.5]


def test_points_of_a_line_and_counts_in_time(tmp_path: Path) -> None:
    """A scan is drawn over its motor, a count over the time since its start; images with what they were taken at."""
    first = start(hints={"dimensions": [[["x", "y"], "primary"]]})
    of = descriptor(first, {"x": key(), "y": key(), "a": key(), "b": key()}, hints={"d": {"fields": ["b", "a", "x"]}})
    line = [first, of, *(event(of, n, {"x": n * 2.0, "y": 1.0, "a": 1.0, "b": n * 3.0}) for n in (1, 2)), stop(first)]
    (tmp_path / "line").mkdir()
    _, file = exported(tmp_path / "line", line)
    with file:
        signal, (axis,) = default_of(file)
        assert (signal[:].tolist(), axis[:].tolist()) == ([3, 6], [2, 4])
        data = file["entry/data"]
        assert list(data.attrs["auxiliary_signals"]) == ["a"]
        assert data.attrs["y_indices"] == 0
    first = start(hints={"dimensions": [[["time"], "primary"]]})
    of = descriptor(first, {"img": key("array", [2, 2])})
    count = [first, of, *(event(of, n, {"img": [[n, 0], [0, 0]]}) for n in (1, 2, 3)), stop(first)]
    (tmp_path / "count").mkdir()
    _, file = exported(tmp_path / "count", count)
    with file:
        signal, axes = default_of(file)
        assert signal.shape == (3, 2, 2)
        assert signal.attrs["interpretation"] == "image"
        assert axes[0][:].tolist() == [3, 4, 5]
        assert axes[1:] == [None, None]


@pytest.mark.parametrize("events", [0, 1])
def test_nothing_to_draw_is_said(tmp_path: Path, events: int) -> None:
    """Of a run without events, and of one that has texts only."""
    first = start()
    of = descriptor(first, {"t": key("string")})
    done, file = exported(tmp_path, [first, of, *(event(of, 1, {"t": "x"}) for _ in range(events)), stop(first)])
    with file:
        assert "default" not in file["entry"].attrs
        assert file["entry/primary/t"].shape == (events,)
    assert done.notes == ["there is nothing to draw: no stream has events with a number"]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_places_on_a_grid(shape: list[int], data: st.DataObject) -> None:
    """Against loops that go back and forth as the instrument does."""
    snaking = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    walked: list[tuple[int, ...]] = [()]
    passes = 0
    for size, back in zip(shape, snaking, strict=True):
        following = []
        for number, place in enumerate(walked):
            passes = number
            steps = reversed(range(size)) if back and passes % 2 else range(size)
            following += [(*place, step) for step in steps]
        walked = following
    found = grid_places(np.arange(len(walked)), tuple(shape), tuple(snaking))
    assert list(zip(*(index.tolist() for index in found), strict=True)) == walked


def test_what_is_drawn_where_hints_say_little() -> None:
    numeric = {"primary": {"img": 2, "x": 0, "x_setpoint": 0, "det": 0}}
    said = {"hints": {"dimensions": [[["x"], "primary"]]}}
    assert choose_plot(said, {}, numeric).signals == ("det",)  # type: ignore[union-attr]
    assert choose_plot({}, {}, {"baseline": {"t": 0}, "primary": {"img": 2}}).signals == ("img",)  # type: ignore[union-attr]
    odd = choose_plot({"hints": {"dimensions": "x"}}, {}, {"baseline": {"t": 0}})
    assert odd is not None
    assert odd.axes == (("time",),)
    assert choose_plot({}, {}, {"primary": {}}) is None


def test_files_of_hdf5_are_linked(tmp_path: Path) -> None:
    """And drawn, with what they are drawn over; what HDF5 cannot link is said."""
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["entry/data/data"] = np.arange(12.0).reshape(3, 2, 2)
    first = start()
    keys = {
        "cam": key("array", [2, 2], external="STREAM:"),
        "old": key("array", [2], external="FILESTORE:"),
        "x": key(),
    }
    of = descriptor(first, keys)
    link = {"mimetype": "application/x-hdf5", "parameters": {"dataset": "/entry/data/data"}, "data_key": "cam"}
    uri = f"file://localhost{tmp_path}/frames.h5"
    documents = [
        first,
        of,
        ("stream_resource", {"uid": "r", "run_start": first[1]["uid"], "uri": uri, **link}),
        *(event(of, n, {"x": float(n), "old": f"q/{n}"}) for n in (1, 2, 3)),
        stop(first),
    ]
    done, file = exported(tmp_path, documents)
    with file:
        assert file["entry/primary/cam"][:].tolist() == np.arange(12.0).reshape(3, 2, 2).tolist()
        assert isinstance(file["entry/primary"].get("cam", getlink=True), h5py.ExternalLink)
        assert [text.decode() for text in file["entry/primary/old_datum"][:]] == ["q/1", "q/2", "q/3"]
    assert any("'old' of stream 'primary' lies in files that HDF5 cannot link" in note for note in done.notes)


def test_frames_are_copied_where_that_is_asked_for(tmp_path: Path) -> None:
    """Then the file stands alone; what cannot be read is said."""
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["entry/data/data"] = np.arange(12.0).reshape(3, 2, 2)
    first = start()
    keys = {"cam": key("array", [2, 2], external="STREAM:"), "gone": key("array", [2], external="FILESTORE:")}
    of = descriptor(first, keys)
    about = {"run_start": first[1]["uid"], "data_key": "cam", "mimetype": "application/x-hdf5"}
    parameters = {"dataset": "/entry/data/data", "chunk_shape": [1]}
    numbers = {"start": 1, "stop": 4}
    uri = f"file://localhost{tmp_path}/frames.h5"
    documents: list[Pair] = [
        first,
        of,
        (
            "stream_resource",
            {"uid": "r", "uri": uri, "parameters": parameters, **about},
        ),
        (
            "stream_datum",
            {
                "uid": "r/0",
                "stream_resource": "r",
                "descriptor": of[1]["uid"],
                "seq_nums": numbers,
                "indices": {"start": 0, "stop": 3},
            },
        ),
        *(event(of, n, {"gone": f"q/{n}"}) for n in (1, 2, 3)),
        stop(first),
    ]
    done, file = exported(tmp_path, documents, images="copy")
    (tmp_path / "frames.h5").unlink()
    with file:
        assert file["entry/primary/cam"][:].tolist() == np.arange(12.0).reshape(3, 2, 2).tolist()
        assert default_of(file)[0].shape == (3, 2, 2)
        assert "gone" not in file["entry/primary"]
    assert any(note.startswith("'gone' of stream 'primary' is not written: ") for note in done.notes)


def test_an_export_takes_nobodys_place(tmp_path: Path) -> None:
    documents = grid()
    with stored(tmp_path / "store", documents) as store:
        scan = store.scan(documents[0][1]["uid"])
        scan.export(tmp_path / "x.nxs")
        before = (tmp_path / "x.nxs").read_bytes()
        with pytest.raises(ConflictError, match="is there already"):
            scan.export(tmp_path / "x.nxs")
        assert (tmp_path / "x.nxs").read_bytes() == before
        assert scan.export(tmp_path / "x.nxs", overwrite=True).counts == {"primary": 12}
        with pytest.raises(NotFoundError, match="has no stream 'dark': it has primary"):
            scan.export(tmp_path / "y.nxs", streams=["dark"])
        with pytest.raises(InvalidInputError, match="does not say a format"):
            scan.export(tmp_path / "y")
        with pytest.raises(InvalidInputError, match="is none of link, copy and none"):
            scan.export(tmp_path / "y.nxs", images="some")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "x.nxs"]

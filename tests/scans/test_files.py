"""Scans whose values lie in files of detectors: against Tiled, and as they lie in the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from braid_hpc.assets import LazyArray
from braid_hpc.scans.stream_array import StreamArray
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.assets.files import events_of, images, with_datums, write_npys
from tests.collectors.documents.instrument import Pair, stored

READERS = Path(__file__).parent / "readers"


def test_an_image_cube_is_that_of_tiled(tmp_path: Path) -> None:
    """The file was moved since Tiled read it."""
    documents: list[Pair] = [tuple(json.loads(line)) for line in (READERS / "frames.jsonl").read_text().splitlines()]
    theirs = json.loads((READERS / "frames.json").read_text())["primary"]["variables"]["camera"]
    moved = {"/moved": str(READERS)}
    with stored(tmp_path, documents) as store:
        scan = store.scan(documents[0][1]["uid"])
        array = scan.array("primary", "camera", root_map=moved)
        assert isinstance(array, LazyArray)
        assert str(array.dtype) == theirs["dtype"]
        np.testing.assert_array_equal(np.asarray(array)[:, 0], np.array(theirs["values"]))
        assert isinstance(scan.array("primary", "motor"), StreamArray)
        events = events_of(scan.documents(fill=True, root_map=moved))
        assert [each["data"]["motor"] for each in events] == [0.0, 0.5, 1.0, 1.5]
        np.testing.assert_array_equal([each["data"]["camera"][0] for each in events], np.array(theirs["values"]))
        # What was recorded stays what it is.
        assert all("camera" not in each["data"] for each in events_of(scan.documents()))
        with pytest.raises(NotFoundError, match=r"'camera' of event 1 .*/moved/frames.h5 is not there"):
            list(scan.documents(fill=True))


def test_datums_are_arrays_too(tmp_path: Path) -> None:
    frames = images(3)
    documents = with_datums(
        "NPY_SEQ", write_npys(tmp_path / "stem", frames), {}, [{"index": n} for n in range(3)], (3, 4)
    )
    with stored(tmp_path, documents) as store:
        scan = store.scan(documents[0][1]["uid"])
        np.testing.assert_array_equal(np.asarray(scan.array("primary", "img")), frames)
        found = scan.documents(fill=True)
        assert found.whole
        assert [kind for kind, _ in found] == [kind for kind, _ in scan.documents()]


def test_a_dataset_with_what_lies_in_files_is_that_of_tiled(tmp_path: Path) -> None:
    """Dimensions, types and values; and the same for some of the events."""
    documents: list[Pair] = [tuple(json.loads(line)) for line in (READERS / "frames.jsonl").read_text().splitlines()]
    theirs = json.loads((READERS / "frames.json").read_text())["primary"]
    moved = {"/moved": str(READERS)}
    with stored(tmp_path, documents) as store:
        table = store.scan(-1).table()
        found = table.to_xarray(fill=True, root_map=moved)
        assert dict(found.sizes) == theirs["dims"]
        assert set(found.data_vars) == set(theirs["variables"])
        for name, about in theirs["variables"].items():
            assert (list(found[name].dims), str(found[name].dtype)) == (about["dims"], about["dtype"])
            np.testing.assert_array_equal(found[name].values, np.array(about["values"], about["dtype"]))
        some = store.scan(-1).table(columns=["camera"], where="motor >= 0.5", rows=slice(None, None, 2))
        frames = some.to_xarray(fill=True, root_map=moved)["camera"]
        np.testing.assert_array_equal(frames.values, np.array(theirs["variables"]["camera"]["values"])[[1, 3]])
        none = store.scan(-1).table(where="motor > 9").to_xarray(fill=True, root_map=moved)
        assert none["camera"].shape == (0, 2, 3)
        with pytest.raises(NotFoundError, match=r"'camera' of event 1 .*/moved/frames.h5 is not there"):
            table.to_xarray(fill=True)
        with pytest.raises(InvalidInputError, match="give fill=True too"):
            table.to_xarray(root_map=moved)


def test_a_dataset_has_images_of_datums(tmp_path: Path) -> None:
    frames = images(3)
    documents = with_datums(
        "NPY_SEQ", write_npys(tmp_path / "stem", frames), {}, [{"index": n} for n in range(3)], (3, 4)
    )
    with stored(tmp_path, documents) as store:
        found = store.scan(-1).table().to_xarray(fill=True)
        assert found["img"].dims == ("time", "img_dim1", "img_dim2")
        np.testing.assert_array_equal(found["img"].values, frames)


def test_a_dataset_names_the_event_whose_frame_nothing_tells(tmp_path: Path) -> None:
    """The detector stopped before the events did."""
    documents: list[Pair] = [tuple(json.loads(line)) for line in (READERS / "frames.jsonl").read_text().splitlines()]
    for name, document in documents:
        if name == "stream_datum":
            for member in ("indices", "seq_nums"):
                document[member]["stop"] = min(document[member]["stop"], document[member]["start"] + 1)
    last = max(each["seq_num"] for each in events_of(documents))
    with stored(tmp_path, documents) as store:
        table = store.scan(-1).table(rows=-1)
        with pytest.raises(
            NotFoundError, match=f"'camera' of event {last} of stream 'primary' cannot be read: no datum"
        ):
            table.to_xarray(fill=True, root_map={"/moved": str(READERS)})
